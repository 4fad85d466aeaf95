//! `actions list` and `actions run`: what Argo CD can do to objects, a restart or the end of a rollout's pause for example.

use std::fmt;

use clap::{Args, Subcommand, ValueEnum};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};
use verbatim_console::{Console, ExitStatus, Failure, Table};

use crate::api::client::Client;
use crate::api::request::AppRef;
use crate::cli::look::objects::{AT_ONCE, ChosenArgs, ObjectArgs, Touched};
use crate::cli::shared::apps::{AppsArgs, Chosen, Columns, ManyArgs, each};
use crate::cli::shared::document;
use crate::cli::shared::failure::failure;
use crate::inspect::objects::ObjectFilter;

/// List and run actions of objects
#[derive(Clone, Debug, Subcommand)]
pub enum ActionsCommand {
    /// List the actions that objects offer
    List(ActionsListArgs),
    /// Run an action on objects
    Run(ActionsRunArgs),
}

/// List the actions that objects offer
///
/// Covers managed objects and, with --kind Application, the application itself.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd actions list shop
  verbatim-argocd actions list shop --kind Deployment -o json")]
pub struct ActionsListArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    object: ObjectArgs,

    /// Output format, as in argocd
    #[arg(long, short = 'o', value_name = "OUTPUT", visible_alias = "out")]
    output: Option<Output>,
}

/// Output format
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// As JSON
    Json,
    /// As YAML
    Yaml,
}

#[derive(Serialize)]
struct Offered {
    app: AppRef,
    actions: Vec<Offer>,
}

#[derive(Serialize)]
struct Offer {
    group: String,
    kind: String,
    name: String,
    action: String,
    disabled: bool,
}

const HEADINGS: [&str; 5] = ["GROUP", "KIND", "NAME", "ACTION", "DISABLED"];

impl Offer {
    fn cells(&self) -> [String; 5] {
        [
            self.group.clone(),
            self.kind.clone(),
            self.name.clone(),
            self.action.clone(),
            self.disabled.to_string(),
        ]
    }

    /// As argocd names the fields.
    fn document(&self) -> Value {
        json!({
            "Group": self.group, "Kind": self.kind, "Name": self.name, "Action": self.action,
            "Disabled": self.disabled,
        })
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(HEADINGS);
        for one in &self.actions {
            table.row(one.cells());
        }
        table.fmt(f)
    }
}

/// Run an action on objects
///
/// The action is the last word after the applications; `actions list` lists the actions. Only managed objects have
/// actions and, with --kind Application, the application itself.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd actions run shop restart --kind Deployment --name web
  verbatim-argocd actions run shop resume --kind Rollout
  verbatim-argocd actions run -l team=web restart --kind Deployment --all")]
pub struct ActionsRunArgs {
    /// Applications (NAME or NAMESPACE/NAME, or use --selector), then the action
    #[arg(value_name = "APP… ACTION", required = true)]
    words: Vec<String>,

    #[command(flatten)]
    many: ManyArgs,

    #[command(flatten)]
    chosen: ChosenArgs,
}

pub(crate) async fn run(command: ActionsCommand, console: &Console) -> Result<ExitStatus, Failure> {
    match command {
        ActionsCommand::List(args) => list(args, console).await,
        ActionsCommand::Run(args) => run_action(args, console).await,
    }
}

async fn list(args: ActionsListArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.apps.client(console)?;
    let filter = args.object.filter();
    let read = |app: AppRef| {
        let (client, filter) = (&client, &filter);
        async move { offered(client, app, filter).await }
    };
    let Some(output) = args.output else {
        let columns = Columns {
            headings: HEADINGS,
            rows: |found: &Offered| found.actions.iter().map(Offer::cells).collect(),
        };
        return args.apps.show(&client, console, &columns, |_| ExitStatus::Done, read).await;
    };
    let results = match args.apps.chosen(&client).await? {
        Chosen::One(app) => vec![(app.clone(), Ok(read(app).await?))],
        Chosen::Many(apps) => each(apps, args.apps.parallel(), read).await,
    };
    let (mut actions, mut statuses) = (Vec::new(), Vec::new());
    for (app, result) in &results {
        match result {
            Ok(found) => actions.extend(found.actions.iter().map(Offer::document)),
            Err(failed) => {
                console.warn(format!("{app}: {}", failed.whole()));
                statuses.push(failed.status);
            }
        }
    }
    match output {
        Output::Json => document::json(console, &json!(actions))?,
        Output::Yaml => document::yaml(console, &json!(actions))?,
    }
    Ok(ExitStatus::of_all(statuses))
}

async fn offered(client: &Client, app: AppRef, filter: &ObjectFilter) -> Result<Offered, Failure> {
    let resources = client.managed_resources(&app).await.map_err(failure)?.items;
    let mut objects = filter.live(&resources);
    let namespace = app.namespace.as_deref().unwrap_or_default();
    objects.extend(filter.application(&app.name, namespace));
    let of = &app;
    let actions: Vec<Vec<Offer>> = stream::iter(objects)
        .map(|object| async move {
            let actions = client.actions(of, &object).await?;
            Ok(actions
                .into_iter()
                .map(|action| Offer {
                    group: object.group.clone(),
                    kind: object.kind.clone(),
                    name: object.name.clone(),
                    action: action.name,
                    disabled: action.disabled,
                })
                .collect())
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
        .map_err(failure)?;
    Ok(Offered { actions: actions.into_iter().flatten().collect(), app })
}

async fn run_action(args: ActionsRunArgs, console: &Console) -> Result<ExitStatus, Failure> {
    args.chosen.filter()?;
    let (apps, action) = apps_and_action(&args.words, args.many.clone())?;
    let client = apps.client(console)?;
    let act = |app: AppRef| {
        let (chosen, client, action) = (&args.chosen, &client, &action);
        async move {
            let objects = chosen.find(client, &app, true).await?;
            for object in &objects {
                client.run_action(&app, object, action).await.map_err(failure)?;
            }
            Ok(Touched { app, what: format!("{action} was run"), objects })
        }
    };
    apps.show(&client, console, &Touched::COLUMNS, |_| ExitStatus::Done, act).await
}

/// The last word is the action, as in argocd. It may have letters that a name of an application may not have.
fn apps_and_action(words: &[String], many: ManyArgs) -> Result<(AppsArgs, String), Failure> {
    let Some((action, apps)) = words.split_last() else {
        return Err(Failure::usage("no action given"));
    };
    let apps: Result<Vec<AppRef>, _> = apps.iter().map(|word| word.parse()).collect();
    let app = apps.map_err(Failure::usage)?;
    Ok((AppsArgs { app, many }, action.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_action_is_the_last_word() {
        let cases = [
            ("shop restart", Some(("shop", "restart"))),
            ("shop team/cart promote-full", Some(("shop team/cart", "promote-full"))),
            ("createJob", Some(("", "createJob"))),
            ("Shop restart", None),
            ("", None),
        ];
        for (line, want) in cases {
            let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
            let got = apps_and_action(&words, ManyArgs::default()).ok().map(|(apps, action)| {
                let names: Vec<_> = apps.app.iter().map(ToString::to_string).collect();
                (names.join(" "), action)
            });
            let want = want.map(|(apps, action)| (apps.to_owned(), action.to_owned()));
            assert_eq!(got, want, "{line}");
        }
    }
}
