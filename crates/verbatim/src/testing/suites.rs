//! Runs the commands that test an environment, one after the other, and tells how each ended. Knows nothing of records.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_oci::Digest;

use crate::config::Suite;
use crate::project::Variables;
use crate::project::child::{end, told};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SuiteResult {
    /// Its command ended with 0.
    Passed,
    /// It did not, and how.
    Failed(String),
    /// Somebody interrupted it: no word on whether it would have passed.
    Interrupted,
}

/// Checks that the files of a suite are those that the policy pins.
pub(crate) fn check(name: &str, suite: &Suite, folder: &Path) -> Result<(), Failure> {
    for (file, pinned) in &suite.files {
        let found = std::fs::read(folder.join(file)).map(|bytes| Digest::of(&bytes));
        let found = match found {
            Ok(found) if found == *pinned => continue,
            Ok(found) => format!("it has {found}"),
            Err(error) => format!("cannot read it: {error}"),
        };
        let what = format!("{file} of the suite {name} is not the file that the policy pins");
        return Err(Failure::new(ExitStatus::No, what)
            .hint(format!("the policy pins {pinned}; {found}"))
            .hint("`verbatim policy pin` prints the pins of the files as they are now"));
    }
    Ok(())
}

/// Variables that programs need to work at all: where they are, who they are for, in which language, through which proxy.
const USUAL: [&str; 24] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "TMPDIR",
    "TZ",
    "LANG",
    "LANGUAGE",
    "CI",
    "NO_COLOR",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
];

/// Whether a suite is given a variable of the job.
fn is_given(name: &str, suite: &Suite) -> bool {
    USUAL.contains(&name)
        || name.strip_prefix("LC").is_some_and(|rest| rest.starts_with('_'))
        || suite.pass.iter().any(|pass| pass == name)
}

/// Runs one suite. `job` are the variables of this process. What it prints goes to stderr as it comes: stdout belongs to the result.
pub(crate) async fn run(
    suite: &Suite,
    folder: &Path,
    variables: &[(String, String)],
    job: &Variables,
    console: &Console,
) -> SuiteResult {
    let mut command = Command::new("sh");
    command
        .args(["-c", &suite.run])
        .current_dir(folder)
        // The key is for records, the token for deployments: tests have no business with either.
        .env_clear()
        .envs(job.iter().filter(|(name, _)| is_given(name, suite)))
        .envs(&suite.env)
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .stderr(std::io::stderr())
        // A group of its own, so that what it has started can be ended with it.
        .process_group(0)
        .kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return SuiteResult::Failed(format!("cannot start its command: {error}")),
    };
    tokio::select! {
        ended = child.wait() => match ended {
            Ok(status) if status.success() => SuiteResult::Passed,
            Ok(status) => SuiteResult::Failed(told(status)),
            Err(error) => SuiteResult::Failed(format!("cannot wait for it: {error}")),
        },
        () = tokio::time::sleep(suite.timeout) => {
            end(&mut child).await;
            SuiteResult::Failed(format!("it did not end within {} s", suite.timeout.as_secs()))
        }
        () = console.interrupt().cancelled() => {
            end(&mut child).await;
            SuiteResult::Interrupted
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    fn suite(run: &str, timeout: Duration) -> Suite {
        Suite {
            run: run.to_owned(),
            timeout,
            env: BTreeMap::from([("OWN".to_owned(), "own".to_owned())]),
            pass: vec!["MINE".to_owned()],
            files: BTreeMap::new(),
        }
    }

    #[tokio::test]
    async fn a_suite_passes_or_says_how_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let variables = [("VERBATIM_DIGEST".to_owned(), "sha256:x".to_owned())];
        let mut job = crate::project::variables();
        let secrets = ["VERBATIM_KEY", "ARGOCD_AUTH_TOKEN", "MY_SECRET", "MINE"];
        job.extend(secrets.map(|name| (name.to_owned(), "x".to_owned())));
        let long = Duration::from_secs(60);
        let failed = |why: &str| SuiteResult::Failed(why.to_owned());
        let cases = [
            ("true", long, SuiteResult::Passed),
            ("exit 3", long, failed("its command ended with status 3")),
            ("kill -9 $$", long, failed("its command was ended by signal 9")),
            ("test \"$VERBATIM_DIGEST$OWN\" = sha256:xown", long, SuiteResult::Passed),
            ("test \"$(pwd -P)\" = \"$(cd . && pwd -P)\" && touch here", long, SuiteResult::Passed),
            ("test -z \"$VERBATIM_KEY$ARGOCD_AUTH_TOKEN$MY_SECRET\"", long, SuiteResult::Passed),
            ("test \"$MINE\" = x && test -n \"$PATH\"", long, SuiteResult::Passed),
            ("sleep 60 & wait", Duration::from_millis(20), failed("it did not end within 0 s")),
        ];
        for (line, timeout, want) in cases {
            let got =
                run(&suite(line, timeout), folder.path(), &variables, &job, &Console::silent())
                    .await;
            assert_eq!(got, want, "{line}");
        }
        assert!(folder.path().join("here").exists(), "it runs in the folder of the configuration");
    }

    #[test]
    fn a_suite_has_the_files_that_are_pinned() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("smoke.sh"), "exit 1").unwrap();
        for (file, text, is_right) in [
            ("smoke.sh", "exit 1", true),
            ("smoke.sh", "exit 0", false),
            ("other.sh", "exit 1", false),
        ] {
            let files = BTreeMap::from([(file.to_owned(), Digest::of(text.as_bytes()))]);
            let suite = Suite { files, ..suite("./smoke.sh", Duration::ZERO) };
            assert_eq!(check("smoke", &suite, folder.path()).is_ok(), is_right, "{file} {text}");
        }
    }

    #[tokio::test]
    async fn an_interrupt_ends_the_suite() {
        let folder = tempfile::tempdir().unwrap();
        let console = Console::silent();
        console.interrupt().cancel();
        let got = run(
            &suite("sleep 60", Duration::from_secs(60)),
            folder.path(),
            &[],
            &Variables::default(),
            &console,
        )
        .await;
        assert_eq!(got, SuiteResult::Interrupted);
    }
}
