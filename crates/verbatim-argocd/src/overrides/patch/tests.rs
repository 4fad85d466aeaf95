//! The patches that write, close and undo, applied to objects as a server would: no server.

use super::*;
use crate::api::request::{AppRef, go_json};
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
        environment: None,
        nonce: "n".into(),
        state: ClaimState::Open,
        release: "r<1>".into(),
        by: None,
        at: "2026-11-24T10:00:00Z".parse().unwrap(),
        deadline: "2026-11-24T10:10:00Z".parse().unwrap(),
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
            !["/spec/source/repoURL", "/spec/source/path"].contains(&op["path"].as_str().unwrap())
        })
        .map(|op| {
            let is_claim = op["path"].as_str().unwrap().ends_with("~1claim") && op["op"] == "add";
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
    assert_eq!(planned.sources[0].name, "r c (targetRevision 2.0.0, releaseName b)");
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

/// One patch writes into both sources, one puts back what was there, and neither does if one of the values is another.
#[test]
fn values_of_two_sources_are_written_and_put_back_together() {
    let source = |path: &str, tag: Option<&str>| {
        let parameters: Vec<Value> =
            tag.iter().map(|it| json!({ "name": "t", "value": it })).collect();
        json!({ "repoURL": "r", "path": path, "helm": { "parameters": parameters } })
    };
    let app = |tags: [Option<&str>; 2]| -> Application {
        let sources = [source("a", tags[0]), source("b", tags[1])];
        serde_json::from_value(json!({
            "metadata": { "name": "a" },
            "spec": { "sources": sources }, "status": { "sourceTypes": ["Helm", "Helm"] },
        }))
        .unwrap()
    };
    let of = |position| OverrideValues {
        source: SourceChoice::Position(position),
        ..wanted(&[("t", "2")], &[])
    };
    let values = OverrideValues { elsewhere: vec![of(2)], ..of(1) };
    let before = app([Some("1"), None]);
    let planned = plan(&AppRef::new("a"), &before, &values).unwrap();
    let claim = claim(&planned);
    let operations = write(&before, &planned, &claim).unwrap();
    let first_change = operations.iter().position(|op| op["op"] != "test").unwrap();
    assert!(operations[first_change..].iter().all(|op| op["op"] != "test"), "{operations:?}");
    for test in [
        r#"test /spec/sources/0/path "a""#,
        r#"test /spec/sources/1/path "b""#,
        r#"test /spec/sources/0/helm/parameters/0 {"name":"t","value":"1"}"#,
        "test /spec/sources/1/helm/parameters []",
    ] {
        assert!(ops(&operations).contains(&test.to_owned()), "{test}: {operations:?}");
    }
    let after = applied(&before, &operations);
    let tags = |app: &Application| -> Vec<Vec<Value>> {
        let sources = app.spec.sources();
        sources.iter().map(|(_, source)| source.helm_parameters().to_vec()).collect()
    };
    let t: Value = serde_json::from_str(T).unwrap();
    assert_eq!(tags(&after), [vec![t.clone()], vec![t]]);
    let found = crate::overrides::claim::read_claim(&after, None);
    let found = found.known().unwrap();
    assert_eq!(found, &claim);
    assert_eq!(tags(&applied(&after, &undo(&after, found).unwrap())), tags(&before));
    assert!(close(&after, &found.in_state(ClaimState::Done)).is_ok());
    // Somebody wrote another value into the second one.
    let nine = json!([{ "op": "replace", "path": "/spec/sources/1/helm/parameters/0/value", "value": "9" }]);
    let other = applied(&after, nine.as_array().unwrap());
    let error = undo(&other, found).unwrap_err().to_string();
    assert_eq!(error, "helm:t of source 2 is not the one that was written");
    assert!(close(&other, &found.in_state(ClaimState::Done)).is_err());
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
        read.as_array().unwrap().iter().any(|op| op["value"]["value"] == "a<b&c>d\u{2028}é\"\\")
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
    let test = format!("test /metadata/annotations/verbatim.dev~1claim {}", json!(claim.to_text()));
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
    let set = |app: &Application, text: Option<&str>| {
        let wanted = BTreeMap::from([("a/b".to_owned(), text.map(str::to_owned))]);
        ops(&annotations(app, &wanted)).join("; ")
    };
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
    // The block for two is made once.
    let two = ["a", "b"].map(|name| (name.to_owned(), Some("x".to_owned())));
    assert_eq!(
        ops(&annotations(&with(json!({})), &BTreeMap::from(two))),
        [
            "test /metadata/annotations null",
            "add /metadata/annotations {}",
            "add /metadata/annotations/a \"x\"",
            "add /metadata/annotations/b \"x\"",
        ]
    );
}

#[test]
fn everything_of_a_block_that_is_not_there_is_made_at_once() {
    let wanted = OverrideValues {
        helm: [("t".to_owned(), "2".to_owned())].into(),
        others: [
            (OverrideKey::HelmFile("cert".into()), json!({ "name": "cert", "path": "cert.pem" })),
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
