//! `login`: obtain a token for a user name and a password, or check a token, and keep it for later commands.

use std::io::{BufRead, IsTerminal, Read, Write};

use clap::Args;
use secrecy::SecretString;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::argocd::{TokenStore, find_token};

use crate::api::client::{Client, Config};
use crate::cli::shared::failure::failure;
use crate::cli::shared::server::{Reach, ServerArgs, variable};

/// Obtain a token, or check one, and keep it
///
/// With a user name, the password is read from the terminal or, with --password-stdin, from the standard input. Without
/// one, the token that the other commands would use is checked. A token that was obtained is kept in a file that only
/// you can read.
///
/// Never give a password on the command line: other users of the machine can see it. After five wrong passwords Argo CD
/// refuses even the right one for some minutes, so it is never tried twice.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd login --server argocd.example.com --username admin
  echo \"$PASSWORD\" | verbatim-argocd login --server argocd.example.com --username ci --password-stdin
  ARGOCD_AUTH_TOKEN=… verbatim-argocd login --server argocd.example.com   # checks the token
  verbatim-argocd login --server argocd.example.com --ci-identity github-actions

--ci-identity needs no stored secret: the token that GitHub Actions (`permissions: {id-token: write}`) or GitLab
(`id_tokens: {GITLAB_OIDC_TOKEN: …}`) gives the job is exchanged through Dex, as Argo CD's documentation tells.")]
pub struct LoginArgs {
    #[command(flatten)]
    server: ServerArgs,

    /// Log in with this name and a password
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// Read the password from the standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,

    /// Read a token from the standard input, check it and keep it
    #[arg(long, conflicts_with_all = ["username", "auth_token"])]
    token_stdin: bool,

    /// Exchange the identity token of this CI job through this connector of Argo CD's Dex
    #[arg(long, value_name = "CONNECTOR", conflicts_with_all = ["username", "token_stdin", "auth_token"])]
    ci_identity: Option<String>,

    /// The variable that holds the identity token; without it that of GitLab, or GitHub is asked
    #[arg(
        long,
        value_name = "NAME",
        requires = "ci_identity",
        default_value = "GITLAB_OIDC_TOKEN"
    )]
    identity_variable: String,

    /// The audience to ask GitHub for; GitLab's is in its `id_tokens`
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
        self.kept_in.as_ref().map_or(Ok(()), |path| write!(f, "\nkept in {path}"))
    }
}

pub(crate) async fn run(args: LoginArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let Reach { config, key, environment } = args.server.reach(console)?;
    let (token, keep) = match (&args.username, &args.ci_identity) {
        (_, Some(connector)) => {
            let subject = identity(&args).await?;
            let client = Client::new(config.clone()).map_err(failure)?;
            (client.exchange(connector, &subject).await.map_err(no_exchange)?, true)
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
                        "there is no token to check and no user name to log in with",
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
            .ok_or_else(|| Failure::usage("there is no folder to keep the token in: set HOME"))?;
        store.put(&key, token).map_err(Failure::usage)?;
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

/// The identity token of this job.
async fn identity(args: &LoginArgs) -> Result<SecretString, Failure> {
    if let Some(token) = variable(&args.identity_variable) {
        return Ok(token.into());
    }
    let (Some(url), Some(token)) =
        (variable("ACTIONS_ID_TOKEN_REQUEST_URL"), variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
    else {
        return Err(Failure::usage("this job has no identity token")
            .hint(RIGHT_ON_GITHUB)
            .hint(format!("on GitLab: `id_tokens` with the name {}", args.identity_variable)));
    };
    let url = url.parse().map_err(|error| {
        Failure::usage(error).context("ACTIONS_ID_TOKEN_REQUEST_URL is not an address")
    })?;
    let github = Client::new(Config { token: Some(token.into()), ..Config::new(url) });
    let github = github.map_err(failure)?;
    github.github_identity(args.audience.as_deref()).await.map_err(|error| {
        let failure = failure(error);
        match failure.status {
            ExitStatus::Refused => Failure { hints: vec![RIGHT_ON_GITHUB.into()], ..failure },
            _ => failure,
        }
    })
}

fn no_exchange(error: crate::api::error::Error) -> Failure {
    let failure = failure(error);
    match failure.status {
        ExitStatus::Refused => Failure {
            hints: vec![
                "look whether `dex.config` in argocd-cm has this connector, whether its issuer is the one of this CI, and whether \
                 its `allowedGroups` have one of this job"
                    .into(),
                "why it is refused, Dex tells its own log only".into(),
            ],
            ..failure
        },
        _ => failure,
    }
}

fn wrong_password(error: crate::api::error::Error) -> Failure {
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
        return Err(Failure::usage("there is no terminal to ask for the password")
            .hint("use --password-stdin"));
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
