//! The calls about the server itself and what it knows beside applications: sessions, sources, ApplicationSets.

use secrecy::{ExposeSecret, SecretString};

use super::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{self, ApiRequest, AppRef};
use crate::model::{
    AppDetails, AppProject, ApplicationSet, CanI, Cluster, ConfiguredRepo, Items, ServerVersion,
    SessionToken, Settings, UserInfo,
};

impl Client {
    /// What a source offers.
    pub async fn app_details(
        &self,
        app: &AppRef,
        project: &str,
        source: &crate::model::AppSource,
        index: usize,
    ) -> Result<AppDetails, Error> {
        self.call(request::app_details(app, project, source, index)).await
    }

    /// An ApplicationSet.
    pub async fn application_set(
        &self,
        name: &str,
        namespace: &str,
    ) -> Result<ApplicationSet, Error> {
        self.call(request::application_set(name, namespace)).await
    }

    /// A token for a user name and a password.
    pub async fn login(
        &self,
        username: &str,
        password: &SecretString,
    ) -> Result<SecretString, Error> {
        let session: SessionToken =
            self.call(request::session(username, password.expose_secret())).await?;
        Ok(session.token.into())
    }

    /// Whose token this is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unauthenticated`] if the token is not good, though the server answers 200 then, too.
    pub async fn who_am_i(&self) -> Result<UserInfo, Error> {
        let request = request::user_info();
        let info: UserInfo = self.call(request.clone()).await?;
        if info.logged_in {
            Ok(info)
        } else {
            Err(self.error(
                &request,
                ErrorKind::Unauthenticated("it is expired or not from this server".into()),
            ))
        }
    }

    /// The server's version, and those of its tools.
    pub async fn version(&self) -> Result<ServerVersion, Error> {
        self.call(request::version()).await
    }

    /// Whether the token may do something to an object of some kind of resource.
    pub async fn may(&self, resource: &str, action: &str, object: &str) -> Result<bool, Error> {
        let answer: CanI = self.call(request::may(resource, action, object)).await?;
        Ok(answer.value == "yes")
    }

    /// The namespace of Argo CD itself.
    pub async fn own_namespace(&self) -> Result<String, Error> {
        let settings: Settings = self.call(request::settings()).await?;
        Ok(settings.controller_namespace)
    }

    /// The label by which applications are tracked, where that is done by label.
    pub async fn instance_label(&self) -> Result<String, Error> {
        let settings: Settings = self.call(request::settings()).await?;
        Ok(settings.app_label_key)
    }

    /// The clusters that the token may see.
    pub async fn clusters(&self) -> Result<Vec<Cluster>, Error> {
        let list: Items<Cluster> = self.call(request::clusters()).await?;
        Ok(list.items)
    }

    /// The projects that the token may see.
    pub async fn projects(&self) -> Result<Vec<AppProject>, Error> {
        let list: Items<AppProject> = self.call(request::projects()).await?;
        Ok(list.items)
    }

    /// The repositories that the token may see.
    pub async fn repositories(&self) -> Result<Vec<ConfiguredRepo>, Error> {
        let list: Items<ConfiguredRepo> = self.call(request::repositories()).await?;
        Ok(list.items)
    }

    /// Keeps credentials and settings of a repository.
    pub async fn add_repository(
        &self,
        document: serde_json::Value,
        upsert: bool,
    ) -> Result<ConfiguredRepo, Error> {
        self.call(request::add_repository(document, upsert)).await
    }

    /// Forgets a repository.
    pub async fn remove_repository(&self, url: &str, project: Option<&str>) -> Result<(), Error> {
        self.call::<serde_json::Value>(request::remove_repository(url, project)).await.map(drop)
    }

    /// The JSON of an answer, as the server sent it.
    pub async fn raw(&self, request: ApiRequest) -> Result<serde_json::Value, Error> {
        self.call(request).await
    }
}
