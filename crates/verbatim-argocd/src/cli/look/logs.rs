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
use crate::model::LogEntry;

/// Print the logs of the pods of applications
///
/// Merges the lines of several pods by time; --format json prints one document per line and says which pod wrote it.
/// Lines of several applications are printed as they arrive, after the application's name. The token needs the right
/// `logs, get`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd logs shop --tail 100
  verbatim-argocd logs shop --kind Deployment --name web --follow
  verbatim-argocd logs shop --since-seconds 600 --filter ERROR
  verbatim-argocd logs -l team=web --tail 20

Exit status:
  3  cannot read a log; the reason is on stderr")]
pub struct LogsArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    object: ObjectArgs,

    /// Only this container
    #[arg(long, short = 'c', value_name = "CONTAINER")]
    container: Option<String>,

    /// Number of lines from the end of each log
    #[arg(long, value_name = "N")]
    tail: Option<u64>,

    /// Only lines of the last N seconds
    #[arg(long, value_name = "SECONDS")]
    since_seconds: Option<u64>,

    /// Only lines until this time: 2026-11-24T10:00:00Z
    #[arg(long, value_name = "TIME")]
    until_time: Option<Timestamp>,

    /// Only lines that contain this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,

    /// Make --filter case-sensitive
    #[arg(long, short = 'm', requires = "filter")]
    match_case: bool,

    /// Logs of the previous containers
    #[arg(long, short = 'p')]
    previous: bool,

    /// Follow the logs until the pods end
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
    let client = args.apps.client(console)?;
    match args.apps.chosen(&client).await? {
        Chosen::One(app) => read(&client, &app, &args.wanted(), false, console).await,
        Chosen::Many(apps) => {
            let places = usize::from(args.apps.parallel());
            if args.follow && apps.len() > places {
                return Err(Failure::usage(format!(
                    "cannot follow {} applications {places} at a time",
                    apps.len()
                ))
                .hint("raise --parallel, or drop --follow"));
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
            console.warn(format!("cannot read a log of {app}: {}", entry.content));
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
    if console.is_json() {
        let (pod, time) = (entry.pod_name.as_str(), entry.time_stamp);
        let line = Line { app: app.to_string(), pod, time, line: content };
        let text = serde_json::to_string(&line)
            .map_err(|error| Failure::new(ExitStatus::Defect, error))?;
        return console.json_text(&text);
    }
    match is_one_of_several {
        true => console.data(format!("{app} | {content}\n")),
        false => console.data(format!("{content}\n")),
    }
}
