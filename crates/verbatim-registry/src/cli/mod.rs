//! The command line of the tool, used by `verbatim-registry` and by `verbatim registry` alike.
//!
//! Only this folder reads the environment and knows exit statuses.

mod copy;
mod failure;
mod manifest;
mod referrers;
mod resolve;
mod tags;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::{CredentialEnvironment, Keychain};

pub use self::copy::CopyArgs;
pub use self::failure::failure;
pub use self::manifest::ManifestArgs;
pub use self::referrers::{
    ReferrersAttachArgs, ReferrersCommand, ReferrersGetArgs, ReferrersListArgs, ReferrersRelistArgs,
};
pub use self::resolve::ResolveArgs;
pub use self::tags::TagsArgs;
use crate::{Client, Config};

/// How to reach registries
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Registry")]
pub struct RegistryArgs {
    /// Use plain HTTP for this registry (`host[:port]`); those on this machine are tried for TLS first
    #[arg(long, value_name = "HOST", env = "VERBATIM_PLAIN_HTTP", value_delimiter = ',')]
    pub plain_http: Vec<String>,

    /// Also trust the certificates in this PEM file
    #[arg(long, value_name = "FILE", env = "VERBATIM_REGISTRY_CA")]
    pub registry_ca: Option<PathBuf>,

    /// Refuse plain HTTP for registries on this machine, too
    #[arg(long)]
    pub registry_tls_on_loopback: bool,

    /// Send credentials to this token server although it is on another site than the registry
    #[arg(long, value_name = "HOST", env = "VERBATIM_TRUST_REALM", value_delimiter = ',')]
    pub trust_realm: Vec<String>,

    /// Use no credentials
    #[arg(long)]
    pub registry_anonymous: bool,
}

impl RegistryArgs {
    /// A client for these options, with the credentials from `environment`.
    ///
    /// # Errors
    ///
    /// If the certificate file cannot be read or is not PEM.
    pub fn client(&self, environment: &CredentialEnvironment) -> Result<Client, Failure> {
        let mut config = Config::new(concat!("verbatim/", env!("CARGO_PKG_VERSION")));
        config.plain_http.extend(self.plain_http.iter().cloned());
        config.trusted_realms.extend(self.trust_realm.iter().cloned());
        config.tls_on_loopback = self.registry_tls_on_loopback;
        if let Some(path) = &self.registry_ca {
            let fail =
                |failure: Failure| failure.context(format!("cannot read {}", path.display()));
            let pem = std::fs::read(path).map_err(|error| fail(Failure::usage(error)))?;
            config.trust(&pem).map_err(|error| fail(Failure::usage(error)))?;
        }
        Client::new(config, self.keychain(environment)).map_err(failure)
    }

    /// The credentials from `environment`, or none with `--registry-anonymous`.
    pub fn keychain(&self, environment: &CredentialEnvironment) -> Keychain {
        match self.registry_anonymous {
            true => Keychain::anonymous(),
            false => Keychain::from_environment(environment),
        }
    }

    fn client_here(&self) -> Result<Client, Failure> {
        let text = |text: std::ffi::OsString| text.into_string().ok();
        let variables = std::env::vars_os().filter_map(|(n, v)| Some((text(n)?, text(v)?)));
        self.client(&CredentialEnvironment::from_map(&variables.collect()))
    }
}

/// Ask registries
#[derive(Clone, Debug, Subcommand)]
pub enum RegistryCommand {
    Resolve(ResolveArgs),
    Manifest(ManifestArgs),
    Tags(TagsArgs),
    Copy(CopyArgs),
    /// List, read and attach referrers: signatures, records, attestations
    #[command(subcommand)]
    Referrers(ReferrersCommand),
}

/// Runs a command of the tool.
///
/// # Errors
///
/// With the exit status that the pipeline should see.
pub async fn run(command: RegistryCommand, console: &Console) -> Result<ExitStatus, Failure> {
    match command {
        RegistryCommand::Resolve(args) => resolve::run(args, console).await,
        RegistryCommand::Manifest(args) => manifest::run(args, console).await,
        RegistryCommand::Tags(args) => tags::run(args, console).await,
        RegistryCommand::Copy(args) => copy::run(args, console).await,
        RegistryCommand::Referrers(command) => referrers::run(command, console).await,
    }
}
