//! Who a CI job is, by the variables that its system gives it.

use verbatim_console::Failure;
use verbatim_credentials::argocd::JobLogin;

use crate::api::client::{IdentitySource, JobIdentity};

/// Who this job is, by its variables. `None`: the CI system has not said.
///
/// # Errors
///
/// If a variable of GitHub is no address.
pub fn job_identity(
    login: &JobLogin,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<JobIdentity>, Failure> {
    let of = |source| Some(JobIdentity { connector: login.connector.clone(), source });
    if let Some(token) = variable(&login.variable) {
        return Ok(of(IdentitySource::Token(token.into())));
    }
    let (Some(url), Some(token)) =
        (variable("ACTIONS_ID_TOKEN_REQUEST_URL"), variable("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
    else {
        return Ok(None);
    };
    let url = url.parse().map_err(|error| {
        Failure::usage(error).context("ACTIONS_ID_TOKEN_REQUEST_URL is not an address")
    })?;
    let audience = login.audience.clone();
    Ok(of(IdentitySource::Github { url, token: token.into(), audience }))
}
