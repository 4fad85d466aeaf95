//! `diff`: what a sync would change.

use std::fmt;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};

use crate::api::client::Client;
use crate::api::request::{AppRef, Revisions};
use crate::cli::look::get::RefreshArgs;
use crate::cli::look::manifests::RevisionArgs;
use crate::cli::shared::apps::{AppsArgs, Columns};
use crate::cli::shared::failure::failure;
use crate::inspect::difference::{self, ObjectDiff};

/// Show what a sync would change
///
/// Prints a unified YAML diff per object, without bookkeeping fields. Leaves out differences that Argo CD ignores, and
/// masks secrets. Uses Argo CD's last comparison; --refresh makes a new one.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd diff shop
  verbatim-argocd diff shop --refresh
  verbatim-argocd diff shop --revision next  # a sync to another revision
  verbatim-argocd diff -l team=web           # a table
  verbatim-argocd diff shop --format json

Exit status:
  0  no differences
  1  differences")]
pub struct DiffArgs {
    #[command(flatten)]
    apps: AppsArgs,

    #[command(flatten)]
    refresh: RefreshArgs,

    #[command(flatten)]
    revisions: RevisionArgs,

    /// Exit with 1 if there are differences
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    exit_code: bool,
}

/// What a sync would change.
#[derive(Serialize)]
pub(crate) struct Differences {
    pub(crate) app: AppRef,
    pub(crate) differences: Vec<ObjectDiff>,
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&difference::text(&self.differences))
    }
}

impl Differences {
    /// How those of several applications are shown.
    pub(crate) const COLUMNS: Columns<Self, 2> = Columns {
        headings: ["DIFFERENCES", "OBJECTS"],
        rows: |found| {
            let names = found.differences.iter().map(|one| format!("{}/{}", one.kind, one.name));
            let names: Vec<_> = names.collect();
            vec![[names.len().to_string(), names.join(", ")]]
        },
    };

    /// Reads them from the last comparison; or, with other revisions, against what the sources give there.
    pub(crate) async fn read(
        client: &Client,
        app: &AppRef,
        revisions: &Revisions,
    ) -> Result<Self, Failure> {
        let unreadable = |why| Failure::new(ExitStatus::Unreachable, why);
        let mut resources = client.managed_resources(app).await.map_err(failure)?.items;
        if *revisions != Revisions::default() {
            let manifests = client.manifests_at(app, revisions).await.map_err(failure)?.manifests;
            resources = difference::with_manifests(&resources, &manifests).map_err(unreadable)?;
        }
        let differences = difference::differences(&resources).map_err(unreadable)?;
        Ok(Self { app: app.clone(), differences })
    }
}

pub(crate) async fn run(args: DiffArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let revisions = args.revisions.revisions()?;
    let client = args.apps.client(console)?;
    let status = |found: &Differences| match found.differences.is_empty() || !args.exit_code {
        true => ExitStatus::Done,
        false => ExitStatus::No,
    };
    let read = |app: AppRef| {
        let (args, client, revisions) = (&args, &client, &revisions);
        async move {
            args.refresh.ensure(client, &app).await?;
            Differences::read(client, &app, revisions).await
        }
    };
    args.apps.show(&client, console, &Differences::COLUMNS, status, read).await
}
