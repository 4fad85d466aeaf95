//! The Kubernetes API as another way to change an application. It compares and sets: a change counts for the version that
//! was read, and for no later one. Argo CD's own API overlays what others have written meanwhile.
//!
//! Only this file knows kubeconfigs and the API server; when to write what, and what to do after a refusal, is decided above.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>,
//! <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::Status;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use verbatim_text::joined;

use crate::api::error::{ErrorKind, TransportError};
use crate::api::request::go_json;
use crate::model::{Application, ObjectMeta};

/// Where the access to the cluster of an Argo CD comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesAccess {
    /// The kubeconfigs, the first one counts most. None: the service account of the pod that this runs in.
    pub kubeconfigs: Vec<PathBuf>,
    /// The context, if it is not the current one.
    pub context: Option<String>,
}

impl KubernetesAccess {
    /// What kubectl would use, by the variables `KUBECONFIG` and `HOME`.
    ///
    /// <https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#the-kubeconfig-environment-variable>
    pub fn find(kubeconfig: Option<&str>, home: Option<&str>, context: Option<String>) -> Self {
        let named = std::env::split_paths(kubeconfig.unwrap_or_default());
        let mut kubeconfigs: Vec<_> = named.filter(|path| !path.as_os_str().is_empty()).collect();
        if kubeconfigs.is_empty() {
            let usual = home.map(|home| PathBuf::from(home).join(".kube/config"));
            kubeconfigs.extend(usual.filter(|path| path.exists()));
        }
        Self { kubeconfigs, context }
    }
}

/// Whom a refusal of the API server is about, and which of its kinds it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    /// The version that was read is not the newest.
    Outdated,
    /// A `test` of the patch did not hold.
    Test,
    /// The server failed, and may not in a moment.
    Failed,
    /// It will not do this.
    No,
}

/// The API server of the cluster in which an Argo CD keeps its applications.
pub(crate) struct Kubernetes {
    access: KubernetesAccess,
    reached: OnceCell<Reached>,
}

/// An API server that the access has led to.
struct Reached {
    client: kube::Client,
    /// Its address.
    url: String,
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kubernetes").field(&self.access).finish()
    }
}

impl Kubernetes {
    pub(crate) fn new(access: KubernetesAccess) -> Self {
        Self { access, reached: OnceCell::new() }
    }

    /// Its address, for messages.
    pub(crate) fn address(&self) -> &str {
        self.reached.get().map_or("the server of the kubeconfig", |reached| &reached.url)
    }

    /// Applies a JSON patch to an application, if it is still the version that was read.
    pub(crate) async fn patch(
        &self,
        read: &ObjectMeta,
        operations: Vec<Value>,
        limit: Duration,
    ) -> Result<Application, ErrorKind> {
        let path = path(read);
        let patch = go_json(&guarded(read, operations));
        let refusal = match self.ask(Method::PATCH, &path, patch, limit).await? {
            Ok(app) => return decoded(&app),
            Err(refusal) => refusal,
        };
        match kind_of(&refusal) {
            Refused::Outdated => Err(ErrorKind::Outdated),
            Refused::Test => match self.is_the_same(read, &path, limit).await? {
                true => Err(ErrorKind::TestFailed("Kubernetes does not say which".to_owned())),
                false => Err(ErrorKind::Configuration(format!(
                    "the cluster of the kubeconfig has another application {}/{} than this Argo CD",
                    read.namespace, read.name
                ))),
            },
            Refused::Failed => {
                Err(ErrorKind::ServerError { status: refusal.code, message: refusal.message })
            }
            Refused::No => {
                Err(ErrorKind::KubernetesRefused { status: refusal.code, message: refusal.message })
            }
        }
    }

    /// Whether we may change an application there.
    pub(crate) async fn may_patch(
        &self,
        app: &ObjectMeta,
        limit: Duration,
    ) -> Result<bool, ErrorKind> {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": {
                "verb": "patch", "group": "argoproj.io", "resource": "applications",
                "namespace": app.namespace, "name": app.name,
            } },
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = self.ask(Method::POST, path, review.to_string(), limit).await?;
        let answer = answer.map_err(|refusal| ErrorKind::KubernetesRefused {
            status: refusal.code,
            message: refusal.message,
        })?;
        let answer: Value = decoded(&answer)?;
        Ok(answer["status"]["allowed"] == true)
    }

    /// Whether the cluster has the same object as Argo CD, and not one of the same name.
    async fn is_the_same(
        &self,
        read: &ObjectMeta,
        path: &str,
        limit: Duration,
    ) -> Result<bool, ErrorKind> {
        let found = self.ask(Method::GET, path, String::new(), limit).await?;
        let Ok(found) = found else { return Ok(true) };
        let found: Application = decoded(&found)?;
        Ok(found.metadata.uid == read.uid)
    }

    /// Sends a request. Inside is what the server answers, or says against it.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: String,
        limit: Duration,
    ) -> Result<Result<Vec<u8>, Status>, ErrorKind> {
        let client = self.client(limit).await?;
        let content_type = if method == Method::PATCH {
            "application/json-patch+json"
        } else {
            "application/json"
        };
        let request = Request::builder()
            .method(&method)
            .uri(path)
            .header(CONTENT_TYPE, content_type)
            .body(body.into_bytes().into())
            .map_err(|error| ErrorKind::Configuration(error.to_string()))?;
        let answer = async {
            let response = client.send(request).await.map_err(unreachable)?;
            let status = response.status();
            let body = response.into_body().collect_bytes().await.map_err(unreachable)?;
            tracing::debug!(status = status.as_u16(), bytes = body.len(), "{method} {path}");
            Ok(match status.is_success() {
                true => Ok(body.to_vec()),
                false => Err(refusal(status.as_u16(), &body)),
            })
        };
        timeout(limit, answer).await.unwrap_or(Err(ErrorKind::Timeout(limit)))
    }

    /// Connects at the first use: a plugin of the kubeconfig may take its time.
    async fn client(&self, limit: Duration) -> Result<&kube::Client, ErrorKind> {
        let connect = self.reached.get_or_try_init(|| connect(self.access.clone()));
        let reached = timeout(limit, connect).await.unwrap_or_else(|_| {
            Err(ErrorKind::Configuration(format!(
                "the kubeconfig gave no credentials within {} s",
                limit.as_secs()
            )))
        });
        reached.map(|reached| &reached.client)
    }
}

/// Makes a client. Files and plugins are read on a thread where that may block.
async fn connect(access: KubernetesAccess) -> Result<Reached, ErrorKind> {
    let runtime = tokio::runtime::Handle::current();
    let made = tokio::task::spawn_blocking(move || {
        let _guard = runtime.enter();
        let mut config = match access.kubeconfigs.is_empty() {
            true => kube::Config::incluster().map_err(|error| {
                ErrorKind::Configuration(format!(
                    "there is no kubeconfig, and no service account of a pod: {error}"
                ))
            })?,
            false => runtime.block_on(from_files(access)).map_err(|error| unusable(&error))?,
        };
        // Who sends again is decided above.
        config.default_retry = false;
        let url = config.cluster_url.to_string();
        let client = kube::Client::try_from(config).map_err(|error| match &error {
            kube::Error::Auth(why) => unusable(why),
            _ => unusable(&error),
        })?;
        Ok(Reached { client, url })
    });
    made.await.unwrap_or_else(|stopped| Err(ErrorKind::Configuration(stopped.to_string())))
}

async fn from_files(access: KubernetesAccess) -> Result<kube::Config, KubeconfigError> {
    let read = |merged: Kubeconfig, path| merged.merge(Kubeconfig::read_from(path)?);
    let merged = access.kubeconfigs.iter().try_fold(Kubeconfig::default(), read)?;
    let options = KubeConfigOptions { context: access.context, ..KubeConfigOptions::default() };
    kube::Config::from_custom_kubeconfig(merged, &options).await
}

fn path(app: &ObjectMeta) -> String {
    format!("/apis/argoproj.io/v1alpha1/namespaces/{}/applications/{}", app.namespace, app.name)
}

/// A patch that counts for one version of one object: the API server answers 409 for any other version.
fn guarded(read: &ObjectMeta, operations: Vec<Value>) -> Value {
    let mut patch = vec![
        json!({ "op": "test", "path": "/metadata/uid", "value": read.uid }),
        json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": read.resource_version }),
    ];
    patch.extend(operations);
    Value::Array(patch)
}

fn refusal(code: u16, body: &[u8]) -> Status {
    let status = serde_json::from_slice::<Status>(body).unwrap_or_default();
    let message = match joined(&status.message) {
        said if said.is_empty() => format!("status {code}"),
        said => said,
    };
    Status { message, code, ..status }
}

/// A version that is not the newest is 409. A `test` that does not hold, or a path that is not there, is 422 without
/// details, and a violation of the schema is 422 with them: apiserver/pkg/endpoints/handlers/patch.go,
/// `errors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, …)` of an error of the
/// patch; seen so on 1.31.
fn kind_of(refusal: &Status) -> Refused {
    let has_details = refusal.details.as_ref().is_some_and(|details| !details.kind.is_empty());
    match refusal.code {
        409 => Refused::Outdated,
        422 if !has_details => Refused::Test,
        429 | 500.. => Refused::Failed,
        _ => Refused::No,
    }
}

fn decoded<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, ErrorKind> {
    serde_json::from_slice(body)
        .map_err(|error| ErrorKind::Malformed { length: body.len(), reason: error.to_string() })
}

/// A connection that was never made, or broke. Credentials that a plugin does not give are a configuration that cannot work.
fn unreachable(error: kube::Error) -> ErrorKind {
    match &error {
        kube::Error::Auth(why) => unusable(why),
        kube::Error::Service(why) => {
            let why = why.downcast_ref::<hyper_util::client::legacy::Error>();
            let never_sent = why.is_some_and(hyper_util::client::legacy::Error::is_connect);
            ErrorKind::Unreachable(TransportError::new(&error, never_sent))
        }
        _ => ErrorKind::Unreachable(TransportError::new(&error, false)),
    }
}

fn unusable(error: &dyn std::error::Error) -> ErrorKind {
    ErrorKind::Configuration(format!("cannot use the kubeconfig: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        // As a kube-apiserver answers.
        let cases = [
            (
                409,
                r#"{"message":"Operation cannot be fulfilled on applications.argoproj.io \"t\": the object has been modified","reason":"Conflict","details":{"name":"t","group":"argoproj.io","kind":"applications"},"code":409}"#,
                Refused::Outdated,
            ),
            (
                422,
                r#"{"message":"the server rejected our request due to an error in our request","reason":"Invalid","details":{},"code":422}"#,
                Refused::Test,
            ),
            (
                422,
                r#"{"message":"Application.argoproj.io \"t\" is invalid","reason":"Invalid","details":{"name":"t","group":"argoproj.io","kind":"Application","causes":[{"reason":"FieldValueTypeInvalid","message":"…","field":"spec.source"}]},"code":422}"#,
                Refused::No,
            ),
            (401, r#"{"message":"Unauthorized","reason":"Unauthorized","code":401}"#, Refused::No),
            (429, "too many", Refused::Failed),
            (503, "", Refused::Failed),
        ];
        for (code, body, want) in cases {
            let refusal = refusal(code, body.as_bytes());
            assert_eq!(kind_of(&refusal), want, "{body}");
            assert!(!refusal.message.is_empty(), "{body}");
        }
    }

    #[test]
    fn a_patch_is_for_one_version_of_one_object() {
        let read = ObjectMeta {
            uid: "u".into(),
            resource_version: "7".into(),
            namespace: "argocd".into(),
            name: "shop".into(),
            ..ObjectMeta::default()
        };
        let patch = guarded(&read, vec![json!({ "op": "remove", "path": "/x" })]);
        assert_eq!(
            patch,
            json!([
                { "op": "test", "path": "/metadata/uid", "value": "u" },
                { "op": "replace", "path": "/metadata/resourceVersion", "value": "7" },
                { "op": "remove", "path": "/x" },
            ])
        );
        let want = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/shop";
        assert_eq!(path(&read), want);
    }

    #[test]
    fn kubeconfigs_are_found_as_kubectl_finds_them() {
        let home = tempfile::tempdir().unwrap();
        let usual = home.path().join(".kube/config");
        let home = home.path().to_str().unwrap();
        let of = |kubeconfig, home| KubernetesAccess::find(kubeconfig, home, None).kubeconfigs;
        assert_eq!(of(Some("/a:/b:"), Some(home)), [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert!(of(None, Some(home)).is_empty() && of(Some(""), None).is_empty());
        std::fs::create_dir(usual.parent().unwrap()).unwrap();
        std::fs::write(&usual, "").unwrap();
        assert_eq!(of(None, Some(home)), [usual]);
    }
}
