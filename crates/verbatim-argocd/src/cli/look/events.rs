//! `events`: what happened to applications and their objects.

use std::fmt;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, Table};
use verbatim_text::Words;

use crate::api::client::Client;
use crate::api::request::{AppRef, EventsOf};
use crate::cli::look::history::time;
use crate::cli::look::objects::ObjectArgs;
use crate::cli::shared::apps::{AppsArgs, Columns};
use crate::cli::shared::failure::failure;
use crate::inspect::objects::ObjectFilter;
use crate::model::{ObjectEvent, TreeNode};

/// Show events of applications or of their objects
///
/// Without --kind and --name, shows events of the application itself: who created, changed and synced it. With them,
/// shows events of its objects: why a pod does not start.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd events shop
  verbatim-argocd events shop --kind Pod
  verbatim-argocd events shop --kind Deployment --name web
  verbatim-argocd events -l team=web --kind Pod")]
pub struct EventsArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    object: ObjectArgs,
}

#[derive(Serialize)]
struct Events {
    app: AppRef,
    events: Vec<EventRow>,
}

#[derive(Serialize)]
struct EventRow {
    last_seen: Option<Timestamp>,
    #[serde(rename = "type")]
    kind: String,
    reason: String,
    object: String,
    message: Words,
    count: i64,
}

const HEADINGS: [&str; 6] = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "COUNT", "MESSAGE"];

impl EventRow {
    fn of(event: ObjectEvent) -> Self {
        let object = &event.involved_object;
        Self {
            last_seen: event.last_timestamp.or(event.event_time).or(event.first_timestamp),
            object: format!("{}/{}", object.kind, object.name),
            kind: event.kind,
            reason: event.reason,
            message: event.message,
            count: event.count.max(1),
        }
    }

    fn cells(&self) -> [String; 6] {
        [
            time(self.last_seen),
            self.kind.clone(),
            self.reason.clone(),
            self.object.clone(),
            self.count.to_string(),
            self.message.to_string(),
        ]
    }
}

pub(crate) async fn run(args: EventsArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.apps.client(console)?;
    let wanted = args.object.filter();
    let read = |app: AppRef| {
        let (client, wanted) = (&client, &wanted);
        async move { events(client, app, wanted).await }
    };
    let columns = Columns {
        headings: HEADINGS,
        rows: |found: &Events| found.events.iter().map(EventRow::cells).collect(),
    };
    args.apps.show(&client, console, &columns, |_| ExitStatus::Done, read).await
}

async fn events(client: &Client, app: AppRef, wanted: &ObjectFilter) -> Result<Events, Failure> {
    let mut events = if wanted.is_empty() {
        client.events(&app, None).await.map_err(failure)?
    } else {
        object_events(client, &app, wanted).await?
    };
    events.sort_by_key(|event| event.last_timestamp.or(event.event_time));
    Ok(Events { app, events: events.into_iter().map(EventRow::of).collect() })
}

async fn object_events(
    client: &Client,
    app: &AppRef,
    wanted: &ObjectFilter,
) -> Result<Vec<ObjectEvent>, Failure> {
    let tree = client.tree(app).await.map_err(failure)?;
    let objects: Vec<&TreeNode> = tree.nodes.iter().filter(|node| wanted.wants(node)).collect();
    if objects.is_empty() {
        return Err(Failure::new(ExitStatus::Refused, "the application has no such object")
            .hint("`verbatim argocd get APP -o tree` lists them"));
    }
    let mut events = Vec::new();
    for object in objects {
        let of = EventsOf {
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
        };
        events.extend(client.events(app, Some(&of)).await.map_err(failure)?);
    }
    Ok(events)
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(HEADINGS);
        for event in &self.events {
            table.row(event.cells());
        }
        table.fmt(f)
    }
}
