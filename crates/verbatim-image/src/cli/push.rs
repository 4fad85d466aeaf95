//! `push`: pushes an image from the engine to its registry.

use std::time::Duration;

use clap::Args;
use verbatim_console::{Console, ExitStatus, Failure, StepState};
use verbatim_credentials::Keychain;
use verbatim_oci::Reference;
use verbatim_registry::Client;
use verbatim_registry::cli::RegistryArgs;

use super::report::{ImageReport, ReportArgs};
use super::{EngineArgs, EngineProgress, failure, parse_duration, registry, variables};
use crate::{Engine, PushConfig, PushedImage, tag_state};

const STEP: &str = "push the image";

/// Push an image, and print its digest in the registry
///
/// Prints the image with its digest, which is what you deploy. The manifest is read back from the registry and hashed,
/// and the digest must be the one that the engine reported.
///
/// A tag that already points to another image is a conflict (exit status 5), unless `--overwrite` is given. If the tag
/// already points to this image, nothing is pushed, and the command succeeds.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-image push registry.example.com/shop/cart:17.4f2a91c
  verbatim-image push --overwrite --digest-file digest.txt example/app:latest")]
pub struct PushArgs {
    /// The image, for example registry.example.com/shop/cart:17
    #[arg(value_name = "IMAGE")]
    pub image: Reference,

    /// Move the tag if it points to another image
    #[arg(long)]
    pub overwrite: bool,

    /// Give up after this long
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = parse_duration)]
    pub timeout: Duration,

    /// Give up if the engine reports nothing for this long
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_duration)]
    pub idle_timeout: Duration,

    #[command(flatten)]
    pub report: ReportArgs,

    #[command(flatten)]
    pub engine: EngineArgs,

    #[command(flatten)]
    pub registry: RegistryArgs,
}

pub(super) async fn run(args: PushArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let variables = variables();
    if args.image.digest.is_some() {
        return Err(Failure::usage("images are pushed by tag; omit the digest"));
    }
    let (client, keychain) = registry(&args.registry, &variables)?;
    let engine = args.engine.engine(&variables).await?;
    console.plan_steps([STEP]);
    let config = PushConfig {
        image: args.image,
        overwrite: args.overwrite,
        timeout: args.timeout,
        idle_timeout: args.idle_timeout,
    };
    let pushed = push(&engine, &client, &keychain, &config, console).await?;
    let report = ImageReport { built: None, pushed: Some(pushed) };
    console.result(&report)?;
    args.report.write(&report)?;
    Ok(ExitStatus::Done)
}

/// Pushes, and on an interrupt reports the state of the tag.
pub(super) async fn push(
    engine: &Engine,
    client: &Client,
    keychain: &Keychain,
    config: &PushConfig,
    console: &Console,
) -> Result<PushedImage, Failure> {
    let _guard = console.tidy_guard();
    console.step(STEP, StepState::UnderWay);
    let mut progress = EngineProgress::new(console, format!("pushing {}", config.image));
    let mut on_event = |event| progress.show(event);
    let pushed = tokio::select! {
        pushed = crate::push(engine, client, keychain, config, &mut on_event) => pushed.map_err(failure)?,
        () = console.interrupt().cancelled() => {
            let state = tag_state(client, &config.image).await;
            return Err(Failure::interrupted().hint(format!("{}: {state}", config.image)));
        }
    };
    console.step(STEP, StepState::Done);
    Ok(pushed)
}
