//! Clients of the services, made from the configuration and the environment. Sends nothing.

use std::collections::BTreeSet;
use std::path::Path;

use verbatim_argocd::cli::job_identity;
use verbatim_argocd::{JobIdentity, KubernetesAccess};
use verbatim_console::{ExitStatus, Failure};
use verbatim_credentials::argocd::{ServerKey, find_token, is_token_for_another};
use verbatim_credentials::{CredentialEnvironment, ExposeSecret as _, Keychain, SecretString};
use verbatim_image::cli::EngineArgs;
use verbatim_image::{Endpoint, Engine, REQUEST_TIMEOUT};
use verbatim_oci::Digest;

use crate::config::{Config, Server};
use crate::project::{Project, Variables, failures};

/// A write makes Argo CD render the manifests before it answers.
const SLOWER_WRITES: u32 = 4;

const USER_AGENT: &str = concat!("verbatim/", env!("CARGO_PKG_VERSION"));

pub(crate) fn keychain(variables: &Variables) -> Keychain {
    Keychain::from_environment(&CredentialEnvironment::from_map(variables))
}

/// A client of all registries of the project.
pub(crate) fn registry(project: &Project) -> Result<verbatim_registry::Client, Failure> {
    registry_of(&project.config, &project.variables)
}

/// The same, for a configuration whose rules are not there yet.
pub(crate) fn registry_of(
    of: &Config,
    variables: &Variables,
) -> Result<verbatim_registry::Client, Failure> {
    let mut config = verbatim_registry::Config::new(USER_AGENT);
    let options = &of.registries;
    config.plain_http = options
        .iter()
        .filter(|(_, options)| options.plain_http)
        .map(|(host, _)| host.clone())
        .collect();
    for file in options.values().filter_map(|options| options.ca.as_ref()).collect::<BTreeSet<_>>()
    {
        config.trust(&read(file)?).map_err(|error| {
            Failure::usage(error).context(format!("cannot read {}", file.display()))
        })?;
    }
    if let Some(limit) = of.request_timeout {
        config.timeouts.request = limit;
        config.timeouts.idle = limit;
    }
    verbatim_registry::Client::new(config, keychain(variables)).map_err(failures::registry)
}

/// A client of one Argo CD server. Its token comes from the variable that the configuration names, else from where
/// every tool looks for it.
pub(crate) fn argocd(
    project: &Project,
    server: &Server,
) -> Result<verbatim_argocd::Client, Failure> {
    let mut config = verbatim_argocd::Config::new(server.url.clone());
    let (token, job) = token(project, server)?;
    config.token = Some(token);
    config.job = job;
    config.ca = authorities(server)?;
    config.client_cert = match &server.client_certificate {
        None => None,
        Some((certificate, key)) => {
            let mut pem = read(certificate)?;
            pem.push(b'\n');
            pem.extend(read(key)?);
            let pem = String::from_utf8(pem).map_err(|error| {
                Failure::usage(error).context(format!("{} is no PEM", certificate.display()))
            })?;
            Some(SecretString::from(pem))
        }
    };
    config.headers =
        server.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    config.insecure = server.insecure;
    config.kubernetes = server.kubernetes.as_ref().map(|context| {
        let variable = |name: &str| project.variables.get(name).map(String::as_str);
        KubernetesAccess::find(variable("KUBECONFIG"), variable("HOME"), context.0.clone())
    });
    if let Some(limit) = project.config.request_timeout {
        config.timeouts.read = limit;
        config.timeouts.write = limit * SLOWER_WRITES;
        config.timeouts.refresh = limit;
    }
    verbatim_argocd::Client::new(config).map_err(failures::argocd)
}

/// The certificate authorities of a server, which are those that the policy pins, if it does.
fn authorities(server: &Server) -> Result<Option<Vec<u8>>, Failure> {
    let Some(file) = &server.ca else { return Ok(None) };
    let bytes = read(file)?;
    let digest = Digest::of(&bytes);
    match server.ca_digest {
        Some(pinned) if pinned != digest => Err(Failure::new(
            ExitStatus::No,
            format!(
                "{} is not the file that the policy pins for Argo CD `{}`",
                file.display(),
                server.name
            ),
        )
        .hint(format!("the policy pins {pinned}, and the file has {digest}"))),
        _ => Ok(Some(bytes)),
    }
}

/// The token, and who the job is, if that can get it another one.
fn token(
    project: &Project,
    server: &Server,
) -> Result<(SecretString, Option<JobIdentity>), Failure> {
    if let Some(variable) = &server.token_variable {
        check_pin(&project.variables, variable, server)?;
        return match project.variables.get(variable).filter(|token| !token.trim().is_empty()) {
            Some(token) => Ok((SecretString::from(token.trim()), None)),
            None => Err(Failure::usage(format!(
                "{variable} is not set: it holds the token of Argo CD `{}`",
                server.name
            ))),
        };
    }
    let environment = CredentialEnvironment::from_map(&project.variables);
    let key = ServerKey::new(server.url.as_str());
    let found = find_token(&environment, &key)
        .map_err(|error| Failure::usage(error).context("cannot look for the token of Argo CD"))?;
    match found {
        Some(found) if !found.token.expose_secret().trim().is_empty() => {
            let variable = |name: &str| project.variables.get(name).cloned();
            let job = found.job.as_ref().map(|job| job_identity(job, &variable));
            Ok((found.token, job.transpose()?.flatten()))
        }
        _ if is_token_for_another(&environment, &key) => Err(Failure::usage(format!(
            "no token for Argo CD `{}` at {}: the one in ARGOCD_AUTH_TOKEN is for ARGOCD_SERVER, a different server",
            server.name, server.url
        ))
        .hint("remove ARGOCD_SERVER, or name another variable as `token_variable` of this server")),
        _ => Err(Failure::usage(format!(
            "no token for Argo CD `{}` at {}",
            server.name, server.url
        ))
        .hint("put one into ARGOCD_AUTH_TOKEN, or name another variable as its `token_variable`")
        .hint(format!("or log in once: verbatim argocd login --server {}", server.url))),
    }
}

/// Checks that a token goes to no other server than the one it is for, if a variable says which: `ARGOCD_EU_SERVER` for
/// `ARGOCD_EU_TOKEN`, else `ARGOCD_SERVER`.
fn check_pin(variables: &Variables, variable: &str, server: &Server) -> Result<(), Failure> {
    let own = format!("{}SERVER", variable.trim_end_matches("TOKEN"));
    let set = |name: &str| variables.get(name).filter(|value| !value.trim().is_empty());
    let pin = [own.as_str(), "ARGOCD_SERVER"].into_iter().find_map(|it| Some((it, set(it)?)));
    match pin {
        Some((pin, wanted))
            if !ServerKey::new(wanted).is_same_host(&ServerKey::new(server.url.as_str())) =>
        {
            Err(Failure::usage(format!(
                "{variable} is not sent to Argo CD `{}` at {}: {pin} names a different server",
                server.name, server.url
            ))
            .hint(format!("put the address of `{}` into {own}", server.name)))
        }
        _ => Ok(()),
    }
}

/// A connection to the Docker Engine that the environment names.
pub(crate) async fn engine(project: &Project) -> Result<Engine, Failure> {
    let config = EngineArgs::default().endpoint_config(&project.variables);
    let endpoint = Endpoint::find(&config).map_err(failures::image)?;
    let limit = project.config.request_timeout.unwrap_or(REQUEST_TIMEOUT);
    Engine::connect(&endpoint, limit).await.map_err(failures::image)
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(file)
        .map_err(|error| Failure::usage(error).context(format!("cannot read {}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_the_server_that_it_is_for() {
        let server = Server {
            name: "eu".to_owned(),
            url: "https://eu.example/argo".parse().unwrap(),
            token_variable: None,
            ca: None,
            ca_digest: None,
            client_certificate: None,
            headers: Default::default(),
            insecure: false,
            kubernetes: None,
        };
        for (variable, set, is_right) in [
            ("ARGOCD_EU_TOKEN", &[][..], true),
            ("ARGOCD_EU_TOKEN", &[("ARGOCD_EU_SERVER", "eu.example")], true),
            ("ARGOCD_EU_TOKEN", &[("ARGOCD_EU_SERVER", "us.example")], false),
            ("ARGOCD_EU_TOKEN", &[("ARGOCD_SERVER", "https://us.example")], false),
            ("ARGOCD_EU_TOKEN", &[("ARGOCD_SERVER", "eu.example:443")], true),
            ("ARGOCD_EU_TOKEN", &[("ARGOCD_SERVER", " ")], true),
            (
                "ARGOCD_EU_TOKEN",
                &[("ARGOCD_SERVER", "us.example"), ("ARGOCD_EU_SERVER", "eu.example")],
                true,
            ),
            ("ARGOCD_AUTH_TOKEN", &[("ARGOCD_SERVER", "us.example")], false),
            ("ARGOCD_TOKEN", &[("ARGOCD_SERVER", "us.example")], false),
        ] {
            let variables =
                set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let got = check_pin(&variables.collect(), variable, &server);
            assert_eq!(got.is_ok(), is_right, "{variable} {set:?}");
        }
    }
}
