//! What a handler gets of a request, and the way to an application that all calls share.

use std::sync::Arc;

use axum::RequestExt as _;
use axum::body::Bytes;
use axum::extract::{FromRequest, RawPathParams, Request};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde_json::Value;

use crate::auth::Claims;
use crate::error::{ApiError, ApiResult};
use crate::objects::text;
use crate::store::NAMESPACE;
use crate::{Pace, Server, gojson};

pub(super) struct Call {
    pub(super) server: Arc<Server>,
    /// The variable part of the path, if it has one.
    pub(super) name: String,
    pub(super) headers: HeaderMap,
    pub(super) query: Query,
    /// How fast the server is to this request.
    pub(super) pace: Pace,
    bytes: Bytes,
}

impl FromRequest<Arc<Server>> for Call {
    type Rejection = Response;

    async fn from_request(mut request: Request, server: &Arc<Server>) -> Result<Self, Response> {
        let params = request.extract_parts::<RawPathParams>().await.ok();
        let name = params.and_then(|params| Some(params.iter().next()?.1.to_owned()));
        Ok(Self {
            server: server.clone(),
            name: name.unwrap_or_default(),
            headers: request.headers().clone(),
            query: Query::of(request.uri()),
            pace: request.extensions().get().copied().unwrap_or_default(),
            bytes: request.extract().await.map_err(IntoResponse::into_response)?,
        })
    }
}

impl Call {
    pub(super) fn claims(&self) -> ApiResult<Claims> {
        self.server.sessions.claims(&self.headers)
    }

    /// The JSON body; nothing at all is an empty object.
    pub(super) fn body(&self) -> ApiResult<Value> {
        if self.bytes.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        serde_json::from_slice(&self.bytes).map_err(|error| ApiError::invalid(error.to_string()))
    }

    /// The application that the path and the query name, for who has the right to `action`.
    pub(super) fn app(&self, action: &str) -> ApiResult<(Value, Claims)> {
        let project = self.query.projects().first().copied();
        self.app_of(&self.name, action, project, self.query.text("appNamespace"))
    }

    /// The application that the path and the body name.
    pub(super) fn app_by(&self, body: &Value, action: &str) -> ApiResult<(Value, Claims)> {
        self.app_of(&self.name, action, Some(text(body, "/project")), text(body, "/appNamespace"))
    }

    /// `getAppEnforceRBAC`: the same answer for a missing and for a forbidden application, unless a project is named.
    pub(super) fn app_of(
        &self,
        name: &str,
        action: &str,
        project: Option<&str>,
        namespace: &str,
    ) -> ApiResult<(Value, Claims)> {
        let claims = self.claims()?;
        let allowed =
            |project: &str| claims.may("applications", action, &format!("{project}/{name}"));
        let project = project.filter(|project| !project.is_empty());
        if project.is_some_and(|project| !allowed(project)) || !matches!(namespace, "" | NAMESPACE)
        {
            return Err(ApiError::denied());
        }
        let hidden =
            || if project.is_some() { ApiError::app_not_found(name) } else { ApiError::denied() };
        let app = self.server.store.app(name).ok_or_else(hidden)?;
        let real = text(&app, "/spec/project").to_owned();
        if !allowed(&real) {
            return Err(hidden());
        }
        if project.is_some_and(|project| project != real) {
            return Err(ApiError::app_not_found(name));
        }
        Ok((app, claims))
    }
}

/// A 200 with JSON as Go writes it.
pub(super) struct GoJson(pub(super) Value);

pub(super) type Answer = ApiResult<GoJson>;

impl IntoResponse for GoJson {
    fn into_response(self) -> Response {
        let body = gojson::to_string(&self.0);
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn of(uri: &http::Uri) -> Self {
        let url = format!("http://localhost/?{}", uri.query().unwrap_or_default());
        Self(
            reqwest::Url::parse(&url)
                .map(|url| url.query_pairs().into_owned().collect())
                .unwrap_or_default(),
        )
    }

    /// The texts of a body that says what other calls have in their query.
    pub(crate) fn of_members(body: &Value) -> Self {
        let members = body.as_object().into_iter().flatten();
        Self(
            members
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
        )
    }

    pub(crate) fn get<'q>(&'q self, name: &'q str) -> Option<&'q str> {
        self.all(name).next()
    }

    pub(crate) fn text<'q>(&'q self, name: &'q str) -> &'q str {
        self.get(name).unwrap_or_default()
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), Some("true" | "1"))
    }

    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(one, _)| one == name).map(|(_, value)| value.as_str())
    }

    /// `project`, or its older name `projects`.
    pub(crate) fn projects(&self) -> Vec<&str> {
        self.all("project").chain(self.all("projects")).collect()
    }
}
