//! The repo-server's part: a git revision and a source become manifests, through the real `git`, `helm` and `kustomize`.
//!
//! It knows nothing about applications' status, clusters or HTTP. Nothing here echoes parameters: what helm and
//! kustomize print is what is deployed.

mod details;
mod git;
mod helm;
mod kustomize;
mod overlay;
mod substitute;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

pub(crate) use git::Repositories;

/// The programs that render. `None` for `helm` only where [`Tools::substitute`] is set.
#[derive(Debug, Clone)]
pub struct Tools {
    /// The git client.
    pub git: PathBuf,
    /// Helm 3 or 4.
    pub helm: Option<PathBuf>,
    /// Kustomize 5.
    pub kustomize: Option<PathBuf>,
    /// Without helm, replace `{{ .Values.… }}` in the templates of a chart and refuse every other construct. For a
    /// demonstration on a machine where helm cannot be had; `/api/version` says so.
    pub substitute: bool,
}

impl Default for Tools {
    /// The programs as `PATH` finds them.
    fn default() -> Self {
        Self {
            git: "git".into(),
            helm: Some("helm".into()),
            kustomize: Some("kustomize".into()),
            substitute: false,
        }
    }
}

/// For which application a source is rendered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) app: &'a str,
    pub(crate) project: &'a str,
    pub(crate) namespace: &'a str,
}

/// What a source rendered to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rendered {
    /// `Helm`, `Kustomize` or `Directory`.
    pub(crate) kind: &'static str,
    pub(crate) manifests: Vec<Value>,
    pub(crate) revision: String,
}

/// Renders sources, and remembers what they rendered to.
#[derive(Debug)]
pub(crate) struct RepoServer {
    tools: Tools,
    repositories: Repositories,
    /// Source, target and commit to the outcome. Errors are not kept: the next look tries again.
    cache: Mutex<BTreeMap<String, Rendered>>,
}

/// The Kubernetes version that charts see.
const KUBE_VERSION: &str = "1.37.2";

impl RepoServer {
    /// Keeps clones and checkouts below `work`.
    pub(crate) fn new(tools: Tools, work: PathBuf) -> Self {
        let repositories = Repositories::new(tools.git.clone(), work);
        Self { tools, repositories, cache: Mutex::default() }
    }

    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }

    /// What helm and kustomize say of themselves, or why they do not.
    pub(crate) async fn versions(&self) -> (String, String) {
        let version = async |program: &Option<PathBuf>, arguments: &[&str]| {
            let Some(program) = program else { return None };
            let mut command = tokio::process::Command::new(program);
            command.args(arguments);
            // The real server puts the error into the member, too.
            let said = run(command, &arguments.join(" ")).await.unwrap_or_else(|error| error);
            Some(said.trim().to_owned())
        };
        let without_helm = if self.tools.substitute {
            "none: values are substituted in templates"
        } else {
            "none"
        };
        let helm = version(&self.tools.helm, &["version", "--short"]).await;
        let kustomize = version(&self.tools.kustomize, &["version"]).await;
        (
            helm.unwrap_or_else(|| without_helm.to_owned()),
            kustomize.unwrap_or_else(|| "none".to_owned()),
        )
    }

    pub(crate) fn repositories(&self) -> &Repositories {
        &self.repositories
    }

    /// Renders `source` at `revision`, a commit.
    pub(crate) async fn render(
        &self,
        source: &Value,
        revision: &str,
        target: Target<'_>,
    ) -> Result<Rendered, String> {
        let key = format!("{source}\n{revision}\n{target:?}");
        if let Some(known) = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let rendered = self.render_now(source, revision, target).await?;
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(key, rendered.clone());
        Ok(rendered)
    }

    /// Forgets every rendering, as a hard refresh does.
    pub(crate) fn forget(&self) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn render_now(
        &self,
        source: &Value,
        revision: &str,
        target: Target<'_>,
    ) -> Result<Rendered, String> {
        let url = text(source, "repoURL");
        let path = text(source, "path");
        let root = self.repositories.checkout(url, revision).await?;
        let folder = inside(&root, path)?;
        let source = overlay::applied(source, &folder, target.app)?;
        let kind = kind_of(&source, &folder)?;
        let printed = match kind {
            "Helm" => {
                let environment = environment(&source, revision, target);
                helm::template(&self.tools, &source, &folder, target, &environment).await?
            }
            "Kustomize" => kustomize::build(&self.tools, &source, &root, path).await?,
            _ => directory(&source, &folder)?,
        };
        let manifests =
            documents(&printed)?.into_iter().map(|manifest| tracked(manifest, target)).collect();
        Ok(Rendered { kind, manifests, revision: revision.to_owned() })
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The folder `path` of a checkout.
fn inside(root: &Path, path: &str) -> Result<PathBuf, String> {
    let relative = Path::new(path);
    let plain = relative
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir));
    if !plain {
        return Err(format!("{path}: app path is outside root"));
    }
    let folder = root.join(relative);
    if folder.is_dir() { Ok(folder) } else { Err(format!("{path}: app path does not exist")) }
}

/// What kind of source it is: what the spec says, or else what lies in the folder.
fn kind_of(source: &Value, folder: &Path) -> Result<&'static str, String> {
    let explicit: Vec<_> = [
        ("helm", "Helm"),
        ("kustomize", "Kustomize"),
        ("directory", "Directory"),
        ("plugin", "Plugin"),
    ]
    .into_iter()
    .filter(|(name, _)| source.get(*name).is_some())
    .map(|(_, kind)| kind)
    .collect();
    match explicit[..] {
        ["Plugin"] => Err("config management plugins are not simulated".to_owned()),
        [kind] => Ok(kind),
        [] if folder.join("Chart.yaml").is_file() => Ok("Helm"),
        [] if ["kustomization.yaml", "kustomization.yml", "Kustomization"]
            .iter()
            .any(|name| folder.join(name).is_file()) =>
        {
            Ok("Kustomize")
        }
        [] => Ok("Directory"),
        _ => Err(format!("multiple application sources defined: {}", explicit.join(","))),
    }
}

/// The variables that `$NAME` in parameters and images stands for.
fn environment(source: &Value, revision: &str, target: Target<'_>) -> BTreeMap<String, String> {
    [
        ("ARGOCD_APP_NAME", target.app),
        ("ARGOCD_APP_NAMESPACE", target.namespace),
        ("ARGOCD_APP_PROJECT_NAME", target.project),
        ("ARGOCD_APP_REVISION", revision),
        ("ARGOCD_APP_REVISION_SHORT", revision.get(..7).unwrap_or(revision)),
        ("ARGOCD_APP_REVISION_SHORT_8", revision.get(..8).unwrap_or(revision)),
        ("ARGOCD_APP_SOURCE_REPO_URL", text(source, "repoURL")),
        ("ARGOCD_APP_SOURCE_PATH", text(source, "path")),
        ("ARGOCD_APP_SOURCE_TARGET_REVISION", text(source, "targetRevision")),
        ("KUBE_VERSION", KUBE_VERSION),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Every YAML and JSON file of a folder, in the order of their names.
fn directory(source: &Value, folder: &Path) -> Result<String, String> {
    let recurse = source.pointer("/directory/recurse").and_then(Value::as_bool).unwrap_or(false);
    let mut files = Vec::new();
    collect_files(folder, recurse, &mut files).map_err(|error| error.to_string())?;
    files.sort();
    let mut printed = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file)
            .map_err(|error| format!("error reading file {}: {error}", file.display()))?;
        printed.push_str("\n---\n");
        printed.push_str(&text);
    }
    Ok(printed)
}

fn collect_files(folder: &Path, recurse: bool, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if recurse {
                collect_files(&path, recurse, files)?;
            }
        } else if path
            .extension()
            .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|one| end == *one))
        {
            // The parameter files of Argo CD itself are no manifests.
            if !path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(".argocd-source"))
            {
                files.push(path);
            }
        }
    }
    Ok(())
}

/// The objects of a YAML stream; lists are taken apart, empty documents left out.
fn documents(text: &str) -> Result<Vec<Value>, String> {
    let parsed: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|error| format!("failed to unmarshal manifest: {error}"))?;
    let mut objects = Vec::new();
    for document in parsed {
        match document {
            Value::Null => {}
            Value::Object(ref list) if text_of_kind(&document) == "List" => {
                objects.extend(
                    list.get("items").and_then(Value::as_array).into_iter().flatten().cloned(),
                );
            }
            Value::Object(_) if !text_of_kind(&document).is_empty() => objects.push(document),
            _ => return Err("failed to unmarshal manifest: Object 'Kind' is missing".to_owned()),
        }
    }
    Ok(objects)
}

fn text_of_kind(value: &Value) -> &str {
    text(value, "kind")
}

/// Adds the annotation by which Argo CD knows what belongs to an application.
fn tracked(mut manifest: Value, target: Target<'_>) -> Value {
    let group =
        text(&manifest, "apiVersion").split_once('/').map_or("", |(group, _)| group).to_owned();
    let kind = text_of_kind(&manifest).to_owned();
    let metadata = manifest.as_object_mut().map(|object| {
        object.entry("metadata").or_insert_with(|| Value::Object(Default::default()))
    });
    let Some(Value::Object(metadata)) = metadata else { return manifest };
    let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let namespace =
        metadata.get("namespace").and_then(Value::as_str).unwrap_or(target.namespace).to_owned();
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = Value::Object(Default::default());
    }
    if let Value::Object(annotations) = annotations {
        let id = format!("{}:{group}/{kind}:{namespace}/{name}", target.app);
        annotations.insert("argocd.argoproj.io/tracking-id".to_owned(), id.into());
    }
    manifest
}

/// Runs a tool. The error is what it printed, as Argo CD cites it.
async fn run(mut command: tokio::process::Command, shown: &str) -> Result<String, String> {
    let output = command
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("`{shown}` failed: {error}"))?;
    if output.status.success() {
        return String::from_utf8(output.stdout)
            .map_err(|_| format!("`{shown}` printed bytes that are not UTF-8"));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let status = output
        .status
        .code()
        .map_or_else(|| "signal".to_owned(), |code| format!("exit status {code}"));
    Err(format!("`{shown}` failed {status}: {}", said.trim()))
}

#[cfg(test)]
mod tests;
