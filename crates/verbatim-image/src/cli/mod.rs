//! The command line of the tool, used by `verbatim-image` and by `verbatim image` alike.
//!
//! Only this folder reads the environment and knows exit statuses.

mod build;
mod failure;
mod progress;
mod push;
mod report;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::{CredentialEnvironment, Keychain};
use verbatim_registry::Client;
use verbatim_registry::cli::RegistryArgs;

pub use self::build::{BuildArgs, BuilderChoice};
pub use self::failure::failure;
pub use self::progress::EngineProgress;
pub use self::push::PushArgs;
use crate::{Endpoint, EndpointConfig, Engine, REQUEST_TIMEOUT};

/// The Docker Engine to use
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Docker Engine")]
pub struct EngineArgs {
    /// The engine at this address: unix://PATH or tcp://HOST:PORT [env: DOCKER_HOST]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "docker_context")]
    pub host: Option<String>,

    /// The engine of this Docker context [env: DOCKER_CONTEXT]
    #[arg(long, value_name = "NAME")]
    pub docker_context: Option<String>,
}

impl EngineArgs {
    /// Where to find the engine, in the order of Docker's client: the options, then `DOCKER_HOST`, then
    /// `DOCKER_CONTEXT`, then the current context of Docker's configuration.
    pub fn endpoint_config(&self, variables: &BTreeMap<String, String>) -> EndpointConfig {
        let text = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        let host = match self.docker_context {
            Some(_) => None,
            None => self.host.clone().or_else(|| text("DOCKER_HOST")),
        };
        let config_file = CredentialEnvironment::from_map(variables).docker_config_file();
        EndpointConfig {
            host,
            context: self.docker_context.clone().or_else(|| text("DOCKER_CONTEXT")),
            config_dir: config_file.and_then(|file| file.parent().map(Path::to_owned)),
            tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
            cert_dir: text("DOCKER_CERT_PATH").map(Into::into),
        }
    }

    async fn engine(&self, variables: &BTreeMap<String, String>) -> Result<Engine, Failure> {
        let endpoint = Endpoint::find(&self.endpoint_config(variables)).map_err(failure)?;
        Engine::connect(&endpoint, REQUEST_TIMEOUT).await.map_err(failure)
    }
}

/// Build and push images
#[derive(Clone, Debug, Subcommand)]
pub enum ImageCommand {
    Build(Box<BuildArgs>),
    Push(Box<PushArgs>),
}

/// Runs a command of the tool.
///
/// # Errors
///
/// With the exit status that the pipeline should see.
pub async fn run(command: ImageCommand, console: &Console) -> Result<ExitStatus, Failure> {
    match command {
        ImageCommand::Build(args) => build::run(*args, console).await,
        ImageCommand::Push(args) => push::run(*args, console).await,
    }
}

/// The process environment, without values that are not text.
fn variables() -> BTreeMap<String, String> {
    let text = |text: std::ffi::OsString| text.into_string().ok();
    std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
}

/// A registry client, and the credentials for the engine.
fn registry(
    args: &RegistryArgs,
    variables: &BTreeMap<String, String>,
) -> Result<(Client, Keychain), Failure> {
    let environment = CredentialEnvironment::from_map(variables);
    Ok((args.client(&environment)?, args.keychain(&environment)))
}

/// Reads a duration: `90`, `90s`, `1h 30m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed = match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => text.parse::<jiff::SignedDuration>().ok().and_then(|text| text.try_into().ok()),
    };
    parsed
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "expected seconds, or a duration such as 90s or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("90", Some(90)),
            ("90s", Some(90)),
            ("1h30m", Some(5400)),
            ("1h 30m", Some(5400)),
            ("0", None),
            ("-1s", None),
            ("soon", None),
        ];
        for (text, seconds) in cases {
            let got = parse_duration(text).ok();
            assert_eq!(got, seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn the_engine_is_found_in_the_order_of_dockers_client() {
        let args = |host: Option<&str>, context: Option<&str>| EngineArgs {
            host: host.map(str::to_owned),
            docker_context: context.map(str::to_owned),
        };
        let cases = [
            (args(None, None), "", "", None, None),
            (args(None, None), "h", "", Some("h"), None),
            (args(None, None), "h", "c", Some("h"), Some("c")),
            (args(Some("x"), None), "h", "c", Some("x"), Some("c")),
            (args(None, Some("y")), "h", "c", None, Some("y")),
        ];
        for (args, host, context, want_host, want_context) in cases {
            let variables = BTreeMap::from(
                [("DOCKER_HOST", host), ("DOCKER_CONTEXT", context), ("HOME", "/h")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned())),
            );
            let config = args.endpoint_config(&variables);
            assert_eq!(config.host.as_deref(), want_host, "{args:?}");
            assert_eq!(config.context.as_deref(), want_context, "{args:?}");
            assert_eq!(config.config_dir.as_deref(), Some(Path::new("/h/.docker")));
        }
    }
}
