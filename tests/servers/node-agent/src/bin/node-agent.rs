//! The node agent as a program of its own. In a rig it is started by `cargo xtask rig up`.

use std::process::ExitCode;

use clap::Parser;

/// Run the pods of a Kubernetes API server as containers of a Docker Engine on this machine
#[derive(Debug, Parser)]
#[command(name = "node-agent")]
struct Cli {
    #[command(flatten)]
    args: node_agent::Args,
}

#[tokio::main]
async fn main() -> ExitCode {
    match node_agent::run(Cli::parse().args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
