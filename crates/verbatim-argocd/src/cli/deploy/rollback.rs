//! `rollback`: deploy again what was deployed before.

use std::time::Duration;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure};

use crate::api::request::AppRef;
use crate::cli::shared::apps::AppsArgs;
use crate::cli::shared::failure::failure;
use crate::cli::shared::report::conclude_each;
use crate::cli::shared::show::listener;
use crate::cli::shared::values::duration;
use crate::judge::refusal::Remedy;
use crate::run::operate;
use crate::run::request::DeployOptions;

/// Deploy an earlier entry of the history again
///
/// Uses the sources and overrides of that deployment, and runs no hooks. The application itself stays unchanged: it is
/// out of sync afterwards, and the next sync deploys the current values again. To stay on the old values, write them
/// with `override`, or use `verbatim rollback`. Argo CD refuses this for applications with automatic sync.
///
/// The number of the deployment may follow a single application, as in `argocd app rollback`. Several applications go
/// back to the deployment before their last one each, or all to the one given by --id.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd history shop
  verbatim-argocd rollback shop 3
  verbatim-argocd rollback shop              # to the deployment before
  verbatim-argocd rollback shop cart         # each to the one before
  verbatim-argocd rollback -l team=web --prune")]
pub struct RollbackArgs {
    /// Number of the deployment [default: the one before the last]
    #[arg(long, value_name = "ID")]
    id: Option<i64>,

    #[command(flatten)]
    apps: AppsArgs,

    /// Delete resources that the old deployment did not have
    #[arg(long)]
    prune: bool,

    /// Time limit: seconds, or 90s, 10m
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "600")]
    timeout: Duration,
}

pub(crate) async fn run(args: RollbackArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let (app, id) = apps_and_id(args.apps.app.clone(), args.id)?;
    let apps = args.apps.with(app);
    let client = apps.client(console)?;
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
    conclude_each(&apps, &client, console, &[Remedy::Prune], rollback).await
}

/// Takes the number of the deployment from behind the application, where argocd has it.
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
            "{number} after several applications may be a deployment or an application"
        ))
        .hint(format!("--id {number} is the deployment, NAMESPACE/{number} the application"))),
        (Some(number), Some(id)) => {
            Err(Failure::usage(format!("two deployments given: {number} and --id {id}"))
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
