//! Looks what an application would run without its overrides. Reads only.

use crate::api::client::Client;
use crate::api::request::AppRef;
use crate::judge::default::{PinnedValue, pinned};
use crate::judge::plan::plan;
use crate::judge::refusal::WriteRefusal;
use crate::model::Application;
use crate::overrides::plan::PlannedSource;
use crate::overrides::values::OverrideValues;
use crate::run::read::owner;

/// The values of an application that pin its images, whatever they are: whether it overrides them, what git says in their
/// place, and whether somebody takes them away again.
///
/// # Errors
///
/// If the application cannot take such values.
pub async fn pinned_values(
    client: &Client,
    app: &AppRef,
    application: &Application,
    values: &OverrideValues,
    environment: Option<&str>,
) -> Result<Vec<PinnedValue>, Vec<WriteRefusal>> {
    let plan = plan(app, application, values)?;
    let owner = owner(client, application, &plan, environment).await;
    let mut values = Vec::new();
    for PlannedSource { at, .. } in &plan.sources {
        let Some(source) = application.spec.sources().get(*at) else { continue };
        let project = &application.spec.project;
        let details = client.app_details(&plan.app, project, source, at.index()).await;
        let details = details.map_err(|error| error.kind.to_string());
        let changes = plan.changes.iter().filter(|change| change.source == *at);
        values.extend(pinned(changes, &details, owner.as_ref()));
    }
    Ok(values)
}
