//! The first `verbatim.yaml` of a project, as text for people: what is known of its image and its applications, and
//! comments that tell what else there is. Pure; what is known is found out by `commands::init`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use verbatim_argocd::{ImagePart, SuggestedPins, Suggestion};
use verbatim_oci::Repository;

/// The short name of the image in the file.
pub(crate) const IMAGE: &str = "app";

/// What is written into an application, as templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FirstSet {
    pub helm: BTreeMap<String, String>,
    pub kustomize: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstApp {
    pub name: String,
    /// Its namespace, if it is not Argo CD's own.
    pub namespace: Option<String>,
    /// What is written into which of its sources; at least one.
    pub sets: Vec<FirstSourceSet>,
}

/// What is written into a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstSourceSet {
    /// Which of several sources is meant, counted from 1, if more than one could be.
    pub source: Option<usize>,
    pub set: FirstSet,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstEnvironment {
    pub name: String,
    pub apps: Vec<FirstApp>,
}

/// How Argo CD is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FirstServer {
    pub url: String,
    pub ca: Option<PathBuf>,
    /// The client certificate and its key.
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Its certificate is not checked.
    pub insecure: bool,
    /// Plain HTTP to another machine.
    pub plain_http: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstConfig {
    pub project: String,
    pub image: String,
    pub repository: Repository,
    pub server: FirstServer,
    /// The stages, in their order.
    pub environments: Vec<FirstEnvironment>,
    /// The public key of the pipeline, beside the file.
    pub key: PathBuf,
}

impl FirstSet {
    /// The templates for what was suggested; `image` is the short name that they use.
    pub(crate) fn of(suggestion: &Suggestion, image: &str) -> Self {
        match &suggestion.pins {
            SuggestedPins::Helm(pins) => {
                let helm = pins.iter().map(|(name, part)| (name.clone(), template(*part, image)));
                Self { helm: helm.collect(), kustomize: BTreeMap::new() }
            }
            SuggestedPins::Kustomize(name) => {
                let kustomize =
                    BTreeMap::from([(name.clone(), template(ImagePart::Reference, image))]);
                Self { helm: BTreeMap::new(), kustomize }
            }
        }
    }

    /// What most charts have, for when nobody can be asked.
    pub(crate) fn usual(image: &str) -> Self {
        let pins =
            [("image.repository", ImagePart::Repository), ("image.tag", ImagePart::TagAndDigest)];
        let helm = pins.map(|(name, part)| (name.to_owned(), template(part, image)));
        Self { helm: helm.into(), kustomize: BTreeMap::new() }
    }

    /// The names of what is written.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.helm.keys().chain(self.kustomize.keys()).map(String::as_str).collect()
    }

    /// As YAML on one line.
    fn flow(&self) -> String {
        let kinds = [("helm", &self.helm), ("kustomize", &self.kustomize)];
        let written = kinds.into_iter().filter(|(_, values)| !values.is_empty());
        let kinds: Vec<String> =
            written.map(|(kind, values)| format!("{kind}: {}", flow(values))).collect();
        format!("{{ {} }}", kinds.join(", "))
    }
}

fn template(part: ImagePart, image: &str) -> String {
    match part {
        ImagePart::Registry => format!("${{{image}.registry}}"),
        ImagePart::Path => format!("${{{image}.path}}"),
        ImagePart::Repository => format!("${{{image}.repository}}"),
        ImagePart::Tag => format!("${{{image}.tag}}"),
        ImagePart::Digest => format!("${{{image}.digest}}"),
        ImagePart::Hex => format!("${{{image}.hex}}"),
        ImagePart::TagAndDigest => format!("${{{image}.tag}}@${{{image}.digest}}"),
        ImagePart::Reference => format!("${{{image}.reference}}"),
    }
}

fn flow(values: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> =
        values.iter().map(|(name, value)| format!("{}: {}", scalar(name), quoted(value))).collect();
    format!("{{ {} }}", pairs.join(", "))
}

/// A text in double quotes: what JSON writes, YAML reads.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text without quotes, where YAML cannot take it for something else.
fn scalar(text: &str) -> String {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c));
    // What YAML 1.1 and 1.2 read as something else than text.
    let means_more = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if is_word && !means_more.contains(&text.to_lowercase().as_str()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

impl FirstConfig {
    /// What most applications are given, so that it need not stand at each.
    fn common_set(&self) -> FirstSet {
        let apps = || self.environments.iter().flat_map(|it| &it.apps);
        let sets = || apps().flat_map(|app| &app.sets).map(|it| &it.set);
        let count = |set: &FirstSet| sets().filter(|other| *other == set).count();
        // Of several that are as frequent, the first.
        let most = sets().collect::<Vec<_>>().into_iter().rev().max_by_key(|set| count(set));
        most.cloned().unwrap_or_default()
    }

    /// The commands that come next, for a CI. A key is made, unless there is one.
    pub(crate) fn next_commands(&self, has_key: bool, ci: &str) -> Vec<String> {
        let first = self.environments.first().map_or("", |first| first.name.as_str());
        let private = self.key.with_extension("");
        let make = (!has_key).then(|| {
            let pem = private.with_extension("pem");
            // The key would get into the repository, and with `COPY . .` into the image.
            [
                format!("verbatim key generate {}", private.display()),
                format!("echo '{}' | tee -a .gitignore >> .dockerignore", pem.display()),
                format!("export VERBATIM_KEY_FILE={}", pem.display()),
            ]
        });
        let rest = [
            "verbatim doctor".to_owned(),
            "git add . && git commit -m 'Promote with verbatim'".to_owned(),
            format!("verbatim build && verbatim promote {first}"),
            format!("verbatim ci {ci}"),
        ];
        make.into_iter().flatten().chain(rest).collect()
    }
}

/// The last part of where the repository comes from, else the name of the folder; made to what a name may be.
pub(crate) fn project_name(remote: Option<&str>, folder: &Path) -> String {
    let last = remote.and_then(|remote| remote.rsplit(['/', ':']).next());
    let name = last.map(|name| name.strip_suffix(".git").unwrap_or(name));
    let name = name.or_else(|| folder.file_name()?.to_str()).unwrap_or_default();
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = name
        .chars()
        .map(|c| if is_inner(c) { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(63)
        .collect();
    if name.is_empty() { "project".to_owned() } else { name }
}

/// A line with what it means beside it.
fn explained(f: &mut fmt::Formatter<'_>, line: &str, meaning: &str) -> fmt::Result {
    writeln!(f, "{line:<45} # {meaning}")
}

impl fmt::Display for FirstConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let common = self.common_set();
        writeln!(f, "version: 1")?;
        writeln!(f, "project: {}\n", scalar(&self.project))?;
        writeln!(f, "images:")?;
        writeln!(f, "  {}:", scalar(&self.image))?;
        writeln!(f, "    repository: {}", scalar(&self.repository.to_string()))?;
        explained(f, "    context: .", "with the Dockerfile in it")?;
        let tag = "    tag: \"${build}.${short_commit}\"";
        explained(f, tag, "for people; what is deployed is the digest")?;
        writeln!(f)?;
        self.server.write(f)?;
        explained(f, "set:", "written into every application")?;
        for (kind, values) in [("helm", &common.helm), ("kustomize", &common.kustomize)] {
            if !values.is_empty() {
                writeln!(f, "  {kind}:")?;
            }
            for (name, value) in values {
                writeln!(f, "    {}: {}", scalar(name), quoted(value))?;
            }
        }
        writeln!(f, "\nenvironments:")?;
        let mut before = None;
        for environment in &self.environments {
            environment.write(f, before, &common)?;
            before = Some(environment.name.as_str());
        }
        explained(f, "keys:", "whose signatures count, and for what")?;
        let name = self.key.file_stem().unwrap_or_default().to_string_lossy();
        let (name, file) = (scalar(&name), scalar(&self.key.display().to_string()));
        writeln!(f, "  - {{ name: {name}, file: {file}, roles: [builder, tester, promoter] }}")
    }
}

impl FirstServer {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "argocd:")?;
        writeln!(f, "  main:")?;
        writeln!(f, "    url: {}", quoted(&self.url))?;
        let path = |path: &PathBuf| quoted(&path.display().to_string());
        if let Some(ca) = &self.ca {
            writeln!(f, "    ca: {}", path(ca))?;
        }
        if let Some((certificate, key)) = &self.client_certificate {
            writeln!(f, "    client_cert: {}", path(certificate))?;
            writeln!(f, "    client_key: {}", path(key))?;
        }
        let open = [("insecure", self.insecure), ("plain_http", self.plain_http)];
        for (name, _) in open.into_iter().filter(|(_, is_open)| *is_open) {
            explained(f, &format!("    {name}: true"), "anybody in between can read the token")?;
        }
        writeln!(f)
    }
}

impl FirstEnvironment {
    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        before: Option<&str>,
        common: &FirstSet,
    ) -> fmt::Result {
        let name = scalar(&self.name);
        writeln!(f, "  - name: {name}")?;
        if let Some(before) = before {
            let after = format!("    after: [{}]", scalar(before));
            explained(f, &after, "proven there, and still running there")?;
        }
        let plain: Option<Vec<String>> = self.apps.iter().map(|app| app.plain(common)).collect();
        match plain {
            Some(names) => writeln!(f, "    apps: [{}]", names.join(", "))?,
            None => {
                writeln!(f, "    apps:")?;
                for app in &self.apps {
                    writeln!(f, "      - {}", app.entry(common))?;
                }
            }
        }
        let tests = "    # tests: { smoke: ./smoke.sh }";
        explained(f, tests, &format!("a line for `sh -c`; run by: verbatim test {name}"))?;
        if let Some(before) = before {
            writeln!(
                f,
                "    # gates: {{ tested: {{ in: {}, suites: [smoke] }} }}",
                scalar(before)
            )?;
        }
        writeln!(f)
    }
}

impl FirstApp {
    /// Its name, if there is nothing else to say.
    fn plain(&self, common: &FirstSet) -> Option<String> {
        let is_usual = |it: &FirstSourceSet| it.source.is_none() && it.set == *common;
        let is_plain = self.namespace.is_none() && self.sets.len() == 1;
        (is_plain && self.sets.iter().all(is_usual)).then(|| scalar(&self.name))
    }

    fn entry(&self, common: &FirstSet) -> String {
        if let Some(plain) = self.plain(common) {
            return plain;
        }
        let namespace = self.namespace.as_deref().map(|it| format!("namespace: {}", scalar(it)));
        let source = |it: &FirstSourceSet| it.source.map(|position| format!("source: {position}"));
        let set = |it: &FirstSourceSet| format!("set: {}", it.set.flow());
        let name = format!("name: {}", scalar(&self.name));
        let mut parts = vec![Some(name), namespace];
        match self.sets.as_slice() {
            [one] => parts.extend([source(one), (one.set != *common).then(|| set(one))]),
            several => {
                let entries = several.iter().map(|it| {
                    let parts: Vec<String> = source(it).into_iter().chain([set(it)]).collect();
                    format!("{{ {} }}", parts.join(", "))
                });
                let entries: Vec<String> = entries.collect();
                parts.push(Some(format!("sources: [{}]", entries.join(", "))));
            }
        }
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        format!("{{ {} }}", parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use verbatim_record::SigningKey;

    use crate::config::{self, Apps};

    fn app(name: &str, set: &FirstSet) -> FirstApp {
        let sets = vec![FirstSourceSet { source: None, set: set.clone() }];
        FirstApp { name: name.into(), namespace: None, sets }
    }

    fn helm(pins: &[(&str, ImagePart)]) -> FirstSet {
        let pins = pins.iter().map(|(name, part)| ((*name).to_owned(), *part)).collect();
        let repository = "r.example/shop".parse().expect("a repository");
        let pins = SuggestedPins::Helm(pins);
        FirstSet::of(&Suggestion { repository, pins, is_named: true }, "app")
    }

    /// Whatever is put into it, the file is valid, and says that.
    #[test]
    fn what_is_written_is_read_again() {
        let usual = FirstSet::usual("app");
        let digest = helm(&[
            ("image.digest", ImagePart::Digest),
            ("true", ImagePart::Tag),
            ("a\"b", ImagePart::Path),
        ]);
        let kustomize = FirstSet {
            helm: BTreeMap::new(),
            kustomize: BTreeMap::from([("localhost:5000/x".into(), "${app.reference}".into())]),
        };
        let at = |source, set: &FirstSet| FirstSourceSet { source: Some(source), set: set.clone() };
        let elsewhere = FirstApp {
            namespace: Some("team".into()),
            sets: vec![at(2, &usual)],
            ..app("shop-eu", &usual)
        };
        let both = FirstApp { sets: vec![at(1, &usual), at(3, &digest)], ..app("both", &usual) };
        let stage = |name: &str, apps: Vec<FirstApp>| FirstEnvironment { name: name.into(), apps };
        let config = FirstConfig {
            project: "123".into(),
            image: IMAGE.into(),
            repository: "[::1]:5000/shop/app".parse().expect("a repository"),
            server: FirstServer {
                url: "http://argocd.example.com/root".into(),
                ca: Some("my ca.pem".into()),
                client_certificate: Some(("c.pem".into(), "k.pem".into())),
                insecure: true,
                plain_http: true,
            },
            environments: vec![
                stage("dev", vec![app("shop-dev", &usual)]),
                stage("no", vec![app("a", &digest), app("b", &usual)]),
                stage("1.5", vec![elsewhere.clone(), app("shop-us", &kustomize), both]),
            ],
            key: "keys/ci.pub".into(),
        };
        let text = config.to_string();
        let key = SigningKey::generate(|bytes| {
            bytes.fill(7);
            Ok::<(), ()>(())
        });
        let key = key.expect("a key").verifying_key().to_pem().expect("its public half");
        let read = config::parse(Path::new("verbatim.yaml"), &text, &|_| Ok(key.clone()));
        let read = read.unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(read.project, "123");
        assert_eq!(read.images["app"].repository, config.repository);
        let server = &read.servers["main"];
        assert_eq!(server.url.as_str(), "http://argocd.example.com/root");
        assert!(server.insecure, "{text}");
        let names: Vec<&str> = read.environment_names().collect();
        assert_eq!(names, ["dev", "no", "1.5"]);
        let Apps::Named(apps) = &read.environments[2].apps else { panic!("{text}") };
        assert_eq!(apps[0].namespace, elsewhere.namespace);
        assert_eq!(apps[0].sets[0].source, verbatim_argocd::SourceChoice::Position(2));
        let second = &apps[1].sets[0].set;
        assert_eq!(second.kustomize["localhost:5000/x"].to_string(), "${app.reference}");
        assert_eq!(apps[2].sets[1].source, verbatim_argocd::SourceChoice::Position(3));
        assert_eq!(apps[2].sets[1].set.helm["image.digest"].to_string(), "${app.digest}");
        let Apps::Named(apps) = &read.environments[1].apps else { panic!("{text}") };
        let found: Vec<String> = apps[0].sets[0]
            .set
            .helm
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(found, ["a\"b=${app.path}", "image.digest=${app.digest}", "true=${app.tag}"]);
        let after = &read.policy.rules["1.5"].after;
        assert_eq!(after.len(), 1);
    }
}
