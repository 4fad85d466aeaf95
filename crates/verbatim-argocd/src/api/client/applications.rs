//! The calls about one application, or about those of a selector.

use serde_json::Value;

use super::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::kubernetes::Kubernetes;
use crate::api::request::{
    self, AppDeletion, AppPatch, AppRef, EventsOf, Refresh, Revisions, SyncRequest, go_json,
};
use crate::model::{
    Application, CanI, Items, ManagedResources, Manifests, ObjectEvent, ObjectMeta, ResourceTree,
    SyncWindows,
};

impl Client {
    /// A live read of an application.
    pub async fn get(&self, app: &AppRef) -> Result<Application, Error> {
        self.call(request::get(app)).await
    }

    /// Makes the controller compare, and reads the application then.
    pub async fn refresh(&self, app: &AppRef, how: Refresh) -> Result<Application, Error> {
        let request = request::refresh(app, how);
        // Not repeated: it writes an annotation, and a controller that does not answer will not do so in a moment.
        self.once(&request, self.0.timeouts.refresh)
            .await
            .map_err(|kind| self.error(&request, kind))
    }

    /// The applications of some projects that match a selector.
    pub async fn list(
        &self,
        projects: &[String],
        selector: Option<&str>,
        namespace: Option<&str>,
    ) -> Result<Vec<Application>, Error> {
        let list: Items<Application> =
            self.call(request::list(projects, selector, namespace)).await?;
        Ok(list.items)
    }

    /// The named applications, each with the namespace it is in, and perhaps others, as the server's cache has them.
    pub(crate) async fn list_several(
        &self,
        apps: &[(AppRef, String)],
    ) -> Result<Vec<Application>, Error> {
        let list: Items<Application> = self.call(request::list_several(apps)).await?;
        Ok(list.items)
    }

    /// Applies a JSON patch to an application.
    pub async fn patch(&self, app: &AppRef, patch: String) -> Result<Application, Error> {
        self.call(request::patch(app, patch)).await
    }

    /// Changes an application that was read. Through Argo CD, which overlays what others have written since with what it knows;
    /// or through the Kubernetes API, where nothing is changed then.
    pub(crate) async fn write(
        &self,
        app: &AppRef,
        read: &ObjectMeta,
        operations: Vec<Value>,
    ) -> Result<Application, Error> {
        let Some(kubernetes) = &self.0.kubernetes else {
            return self.patch(app, go_json(&Value::Array(operations))).await;
        };
        // On the heap: every run would have room for it on its stack otherwise.
        let written =
            Box::pin(kubernetes.patch(read, operations, self.limit(self.0.timeouts.read))).await;
        written.map_err(|kind| through(kubernetes, format!("write to application {app}"), kind))
    }

    /// Whether changes of applications go through the Kubernetes API.
    pub(crate) fn writes_to_kubernetes(&self) -> bool {
        self.0.kubernetes.is_some()
    }

    /// Whether an application may be changed on the way that [`Client::write`] takes; `None` while its project is not known.
    pub(crate) async fn may_write(
        &self,
        app: &AppRef,
        read: &ObjectMeta,
    ) -> Result<Option<bool>, Error> {
        let Some(kubernetes) = &self.0.kubernetes else { return self.can_i(app, "update").await };
        let may = Box::pin(kubernetes.may_patch(read, self.limit(self.0.timeouts.read))).await;
        may.map(Some).map_err(|kind| through(kubernetes, "ask for our rights".to_owned(), kind))
    }

    /// Applies a patch of either kind, and gives the application with everything that this library does not know of.
    pub async fn patch_as(
        &self,
        app: &AppRef,
        how: AppPatch,
        patch: String,
    ) -> Result<Value, Error> {
        self.call(request::patch_as(app, how, patch)).await
    }

    /// A live read of an application, with everything that this library does not know of.
    pub async fn object(&self, app: &AppRef) -> Result<Value, Error> {
        self.call(request::get(app)).await
    }

    /// Replaces spec, labels, annotations and finalizers of an application by those of an object that was just read.
    /// Manifests are not rendered before.
    pub async fn replace(&self, app: &AppRef, object: Value) -> Result<Application, Error> {
        self.call(request::replace(app, object)).await
    }

    /// Starts a sync.
    pub async fn sync(&self, app: &AppRef, sync: &SyncRequest) -> Result<Application, Error> {
        self.call(request::sync(app, sync)).await
    }

    /// Deploys an entry of the history again.
    pub async fn rollback(&self, app: &AppRef, id: i64, prune: bool) -> Result<Application, Error> {
        self.call(request::rollback(app, id, prune)).await
    }

    /// Makes an application, or, with `upsert`, makes it what the document says.
    pub async fn create(
        &self,
        document: Value,
        upsert: bool,
        validate: bool,
    ) -> Result<Application, Error> {
        self.call(request::create(document, upsert, validate)).await
    }

    /// Deletes an application. It may still be there when this returns.
    pub async fn delete(&self, app: &AppRef, how: AppDeletion) -> Result<(), Error> {
        self.call::<Value>(request::delete(app, how)).await.map(drop)
    }

    /// Stops the running operation.
    pub async fn terminate(&self, app: &AppRef) -> Result<(), Error> {
        self.call::<Value>(request::terminate(app)).await.map(drop)
    }

    /// The objects of an application.
    pub async fn tree(&self, app: &AppRef) -> Result<ResourceTree, Error> {
        self.call(request::tree(app)).await
    }

    /// The manifests of the last comparison.
    pub async fn managed_resources(&self, app: &AppRef) -> Result<ManagedResources, Error> {
        self.call(request::managed_resources(app)).await
    }

    /// One managed resource.
    pub async fn managed_resource(
        &self,
        app: &AppRef,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<ManagedResources, Error> {
        self.call(request::managed_resource(app, kind, namespace, name)).await
    }

    /// The manifests that the sources give now.
    pub async fn manifests(&self, app: &AppRef) -> Result<Manifests, Error> {
        self.call(request::manifests(app)).await
    }

    /// The manifests that the sources give at other revisions.
    pub async fn manifests_at(
        &self,
        app: &AppRef,
        revisions: &Revisions,
    ) -> Result<Manifests, Error> {
        self.call(request::manifests_at(app, revisions)).await
    }

    /// Events of an application, or of one of its objects.
    pub async fn events(
        &self,
        app: &AppRef,
        object: Option<&EventsOf>,
    ) -> Result<Vec<ObjectEvent>, Error> {
        let list: Items<ObjectEvent> = self.call(request::events(app, object)).await?;
        Ok(list.items)
    }

    /// The sync windows.
    pub async fn sync_windows(&self, app: &AppRef) -> Result<SyncWindows, Error> {
        self.call(request::sync_windows(app)).await
    }

    /// Whether the token may do something to the application; `None` while its project is not known.
    pub async fn can_i(&self, app: &AppRef, action: &str) -> Result<Option<bool>, Error> {
        let Some(request) = request::can_i(app, action) else { return Ok(None) };
        let answer: CanI = self.call(request).await?;
        Ok(Some(answer.value == "yes"))
    }
}

/// The error of a call to the Kubernetes API.
fn through(kubernetes: &Kubernetes, action: String, kind: ErrorKind) -> Error {
    Error { action, server: kubernetes.address().to_owned(), kind }
}
