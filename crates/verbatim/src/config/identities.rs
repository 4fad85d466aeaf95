//! Identities in the place of keys, and the trust root by which their certificates are believed: from text to values, every
//! mistake with its place.

use std::path::Path;

use url::Url;
use verbatim_record::{Identity, IdentitySubject, TrustRoot};

use super::file::{IdentityFile, TrustRootFile};
use super::located::{Located, Place};
use super::problem::Problem;

/// Where the trust root of Sigstore's public instance is to be had.
const WHERE: &str = "for the public instance of Sigstore, `gh attestation trusted-root` or `cosign trusted-root create` prints it";

/// Who must have signed.
pub(super) fn identity(written: &Located<IdentityFile>) -> Result<Identity, Problem> {
    let place = written.place;
    let IdentityFile { issuer, subject, workflow, repository, reference, event } = &written.value;
    https(issuer, "issuer")?;
    let subject = match (subject, workflow) {
        (Some(subject), None) if subject.value.is_empty() => {
            return Err(Problem::new(subject.place, "an empty `subject` is nobody"));
        }
        (Some(subject), None) => IdentitySubject::Exact(subject.value.clone()),
        (None, Some(workflow)) => {
            let url = https(workflow, "workflow")?;
            let example = "such as https://github.com/acme/shop/.github/workflows/release.yml";
            if url.path().contains('@') {
                let message = "a `workflow` is named without its `@…`";
                return Err(Problem::new(workflow.place, message)
                    .help("`ref` says for which references it may run"));
            }
            if url.path().split('/').count() < 4 {
                let message = "a `workflow` is a file of a repository";
                return Err(Problem::new(workflow.place, message).help(example));
            }
            IdentitySubject::Workflow(workflow.value.clone())
        }
        (None, None) => {
            let message = "an identity has a `subject`, such as a mail address, or a `workflow`";
            return Err(Problem::new(place, message));
        }
        (Some(_), Some(workflow)) => {
            let message = "an identity has a `subject` or a `workflow`, not both";
            return Err(Problem::new(workflow.place, message));
        }
    };
    if let Some(repository) = repository {
        https(repository, "repository")?;
    }
    if let Some(reference) = reference
        && !reference.value.starts_with("refs/")
    {
        let value = &reference.value;
        return Err(Problem::new(reference.place, format!("`{value}` is not a full `ref`"))
            .help(format!("such as refs/heads/{value} for a branch, or refs/tags/v* for tags")));
    }
    let text = |written: &Option<Located<String>>| written.as_ref().map(|it| it.value.clone());
    Ok(Identity {
        issuer: issuer.value.clone(),
        subject,
        repository: text(repository),
        reference: text(reference),
        event: text(event),
    })
}

/// An address that is compared letter by letter.
fn https(written: &Located<String>, what: &str) -> Result<Url, Problem> {
    let value = &written.value;
    let url = Url::parse(value).ok().filter(|url| url.scheme() == "https" && url.has_host());
    url.ok_or_else(|| {
        Problem::new(
            written.place,
            format!("the `{what}` is an https address, and `{value}` is none"),
        )
    })
}

/// The trust root, and its text; the text is what a policy without files beside it holds.
pub(super) fn trust_root(
    written: &Located<TrustRootFile>,
    root: &Path,
    read: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<(TrustRoot, String), Problem> {
    let (text, place) = match (&written.value.file, &written.value.json) {
        (Some(file), None) => {
            (read(&root.join(&file.value)).map_err(|error| error.to_string()), file.place)
        }
        (None, Some(json)) => (Ok(json.value.clone()), json.place),
        _ => {
            let message = "a trust root has a `file`, or stands here as `json`";
            return Err(Problem::new(written.place, message).help(WHERE));
        }
    };
    let unusable = |error: String| {
        Problem::new(place, format!("not a usable trust root: {error}")).help(WHERE)
    };
    let text = text.map_err(unusable)?;
    let trusted = TrustRoot::from_json(&text).map_err(|error| unusable(error.to_string()))?;
    Ok((trusted, text))
}

/// The mistake of an identity that nobody could have.
pub(super) fn no_trust_root(place: Place) -> Problem {
    Problem::new(place, "an identity needs a `trust_root`, by which certificates are believed")
        .help(format!("add `trust_root: {{ file: trusted_root.json }}`; {WHERE}"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::path::PathBuf;
    use std::sync::LazyLock;

    use test_sigstore::Sigstore;
    use verbatim_record::Credential;

    use super::super::{Config, FoundPolicy, parse};
    use super::*;

    /// The trust root that lies in `root.json`, and the same written in another way.
    pub(in super::super) static ROOT: LazyLock<String> =
        LazyLock::new(|| Sigstore::new().unwrap().trusted_root().to_string());
    static INDENTED: LazyLock<String> = LazyLock::new(|| {
        let root: serde_json::Value = serde_json::from_str(&ROOT).unwrap();
        serde_json::to_string_pretty(&root).unwrap()
    });

    pub(in super::super) fn files(path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some("root.json") => Ok(ROOT.clone()),
            Some("indented.json") => Ok(INDENTED.clone()),
            Some("other.json") => Ok(Sigstore::new().unwrap().trusted_root().to_string()),
            Some("empty.json") => Ok("{}".to_owned()),
            _ => super::super::tests::files(path),
        }
    }

    const WORKFLOW: &str = "issuer: https://token.actions.githubusercontent.com, workflow: https://github.com/acme/shop/.github/workflows/release.yml";

    fn read(identity: &str, rest: &str) -> Result<Config, String> {
        let text = format!(
            "version: 1
project: example
images: {{ app: {{ repository: registry.example/team/app }} }}
argocd: {{ main: {{ url: https://argocd.example }} }}
environments: [{{ name: dev, apps: [web-dev], set: {{ helm: {{ tag: \"${{app.digest}}\" }} }} }}]
keys: [{{ name: ci, roles: [builder], identity: {{ {identity} }} }}]
{rest}
"
        );
        parse(Path::new("verbatim.yaml"), &text, &files).map_err(|error| error.to_string())
    }

    const TRUSTED: &str = "trust_root: { file: root.json }";

    fn read_identity(text: &str) -> Identity {
        let config = read(text, TRUSTED).unwrap_or_else(|error| panic!("{error}"));
        let key = config.policy.ring.iter().next().unwrap().clone();
        let Credential::Identity(identity) = key.key else { panic!("{key:?}") };
        *identity
    }

    #[test]
    fn an_identity_is_read() {
        let identity = read_identity(&format!("{WORKFLOW}, ref: refs/tags/v*, event: push"));
        let workflow = "https://github.com/acme/shop/.github/workflows/release.yml".to_owned();
        assert_eq!(identity.subject, IdentitySubject::Workflow(workflow));
        let parts = (identity.repository, identity.reference, identity.event);
        assert_eq!(parts, (None, Some("refs/tags/v*".to_owned()), Some("push".to_owned())));
        let person = "issuer: https://accounts.google.com, subject: anna@example.com";
        let subject = IdentitySubject::Exact("anna@example.com".to_owned());
        assert_eq!(read_identity(person).subject, subject);
        let called = format!("{WORKFLOW}, repository: https://github.com/acme/web");
        let repository = Some("https://github.com/acme/web".to_owned());
        assert_eq!(read_identity(&called).repository, repository);
    }

    #[test]
    fn the_policy_hash_follows_identities_and_the_trust_root() {
        let hashes = |identity: &str, rest: &str| {
            let policy = read(identity, rest).unwrap_or_else(|error| panic!("{error}")).policy;
            (policy.hash.unwrap(), policy.keys_hash.unwrap())
        };
        let right = hashes(WORKFLOW, TRUSTED);
        assert_eq!(right, hashes(WORKFLOW, "trust_root: { file: indented.json }"));
        let json = serde_json::Value::from(ROOT.as_str());
        assert_eq!(right, hashes(WORKFLOW, &format!("trust_root: {{ json: {json} }}")));
        let other = hashes(WORKFLOW, "trust_root: { file: other.json }");
        assert!(right.0 != other.0 && right.1 != other.1, "another trust root");
        for more in ["ref: refs/heads/main", "event: push", "repository: https://github.com/a/b"] {
            let other = hashes(&format!("{WORKFLOW}, {more}"), TRUSTED);
            assert!(right.0 != other.0 && right.1 != other.1, "{more}");
        }
    }

    #[test]
    fn mistakes_of_identities_are_shown_with_what_helps() {
        let issuer = "issuer: https://accounts.google.com";
        for (identity, rest, want) in [
            (WORKFLOW, "", "an identity needs a `trust_root`"),
            (WORKFLOW, "trust_root: {}", "a trust root has a `file`, or stands here as `json`"),
            (WORKFLOW, "trust_root: { file: empty.json }", "not a usable trust root"),
            (WORKFLOW, "trust_root: { file: nowhere.json }", "not a usable trust root"),
            (WORKFLOW, "trust_root: { json: '{}' }", "not a usable trust root"),
            (
                issuer,
                TRUSTED,
                "an identity has a `subject`, such as a mail address, or a `workflow`",
            ),
            ("subject: anna@example.com", TRUSTED, "issuer"),
            (
                "issuer: google, subject: anna@example.com",
                TRUSTED,
                "the `issuer` is an https address",
            ),
            (&format!("{issuer}, subject: ''"), TRUSTED, "an empty `subject` is nobody"),
            (&format!("{WORKFLOW}, subject: a"), TRUSTED, "a `subject` or a `workflow`, not both"),
            (&format!("{WORKFLOW}@refs/heads/main"), TRUSTED, "without its `@…`"),
            (
                &format!("{issuer}, workflow: https://github.com/acme/shop"),
                TRUSTED,
                "a file of a repository",
            ),
            (
                &format!("{issuer}, workflow: release.yml"),
                TRUSTED,
                "the `workflow` is an https address",
            ),
            (&format!("{WORKFLOW}, ref: main"), TRUSTED, "such as refs/heads/main for a branch"),
            (
                &format!("{WORKFLOW}, repository: acme/web"),
                TRUSTED,
                "the `repository` is an https address",
            ),
        ] {
            let error = read(identity, rest).map(|_| ()).expect_err(identity);
            assert!(error.contains(want), "{identity} {rest}: {error}");
        }
        // Two names for one identity could count as two people.
        let twice =
            format!("{WORKFLOW} }} }}, {{ name: again, roles: [builder], identity: {{ {WORKFLOW}");
        let error = read(&twice, TRUSTED).map(|_| ()).expect_err("the same identity twice");
        assert!(error.contains("`ci` and `again` are the same key"), "{error}");
        let both = format!(
            "{WORKFLOW} }}, file: ci.pub }}, {{ name: b, roles: [builder], identity: {{ {WORKFLOW}"
        );
        let error = read(&both, TRUSTED).map(|_| ()).expect_err("an identity and a key");
        assert!(
            error.contains("a key has an `identity`, or a `file` or a `pem`, not both"),
            "{error}"
        );
    }

    #[test]
    fn a_trust_root_stands_where_the_rules_do() {
        let text = "version: 1\ntrust_root: { file: ../root.json }\nkeys: [{ name: ci, file: ci.pub, roles: [a] }]\n";
        let found = FoundPolicy::file(Path::new("policies/shop.yaml"), text.to_owned());
        let named = ["policies/ci.pub", "policies/../root.json"].map(PathBuf::from);
        assert_eq!(found.key_files(), named);
        let error = read(WORKFLOW, "trust_root: { file: root.json }\npolicy: { file: rules.yaml }");
        let error = error.map(|_| ()).expect_err("a trust root beside a policy");
        assert!(error.contains("a trust root stands in the policy that is named"), "{error}");
    }
}
