//! Builds the document of a new application. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::overrides::values::OverrideValues;

/// The finalizer that makes the deletion of an application delete its objects, too.
/// `ResourcesFinalizerName` in `pkg/apis/application/v1alpha1/application_defaults.go`.
const FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

/// An application with one source. Empty texts are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct NewApplication {
    pub name: String,
    /// Its namespace, if that is not Argo CD's own.
    pub namespace: Option<String>,
    pub project: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Whether its deletion deletes its objects, too, whoever deletes it and however.
    pub with_finalizer: bool,
    /// The git, Helm or OCI repository.
    pub repository: String,
    pub path: String,
    pub chart: String,
    pub revision: String,
    /// Whether folders below the folder count, for plain manifests.
    pub recurse: bool,
    /// The plugin that renders it.
    pub plugin: String,
    pub values: OverrideValues,
    /// The address of the cluster.
    pub server: String,
    pub cluster: String,
    /// The namespace in the cluster.
    pub target_namespace: String,
    /// How it syncs by itself, if it does.
    pub automated: Option<Automation>,
    pub sync_options: Vec<String>,
    /// How many deployments its history keeps.
    pub history_limit: Option<i64>,
}

/// How an application syncs by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Automation {
    /// Delete what is not in the sources any more.
    pub prune: bool,
    /// Take back changes of live objects.
    pub self_heal: bool,
    /// Even if nothing is left.
    pub allow_empty: bool,
}

impl NewApplication {
    /// The document as Argo CD takes it.
    pub(crate) fn document(&self) -> Value {
        let mut metadata = json!({ "name": self.name });
        if let Some(namespace) = &self.namespace {
            metadata["namespace"] = json!(namespace);
        }
        for (field, pairs) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !pairs.is_empty() {
                metadata[field] = json!(pairs);
            }
        }
        if self.with_finalizer {
            metadata["finalizers"] = json!([FINALIZER]);
        }
        let mut spec = json!({
            "project": if self.project.is_empty() { "default" } else { &self.project },
            "source": self.source(),
            "destination": filled(&[
                ("server", &self.server), ("name", &self.cluster), ("namespace", &self.target_namespace),
            ]),
        });
        if let Some(policy) = self.policy() {
            spec["syncPolicy"] = policy;
        }
        if let Some(limit) = self.history_limit {
            spec["revisionHistoryLimit"] = json!(limit);
        }
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec,
        })
    }

    fn source(&self) -> Value {
        let mut source = filled(&[
            ("repoURL", &self.repository),
            ("path", &self.path),
            ("chart", &self.chart),
            ("targetRevision", &self.revision),
        ]);
        if self.recurse {
            source["directory"] = json!({ "recurse": true });
        }
        if !self.plugin.is_empty() {
            source["plugin"] = json!({ "name": self.plugin });
        }
        for (key, value) in self.values.wanted().filter(|(_, value)| !value.is_null()) {
            let mut place = &mut source;
            for part in key.list()[1..].split('/') {
                place = &mut place[part];
            }
            match (key.is_listed(), place.as_array_mut()) {
                (true, Some(list)) => list.push(value),
                (true, None) => *place = json!([value]),
                (false, _) => *place = value,
            }
        }
        source
    }

    fn policy(&self) -> Option<Value> {
        let mut policy = json!({});
        if let Some(automation) = &self.automated {
            let flags = [
                ("prune", automation.prune),
                ("selfHeal", automation.self_heal),
                ("allowEmpty", automation.allow_empty),
            ];
            let on = flags.into_iter().filter(|(_, on)| *on);
            policy["automated"] = on.map(|(name, _)| (name.to_owned(), json!(true))).collect();
        }
        if !self.sync_options.is_empty() {
            policy["syncOptions"] = json!(self.sync_options);
        }
        policy.as_object().is_some_and(|fields| !fields.is_empty()).then_some(policy)
    }
}

fn filled(pairs: &[(&str, &String)]) -> Value {
    let filled = pairs.iter().filter(|(_, value)| !value.is_empty());
    filled.map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overrides::values::{OverrideKey, SourceField};

    #[test]
    fn a_document_holds_what_is_given_and_nothing_else() {
        let bare = NewApplication {
            name: "web".into(),
            repository: "https://git.example.com/web.git".into(),
            path: "chart".into(),
            server: "https://kubernetes.default.svc".into(),
            target_namespace: "shop".into(),
            ..NewApplication::default()
        };
        assert_eq!(
            bare.document(),
            json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": { "name": "web" },
                "spec": {
                    "project": "default",
                    "source": { "repoURL": "https://git.example.com/web.git", "path": "chart" },
                    "destination": { "server": "https://kubernetes.default.svc", "namespace": "shop" },
                },
            })
        );
        let full = NewApplication {
            labels: [("team".to_owned(), "web".to_owned())].into(),
            with_finalizer: true,
            revision: "main".into(),
            values: OverrideValues {
                helm: [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into(),
                others: [
                    (OverrideKey::Field(SourceField::HelmValues), json!("x: 1")),
                    (OverrideKey::Field(SourceField::HelmReleaseName), json!("shop")),
                ]
                .into(),
                ..OverrideValues::default()
            },
            automated: Some(Automation { prune: true, ..Automation::default() }),
            sync_options: vec!["CreateNamespace=true".into()],
            history_limit: Some(3),
            ..bare
        };
        let document = full.document();
        assert_eq!(document["metadata"]["finalizers"], json!([FINALIZER]));
        assert_eq!(
            document["spec"]["source"]["helm"],
            json!({
                "releaseName": "shop", "values": "x: 1",
                "parameters": [
                    { "name": "a", "value": "1", "forceString": true },
                    { "name": "b", "value": "2", "forceString": true },
                ],
            })
        );
        assert_eq!(
            document["spec"]["syncPolicy"],
            json!({ "automated": { "prune": true }, "syncOptions": ["CreateNamespace=true"] })
        );
        assert_eq!(document["spec"]["revisionHistoryLimit"], 3);
        let env = json!({ "name": "COLOR", "value": "red" });
        let plugin = NewApplication {
            plugin: "rig".into(),
            values: OverrideValues {
                others: [(OverrideKey::PluginEnv("COLOR".into()), env.clone())].into(),
                ..OverrideValues::default()
            },
            ..NewApplication::default()
        };
        let stored = &plugin.document()["spec"]["source"]["plugin"];
        assert_eq!(*stored, json!({ "name": "rig", "env": [env] }));
    }
}
