//! Builds JSON patches (RFC 6902) of applications, in the dialect that Argo CD's server has. Pure.
//!
//! `test` operations look at what the server has just read, so a patch refuses to overwrite what changed since we
//! looked. They are no compare-and-set: the server reads twice more before it writes.

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::model::{AppSource, Application, SourceAt};
use crate::overrides::claim::{Claim, ClaimState};
use crate::overrides::plan::AppPlan;
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
    let source = source_of(app, plan)?;
    let at = plan.source.pointer();
    guard_source(&mut ops, &at, source);
    let wanted: Vec<(&OverrideKey, &Value)> = plan
        .changes
        .iter()
        .filter(|change| !change.is_noop())
        .map(|change| (&change.key, &change.new))
        .collect();
    put(&mut ops, &at, source, &wanted);
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

fn source_of<'a>(app: &'a Application, plan: &AppPlan) -> Result<&'a AppSource, PatchError> {
    app.spec
        .sources()
        .get(plan.source)
        .ok_or_else(|| PatchError(format!("source {} is gone", plan.source_name)))
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
    let (at, source) = claimed_source(app, claim)?;
    guard_source(&mut ops, &at, source);
    let mut wanted: Vec<(&OverrideKey, &Value)> = Vec::new();
    for change in &claim.changes {
        stands(source, change)?;
        if change.old.as_ref().is_some_and(is_hidden) {
            return Err(PatchError(format!(
                "the claim does not keep what {} was, as its name says that it is a secret",
                change.key
            )));
        }
        wanted.push((&change.key, change.old.as_ref().unwrap_or(&Value::Null)));
    }
    put(&mut ops, &at, source, &wanted);
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
        let (at, source) = claimed_source(app, end)?;
        guard_source(&mut ops, &at, source);
        for change in &end.changes {
            stands(source, change)?;
            if let Occurrence::At(index, element) = find(source, &change.key) {
                ops.push(test(&place(&at, &change.key, index), element));
            }
        }
    }
    annotate(&mut ops, app, &end.annotation(), Some(&end.to_text()));
    Ok(order(ops))
}

/// Sets an annotation, or takes it away.
pub(crate) fn annotation(app: &Application, name: &str, text: Option<&str>) -> Vec<Value> {
    let mut ops = Vec::new();
    annotate(&mut ops, app, name, text);
    order(ops)
}

fn claimed_source<'a>(
    app: &'a Application,
    claim: &Claim,
) -> Result<(String, &'a AppSource), PatchError> {
    let source = app.spec.sources().get(claim.source);
    let gone = || PatchError("the source that was written to is gone".into());
    Ok((claim.source.pointer(), source.ok_or_else(gone)?))
}

fn stands(source: &AppSource, change: &ValueChange) -> Result<(), PatchError> {
    match find(source, &change.key) {
        Occurrence::At(_, element) if holds(element, &change.new) => Ok(()),
        Occurrence::Absent if change.new.is_null() => Ok(()),
        _ => Err(PatchError(format!("{} is not the one that was written", change.key))),
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
            ops.push(absent("/metadata/annotations"));
            ops.push(json!({ "op": "add", "path": "/metadata/annotations", "value": {} }));
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

/// JSON as Go's encoder writes it. The server compares scalars byte by byte with its own encoding, in which these five
/// characters are escaped (`encoding/json`, `HTMLEscape`). They can only occur inside strings.
pub(crate) fn go_json(value: &Value) -> String {
    let mut out = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", c as u32))
            }
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::request::AppRef;
    use crate::judge::plan::plan;
    use crate::overrides::claim::ANNOTATION;
    use crate::overrides::values::{OverrideValues, SourceChoice, SourceField};

    fn app(source: Value, annotations: Value) -> Application {
        let mut source = source;
        source["repoURL"] = json!("r");
        source["path"] = json!("c");
        serde_json::from_value(json!({
            "metadata": { "name": "a", "annotations": annotations },
            "spec": { "source": source },
        }))
        .unwrap()
    }

    fn claim(plan: &AppPlan) -> Claim {
        Claim {
            version: 1,
            environment: None,
            nonce: "n".into(),
            state: ClaimState::Open,
            release: "r<1>".into(),
            by: None,
            at: "2026-11-24T10:00:00Z".parse().unwrap(),
            deadline: "2026-11-24T10:10:00Z".parse().unwrap(),
            source: plan.source,
            changes: plan.changes.clone(),
            record: None,
            kept: None,
        }
    }

    /// The operations without the source's guards and without the claim's text.
    fn ops(patch: &[Value]) -> Vec<String> {
        patch
            .iter()
            .filter(|op| {
                !["/spec/source/repoURL", "/spec/source/path"]
                    .contains(&op["path"].as_str().unwrap())
            })
            .map(|op| {
                let is_claim =
                    op["path"].as_str().unwrap().ends_with("~1claim") && op["op"] == "add";
                let value = if is_claim { "(claim)".to_owned() } else { op["value"].to_string() };
                format!("{} {} {value}", op["op"].as_str().unwrap(), op["path"].as_str().unwrap())
            })
            .collect()
    }

    fn wanted(helm: &[(&str, &str)], kustomize: &[&str]) -> OverrideValues {
        OverrideValues {
            helm: helm.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            kustomize: kustomize.iter().map(|text| text.parse().unwrap()).collect(),
            ..OverrideValues::default()
        }
    }

    #[track_caller]
    fn check(app: &Application, wanted: &OverrideValues, want: &[&str]) {
        let plan = plan(&AppRef::new("a"), app, wanted).unwrap();
        assert_eq!(ops(&write(app, &plan, &claim(&plan)).unwrap()), want);
    }

    const T: &str = r#"{"forceString":true,"name":"t","value":"2"}"#;
    const ANN: &str = "/metadata/annotations";

    #[test]
    fn blocks_lists_and_elements_are_made_where_they_are_absent() {
        let fresh = [
            format!("test {ANN} null"),
            format!("add {ANN} {{}}"),
            format!("add {ANN}/verbatim.dev~1claim (claim)"),
        ];
        let with = |tests: &[&str], changes: &[&str]| {
            let mut want: Vec<String> = tests.iter().map(|s| (*s).to_owned()).collect();
            want.push(fresh[0].clone());
            want.extend(changes.iter().map(|s| (*s).to_owned()));
            want.extend_from_slice(&fresh[1..]);
            want
        };
        let helm = wanted(&[("t", "2")], &[]);
        let cases = [
            (
                json!({}),
                with(
                    &["test /spec/source/helm null"],
                    &[&format!("add /spec/source/helm {{\"parameters\":[{T}]}}")],
                ),
            ),
            (
                json!({ "helm": { "releaseName": "x" } }),
                with(
                    &["test /spec/source/helm/parameters null"],
                    &[&format!("add /spec/source/helm/parameters [{T}]")],
                ),
            ),
            (
                json!({ "helm": { "parameters": [{ "name": "x", "value": "1" }] } }),
                with(
                    &[r#"test /spec/source/helm/parameters [{"name":"x","value":"1"}]"#],
                    &[&format!("add /spec/source/helm/parameters/- {T}")],
                ),
            ),
            (
                json!({ "helm": { "parameters": [{ "name": "x" }, { "name": "t", "value": "1" }] } }),
                with(
                    &[r#"test /spec/source/helm/parameters/1 {"name":"t","value":"1"}"#],
                    &[&format!("replace /spec/source/helm/parameters/1 {T}")],
                ),
            ),
        ];
        for (source, want) in cases {
            let want: Vec<&str> = want.iter().map(String::as_str).collect();
            check(&app(source, Value::Null), &helm, &want);
        }
    }

    #[test]
    fn kustomize_images_are_replaced_by_name_and_added_otherwise() {
        let source = json!({ "kustomize": { "images": ["h:5000/web:1", "h:5000/api:1"] } });
        check(
            &app(source, json!({ "x": "1" })),
            &wanted(&[], &["h:5000/api:2", "h:5000/job:2"]),
            &[
                r#"test /spec/source/kustomize/images/1 "h:5000/api:1""#,
                r#"test /spec/source/kustomize/images ["h:5000/web:1","h:5000/api:1"]"#,
                "test /metadata/annotations/verbatim.dev~1claim null",
                r#"replace /spec/source/kustomize/images/1 "h:5000/api:2""#,
                r#"add /spec/source/kustomize/images/- "h:5000/job:2""#,
                "add /metadata/annotations/verbatim.dev~1claim (claim)",
            ],
        );
    }

    #[test]
    fn values_that_stand_already_are_claimed_and_not_written() {
        let parameters = json!([{ "name": "t", "value": "2", "forceString": true }]);
        check(
            &app(json!({ "helm": { "parameters": parameters } }), json!({ ANNOTATION: "old" })),
            &wanted(&[("t", "2")], &[]),
            &[
                r#"test /metadata/annotations/verbatim.dev~1claim "old""#,
                "add /metadata/annotations/verbatim.dev~1claim (claim)",
            ],
        );
    }

    #[test]
    fn several_sources_are_addressed_by_index_and_guarded() {
        let source = json!({ "repoURL": "r", "chart": "c", "helm": {} });
        let app: Application = serde_json::from_value(json!({
            "spec": { "sources": [{ "repoURL": "v", "ref": "values" }, source] },
            "status": { "sourceTypes": ["", "Helm"] },
        }))
        .unwrap();
        let plan = plan(&AppRef::new("a"), &app, &wanted(&[("t", "2")], &[])).unwrap();
        let patch = ops(&write(&app, &plan, &claim(&plan)).unwrap());
        assert!(patch.contains(&r#"test /spec/sources/1/repoURL "r""#.to_owned()), "{patch:?}");
        assert!(patch.contains(&r#"test /spec/sources/1/chart "c""#.to_owned()), "{patch:?}");
        assert!(patch.contains(&format!("add /spec/sources/1/helm/parameters [{T}]")), "{patch:?}");
    }

    /// The run that replaced a secret puts it back; a later one has only the claim, which does not keep it.
    #[test]
    fn a_secret_is_put_back_by_the_run_that_replaced_it_alone() {
        let before =
            json!({ "helm": { "parameters": [{ "name": "dbPassword", "value": "hunter2" }] } });
        let app_before = app(before, json!({ "x": "1" }));
        let values = wanted(&[("dbPassword", "hunter3")], &[]);
        let plan = plan(&AppRef::new("a"), &app_before, &values).unwrap();
        let ours = claim(&plan);
        assert!(!ours.to_text().contains("hunter"), "{}", ours.to_text());
        let written = ops(&write(&app_before, &plan, &ours).unwrap());
        assert!(written.iter().any(|op| op.contains("replace") && op.contains("hunter3")));
        let after = app(
            json!({ "helm": { "parameters": [{ "name": "dbPassword", "value": "hunter3", "forceString": true }] } }),
            json!({ ANNOTATION: ours.to_text() }),
        );
        let undone = ops(&undo(&after, &ours).unwrap());
        assert!(undone.iter().any(|op| op.contains("replace") && op.contains("hunter2")));
        let later: Claim = serde_json::from_str(&ours.to_text()).unwrap();
        assert_eq!(
            undo(&after, &later).unwrap_err().to_string(),
            "the claim does not keep what helm:dbPassword was, as its name says that it is a secret"
        );
        // Whether it is still there is known by its name alone.
        assert!(close(&after, &later.in_state(ClaimState::Done)).is_ok());
    }

    /// Two sources of one chart, at two versions: after they have changed places, the patch tests other things, and the plan
    /// is another one.
    #[test]
    fn two_sources_of_one_chart_are_told_apart() {
        let old = json!({ "repoURL": "r", "chart": "c", "targetRevision": "1.0.0" });
        let mut new = json!({ "repoURL": "r", "chart": "c", "targetRevision": "2.0.0" });
        new["helm"] = json!({ "releaseName": "b" });
        let app = |sources: [&Value; 2]| -> Application {
            serde_json::from_value(json!({
                "spec": { "sources": sources }, "status": { "sourceTypes": ["Helm", "Helm"] },
            }))
            .unwrap()
        };
        let before = app([&old, &new]);
        let mut values = wanted(&[("t", "2")], &[]);
        values.source = SourceChoice::Position(2);
        let planned = plan(&AppRef::new("a"), &before, &values).unwrap();
        assert_eq!(planned.source_name, "r c (targetRevision 2.0.0, releaseName b)");
        let patch = ops(&write(&before, &planned, &claim(&planned)).unwrap());
        for test in [
            r#"test /spec/sources/1/targetRevision "2.0.0""#,
            r#"test /spec/sources/1/helm/releaseName "b""#,
            "test /spec/sources/1/helm/valueFiles null",
            "test /spec/sources/1/name null",
        ] {
            assert!(patch.contains(&test.to_owned()), "{test}: {patch:?}");
        }
        let after = plan(&AppRef::new("a"), &app([&new, &old]), &values).unwrap();
        assert_eq!(
            after.differences(&planned),
            ["source r c (targetRevision 1.0.0) was r c (targetRevision 2.0.0, releaseName b)"]
        );
    }

    #[test]
    fn text_is_escaped_as_go_does_it() {
        let parameters = json!([{ "name": "t", "value": "a<b&c>d\u{2028}é\"\\" }]);
        let app = app(json!({ "helm": { "parameters": parameters } }), Value::Null);
        let plan = plan(&AppRef::new("a"), &app, &wanted(&[("t", "2")], &[])).unwrap();
        let patch = go_json(&Value::Array(write(&app, &plan, &claim(&plan)).unwrap()));
        assert!(patch.contains(r#""value":"a\u003cb\u0026c\u003ed\u2028é\"\\""#), "{patch}");
        assert!(!patch.contains(['<', '>', '&']), "{patch}");
        let read: Value = serde_json::from_str(&patch).unwrap();
        assert!(
            read.as_array()
                .unwrap()
                .iter()
                .any(|op| op["value"]["value"] == "a<b&c>d\u{2028}é\"\\")
        );
    }

    #[test]
    fn undo_puts_back_what_stood_there_and_only_over_our_own_values() {
        let before =
            json!({ "helm": { "parameters": [{ "name": "a", "value": "1" }, { "name": "z" }] } });
        let wanted = wanted(&[("a", "2"), ("b", "2"), ("c", "2")], &[]);
        let app_before = app(before, json!({ "x": "1" }));
        let plan = plan(&AppRef::new("a"), &app_before, &wanted).unwrap();
        let claim = claim(&plan);
        let p = |name: &str| json!({ "name": name, "value": "2", "forceString": true });
        let after = |b: Value| {
            app(
                json!({ "helm": { "parameters": [p("a"), { "name": "z" }, b, p("c")] } }),
                json!({ ANNOTATION: claim.to_text() }),
            )
        };
        let got = ops(&undo(&after(p("b")), &claim).unwrap());
        let got: Vec<_> = got.iter().filter(|op| !op.starts_with("test")).collect();
        assert_eq!(
            got,
            [
                r#"replace /spec/source/helm/parameters/0 {"name":"a","value":"1"}"#,
                "remove /spec/source/helm/parameters/3 null",
                "remove /spec/source/helm/parameters/2 null",
                "add /metadata/annotations/verbatim.dev~1claim (claim)",
            ]
        );
        let changed = after(json!({ "name": "b", "value": "9" }));
        assert_eq!(
            undo(&changed, &claim),
            Err(PatchError("helm:b is not the one that was written".into()))
        );
    }

    #[test]
    fn values_are_taken_away_and_put_back_where_they_were_taken_from() {
        let source = json!({
            "targetRevision": "main",
            "helm": { "values": "a: 1", "parameters": [{ "name": "a" }, { "name": "b" }, { "name": "c" }] },
        });
        let unset = OverrideValues {
            others: [(OverrideKey::Field(SourceField::TargetRevision), json!("v2"))].into(),
            unset: [
                OverrideKey::Helm("a".into()),
                OverrideKey::Helm("c".into()),
                OverrideKey::Helm("never there".into()),
                OverrideKey::Field(SourceField::HelmValues),
                OverrideKey::Field(SourceField::HelmValuesObject),
            ]
            .into(),
            ..OverrideValues::default()
        };
        let before = app(source, json!({ "x": "1" }));
        let plan = plan(&AppRef::new("a"), &before, &unset).unwrap();
        let claim = claim(&plan);
        let changes = |patch: &[Value]| -> Vec<String> {
            let all = ops(patch);
            all.into_iter().filter(|op| !op.starts_with("test") && !op.contains("claim")).collect()
        };
        assert_eq!(
            changes(&write(&before, &plan, &claim).unwrap()),
            [
                "replace /spec/source/targetRevision \"v2\"",
                "remove /spec/source/helm/values null",
                "remove /spec/source/helm/parameters/2 null",
                "remove /spec/source/helm/parameters/0 null",
            ]
        );
        let after = app(
            json!({ "targetRevision": "v2", "helm": { "parameters": [{ "name": "b" }] } }),
            json!({ ANNOTATION: claim.to_text() }),
        );
        assert_eq!(
            changes(&undo(&after, &claim).unwrap()),
            [
                "replace /spec/source/targetRevision \"main\"",
                "add /spec/source/helm/parameters/- {\"name\":\"a\"}",
                "add /spec/source/helm/parameters/- {\"name\":\"c\"}",
                "add /spec/source/helm/values \"a: 1\"",
            ]
        );
    }

    #[test]
    fn the_end_of_a_run_is_written_over_what_was_compared() {
        let before = app(json!({ "helm": { "parameters": [] } }), json!({ "x": "1" }));
        let plan = plan(&AppRef::new("a"), &before, &wanted(&[("t", "2")], &[])).unwrap();
        let claim = claim(&plan);
        let after = |value: &str, annotations: Value| {
            let parameters = [json!({ "name": "t", "value": value, "forceString": true })];
            app(json!({ "helm": { "parameters": parameters } }), annotations)
        };
        let ours = json!({ ANNOTATION: claim.to_text() });
        let test =
            format!("test /metadata/annotations/verbatim.dev~1claim {}", json!(claim.to_text()));
        let end = "add /metadata/annotations/verbatim.dev~1claim (claim)".to_owned();
        let done = claim.in_state(ClaimState::Done);
        let value = format!("test /spec/source/helm/parameters/0 {T}");
        assert_eq!(
            ops(&close(&after("2", ours.clone()), &done).unwrap()),
            [value, test.clone(), end.clone()]
        );
        assert!(close(&after("3", ours.clone()), &done).is_err());
        // Without a proof it says nothing of the values.
        let failed = claim.in_state(ClaimState::Failed);
        assert_eq!(ops(&close(&after("3", ours), &failed).unwrap()), [test, end]);
        // A claim that somebody wiped is not written again.
        let undone = ops(&undo(&after("2", json!({ "x": "1" })), &claim).unwrap());
        assert_eq!(
            undone.iter().filter(|op| !op.starts_with("test")).collect::<Vec<_>>(),
            ["remove /spec/source/helm/parameters/0 null"]
        );
    }

    #[test]
    fn an_annotation_is_set_or_taken_away() {
        let with = |annotations: Value| app(json!({}), annotations);
        let set = |app: &Application, text| ops(&annotation(app, "a/b", text)).join("; ");
        let cases = [
            (
                json!({}),
                Some("x"),
                "test /metadata/annotations null; add /metadata/annotations {}; add /metadata/annotations/a~1b \"x\"",
            ),
            (
                json!({ "c": "1" }),
                Some("x"),
                "test /metadata/annotations/a~1b null; add /metadata/annotations/a~1b \"x\"",
            ),
            (
                json!({ "a/b": "y" }),
                Some("x"),
                "test /metadata/annotations/a~1b \"y\"; add /metadata/annotations/a~1b \"x\"",
            ),
            (
                json!({ "a/b": "y" }),
                None,
                "test /metadata/annotations/a~1b \"y\"; remove /metadata/annotations/a~1b null",
            ),
            (json!({ "c": "1" }), None, ""),
        ];
        for (before, text, want) in cases {
            assert_eq!(set(&with(before.clone()), text), want, "{before} {text:?}");
        }
    }

    #[test]
    fn everything_of_a_block_that_is_not_there_is_made_at_once() {
        let wanted = OverrideValues {
            helm: [("t".to_owned(), "2".to_owned())].into(),
            others: [
                (
                    OverrideKey::HelmFile("cert".into()),
                    json!({ "name": "cert", "path": "cert.pem" }),
                ),
                (OverrideKey::Field(SourceField::HelmValues), json!("a: 1")),
            ]
            .into(),
            ..OverrideValues::default()
        };
        let made = format!(
            r#"add /spec/source/helm {{"fileParameters":[{{"name":"cert","path":"cert.pem"}}],"parameters":[{T}],"values":"a: 1"}}"#
        );
        check(
            &app(json!({}), json!({ "x": "1" })),
            &wanted,
            &[
                "test /spec/source/helm null",
                "test /metadata/annotations/verbatim.dev~1claim null",
                &made,
                "add /metadata/annotations/verbatim.dev~1claim (claim)",
            ],
        );
    }
}
