//! Looks at the applications of an environment: what they are, what stands in them, what an earlier run left there.
//! Reads only.

use std::collections::BTreeMap;

use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use verbatim_argocd::{
    AppRef, Application, Client, ErrorKind, Refresh, read_claim, read_together, records_annotation,
};
use verbatim_console::Failure;
use verbatim_http::RedactedUrl;
use verbatim_oci::Digest;
use verbatim_record::{Anchor, Anchors, Revision};

use crate::config::{App, Apps, Environment, Selector};
use crate::environment::target::target;
use crate::project::{Project, clients, clock, failures};
use crate::release::Release;

/// How many applications are read at the same time. A server allows itself 50 requests a second in all.
const CONCURRENCY: usize = 8;

/// Clients of the Argo CD servers that some environments need, by the name in the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Servers(BTreeMap<String, Client>);

impl Servers {
    pub(crate) fn of<'a>(
        project: &Project,
        environments: impl IntoIterator<Item = &'a Environment>,
    ) -> Result<Self, Failure> {
        let mut servers = Self::default();
        for name in environments.into_iter().flat_map(Environment::servers) {
            servers.add(project, name)?;
        }
        Ok(servers)
    }

    /// The same, without those that have no token or files that cannot be used: who looks at several environments tells
    /// what is known of the others.
    pub(crate) fn usable<'a>(
        project: &Project,
        environments: impl IntoIterator<Item = &'a Environment>,
    ) -> Self {
        let mut servers = Self::default();
        for name in environments.into_iter().flat_map(Environment::servers) {
            // Why it cannot be used is told by `check`, of each environment that needs it.
            let _ = servers.add(project, name);
        }
        servers
    }

    fn add(&mut self, project: &Project, name: &str) -> Result<(), Failure> {
        if let (false, Some(server)) = (self.0.contains_key(name), project.config.servers.get(name))
        {
            self.0.insert(name.to_owned(), clients::argocd(project, server)?);
        }
        Ok(())
    }

    /// Sees to it that there are clients of the servers that an environment needs.
    pub(crate) fn check(
        &self,
        project: &Project,
        environment: &Environment,
    ) -> Result<(), Failure> {
        let is_there = environment.servers().into_iter().all(|name| self.0.contains_key(name));
        if is_there { Ok(()) } else { Self::of(project, [environment]).map(drop) }
    }

    /// Fails if the clock of one of them, by its last answer, and that of this machine are too far apart.
    pub(crate) fn check_clocks(&self) -> Result<(), Failure> {
        clock::check(
            self.0
                .iter()
                .map(|(name, client)| (client.server().host_str().unwrap_or(name), client.clock())),
        )
    }

    /// The client of the server of that name.
    pub(crate) fn get(&self, name: &str) -> Result<&Client, Failure> {
        self.0.get(name).ok_or_else(|| Failure::usage(format!("no Argo CD server `{name}`")))
    }
}

/// An application of an environment, as it is now.
#[derive(Debug)]
pub(crate) struct ObservedApp {
    /// What the configuration says of it.
    pub app: App,
    /// The address of its server, as records have it.
    pub server_url: String,
    pub application: Result<Application, verbatim_argocd::Error>,
}

/// Reads all applications of an environment, in the order of the configuration, or by name if they are selected.
pub(crate) async fn at(
    environment: &Environment,
    servers: &Servers,
) -> Result<Vec<ObservedApp>, Failure> {
    match &environment.apps {
        Apps::Named(apps) => {
            read(apps.iter().cloned(), servers, async |client, app| client.get(app).await).await
        }
        Apps::Selected(selector) => {
            let lists = selector.servers.iter().map(|server| list(selector, server, servers));
            let lists: Vec<_> = try_join_all(lists).await?;
            let mut seen: Vec<ObservedApp> = lists.into_iter().flatten().collect();
            let name = |seen: &ObservedApp| {
                let App { name, namespace, server, .. } = &seen.app;
                (name.clone(), namespace.clone(), server.clone())
            };
            seen.sort_by_cached_key(name);
            Ok(seen)
        }
    }
}

/// The selected applications of one server. None is a refusal: the token may not see them.
async fn list(
    selector: &Selector,
    server: &str,
    servers: &Servers,
) -> Result<Vec<ObservedApp>, Failure> {
    let template = App { server: server.to_owned(), ..selector.template.clone() };
    let client = servers.get(server)?;
    let project = [selector.project.clone()];
    let mut listed = client
        .list(&project, selector.labels.as_deref(), template.namespace.as_deref())
        .await
        .map_err(failures::argocd)?;
    // What is written into depends on it, so it is not left to the server alone.
    listed.retain(|found| found.spec.project == selector.project);
    if listed.is_empty() {
        return Err(Failure::new(
            verbatim_console::ExitStatus::Refused,
            format!("Argo CD `{server}` has no application of {selector}"),
        )
        .hint("or the token cannot see them"));
    }
    // A list without a namespace has the applications of all that Argo CD looks after. Those of its own are named without
    // one, and who may not read which that is gets a name that works, too.
    let own = client.own_namespace().await.ok();
    let seen = listed
        .into_iter()
        .map(|found| selected(found, &template, own.as_deref(), client.server().as_str()));
    Ok(seen.collect())
}

/// A listed application, by the names that address it.
fn selected(
    application: Application,
    template: &App,
    own: Option<&str>,
    server_url: &str,
) -> ObservedApp {
    let metadata = &application.metadata;
    let namespace = Some(&metadata.namespace)
        .filter(|namespace| !namespace.is_empty() && Some(namespace.as_str()) != own);
    let app = App {
        name: metadata.name.clone(),
        namespace: namespace.cloned(),
        project: Some(application.spec.project.clone()),
        ..template.clone()
    };
    ObservedApp { app, server_url: server_url.to_owned(), application: Ok(application) }
}

/// The same, after Argo CD has compared all applications again, so that the revisions it names are those of now.
pub(crate) async fn refreshed(
    environment: &Environment,
    servers: &Servers,
) -> Result<Vec<ObservedApp>, Failure> {
    let apps = names(environment, servers).await?;
    let refresh = async |client: &Client, app: &AppRef| client.refresh(app, Refresh::Normal).await;
    read(apps, servers, refresh).await
}

/// All applications of an environment as they are now, and not as a cache has them: those of one server at the price of two
/// reads.
pub(crate) async fn together(
    environment: &Environment,
    servers: &Servers,
) -> Result<Vec<ObservedApp>, Failure> {
    let apps = names(environment, servers).await?;
    let mut by_server: BTreeMap<&str, Vec<AppRef>> = BTreeMap::new();
    for app in &apps {
        by_server.entry(&app.server).or_default().push(reference(app));
    }
    let reads = by_server.into_iter().map(|(name, apps)| async move {
        let client = servers.get(name)?;
        let read = read_together(client, &apps).await;
        Ok((name, (client.server().to_string(), read.into_iter())))
    });
    let reads = join_all(reads).await;
    let mut reads = reads.into_iter().collect::<Result<BTreeMap<_, _>, Failure>>()?;
    let mut next = |app: &App| {
        let (server_url, read) = reads.get_mut(app.server.as_str())?;
        let (server_url, application) = (server_url.clone(), read.next()?);
        Some(ObservedApp { app: app.clone(), server_url, application })
    };
    // Every application has been read.
    Ok(apps.iter().filter_map(&mut next).collect())
}

/// The applications of an environment, by the names that address them.
async fn names(environment: &Environment, servers: &Servers) -> Result<Vec<App>, Failure> {
    Ok(match &environment.apps {
        Apps::Named(apps) => apps.clone(),
        Apps::Selected(_) => {
            at(environment, servers).await?.into_iter().map(|seen| seen.app).collect()
        }
    })
}

/// Reads applications, some at a time, and keeps their order.
async fn read(
    apps: impl IntoIterator<Item = App>,
    servers: &Servers,
    one: impl AsyncFn(&Client, &AppRef) -> Result<Application, verbatim_argocd::Error>,
) -> Result<Vec<ObservedApp>, Failure> {
    let one = &one;
    let reads = stream::iter(apps).map(|app| async move {
        let client = servers.get(&app.server)?;
        let application = one(client, &reference(&app)).await;
        Ok(ObservedApp { app, server_url: client.server().to_string(), application })
    });
    reads.buffered(CONCURRENCY).collect::<Vec<_>>().await.into_iter().collect()
}

/// An application by the names of the configuration.
pub(crate) fn reference(app: &App) -> AppRef {
    AppRef {
        name: app.name.clone(),
        namespace: app.namespace.clone(),
        project: app.project.clone(),
    }
}

/// What the applications know of the end of the ledger: the record that the last promotion to the environment wrote on them,
/// and those of the bans since. What other environments and projects wrote on the same applications says nothing about it.
/// Whether there is more, on applications that cannot be read, [`unread`] tells.
pub(crate) fn anchors(seen: &[ObservedApp]) -> Anchors {
    let mut anchors = Anchors::default();
    for seen in seen {
        let Anchors { promotions, records } = &mut anchors;
        promotions.extend(anchor(seen).filter(|anchor| !promotions.contains(anchor)));
        for record in anchored(seen) {
            if !records.contains(&record) {
                records.push(record);
            }
        }
    }
    anchors
}

/// The records that an application names, besides the promotion.
fn anchored(ObservedApp { app, application, .. }: &ObservedApp) -> Vec<Digest> {
    let Ok(application) = application else { return Vec::new() };
    let text = application.metadata.annotations.get(&records_annotation(&app.environment));
    text.map(|text| records_of(text)).unwrap_or_default()
}

/// The records that such an annotation names.
pub(crate) fn records_of(text: &str) -> Vec<Digest> {
    text.split_whitespace().filter_map(|digest| digest.parse().ok()).collect()
}

/// The applications that name a record. Nobody has signed what stands on them.
pub(crate) fn that_anchor<'a>(seen: &'a [ObservedApp], record: &Digest) -> Vec<&'a str> {
    let naming = seen.iter().filter(|seen| anchored(seen).contains(record));
    naming.map(|seen| seen.app.name.as_str()).collect()
}

/// The applications that name this end of the ledger. Nobody has signed what stands on them.
pub(crate) fn that_name<'a>(seen: &'a [ObservedApp], end: &Anchor) -> Vec<&'a str> {
    let naming = seen.iter().filter(|seen| anchor(seen).as_ref() == Some(end));
    naming.map(|seen| seen.app.name.as_str()).collect()
}

fn anchor(ObservedApp { app, application, .. }: &ObservedApp) -> Option<Anchor> {
    let on_app = read_claim(application.as_ref().ok()?, Some(&app.environment));
    on_app.known().and_then(|claim| claim.record.as_ref()?.parse().ok())
}

/// Why one of the applications cannot be read. What stands on it about the end of the ledger is then not known, so the
/// ledger is not, either.
pub(crate) fn unread(seen: &[ObservedApp]) -> Option<String> {
    seen.iter().find_map(|ObservedApp { app, application, .. }| {
        let error = application.as_ref().err()?;
        Some(format!(
            "what {} says of the end of the ledger cannot be read: {error}: {}",
            app.name, error.kind
        ))
    })
}

/// Whether an application cannot be read although its server answers: it is not shown, or not there.
pub(crate) fn is_withheld(seen: &[ObservedApp]) -> bool {
    let is_away = |kind: &ErrorKind| {
        matches!(
            kind,
            ErrorKind::Unreachable(_) | ErrorKind::Timeout(_) | ErrorKind::ServerError { .. }
        )
    };
    seen.iter().any(|it| it.application.as_ref().is_err_and(|error| !is_away(&error.kind)))
}

/// The sources of an application, for the record; the revision is filled in by the proof.
pub(crate) fn sources(application: &Application) -> Vec<Revision> {
    application
        .spec
        .sources()
        .iter()
        .map(|(_, source)| {
            let inside = if source.chart().is_empty() { source.path() } else { source.chart() };
            Revision {
                repository: RedactedUrl::of_repository(source.repo_url()).to_string(),
                path: (!inside.is_empty()).then(|| inside.to_owned()),
                revision: String::new(),
            }
        })
        .collect()
}

/// Since when all applications have been as healthy as they are, if the server tells of each.
pub(crate) fn healthy_since(seen: &[ObservedApp]) -> Option<Timestamp> {
    let since = seen.iter().map(|seen| seen.application.as_ref().ok()?.status.health.since);
    since.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// What the applications would be rendered from now: their sources, with the revisions of the last comparison.
pub(crate) fn manifests(seen: &[ObservedApp]) -> Result<Vec<Revision>, String> {
    let mut all: Vec<Revision> = Vec::new();
    for ObservedApp { app, application, .. } in seen {
        let application = application
            .as_ref()
            .map_err(|error| format!("{}: {error}: {}", app.name, error.kind))?;
        let resolved = application.status.sync.revisions();
        for (index, source) in sources(application).into_iter().enumerate() {
            let revision = resolved.get(index).cloned().unwrap_or_default();
            let source = Revision { revision, ..source };
            if !all.contains(&source) {
                all.push(source);
            }
        }
    }
    Ok(all)
}

/// The applications as conditions see them.
pub(crate) fn described(seen: &[ObservedApp]) -> Value {
    let described = seen.iter().map(|ObservedApp { app, application, .. }| match application {
        Ok(application) => json!({
            "name": app.name,
            "labels": application.metadata.labels,
            "project": application.spec.project,
            "health": application.status.health.status,
            "sync": application.status.sync.status,
            "revisions": application.status.sync.revisions(),
        }),
        // Without its fields, so that a condition on them comes to no answer.
        Err(_) => json!({ "name": app.name }),
    });
    Value::Array(described.collect())
}

/// Whether every application holds the values of a release, whatever its state.
pub(crate) fn holds(seen: &[ObservedApp], release: &Release) -> bool {
    seen.iter().all(|ObservedApp { app, application, .. }| {
        application.as_ref().is_ok_and(|application| has_values(app, application, release))
    })
}

/// Whether an application holds the values of a release, whatever its state.
pub(crate) fn has_values(app: &App, application: &Application, release: &Release) -> bool {
    target(app, release).is_ok_and(|target| {
        verbatim_argocd::plan(&target.app, application, &target.values)
            .is_ok_and(|plan| plan.is_noop())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use verbatim_oci::Digest;

    use super::*;
    use verbatim_argocd::claim_annotation;

    fn seen(value: &str, sync: &str, health: &str, claim: Option<Value>) -> ObservedApp {
        let app = App::sample("web", &[("image.digest", "${digest}")]);
        let name = claim_annotation(Some("shop/dev"));
        let annotations = claim.map(|claim| json!({ name: claim.to_string() }));
        let application = serde_json::from_value(json!({
            "metadata": { "name": "web", "annotations": annotations },
            "spec": { "source": { "repoURL": "https://me:secret@git.example/a", "path": "chart", "helm": { "parameters": [
                { "name": "image.digest", "value": value, "forceString": true }
            ] } } },
            "status": { "sync": { "status": sync }, "health": { "status": health }, "sourceType": "Helm" },
        }));
        let server_url = "https://argocd.example/".to_owned();
        ObservedApp { app, server_url, application: Ok(application.unwrap()) }
    }

    #[test]
    fn the_end_of_the_ledger_is_read_from_the_applications() {
        let anchor = format!("7@{}", Digest::of(b"r"));
        let claim = |record: Option<&str>| {
            json!({
                "version": 1, "environment": "shop/dev", "nonce": "n", "state": "done", "release": "r", "at": "2026-01-01T00:00:00Z",
                "deadline": "2026-01-01T00:00:00Z", "source": "single", "changes": [], "record": record,
            })
        };
        let one = || seen("", "Synced", "Healthy", Some(claim(Some(&anchor))));
        let other = seen("", "Synced", "Healthy", Some(claim(Some("not an anchor"))));
        assert_eq!(anchors(&[one(), one(), other]).promotions, [anchor.parse().unwrap()]);
        assert_eq!(anchors(&[seen("", "Synced", "Healthy", None)]), Anchors::default());
        let application = one().application.unwrap();
        let sources = sources(&application);
        assert_eq!(sources[0].repository, "https://git.example/a");
        assert_eq!(sources[0].path.as_deref(), Some("chart"));
    }

    #[test]
    fn a_selected_application_is_addressed_where_it_is() {
        let template = App::sample("", &[]);
        for (namespace, own, want) in [
            ("argocd", Some("argocd"), "web"),
            ("team-a", Some("argocd"), "team-a/web"),
            // The settings cannot be read.
            ("argocd", None, "argocd/web"),
            ("", Some("argocd"), "web"),
        ] {
            let listed = json!({
                "metadata": { "name": "web", "namespace": namespace }, "spec": { "project": "shop" },
            });
            let seen = selected(serde_json::from_value(listed).unwrap(), &template, own, "");
            let found = reference(&seen.app);
            assert_eq!(found.to_string(), want, "{namespace} {own:?}");
            assert_eq!(found.project.as_deref(), Some("shop"));
        }
    }
}
