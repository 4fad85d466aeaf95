//! `approvals`.

use verbatim_record::Approval;

use super::*;
use crate::gate::ApprovalRequirement;

fn approval(number: u8, change: impl FnOnce(&mut Approval)) -> Bundle {
    let mut approval = Approval {
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

#[test]
fn nobody_approves_what_is_their_own() {
    let other =
        || Gate::Approvals(ApprovalRequirement { not_author: true, ..of(1, "release-manager") });
    let started_by = |actor: &str| Some(actor.to_owned());
    passes(other(), &with_records(&[by(2)]), approved(&["anna"]));
    // The key that promotes.
    let promoting = |number: u8, actor: Option<String>| Facts {
        author: Author { key: Some(numbered(number).verifying_key().id()), actor },
        ..with_records(&[by(2)])
    };
    refuses(other(), &promoting(2, None), missing(1, &[]));
    passes(other(), &promoting(1, None), approved(&["anna"]));
    // The person behind the key, by a name that the policy gives.
    refuses(other(), &promoting(1, started_by("Anna@example.com")), missing(1, &[]));
    passes(other(), &promoting(1, started_by("ben@example.com")), approved(&["anna"]));
    // Whoever started the build.
    let built_by = |actor: &str| {
        let build = super::release::built_as(|build| build.run.actor = started_by(actor));
        with_records(&[build, by(2)])
    };
    refuses(other(), &built_by("anna@example.com"), missing(1, &[]));
    passes(other(), &built_by("dora"), approved(&["anna"]));
    // The name that the approval itself gives.
    let mut facts = with_records(&[approval(2, |it| it.run.actor = started_by("dora"))]);
    facts.author.actor = started_by("dora");
    refuses(other(), &facts, missing(1, &[]));
    passes(Gate::Approvals(of(1, "release-manager")), &facts, approved(&["anna"]));
}
