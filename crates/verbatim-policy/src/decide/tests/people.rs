//! `approvals`.

use verbatim_record::Approval;

use super::*;
use crate::gate::ApprovalRequirement;

fn approval(number: u8, change: impl FnOnce(&mut Approval)) -> Bundle {
    let mut approval = Approval {
        seen: Vec::new(),
        environment: id("production"),
        reason: String::new(),
        at: at(300),
        until: None,
        plan: None,
        run: CiRun::default(),
    };
    change(&mut approval);
    sign(&Statement::approval("shop", &release("one"), approval), &numbered(number)).unwrap()
}

fn by(number: u8) -> Bundle {
    approval(number, |_| {})
}

fn of(count: u32, role: &str) -> ApprovalRequirement {
    ApprovalRequirement { count, role: Role::new(role), not_author: false, max_age: None }
}

fn approved(by: &[&str]) -> Reason {
    Reason::Approved { by: by.iter().map(|it| (*it).to_owned()).collect() }
}

fn missing(missing: u32, by: &[&str]) -> Reason {
    Reason::NotApproved { missing, by: by.iter().map(|it| (*it).to_owned()).collect() }
}

#[test]
fn enough_keys_with_the_role() {
    let managers = |count| Gate::Approvals(of(count, "release-manager"));
    passes(managers(1), &with_records(&[by(2)]), approved(&["anna"]));
    passes(managers(2), &with_records(&[by(2), by(3)]), approved(&["anna", "ben"]));
    refuses(managers(2), &with_records(&[by(2)]), missing(1, &["anna"]));
    refuses(managers(1), &with_records(&[]), missing(1, &[]));
    // Another role.
    refuses(managers(1), &with_records(&[by(4)]), missing(1, &[]));
    passes(Gate::Approvals(of(1, "qa")), &with_records(&[by(4)]), approved(&["carl"]));
    // Two approvals by one key are one person.
    let twice = [by(2), approval(2, |it| it.at = at(400))];
    refuses(managers(2), &with_records(&twice), missing(1, &["anna"]));
    let cause = "timeout".to_owned();
    let unknown = Facts { records: Err(cause.clone()), ..facts() };
    refuses(managers(1), &unknown, Reason::Unreadable { cause });
}

#[test]
fn an_approval_is_for_one_release_and_one_environment_and_ends() {
    let manager = || Gate::Approvals(of(1, "release-manager"));
    // Replayed: of another environment, of another release.
    let elsewhere = approval(2, |it| it.environment = id("staging"));
    refuses(manager(), &with_records(&[elsewhere]), missing(1, &[]));
    let other = Facts { release: release("two"), ..with_records(&[by(2)]) };
    refuses(manager(), &other, missing(1, &[]));
    // Over at this very minute, and one minute later.
    let until = |minutes| with_records(&[approval(2, |it| it.until = Some(at(minutes)))]);
    refuses(manager(), &until(600), missing(1, &[]));
    passes(manager(), &until(601), approved(&["anna"]));
    // Given five hours ago.
    let within = |hours| {
        let max_age = Some(SignedDuration::from_hours(hours));
        Gate::Approvals(ApprovalRequirement { max_age, ..of(1, "release-manager") })
    };
    passes(within(5), &with_records(&[by(2)]), approved(&["anna"]));
    refuses(within(4), &with_records(&[by(2)]), missing(1, &[]));
    // An old one of the same key does not spoil a new one, whatever their order.
    let both = [approval(2, |it| it.until = Some(at(599))), by(2)];
    passes(manager(), &with_records(&both), approved(&["anna"]));
    // A rollback cannot wait for people.
    let back = Facts { is_rollback: true, ..with_records(&[]) };
    passes(manager(), &back, Reason::SkippedByRollback);
    // Unless it goes further than back.
    let far = Facts { is_beyond_previous: true, ..back };
    refuses(manager(), &far, missing(1, &[]));
    let far = Facts { records: with_records(&[by(2)]).records, ..far };
    passes(manager(), &far, approved(&["anna"]));
    let windows = Gate::Windows { windows: Vec::new() };
    passes(windows, &far, Reason::SkippedByRollback);
}

#[test]
fn an_approval_of_a_plan_is_for_that_plan() {
    let manager = || Gate::Approvals(of(1, "release-manager"));
    let facts = |plan: Option<&str>| Facts {
        plan: plan.map(release),
        ..with_records(&[approval(2, |it| it.plan = Some(release("plan")))])
    };
    passes(manager(), &facts(Some("plan")), approved(&["anna"]));
    refuses(manager(), &facts(Some("other")), missing(1, &[]));
    refuses(manager(), &facts(None), missing(1, &[]));
    let any = Facts { plan: Some(release("plan")), ..with_records(&[by(2)]) };
    passes(manager(), &any, approved(&["anna"]));
}

/// Key 5 is a second one of anna, by way of a name that she has on another machine; key 6 is nobody's.
fn more_keys() -> KeyRing {
    let trusted = |name: &str, number, actors: &[&str]| TrustedKey {
        name: name.to_owned(),
        key: numbered(number).verifying_key().into(),
        roles: BTreeSet::from([Role::new("release-manager")]),
        actors: actors.iter().map(|actor| (*actor).to_owned()).collect(),
        scope: KeyScope::ANYTHING,
        life: KeyLife::UNLIMITED,
    };
    let mut keys: Vec<TrustedKey> = ring().iter().cloned().collect();
    keys.extend([
        trusted("anna-laptop", 5, &["root@laptop"]),
        trusted("bridge", 7, &["anna@example.com", "Root@laptop"]),
        trusted("unnamed", 6, &[]),
    ]);
    KeyRing::new(keys).unwrap()
}

fn read_by(ring: &KeyRing, bundles: &[Bundle]) -> Facts {
    let bytes = bundles.iter().map(Bundle::bytes);
    let records = Records::of_release(bytes, ring, release("one"), at(600));
    Facts { records: Ok(records), ..facts() }
}

#[test]
fn two_keys_of_one_person_are_one_approval() {
    let managers = |count| Gate::Approvals(of(count, "release-manager"));
    let ring = more_keys();
    // The latest is shown.
    let twice = read_by(&ring, &[by(2), approval(5, |it| it.at = at(400))]);
    refuses(managers(2), &twice, missing(1, &["anna-laptop"]));
    passes(managers(1), &twice, approved(&["anna-laptop"]));
    let three = read_by(&ring, &[by(2), by(3), by(5)]);
    refuses(managers(3), &three, missing(1, &["anna", "ben"]));
    passes(managers(2), &three, approved(&["anna", "ben"]));
    // Without names every key is a person.
    passes(managers(2), &read_by(&ring, &[by(2), by(6)]), approved(&["anna", "unnamed"]));
}

fn not_by_authors() -> Gate {
    Gate::Approvals(ApprovalRequirement { not_author: true, ..of(1, "release-manager") })
}

fn started_by(actor: &str) -> Option<String> {
    Some(actor.to_owned())
}

/// A build that this actor started.
fn built_by(actor: Option<String>) -> Bundle {
    super::release::built_as(|build| build.run.actor = actor)
}

/// The key of a promotion, and who started it.
fn promoting(number: u8, actor: Option<String>) -> Author {
    let id = numbered(number).verifying_key().id();
    Author { person: ring().person(&id).cloned(), key: Some(id), actor }
}

#[test]
fn nobody_approves_what_is_their_own() {
    let other = not_by_authors;
    let records = with_records(&[built_by(started_by("dora")), by(2)]);
    passes(other(), &records, approved(&["anna"]));
    let promoted = |number, actor| Facts { author: promoting(number, actor), ..records.clone() };
    // The key that promotes.
    refuses(other(), &promoted(2, None), missing(1, &[]));
    passes(other(), &promoted(1, None), approved(&["anna"]));
    // The person behind the key, by a name that the policy gives.
    refuses(other(), &promoted(1, started_by("Anna@example.com")), missing(1, &[]));
    passes(other(), &promoted(1, started_by("ben@example.com")), approved(&["anna"]));
    // Whoever started the build.
    let built = |actor: &str| with_records(&[built_by(started_by(actor)), by(2)]);
    refuses(other(), &built("anna@example.com"), missing(1, &[]));
    passes(other(), &built("dora"), approved(&["anna"]));
    // The name that the approval itself gives.
    let said = approval(2, |it| {
        (it.run.actor, it.run.ci) = (started_by("dora"), Some("github".to_owned()));
    });
    let mut facts = with_records(&[built_by(started_by("ci")), said]);
    facts.author.actor = started_by("dora");
    refuses(other(), &facts, missing(1, &[]));
    passes(Gate::Approvals(of(1, "release-manager")), &facts, approved(&["anna"]));
    // With another key of the same person.
    let ring = more_keys();
    let id = numbered(5).verifying_key().id();
    let second = Author { person: ring.person(&id).cloned(), key: Some(id), actor: None };
    let facts = read_by(&ring, &[built_by(started_by("dora")), by(2)]);
    refuses(other(), &Facts { author: second, ..facts }, missing(1, &[]));
}

#[test]
fn an_author_whom_nobody_knows_may_be_anybody() {
    let other = not_by_authors;
    // Nobody says who built it.
    refuses(other(), &with_records(&[by(2)]), Reason::AuthorUnknown);
    let mut unnamed: Vec<TrustedKey> = ring().iter().cloned().collect();
    unnamed[0].actors.clear();
    let unnamed = KeyRing::new(unnamed).unwrap();
    let built = read_by(&unnamed, &[built_by(None), by(2)]);
    refuses(other(), &built, Reason::AuthorUnknown);
    // A name in a commit is what anybody wrote there.
    let commit = SourceCommit {
        commit: "b".to_owned(),
        parents: Vec::new(),
        people: vec!["dora".to_owned()],
    };
    let source = BuildSource { commit: Some("b".to_owned()), ..BuildSource::default() };
    let provenance = build(source).provenance().with_commits(&[commit]);
    let written = Statement::build("shop", &release("one"), provenance);
    let written = sign(&written, &numbered(1)).unwrap();
    refuses(other(), &read_by(&unnamed, &[written, by(2)]), Reason::AuthorUnknown);
    // One build of several does not say who made the other.
    let both = [built_by(None), built_by(started_by("dora")), by(2)];
    refuses(other(), &read_by(&unnamed, &both), Reason::AuthorUnknown);
    // The policy says whose key it was.
    passes(other(), &with_records(&[built_by(None), by(2)]), approved(&["anna"]));
    // Nobody says who promotes it.
    let built = read_by(&unnamed, &[built_by(started_by("dora")), by(2)]);
    let nobody = Author { key: None, person: None, actor: None };
    refuses(other(), &Facts { author: nobody, ..built }, Reason::AuthorUnknown);
    // A key without names may be an author's.
    let by_unnamed = read_by(&more_keys(), &[built_by(started_by("dora")), by(6)]);
    refuses(other(), &by_unnamed, missing(1, &[]));
    let any = Gate::Approvals(of(1, "release-manager"));
    passes(any, &by_unnamed, approved(&["unnamed"]));
}

/// The release has two commits; the first is part of what runs there.
#[test]
fn nobody_approves_their_own_commits() {
    let commit = |commit: &str, parents: &[&str], people: &[&str]| SourceCommit {
        commit: commit.to_owned(),
        parents: parents.iter().map(|it| (*it).to_owned()).collect(),
        people: people.iter().map(|it| (*it).to_owned()).collect(),
    };
    let written = |first: &str, second: &str| {
        let commits = [commit("b", &["a"], &[second, "Dora"]), commit("a", &[], &[first])];
        let source = BuildSource { commit: Some("b".to_owned()), ..BuildSource::default() };
        let provenance = build(source).provenance().with_commits(&commits);
        let built = Statement::build("shop", &release("one"), provenance);
        with_records(&[sign(&built, &numbered(1)).unwrap(), by(2)])
    };
    let there =
        |commit: &str, facts: Facts| Facts { commit_there: Some(commit.to_owned()), ..facts };
    let anna = "ANNA@example.com";
    let other = not_by_authors;
    refuses(other(), &written("ben@example.com", anna), missing(1, &[]));
    refuses(other(), &there("a", written("ben@example.com", anna)), missing(1, &[]));
    passes(other(), &written("ben@example.com", "carl"), approved(&["anna"]));
    // Nothing runs there, or something that is not known: all of them are new.
    refuses(other(), &written(anna, "carl"), missing(1, &[]));
    refuses(other(), &there("x", written(anna, "carl")), missing(1, &[]));
    passes(other(), &there("a", written(anna, "carl")), approved(&["anna"]));
    let any = Gate::Approvals(of(1, "release-manager"));
    passes(any, &written(anna, anna), approved(&["anna"]));
}
