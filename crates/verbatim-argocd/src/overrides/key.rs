//! The names of the values that an override can write, and where each stands in a source. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use crate::overrides::field::SourceField;
use crate::overrides::values::KustomizeImage;

/// The name of one value of an override. Printed as `helm:image.tag` or `kustomize:example/web`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverrideKey {
    /// A Helm parameter by its name.
    Helm(String),
    /// A Helm parameter whose value is a file of the repository, by its name.
    HelmFile(String),
    /// A Kustomize image by the name that it replaces.
    Kustomize(String),
    /// The number of replicas of a workload, by the workload's name.
    KustomizeReplica(String),
    /// A variable of a plugin by its name.
    PluginEnv(String),
    /// A parameter of a plugin by its name.
    PluginParameter(String),
    /// A value that stands alone.
    Field(SourceField),
}

/// The kind of source that a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    Helm,
    Kustomize,
    Plugin,
}

impl SourceKind {
    /// As Argo CD spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Helm => "Helm",
            Self::Kustomize => "Kustomize",
            Self::Plugin => "Plugin",
        }
    }
}

impl OverrideKey {
    /// The list that holds it, in a source; or its own place, if it stands alone.
    pub(crate) fn list(&self) -> &'static str {
        match self {
            Self::Helm(_) => "/helm/parameters",
            Self::HelmFile(_) => "/helm/fileParameters",
            Self::Kustomize(_) => "/kustomize/images",
            Self::KustomizeReplica(_) => "/kustomize/replicas",
            Self::PluginEnv(_) => "/plugin/env",
            Self::PluginParameter(_) => "/plugin/parameters",
            Self::Field(field) => field.pointer(),
        }
    }

    /// Whether it is one of a list.
    pub(crate) fn is_listed(&self) -> bool {
        !matches!(self, Self::Field(_))
    }

    /// The kind of source that it is for; none if any has it.
    pub fn kind(&self) -> Option<SourceKind> {
        match self.list().split('/').nth(1) {
            Some("helm") => Some(SourceKind::Helm),
            Some("kustomize") => Some(SourceKind::Kustomize),
            Some("plugin") => Some(SourceKind::Plugin),
            _ => None,
        }
    }

    /// Whether it stands in the place of something that git says. The rest says which files are read, and how.
    pub(crate) fn is_override(&self) -> bool {
        match self {
            Self::Field(field) => field.is_override(),
            _ => true,
        }
    }

    /// Whether an element of its list is the one that it names.
    pub(crate) fn is_of(&self, element: &Value) -> bool {
        match self {
            Self::Helm(name)
            | Self::HelmFile(name)
            | Self::KustomizeReplica(name)
            | Self::PluginEnv(name)
            | Self::PluginParameter(name) => {
                element.get("name").and_then(Value::as_str) == Some(name)
            }
            Self::Kustomize(name) => element
                .as_str()
                .and_then(|text| text.parse::<KustomizeImage>().ok())
                .is_some_and(|image| image.name() == name),
            Self::Field(_) => false,
        }
    }
}

impl fmt::Display for OverrideKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self {
            Self::Helm(name) => ("helm", name.clone()),
            Self::HelmFile(name) => ("helm-file", name.clone()),
            Self::Kustomize(name) => ("kustomize", name.clone()),
            Self::KustomizeReplica(name) => ("kustomize-replica", name.clone()),
            Self::PluginEnv(name) => ("plugin-env", name.clone()),
            Self::PluginParameter(name) => ("plugin-parameter", name.clone()),
            Self::Field(field) => ("field", field.name()),
        };
        f.pad(&format!("{kind}:{name}"))
    }
}

impl Serialize for OverrideKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OverrideKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (kind, name) = text.split_once(':').unwrap_or_default();
        let owned = name.to_owned();
        let key = match kind {
            "helm" => Some(Self::Helm(owned)),
            "helm-file" => Some(Self::HelmFile(owned)),
            "kustomize" => Some(Self::Kustomize(owned)),
            "kustomize-replica" => Some(Self::KustomizeReplica(owned)),
            "plugin-env" => Some(Self::PluginEnv(owned)),
            "plugin-parameter" => Some(Self::PluginParameter(owned)),
            "field" => {
                SourceField::ALL.iter().copied().find(|field| field.name() == name).map(Self::Field)
            }
            _ => None,
        };
        key.ok_or_else(|| {
            serde::de::Error::custom(format!(
                "`{text}` names no value: want helm:NAME, kustomize:NAME, field:NAME, …"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_a_plan_and_a_claim() {
        let name = || "a.b/c:d".to_owned();
        let listed = [
            OverrideKey::Helm(name()),
            OverrideKey::HelmFile(name()),
            OverrideKey::Kustomize(name()),
            OverrideKey::KustomizeReplica(name()),
            OverrideKey::PluginEnv(name()),
            OverrideKey::PluginParameter(name()),
        ];
        for key in
            listed.into_iter().chain(SourceField::ALL.iter().copied().map(OverrideKey::Field))
        {
            let text = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<OverrideKey>(&text).unwrap(), key, "{text}");
        }
        assert_eq!(
            OverrideKey::Field(SourceField::NamePrefix).to_string(),
            "field:kustomize.namePrefix"
        );
        for text in ["\"helm\"", "\"other:x\"", "\"field:nothing\""] {
            assert!(serde_json::from_str::<OverrideKey>(text).is_err(), "{text}");
        }
    }
}
