//! What can go wrong between us and an Argo CD server. No hint and no exit status: those are the edge's business.

use std::fmt;
use std::time::Duration;

/// A call that did not succeed: what was tried, and why it failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct Error {
    /// What was tried, as the rest of the sentence "cannot …".
    pub action: String,
    /// The server's address, without credentials.
    pub server: String,
    /// Why it failed.
    #[source]
    pub kind: ErrorKind,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection, or it broke before an answer was complete enough to have a status.
    #[error("no answer from the server")]
    Unreachable(#[source] TransportError),
    /// TLS was refused by us: the certificate does not prove that this is the server.
    #[error("the server's certificate is not trusted")]
    Certificate(#[source] TransportError),
    /// TLS was refused by the server, or by a proxy before it: it wants a client certificate, or another one.
    #[error("the server rejects the client certificate, or requires one")]
    ClientCertificate(#[source] TransportError),
    /// No complete answer in time.
    #[error("no complete answer within {}", seconds(.0))]
    Timeout(Duration),
    /// The server sends us elsewhere. Redirects are not followed, so that the token stays with the server it is for.
    #[error("the server redirects to {0}")]
    Redirected(String),
    /// 401: a wrong password; no token, or one that is expired or was never valid here.
    #[error("Argo CD rejects the credentials: {0}")]
    Unauthenticated(String),
    /// 403. Argo CD says this for an application that does not exist, too, unless its project is named.
    #[error("permission denied by Argo CD{}", after_permission_denied(.0))]
    PermissionDenied(String),
    /// 404 with Argo CD's own error envelope.
    #[error("not found: {0}")]
    NotFound(String),
    /// A `test` operation of our JSON patch did not hold.
    #[error("another writer changed a value that this depends on: {0}")]
    TestFailed(String),
    /// The application is not the version any more that the change was made for. The Kubernetes API says so, and does nothing.
    #[error("the application changed since it was read")]
    Outdated,
    /// The Kubernetes API, and not Argo CD, will not do it.
    #[error("refused by the Kubernetes API: {message}")]
    KubernetesRefused {
        /// The HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// The operation slot of the application is taken.
    #[error("another operation is in progress")]
    AnotherOperation,
    /// A sync window of the project forbids the sync.
    #[error("a sync window blocks the sync")]
    SyncWindow,
    /// The manifests cannot be made from the sources. A write is refused then, too.
    #[error("the application does not render: {0}")]
    DoesNotRender(String),
    /// The server cannot reach the git or Helm repository.
    #[error("Argo CD cannot reach the repository: {0}")]
    RepoUnreachable(String),
    /// The server reached the git repository, and its host key or our credentials are not those that are wanted.
    #[error("the repository rejects Argo CD, or Argo CD its host key: {0}")]
    RepoRefused(String),
    /// The server gave up writing, because others write the same application all the time.
    #[error("too many concurrent writers")]
    TooManyConflicts,
    /// 400 for another reason: the request or the state of the application does not allow it.
    #[error("refused by Argo CD: {0}")]
    Refused(String),
    /// 429.
    #[error("the server limits the rate of requests")]
    RateLimited {
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// 5xx, from Argo CD or from a proxy before it.
    #[error("the server failed with status {status}: {message}")]
    ServerError {
        /// The HTTP status.
        status: u16,
        /// What it says, or the kind of body if that is not Argo CD's.
        message: String,
    },
    /// The port speaks TLS, or something else that is not HTTP, where plain HTTP was sent; or plain HTTP where TLS was.
    #[error("{}", if *.speaks_tls { "the server does not speak plain HTTP on this port" } else { "the server speaks plain HTTP on this port" })]
    OtherScheme {
        /// Whether it is TLS that it speaks.
        speaks_tls: bool,
    },
    /// The answer does not come from an Argo CD API: a login page, a wrong path.
    #[error("the answer (status {status}, {content_type}) is not from an Argo CD API")]
    NotArgoCd {
        /// The HTTP status.
        status: u16,
        /// The media type of the answer.
        content_type: String,
    },
    /// JSON of another shape than the API has. The body is not quoted: it may hold secrets.
    #[error("cannot understand the answer of {length} bytes: {reason}")]
    Malformed {
        /// Length of the body.
        length: usize,
        /// What is wrong, and at which line and column.
        reason: String,
    },
    /// The connection ended in the middle of the answer.
    #[error("the answer ends after {0} bytes, incomplete")]
    Truncated(usize),
    /// The answer is longer than any that is read.
    #[error("the answer has more than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// The configuration of the client cannot work.
    #[error("{0}")]
    Configuration(String),
}

impl ErrorKind {
    /// Whether the same call may succeed a moment later, if it may be repeated at all.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) | Self::Truncated(_) => true,
            Self::RateLimited { .. } => true,
            Self::ServerError { status, .. } => matches!(status, 502..=504),
            _ => false,
        }
    }

    /// Whether a run that only waits goes on waiting after it. Argo CD answers 500 for every error of its own that has no
    /// status, so only what asking again cannot change ends the wait.
    pub(crate) fn may_pass(&self) -> bool {
        !matches!(
            self,
            Self::Unauthenticated(_)
                | Self::PermissionDenied(_)
                | Self::Certificate(_)
                | Self::ClientCertificate(_)
                | Self::TooLarge(_)
        )
    }

    /// Whether the server certainly did not do what was asked. False means: look before saying anything.
    pub fn nothing_happened(&self) -> bool {
        match self {
            Self::Unreachable(transport) => transport.never_sent,
            Self::Timeout(_) | Self::Truncated(_) | Self::Malformed { .. } | Self::TooLarge(_) => {
                false
            }
            Self::ServerError { .. } => false,
            // A proxy may have sent the request on and lost the answer.
            Self::NotArgoCd { status, .. } => *status < 500 && *status >= 400,
            _ => true,
        }
    }
}

/// The failure of a connection, in our own words. The HTTP library's error is behind it and not in our interface.
#[derive(Debug)]
pub struct TransportError {
    /// The innermost cause: "connection refused" and not the layers above it.
    reason: String,
    /// Whether not a byte of the request can have reached the server.
    never_sent: bool,
}

impl TransportError {
    pub(crate) fn new(error: &(dyn std::error::Error + 'static), never_sent: bool) -> Self {
        let mut innermost = error;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        Self { reason: innermost.to_string(), never_sent }
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for TransportError {}

/// What a refusal says besides that it is one.
fn after_permission_denied(message: &str) -> String {
    match message
        .strip_prefix("permission denied")
        .unwrap_or(message)
        .trim_start_matches([':', ' '])
    {
        "" => String::new(),
        detail => format!(": {detail}"),
    }
}

fn seconds(duration: &Duration) -> String {
    if duration.subsec_millis() == 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}
