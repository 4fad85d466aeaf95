//! `logs`: what the pods of applications say.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};

use crate::api::client::Client;
use crate::api::request::{AppRef, LogQuery};
use crate::cli::look::objects::ObjectArgs;
use crate::cli::shared::apps::{AppsArgs, Chosen, each};
use crate::cli::shared::failure::failure;
use crate::cli::shared::server::ServerArgs;
use crate::model::LogEntry;

/// Print the logs of the pods of applications
///
/// Lines of several pods are mixed in the order of their times; --format json tells which pod wrote each, one document
/// a line. Lines of several applications come as they arrive, each after its application's name. The token needs
/// `logs, get`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd logs shop --tail 100
  verbatim-argocd logs shop --kind Deployment --name web --container app --follow
  verbatim-argocd logs shop --since-seconds 600 --filter ERROR
  verbatim-argocd logs -l team=web --tail 20

Exit status: 3 if a log could not be read; Argo CD then sends the reason in its place, and it is printed on stderr.")]
pub struct LogsArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    object: ObjectArgs,

    /// Only of this container
    #[arg(long, short = 'c', value_name = "CONTAINER")]
    container: Option<String>,

    /// At most so many lines from the end of each log
    #[arg(long, value_name = "N")]
    tail: Option<u64>,

    /// Only lines that are not older than so many seconds
    #[arg(long, value_name = "SECONDS")]
    since_seconds: Option<u64>,

    /// Only lines until this time: 2026-11-24T10:00:00Z
    #[arg(long, value_name = "TIME")]
    until_time: Option<Timestamp>,

    /// Only lines with this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// Let --filter tell capitals from small letters
    #[arg(long, short = 'm', requires = "filter")]
    match_case: bool,

    /// Of the containers that ran before
    #[arg(long, short = 'p')]
    previous: bool,

    /// Go on until the pods end
    #[arg(long, short = 'f')]
    follow: bool,
}

/// A line of a log as JSON: one document a line, so without a version of ours.
#[derive(Serialize)]
struct Line<'a> {
    app: String,
    pod: &'a str,
    time: Option<Timestamp>,
    line: &'a str,
}

pub(crate) async fn run(args: LogsArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    match args.apps.chosen(&client).await? {
        Chosen::One(app) => read(&client, &app, &args.wanted(), false, console).await,
        Chosen::Many(apps) => {
            let places = usize::from(args.apps.parallel());
            if args.follow && apps.len() > places {
                return Err(Failure::usage(format!(
                    "{} applications cannot be followed {places} at a time",
                    apps.len()
                ))
                .hint("raise --parallel, or leave --follow out"));
            }
            let wanted = args.wanted();
            let results = each(apps, args.apps.parallel(), |app| {
                let (client, wanted) = (&client, &wanted);
                async move { read(client, &app, wanted, true, console).await }
            });
            Ok(ExitStatus::of_all(results.await.into_iter().map(|(app, result)| {
                result.unwrap_or_else(|failed| {
                    console.warn(format!("{app}: {}", failed.whole()));
                    failed.status
                })
            })))
        }
    }
}

impl LogsArgs {
    fn wanted(&self) -> LogQuery {
        let object = self.object.filter();
        LogQuery {
            group: object.group,
            kind: object.kind,
            name: object.name,
            namespace: object.namespace,
            container: self.container.clone(),
            tail: self.tail,
            since_seconds: self.since_seconds,
            until_time: self.until_time.map(|time| time.to_string()),
            filter: self.filter.clone(),
            match_case: self.match_case,
            previous: self.previous,
            follow: self.follow,
        }
    }
}

/// Prints the lines of one application as they come.
async fn read(
    client: &Client,
    app: &AppRef,
    wanted: &LogQuery,
    is_one_of_several: bool,
    console: &Console,
) -> Result<ExitStatus, Failure> {
    let mut failed = 0;
    let mut written = Ok(());
    let mut line = |entry: LogEntry| {
        if entry.is_failure() {
            failed += 1;
            console.warn(format!("a log of {app} cannot be read: {}", entry.content));
        } else if written.is_ok() {
            written = print(console, app, &entry, is_one_of_several);
        }
    };
    client.logs(app, wanted, &mut line).await.map_err(failure)?;
    written?;
    Ok(if failed == 0 { ExitStatus::Done } else { ExitStatus::Unreachable })
}

fn print(
    console: &Console,
    app: &AppRef,
    entry: &LogEntry,
    is_one_of_several: bool,
) -> Result<(), Failure> {
    let content = &entry.content;
    let text = if console.is_json() {
        let (pod, time) = (entry.pod_name.as_str(), entry.time_stamp);
        serde_json::to_string(&Line { app: app.to_string(), pod, time, line: content })
            .map_err(|error| Failure::new(ExitStatus::Defect, error))?
    } else if is_one_of_several {
        format!("{app} | {content}")
    } else {
        content.clone()
    };
    console.bytes(format!("{text}\n").as_bytes())
}
