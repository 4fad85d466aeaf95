//! `login`: obtain a token for a user name and a password, or check a token, and keep it for later commands.

use std::io::{BufRead, IsTerminal, Read, Write};

use clap::Args;
use secrecy::SecretString;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::argocd::{JobLogin, StoredToken, TokenStore, find_token};

use crate::api::client::{Client, Config};
use crate::api::error::{Error, ErrorKind};
use crate::cli::shared::failure::failure;
use crate::cli::shared::job::job_identity;
use crate::cli::shared::server::{Reach, ServerArgs, variable};

/// Log in, or check a token, and store it
///
/// With --username, reads the password from the terminal, or from standard input with --password-stdin. Without it,
/// checks the token that the other commands would use. Stores a new token in a file that only you can read.
///
/// There is no --password, because other users of the machine can see command lines. After five wrong passwords Argo CD
/// locks the account for some minutes, so the password is never tried twice.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd login --server argocd.example.com --username admin
  echo \"$PASSWORD\" | verbatim-argocd login --server argocd.example.com \\
    --username ci --password-stdin
  ARGOCD_AUTH_TOKEN=… verbatim-argocd login --server argocd.example.com
  verbatim-argocd login --server argocd.example.com \\
    --ci-identity github-actions

--ci-identity needs no stored secret. It exchanges the token that the CI system
gives the job through Argo CD's Dex: on GitHub Actions the job needs
`permissions: {id-token: write}`, on GitLab
`id_tokens: {GITLAB_OIDC_TOKEN: …}`.")]
pub struct LoginArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Log in with this user name and a password
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// Read the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,

    /// Read a token from standard input, check it and store it
    #[arg(long, conflicts_with_all = ["username", "auth_token"])]
    token_stdin: bool,

    /// Exchange the identity token of this CI job through this Dex connector
    #[arg(long, value_name = "CONNECTOR", conflicts_with_all = ["username", "token_stdin", "auth_token"])]
    ci_identity: Option<String>,

    /// Variable with the identity token [default: as GitLab and GitHub provide it]
    #[arg(
        long,
        value_name = "NAME",
        requires = "ci_identity",
        default_value = "GITLAB_OIDC_TOKEN"
    )]
    identity_variable: String,

    /// Audience to request from GitHub; for GitLab set it in `id_tokens`
    #[arg(long, value_name = "URL", requires = "ci_identity")]
    audience: Option<String>,
}

#[derive(Serialize)]
struct LoggedIn {
    server: String,
    username: String,
    version: String,
    kept_in: Option<String>,
}

impl std::fmt::Display for LoggedIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} (Argo CD {})", self.username, self.server, self.version)?;
        self.kept_in.as_ref().map_or(Ok(()), |path| write!(f, "\nstored in {path}"))
    }
}

pub(crate) async fn run(args: LoginArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let Reach { config, key, environment } = args.server.reach(console)?;
    let mut job = None;
    let (token, keep) = match (&args.username, &args.ci_identity) {
        (_, Some(connector)) => {
            let login = JobLogin {
                connector: connector.clone(),
                variable: args.identity_variable.clone(),
                audience: args.audience.clone(),
            };
            let Some(identity) = job_identity(&login, &variable)? else {
                return Err(Failure::usage("this job has no identity token")
                    .hint(RIGHT_ON_GITHUB)
                    .hint(format!("on GitLab: `id_tokens` with the name {}", login.variable)));
            };
            let client = Client::new(config.clone()).map_err(failure)?;
            job = Some(login);
            (client.log_in_as(&identity).await.map_err(no_session)?, true)
        }
        (Some(username), None) => {
            let password = password(username, args.password_stdin)?;
            let client = Client::new(config.clone()).map_err(failure)?;
            (client.login(username, &password).await.map_err(wrong_password)?, true)
        }
        (None, None) if args.token_stdin => (line_of_stdin("the token")?, true),
        (None, None) => match args.server.auth_token {
            Some(token) => (token, true),
            None => match find_token(&environment, &key).map_err(Failure::usage)? {
                Some(found) => (found.token, false),
                None => {
                    return Err(Failure::usage(
                        "no token to check and no user name to log in with",
                    )
                    .hint("use --username NAME, or --token-stdin"));
                }
            },
        },
    };
    let client = Client::new(Config { token: Some(token.clone()), ..config }).map_err(failure)?;
    let user = client.who_am_i().await.map_err(failure)?;
    let version = client.version().await.map_err(failure)?.version;
    let mut kept_in = None;
    if keep {
        let store = TokenStore::from_environment(&environment)
            .ok_or_else(|| Failure::usage("no folder to store the token in: set HOME"))?;
        store.put(&key, StoredToken { token, job }).map_err(Failure::usage)?;
        kept_in = Some(store.path().display().to_string());
    }
    console.result(&LoggedIn {
        server: client.server().to_string(),
        username: user.username,
        version,
        kept_in,
    })?;
    Ok(ExitStatus::Done)
}

/// What lets a job of GitHub Actions ask who it is.
const RIGHT_ON_GITHUB: &str = "on GitHub, the job needs `permissions: {id-token: write}`";

fn no_session(error: Error) -> Failure {
    let is_githubs = matches!(error.kind, ErrorKind::PermissionDenied(_));
    let failure = failure(error);
    let hints = match failure.status {
        ExitStatus::Refused if is_githubs => vec![RIGHT_ON_GITHUB.into()],
        ExitStatus::Refused => vec![
            "look whether `dex.config` in argocd-cm has this connector, whether its issuer is the one of this CI, and whether \
             its `allowedGroups` have one of this job"
                .into(),
            "why it is refused, Dex tells its own log only".into(),
        ],
        _ => return failure,
    };
    Failure { hints, ..failure }
}

fn wrong_password(error: Error) -> Failure {
    let failure = failure(error);
    match failure.status {
        ExitStatus::Refused => Failure {
            hints: vec![
                "the name or the password is wrong, or there were too many wrong ones: then wait five minutes".into(),
            ],
            ..failure
        },
        _ => failure,
    }
}

fn password(username: &str, from_stdin: bool) -> Result<SecretString, Failure> {
    if from_stdin {
        return line_of_stdin("the password");
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage("no terminal to ask for the password").hint("use --password-stdin")
        );
    }
    ask(username).map_err(|error| Failure::usage(error).context("cannot read the password"))
}

pub(crate) fn line_of_stdin(what: &str) -> Result<SecretString, Failure> {
    let mut text = String::new();
    // A password has no line end; more than a few kilobytes are no password.
    let read = std::io::stdin().lock().take(65_536).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(error).context(format!("cannot read {what}")))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err(Failure::usage(format!("{what} is not on the standard input")));
    }
    Ok(text.into())
}

/// Asks on the terminal without showing what is typed.
fn ask(username: &str) -> std::io::Result<SecretString> {
    let mut stderr = std::io::stderr();
    write!(stderr, "Password of {username}: ")?;
    stderr.flush()?;
    let hidden = Echo::off();
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    drop(hidden);
    writeln!(stderr)?;
    read?;
    Ok(line.trim_end_matches(['\n', '\r']).into())
}

/// Keeps the terminal from showing what is typed, until it is dropped.
struct Echo;

impl Echo {
    fn off() -> Self {
        Self::set("-echo");
        Self
    }

    /// By the program that every Unix has for it: the library calls are unsafe.
    fn set(mode: &str) {
        let _ = std::process::Command::new("stty")
            .arg(mode)
            .stdin(std::process::Stdio::inherit())
            .status();
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        Self::set("echo");
    }
}
