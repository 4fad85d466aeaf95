//! The calls about single objects of an application.

use serde_json::Value;

use super::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{self, ApiRequest, AppRef, ObjectDeletion, ObjectPatch, ObjectRef};
use crate::model::{Action, Actions, LiveResource};

impl Client {
    /// A live read of one object, as JSON.
    pub async fn resource(&self, app: &AppRef, object: &ObjectRef) -> Result<Value, Error> {
        self.object_of(request::resource(app, object)).await
    }

    /// Changes one object in its cluster, and gives it as it is then.
    pub async fn patch_resource(
        &self,
        app: &AppRef,
        object: &ObjectRef,
        how: ObjectPatch,
        patch: &str,
    ) -> Result<Value, Error> {
        self.object_of(request::patch_resource(app, object, how, patch)).await
    }

    /// Deletes one object in its cluster. It may still be there when this returns.
    pub async fn delete_resource(
        &self,
        app: &AppRef,
        object: &ObjectRef,
        how: ObjectDeletion,
    ) -> Result<(), Error> {
        self.call::<Value>(request::delete_resource(app, object, how)).await.map(drop)
    }

    /// The actions that Argo CD offers for one object.
    pub async fn actions(&self, app: &AppRef, object: &ObjectRef) -> Result<Vec<Action>, Error> {
        let list: Actions = self.call(request::actions(app, object)).await?;
        Ok(list.actions)
    }

    /// Runs an action on one object.
    pub async fn run_action(
        &self,
        app: &AppRef,
        object: &ObjectRef,
        action: &str,
    ) -> Result<(), Error> {
        match self.call::<Value>(request::run_action(app, object, action)).await {
            Err(error) if is_unknown_call(&error.kind) => {
                let request = request::run_action_before_v2(app, object, action);
                self.call::<Value>(request).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    async fn object_of(&self, request: ApiRequest) -> Result<Value, Error> {
        let live: LiveResource = self.call(request.clone()).await?;
        serde_json::from_str(&live.manifest).map_err(|error| {
            let reason = format!(
                "the manifest in it is not JSON, line {} column {}",
                error.line(),
                error.column()
            );
            self.error(&request, ErrorKind::Malformed { length: live.manifest.len(), reason })
        })
    }
}

/// A server that is too old for a call says so by its router, or by gRPC's "unimplemented".
fn is_unknown_call(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotArgoCd { status: 404 | 405, .. } | ErrorKind::ServerError { status: 501, .. }
    )
}
