//! `overrides`: what stands in the applications in the place of what git says, and who put it there.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure, Table, style};

use crate::api::client::Client;
use crate::api::request::AppRef;
use crate::cli::shared::apps::FilterArgs;
use crate::cli::shared::server::ServerArgs;
use crate::inspect::overrides::{Author, GitValue, StandingOverride, standing};
use crate::model::{AppSource, Application, Info, SourceAt};
use crate::overrides::claim::ClaimState;

/// Charts that are asked for at the same time. The server's cache answers for those that it has rendered.
const CHARTS_AT_ONCE: usize = 4;

/// The most characters of a value in the table.
const WIDEST: usize = 96;

/// List the overrides of all applications, and who set each
///
/// An override is a value that stands in an application in the place of what git says: a Helm parameter, a Kustomize image,
/// a document of values. For each it prints what the chart says, which run of verbatim wrote it by its claim on the
/// application, and the promotion that recorded it. A value that no claim names was set by something else: by hand, by
/// another tool, or by the template of an ApplicationSet.
///
/// Sends one request for the list and one for each chart; writes nothing. What the chart says is known of Helm parameters,
/// without `.argocd-source` files. Values of keys that are named like secrets are left out. Argo CD silently leaves out
/// applications that the token may not see.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  verbatim-argocd overrides
  verbatim-argocd overrides --project web
  verbatim-argocd overrides -l team=web --format json \\
    | jq '.overrides[] | select(.set_by == null)'")]
pub struct OverridesArgs {
    #[command(flatten)]
    filter: FilterArgs,

    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct Overrides {
    overrides: Vec<StandingOverride>,
    #[serde(skip)]
    applications: usize,
}

pub(crate) async fn run(args: OverridesArgs, console: &Console) -> Result<ExitStatus, Failure> {
    let client = args.server.client(console)?;
    let found = args.filter.applications(&client).await?;
    let mut overrides: Vec<_> =
        found.iter().flat_map(|(reference, app)| standing(reference, app)).collect();
    let charts = charts(&client, &found, &overrides).await;
    for one in overrides.iter_mut().filter(|one| one.is_of_chart()) {
        let app = found.iter().find(|(reference, _)| *reference == one.app);
        let source = app.and_then(|(_, app)| app.spec.sources().get(one.source));
        if let Some(chart) = source.and_then(|source| charts.get(&chart_of(source))) {
            one.compare(chart);
        }
    }
    console.result(&Overrides { overrides, applications: found.len() })?;
    Ok(ExitStatus::Done)
}

/// What each chart says. Applications that use the same chart with the same files of values share an answer.
async fn charts(
    client: &Client,
    found: &[(AppRef, Application)],
    overrides: &[StandingOverride],
) -> BTreeMap<String, Result<Vec<Info>, String>> {
    let mut wanted: BTreeMap<String, (&AppRef, &AppSource, usize)> = BTreeMap::new();
    for (reference, app) in found {
        for (at, source) in app.spec.sources().iter() {
            let is_asked = |one: &StandingOverride| {
                one.is_of_chart() && one.app == *reference && one.source == at
            };
            if overrides.iter().any(is_asked) {
                wanted.entry(chart_of(source)).or_insert((reference, source, at.index()));
            }
        }
    }
    let asking = wanted.into_iter().map(|(chart, (app, source, index))| async move {
        let project = app.project.as_deref().unwrap_or_default();
        let known = match client.app_details(app, project, source, index).await {
            Ok(details) => match details.helm {
                Some(helm) => Ok(helm.parameters),
                None => Err(format!("it is a {} source", details.kind)),
            },
            Err(error) => Err(error.kind.to_string()),
        };
        (chart, known)
    });
    stream::iter(asking).buffer_unordered(CHARTS_AT_ONCE).collect().await
}

/// What decides what a chart says: the chart and the files of values, not what overrides them.
fn chart_of(source: &AppSource) -> String {
    let mut source = source.0.clone();
    if let Some(helm) = source.get_mut("helm").and_then(|helm| helm.as_object_mut()) {
        helm.retain(|name, _| name == "valueFiles");
    }
    source.to_string()
}

impl fmt::Display for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["APP", "KEY", "VALUE", "GIT", "SET BY", "PROMOTION"]);
        for one in &self.overrides {
            let app = match one.source {
                SourceAt::Single => one.app.to_string(),
                SourceAt::Index(index) => format!("{} ({})", one.app, index + 1),
            };
            let set = one.owning_set.iter().map(|set| format!(" (ApplicationSet {set} owns it)"));
            table.row([
                app,
                one.key.to_string(),
                one.value.as_deref().map_or_else(|| "(hidden)".to_owned(), short),
                match &one.git {
                    GitValue::Known { value } => short(value),
                    GitValue::Unlisted => "(not listed)".to_owned(),
                    GitValue::Unknown { .. } => "(unknown)".to_owned(),
                },
                match &one.set_by {
                    Some(author) => author.to_string(),
                    None => style::attention(format!("unknown{}", set.collect::<String>())),
                },
                one.set_by.as_ref().map_or_else(String::new, promotion),
            ]);
        }
        if !table.is_empty() {
            writeln!(f, "{table}")?;
        }
        let unknown = self.overrides.iter().filter(|one| one.set_by.is_none()).count();
        let (overrides, apps) = (self.overrides.len(), self.applications);
        let s = |count: usize| if count == 1 { "" } else { "s" };
        write!(f, "{overrides} override{} in {apps} application{}", s(overrides), s(apps))?;
        if unknown > 0 {
            write!(f, ", {unknown} without a claim")?;
        }
        writeln!(f)
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = [self.environment.as_deref(), self.by.as_deref()];
        let who: Vec<&str> = who.into_iter().flatten().collect();
        f.write_str(if who.is_empty() { "verbatim" } else { "" })?;
        f.write_str(&who.join(" "))?;
        match self.state {
            ClaimState::Done | ClaimState::Undone => Ok(()),
            ClaimState::Open => f.write_str(" (not finished)"),
            ClaimState::Written => f.write_str(" (not proven)"),
            ClaimState::Failed => f.write_str(" (ended without proof)"),
        }
    }
}

/// A place in a ledger in few characters. `--format json` has the whole digest.
fn promotion(author: &Author) -> String {
    let short = |record: &str| record.chars().take("sha256:".len() + 12).collect::<String>();
    let place = author.promotion.as_ref();
    place.map_or_else(String::new, |place| format!("{} {}", place.number, short(&place.record)))
}

/// A value in one cell.
fn short(value: &str) -> String {
    match (value.lines().count(), value.chars().count()) {
        (0, _) => "(empty)".to_owned(),
        (1, ..=WIDEST) => value.to_owned(),
        (1, _) => value.chars().take(WIDEST - 1).chain(['…']).collect(),
        (lines, _) => format!("({lines} lines)"),
    }
}
