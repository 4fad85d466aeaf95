//! What is looked at over the network. Reads only, but for an upload that is begun and given up.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use verbatim_console::{ExitStatus, Failure};
use verbatim_http::ClockReading;
use verbatim_image::Builder;
use verbatim_oci::Repository;
use verbatim_record::EnvironmentArtifact;
use verbatim_registry::{Client, ReferrersSource};

use super::{Check, Finding, defaults};
use crate::config::{Environment, Server};
use crate::environment::applications::{self, ObservedApp, Servers};
use crate::project::{Project, clients, clock, failures};

/// What a promotion does to an application, in the words of Argo CD's rights.
const ACTIONS: [&str; 3] = ["get", "update", "sync"];

pub(crate) async fn engine(project: &Project) -> Finding {
    match clients::engine(project).await {
        Ok(engine) => {
            let builder = match engine.preferred_builder() {
                Builder::BuildKit => "BuildKit",
                _ => "the classic builder",
            };
            let detail = format!("{}, prefers {builder}", engine.version());
            Finding::ok(Check::Engine, engine.endpoint().to_string(), detail)
        }
        Err(failure) => Finding::warning(Check::Engine, "", failure, "only `build` needs it"),
    }
}

/// Every repository of the project, each read and written; and the clock of each registry.
pub(crate) async fn registries(project: &Project) -> Vec<Finding> {
    let client = match clients::registry(project) {
        Ok(client) => client,
        Err(failure) => return vec![Finding::failed(Check::Registry, "", failure)],
    };
    let config = &project.config;
    let images = config.images.values().map(|image| &image.repository);
    let repositories: BTreeSet<&Repository> = images.chain(&config.records).collect();
    let looks =
        repositories.into_iter().map(|repository| repository_of(project, &client, repository));
    let mut findings = Vec::new();
    let mut clocks = BTreeMap::new();
    for (repository, finding) in join_all(looks).await {
        findings.push(finding);
        let reading = client.clock(repository);
        clocks.extend(reading.map(|reading| (repository.registry().to_string(), reading)));
    }
    findings.extend(clocks.into_iter().map(|(host, reading)| clock_of(host, &reading)));
    findings
}

/// A repository, and what was found of it.
async fn repository_of<'a>(
    project: &Project,
    client: &Client,
    repository: &'a Repository,
) -> (&'a Repository, Finding) {
    let looked = async {
        let Some(environment) = project.config.environments.first() else { return Ok(None) };
        let ledger = EnvironmentArtifact::of(&environment.id);
        let referrers = client.referrers(repository, ledger.digest(), None).await?;
        Ok::<_, verbatim_registry::Error>(Some(referrers.source))
    };
    let source = match looked.await {
        Ok(source) => source,
        // The first image or record makes it, if the login may push.
        Err(error) if error.is_no_repository() => None,
        Err(error) => return (repository, failed(repository, error)),
    };
    if let Err(error) = client.check_push(repository).await {
        return (repository, failed(repository, error));
    }
    let records = match source {
        Some(ReferrersSource::FallbackTag) => {
            "; it has no referrers API, records are listed under a tag"
        }
        _ => "",
    };
    let detail = format!("can be read and written{records}");
    (repository, Finding::ok(Check::Registry, repository.to_string(), detail))
}

fn failed(repository: &Repository, error: verbatim_registry::Error) -> Finding {
    Finding::failed(Check::Registry, repository.to_string(), failures::registry(error))
}

/// A server's clock beside ours, by the judge that promotions have.
fn clock_of(host: String, reading: &ClockReading) -> Finding {
    match clock::judge(&host, reading) {
        Ok(detail) => Finding::ok(Check::Clock, host, detail),
        Err(failure) => Finding::failed(Check::Clock, host, failure),
    }
}

/// Every server that an environment needs, and the applications of each environment.
pub(crate) async fn argocd(project: &Project) -> Vec<Finding> {
    let used: BTreeSet<&str> =
        project.config.environments.iter().flat_map(Environment::servers).collect();
    let servers = used.iter().filter_map(|name| project.config.servers.get(*name));
    let mut findings: Vec<Finding> = join_all(servers.map(|server| server_of(project, server)))
        .await
        .into_iter()
        .flatten()
        .collect();
    let good: BTreeSet<String> = findings
        .iter()
        .filter(|finding| finding.check == Check::Argocd && finding.level == super::Level::Ok)
        .map(|finding| finding.subject.clone())
        .collect();
    // Of a server that does not answer, its applications tell the same again.
    let environments =
        project.config.environments.iter().filter(|environment| {
            environment.servers().into_iter().all(|name| good.contains(name))
        });
    let looks = environments.map(|environment| async {
        let rights = applications(project, environment).await;
        // Of applications that cannot be read, the values would tell the same again.
        let can_look = rights.level == super::Level::Ok;
        let overrides =
            if can_look { Some(defaults::look(project, environment).await) } else { None };
        std::iter::once(rights).chain(overrides)
    });
    findings.extend(join_all(looks).await.into_iter().flatten());
    findings
}

async fn server_of(project: &Project, server: &Server) -> Vec<Finding> {
    let asked = async {
        let client = clients::argocd(project, server)?;
        let version = client.version().await.map_err(failures::argocd)?;
        let user = client.who_am_i().await.map_err(failures::argocd)?;
        Ok::<_, Failure>((version, user, client.clock()))
    };
    match asked.await {
        Ok((version, user, reading)) => {
            let detail = format!("{}, {}, as {}", server.url, version.version, user.username);
            let finding = Finding::ok(Check::Argocd, server.name.clone(), detail);
            let clock = reading.map(|reading| clock_of(server.name.clone(), &reading));
            std::iter::once(finding).chain(clock).collect()
        }
        Err(failure) => {
            let failure = failure.context(format!("cannot use {}", server.url));
            vec![Finding::failed(Check::Argocd, server.name.clone(), failure)]
        }
    }
}

/// Whether all applications are there, and may be changed.
async fn applications(project: &Project, environment: &Environment) -> Finding {
    let subject = environment.name().to_owned();
    match refused(project, environment).await {
        Ok((all, refused)) if refused.is_empty() => {
            let detail = format!("{} may be read, written and synced", all.join(", "));
            Finding::ok(Check::Environment, subject, detail)
        }
        Ok((_, refused)) => {
            let failure = Failure::new(
                ExitStatus::Refused,
                format!("the token may not {}", refused.join(", ")),
            )
            .hint("give its role these rights in the RBAC policy of Argo CD: docs/argocd.md shows which lines");
            Finding::failed(Check::Environment, subject, failure)
        }
        Err(failure) => Finding::failed(Check::Environment, subject, failure),
    }
}

/// All applications, and what may not be done to them.
async fn refused(
    project: &Project,
    environment: &Environment,
) -> Result<(Vec<String>, Vec<String>), Failure> {
    let servers = Servers::of(project, [environment])?;
    let (mut all, mut refused) = (Vec::new(), Vec::new());
    for ObservedApp { app, application, .. } in applications::at(environment, &servers).await? {
        let application = application.map_err(failures::argocd)?;
        let mut reference = applications::reference(&app);
        // Rights are given by project.
        reference.project.get_or_insert(application.spec.project);
        let client = servers.get(&app.server)?;
        let answers = ACTIONS.map(|action| client.can_i(&reference, action));
        for (action, answer) in ACTIONS.iter().zip(join_all(answers).await) {
            if answer.map_err(failures::argocd)? == Some(false) {
                refused.push(format!("{action} {}", app.name));
            }
        }
        all.push(app.name);
    }
    Ok((all, refused))
}
