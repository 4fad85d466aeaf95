//! Looks what an application would run without its overrides. Reads only.

use crate::api::client::Client;
use crate::api::request::AppRef;
use crate::judge::default::{PinnedValue, pinned};
use crate::judge::plan::plan;
use crate::judge::refusal::WriteRefusal;
use crate::model::Application;
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
    let Some(source) = application.spec.sources().get(plan.source) else { return Ok(Vec::new()) };
    let (details, owner) = tokio::join!(
        client.app_details(&plan.app, &application.spec.project, source, plan.source.index()),
        owner(client, application, &plan, environment),
    );
    let details = details.map_err(|error| error.kind.to_string());
    Ok(pinned(&plan.changes, &details, owner.as_ref()))
}
