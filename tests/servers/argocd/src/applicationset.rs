//! The ApplicationSet controller: it generates applications from lists, and takes foreign changes of them back.

use std::sync::Arc;

use serde_json::{Value, json};

use super::objects::{items, set, text, unset};
use super::{Server, pause};

/// Annotations that the real controller never takes away.
const PRESERVED: &[&str] = &[
    "argocd.argoproj.io/refresh",
    "argocd.argoproj.io/hydrate",
    "argocd.argoproj.io/hydrate-timestamp",
    "notified.notifications.argoproj.io",
];

/// The applications that a set's list generators make. The error is for what is not simulated.
pub(super) fn generate(document: &Value) -> Result<Vec<Value>, String> {
    let template = document.pointer("/spec/template").cloned().unwrap_or_default();
    let mut apps = Vec::new();
    for generator in items(document, "/spec/generators") {
        let Some(list) = generator.get("list") else {
            return Err("only list generators are simulated".to_owned());
        };
        for element in items(list, "/elements") {
            let mut app = template.clone();
            fill(&mut app, element);
            set(
                &mut app,
                "/metadata/ownerReferences",
                json!([{
                    "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": text(document, "/metadata/name"),
                    "uid": text(document, "/metadata/uid"), "controller": true, "blockOwnerDeletion": true,
                }]),
            );
            if document.pointer("/spec/syncPolicy/preserveResourcesOnDeletion")
                != Some(&true.into())
            {
                set(
                    &mut app,
                    "/metadata/finalizers",
                    json!(["resources-finalizer.argocd.argoproj.io"]),
                );
            }
            if let Some(spec) = app.get("spec") {
                let spec = super::schema::normalized(spec);
                set(&mut app, "/spec", spec);
            }
            apps.push(app);
        }
    }
    Ok(apps)
}

/// Replaces `{{.name}}` and `{{name}}` in every text.
fn fill(value: &mut Value, element: &Value) {
    match value {
        Value::String(text) => {
            for (name, with) in element.as_object().into_iter().flatten() {
                let with = with.as_str().map_or_else(|| with.to_string(), str::to_owned);
                for form in [
                    format!("{{{{.{name}}}}}"),
                    format!("{{{{{name}}}}}"),
                    format!("{{{{ .{name} }}}}"),
                ] {
                    *text = text.replace(&form, &with);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, element)),
        Value::Object(members) => members.values_mut().for_each(|member| fill(member, element)),
        _ => {}
    }
}

/// The application as its set wants it: the generated spec, labels, annotations and finalizers, but for what the set
/// says it leaves alone.
pub(super) fn wanted(document: &Value, generated: &Value, live: &Value) -> Value {
    let policy = text(document, "/spec/syncPolicy/applicationsSync");
    if policy.starts_with("create-only") || policy == "create-delete" {
        return live.clone();
    }
    let mut app = live.clone();
    set(&mut app, "/spec", generated["spec"].clone());
    for part in ["labels", "annotations", "finalizers"] {
        let pointer = format!("/metadata/{part}");
        match generated.pointer(&pointer) {
            Some(value) => set(&mut app, &pointer, value.clone()),
            None => unset(&mut app, &pointer),
        }
    }
    let mut preserved: Vec<String> = PRESERVED.iter().map(|name| annotation(name)).collect();
    let named = |list: &str| {
        items(document, list)
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    preserved
        .extend(named("/spec/preservedFields/annotations").iter().map(|name| annotation(name)));
    preserved.extend(
        named("/spec/preservedFields/labels")
            .iter()
            .map(|name| format!("/metadata/labels/{}", escaped(name))),
    );
    for pointer in preserved {
        match live.pointer(&pointer) {
            Some(value) => set(&mut app, &pointer, value.clone()),
            None => unset(&mut app, &pointer),
        }
    }
    let (mut from, mut to) = (live.clone(), app);
    for pointer in ignored(document, text(live, "/metadata/name")) {
        unset(&mut from, &pointer);
        unset(&mut to, &pointer);
    }
    let mut after = live.clone();
    carry_over(&mut after, &from, &to);
    after
}

/// What a set's rules ignore in an application of this name, as JSON pointers.
fn ignored(document: &Value, app: &str) -> Vec<String> {
    let rules = items(document, "/spec/ignoreApplicationDifferences").iter();
    let concerned = rules.filter(|rule| [app, ""].contains(&text(rule, "/name")));
    concerned
        .flat_map(|rule| {
            let texts = |list| items(rule, list).iter().filter_map(Value::as_str);
            let pointers = texts("/jsonPointers").map(str::to_owned);
            pointers.chain(texts("/jqPathExpressions").map(jq_pointer))
        })
        .collect()
}

/// Makes of the `live` object what was changed between `from` and `to`, where what is ignored is in neither: as a merge patch,
/// so an array with a difference is written as a whole, without what is ignored in it (`CreateOrUpdate` in
/// applicationset/utils/createOrUpdate.go of Argo CD 3.6.1).
fn carry_over(live: &mut Value, from: &Value, to: &Value) {
    match (live, from, to) {
        (_, from, to) if from == to => {}
        (Value::Object(live), Value::Object(from), Value::Object(to)) => {
            live.retain(|name, _| to.contains_key(name) || !from.contains_key(name));
            for (name, to) in to {
                let from = from.get(name).unwrap_or(&Value::Null);
                carry_over(live.entry(name).or_insert(Value::Null), from, to);
            }
        }
        (live, _, to) => *live = to.clone(),
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn annotation(name: &str) -> String {
    format!("/metadata/annotations/{}", escaped(name))
}

/// A plain jq path, `.a.b["c/d"][0]`, as a JSON pointer.
fn jq_pointer(path: &str) -> String {
    let mut pointer = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some((name, after)) =
            rest.strip_prefix("[\"").and_then(|inner| inner.split_once("\"]"))
        {
            pointer.push_str(&format!("/{}", escaped(name)));
            rest = after;
            continue;
        }
        if let Some((index, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'))
        {
            pointer.push_str(&format!("/{index}"));
            rest = after;
            continue;
        }
        rest = rest.trim_start_matches('.');
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        if end == 0 {
            break;
        }
        pointer.push_str(&format!("/{}", escaped(&rest[..end])));
        rest = &rest[end..];
    }
    pointer
}

/// Makes what a set generates, where it is missing.
pub(super) fn create_missing(server: &Server, generated: Vec<Value>) {
    for app in generated {
        server.store.create(app);
    }
}

/// Takes foreign changes back, until the task is aborted.
pub(super) async fn run(server: Arc<Server>) {
    let mut changes = server.store.changes();
    loop {
        let apps = if server.store.sets().is_empty() { Vec::new() } else { server.store.apps().0 };
        let owned = apps.iter().filter_map(|app| owned(&server, app));
        let changed: Vec<Owned> =
            owned.filter(|owned| owned.wish(&owned.app) != owned.app).collect();
        if changed.is_empty() {
            if changes.changed().await.is_err() {
                return;
            }
            continue;
        }
        pause(server.pace().revert_ms).await;
        for owned in changed {
            server.store.update(text(&owned.app, "/metadata/name"), |app| *app = owned.wish(app));
        }
    }
}

/// An application with the set that owns it.
struct Owned {
    app: Value,
    document: Value,
    generated: Value,
}

impl Owned {
    /// The application as its owner wants it.
    fn wish(&self, live: &Value) -> Value {
        wanted(&self.document, &self.generated, live)
    }
}

fn owned(server: &Server, app: &Value) -> Option<Owned> {
    let owner = items(app, "/metadata/ownerReferences")
        .iter()
        .find(|owner| text(owner, "/kind") == "ApplicationSet")?;
    let document = server.store.set(text(owner, "/name"))?;
    let name = text(app, "/metadata/name");
    let generated =
        generate(&document).ok()?.into_iter().find(|one| text(one, "/metadata/name") == name)?;
    Some(Owned { app: app.clone(), document, generated })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(more: Value) -> Value {
        let mut document = json!({
            "metadata": { "name": "s", "uid": "u" },
            "spec": {
                "generators": [{ "list": { "elements": [{ "n": "a" }] } }],
                "template": {
                    "metadata": { "name": "{{.n}}", "annotations": { "from": "set" } },
                    "spec": { "project": "default", "source": { "repoURL": "r", "helm": { "parameters": [{ "name": "t", "value": "1" }] } } },
                },
            },
        });
        super::super::patch::merge(&mut document, &json!({ "spec": more }));
        document
    }

    /// What is left of a changed parameter and of a foreign annotation.
    #[track_caller]
    fn check(more: Value, want: (&str, bool)) {
        let document = document(more);
        let generated = generate(&document).unwrap().remove(0);
        assert_eq!(text(&generated, "/metadata/name"), "a");
        let mut live = generated.clone();
        set(&mut live, "/spec/source/helm/parameters", json!([{ "name": "t", "value": "2" }]));
        set(&mut live, "/metadata/annotations/my~1prov", "x");
        let after = wanted(&document, &generated, &live);
        let parameter = text(&after, "/spec/source/helm/parameters/0/value");
        assert_eq!((parameter, after.pointer("/metadata/annotations/my~1prov").is_some()), want);
    }

    #[test]
    fn foreign_changes_are_taken_back_unless_exempt() {
        check(json!({}), ("1", false));
        check(
            json!({ "ignoreApplicationDifferences": [{ "jsonPointers": ["/spec/source/helm/parameters"] }] }),
            ("2", false),
        );
        let jq = [".spec.source.helm.parameters", ".metadata.annotations[\"my/prov\"]"];
        check(
            json!({ "ignoreApplicationDifferences": [{ "jqPathExpressions": jq }] }),
            ("2", true),
        );
        check(
            json!({ "ignoreApplicationDifferences": [{ "name": "b", "jqPathExpressions": jq }] }),
            ("1", false),
        );
        // An element is ignored as long as the array has no other difference.
        let element = [".metadata.annotations", ".spec.source.helm.parameters[0].value"];
        check(
            json!({ "ignoreApplicationDifferences": [{ "jqPathExpressions": element }] }),
            ("2", true),
        );
        check(json!({ "preservedFields": { "annotations": ["my/prov"] } }), ("1", true));
        check(json!({ "syncPolicy": { "applicationsSync": "create-only" } }), ("2", true));
    }
}
