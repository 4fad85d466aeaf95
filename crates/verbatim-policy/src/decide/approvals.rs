//! `approvals`: enough people want this release to enter this environment. One key is one person, however often it signs.

use std::collections::BTreeMap;

use verbatim_record::{Approval, GateEvidence, KeyId, Verified};

use super::{Finding, to_the_second};
use crate::decision::Reason;
use crate::facts::{Author, Facts};
use crate::gate::ApprovalRequirement;

pub(super) fn judge(wanted: &ApprovalRequirement, facts: &Facts) -> Finding {
    let records = match &facts.records {
        Ok(records) => records,
        Err(cause) => return Finding::unreadable("the records of the release", cause),
    };
    let authors = authors(facts);
    let mut counted: BTreeMap<&KeyId, &Verified<Approval>> = BTreeMap::new();
    let mut rejected = Vec::new();
    // Of several by one key, the latest is shown.
    for approval in records.approvals.iter().rev() {
        if approval.environment() != Some(&facts.environment)
            || !approval.statement().is_about(&facts.release)
        {
            continue;
        }
        match complaint(wanted, approval, &authors, facts) {
            Some(complaint) => rejected.push(evidence(approval, Some(complaint))),
            None if counted.contains_key(approval.key_id()) => {}
            None => {
                counted.insert(approval.key_id(), approval);
            }
        }
    }
    let mut by: Vec<String> = counted.values().map(|it| it.signed_by().to_owned()).collect();
    by.sort();
    let given = u32::try_from(by.len()).unwrap_or(u32::MAX);
    let good = counted.values().map(|approval| evidence(approval, None));
    if given >= wanted.count {
        let text = format!("approved by {}", by.join(", "));
        return Finding::pass(Reason::Approved { by }, text, good.collect());
    }
    let missing = wanted.count - given;
    let text = format!(
        "{given} of {} {} by `{}`",
        wanted.count,
        if wanted.count == 1 { "approval" } else { "approvals" },
        wanted.role
    );
    let others = if wanted.not_author { ", but not from who built or promotes it" } else { "" };
    let remedy = format!(
        "get {missing} more from a key with the role `{}`{others}: `verbatim approve {} --release {}`",
        wanted.role,
        facts.environment.name(),
        facts.release
    );
    let evidence = good.chain(rejected).collect();
    Finding::refuse(Reason::NotApproved { missing, by }, text, evidence, remedy)
}

/// Why an approval does not count; `None` if it does.
fn complaint(
    wanted: &ApprovalRequirement,
    approval: &Verified<Approval>,
    authors: &[Author],
    facts: &Facts,
) -> Option<String> {
    let said = approval.predicate();
    if !approval.signer().roles.contains(&wanted.role) {
        return Some(format!("its key lacks the role `{}`", wanted.role));
    }
    if let Some(until) = said.until.filter(|until| facts.now >= *until) {
        return Some(format!("it expired at {}", to_the_second(until)));
    }
    if let Some(max_age) = wanted.max_age
        && facts.now.duration_since(said.at) > max_age
    {
        return Some(format!("it is older than {max_age:#}"));
    }
    if said.plan.is_some() && said.plan != facts.plan {
        return Some(match facts.plan {
            None => "it is for a saved plan: run `verbatim apply`".to_owned(),
            Some(_) => "it is for another plan".to_owned(),
        });
    }
    if wanted.not_author && authors.iter().any(|author| is_same(author, approval)) {
        return Some("its signer built or promotes the release".to_owned());
    }
    None
}

/// Who built the release, and who wants to promote it.
fn authors(facts: &Facts) -> Vec<Author> {
    let builds = facts.records.iter().flat_map(|records| &records.builds).map(|build| Author {
        key: Some(build.key_id().clone()),
        actor: build.predicate().run().and_then(|run| run.actor),
    });
    builds.chain([facts.author.clone()]).collect()
}

/// Whether an approval is by an author: the same key, or the same person with another key.
fn is_same(author: &Author, approval: &Verified<Approval>) -> bool {
    let signer = approval.signer();
    let same_key = author.key.as_ref() == Some(&signer.key_id);
    let same_person = author.actor.as_ref().is_some_and(|actor| {
        let mut names = signer.actors.iter().chain(&approval.predicate().run.actor);
        names.any(|name| name.eq_ignore_ascii_case(actor))
    });
    same_key || same_person
}

fn evidence(approval: &Verified<Approval>, complaint: Option<String>) -> GateEvidence {
    let said = approval.predicate();
    let mut text =
        format!("approval at {}, signed by {}", to_the_second(said.at), approval.signed_by());
    if !said.reason.is_empty() {
        text.push_str(&format!(": {}", said.reason));
    }
    if let Some(complaint) = complaint {
        text.push_str(&format!("; does not count: {complaint}"));
    }
    GateEvidence { record: Some(approval.record()), text }
}
