//! Where the rules come from, if not from `verbatim.yaml`: names, checked as far as names go. Must not fetch anything.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use url::Url;
use verbatim_http::is_loopback;
use verbatim_oci::{Digest, Reference, Repository};

use super::file::PolicySourceFile;
use super::located::{Located, Place};
use super::problem::{Invalid, Problem};
use super::shapes::{FromName, NameOr};
use super::yaml;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PolicySource {
    /// A file, joined to the folder of `verbatim.yaml`.
    File(PathBuf),
    Git(GitSource),
    Oci(OciSource),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitSource {
    /// The address of the repository, without credentials.
    pub url: String,
    /// A branch, a tag, or a full commit.
    pub reference: String,
    /// The file, from the root of the repository.
    pub path: String,
}

impl PolicySource {
    /// The place that is named on the command line or by a variable, as `policy` names it in the file; or a file alone.
    pub(crate) fn named(text: &str) -> Result<Self, Invalid> {
        let invalid = |problems| Invalid::new(Path::new("the named policy"), text, problems);
        let Located { value: NameOr(value), place } =
            yaml::<Located<NameOr<PolicySourceFile>>>(text).map_err(|it| invalid(vec![it]))?;
        let mut problems = Vec::new();
        let source = check(Path::new(""), &Located { value, place }, &mut problems);
        match source.filter(|_| problems.is_empty()) {
            Some(source) => Ok(source),
            None => Err(invalid(problems)),
        }
    }

    /// Whether both are one place. Paths are compared as they are written, from the working folder.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(one), Self::File(other)) => {
                let whole = |path| std::path::absolute(path).ok();
                one == other || (whole(one).is_some() && whole(one) == whole(other))
            }
            _ => self == other,
        }
    }
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => file.display().fmt(f),
            Self::Git(git) => git.fmt(f),
            Self::Oci(oci) => oci.fmt(f),
        }
    }
}

impl GitSource {
    /// The commit, if the reference is one.
    pub(crate) fn commit(&self) -> Option<&str> {
        is_commit(&self.reference).then_some(&self.reference)
    }
}

impl fmt::Display for GitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.url, self.reference, self.path)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OciSource {
    pub repository: Repository,
    pub digest: Digest,
}

impl fmt::Display for OciSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository, self.digest)
    }
}

impl FromName for PolicySourceFile {
    const EXPECTED: &'static str = "a file, or a mapping with `file`, `git` or `oci`";

    fn try_from_name(name: String) -> Option<Self> {
        let file = Some(Located { value: name, place: Place::default() });
        Some(Self { file, git: None, reference: None, path: None, oci: None })
    }
}

pub(super) fn check(
    root: &Path,
    written: &Located<PolicySourceFile>,
    problems: &mut Vec<Problem>,
) -> Option<PolicySource> {
    let PolicySourceFile { file, git, reference, path, oci } = &written.value;
    for lonely in [reference, path].into_iter().flatten().filter(|_| git.is_none()) {
        problems.push(
            Problem::new(lonely.place, "`ref` and `path` belong to `git`")
                .help("write `policy: { git: URL, ref: REF, path: FILE }`"),
        );
    }
    match (file, git, oci) {
        (Some(file), None, None) => Some(PolicySource::File(root.join(&file.value))),
        (None, Some(url), None) => {
            self::git(url, reference.as_ref(), path.as_ref(), problems).map(PolicySource::Git)
        }
        (None, None, Some(text)) => self::oci(text, problems).map(PolicySource::Oci),
        (None, None, None) => {
            problems.push(
                Problem::new(written.place, "`policy` does not say where the rules are")
                    .help("give it one of `file`, `git` and `oci`"),
            );
            None
        }
        _ => {
            problems.push(Problem::new(
                written.place,
                "the rules come from one place: `file`, `git` or `oci`",
            ));
            None
        }
    }
}

fn git(
    url: &Located<String>,
    reference: Option<&Located<String>>,
    path: Option<&Located<String>>,
    problems: &mut Vec<Problem>,
) -> Option<GitSource> {
    let before = problems.len();
    if let Err((message, help)) = check_url(&url.value) {
        problems.push(Problem::new(url.place, message).help(help));
    }
    let mut given = |name: &str,
                     text: Option<&Located<String>>,
                     fault: fn(&str) -> Option<String>| {
        match text {
            None => {
                problems.push(Problem::new(url.place, format!("`git` needs `{name}` next to it")))
            }
            Some(text) => {
                let found = fault(&text.value);
                problems.extend(found.map(|message| Problem::new(text.place, message)));
            }
        }
    };
    given("ref", reference, reference_fault);
    given("path", path, path_fault);
    let (reference, path) = (reference?.value.clone(), path?.value.clone());
    (problems.len() == before).then(|| GitSource { url: url.value.clone(), reference, path })
}

/// git has ways to other repositories that run commands of whoever writes the address, and others that anybody in between
/// can answer. Those are not taken.
fn check_url(text: &str) -> Result<(), (String, &'static str)> {
    const HELP: &str = "write https://…, ssh://… or file:///…";
    let Ok(url) = Url::parse(text) else {
        // `git@host:path`: what git itself takes for SSH.
        let is_ssh = text.split_once(':').is_some_and(|(host, path)| {
            !host.is_empty() && !host.starts_with('-') && !host.contains('/') && !path.is_empty()
        });
        return if is_ssh {
            Ok(())
        } else {
            Err(("not the address of a repository".to_owned(), HELP))
        };
    };
    if url.password().is_some() || (url.scheme() != "ssh" && !url.username().is_empty()) {
        let help = "let git ask a credential helper, or use SSH";
        return Err(("the address must not hold credentials".to_owned(), help));
    }
    match url.scheme() {
        "https" | "ssh" if url.host().is_some_and(|host| !host.to_string().starts_with('-')) => {
            Ok(())
        }
        "file" => Ok(()),
        "http" if is_loopback(&url) => Ok(()),
        "http" => {
            Err(("over plain HTTP anybody in between could write the rules".to_owned(), HELP))
        }
        other => Err((format!("`{other}` is no way to a repository that is taken here"), HELP)),
    }
}

/// What is wrong with a reference. A subset of `git check-ref-format`, so that it is one name and nothing else.
fn reference_fault(text: &str) -> Option<String> {
    let is_bad = text.is_empty()
        || text.starts_with(['-', '/', '.'])
        || text.ends_with(['/', '.'])
        || text.contains("..")
        || text.contains("@{")
        || text.chars().any(|c| c.is_control() || c.is_whitespace() || "~^:?*[\\+".contains(c));
    let is_short =
        !is_commit(text) && text.len() >= 7 && text.chars().all(|c| c.is_ascii_hexdigit());
    match (is_bad, is_short) {
        (true, _) => Some("not a branch, a tag or a commit".to_owned()),
        (_, true) => Some("a commit is given in full, with all its 40 digits".to_owned()),
        _ => None,
    }
}

fn path_fault(text: &str) -> Option<String> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let is_good = !text.is_empty() && Path::new(text).components().all(is_plain);
    (!is_good).then(|| "not a file of the repository, from its root".to_owned())
}

fn is_commit(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

fn oci(text: &Located<String>, problems: &mut Vec<Problem>) -> Option<OciSource> {
    let mut refuse = |place: Place, message: String| {
        problems.push(
            Problem::new(place, message)
                .help("`verbatim policy push FILE REPOSITORY` prints what to write here"),
        );
    };
    match text.value.parse::<Reference>() {
        Ok(Reference { repository, digest: Some(digest), .. }) => {
            Some(OciSource { repository, digest })
        }
        Ok(_) => {
            refuse(text.place, "rules in a registry are named by their digest".to_owned());
            None
        }
        Err(error) => {
            refuse(text.place, format!("not a `repository@sha256:…`: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_repositories() {
        for text in [
            "https://git.example/policies.git",
            "ssh://git@git.example/policies.git",
            "git@git.example:team/policies.git",
            "file:///srv/git/policies.git",
            "http://127.0.0.1:8080/policies.git",
        ] {
            assert!(check_url(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "policies",
            "../policies",
            "/srv/git/policies.git",
            "http://git.example/policies.git",
            "git://git.example/policies.git",
            "ext::sh -c id",
            "https://me:secret@git.example/policies.git",
            "https://token@git.example/policies.git",
            "-oProxyCommand=id:x",
            "ssh://-oProxyCommand=id/x",
            "--upload-pack=id",
        ] {
            assert!(check_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn references_and_paths_are_one_name() {
        let full = "4f2a".repeat(10);
        for text in ["main", "v1", "release/1.2", "refs/heads/main", &full, &"0".repeat(64)] {
            assert_eq!(reference_fault(text), None, "{text}");
        }
        for text in [
            "",
            "-f",
            "a:b",
            "+main",
            "main~1",
            "a..b",
            "a b",
            "refs/heads/*",
            "4f2a4f2a",
            "HEAD@{1}",
        ] {
            assert!(reference_fault(text).is_some(), "{text}");
        }
        for (path, is_good) in [
            ("shop.yaml", true),
            ("teams/shop/policy.yaml", true),
            ("", false),
            ("/etc/passwd", false),
            ("../policy.yaml", false),
            ("a/../../policy.yaml", false),
            (".", false),
        ] {
            assert_eq!(path_fault(path).is_none(), is_good, "{path}");
        }
    }
}
