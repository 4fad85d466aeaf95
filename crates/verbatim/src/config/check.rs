//! From the file as written to a configuration in which every name exists: what one part says about another
//! is checked here, and every mistake is collected. Must not read files; environments are in `environments`,
//! rules and keys in `policy`.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use url::Url;
use verbatim_credentials::SecretString;
use verbatim_http::is_loopback;
use verbatim_image::template::Template;
use verbatim_oci::Repository;

use super::environments;
use super::file::{File, ImageFile, RegistryFile, ServerFile, ViaFile};
use super::located::{Located, Place};
use super::model::{Config, Image, KubeContext, Policy, RegistryOptions, Server};
use super::problem::Problem;
use super::shapes::Period;

/// Variables of tags, build arguments and labels.
pub(crate) const BUILD_VARIABLES: [&str; 5] =
    ["build", "commit", "short_commit", "branch", "branch_slug"];

/// The tag of an image, unless its file says otherwise.
const DEFAULT_TAG: &str = "${build}.${commit}";

/// A build may compile a whole product; a push may send gigabytes.
const BUILD_TIMEOUT: Duration = Duration::from_secs(3600);
const PUSH_TIMEOUT: Duration = Duration::from_secs(1800);

/// Checks everything but the rules: those are checked before, and `problems` is what was found there. `None` for rules that
/// are not here.
pub(super) fn check(
    path: &Path,
    root: &Path,
    file: &File,
    policy: Option<Policy>,
    mut problems: Vec<Problem>,
) -> Result<Config, Vec<Problem>> {
    version(&file.version, &mut problems);
    name("project", &file.project, &mut problems);
    if file.images.is_empty() {
        problems.push(Problem::new(file.project.place, "`images` names no image"));
    }
    let images: BTreeMap<String, Image> = file
        .images
        .iter()
        .filter_map(|(name, written)| image(root, name, written, &mut problems))
        .collect();
    let servers: BTreeMap<String, Server> = file
        .argocd
        .iter()
        .filter_map(|(name, written)| server(root, name, written, &mut problems))
        .collect();
    let registries = file
        .registries
        .iter()
        .map(|(host, written)| registry(root, host, written, &mut problems))
        .collect();
    let records = file
        .records
        .as_ref()
        .and_then(|text| parsed::<Repository>("repository", text, &mut problems));
    let request_timeout = limit(file.request_timeout.as_ref(), &mut problems);
    let environments = environments::check(file, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Config {
        file: path.to_owned(),
        root: root.to_owned(),
        project: file.project.value.clone(),
        images,
        servers,
        registries,
        request_timeout,
        records,
        environments,
        policy: policy.unwrap_or_else(Policy::unknown),
    })
}

/// The one version of the format so far.
pub(super) fn version(version: &Located<u64>, problems: &mut Vec<Problem>) {
    if version.value != 1 {
        problems.push(
            Problem::new(
                version.place,
                format!("version {} is not known to this verbatim", version.value),
            )
            .help("write `version: 1`"),
        );
    }
}

/// Names of projects and environments stand in ids, records and job names.
pub(super) fn name(what: &str, name: &Located<String>, problems: &mut Vec<Problem>) {
    if let Err(error) = verbatim_record::EnvironmentId::new(&name.value, &name.value) {
        problems.push(Problem::new(name.place, format!("bad name of {what}: {error}")));
    }
}

/// A value of a type that parses itself.
fn parsed<T: FromStr>(what: &str, text: &Located<String>, problems: &mut Vec<Problem>) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    match text.value.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(Problem::new(text.place, format!("not a {what}: {error}")));
            None
        }
    }
}

/// A template whose variables are all known.
pub(super) fn template(
    text: &Located<String>,
    known: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<Template> {
    let template = match text.value.parse::<Template>() {
        Ok(template) => template,
        Err(error) => {
            problems.push(Problem::new(text.place, error.kind.to_string()));
            return None;
        }
    };
    let unknown: Vec<&str> = template.variables().filter(|name| !known.contains(name)).collect();
    for name in &unknown {
        let problem = Problem::new(text.place, format!("unknown variable `${{{name}}}`"));
        problems.push(problem.did_you_mean(name, known.iter().copied()));
    }
    unknown.is_empty().then_some(template)
}

/// A limit that leaves some time.
fn limit(written: Option<&Located<Period>>, problems: &mut Vec<Problem>) -> Option<Duration> {
    let written = written?;
    if written.value.0.is_zero() {
        problems.push(Problem::new(written.place, "without any time nothing is ever done"));
    }
    Some(written.value.0)
}

fn image(
    root: &Path,
    name: &Located<String>,
    written: &ImageFile,
    problems: &mut Vec<Problem>,
) -> Option<(String, Image)> {
    if name.value.is_empty()
        || !name.value.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    {
        problems.push(Problem::new(
            name.place,
            "the name of an image is made of letters, digits, `-` and `_`",
        ));
    }
    let repository = parsed::<Repository>("repository", &written.repository, problems);
    let platform = written.platform.as_ref().and_then(|text| parsed("platform", text, problems));
    let default = Located { value: DEFAULT_TAG.to_owned(), place: Place::default() };
    let tag = template(written.tag.as_ref().unwrap_or(&default), &BUILD_VARIABLES, problems);
    let mut templates =
        |written: &BTreeMap<String, Located<String>>| -> BTreeMap<String, Template> {
            let parsed = |(key, text): (&String, _)| {
                template(text, &BUILD_VARIABLES, problems).map(|value| (key.clone(), value))
            };
            written.iter().filter_map(parsed).collect()
        };
    let args = templates(&written.args);
    let labels = templates(&written.labels);
    let mut limit_or = |written: &Option<Located<Period>>, default: Duration| {
        limit(written.as_ref(), problems).unwrap_or(default)
    };
    let build_timeout = limit_or(&written.build_timeout, BUILD_TIMEOUT);
    let push_timeout = limit_or(&written.push_timeout, PUSH_TIMEOUT);
    let idle_timeout = limit_or(&written.idle_timeout, verbatim_image::IDLE_TIMEOUT);
    let context = written.context.as_ref().map_or(".", |context| context.value.as_str());
    let inputs = written.ignored_inputs.iter();
    let ignored_inputs =
        inputs.filter_map(|path| below("ignored_inputs", path, problems)).collect();
    Some((
        name.value.clone(),
        Image {
            name: name.value.clone(),
            repository: repository?,
            context: root.join(context),
            dockerfile: written.dockerfile.clone(),
            target: written.target.clone(),
            platform,
            args,
            labels,
            ignored_inputs,
            tag: tag?,
            build_timeout,
            push_timeout,
            idle_timeout,
        },
    ))
}

/// A path below the folder that it belongs to, without `.` and a slash at its end.
fn below(key: &str, path: &Located<String>, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let plain: PathBuf =
        Path::new(&path.value).components().filter(|it| *it != Component::CurDir).collect();
    let is_below = plain.components().all(|it| matches!(it, Component::Normal(_)));
    if !is_below || plain.as_os_str().is_empty() {
        let what = format!("`{key}` names files and folders below the build context");
        problems.push(Problem::new(path.place, what));
        return None;
    }
    Some(plain)
}

fn server(
    root: &Path,
    name: &Located<String>,
    written: &ServerFile,
    problems: &mut Vec<Problem>,
) -> Option<(String, Server)> {
    let url = server_url(written, problems);
    let client_certificate = match (&written.client_cert, &written.client_key) {
        (Some(certificate), Some(key)) => {
            Some((root.join(&certificate.value), root.join(&key.value)))
        }
        (None, None) => None,
        (Some(lonely), None) => {
            problems
                .push(Problem::new(lonely.place, "`client_cert` needs `client_key` next to it"));
            None
        }
        (None, Some(lonely)) => {
            problems
                .push(Problem::new(lonely.place, "`client_key` needs `client_cert` next to it"));
            None
        }
    };
    let token_variable = written.token_variable.as_ref();
    // Whoever writes this file also writes the address that the token is sent to.
    if let Some(variable) = token_variable.filter(|it| !is_token_variable(&it.value)) {
        let message = format!("`{}` is not the name of a token of Argo CD", variable.value);
        problems.push(
            Problem::new(variable.place, message)
                .help("tokens are in ARGOCD_…_TOKEN, for example ARGOCD_EU_TOKEN"),
        );
    }
    let server = Server {
        name: name.value.clone(),
        url: url?,
        token_variable: token_variable.map(|variable| variable.value.clone()),
        ca: written.ca.as_ref().map(|file| root.join(file)),
        ca_digest: None,
        client_certificate,
        headers: written
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), SecretString::from(value.as_str())))
            .collect(),
        insecure: written.insecure,
        kubernetes: kubernetes(written, problems),
    };
    Some((name.value.clone(), server))
}

/// Whether applications are changed through the Kubernetes API, and with which context.
fn kubernetes(written: &ServerFile, problems: &mut Vec<Problem>) -> Option<KubeContext> {
    let context = written.kube_context.as_ref();
    match (written.via, context) {
        (ViaFile::Kubernetes, context) => {
            Some(KubeContext(context.map(|context| context.value.clone())))
        }
        (ViaFile::Argocd, Some(context)) => {
            problems.push(Problem::new(context.place, "`kube_context` needs `via: kubernetes`"));
            None
        }
        (ViaFile::Argocd, None) => None,
    }
}

/// Whether a variable holds a token of Argo CD and nothing else, by its name: `ARGOCD_…_TOKEN`.
pub(crate) fn is_token_variable(name: &str) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let is_named = matches!(words.as_slice(), ["ARGOCD", .., "TOKEN"]);
    is_named && name.chars().all(is_plain)
}

/// The address with the root path. A token must not travel in the clear, except on this machine.
fn server_url(written: &ServerFile, problems: &mut Vec<Problem>) -> Option<Url> {
    let place = written.url.place;
    let mut url = match Url::parse(&written.url.value) {
        Ok(url) if url.host_str().is_some() && matches!(url.scheme(), "http" | "https") => url,
        Ok(_) => {
            problems.push(Problem::new(place, "the address must begin with https:// or http://"));
            return None;
        }
        Err(error) => {
            problems.push(
                Problem::new(place, format!("not an address: {error}"))
                    .help("write https://argocd.example.com"),
            );
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        problems.push(
            Problem::new(place, "the address must not hold credentials")
                .help("put the token into ARGOCD_AUTH_TOKEN, or run `verbatim argocd login`"),
        );
        return None;
    }
    if url.scheme() == "http" && !written.plain_http && !is_loopback(&url) {
        problems.push(
            Problem::new(place, "plain HTTP would send the token in the clear")
                .help("use https://, or set `plain_http: true` next to `url`"),
        );
        return None;
    }
    if let Some(root_path) = &written.root_path {
        url.set_path(root_path.trim_end_matches('/'));
    }
    Some(url)
}

fn registry(
    root: &Path,
    host: &Located<String>,
    written: &RegistryFile,
    problems: &mut Vec<Problem>,
) -> (String, RegistryOptions) {
    // A host is right if a repository on it is; that is where it will be looked up.
    match format!("{}/x", host.value).parse::<Repository>() {
        Ok(repository)
            if repository.registry() == host.value || repository.api_host() == host.value => {}
        _ => {
            problems.push(
                Problem::new(host.place, "not the `host` or `host:port` of a registry")
                    .help("leave out the https://"),
            );
        }
    }
    let options = RegistryOptions {
        ca: written.ca.as_ref().map(|file| root.join(file)),
        plain_http: written.plain_http,
    };
    (host.value.clone(), options)
}

#[cfg(test)]
mod tests {
    use super::is_token_variable;

    #[test]
    fn tokens_have_names_of_their_own() {
        for name in ["ARGOCD_AUTH_TOKEN", "ARGOCD_TOKEN", "ARGOCD_EU_1_TOKEN"] {
            assert!(is_token_variable(name), "{name}");
        }
        for name in [
            "",
            "TOKEN",
            "ARGOCD",
            "GITHUB_TOKEN",
            "ARGOCD_PASSWORD",
            "ARGOCDTOKEN",
            "argocd_token",
            "ARGOCD_eu_TOKEN",
            "MY_ARGOCD_TOKEN",
        ] {
            assert!(!is_token_variable(name), "{name}");
        }
    }
}
