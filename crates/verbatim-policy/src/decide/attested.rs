//! `attested`: a statement of some type was made about the release, by somebody who may, and says the right thing.

use jiff::Timestamp;
use serde_json::Value;
use verbatim_record::{GateEvidence, JsonText, Verified};

use super::{Finding, to_the_second};
use crate::condition::Variables;
use crate::decision::Reason;
use crate::facts::Facts;
use crate::gate::{StatementRequirement, StatementTime};

/// What conditions on a statement may use, besides `now`.
pub const ATTESTED_VARIABLES: &[&str] = &["predicate"];

type Statement = Verified<JsonText>;

pub(super) fn judge(wanted: &StatementRequirement, facts: &Facts) -> Finding {
    let records = match &facts.records {
        Ok(records) => records,
        Err(cause) => return Finding::unreadable("the records of the release", cause),
    };
    let of_type: Vec<&Statement> = records
        .attestations
        .iter()
        .filter(|it| it.statement().predicate_type == wanted.predicate_type)
        .filter(|it| it.statement().is_about(&facts.release))
        .collect();
    let (mine, others): (Vec<_>, Vec<_>) =
        of_type.into_iter().partition(|it| it.signer().roles.contains(&wanted.role));
    let remedy = format!(
        "attach a statement that passes, signed by a key with the role `{}`: `cosign attest --type {}`",
        wanted.role, wanted.predicate_type
    );
    if mine.is_empty() {
        let complaint = format!("its key lacks the role `{}`", wanted.role);
        return Finding::refuse(
            Reason::NotAttested,
            format!("no statement {} that counts", wanted.predicate_type),
            others.iter().map(|it| evidence(it, Some(&complaint))).collect(),
            remedy,
        );
    }
    let asked = match &wanted.latest {
        None => Ok(mine.clone()),
        Some(latest) => latest_of(latest, &mine, facts.now).map(|statement| vec![statement]),
    };
    let complaint = match &asked {
        Err((statement, complaint)) => Some((*statement, complaint.clone())),
        Ok(asked) => asked
            .iter()
            .find_map(|statement| Some((*statement, says(wanted, statement, facts.now)?))),
    };
    match complaint {
        Some((statement, complaint)) => Finding::refuse(
            Reason::AttestedOtherwise,
            format!("statement {}: {complaint}", wanted.predicate_type),
            vec![evidence(statement, None)],
            remedy,
        ),
        None => Finding::pass(
            Reason::Attested,
            format!("statement {} holds", wanted.predicate_type),
            asked.iter().flatten().map(|it| evidence(it, None)).collect(),
        ),
    }
}

/// What is wrong with what a statement says.
fn says(wanted: &StatementRequirement, statement: &Statement, now: Timestamp) -> Option<String> {
    let condition = wanted.condition.as_ref()?;
    let variables = Variables::from([("predicate".to_owned(), statement.predicate().value())]);
    match condition.holds(&variables, now) {
        Ok(true) => None,
        Ok(false) => Some(format!("`{condition}` does not hold")),
        Err(error) => Some(format!("`{condition}`: {error}")),
    }
}

/// The latest of several, if it is not too old. One that does not tell its time might be the latest.
fn latest_of<'a>(
    latest: &StatementTime,
    statements: &[&'a Statement],
    now: Timestamp,
) -> Result<&'a Statement, (&'a Statement, String)> {
    let name = latest.field.join(".");
    let mut found: Option<(Timestamp, &'a Statement)> = None;
    for &statement in statements {
        let predicate = statement.predicate().value();
        let field = latest.field.iter().try_fold(&predicate, |value, field| value.get(field));
        let at = match field.and_then(Value::as_str).map(str::parse::<Timestamp>) {
            Some(Ok(at)) => at,
            Some(Err(_)) => return Err((statement, format!("its `{name}` is not a time"))),
            None => return Err((statement, format!("there is no field `{name}`"))),
        };
        if found.is_none_or(|(latest, _)| latest < at) {
            found = Some((at, statement));
        }
    }
    let Some((at, statement)) = found else {
        // Not reached: the caller has at least one.
        return Err((statements[0], "there is none".to_owned()));
    };
    if at.duration_since(now) > verbatim_record::MAX_CLOCK_SKEW {
        return Err((statement, format!("made at {}, which is in the future", to_the_second(at))));
    }
    match latest.max_age {
        Some(max_age) if now.duration_since(at) > max_age => {
            Err((statement, format!("made at {}, more than {max_age:#} ago", to_the_second(at))))
        }
        _ => Ok(statement),
    }
}

fn evidence(statement: &Statement, complaint: Option<&str>) -> GateEvidence {
    let kind = &statement.statement().predicate_type;
    let mut text = format!("{kind}, signed by {}", statement.signed_by());
    if let Some(complaint) = complaint {
        text.push_str(&format!(": {complaint}"));
    }
    GateEvidence { record: Some(statement.record()), text }
}
