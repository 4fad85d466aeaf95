//! `when`: a condition of the team's own holds.

use serde::Serialize;
use serde_json::{Map, Value, json};
use verbatim_record::{GateEvidence, Records, Verified};

use super::Finding;
use crate::condition::{Condition, Variables};
use crate::decision::Reason;
use crate::facts::{Facts, LiveReading};

/// What conditions may use, besides `now`.
pub const WHEN_VARIABLES: &[&str] =
    &["release", "environment", "records", "live", "applications", "run"];

pub(super) fn judge(condition: &Condition, facts: &Facts) -> Finding {
    let variables = match variables(condition, facts) {
        Ok(variables) => variables,
        Err((what, cause)) => return Finding::unreadable(what, &cause),
    };
    let evidence = vec![GateEvidence { record: None, text: condition.to_string() }];
    match condition.holds(&variables, facts.now) {
        Ok(true) => Finding::pass(Reason::Holds, "holds".to_owned(), evidence),
        Ok(false) => Finding::refuse(
            Reason::DoesNotHold,
            "does not hold".to_owned(),
            evidence,
            "meet the condition, or change the policy".to_owned(),
        ),
        Err(error) => Finding::refuse(
            Reason::NoAnswer { cause: error.to_string() },
            format!("cannot be evaluated: {error}"),
            evidence,
            "check that fields are there with `has(…)` first, or change the policy".to_owned(),
        ),
    }
}

/// The values of the variables that the condition uses; or what could not be read.
fn variables(condition: &Condition, facts: &Facts) -> Result<Variables, (&'static str, String)> {
    let mut variables = Variables::new();
    for name in condition.variables() {
        let value = match name.as_str() {
            "release" => release(facts)?,
            "environment" => {
                json!({ "project": facts.environment.project(), "name": facts.environment.name() })
            }
            "records" => match &facts.records {
                Ok(records) => all(records),
                Err(cause) => return Err(("the records of the release", cause.clone())),
            },
            "live" => live(facts),
            "applications" => facts.applications.clone(),
            "run" => json!(facts.run),
            _ => continue,
        };
        variables.insert(name.clone(), value);
    }
    Ok(variables)
}

fn release(facts: &Facts) -> Result<Value, (&'static str, String)> {
    let labels = match &facts.labels {
        Ok(labels) => labels,
        Err(cause) => return Err(("the labels of the release", cause.clone())),
    };
    let build = facts.records.as_ref().ok().and_then(|records| records.builds.last());
    let source = build.and_then(|build| build.predicate().source()).unwrap_or_default();
    let images: Map<String, Value> =
        labels.iter().map(|(name, labels)| (name.clone(), json!({ "labels": labels }))).collect();
    let mut release =
        json!({ "digest": facts.release, "images": images, "rollback": facts.is_rollback });
    // With several images it is not clear whose labels are meant, so a condition on them has no answer, not even one
    // that wants no label.
    let mut labels = labels.values();
    if let (Some(only), None) = (labels.next(), labels.next()) {
        release["labels"] = json!(only);
    }
    // What is not known is left out, so that a condition on it is no yes.
    for (name, value) in [
        ("repository", source.repository),
        ("commit", source.commit),
        ("branch", source.branch),
        ("tag", source.tag),
        ("builtAt", build.and_then(|build| Some(build.recorded_at()?.to_string()))),
        ("builder", build.map(|build| build.predicate().run_details.builder.id.clone())),
    ] {
        if let Some(value) = value {
            release[name] = value.into();
        }
    }
    Ok(release)
}

fn all(records: &Records) -> Value {
    json!({
        "builds": list(&records.builds),
        "tests": list(&records.tests),
        "promotions": list(&records.promotions),
        "approvals": list(&records.approvals),
        "vetoes": list(&records.vetoes),
        "attestations": list(&records.attestations),
    })
}

fn list<P: Serialize>(records: &[Verified<P>]) -> Vec<Value> {
    let entry = |record: &Verified<P>| {
        let mut entry = json!({
            "record": record.record(),
            "predicateType": record.statement().predicate_type,
            "predicate": record.predicate(),
            "signedBy": record.signed_by(),
            "roles": record.signer().roles,
        });
        if let Some(at) = record.recorded_at() {
            entry["at"] = at.to_string().into();
        }
        if let Some(environment) = record.environment() {
            entry["environment"] = environment.name().into();
        }
        entry
    };
    records.iter().map(entry).collect()
}

/// By the name of the environment. One that could not be looked at is left out.
fn live(facts: &Facts) -> Value {
    let seen = facts.live.iter().filter_map(|(id, live)| {
        let mut entry = match live {
            LiveReading::Running(digest) => json!({ "running": digest }),
            LiveReading::Differs(seen) => json!({ "running": "", "seen": seen }),
            LiveReading::Unknown(_) => return None,
        };
        if let Some(since) = facts.healthy_since.get(id) {
            entry["healthySince"] = since.to_string().into();
        }
        Some((id.name().to_owned(), entry))
    });
    Value::Object(seen.collect())
}
