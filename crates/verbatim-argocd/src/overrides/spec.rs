//! Changes what an application is beside its sources: its project, where it goes, how it syncs, what it remembers. Pure.
//!
//! Values of the sources are not changed here: they have a claim and an undo, see `judge`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::overrides::rows::rows;

/// The members of a spec that can be changed here.
const MEMBERS: [&str; 4] = ["project", "destination", "syncPolicy", "revisionHistoryLimit"];

/// What is to become of an application. `None` leaves as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SpecChange {
    pub project: Option<String>,
    /// The address of its cluster; the cluster's name goes.
    pub server: Option<String>,
    /// The name of its cluster; the cluster's address goes.
    pub cluster: Option<String>,
    /// The namespace of its objects.
    pub namespace: Option<String>,
    /// Whether it syncs by itself. The switches below are off then, unless they are given, too.
    pub automated: Option<bool>,
    /// Delete what is not in the sources any more.
    pub prune: Option<bool>,
    /// Take back changes of live objects.
    pub self_heal: Option<bool>,
    /// Even if nothing is left.
    pub allow_empty: Option<bool>,
    /// Options of its syncs; one with `!` before it goes.
    pub sync_options: Vec<String>,
    /// What it does when a sync of its own fails.
    pub retry: Option<SyncRetry>,
    /// How many deployments its history keeps.
    pub history_limit: Option<i64>,
}

/// What an application does when a sync fails.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SyncRetry {
    /// How often it tries again; 0 is never.
    pub limit: i64,
    /// The pause before the first time, in Go's writing.
    pub duration: String,
    /// By how much each further pause is longer.
    pub factor: i64,
    /// The longest pause, in Go's writing.
    pub max_duration: String,
    /// Resolve the revision again each time.
    pub refresh: bool,
}

/// A value that becomes another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SpecFieldChange {
    /// Its place in the spec.
    pub field: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

impl SpecChange {
    /// The operations of a JSON patch that make it so: each member that changes is tested to be still what it was.
    pub(crate) fn operations(&self, spec: &Value) -> Vec<Value> {
        let wanted = self.applied(spec);
        let (mut tests, mut changes) = (Vec::new(), Vec::new());
        for member in MEMBERS {
            let (old, new) = (spec.get(member), wanted.get(member));
            if old == new {
                continue;
            }
            let path = format!("/spec/{member}");
            tests.push(json!({ "op": "test", "path": path, "value": old }));
            changes.push(match new {
                Some(new) => json!({ "op": "add", "path": path, "value": new }),
                None => json!({ "op": "remove", "path": path }),
            });
        }
        tests.extend(changes);
        tests
    }

    /// What changes in a spec, field by field.
    pub(crate) fn changes(&self, spec: &Value) -> Vec<SpecFieldChange> {
        let fields = |spec: &Value| -> std::collections::BTreeMap<String, String> {
            let members = MEMBERS.iter().filter_map(|name| Some((*name, spec.get(name)?)));
            members
                .flat_map(|(name, member)| rows(&json!({ name: member })))
                .map(|[field, value]| (field, value))
                .collect()
        };
        let (old, new) = (fields(spec), fields(&self.applied(spec)));
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        names
            .into_iter()
            .filter(|name| old.get(*name) != new.get(*name))
            .map(|name| SpecFieldChange {
                field: name.clone(),
                old: old.get(name).cloned(),
                new: new.get(name).cloned(),
            })
            .collect()
    }

    fn applied(&self, spec: &Value) -> Value {
        let mut spec = spec.clone();
        if let Some(project) = &self.project {
            spec["project"] = json!(project);
        }
        if let Some(limit) = self.history_limit {
            spec["revisionHistoryLimit"] = json!(limit);
        }
        self.destination(&mut spec["destination"]);
        let mut policy = spec["syncPolicy"].as_object().cloned().unwrap_or_default();
        self.automation(&mut policy);
        self.options(&mut policy);
        self.retry(&mut policy);
        match (policy.is_empty(), spec.as_object_mut()) {
            (true, Some(members)) => drop(members.remove("syncPolicy")),
            (_, _) => spec["syncPolicy"] = policy.into(),
        }
        spec
    }

    fn destination(&self, destination: &mut Value) {
        for (name, value, other) in
            [("server", &self.server, "name"), ("name", &self.cluster, "server")]
        {
            if let Some(value) = value {
                destination[name] = json!(value);
                if let Some(members) = destination.as_object_mut() {
                    members.remove(other);
                }
            }
        }
        if let Some(namespace) = &self.namespace {
            destination["namespace"] = json!(namespace);
        }
    }

    fn automation(&self, policy: &mut Map<String, Value>) {
        match self.automated {
            Some(true) => drop(policy.insert("automated".into(), json!({}))),
            Some(false) => drop(policy.remove("automated")),
            None => {}
        }
        let switches =
            [("prune", self.prune), ("selfHeal", self.self_heal), ("allowEmpty", self.allow_empty)];
        for (name, value) in switches {
            if let Some(value) = value {
                // As argocd does it: a switch of what does not sync by itself does not make it do so.
                let automated =
                    policy.entry("automated").or_insert_with(|| json!({ "enabled": false }));
                automated[name] = json!(value);
            }
        }
    }

    fn options(&self, policy: &mut Map<String, Value>) {
        if self.sync_options.is_empty() {
            return;
        }
        let mut options: Vec<String> = policy
            .get("syncOptions")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|option| option.as_str().map(str::to_owned))
            .collect();
        for option in &self.sync_options {
            match option.strip_prefix('!') {
                Some(gone) => options.retain(|one| one != gone),
                None => {
                    // Another value of the same option takes its place.
                    let name =
                        |option: &str| option.split('=').next().unwrap_or_default().to_owned();
                    match options.iter().position(|one| name(one) == name(option)) {
                        Some(place) => options[place].clone_from(option),
                        None => options.push(option.clone()),
                    }
                }
            }
        }
        match options.is_empty() {
            true => drop(policy.remove("syncOptions")),
            false => drop(policy.insert("syncOptions".into(), json!(options))),
        }
    }

    fn retry(&self, policy: &mut Map<String, Value>) {
        match &self.retry {
            None => {}
            Some(retry) if retry.limit == 0 => drop(policy.remove("retry")),
            Some(retry) => {
                let mut value = json!({
                    "limit": retry.limit,
                    "backoff": {
                        "duration": retry.duration, "factor": retry.factor, "maxDuration": retry.max_duration,
                    },
                });
                if retry.refresh {
                    value["refresh"] = json!(true);
                }
                policy.insert("retry".into(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_changes_and_nothing_else() {
        let none = SpecChange::default;
        let bare = json!({ "project": "default", "destination": { "server": "s", "namespace": "n" }, "source": {} });
        let with = |policy: Value| {
            let mut spec = bare.clone();
            spec["syncPolicy"] = policy;
            spec
        };
        let options = |list: &[&str]| SpecChange {
            sync_options: list.iter().map(|one| (*one).to_owned()).collect(),
            ..none()
        };
        let automated = with(json!({ "automated": { "prune": true }, "syncOptions": ["A=1"] }));
        let cases = [
            (none(), &bare, ""),
            (SpecChange { project: Some("default".into()), ..none() }, &bare, ""),
            (SpecChange { project: Some("web".into()), ..none() }, &bare, "project: default → web"),
            (
                SpecChange { cluster: Some("in-cluster".into()), ..none() },
                &bare,
                "destination.name: - → in-cluster; destination.server: s → -",
            ),
            (
                SpecChange { automated: Some(true), self_heal: Some(true), ..none() },
                &bare,
                "syncPolicy.automated.selfHeal: - → true",
            ),
            (
                SpecChange { prune: Some(true), ..none() },
                &bare,
                "syncPolicy.automated.enabled: - → false; syncPolicy.automated.prune: - → true",
            ),
            (
                SpecChange { automated: Some(false), ..none() },
                &automated,
                "syncPolicy.automated.prune: true → -",
            ),
            (
                options(&["A=2", "B=1"]),
                &automated,
                "syncPolicy.syncOptions[0]: A=1 → A=2; syncPolicy.syncOptions[1]: - → B=1",
            ),
            (options(&["!A=1"]), &automated, "syncPolicy.syncOptions[0]: A=1 → -"),
            (SpecChange { automated: Some(true), ..none() }, &bare, "syncPolicy.automated: - → {}"),
            (SpecChange { history_limit: Some(3), ..none() }, &bare, "revisionHistoryLimit: - → 3"),
        ];
        for (change, spec, want) in cases {
            let absent = || "-".to_owned();
            let got: Vec<String> = change
                .changes(spec)
                .into_iter()
                .map(|one| {
                    let (old, new) =
                        (one.old.unwrap_or_else(absent), one.new.unwrap_or_else(absent));
                    format!("{}: {old} → {new}", one.field)
                })
                .collect();
            assert_eq!(got.join("; "), want, "{change:?}");
            let touched = change.operations(spec).len();
            assert_eq!(touched == 0, want.is_empty(), "{change:?}");
        }
    }

    #[test]
    fn each_member_that_changes_is_tested_first() {
        let spec = json!({ "project": "default", "destination": { "server": "s" }, "syncPolicy": { "automated": {} } });
        let change = SpecChange {
            automated: Some(false),
            history_limit: Some(2),
            retry: Some(SyncRetry {
                limit: 0,
                duration: "5s".into(),
                factor: 2,
                max_duration: "3m0s".into(),
                refresh: false,
            }),
            ..SpecChange::default()
        };
        assert_eq!(
            change.operations(&spec),
            [
                json!({ "op": "test", "path": "/spec/syncPolicy", "value": { "automated": {} } }),
                json!({ "op": "test", "path": "/spec/revisionHistoryLimit", "value": null }),
                json!({ "op": "remove", "path": "/spec/syncPolicy" }),
                json!({ "op": "add", "path": "/spec/revisionHistoryLimit", "value": 2 }),
            ]
        );
    }
}
