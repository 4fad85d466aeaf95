//! Which of many vetoes or locks are in force. The records alone say which are lifted, in whatever order they come.

use std::collections::BTreeSet;

use jiff::Timestamp;
use verbatim_oci::Digest;

use crate::artifact::EnvironmentId;
use crate::envelope::Verified;
use crate::predicate::{Ban, BanPlace, Veto};

/// The bans of a list that are in force at `now`, oldest first: neither expired nor lifted by their maker or by a key with
/// the power to lift.
pub fn in_force<P: BanPlace>(
    records: &[Verified<Ban<P>>],
    now: Timestamp,
) -> Vec<&Verified<Ban<P>>> {
    let lifts: Vec<_> = records.iter().filter(|it| !it.predicate().lifts.is_empty()).collect();
    let is_lifted = |ban: &Verified<Ban<P>>| {
        // One signed text can have several bundles around it: all of them are one ban.
        let spellings: BTreeSet<Digest> = records
            .iter()
            .filter(|it| it.statement_digest() == ban.statement_digest())
            .map(Verified::record)
            .collect();
        lifts.iter().any(|lift| {
            let may = lift.signer().may_lift || lift.key_id() == ban.key_id();
            may && lift.predicate().lifts.iter().any(|lifted| spellings.contains(lifted))
        })
    };
    let mut told = BTreeSet::new();
    records
        .iter()
        .filter(|it| it.predicate().lifts.is_empty())
        .filter(|it| it.predicate().until.is_none_or(|until| now < until))
        .filter(|it| told.insert(it.statement_digest()))
        .filter(|it| !is_lifted(it))
        .collect()
}

/// The vetoes in some lists against a release, for an environment or for all, with what lifts them. A veto is attached to
/// the release and to its environment: the list of one may show what the other hides.
pub fn vetoes_against<'a>(
    release: &Digest,
    environment: &EnvironmentId,
    lists: impl IntoIterator<Item = &'a [Verified<Veto>]>,
) -> Vec<Verified<Veto>> {
    let vetoes = lists.into_iter().flatten();
    vetoes
        .filter(|veto| veto.statement().is_about(release))
        .filter(|veto| veto.environment().is_none_or(|of| of == environment))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::EnvironmentArtifact;
    use crate::envelope::{Bundle, Statement, sign, verify};
    use crate::ledger::Records;
    use crate::predicate::Lock;
    use crate::testing::{at, environment, expecting, key, release, ring, run};

    fn lock(reason: &str, lifts: &[&Bundle], until: Option<i64>, number: u8) -> Bundle {
        let lock = Lock {
            seen: Vec::new(),
            environment: environment("dev"),
            lifts: lifts.iter().map(|it| it.digest()).collect(),
            reason: reason.to_owned(),
            at: at(0),
            until: until.map(at),
            run: run(),
        };
        sign(&Statement::lock(lock), &key(number)).unwrap()
    }

    /// The reasons of the locks that are in force at minute 30.
    #[track_caller]
    fn check(bundles: &[&Bundle], want: &[&str]) {
        let subject = *EnvironmentArtifact::of(&environment("dev")).digest();
        let verified = |bundle: &&Bundle| {
            verify::<Lock>(bundle.bytes(), &ring(), &expecting(subject)).unwrap()
        };
        for records in [bundles.to_vec(), bundles.iter().rev().copied().collect()] {
            let records: Vec<_> = records.iter().map(verified).collect();
            let mut got: Vec<_> =
                in_force(&records, at(30)).iter().map(|it| it.predicate().reason.clone()).collect();
            got.sort();
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_ban_ends_by_time_or_by_being_lifted() {
        let (ci, lead) = (1, 2);
        let by_ci = lock("freeze", &[], None, ci);
        let by_lead = lock("audit", &[], None, lead);
        check(&[], &[]);
        check(&[&by_ci, &by_lead], &["audit", "freeze"]);
        // The same lock found twice is one lock.
        check(&[&by_ci, &by_ci], &["freeze"]);
        // Over at the very minute.
        check(&[&lock("freeze", &[], Some(31), ci)], &["freeze"]);
        check(&[&lock("freeze", &[], Some(30), ci)], &[]);
        // Lifted by its maker, or by somebody with the power to.
        check(&[&by_ci, &lock("over", &[&by_ci], None, ci)], &[]);
        check(&[&by_ci, &lock("over", &[&by_ci], None, lead)], &[]);
        check(&[&by_lead, &lock("over", &[&by_lead], None, lead)], &[]);
        // A pipeline does not lift what a person imposed.
        check(&[&by_lead, &lock("over", &[&by_lead], None, ci)], &["audit"]);
        // Only what is named is lifted.
        check(&[&by_ci, &by_lead, &lock("over", &[&by_ci], None, lead)], &["audit"]);
        check(&[&lock("over", &[&by_ci], None, lead)], &[]);
    }

    #[test]
    fn a_veto_is_against_one_release_here_or_everywhere() {
        let veto = |what: &str, place: Option<&str>| {
            let veto = Veto {
                seen: Vec::new(),
                environment: place.map(environment),
                lifts: Vec::new(),
                reason: "it leaks".to_owned(),
                at: at(0),
                until: None,
                run: run(),
            };
            let bundle = sign(&Statement::veto("shop", &release(what), veto), &key(2)).unwrap();
            verify::<Veto>(bundle.bytes(), &ring(), &expecting(release(what))).unwrap()
        };
        let of_release = [veto("one", Some("dev")), veto("one", Some("production"))];
        let of_environment = [veto("two", Some("dev")), veto("one", None)];
        let lists = [&of_release[..], &of_environment];
        let got = vetoes_against(&release("one"), &environment("dev"), lists);
        let records: Vec<_> = got.iter().map(Verified::record).collect();
        assert_eq!(records, [of_release[0].record(), of_environment[1].record()]);
    }

    /// The subjects of a veto for all environments are whatever its signer wrote.
    #[test]
    fn a_veto_for_all_environments_of_another_project_is_in_no_ledger_of_this_one() {
        for (project, want) in [("shop", 1), ("blog", 0)] {
            let mut run = run();
            run.project = Some(project.to_owned());
            let veto = Veto {
                environment: None,
                lifts: Vec::new(),
                reason: "it leaks".to_owned(),
                at: at(0),
                until: None,
                seen: Vec::new(),
                run,
            };
            let statement = Statement::veto("shop", &release("one"), veto);
            let bundle = sign(&statement.in_ledgers([&environment("dev")]), &key(2)).unwrap();
            let bytes = [bundle.bytes()];
            let records = Records::of_environment(bytes, &ring(), &environment("dev"), at(9));
            assert_eq!(records.vetoes.len(), want, "{project}");
        }
    }

    /// Written differently around the same signature, a lifted ban must not come back.
    #[test]
    fn another_spelling_of_a_lifted_ban_is_lifted_too() {
        let lifted = lock("freeze", &[], None, 1);
        let mut spelled: serde_json::Value = serde_json::from_slice(lifted.bytes()).unwrap();
        spelled["verificationMaterial"]["tlogEntries"] = serde_json::json!([]);
        let respelled = Bundle::read(serde_json::to_vec_pretty(&spelled).unwrap()).unwrap();
        assert_ne!(respelled.digest(), lifted.digest());
        let lift = lock("over", &[&lifted], None, 2);
        check(&[&lifted, &respelled, &lift], &[]);
        // Without the one that was named nobody can tell that it is the same.
        check(&[&respelled, &lift], &["freeze"]);
    }
}
