//! `rollback`: deploy again what was deployed before.

use std::time::Duration;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};

use crate::api::request::AppRef;
use crate::cli::shared::apps::AppsArgs;
use crate::cli::shared::failure::failure;
use crate::cli::shared::report::conclude_each;
use crate::cli::shared::server::ServerArgs;
use crate::cli::shared::show::listener;
use crate::cli::shared::values::duration;
use crate::run::operate;
use crate::run::request::DeployOptions;

/// Deploy an entry of the history again
///
/// With the sources and overrides of that deployment, and without hooks. The application itself is not changed, so it is
/// out of sync afterwards, and the next sync deploys again what it says: to stay on the old values, write them with
/// `override`, or use `verbatim rollback`. Argo CD refuses it for applications that sync by themselves.
///
/// Behind one application may stand the number of the deployment, as in `argocd app rollback`. Several applications are
/// each rolled back to the deployment before their last one, or all to the one that --id names.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd history shop
  verbatim-argocd rollback shop 3
  verbatim-argocd rollback shop              # to the deployment before the last one
  verbatim-argocd rollback shop cart         # each of them
  verbatim-argocd rollback -l team=web --prune")]
pub struct RollbackArgs {
    #[command(flatten)]
    apps: AppsArgs,

    /// The number of the deployment; else the one before the last
    #[arg(long, value_name = "ID")]
    id: Option<i64>,

    #[command(flatten)]
    server: ServerArgs,

    /// Delete resources that the old deployment did not have
    #[arg(long)]
    prune: bool,

    /// The most that it may take: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,
}

pub(crate) async fn run(args: RollbackArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let (app, id) = apps_and_id(args.apps.app.clone(), args.id)?;
    let apps = args.apps.with(app);
    let client = args.server.client(console)?;
    let options =
        DeployOptions { timeout: args.timeout, prune: args.prune, ..DeployOptions::default() };
    let rollback = |app: AppRef| {
        let (client, options) = (&client, &options);
        async move {
            let name = app.to_string();
            let progress = console.progress(format!("rolling {name} back"));
            let listener = listener(console, &progress, &name);
            operate::rollback(client, &app, id, options, &listener).await.map_err(failure)
        }
    };
    conclude_each(&apps, &client, console, rollback).await
}

/// Takes the number of the deployment from behind the application, where argocd has it.
///
/// # Errors
///
/// If a number stands behind several applications: it could be the name of one, and there is one history for each.
fn apps_and_id(
    mut apps: Vec<AppRef>,
    id: Option<i64>,
) -> Result<(Vec<AppRef>, Option<i64>), Failure> {
    let number = match apps.as_slice() {
        [_, .., last] if last.namespace.is_none() => last.name.parse::<i64>().ok(),
        _ => None,
    };
    match (number, id) {
        (None, id) => Ok((apps, id)),
        (Some(number), None) if apps.len() == 2 => {
            apps.truncate(1);
            Ok((apps, Some(number)))
        }
        (Some(number), None) => Err(Failure::usage(format!(
            "{number} behind several applications may be a deployment or an application"
        ))
        .hint(format!("--id {number} is the deployment, NAMESPACE/{number} the application"))),
        (Some(number), Some(id)) => {
            Err(Failure::usage(format!("two deployments are named: {number} and --id {id}"))
                .hint(format!("NAMESPACE/{number} is the application of that name")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_behind_one_application_is_its_deployment() {
        type Meant<'a> = (&'a str, Option<i64>);
        let cases: [(&str, Option<i64>, Option<Meant<'_>>); 11] = [
            ("shop", None, Some(("shop", None))),
            ("shop 3", None, Some(("shop", Some(3)))),
            ("shop 0", None, Some(("shop", Some(0)))),
            ("shop", Some(3), Some(("shop", Some(3)))),
            ("shop cart", None, Some(("shop cart", None))),
            ("shop cart", Some(3), Some(("shop cart", Some(3)))),
            ("7", None, Some(("7", None))),
            ("", Some(3), Some(("", Some(3)))),
            ("shop argocd/3", None, Some(("shop argocd/3", None))),
            ("shop cart 3", None, None),
            ("shop 3", Some(3), None),
        ];
        for (words, id, want) in cases {
            let apps = words.split_whitespace().map(|word| word.parse().unwrap()).collect();
            let got = apps_and_id(apps, id).ok().map(|(apps, id)| {
                let names: Vec<_> = apps.iter().map(ToString::to_string).collect();
                (names.join(" "), id)
            });
            assert_eq!(got, want.map(|(names, id)| (names.to_owned(), id)), "{words} {id:?}");
        }
    }
}
