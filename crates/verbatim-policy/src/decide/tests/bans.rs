//! `locked` and `vetoed`.

use verbatim_record::{Lock, Veto};

use super::*;

fn lock(place: &str, until: Option<i64>, lifts: &[&Bundle], number: u8) -> Bundle {
    let lock = Lock {
        seen: Vec::new(),
        environment: id(place),
        lifts: lifts.iter().map(|it| it.digest()).collect(),
        reason: "audit".to_owned(),
        at: at(0),
        until: until.map(at),
        run: CiRun::default(),
    };
    sign(&Statement::lock(lock), &numbered(number)).unwrap()
}

fn with_locks(bundles: &[&Bundle]) -> Facts {
    let bytes = bundles.iter().map(|it| it.bytes());
    let records = Records::of_environment(bytes, &ring(), &id("production"), at(600));
    let bans = Bans { locks: records.locks, vetoes: records.vetoes };
    Facts { bans: Ok(bans), ..facts() }
}

#[test]
fn a_locked_environment_is_closed() {
    let (open, locked) = (lock("production", Some(600), &[], 1), lock("production", None, &[], 2));
    passes(Gate::Locked, &with_locks(&[]), Reason::NotLocked);
    let by = |bundle: &Bundle| Reason::Locked { locks: vec![bundle.digest()] };
    refuses(Gate::Locked, &with_locks(&[&locked]), by(&locked));
    // Over at this very minute.
    passes(Gate::Locked, &with_locks(&[&open]), Reason::NotLocked);
    let lift = |number| lock("production", None, &[&locked], number);
    passes(Gate::Locked, &with_locks(&[&locked, &lift(3)]), Reason::NotLocked);
    // The pipeline does not lift the lock of a person.
    refuses(Gate::Locked, &with_locks(&[&locked, &lift(1)]), by(&locked));
    // The lock of another environment, found here, does not count.
    passes(Gate::Locked, &with_locks(&[&lock("staging", None, &[], 2)]), Reason::NotLocked);
    // Rollbacks are kept out too.
    refuses(Gate::Locked, &Facts { is_rollback: true, ..with_locks(&[&locked]) }, by(&locked));
    let cause = "timeout".to_owned();
    let unknown = Facts { bans: Err(cause.clone()), ..facts() };
    refuses(Gate::Locked, &unknown, Reason::Unreadable { cause });
}

/// The end of a lock is a way out only if all locks end.
#[test]
fn a_lock_says_when_to_come_back() {
    let unlock = "`verbatim unlock production --reason 'no longer needed'`";
    let wait = format!("wait until 2026-11-25T00:00:00Z, or {unlock}");
    for (ends, want) in [(&[Some(660), Some(720)][..], wait.as_str()), (&[Some(720), None], unlock)]
    {
        let locks: Vec<_> = ends.iter().map(|until| lock("production", *until, &[], 2)).collect();
        let facts = with_locks(&locks.iter().collect::<Vec<_>>());
        let decision = decide(&Gates::new(vec![Gate::Locked]), &facts);
        assert_eq!(decision.answers[0].remedy.as_deref(), Some(want));
    }
}

fn veto(what: &str, place: Option<&str>, until: Option<i64>, lifts: &[&Bundle]) -> Bundle {
    let veto = Veto {
        seen: Vec::new(),
        environment: place.map(id),
        lifts: lifts.iter().map(|it| it.digest()).collect(),
        reason: "it leaks".to_owned(),
        at: at(0),
        until: until.map(at),
        run: CiRun::default(),
    };
    sign(&Statement::veto("shop", &release(what), veto), &numbered(2)).unwrap()
}

#[test]
fn a_vetoed_release_stays_out() {
    let everywhere = || veto("one", None, None, &[]);
    let here = || veto("one", Some("production"), None, &[]);
    let by = |bundle: &Bundle| Reason::Vetoed { vetoes: vec![bundle.digest()] };
    passes(Gate::Vetoed, &with_records(&[]), Reason::NotVetoed);
    refuses(Gate::Vetoed, &with_records(&[everywhere()]), by(&everywhere()));
    refuses(Gate::Vetoed, &with_records(&[here()]), by(&here()));
    passes(
        Gate::Vetoed,
        &with_records(&[veto("one", Some("staging"), None, &[])]),
        Reason::NotVetoed,
    );
    passes(Gate::Vetoed, &with_records(&[veto("one", None, Some(600), &[])]), Reason::NotVetoed);
    let lifted = [here(), veto("one", Some("production"), None, &[&here()])];
    passes(Gate::Vetoed, &with_records(&lifted), Reason::NotVetoed);
    refuses(Gate::Vetoed, &Facts { is_rollback: true, ..with_records(&[here()]) }, by(&here()));
}

/// A registry that hides the veto on the image has to hide it on the environment too.
#[test]
fn a_veto_that_is_hidden_on_the_release_shows_on_the_environment() {
    let here = veto("one", Some("production"), None, &[]);
    let other = veto("two", Some("production"), None, &[]);
    let by = Reason::Vetoed { vetoes: vec![here.digest()] };
    refuses(Gate::Vetoed, &with_locks(&[&here, &other]), by);
    passes(Gate::Vetoed, &with_locks(&[&other]), Reason::NotVetoed);
    for (records, bans) in
        [(Err("x".to_owned()), Ok(Bans::default())), (Ok(Records::default()), Err("x".to_owned()))]
    {
        let facts = Facts { records, bans, ..facts() };
        refuses(Gate::Vetoed, &facts, Reason::Unreadable { cause: "x".to_owned() });
    }
}

/// No remedy says to promote what will not be let in.
#[test]
fn a_vetoed_release_is_not_to_be_promoted() {
    let after = || Gate::After { environment: id("staging"), ran: crate::gate::Presence::Still };
    let ledger = BTreeMap::from([(id("staging"), ledger("staging", &[("two", 5)]))]);
    let promote = format!("`verbatim promote staging --release {}`", release("one"));
    let vetoed =
        |place: &str| format!("promote a better release: this one is vetoed for shop/{place}");
    for (place, until, want) in [
        (Some("staging"), None, vetoed("staging")),
        (Some("production"), None, vetoed("production")),
        (None, None, vetoed("staging")),
        (Some("dev"), None, promote.clone()),
        (None, Some(600), promote.clone()),
    ] {
        let facts = with_records(&[veto("one", place, until, &[])]);
        let facts = Facts { ledgers: ledger.clone(), ..facts };
        let decision = decide(&Gates::new(vec![after()]), &facts);
        assert_eq!(
            decision.answers[0].remedy.as_deref(),
            Some(want.as_str()),
            "{place:?} {until:?}"
        );
    }
    let shown = with_locks(&[&veto("one", Some("production"), None, &[])]);
    let decision = decide(&Gates::new(vec![after()]), &Facts { ledgers: ledger, ..shown });
    assert_eq!(decision.answers[0].remedy, Some(vetoed("production")));
}
