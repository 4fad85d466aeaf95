//! Error answers as grpc-gateway v1 and Argo CD's mux write them.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

use super::gojson;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    NotFound = 5,
    PermissionDenied = 7,
    FailedPrecondition = 9,
    Aborted = 10,
    Unimplemented = 12,
    Unauthenticated = 16,
}

impl Code {
    /// `runtime.HTTPStatusFromCode` of grpc-gateway v1.16.
    pub(crate) fn http(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InvalidArgument | Self::FailedPrecondition => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Aborted => StatusCode::CONFLICT,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: Code,
    pub(crate) message: String,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A plain Go error that no gRPC status is found in.
    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(Code::Unknown, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(crate) fn precondition(message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, message)
    }

    /// The bare text of the getter path, for a missing object as well as for a forbidden one.
    pub(crate) fn denied() -> Self {
        Self::new(Code::PermissionDenied, "permission denied")
    }

    pub(crate) fn app_not_found(name: &str) -> Self {
        Self::new(Code::NotFound, format!("applications.argoproj.io \"{name}\" not found"))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body =
            json!({ "error": self.message, "code": self.code as i32, "message": self.message });
        (self.code.http(), [(header::CONTENT_TYPE, "application/json")], gojson::to_string(&body))
            .into_response()
    }
}

/// Go's `http.Error`: plain text with a newline.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{text}\n"))
        .into_response()
}
