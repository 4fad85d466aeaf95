//! Credential helpers: programs named `docker-credential-NAME` that keep a credential somewhere safer than a file.
//!
//! Protocol: <https://github.com/docker/docker-credential-helpers#usage>. Only `get` is used; login tools store
//! credentials.

use std::process::Stdio;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::{Credential, ErrorKind};

/// A credential is short; a helper that never stops writing must not fill the memory.
const ANSWER_LIMIT: u64 = 1024 * 1024;

/// As the user name: the secret is an identity token.
const TOKEN_USERNAME: &str = "<token>";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperCredential {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: SecretString,
}

/// Asks `docker-credential-{name}` for the credential of `server`. `None` if the helper has none.
pub(crate) async fn get(
    name: &str,
    server: &str,
    deadline: Duration,
) -> Result<Option<Credential>, ErrorKind> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(good) {
        return Err(ErrorKind::HelperName(name.to_owned()));
    }
    tracing::debug!(helper = name, server, "asking a credential helper");
    match tokio::time::timeout(deadline, run(name, server)).await {
        Ok(answer) => judge(name, answer?),
        Err(_) => Err(ErrorKind::HelperTimeout { name: name.to_owned(), deadline }),
    }
}

/// The output of a helper, and whether it succeeded.
struct HelperOutput {
    success: bool,
    output: SecretString,
}

async fn run(name: &str, server: &str) -> Result<HelperOutput, ErrorKind> {
    let spawned = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        // The deadline drops this future, and with it the helper.
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::HelperMissing(name.to_owned()),
        _ => ErrorKind::Io(error),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that fails early closes its input; its exit status says more than a broken pipe.
        let _ = stdin.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(ANSWER_LIMIT).read_to_end(&mut output).await.map_err(ErrorKind::Io)?;
    }
    let status = child.wait().await.map_err(ErrorKind::Io)?;
    let output = String::from_utf8_lossy(&output).into_owned().into();
    Ok(HelperOutput { success: status.success(), output })
}

fn judge(name: &str, helper: HelperOutput) -> Result<Option<Credential>, ErrorKind> {
    let output = helper.output.expose_secret();
    if !helper.success {
        if says_not_found(output) {
            return Ok(None);
        }
        // On failure the output is a message for people.
        let message: String =
            output.lines().next().unwrap_or("no message").chars().take(200).collect();
        return Err(ErrorKind::HelperFailed { name: name.to_owned(), message });
    }
    let answer: HelperCredential =
        serde_json::from_str(output).map_err(|_| ErrorKind::HelperAnswer(name.to_owned()))?;
    Ok(match (answer.username.as_str(), answer.secret.expose_secret().is_empty()) {
        ("", true) => None,
        (TOKEN_USERNAME, _) => Some(Credential::IdentityToken(answer.secret)),
        _ => Some(Credential::Basic { username: answer.username, password: answer.secret }),
    })
}

/// The protocol has no other sign for "I have none" than this text on the helper's standard output, see
/// `errCredentialsNotFoundMessage` in `credentials/error.go` of docker-credential-helpers 0.9.3:
/// "credentials not found in native keychain".
fn says_not_found(output: &str) -> bool {
    output.trim() == "credentials not found in native keychain"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(success: bool, output: &str, want: Result<Option<&str>, &str>) {
        let got = judge("x", HelperOutput { success, output: output.to_owned().into() });
        let got = got.map_err(|error| error.to_string()).map(|credential| {
            credential.map(|credential| match credential {
                Credential::Basic { username, password } => {
                    format!("{username}:{}", password.expose_secret())
                }
                Credential::IdentityToken(token) => format!("identity:{}", token.expose_secret()),
                other => format!("{other:?}"),
            })
        });
        let want = want.map(|text| text.map(str::to_owned)).map_err(str::to_owned);
        assert_eq!(got, want, "{output}");
    }

    #[test]
    fn answers_are_judged() {
        check(true, r#"{"ServerURL":"h","Username":"u","Secret":"s"}"#, Ok(Some("u:s")));
        check(true, r#"{"Username":"<token>","Secret":"t"}"#, Ok(Some("identity:t")));
        check(true, r#"{"Username":"","Secret":""}"#, Ok(None));
        check(false, "credentials not found in native keychain\n", Ok(None));
        check(false, "locked\nmore", Err("`docker-credential-x` failed: locked"));
        check(false, "", Err("`docker-credential-x` failed: no message"));
        check(true, "hello", Err("`docker-credential-x` did not answer with a credential"));
    }

    #[tokio::test]
    async fn a_helper_has_a_plain_name_and_is_installed() {
        let check = async |name: &str, want: &str| {
            let error = get(name, "h", Duration::from_secs(5)).await.unwrap_err();
            assert_eq!(error.to_string(), want);
        };
        check("../x", "`../x` is not the name of a credential helper").await;
        check("", "`` is not the name of a credential helper").await;
        check("no-such-helper", "`docker-credential-no-such-helper` is not in the PATH").await;
    }
}
