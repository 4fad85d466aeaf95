//! What would run in an environment without the overrides: what the charts name themselves, which no pipeline has tested.

use std::convert::Infallible;

use futures_util::future::join_all;
use verbatim_argocd::{OverrideValues, PinnedValue, WriteRefusal, pinned_values};
use verbatim_console::{ExitStatus, Failure};

use super::{Check, Finding};
use crate::config::{App, Environment};
use crate::environment::applications::{self, ObservedApp, Servers};
use crate::project::{Project, failures};

/// An application, and its values that pin an image.
struct PinnedApp {
    name: String,
    values: Result<Vec<PinnedValue>, String>,
}

/// Whether every value that pins an image overrides what git says, and will go on doing so.
pub(crate) async fn look(project: &Project, environment: &Environment) -> Finding {
    match read(project, environment).await {
        Ok(apps) => judge(environment.name(), &apps),
        Err(failure) => Finding::failed(Check::Override, environment.name(), failure),
    }
}

async fn read(project: &Project, environment: &Environment) -> Result<Vec<PinnedApp>, Failure> {
    let servers = Servers::of(project, [environment])?;
    let seen = applications::at(environment, &servers).await?;
    let looks = seen.into_iter().map(|ObservedApp { app, application, .. }| {
        let servers = &servers;
        async move {
            let application = application.map_err(failures::argocd)?;
            let client = servers.get(&app.server)?;
            let (reference, values) = (applications::reference(&app), values(&app));
            let own = Some(app.environment.as_str());
            let found = pinned_values(client, &reference, &application, &values, own).await;
            let why = |reasons: Vec<WriteRefusal>| {
                let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
                reasons.join("; ")
            };
            Ok(PinnedApp { name: app.name, values: found.map_err(why) })
        }
    });
    join_all(looks).await.into_iter().collect()
}

/// The values of an application that pin an image. What they are does not matter here, only where they stand.
fn values(app: &App) -> OverrideValues {
    let values = app.values(|set| {
        let pinning = set.pinning();
        let helm = pinning.helm.into_keys().map(|name| (name, "?".to_owned())).collect();
        let image = |name: String| format!("{name}=?").parse().ok();
        let kustomize = pinning.kustomize.into_keys().filter_map(image).collect();
        Ok::<_, Infallible>(OverrideValues { helm, kustomize, ..OverrideValues::default() })
    });
    values.unwrap_or_else(|never| match never {})
}

fn judge(environment: &str, apps: &[PinnedApp]) -> Finding {
    let mut at_risk = Vec::new();
    for PinnedApp { name, values } in apps {
        match values {
            Ok(values) => {
                let values = values.iter().filter(|value| value.is_at_risk());
                at_risk.extend(values.map(|value| format!("{name}: {}", told(value))));
            }
            Err(why) => at_risk.push(format!("{name}: {why}")),
        }
    }
    if at_risk.is_empty() {
        let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        let detail = format!("the images of {} are overridden", names.join(", "));
        return Finding::ok(Check::Override, environment, detail);
    }
    let failure = Failure::new(ExitStatus::No, at_risk.join("; ")).hint(format!(
        "promote a release: verbatim promote {environment}; and give the chart a tag that does not exist, so that a lost \
         override fails instead of running something else"
    ));
    Finding::warning(Check::Override, environment, failure, "no promotion needs it")
}

fn told(value: &PinnedValue) -> String {
    let PinnedValue { name, is_overridden, git, removed_by } = value;
    let runs = if *is_overridden { "would run" } else { "runs" };
    let git = match git {
        Ok(Some(own)) => format!("the chart's own `{own}` {runs}, which is no release"),
        Ok(None) => format!("what {runs} is up to the chart, which is no release"),
        Err(why) => format!("cannot tell what {runs}: {why}"),
    };
    match (is_overridden, removed_by) {
        (true, Some(owner)) => format!("{name} will not last, {owner}: then {git}"),
        _ => format!("{name} is not overridden: {git}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn app(
        is_overridden: bool,
        git: Result<Option<&str>, &str>,
        removed_by: Option<&str>,
    ) -> PinnedApp {
        let value = PinnedValue {
            name: "helm:image.tag".to_owned(),
            is_overridden,
            git: git.map(|it| it.map(str::to_owned)).map_err(str::to_owned),
            removed_by: removed_by.map(str::to_owned),
        };
        PinnedApp { name: "web".to_owned(), values: Ok(vec![value]) }
    }

    #[test]
    fn what_would_run_without_the_override_is_told() {
        let set = Some("ApplicationSet s removes it");
        let cases = [
            (app(true, Ok(Some("latest")), None), None),
            (
                app(false, Ok(Some("latest")), None),
                Some(
                    "helm:image.tag is not overridden: the chart's own `latest` runs, which is no release",
                ),
            ),
            (
                app(false, Ok(None), None),
                Some(
                    "helm:image.tag is not overridden: what runs is up to the chart, which is no release",
                ),
            ),
            (
                app(false, Err("403"), None),
                Some("helm:image.tag is not overridden: cannot tell what runs: 403"),
            ),
            (
                app(true, Ok(Some("latest")), set),
                Some(
                    "helm:image.tag will not last, ApplicationSet s removes it: then the chart's own `latest` would run, which is no release",
                ),
            ),
        ];
        for (app, want) in cases {
            let finding = judge("dev", &[app]);
            let level = if want.is_some() { Level::Warning } else { Level::Ok };
            assert_eq!(finding.level, level, "{finding:?}");
            assert_eq!(finding.status, ExitStatus::Done);
            let want = want.unwrap_or("the images of web are overridden");
            assert!(finding.detail.contains(want), "{finding:?}");
        }
        let none = PinnedApp { name: "web".to_owned(), values: Err("no such source".to_owned()) };
        assert!(judge("dev", &[none]).detail.starts_with("web: no such source"));
    }
}
