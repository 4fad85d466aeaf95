//! The environment variables that the tools read, as a page; and the check that the list is whole.
//!
//! The sources are searched for string literals that look like variables. One that the list does not know is an
//! error, and so is one of the list that no source has.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Generated;

/// Who reads a variable, or why its name is in the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// A source of this workspace names it.
    Tools,
    /// A library reads it; no source here has its name.
    Library,
    /// It is set for programs that a tool starts, or is no environment variable at all. Not on the page.
    Nobody,
}

use Reader::{Library, Nobody, Tools};

/// Its name, who reads it, what it means.
type Variable = (&'static str, Reader, &'static str);

/// The groups of the page, and their variables in the order of the page.
const GROUPS: &[(&str, &[Variable])] = &[
    (
        "verbatim",
        &[
            ("VERBATIM_CONFIG", Tools, "the configuration file; the same as `--config`"),
            (
                "VERBATIM_POLICY",
                Tools,
                "where the rules are; the same as `--policy`. An empty one is refused",
            ),
            ("VERBATIM_RELEASE", Tools, "the release of this stage; the same as `--release`"),
            ("VERBATIM_KEY", Tools, "the private key that signs records, in PEM; **secret**"),
            ("VERBATIM_KEY_FILE", Tools, "a file with that key; the same as `--key`"),
            (
                "COSIGN_PASSWORD",
                Tools,
                "the password of a key file that cosign encrypted; **secret**",
            ),
            (
                "VERBATIM_SIGNER",
                Tools,
                "a command that signs in the place of a key; the same as `--signer`",
            ),
            ("VERBATIM_FORMAT", Tools, "`human` or `json`; the same as `--format`"),
            (
                "VERBATIM_LOG",
                Tools,
                "what developers see on stderr, such as `verbatim_registry=debug`",
            ),
            (
                "GIT_SSH_COMMAND",
                Tools,
                "how git runs SSH for a policy in a git repository; left alone, SSH asks nobody anything",
            ),
            ("GIT_SSH", Tools, "the same, as a program"),
            (
                "GITHUB_EVENT_PATH",
                Tools,
                "on GitHub the file that tells a pull request's last commit and whether it comes from a fork",
            ),
            (
                "SOURCE_DATE_EPOCH",
                Tools,
                "the time of an image and of the files in its context, in seconds (reproducible-builds.org)",
            ),
        ],
    ),
    (
        "Variables that `verbatim test` sets for the commands of an environment",
        &[
            ("VERBATIM_RELEASE", Tools, "the release, `repository:tag@digest`"),
            ("VERBATIM_REPOSITORY", Tools, "its repository"),
            ("VERBATIM_TAG", Tools, "its tag, if it has one"),
            ("VERBATIM_DIGEST", Tools, "its digest"),
            ("VERBATIM_COMMIT", Tools, "the commit it was built from, if known"),
            ("VERBATIM_PROJECT", Tools, "the project"),
            ("VERBATIM_ENVIRONMENT", Tools, "the environment"),
            (
                "VERBATIM_URL",
                Tools,
                "where the environment is reached, if the configuration says so",
            ),
            ("VERBATIM_URLS", Tools, "where its applications are reached, as a JSON object"),
            ("VERBATIM_IMAGES", Tools, "its images by name, as a JSON object"),
        ],
    ),
    (
        "Variables that `--signer` sets for its command",
        &[
            (
                "VERBATIM_SECRETS_ON_STDIN",
                Nobody,
                "verbatim sets it for itself, when it begins anew before tests are run",
            ),
            ("VERBATIM_SHA256", Tools, "SHA-256 of the bytes to sign, in hexadecimal"),
            ("VERBATIM_SHA256_BASE64", Tools, "the same in base64"),
        ],
    ),
    (
        "Docker Engine",
        &[
            ("DOCKER_HOST", Tools, "the engine, such as `unix:///var/run/docker.sock`"),
            ("DOCKER_CONTEXT", Tools, "the name of a docker context; `DOCKER_HOST` wins"),
            ("DOCKER_TLS_VERIFY", Tools, "speak TLS to a `tcp://` engine, when not empty"),
            ("DOCKER_CERT_PATH", Tools, "folder of `ca.pem`, `cert.pem` and `key.pem` for it"),
        ],
    ),
    (
        "Registries",
        &[
            ("DOCKER_CONFIG", Tools, "folder of Docker's `config.json`; `~/.docker` when unset"),
            (
                "DOCKER_AUTH_CONFIG",
                Tools,
                "the content of a `config.json`, of which `auths` counts; **secret**",
            ),
            ("REGISTRY_AUTH_FILE", Tools, "a file of logins in the form that Podman writes"),
            (
                "VERBATIM_PLAIN_HTTP",
                Tools,
                "registries that are spoken to in plain HTTP, with commas between them",
            ),
            (
                "VERBATIM_REGISTRY_CA",
                Tools,
                "a file with certificates to trust beside those of the system",
            ),
            (
                "VERBATIM_TRUST_REALM",
                Tools,
                "token servers of another site that are shown credentials",
            ),
            ("XDG_RUNTIME_DIR", Tools, "where Podman's file of logins lies, below `containers/`"),
            ("XDG_CONFIG_HOME", Tools, "where configuration lies; `~/.config` when unset"),
            ("HOME", Tools, "where `~` is"),
            ("PATH", Tools, "where `git` and credential helpers are found"),
        ],
    ),
    (
        "Argo CD",
        &[
            (
                "ARGOCD_SERVER",
                Tools,
                "the server that `ARGOCD_AUTH_TOKEN` is for; in `verbatim.yaml` also that of other tokens, unless `ARGOCD_EU_SERVER` says it of `ARGOCD_EU_TOKEN`",
            ),
            ("ARGOCD_AUTH_TOKEN", Tools, "a token; **secret**"),
            ("KUBECONFIG", Tools, "kubeconfigs, as kubectl reads them, for `via: kubernetes`"),
            (
                "ARGOCD_OPTS",
                Tools,
                "options for all commands, as the `argocd` command line reads them",
            ),
            ("ARGOCD_CONFIG_DIR", Tools, "folder of the `argocd` command line's `config`"),
            (
                "GITLAB_OIDC_TOKEN",
                Tools,
                "the identity of a GitLab job, for `argocd login --ci-identity`; **secret**",
            ),
            (
                "ACTIONS_ID_TOKEN_REQUEST_URL",
                Tools,
                "where a GitHub job asks for its identity, for the same",
            ),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", Tools, "with what it asks; **secret**"),
            ("ACTIONS_RUNTIME_TOKEN", Nobody, "kept from tests"),
            ("SSL_CERT_DIR", Nobody, "given to tests"),
            ("SSL_CERT_FILE", Nobody, "given to tests"),
            ("XDG_CACHE_HOME", Nobody, "given to tests"),
        ],
    ),
    (
        "Terminal and network",
        &[
            ("NO_COLOR", Tools, "no colours, when not empty (no-color.org)"),
            ("CLICOLOR_FORCE", Tools, "colours even where no terminal is, unless `0`"),
            ("CI", Tools, "lines are not redrawn, when set and not `false`"),
            ("TERM", Tools, "`dumb` means neither colours nor redrawing"),
            ("HTTPS_PROXY", Tools, "the proxy for `https://`; also in lower case, as those below"),
            ("HTTP_PROXY", Tools, "the proxy for `http://`"),
            ("ALL_PROXY", Tools, "the proxy for both"),
            (
                "NO_PROXY",
                Tools,
                "names, addresses and networks that are reached without a proxy, as curl and Go read it: `*.example.com`, `10.0.0.0/8`, `host:5000`",
            ),
            (
                "REQUEST_METHOD",
                Tools,
                "when set, as for a CGI program, `HTTP_PROXY` does not count",
            ),
        ],
    ),
    (
        "",
        &[
            ("GIT_TERMINAL_PROMPT", Nobody, ""),
            ("GIT_ALLOW_PROTOCOL", Nobody, ""),
            ("GIT_DIR", Nobody, ""),
            ("GIT_WORK_TREE", Nobody, ""),
            ("GIT_INDEX_FILE", Nobody, ""),
            ("GIT_OBJECT_DIRECTORY", Nobody, ""),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", Nobody, ""),
            ("GIT_COMMON_DIR", Nobody, ""),
            ("GIT_NAMESPACE", Nobody, ""),
            ("GIT_SHALLOW_FILE", Nobody, ""),
            ("GIT_COMMITTER_DATE", Nobody, ""),
            ("GIT_CONFIG_GLOBAL", Nobody, ""),
            ("GIT_CONFIG_NOSYSTEM", Nobody, ""),
            ("GIT_OPTIONAL_LOCKS", Nobody, ""),
            ("GIT_NO_REPLACE_OBJECTS", Nobody, ""),
            ("LC_ALL", Nobody, ""),
            ("CARGO_PKG_REPOSITORY", Nobody, ""),
            ("CARGO_PKG_VERSION", Nobody, ""),
            ("VERBATIM_COMMIT", Nobody, "of a release, when it is built"),
            ("VERBATIM_TARGET", Nobody, "the same"),
            ("SLSA_BUILD_LEVEL_1", Nobody, ""),
            ("SLSA_BUILD_LEVEL_UNEVALUATED", Nobody, ""),
            ("MANIFEST_BLOB_UNKNOWN", Nobody, ""),
            ("MANIFEST_UNKNOWN", Nobody, ""),
            ("MANIFEST_INVALID", Nobody, ""),
            ("SIZE_INVALID", Nobody, ""),
            ("BLOB_UNKNOWN", Nobody, ""),
            ("NAME_INVALID", Nobody, ""),
            ("NAME_UNKNOWN", Nobody, ""),
        ],
    ),
];

/// The crate whose subject is environment variables: every CI has its own, and its page is their documentation.
const CI: &str = "verbatim-ci";

/// docs/environment.md, after comparing the list with the sources below `root`.
pub(super) fn page(root: &Path) -> Result<Generated> {
    let mut named = BTreeSet::new();
    collect(&root.join("crates"), &mut named)?;
    compare(&named)?;
    let mut text = String::from(
        "<!-- Made by `cargo xtask codegen` from the code; changes here are lost. -->\n\
         # Environment variables\n\n\
         Options on the command line win over variables; an empty variable counts as unset. What each CI tells in \
         its own variables is read too: see `verbatim ci --help`.\n",
    );
    for (title, variables) in GROUPS.iter().filter(|(title, _)| !title.is_empty()) {
        text.push_str(&format!("\n## {title}\n\n| variable | meaning |\n|---|---|\n"));
        for (name, _, meaning) in *variables {
            text.push_str(&format!("| `{name}` | {meaning} |\n"));
        }
    }
    Ok(Generated::new("docs/environment.md", text))
}

/// Finds what the list and the sources do not agree on.
fn compare(named: &BTreeSet<String>) -> Result<()> {
    let rows = || GROUPS.iter().flat_map(|(_, variables)| variables.iter());
    let known: BTreeSet<&str> = rows().map(|(name, ..)| *name).collect();
    let mut wrong: Vec<String> = named
        .iter()
        .filter(|name| !known.contains(name.as_str()))
        .map(|name| format!("{name} is in the sources and not in the list"))
        .collect();
    wrong.extend(
        rows()
            .filter(|(name, reader, _)| *reader != Library && !named.contains(*name))
            .map(|(name, ..)| format!("{name} is in the list and not in the sources")),
    );
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "the list of environment variables in xtask/src/codegen/environment.rs is not current\n  {}",
        wrong.join("\n  ")
    )
}

/// The variables that the sources below `folder` name outside their tests.
fn collect(folder: &Path, named: &mut BTreeSet<String>) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("failed to read {}", folder.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() {
            if name != CI && name != "tests" && name != "examples" {
                collect(&path, named)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs"
        {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("failed to read {}", path.display()))?;
            named.extend(variables(&text).map(str::to_owned));
        }
    }
    Ok(())
}

/// String literals that look like a variable: capitals, digits and underscores, or one of the short old names.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|literal| {
            let shape = |character: char| {
                character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_'
            };
            let short = ["HOME", "CI", "TERM", "PATH", "KUBECONFIG"].contains(literal);
            short
                || (literal.starts_with(|first: char| first.is_ascii_uppercase())
                    && literal.contains('_')
                    && literal.chars().all(shape))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_told_from_other_literals() {
        let text = "a(\"DOCKER_HOST\");\n// \"IN_COMMENT\"\nb(\"HOME\", \"Not_A\", \"GET\", \"sha_256\");\n#[cfg(test)]\nmod tests { \"IN_TEST\" }";
        assert_eq!(variables(text).collect::<Vec<_>>(), ["DOCKER_HOST", "HOME"]);
    }

    #[test]
    fn both_sides_of_a_difference_are_told() {
        let all: BTreeSet<String> = GROUPS
            .iter()
            .flat_map(|(_, variables)| variables.iter())
            .filter(|(_, reader, _)| *reader != Library)
            .map(|(name, ..)| (*name).to_owned())
            .collect();
        compare(&all).unwrap();
        let mut other = all.clone();
        other.remove("NO_COLOR");
        other.insert("NEW_ONE".to_owned());
        let message = compare(&other).unwrap_err().to_string();
        assert!(message.contains("NEW_ONE is in the sources and not in the list"), "{message}");
        assert!(message.contains("NO_COLOR is in the list and not in the sources"), "{message}");
    }
}
