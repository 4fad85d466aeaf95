//! What the argocd command line has and we do not, by its name there: whoever types it out of habit is told what to use.

use clap::{Args, Subcommand};
use verbatim_console::Failure;

/// Commands of argocd that do not exist here
#[derive(Clone, Debug, Subcommand)]
pub enum AbsentCommand {
    /// The word that argocd has before most commands
    #[command(hide = true)]
    App(Words),
    /// Sets of applications
    #[command(hide = true)]
    Appset(Words),
    /// Accounts
    #[command(hide = true)]
    Account(Words),
    /// Certificates of repositories
    #[command(hide = true)]
    Cert(Words),
    /// Keys of commits
    #[command(hide = true)]
    Gpg(Words),
    /// Credentials of many repositories
    #[command(hide = true)]
    Repocreds(Words),
    /// Administration
    #[command(hide = true)]
    Admin(Words),
    /// Servers
    #[command(hide = true)]
    Context(Words),
    /// The end of a login
    #[command(hide = true)]
    Logout(Words),
    /// A new login
    #[command(hide = true)]
    Relogin(Words),
    /// Completions
    #[command(hide = true)]
    Completion(Words),
}

/// Everything behind the command
#[derive(Clone, Debug, Args)]
#[command(disable_help_flag = true)]
pub struct Words {
    /// The rest of the line
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

impl AbsentCommand {
    /// Says what to use.
    pub(super) fn failure(&self) -> Failure {
        let (name, rest) = match self {
            Self::App(rest) => ("app", rest),
            Self::Appset(rest) => ("appset", rest),
            Self::Account(rest) => ("account", rest),
            Self::Cert(rest) => ("cert", rest),
            Self::Gpg(rest) => ("gpg", rest),
            Self::Repocreds(rest) => ("repocreds", rest),
            Self::Admin(rest) => ("admin", rest),
            Self::Context(rest) => ("context", rest),
            Self::Logout(rest) => ("logout", rest),
            Self::Relogin(rest) => ("relogin", rest),
            Self::Completion(rest) => ("completion", rest),
        };
        let first = rest.words.first().map_or("", String::as_str);
        let what = if first.is_empty() || first.starts_with('-') {
            format!("no command `{name}`")
        } else {
            format!("no command `{name} {first}`")
        };
        Failure::usage(what).hint(advice(name, first))
    }
}

/// What to do instead of a command of argocd.
fn advice(name: &str, first: &str) -> &'static str {
    match (name, first) {
        ("app", "set") => "verbatim argocd override for values, set for everything else",
        ("app", "terminate-op") => "verbatim argocd terminate",
        ("app", "edit") => {
            "there is no editor in a pipeline: verbatim argocd patch, or create --file FILE --upsert"
        }
        ("app", "add-source" | "remove-source") => "verbatim argocd create --file FILE --upsert",
        ("app", _) => "leave the word `app` out, as in verbatim argocd sync",
        ("account", "get-user-info") => "verbatim argocd whoami",
        ("account", "can-i") => "verbatim argocd can-i",
        ("context", _) => "name the server with --server or ARGOCD_SERVER",
        ("logout", _) => "remove the file that `verbatim argocd login` names",
        ("relogin", _) => "verbatim argocd login",
        ("completion", _) => "verbatim completions",
        _ => "this sets up an Argo CD, and a pipeline does not: use argocd",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_argocd_that_is_not_here_has_an_advice() {
        let cases = [
            ("app", "set", "override for values, set for"),
            ("app", "terminate-op", "terminate"),
            ("app", "patch", "leave the word"),
            ("app", "edit", "create --file"),
            ("app", "add-source", "create --file"),
            ("app", "remove-source", "create --file"),
            ("app", "actions", "leave the word"),
            ("app", "sync", "leave the word"),
            ("app", "", "leave the word"),
            ("account", "get-user-info", "whoami"),
            ("account", "can-i", "can-i"),
            ("account", "update-password", "use argocd"),
            ("appset", "create", "use argocd"),
            ("cert", "add-tls", "use argocd"),
            ("gpg", "add", "use argocd"),
            ("repocreds", "add", "use argocd"),
            ("admin", "export", "use argocd"),
            ("context", "", "--server"),
            ("logout", "x", "remove the file"),
            ("relogin", "", "login"),
            ("completion", "bash", "completions"),
        ];
        for (name, first, want) in cases {
            assert!(advice(name, first).contains(want), "{name} {first}");
        }
    }
}
