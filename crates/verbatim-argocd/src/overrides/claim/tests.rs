//! What a claim keeps and how it is read again: cases of the claim alone, no server.

use serde_json::{Value, json};

use super::*;
use crate::model::SourceAt;
use crate::overrides::values::OverrideKey;

fn change(key: &str, old: Option<&str>, new: Option<&str>) -> ValueChange {
    let element = |value: &str| json!({ "name": key, "value": value, "forceString": true });
    ValueChange {
        source: SourceAt::Single,
        key: OverrideKey::Helm(key.into()),
        old: old.map(element),
        new: new.map(element).unwrap_or_default(),
    }
}

fn tag(old: Option<&str>, new: &str) -> ValueChange {
    change("image.tag", old, Some(new))
}

fn claim(environment: Option<&str>, state: ClaimState) -> Claim {
    Claim {
        environment: environment.map(str::to_owned),
        nonce: "n".into(),
        state,
        release: "r1".into(),
        by: None,
        at: "2026-11-24T10:00:00Z".parse().unwrap(),
        deadline: "2026-11-24T10:10:00Z".parse().unwrap(),
        changes: vec![tag(Some("1"), "2")],
        record: None,
        kept: None,
    }
}

/// An application with these claims, whose tag is `2`.
fn app(claims: &[Claim]) -> Application {
    let annotations: serde_json::Map<String, Value> = claims
        .iter()
        .map(|claim| (claim_annotation(claim.environment.as_deref()), claim.to_text().into()))
        .collect();
    let parameters = [&tag(None, "2").new];
    serde_json::from_value(json!({
        "metadata": { "annotations": annotations },
        "spec": { "source": { "repoURL": "r", "helm": { "parameters": parameters } } },
    }))
    .unwrap()
}

fn word(standing: &ClaimStanding) -> &'static str {
    match standing {
        ClaimStanding::Free => "free",
        ClaimStanding::Resume(_) => "resume",
        ClaimStanding::TakeOver(_) => "take over",
        ClaimStanding::Held(_) => "held",
        ClaimStanding::Unreadable => "unreadable",
    }
}

const EARLY: &str = "2026-11-24T10:05:00Z";
const LATE: &str = "2026-11-24T10:10:01Z";

#[test]
fn claims_are_judged() {
    use ClaimState::{Done, Failed, Open, Undone};
    let (ours, other) = (Some("shop/prod"), Some("blog/prod"));
    let of = |environment, state| vec![claim(environment, state)];
    let (none, some) = (Vec::new(), of(ours, Open));
    let mut later = of(ours, Open);
    later[0].changes = vec![tag(Some("1"), "3")];
    let mut elsewhere = of(other, Open);
    elsewhere[0].changes = vec![change("other.tag", Some("1"), None)];
    // The claims, the release and the value that are wanted, when, whether by `--take-over`.
    let cases = [
        (&none, "r2", "3", EARLY, false, "free"),
        (&of(ours, Done), "r2", "3", EARLY, false, "free"),
        (&of(ours, Undone), "r2", "3", EARLY, false, "free"),
        (&of(ours, Failed), "r2", "3", EARLY, false, "free"),
        (&some, "r2", "3", EARLY, false, "held"),
        (&some, "r2", "3", LATE, false, "take over"),
        (&some, "r2", "3", EARLY, true, "take over"),
        (&some, "r1", "2", EARLY, false, "resume"),
        // The same release with other values is not the same work.
        (&some, "r1", "3", EARLY, false, "held"),
        // A claim without its values is one that somebody has overridden.
        (&later, "r2", "3", EARLY, false, "free"),
        // Another environment, or a run that belongs to none, is at work on the same value.
        (&of(other, Open), "r1", "2", EARLY, false, "held"),
        (&of(None, Open), "r1", "2", EARLY, false, "held"),
        (&of(None, Open), "r1", "2", LATE, false, "take over"),
        // And on another one.
        (&elsewhere, "r2", "3", EARLY, false, "free"),
    ];
    for (claims, release, value, now, take_over, want) in cases {
        let changes = [tag(None, value)];
        let claimant = Claimant {
            environment: ours,
            release,
            changes: &changes,
            take_over,
            now: now.parse().unwrap(),
        };
        let got = claimant.standing(&app(claims));
        assert_eq!(word(&got), want, "{claims:?} {release} {value} {now} {take_over}");
    }
}

#[test]
fn a_claim_that_cannot_be_read_holds_its_own_environment() {
    let mut app = app(&[]);
    let later = claim(Some("shop/prod"), ClaimState::Open);
    let text = later.to_text().replace("\"version\":1", "\"version\":3");
    app.metadata.annotations.insert(later.annotation(), text);
    let changes = [tag(None, "3")];
    for (environment, take_over, want) in [
        ("shop/prod", false, "unreadable"),
        ("shop/prod", true, "free"),
        ("blog/prod", false, "free"),
    ] {
        let claimant = Claimant {
            environment: Some(environment),
            release: "r2",
            changes: &changes,
            take_over,
            now: LATE.parse().unwrap(),
        };
        assert_eq!(word(&claimant.standing(&app)), want, "{environment} {take_over}");
    }
}

#[test]
fn the_values_before_a_run_without_proof_are_the_ones_to_go_back_to() {
    let of = |state| vec![claim(None, state)];
    let cases = [
        // The dead run's value still stands: go back to the one before it.
        (of(ClaimState::Open), "2", Some("1")),
        // Somebody changed it since: that one counts.
        (of(ClaimState::Open), "9", Some("9")),
        (Vec::new(), "2", Some("2")),
    ];
    for (unproven, stands, want) in cases {
        let changes = with_previous(vec![tag(Some(stands), "3")], &unproven);
        assert_eq!(changes, [tag(want, "3")], "{unproven:?} {stands}");
    }
    let changes = [tag(Some("2"), "3")];
    let claimant = Claimant {
        environment: None,
        release: "r2",
        changes: &changes,
        take_over: false,
        now: EARLY.parse().unwrap(),
    };
    let unproven = |state| claimant.unproven(&app(&of(state))).len();
    let (open, failed) = (unproven(ClaimState::Open), unproven(ClaimState::Failed));
    assert_eq!((open, failed, unproven(ClaimState::Done)), (1, 1, 0));
}

#[test]
fn what_a_run_without_proof_wrote_beside_the_plan_is_put_back() {
    let dead = Claim {
        changes: vec![
            tag(Some("1"), "2"),
            change("digest", Some("old"), Some("new")),
            change("note", None, Some("x")),
            change("gone", Some("y"), None),
            change("same", Some("z"), Some("z")),
        ],
        ..claim(None, ClaimState::Open)
    };
    let plan = AppPlan {
        app: crate::api::request::AppRef::new("a"),
        sources: Vec::new(),
        changes: vec![tag(Some("2"), "3")],
    };
    let found = leftovers(&plan, std::slice::from_ref(&dead));
    assert_eq!(
        found,
        [
            change("digest", Some("new"), Some("old")),
            change("note", Some("x"), None),
            change("gone", None, Some("y")),
        ]
    );
    // The run that does it can be resumed, and puts nothing forth again.
    let mut changes = plan.changes.clone();
    changes.extend(found);
    let ours = Claim {
        nonce: "m".into(),
        release: "r2".into(),
        changes: with_previous(changes, &[dead]),
        ..claim(None, ClaimState::Open)
    };
    assert_eq!(leftovers(&plan, std::slice::from_ref(&ours)), []);
    let claimant = Claimant {
        environment: None,
        release: "r2",
        changes: &plan.changes,
        take_over: false,
        now: EARLY.parse().unwrap(),
    };
    assert!(claimant.does_the_same(&ours));
}

/// Somebody may have changed a value since, and that change is not put back.
#[test]
fn of_what_a_run_without_proof_wrote_only_what_still_stands_is_put_back() {
    let dead = Claim {
        changes: vec![
            tag(Some("1"), "2"),
            change("digest", Some("old"), Some("new")),
            change("note", None, Some("x")),
        ],
        ..claim(None, ClaimState::Failed)
    };
    let mut object = serde_json::to_value(app(&[]).spec.whole()).unwrap();
    let theirs =
        [tag(None, "2"), change("digest", None, Some("theirs")), change("note", None, Some("x"))];
    object["source"]["helm"]["parameters"] = theirs.iter().map(|it| it.new.clone()).collect();
    let annotations = json!({ ANNOTATION: dead.to_text() });
    let app: Application = serde_json::from_value(
        json!({ "metadata": { "annotations": annotations }, "spec": object }),
    )
    .unwrap();
    let plan = AppPlan {
        app: crate::api::request::AppRef::new("a"),
        sources: Vec::new(),
        changes: vec![tag(Some("2"), "3")],
    };
    let claimant = Claimant {
        environment: None,
        release: "r2",
        changes: &plan.changes,
        take_over: false,
        now: EARLY.parse().unwrap(),
    };
    let found = leftovers(&plan, &claimant.unproven(&app));
    assert_eq!(found, [change("note", Some("x"), None)]);
}

#[test]
fn a_claim_that_kubernetes_would_not_store_is_known_before() {
    let ours = claim(None, ClaimState::Open);
    let with = |name: &str, length: usize| {
        let mut app = app(&[]);
        app.metadata.annotations.insert(name.into(), "x".repeat(length));
        ours.excess(&app)
    };
    assert_eq!(with("other", 200 << 10), None);
    assert!(with("other", 255 << 10).is_some_and(|bytes| bytes > MAX_ANNOTATIONS));
    // It takes the place of the one before it.
    assert_eq!(with(ANNOTATION, 255 << 10), None);
    let large = tag(Some(&"x".repeat(130 << 10)), &"y".repeat(130 << 10));
    let large = Claim { changes: vec![large], ..ours.clone() };
    assert!(large.excess(&app(&[])).is_some());
}

#[test]
fn each_environment_has_a_claim_of_its_own() {
    let long = format!("shop/{}", "p".repeat(60));
    for (environment, want) in [
        (None, "verbatim.dev/claim"),
        (Some("shop/prod"), "verbatim.dev/claim.shop.prod"),
        (Some("shop/eu.west"), "verbatim.dev/claim.shop.eu.west"),
        // There could be a project `shop` with an environment `eu.west`.
        (Some("shop.eu/west"), "verbatim.dev/claim-"),
        (Some("shop/prod-"), "verbatim.dev/claim-"),
        (Some(long.as_str()), "verbatim.dev/claim-"),
    ] {
        let name = claim_annotation(environment);
        assert!(is_claim(&name), "{name}");
        let hashed = name.starts_with("verbatim.dev/claim-");
        assert_eq!(hashed, want.starts_with("verbatim.dev/claim-"), "{name}");
        assert!(hashed || name == want, "{name}");
        assert!(name.len() <= "verbatim.dev/".len() + MAX_NAME, "{name}");
    }
    assert!(!is_claim("verbatim.dev/claims"));
    let both = app(&[
        claim(Some("shop/prod"), ClaimState::Open),
        claim(Some("blog/prod"), ClaimState::Done),
    ]);
    assert_eq!(read_claims(&both).len(), 2);
    assert_eq!(read_claim(&both, None), ClaimOnApp::Absent);
    let blog = read_claim(&both, Some("blog/prod"));
    assert_eq!(blog.known().map(|claim| claim.state), Some(ClaimState::Done));
    // One that was copied to another place counts nowhere.
    let mut copied = app(&[]);
    let text = claim(Some("shop/prod"), ClaimState::Open).to_text();
    copied.metadata.annotations.insert(claim_annotation(Some("blog/prod")), text);
    assert!(matches!(read_claim(&copied, Some("blog/prod")), ClaimOnApp::Foreign(_)));
    assert_eq!(read_claims(&copied), []);
}

#[test]
fn a_claim_survives_its_annotation() {
    let claim = claim(None, ClaimState::Open);
    let mut app = Application::default();
    assert_eq!(read_claim(&app, None), ClaimOnApp::Absent);
    let finished_at = "2026-11-24T10:00:00.123456789Z".parse().unwrap();
    let statement = PendingRecord::Statement { digest: Digest::of(b"s"), finished_at };
    for kept in [None, Some(PendingRecord::Record(Digest::of(b"r"))), Some(statement)] {
        let claim = Claim { kept, ..claim.clone() };
        app.metadata.annotations.insert(ANNOTATION.into(), claim.to_text());
        assert_eq!(read_claim(&app, None), ClaimOnApp::Known(Box::new(claim)));
    }
    // What a later version adds does not make it unreadable.
    let mut later = serde_json::to_value(&claim).unwrap();
    later["waves"] = json!(3);
    app.metadata.annotations.insert(ANNOTATION.into(), later.to_string());
    assert_eq!(read_claim(&app, None), ClaimOnApp::Known(Box::new(claim)));
    // Of another version, or in the place of another environment's, nothing in it is believed.
    for (field, value) in [("version", json!(2)), ("environment", json!("shop/dev"))] {
        let mut other = later.clone();
        other[field] = value;
        app.metadata.annotations.insert(ANNOTATION.into(), other.to_string());
        assert!(matches!(read_claim(&app, None), ClaimOnApp::Foreign(_)), "{field}");
        assert_eq!(read_claims(&app), [], "{field}");
    }
}
