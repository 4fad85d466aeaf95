//! Looks into the answer to a patch whether it holds what was written. Pure.
//!
//! The server says 200 also where it has overlaid another write, and where it does not know a field and drops it.

use serde_json::{Map, Value};

use crate::api::request::AppPatch;

/// The places of a patch whose values an answer does not hold, as JSON pointers.
pub(crate) fn missing(answer: &Value, how: AppPatch, patch: &Value) -> Vec<String> {
    match how {
        AppPatch::Merge => {
            let mut missing = Vec::new();
            compare(&mut missing, String::new(), answer, patch);
            missing
        }
        AppPatch::Json => {
            let operations = patch.as_array().map(Vec::as_slice).unwrap_or_default();
            let missing = operations.iter().enumerate().filter_map(|(index, operation)| {
                let path = operation["path"].as_str()?;
                let wanted = match operation["op"].as_str()? {
                    "add" | "replace" => operation.get("value").unwrap_or(&Value::Null),
                    "remove" => &Value::Null,
                    _ => return None,
                };
                // What a later operation touches, and what may have moved in its list, says nothing.
                let is_touched = operations[index + 1..].iter().any(|later| {
                    let later = later["path"].as_str().unwrap_or_default();
                    later.starts_with(path) || path.starts_with(later)
                });
                let is_certain = !is_touched && !is_in_list(answer, path);
                (is_certain && !is_same(answer.pointer(path), wanted)).then(|| path.to_owned())
            });
            missing.collect()
        }
    }
}

fn is_in_list(answer: &Value, path: &str) -> bool {
    path.rsplit_once('/')
        .is_some_and(|(parent, _)| answer.pointer(parent).is_some_and(Value::is_array))
}

fn compare(missing: &mut Vec<String>, place: String, answer: &Value, patch: &Value) {
    let Value::Object(members) = patch else {
        if !is_same(Some(answer), patch) {
            missing.push(place);
        }
        return;
    };
    for (name, member) in members {
        let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
        compare(missing, place, answer.get(name).unwrap_or(&Value::Null), member);
    }
}

/// Go leaves out what is empty, so that nothing and an empty value are the same, at every depth.
fn is_same(found: Option<&Value>, wanted: &Value) -> bool {
    filled(found.unwrap_or(&Value::Null)) == filled(wanted)
}

fn filled(value: &Value) -> Value {
    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    let value = match value {
        Value::Array(list) => Value::Array(list.iter().map(filled).collect()),
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| (name.clone(), filled(member)));
            Value::Object(members.filter(|(_, member)| !is_empty(member)).collect::<Map<_, _>>())
        }
        other => other.clone(),
    };
    if is_empty(&value) { Value::Null } else { value }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_answer_does_not_hold_is_told() {
        let answer = json!({
            "metadata": { "annotations": { "a/b": "1" } },
            "spec": { "project": "default", "source": { "targetRevision": "main", "helm": { "parameters": [{ "name": "a", "value": "1" }] } } },
        });
        let cases = [
            (
                AppPatch::Merge,
                json!({ "spec": { "source": { "targetRevision": "main" } } }),
                &[][..],
            ),
            (
                AppPatch::Merge,
                json!({ "spec": { "source": { "targetRevision": "v2" }, "project": "default" } }),
                &["/spec/source/targetRevision"],
            ),
            (AppPatch::Merge, json!({ "spec": { "unknown": 1 } }), &["/spec/unknown"]),
            (
                AppPatch::Merge,
                json!({ "spec": { "syncPolicy": null, "source": { "helm": { "values": "" } } } }),
                &[],
            ),
            (
                AppPatch::Merge,
                json!({ "metadata": { "annotations": { "a/b": "2" } } }),
                &["/metadata/annotations/a~1b"],
            ),
            (
                AppPatch::Json,
                json!([{ "op": "replace", "path": "/spec/project", "value": "default" }]),
                &[],
            ),
            (
                AppPatch::Json,
                json!([{ "op": "replace", "path": "/spec/project", "value": "x" }]),
                &["/spec/project"],
            ),
            (AppPatch::Json, json!([{ "op": "test", "path": "/spec/project", "value": "x" }]), &[]),
            (
                AppPatch::Json,
                json!([{ "op": "remove", "path": "/spec/project" }]),
                &["/spec/project"],
            ),
            (
                AppPatch::Json,
                json!([{ "op": "add", "path": "/spec/source/helm/parameters/-", "value": { "name": "z" } }]),
                &[],
            ),
            (
                AppPatch::Json,
                json!([
                    { "op": "add", "path": "/spec/source", "value": {} },
                    { "op": "add", "path": "/spec/source/targetRevision", "value": "main" },
                ]),
                &[],
            ),
        ];
        for (how, patch, want) in cases {
            assert_eq!(missing(&answer, how, &patch), want, "{patch}");
        }
    }
}
