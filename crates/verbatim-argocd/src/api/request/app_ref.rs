//! The name of an application.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which application.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRef {
    /// Its name.
    pub name: String,
    /// Its namespace, if that is not the one Argo CD runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its Argo CD project. Named, it lets the server tell "gone" from "forbidden".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

impl AppRef {
    /// An application in Argo CD's own namespace, its project not known.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), namespace: None, project: None }
    }

    /// The object of Argo CD's access rules: `project/name` or `project/namespace/name`.
    pub fn rbac_object(&self) -> Option<String> {
        let project = self.project.as_deref()?;
        Some(match &self.namespace {
            None => format!("{project}/{}", self.name),
            Some(namespace) => format!("{project}/{namespace}/{}", self.name),
        })
    }
}

impl fmt::Display for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            None => f.pad(&self.name),
            Some(namespace) => f.pad(&format!("{namespace}/{}", self.name)),
        }
    }
}

/// Why a text does not name an application.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not name an application: want NAME or NAMESPACE/NAME, in lower-case letters, digits, `-` and `.`"
)]
pub struct AppRefError(String);

impl FromStr for AppRef {
    type Err = AppRefError;

    /// `NAME` or `NAMESPACE/NAME`, as the argocd CLI takes it.
    fn from_str(text: &str) -> Result<Self, AppRefError> {
        let (namespace, name) = match text.split_once('/') {
            None => (None, text),
            Some((namespace, name)) => (Some(namespace), name),
        };
        let good = |part: &str| {
            !part.is_empty()
                && part.len() <= 253
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c))
        };
        if !good(name) || namespace.is_some_and(|namespace| !good(namespace)) {
            return Err(AppRefError(text.to_owned()));
        }
        Ok(Self { name: name.to_owned(), namespace: namespace.map(str::to_owned), project: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_names_are_checked() {
        for (text, want) in [
            ("shop", Some((None, "shop"))),
            ("team/shop", Some((Some("team"), "shop"))),
            ("", None),
            ("/shop", None),
            ("a/b/c", None),
            ("Shop", None),
            ("shop?x=1", None),
        ] {
            let parsed: Option<AppRef> = text.parse().ok();
            let parts = parsed.as_ref().map(|app| (app.namespace.as_deref(), app.name.as_str()));
            assert_eq!(parts, want, "{text}");
        }
    }
}
