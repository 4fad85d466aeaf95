//! Builds JSON patches (RFC 6902) of applications, in the dialect that Argo CD's server has. Pure.
//!
//! `test` operations look at what the server has just read, so a patch refuses to overwrite what changed since we
//! looked. They are no compare-and-set: the server reads twice more before it writes.

use serde_json::{Value, json};

use crate::claim::{ANNOTATION, Claim, State};
use crate::model::{Application, Source};
use crate::plan::Plan;
use crate::values::{Change, Found, find, list, same_element};

/// Why no patch can be built: the application is not as planned any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Moved(pub String);

/// Writes the claim and the values of the plan. `app` is the state that the plan was made from.
pub fn write(app: &Application, plan: &Plan, claim: &Claim) -> Result<String, Moved> {
    let mut ops = Vec::new();
    let source = source_of(app, plan)?;
    let at = plan.source.pointer();
    guard_source(&mut ops, &at, source);
    for change in plan.changes.iter().filter(|change| !change.is_noop()) {
        if let Found::At(index, element) = find(source, &change.key) {
            let path = format!("{at}{}/{index}", change.key.list());
            ops.push(test(&path, element));
            ops.push(json!({ "op": "replace", "path": path, "value": change.new }));
        }
    }
    for prefix in ["/helm/parameters", "/kustomize/images"] {
        let missing: Vec<&Change> = plan
            .changes
            .iter()
            .filter(|change| {
                change.key.list() == prefix && find(source, &change.key) == Found::Absent
            })
            .collect();
        if let Some(first) = missing.first() {
            add(&mut ops, &at, source, prefix, list(source, &first.key), &missing);
        }
    }
    annotate(&mut ops, app, claim);
    Ok(go_json(&Value::Array(order(ops))))
}

/// All tests go first: they are about the state before the patch, and an earlier change would shift what they see.
fn order(ops: Vec<Value>) -> Vec<Value> {
    let (tests, changes): (Vec<_>, Vec<_>) = ops.into_iter().partition(|op| op["op"] == "test");
    tests.into_iter().chain(changes).collect()
}

fn source_of<'a>(app: &'a Application, plan: &Plan) -> Result<&'a Source, Moved> {
    app.spec
        .sources()
        .get(plan.source)
        .ok_or_else(|| Moved(format!("source {} is gone", plan.source_name)))
}

/// The place of a source among several is only good as long as it is the same source.
fn guard_source(ops: &mut Vec<Value>, at: &str, source: &Source) {
    for field in ["repoURL", "path", "chart"] {
        if let Some(value) = source.0.get(field) {
            ops.push(test(&format!("{at}/{field}"), value));
        }
    }
}

/// Appends elements to a list, making it and its block first where they are absent. Nobody else may have added one
/// with the same name meanwhile: the whole list is tested.
fn add(
    ops: &mut Vec<Value>,
    at: &str,
    source: &Source,
    prefix: &str,
    list: &[Value],
    missing: &[&Change],
) {
    let elements: Vec<&Value> = missing.iter().map(|change| &change.new).collect();
    let (block, field) = prefix[1..].split_once('/').unwrap_or_default();
    let (block_path, list_path) = (format!("{at}/{block}"), format!("{at}{prefix}"));
    if !source.has(&format!("/{block}")) {
        ops.push(absent(&block_path));
        ops.push(json!({ "op": "add", "path": block_path, "value": { field: elements } }));
    } else if !source.has(prefix) {
        ops.push(absent(&list_path));
        ops.push(json!({ "op": "add", "path": list_path, "value": elements }));
    } else {
        ops.push(test(&list_path, &Value::Array(list.to_vec())));
        for element in elements {
            ops.push(json!({ "op": "add", "path": format!("{list_path}/-"), "value": element }));
        }
    }
}

/// Puts the values back that a claim says stood there before. Only where ours still stand.
pub fn undo(app: &Application, claim: &Claim) -> Result<String, Moved> {
    let source = app
        .spec
        .sources()
        .get(claim.source)
        .ok_or_else(|| Moved("the source that was written to is gone".into()))?;
    let at = claim.source.pointer();
    let mut ops = Vec::new();
    guard_source(&mut ops, &at, source);
    let mut removals = Vec::new();
    for change in &claim.changes {
        let prefix = change.key.list();
        match find(source, &change.key) {
            Found::At(index, element) if same_element(element, &change.new) => {
                let path = format!("{at}{prefix}/{index}");
                ops.push(test(&path, element));
                match &change.old {
                    Some(old) => ops.push(json!({ "op": "replace", "path": path, "value": old })),
                    None => removals.push((prefix, index)),
                }
            }
            _ => return Err(Moved(format!("{} is not the one that was written", change.key))),
        }
    }
    // From the end, so that the remaining indexes stay right.
    removals.sort_by(|a, b| b.cmp(a));
    for (prefix, index) in removals {
        ops.push(json!({ "op": "remove", "path": format!("{at}{prefix}/{index}") }));
    }
    annotate(&mut ops, app, &claim.in_state(State::Undone));
    Ok(go_json(&Value::Array(order(ops))))
}

/// Replaces the claim, where it still is the one that we know.
pub fn close(app: &Application, claim: &Claim) -> String {
    let mut ops = Vec::new();
    annotate(&mut ops, app, claim);
    go_json(&Value::Array(order(ops)))
}

fn annotate(ops: &mut Vec<Value>, app: &Application, claim: &Claim) {
    let path =
        format!("/metadata/annotations/{}", ANNOTATION.replace('~', "~0").replace('/', "~1"));
    if app.metadata.annotations.is_empty() {
        ops.push(absent("/metadata/annotations"));
        ops.push(json!({ "op": "add", "path": "/metadata/annotations", "value": {} }));
    } else {
        match app.metadata.annotations.get(ANNOTATION) {
            Some(text) => ops.push(test(&path, &json!(text))),
            None => ops.push(absent(&path)),
        }
    }
    ops.push(json!({ "op": "add", "path": path, "value": claim.to_text() }));
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
fn go_json(value: &Value) -> String {
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
    use crate::plan::plan;
    use crate::request::AppRef;
    use crate::values::Override;

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

    fn claim(plan: &Plan) -> Claim {
        Claim {
            version: 1,
            nonce: "n".into(),
            state: State::Open,
            release: "r<1>".into(),
            by: None,
            at: "2026-11-24T10:00:00Z".parse().unwrap(),
            deadline: "2026-11-24T10:10:00Z".parse().unwrap(),
            source: plan.source,
            changes: plan.changes.clone(),
            record: None,
        }
    }

    /// The operations without the source's guards and without the claim's text.
    fn ops(patch: &str) -> Vec<String> {
        let ops: Vec<Value> = serde_json::from_str(patch).unwrap();
        ops.iter()
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

    fn wanted(helm: &[(&str, &str)], kustomize: &[&str]) -> Override {
        Override {
            helm: helm.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            kustomize: kustomize.iter().map(|text| text.parse().unwrap()).collect(),
            ..Override::default()
        }
    }

    #[track_caller]
    fn check(app: &Application, wanted: &Override, want: &[&str]) {
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

    #[test]
    fn text_is_escaped_as_go_does_it() {
        let parameters = json!([{ "name": "t", "value": "a<b&c>d\u{2028}é\"\\" }]);
        let app = app(json!({ "helm": { "parameters": parameters } }), Value::Null);
        let plan = plan(&AppRef::new("a"), &app, &wanted(&[("t", "2")], &[])).unwrap();
        let patch = write(&app, &plan, &claim(&plan)).unwrap();
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
            Err(Moved("helm:b is not the one that was written".into()))
        );
    }
}
