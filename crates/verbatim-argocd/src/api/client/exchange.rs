//! A session for a CI job without a stored secret: the identity token that the CI gives the job is exchanged for one of
//! Argo CD. Where the job's token comes from, the environment knows; nothing is read from it here.
//!
//! <https://argo-cd.readthedocs.io/en/stable/operator-manual/user-management/github-actions/>,
//! <https://www.rfc-editor.org/rfc/rfc8693>

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::{Url, form_urlencoded};

use super::{Answered, Client, Config};
use crate::api::error::{Error, ErrorKind};
use crate::api::response::decode;

/// The public client of Dex that Argo CD makes for command lines. It has no secret.
const CLIENT: &str = "argo-cd-cli";

/// What is asked for beside the identity: who the federated user is, and the groups, for Argo CD's access rules. Argo CD's
/// documentation leaves the groups out; without them a rule for a group never holds for a job.
const SCOPE: &str = "openid email profile groups federated:id";

/// Dex's answer, of either kind: RFC 8693, section 2.2; RFC 6749, section 5.2.
#[derive(Deserialize)]
#[serde(untagged)]
enum DexAnswer {
    Token {
        access_token: String,
    },
    Refused {
        error: String,
        #[serde(default)]
        error_description: String,
    },
}

#[derive(Deserialize)]
struct GithubAnswer {
    value: String,
}

/// Who a CI job is, and the connector of Dex that believes it.
#[derive(Clone, Debug)]
pub struct JobIdentity {
    /// The id of the connector.
    pub connector: String,
    /// Where the job's identity token comes from.
    pub source: IdentitySource,
}

/// Where a CI job has its identity token from.
#[derive(Clone, Debug)]
pub enum IdentitySource {
    /// The CI system gave it to the job.
    Token(SecretString),
    /// GitHub gives the job a new one whenever it asks, with a token that is for that.
    Github {
        /// Where to ask.
        url: Url,
        /// The token for that.
        token: SecretString,
        /// Whom the identity is for.
        audience: Option<String>,
    },
}

impl Client {
    /// A session for the job, by its identity.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] if Dex does not take the identity, [`ErrorKind::PermissionDenied`] if GitHub gives none.
    pub async fn log_in_as(&self, job: &JobIdentity) -> Result<SecretString, Error> {
        let subject = match &job.source {
            IdentitySource::Token(token) => token.clone(),
            IdentitySource::Github { url, token, audience } => {
                let github = Config { token: Some(token.clone()), ..Config::new(url.clone()) };
                Client::new(github)?.github_identity(audience.as_deref()).await?
            }
        };
        self.exchange(&job.connector, &subject).await
    }

    /// Exchanges an identity token through a connector of the Dex that belongs to Argo CD.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] if Dex does not take the token or has no such connector.
    async fn exchange(
        &self,
        connector: &str,
        subject: &SecretString,
    ) -> Result<SecretString, Error> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("connector_id", connector)
            .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
            .append_pair("scope", SCOPE)
            .append_pair("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
            .append_pair("subject_token", subject.expose_secret())
            .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:id_token")
            .finish();
        let request = |url: Url| {
            self.0
                .http
                .post(url)
                .basic_auth(CLIENT, Some(""))
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body)
        };
        let answer = async {
            let url = self.url("/api/dex/token")?;
            dex(&self.fetch(request(url), self.0.timeouts.read).await?)
        };
        answer.await.map_err(|kind| Error {
            action: format!("exchange the identity token through connector {connector}"),
            server: self.server().to_string(),
            kind,
        })
    }

    /// The identity token of a job of GitHub Actions. This client is one for GitHub, and its token the job's own.
    ///
    /// # Errors
    ///
    /// GitHub refuses: the job lacks the permission `id-token: write`.
    async fn github_identity(&self, audience: Option<&str>) -> Result<SecretString, Error> {
        let mut url = self.server().clone();
        if let Some(audience) = audience {
            url.query_pairs_mut().append_pair("audience", audience);
        }
        let mut request = self.0.http.get(url).header(ACCEPT, "application/json; api-version=2.0");
        if let Some(bearer) = self.0.session.bearer() {
            request = request.header(AUTHORIZATION, bearer);
        }
        let answer = async { github(&self.fetch(request, self.0.timeouts.read).await?) };
        answer.await.map_err(|kind| Error {
            action: "ask GitHub for the identity token of this job".into(),
            server: self.server().host_str().unwrap_or_default().to_owned(),
            kind,
        })
    }
}

fn dex(answer: &Answered) -> Result<SecretString, ErrorKind> {
    match serde_json::from_slice(&answer.body) {
        Ok(DexAnswer::Token { access_token }) if answer.head().status == 200 => {
            Ok(access_token.into())
        }
        Ok(DexAnswer::Refused { error, error_description }) => {
            let text = match error_description.is_empty() {
                true => error,
                false => format!("{error}: {error_description}"),
            };
            Err(ErrorKind::Unauthenticated(text))
        }
        // A server without Dex answers in its own way.
        _ => Err(unexpected(answer)),
    }
}

fn github(answer: &Answered) -> Result<SecretString, ErrorKind> {
    let (status, length) = (answer.head().status, answer.body.len());
    match (status, serde_json::from_slice::<GithubAnswer>(&answer.body)) {
        (200, Ok(token)) => Ok(token.value.into()),
        (401 | 403, _) => Err(ErrorKind::PermissionDenied("the job has no such right".into())),
        (500.., _) => Err(ErrorKind::ServerError { status, message: "no token".into() }),
        _ => Err(ErrorKind::Malformed { length, reason: format!("status {status} and no token") }),
    }
}

/// The error of an answer of Argo CD that holds neither a token nor a refusal of Dex.
fn unexpected(answer: &Answered) -> ErrorKind {
    let length = answer.body.len();
    decode::<serde_json::Value>(answer.head(), &answer.body)
        .err()
        .unwrap_or(ErrorKind::Malformed { length, reason: "there is no token in it".into() })
}
