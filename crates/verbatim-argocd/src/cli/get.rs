//! `get`: show an application and its overrides.

use std::fmt;

use clap::Args;
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, Table, style};

use super::failure::failure;
use super::server::{AppArgs, ServerArgs};
use crate::claim::State;
use crate::observe::{LiveState, observe};

/// Show an application and its overrides
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd get shop
  verbatim-argocd get shop --show-params
  verbatim-argocd get shop --format json")]
pub struct GetArgs {
    #[command(flatten)]
    app: AppArgs,

    #[command(flatten)]
    server: ServerArgs,

    /// Print the Helm parameters and the Kustomize images, too
    #[arg(long)]
    show_params: bool,
}

#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    state: LiveState,
    #[serde(skip)]
    with_parameters: bool,
}

pub(super) async fn run(args: GetArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let app = args.app.reference()?;
    let client = args.server.client(console)?;
    let state = observe(&client, &app).await.map_err(failure)?;
    console.result(&Shown { state, with_parameters: args.show_params })?;
    Ok(ExitStatus::Done)
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = &self.state;
        writeln!(f, "{}", style::strong(&state.app))?;
        writeln!(f, "  project   {}", state.app.project.as_deref().unwrap_or("(none)"))?;
        for source in &state.sources {
            writeln!(f, "  source    {} {} {}", source.name, source.target_revision, source.kind)?;
        }
        state.revisions.iter().try_for_each(|revision| writeln!(f, "  revision  {revision}"))?;
        writeln!(
            f,
            "  sync      {:?}{}",
            state.sync,
            if state.automated { " (automatic)" } else { "" }
        )?;
        writeln!(f, "  health    {:?} {}", state.health.status, state.health.message)?;
        if let Some(operation) = state.operation {
            writeln!(f, "  operation {operation:?}")?;
        }
        for image in &state.images {
            writeln!(f, "  image     {image}")?;
        }
        if let Some(claim) = &state.claim {
            let by = claim.by.as_deref().unwrap_or("nobody named");
            let state = match claim.state {
                State::Open => format!("open until {}", claim.deadline),
                state => format!("{state:?}"),
            };
            writeln!(f, "  claim     release {} by {by}, {state}", claim.release)?;
        }
        if !self.with_parameters {
            return Ok(());
        }
        let mut table = Table::new(["NAME", "VALUE"]);
        for source in &state.sources {
            for parameter in &source.parameters {
                table.row([parameter.name.clone(), parameter.value.clone()]);
            }
            for image in &source.images {
                table.row(["(kustomize image)".into(), image.clone()]);
            }
        }
        if table.is_empty() { writeln!(f, "\nno overrides") } else { write!(f, "\n{table}") }
    }
}
