//! Builds JSON patches (RFC 6902) of applications, in the dialect that Argo CD's server has. Pure.
//!
//! `test` operations look at what the server has just read, so a patch refuses to overwrite what changed since we
//! looked. They are no compare-and-set: the server reads twice more before it writes.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::model::{AppSource, Application, SourceAt};
use crate::overrides::claim::{Claim, ClaimState};
use crate::overrides::plan::{AppPlan, PlannedSource};
use crate::overrides::secret::is_hidden;
use crate::overrides::values::{Occurrence, OverrideKey, ValueChange, find, holds, list};

/// Why no patch can be built: the application is not as planned any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatchError(pub(crate) String);

/// Writes the claim and the values of the plan. `app` is the state that the plan was made from.
pub(crate) fn write(
    app: &Application,
    plan: &AppPlan,
    claim: &Claim,
) -> Result<Vec<Value>, PatchError> {
    let mut ops = Vec::new();
    for PlannedSource { at, name } in &plan.sources {
        let source = app.spec.sources().get(*at);
        let source = source.ok_or_else(|| PatchError(format!("source {name} is gone")))?;
        let pointer = at.pointer();
        guard_source(&mut ops, &pointer, source);
        let changes = plan.changes.iter().filter(|it| it.source == *at && !it.is_noop());
        let wanted: Vec<(&OverrideKey, &Value)> =
            changes.map(|change| (&change.key, &change.new)).collect();
        put(&mut ops, &pointer, source, &wanted);
    }
    annotate(&mut ops, app, &claim.annotation(), Some(&claim.to_text()));
    Ok(order(ops))
}

/// Makes the values what they shall be; `null` is absent. What is there is replaced or removed, each guarded by a test;
/// then what is missing is added.
fn put(ops: &mut Vec<Value>, at: &str, source: &AppSource, wanted: &[(&OverrideKey, &Value)]) {
    let mut removals: Vec<(&str, usize, String)> = Vec::new();
    let mut missing: Vec<(&OverrideKey, &Value)> = Vec::new();
    for (key, value) in wanted {
        match find(source, key) {
            Occurrence::At(index, element) => {
                let path = place(at, key, index);
                ops.push(test(&path, element));
                if value.is_null() {
                    removals.push((key.list(), index, path));
                } else {
                    ops.push(json!({ "op": "replace", "path": path, "value": value }));
                }
            }
            _ if value.is_null() => {}
            _ => missing.push((key, value)),
        }
    }
    // From the end, so that the remaining indexes stay right.
    removals.sort_by(|a, b| b.cmp(a));
    ops.extend(removals.into_iter().map(|(_, _, path)| json!({ "op": "remove", "path": path })));
    add(ops, at, source, &missing);
}

/// All tests go first: they are about the state before the patch, and an earlier change would shift what they see.
fn order(ops: Vec<Value>) -> Vec<Value> {
    let (tests, changes): (Vec<_>, Vec<_>) = ops.into_iter().partition(|op| op["op"] == "test");
    tests.into_iter().chain(changes).collect()
}

/// The place of a source among several is only good as long as it is the same source. Of two sources of one chart, how each
/// is rendered is what tells one from the other. A source that stands alone may get another revision meanwhile.
fn guard_source(ops: &mut Vec<Value>, at: &str, source: &AppSource) {
    let is_alone = at == SourceAt::Single.pointer();
    for (place, value) in source.identity() {
        let path = format!("{at}{place}");
        match value {
            Some(value) if !is_alone || SAME_FILES.contains(&place) => ops.push(test(&path, value)),
            None if !is_alone => ops.push(absent(&path)),
            _ => {}
        }
    }
}

/// What says which files a source reads, of whatever revision.
const SAME_FILES: [&str; 3] = ["/repoURL", "/path", "/chart"];

/// Adds values, making their lists and blocks first where they are absent. Nobody else may have added one with the same
/// name meanwhile: the whole list is tested.
fn add(ops: &mut Vec<Value>, at: &str, source: &AppSource, missing: &[(&OverrideKey, &Value)]) {
    // By block and place, in the order in which the values are written.
    let mut blocks: Vec<(&str, Vec<Place<'_>>)> = Vec::new();
    for (key, value) in missing {
        let (block, field) = key.list()[1..].split_once('/').unwrap_or(("", &key.list()[1..]));
        let index = match blocks.iter().position(|(name, _)| *name == block) {
            Some(index) => index,
            None => {
                blocks.push((block, Vec::new()));
                blocks.len() - 1
            }
        };
        let places = &mut blocks[index].1;
        match places.iter_mut().find(|place| place.field == field) {
            Some(place) => place.values.push(value),
            None => places.push(Place { key, field, values: vec![value] }),
        }
    }
    for (block, places) in blocks {
        if !block.is_empty() && !source.has(&format!("/{block}")) {
            let path = format!("{at}/{block}");
            let made: serde_json::Map<String, Value> =
                places.iter().map(|place| (place.field.to_owned(), place.made())).collect();
            ops.push(absent(&path));
            ops.push(json!({ "op": "add", "path": path, "value": made }));
            continue;
        }
        for place in places {
            let path = format!("{at}{}", place.key.list());
            if place.key.is_listed() && source.has(place.key.list()) {
                ops.push(test(&path, &Value::Array(list(source, place.key).to_vec())));
                for element in &place.values {
                    ops.push(json!({ "op": "add", "path": format!("{path}/-"), "value": element }));
                }
            } else {
                ops.push(absent(&path));
                ops.push(json!({ "op": "add", "path": path, "value": place.made() }));
            }
        }
    }
}

/// A list that elements are added to, or a value that stands alone.
struct Place<'a> {
    key: &'a OverrideKey,
    field: &'a str,
    values: Vec<&'a Value>,
}

impl Place<'_> {
    /// What it is where there was nothing.
    fn made(&self) -> Value {
        match (self.key.is_listed(), self.values.as_slice()) {
            (false, [value, ..]) => (*value).clone(),
            (_, values) => values.iter().map(|value| (*value).clone()).collect(),
        }
    }
}

/// Puts the values back that a claim says stood there before. Only where ours still stand. A claim that somebody wiped is
/// not written again.
pub(crate) fn undo(app: &Application, claim: &Claim) -> Result<Vec<Value>, PatchError> {
    let mut ops = Vec::new();
    for ClaimedSource { at, source, changes } in claimed_sources(app, claim)? {
        guard_source(&mut ops, &at, source);
        let mut wanted: Vec<(&OverrideKey, &Value)> = Vec::new();
        for change in changes {
            stands(source, change)?;
            if change.old.as_ref().is_some_and(is_hidden) {
                return Err(PatchError(format!(
                    "the claim does not keep what {} was, as its name says that it is a secret",
                    change.name()
                )));
            }
            wanted.push((&change.key, change.old.as_ref().unwrap_or(&Value::Null)));
        }
        put(&mut ops, &at, source, &wanted);
    }
    let name = claim.annotation();
    if app.metadata.annotations.contains_key(&name) {
        annotate(&mut ops, app, &name, Some(&claim.in_state(ClaimState::Undone).to_text()));
    }
    Ok(order(ops))
}

/// Writes the end of a run over its claim. A proof says that its values stand, so they are tested.
pub(crate) fn close(app: &Application, end: &Claim) -> Result<Vec<Value>, PatchError> {
    let mut ops = Vec::new();
    if end.state == ClaimState::Done {
        for ClaimedSource { at, source, changes } in claimed_sources(app, end)? {
            guard_source(&mut ops, &at, source);
            for change in changes {
                stands(source, change)?;
                if let Occurrence::At(index, element) = find(source, &change.key) {
                    ops.push(test(&place(&at, &change.key, index), element));
                }
            }
        }
    }
    annotate(&mut ops, app, &end.annotation(), Some(&end.to_text()));
    Ok(order(ops))
}

/// Sets annotations, or takes them away. Without operations if they are as wanted.
pub(crate) fn annotations(
    app: &Application,
    wanted: &BTreeMap<String, Option<String>>,
) -> Vec<Value> {
    let mut ops = Vec::new();
    for (name, text) in wanted {
        if app.metadata.annotations.get(name) != text.as_ref() {
            annotate(&mut ops, app, name, text.as_deref());
        }
    }
    order(ops)
}

/// A source that a claim has written to.
struct ClaimedSource<'a> {
    /// Its place, as a JSON pointer.
    at: String,
    source: &'a AppSource,
    changes: Vec<&'a ValueChange>,
}

fn claimed_sources<'a>(
    app: &'a Application,
    claim: &'a Claim,
) -> Result<Vec<ClaimedSource<'a>>, PatchError> {
    let mut all: BTreeMap<SourceAt, Vec<&ValueChange>> = BTreeMap::new();
    for change in &claim.changes {
        all.entry(change.source).or_default().push(change);
    }
    let claimed = |(at, changes): (SourceAt, Vec<&'a ValueChange>)| {
        let source = app.spec.sources().get(at);
        let gone = || PatchError("the source that was written to is gone".into());
        Ok(ClaimedSource { at: at.pointer(), source: source.ok_or_else(gone)?, changes })
    };
    all.into_iter().map(claimed).collect()
}

fn stands(source: &AppSource, change: &ValueChange) -> Result<(), PatchError> {
    match find(source, &change.key) {
        Occurrence::At(_, element) if holds(element, &change.new) => Ok(()),
        Occurrence::Absent if change.new.is_null() => Ok(()),
        _ => Err(PatchError(format!("{} is not the one that was written", change.name()))),
    }
}

/// Where the value of a key is, if it is the one of this index.
fn place(at: &str, key: &OverrideKey, index: usize) -> String {
    let list = key.list();
    match key.is_listed() {
        true => format!("{at}{list}/{index}"),
        false => format!("{at}{list}"),
    }
}

fn annotate(ops: &mut Vec<Value>, app: &Application, name: &str, text: Option<&str>) {
    let path = format!("/metadata/annotations/{}", name.replace('~', "~0").replace('/', "~1"));
    match (app.metadata.annotations.get(name), text) {
        (None, None) => return,
        (Some(before), _) => ops.push(test(&path, &json!(before))),
        (None, Some(_)) if app.metadata.annotations.is_empty() => {
            let all = "/metadata/annotations";
            if !ops.iter().any(|op| op["path"] == all) {
                ops.push(absent(all));
                ops.push(json!({ "op": "add", "path": all, "value": {} }));
            }
        }
        (None, Some(_)) => ops.push(absent(&path)),
    }
    ops.push(match text {
        Some(text) => json!({ "op": "add", "path": path, "value": text }),
        None => json!({ "op": "remove", "path": path }),
    });
}

/// What a patch makes of an application, as far as a write overlays it; the application itself if it does not fit.
pub(crate) fn applied(app: &Application, operations: &[Value]) -> Application {
    let metadata = &app.metadata;
    let mut object = json!({
        "metadata": {
            "annotations": metadata.annotations,
            "labels": metadata.labels,
            "finalizers": metadata.finalizers,
        },
        "spec": app.spec.whole(),
    });
    let changes = json_patch::Patch::deserialize(without_tests(operations.into()));
    let patched = changes.is_ok_and(|changes| json_patch::patch(&mut object, &changes).is_ok());
    match Application::deserialize(object) {
        Ok(made) if patched => made,
        _ => app.clone(),
    }
}

/// The operations of a patch that change something.
pub(crate) fn without_tests(mut operations: Value) -> Value {
    if let Some(operations) = operations.as_array_mut() {
        operations.retain(|operation| operation["op"] != "test");
    }
    operations
}

fn test(path: &str, value: &Value) -> Value {
    json!({ "op": "test", "path": path, "value": value })
}

/// evanphx/json-patch lets a test with `null` pass where the member is absent.
fn absent(path: &str) -> Value {
    json!({ "op": "test", "path": path, "value": null })
}

#[cfg(test)]
mod tests;
