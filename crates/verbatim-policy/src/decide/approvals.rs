//! `approvals`: enough people want this release to enter this environment. One person is one approval, with however many
//! keys, and however often each of them signs.

use std::collections::BTreeSet;

use verbatim_record::{Approval, GateEvidence, KeyId, Verified, commits_since};

use super::{Finding, not_counted, to_the_second};
use crate::decision::Reason;
use crate::facts::{Author, Facts};
use crate::gate::ApprovalRequirement;

pub(super) fn judge(wanted: &ApprovalRequirement, facts: &Facts) -> Finding {
    let records = match &facts.records {
        Ok(records) => records,
        Err(cause) => return Finding::unreadable("the records of the release", cause),
    };
    let authors = authors(facts);
    if let Some(refusal) = wanted.not_author.then(|| unknown(&authors)).flatten() {
        return refusal;
    }
    let mut counted: Vec<&Verified<Approval>> = Vec::new();
    let mut persons: BTreeSet<&KeyId> = BTreeSet::new();
    let mut rejected = Vec::new();
    // Of several by one person, the latest is shown.
    for approval in records.approvals.iter().rev() {
        if approval.environment() != Some(&facts.environment)
            || !approval.statement().is_about(&facts.release)
        {
            continue;
        }
        match complaint(wanted, approval, &authors, facts) {
            Some(complaint) => rejected.push(evidence(approval, Some(complaint))),
            None if persons.contains(approval.key_id()) => {}
            None => {
                persons.extend(&approval.signer().person.keys);
                counted.push(approval);
            }
        }
    }
    let mut by: Vec<String> = counted.iter().map(|it| it.signed_by().to_owned()).collect();
    by.sort();
    let given = u32::try_from(by.len()).unwrap_or(u32::MAX);
    let good = counted.iter().map(|approval| evidence(approval, None));
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
    let others =
        if wanted.not_author { ", but not from those who built or promote it" } else { "" };
    let remedy = format!(
        "get {missing} more from a key with the role `{}`{others}: `verbatim approve {} --release {}`",
        wanted.role,
        facts.environment.name(),
        facts.release
    );
    let limited = not_counted::<Approval>(&records.rejected);
    let evidence = good.chain(rejected).chain(limited).collect();
    Finding::refuse(Reason::NotApproved { missing, by }, text, evidence, remedy)
}

/// Why an approval does not count; `None` if it does.
fn complaint(
    wanted: &ApprovalRequirement,
    approval: &Verified<Approval>,
    authors: &[KnownAuthor<'_>],
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
    if wanted.not_author && approval.signer().person.names.is_empty() {
        return Some("its key has no `actors`, so it may be that of an author".to_owned());
    }
    let author = authors.iter().find(|author| author.is_signer_of(approval));
    author.filter(|_| wanted.not_author).map(|author| author.deed.complaint().to_owned())
}

/// Somebody who must not approve the release, as far as it is known who that is.
struct KnownAuthor<'a> {
    /// What they did.
    deed: Deed,
    keys: BTreeSet<&'a KeyId>,
    names: BTreeSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Built,
    Wrote,
    Promotes,
}

impl Deed {
    fn complaint(self) -> &'static str {
        match self {
            Self::Built => "its signer built the release",
            Self::Wrote => "its signer made a commit of the release that is new there",
            Self::Promotes => "its signer promotes the release",
        }
    }
}

impl KnownAuthor<'_> {
    /// Whether an approval is by the same key, or by the same person with another key.
    fn is_signer_of(&self, approval: &Verified<Approval>) -> bool {
        let person = &approval.signer().person;
        let run = &approval.predicate().run;
        // Outside a CI it is the account on a machine, and `root` is nobody in particular.
        let actor = run.actor.as_ref().filter(|_| run.ci.is_some());
        let is_own = |name: &String| {
            person.is_called(name) || actor.is_some_and(|actor| actor.eq_ignore_ascii_case(name))
        };
        person.keys.iter().any(|key| self.keys.contains(key)) || self.names.iter().any(is_own)
    }
}

/// Who built the release, who made its commits that are new there, and who wants to promote it.
fn authors(facts: &Facts) -> Vec<KnownAuthor<'_>> {
    let builds = facts.records.iter().flat_map(|records| &records.builds).map(|build| {
        let person = &build.signer().person;
        let actor = build.predicate().run().and_then(|run| run.actor);
        KnownAuthor {
            deed: Deed::Built,
            keys: person.keys.iter().collect(),
            names: actor.into_iter().chain(person.names.iter().cloned()).collect(),
        }
    });
    let commits = facts.records.iter().flat_map(|records| &records.builds).map(|build| {
        let commits = build.predicate().commits();
        let new = commits_since(&commits, facts.commit_there.as_deref());
        let names = new.flat_map(|it| &it.people).flat_map(|name| [Some(&**name), login(name)]);
        KnownAuthor {
            deed: Deed::Wrote,
            keys: BTreeSet::new(),
            names: names.flatten().map(ToOwned::to_owned).collect(),
        }
    });
    let Author { key, person, actor } = &facts.author;
    let promoter = KnownAuthor {
        deed: Deed::Promotes,
        keys: key.iter().chain(person.iter().flat_map(|it| &it.keys)).collect(),
        names: actor.iter().chain(person.iter().flat_map(|it| &it.names)).cloned().collect(),
    };
    builds.chain(commits).chain([promoter]).collect()
}

/// The login in an address that a forge gives to those who keep theirs private: `1234+anna@users.noreply.github.com`.
/// <https://docs.github.com/en/account-and-profile/reference/email-addresses-reference#your-noreply-email-address>
fn login(mail: &str) -> Option<&str> {
    let (local, host) = mail.split_once('@')?;
    host.starts_with("users.noreply.").then_some(())?;
    let rest = local.trim_start_matches(|c: char| c.is_ascii_digit());
    Some(if rest.len() < local.len() {
        rest.strip_prefix(['+', '-']).unwrap_or(local)
    } else {
        local
    })
}

/// The refusal where nobody can tell who the authors are: their approval could be among those that count.
fn unknown(authors: &[KnownAuthor<'_>]) -> Option<Finding> {
    // Names of commits are only what their authors wrote: they keep somebody out, and let nobody in.
    let is_known = |deed| {
        let mut all = authors.iter().filter(|it| it.deed == deed).peekable();
        all.peek().is_some() && all.all(|it| !it.names.is_empty())
    };
    let (text, remedy) = if !is_known(Deed::Built) {
        (
            "no build record says who built the release, and its authors may not approve it",
            "build it in a CI job that names who started it, or name the owner of the key that built it in its `actors`",
        )
    } else if !is_known(Deed::Promotes) {
        (
            "nobody knows who promotes the release, and its authors may not approve it",
            "promote it in a CI job that names who started it, or name the owner of the signing key in its `actors`; outside of a CI, set `USER`",
        )
    } else {
        return None;
    };
    Some(Finding::refuse(Reason::AuthorUnknown, text.to_owned(), Vec::new(), remedy.to_owned()))
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

#[cfg(test)]
mod tests {
    use super::login;

    #[test]
    fn a_private_address_names_its_login() {
        for (mail, want) in [
            ("1234+anna@users.noreply.github.com", Some("anna")),
            ("1234-anna@users.noreply.gitlab.example.com", Some("anna")),
            ("anna@users.noreply.github.com", Some("anna")),
            ("4711@users.noreply.github.com", Some("4711")),
            ("anna@example.com", None),
            ("Anna", None),
        ] {
            assert_eq!(login(mail), want, "{mail}");
        }
    }
}
