//! Which applications a command is about, and doing it to each of them: one by name, several, or all of a selector or
//! project; so many at a time; one table at the end.

use std::fmt;

use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};
use verbatim_console::{Console, ExitStatus, Failure, Table, style};

use crate::api::client::Client;
use crate::api::kubernetes::KubernetesAccess;
use crate::api::request::AppRef;
use crate::cli::shared::failure::failure;
use crate::cli::shared::server::ServerArgs;
use crate::model::Application;

/// Applications
#[derive(Clone, Debug, Args)]
pub struct AppsArgs {
    /// Applications: NAME or NAMESPACE/NAME; alternatively use --selector or --project
    #[arg(value_name = "APP")]
    pub app: Vec<AppRef>,

    #[command(flatten)]
    pub(crate) many: ManyArgs,
}

/// Selection of applications, how many at a time, and the server that they are on
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ManyArgs {
    #[command(flatten)]
    filter: FilterArgs,

    /// Number of applications to process in parallel
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,

    #[command(flatten)]
    server: ServerArgs,
}

/// Selection of applications
#[derive(Clone, Debug, Default, Args)]
pub struct FilterArgs {
    /// Select applications by label: `team=web,env!=dev,tier in (a, b)`
    #[arg(long, short = 'l', value_name = "LABELS")]
    pub selector: Option<String>,

    /// Select applications by Argo CD project (repeatable)
    ///
    /// With applications on the command line it is their project, and lets Argo CD say "not found" instead of "denied".
    #[arg(long, value_name = "PROJECT")]
    pub project: Vec<String>,

    /// Namespace of the applications, if it is not Argo CD's own
    #[arg(long, short = 'N', value_name = "NAMESPACE")]
    pub app_namespace: Option<String>,
}

/// The applications of a command.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Chosen {
    /// One, by its name: its result is shown in full, and its failure is the command's.
    One(AppRef),
    /// Several: a table.
    Many(Vec<AppRef>),
}

impl AppsArgs {
    /// The same with other names.
    pub(crate) fn with(self, app: Vec<AppRef>) -> Self {
        Self { app, ..self }
    }

    /// A client of the server that they are on.
    pub(crate) fn client(&self, console: &Console) -> Result<Client, Failure> {
        self.many.server.client(console)
    }

    /// The same, with the way that changes of applications take.
    pub(crate) fn client_writing(
        &self,
        kubernetes: Option<KubernetesAccess>,
        console: &Console,
    ) -> Result<Client, Failure> {
        self.many.server.client_writing(kubernetes, console)
    }

    /// How many are worked on at a time.
    pub(crate) fn parallel(&self) -> u8 {
        self.many.parallel
    }

    /// The applications that are meant.
    pub(crate) async fn chosen(&self, client: &Client) -> Result<Chosen, Failure> {
        if self.app.is_empty() {
            return self.many.filter.list(client).await.map(Chosen::Many);
        }
        if self.many.filter.selector.is_some() {
            return Err(Failure::usage("--selector cannot be combined with application names"));
        }
        let project = match self.many.filter.project.as_slice() {
            [] => None,
            [only] => Some(only.clone()),
            _ => {
                return Err(Failure::usage(
                    "an application has one project, but --project is given several times",
                ));
            }
        };
        let named: Result<Vec<_>, Failure> = self
            .app
            .iter()
            .map(|app| named(app, self.many.filter.app_namespace.as_deref(), project.clone()))
            .collect();
        let mut named = named?;
        let mut seen = std::collections::BTreeSet::new();
        named.retain(|app| seen.insert(app.clone()));
        match <[AppRef; 1]>::try_from(named) {
            Ok([only]) => Ok(Chosen::One(only)),
            Err(several) => Ok(Chosen::Many(several)),
        }
    }
}

/// The application that a name, a namespace and a project together mean.
pub(crate) fn named(
    app: &AppRef,
    namespace: Option<&str>,
    project: Option<String>,
) -> Result<AppRef, Failure> {
    let namespace = match (app.namespace.as_deref(), namespace) {
        (Some(a), Some(b)) if a != b => {
            return Err(Failure::usage(format!("two namespaces given: {a} and {b}")));
        }
        (a, b) => a.or(b).map(str::to_owned),
    };
    Ok(AppRef { name: app.name.clone(), namespace, project })
}

impl FilterArgs {
    /// The applications that match, by one listing.
    async fn list(&self, client: &Client) -> Result<Vec<AppRef>, Failure> {
        if self.selector.is_none() && self.project.is_empty() {
            return Err(Failure::usage("no application given")
                .hint("name applications, or use --selector or --project"));
        }
        let found = self.applications(client).await?;
        if found.is_empty() {
            return Err(Failure::new(ExitStatus::Refused, "no application matches")
                .hint("`verbatim argocd list` shows what the token may see"));
        }
        Ok(found.into_iter().map(|(app, _)| app).collect())
    }

    /// The applications that match, as the server's cache has them, by one listing; all that the token may see if nothing
    /// is asked for.
    pub(crate) async fn applications(
        &self,
        client: &Client,
    ) -> Result<Vec<(AppRef, Application)>, Failure> {
        let listed = client
            .list(&self.project, self.selector.as_deref(), self.app_namespace.as_deref())
            .await
            .map_err(failure)?;
        // Whoever may not read the settings still gets a reference that works.
        let own = client.own_namespace().await.ok();
        let reference = |app: &Application| AppRef {
            name: app.metadata.name.clone(),
            // Rights name applications in Argo CD's own namespace without one.
            namespace: Some(app.metadata.namespace.clone())
                .filter(|namespace| !namespace.is_empty() && Some(namespace) != own.as_ref()),
            project: Some(app.spec.project.clone()).filter(|project| !project.is_empty()),
        };
        let mut found: Vec<_> = listed.into_iter().map(|app| (reference(&app), app)).collect();
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }
}

/// What became of one application.
pub(crate) type Each<T> = (AppRef, Result<T, Failure>);

/// Does something to each application, `parallel` at a time; in the order of the applications.
pub(crate) async fn each<T, F>(
    apps: Vec<AppRef>,
    parallel: u8,
    work: impl Fn(AppRef) -> F,
) -> Vec<Each<T>>
where
    F: Future<Output = Result<T, Failure>>,
{
    let running = apps.into_iter().map(|app| {
        let work = work(app.clone());
        async move { (app, work.await) }
    });
    stream::iter(running).buffered(parallel.into()).collect().await
}

/// How results of several applications are shown.
pub(crate) struct Columns<T, const N: usize> {
    /// The headings, without that of the application.
    pub(crate) headings: [&'static str; N],
    /// The rows of a result: mostly one, but as many as there are events, for example.
    pub(crate) rows: fn(&T) -> Vec<[String; N]>,
}

impl AppsArgs {
    /// Does something to each application that is meant, and prints what came of it: of one in full, of several as one
    /// table.
    pub(crate) async fn show<T, F, const N: usize>(
        &self,
        client: &Client,
        console: &Console,
        columns: &Columns<T, N>,
        status: impl Fn(&T) -> ExitStatus,
        work: impl Fn(AppRef) -> F,
    ) -> Result<ExitStatus, Failure>
    where
        T: Serialize + fmt::Display,
        F: Future<Output = Result<T, Failure>>,
    {
        match self.chosen(client).await? {
            Chosen::One(app) => {
                let found = work(app).await?;
                console.result(&found)?;
                Ok(status(&found))
            }
            Chosen::Many(apps) => {
                let results = each(apps, self.parallel(), work).await;
                conclude_many(console, &results, columns, status)
            }
        }
    }
}

/// The results of several applications.
#[derive(Serialize)]
struct AppResults {
    applications: Vec<Value>,
    #[serde(skip)]
    text: String,
}

impl fmt::Display for AppResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Prints the results of several applications as a table, and gives the exit status of all.
pub(crate) fn conclude_many<T: Serialize, const N: usize>(
    console: &Console,
    results: &[Each<T>],
    columns: &Columns<T, N>,
    status: impl Fn(&T) -> ExitStatus,
) -> Result<ExitStatus, Failure> {
    let mut table = Table::wide(std::iter::once("APP").chain(columns.headings));
    for (app, result) in results {
        let rows = match result {
            Ok(value) => (columns.rows)(value),
            Err(failed) => {
                let mut cells = std::array::from_fn(|_| String::new());
                if let Some(last) = cells.last_mut() {
                    *last = style::bad(failed.whole());
                }
                vec![cells]
            }
        };
        for cells in rows {
            table.wide_row(std::iter::once(app.to_string()).chain(cells));
        }
    }
    conclude_as(console, results, table.to_string(), status)
}

/// Prints the results of several applications one after the other, where each is a document that a table would spoil; and
/// gives the exit status of all. Failures go to stderr.
pub(crate) fn conclude_documents<T: Serialize + fmt::Display>(
    console: &Console,
    results: &[Each<T>],
) -> Result<ExitStatus, Failure> {
    let mut text = String::new();
    for (app, result) in results {
        match result {
            Ok(document) => text.push_str(&format!("# application {app}\n{document}")),
            Err(failed) => console.warn(format!("{app}: {}", failed.whole())),
        }
    }
    conclude_as(console, results, text, |_| ExitStatus::Done)
}

fn conclude_as<T: Serialize>(
    console: &Console,
    results: &[Each<T>],
    text: String,
    status: impl Fn(&T) -> ExitStatus,
) -> Result<ExitStatus, Failure> {
    let applications = results.iter().map(|(app, result)| json_of(app, result));
    let applications = applications.collect::<Result<_, _>>()?;
    console.result(&AppResults { applications, text })?;
    Ok(ExitStatus::of_all(results.iter().map(|(_, result)| match result {
        Ok(value) => status(value),
        Err(failed) => failed.status,
    })))
}

/// What JSON says of an application.
fn json_of<T: Serialize>(app: &AppRef, result: &Result<T, Failure>) -> Result<Value, Failure> {
    let failed = match result {
        Ok(value) => {
            let mut json = serde_json::to_value(value)
                .map_err(|error| Failure::new(ExitStatus::Defect, error))?;
            if let Value::Object(fields) = &mut json {
                fields.entry("app").or_insert_with(|| json!(app));
            }
            return Ok(json);
        }
        Err(failed) => failed,
    };
    let (message, status) = (failed.whole(), failed.status.name());
    Ok(json!({
        "app": app, "error": { "message": message, "status": status, "hints": failed.hints },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_named_once() {
        let cases = [
            ("shop", None, Some("shop")),
            ("team/shop", None, Some("team/shop")),
            ("shop", Some("team"), Some("team/shop")),
            ("team/shop", Some("team"), Some("team/shop")),
            ("team/shop", Some("other"), None),
        ];
        for (app, namespace, want) in cases {
            let got = named(&app.parse().unwrap(), namespace, None).ok();
            assert_eq!(got.map(|app| app.to_string()).as_deref(), want, "{app} {namespace:?}");
        }
    }
}
