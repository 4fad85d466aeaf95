//! JSON patch and merge patch in the dialect of `evanphx/json-patch` (the package at the root of v5), with its messages.
//!
//! Pure. Differences to RFC 6902 that matter: `test` on an absent member with `null` or no value passes, and scalars
//! are compared as the bytes that were sent.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::gojson;

/// One operation, with its value as the bytes that were sent.
#[derive(Debug, serde::Deserialize)]
struct Operation<'a> {
    #[serde(default)]
    op: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    from: String,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

/// Applies a JSON patch. The error is the text that Argo CD answers with code 2.
pub(crate) fn json_patch(document: &Value, patch: &str) -> Result<Value, String> {
    let operations: Vec<Operation<'_>> = serde_json::from_str(patch)
        .map_err(|error| format!("error decoding json patch: {}", go_syntax(patch, &error)))?;
    let mut document = document.clone();
    for operation in &operations {
        apply(&mut document, operation)
            .map_err(|message| format!("error applying patch: {message}"))?;
    }
    Ok(document)
}

/// Applies a JSON merge patch (RFC 7386).
pub(crate) fn merge_patch(document: &Value, patch: &str) -> Result<Value, String> {
    let patch: Value = serde_json::from_str(patch)
        .map_err(|_| "error applying merge patch: Invalid JSON Patch".to_owned())?;
    let mut document = document.clone();
    merge(&mut document, &patch);
    Ok(document)
}

/// RFC 7386 on values.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (name, value) in members {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The words of Go's decoder, as far as a client can tell the cases apart.
fn go_syntax(text: &str, error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    if error.is_data() {
        let kind = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(_)) => "object",
            Ok(Value::String(_)) => "string",
            Ok(Value::Number(_)) => "number",
            _ => "value",
        };
        return format!("json: cannot unmarshal {kind} into Go value of type jsonpatch.Patch");
    }
    let at =
        text.lines().take(error.line().saturating_sub(1)).map(|line| line.len() + 1).sum::<usize>()
            + error.column();
    let found = text.as_bytes().get(at.saturating_sub(1)).map_or(' ', |byte| char::from(*byte));
    format!("invalid character '{found}' looking for beginning of value")
}

fn apply(document: &mut Value, operation: &Operation<'_>) -> Result<(), String> {
    let path = operation.path.as_str();
    match operation.op.as_str() {
        "add" => add(document, path, value_of(operation)?),
        "replace" => replace(document, path, value_of(operation)?),
        "remove" => remove(document, path).map(drop),
        "test" => test(document, path, operation.value),
        "move" => {
            let from = &operation.from;
            let value = remove(document, from)
                .map_err(|message| message.replacen("in remove", "in move", 1))?;
            add(document, path, value)
        }
        "copy" => {
            let found = parent(document, &operation.from)
                .and_then(|(parent, key)| child(parent, &key).cloned())
                .ok_or_else(|| format!("copy operation does not apply: doc is missing from path: {}: missing value", operation.from))?;
            add(document, path, found)
        }
        other => Err(format!("Unexpected kind: {other}")),
    }
}

fn value_of(operation: &Operation<'_>) -> Result<Value, String> {
    let raw = operation.value.map_or("null", RawValue::get);
    serde_json::from_str(raw).map_err(|error| error.to_string())
}

/// The parts of a JSON pointer, unescaped.
fn parts(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~")).collect()
}

/// The container that holds the last part of `path`, and that part.
fn parent<'d>(document: &'d mut Value, path: &str) -> Option<(&'d mut Value, String)> {
    let mut parts = parts(path);
    let key = parts.pop()?;
    let mut here = document;
    for part in parts {
        here = match here {
            Value::Object(object) => object.get_mut(&part)?,
            Value::Array(array) => array.get_mut(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    matches!(here, Value::Object(_) | Value::Array(_)).then_some((here, key))
}

fn child<'v>(container: &'v Value, key: &str) -> Option<&'v Value> {
    match container {
        Value::Object(object) => object.get(key),
        Value::Array(array) => array.get(index(key, array.len()).ok()?),
        _ => None,
    }
}

/// An index as evanphx reads it: negative ones count from the end.
fn index(key: &str, length: usize) -> Result<usize, String> {
    let number: i64 =
        key.parse().map_err(|_| format!("value was not a proper array index: '{key}'"))?;
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let from_start = if number < 0 { number + length } else { number };
    let valid = (0..length).contains(&from_start);
    usize::try_from(from_start)
        .ok()
        .filter(|_| valid)
        .ok_or_else(|| format!("Unable to access invalid index: {key}: invalid index referenced"))
}

fn add(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let Some((container, key)) = parent(document, path) else {
        return Err(format!(
            "add operation does not apply: doc is missing path: \"{path}\": missing value"
        ));
    };
    match container {
        Value::Object(object) => {
            object.insert(key, value);
        }
        Value::Array(array) if key == "-" || key.parse() == Ok(array.len()) => array.push(value),
        Value::Array(array) => {
            let at = index(&key, array.len())
                .map_err(|message| format!("error in add for path: '{path}': {message}"))?;
            array.insert(at, value);
        }
        _ => {}
    }
    Ok(())
}

fn replace(document: &mut Value, path: &str, value: Value) -> Result<(), String> {
    if path.is_empty() {
        *document = value;
        return Ok(());
    }
    let missing = |words: &str| {
        format!("replace operation does not apply: doc is missing {words}: {path}: missing value")
    };
    let Some((container, key)) = parent(document, path) else { return Err(missing("path")) };
    let place = match container {
        Value::Object(object) => object.get_mut(&key),
        Value::Array(array) => index(&key, array.len()).ok().and_then(|at| array.get_mut(at)),
        _ => None,
    };
    *place.ok_or_else(|| missing("key"))? = value;
    Ok(())
}

fn remove(document: &mut Value, path: &str) -> Result<Value, String> {
    let Some((container, key)) = parent(document, path) else {
        return Err(format!(
            "remove operation does not apply: doc is missing path: \"{path}\": missing value"
        ));
    };
    let place = format!("error in remove for path: '{path}'");
    match container {
        Value::Object(object) => object.remove(&key).ok_or_else(|| {
            format!("{place}: Unable to remove nonexistent key: {key}: missing value")
        }),
        Value::Array(array) => {
            let at = index(&key, array.len()).map_err(|message| format!("{place}: {message}"))?;
            Ok(array.remove(at))
        }
        _ => Err(place),
    }
}

fn test(document: &mut Value, path: &str, wanted: Option<&RawValue>) -> Result<(), String> {
    let failed = || format!("testing value {path} failed: test failed");
    let wanted = wanted.map(RawValue::get).filter(|raw| *raw != "null");
    if path.is_empty() {
        return if wanted.is_some_and(|raw| equal(document, raw)) { Ok(()) } else { Err(failed()) };
    }
    let Some((container, key)) = parent(document, path) else {
        return Err(format!(
            "test operation does not apply: is missing path: {path}: missing value"
        ));
    };
    if let Value::Array(array) = &container {
        index(&key, array.len())
            .map_err(|message| format!("error in test for path: '{path}': {message}"))?;
    }
    let passes = match (child(container, &key), wanted) {
        (None | Some(Value::Null), None) => true,
        (Some(value), Some(raw)) => equal(value, raw),
        _ => false,
    };
    if passes { Ok(()) } else { Err(failed()) }
}

/// Objects member by member in any order, arrays in order, scalars as bytes.
fn equal(have: &Value, raw: &str) -> bool {
    match have {
        Value::Object(object) => {
            let Ok(other) =
                serde_json::from_str::<std::collections::BTreeMap<String, &RawValue>>(raw)
            else {
                return false;
            };
            object.len() == other.len()
                && object
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|raw| equal(value, raw.get())))
        }
        Value::Array(array) => {
            let Ok(other) = serde_json::from_str::<Vec<&RawValue>>(raw) else { return false };
            array.len() == other.len()
                && array.iter().zip(other).all(|(value, raw)| equal(value, raw.get()))
        }
        scalar => gojson::to_string(scalar) == raw.trim(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Applies one operation to a fixed document; `Ok` compares the value at `path` afterwards.
    #[track_caller]
    fn check(operation: &str, want: Result<(&str, Value), &str>) {
        let document = json!({
            "metadata": { "annotations": { "x": "2", "a/b": "3" } },
            "spec": { "list": [ { "name": "a", "value": "1<2" }, 5 ], "on": true, "none": null },
        });
        match (json_patch(&document, &format!("[{operation}]")), want) {
            (Ok(got), Ok((pointer, value))) => {
                assert_eq!(got.pointer(pointer), Some(&value), "{operation}")
            }
            (Err(got), Err(want)) => assert_eq!(got, want, "{operation}"),
            (got, want) => panic!("{operation}: {got:?} instead of {want:?}"),
        }
    }

    #[test]
    fn operations() {
        let list = json!([{ "name": "a", "value": "1<2" }, 5]);
        let ok = Ok(("/spec/list", list));
        check(r#"{"op":"test","path":"/metadata/annotations/x","value":"2"}"#, ok.clone());
        check(r#"{"op":"test","path":"/metadata/annotations/a~1b","value":"3"}"#, ok.clone());
        check(r#"{"op":"test","path":"/spec/nothing","value":null}"#, ok.clone());
        check(r#"{"op":"test","path":"/spec/nothing"}"#, ok.clone());
        check(r#"{"op":"test","path":"/spec/none","value":null}"#, ok.clone());
        check(
            r#"{"op":"test","path":"/spec/list/0","value":{"value":"1\u003c2","name":"a"}}"#,
            ok.clone(),
        );
        check(r#"{"op":"test","path":"/spec/list/-1","value":5}"#, ok);
        let failed =
            |path: &str| format!("error applying patch: testing value {path} failed: test failed");
        check(
            r#"{"op":"test","path":"/spec/list/0/value","value":"1<2"}"#,
            Err(&failed("/spec/list/0/value")),
        );
        check(r#"{"op":"test","path":"/spec/list/1","value":5.0}"#, Err(&failed("/spec/list/1")));
        check(r#"{"op":"test","path":"/spec/list/1"}"#, Err(&failed("/spec/list/1")));
        check(r#"{"op":"test","path":"/spec/nothing","value":"x"}"#, Err(&failed("/spec/nothing")));
        check(
            r#"{"op":"test","path":"/spec/no/thing","value":null}"#,
            Err(
                "error applying patch: test operation does not apply: is missing path: /spec/no/thing: missing value",
            ),
        );
        check(
            r#"{"op":"test","path":"/spec/list/7","value":null}"#,
            Err(
                "error applying patch: error in test for path: '/spec/list/7': Unable to access invalid index: 7: invalid index referenced",
            ),
        );
        check(r#"{"op":"add","path":"/spec/list/-","value":6}"#, Ok(("/spec/list/2", json!(6))));
        check(r#"{"op":"add","path":"/spec/list/0","value":6}"#, Ok(("/spec/list/0", json!(6))));
        check(
            r#"{"op":"add","path":"/metadata/labels/x","value":"1"}"#,
            Err(
                "error applying patch: add operation does not apply: doc is missing path: \"/metadata/labels/x\": missing value",
            ),
        );
        check(
            r#"{"op":"replace","path":"/spec/on","value":false}"#,
            Ok(("/spec/on", json!(false))),
        );
        check(
            r#"{"op":"replace","path":"/spec/kustomize/images","value":[]}"#,
            Err(
                "error applying patch: replace operation does not apply: doc is missing path: /spec/kustomize/images: missing value",
            ),
        );
        check(r#"{"op":"remove","path":"/spec/list/0"}"#, Ok(("/spec/list", json!([5]))));
        check(
            r#"{"op":"remove","path":"/metadata/annotations/nope"}"#,
            Err(
                "error applying patch: error in remove for path: '/metadata/annotations/nope': Unable to remove nonexistent key: nope: missing value",
            ),
        );
        check(
            r#"{"op":"move","from":"/spec/on","path":"/spec/off"}"#,
            Ok(("/spec/off", json!(true))),
        );
        check(
            r#"{"op":"copy","from":"/spec/on","path":"/spec/off"}"#,
            Ok(("/spec/on", json!(true))),
        );
        check(
            "{",
            Err("error decoding json patch: invalid character ']' looking for beginning of value"),
        );
    }

    #[test]
    fn text_that_ends_early() {
        assert_eq!(
            json_patch(&json!({}), "[{"),
            Err("error decoding json patch: unexpected end of JSON input".to_owned())
        );
    }

    #[test]
    fn merging() {
        let document = json!({ "a": { "b": [1, 2], "c": 1 }, "d": 1 });
        let merged = merge_patch(&document, r#"{"a":{"b":[3],"c":null},"e":{"f":null}}"#).unwrap();
        assert_eq!(merged, json!({ "a": { "b": [3] }, "d": 1, "e": {} }));
    }
}
