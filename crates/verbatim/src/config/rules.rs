//! From `gates:` as written to gates of the policy: every environment, suite, role, zone and condition in them is looked at
//! here, where a mistake still has a line. Must not decide anything.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use verbatim_policy::{
    ATTESTED_VARIABLES, ApprovalRequirement, BuildRequirement, Condition, Gate, GateKind,
    StatementRequirement, StatementTime, WHEN_VARIABLES, Window, WindowKind, ZonedWindow,
};
use verbatim_record::{EnvironmentId, Role};

use super::file::{KeyFile, RulesFile};
use super::gates_file::{
    ApprovalsFile, AttestedFile, GatesFile, OnRollbackFile, SignedFile, TestedFile, Unrelated,
    WindowFile,
};
use super::located::{Located, Place};
use super::model::{After, Rules};
use super::problem::Problem;
use super::shapes::{Many, Period};

/// What rules may speak of.
pub(super) struct Scope<'a> {
    pub project: &'a str,
    /// The environments, with their suites.
    pub suites: BTreeMap<&'a str, Vec<&'a str>>,
    pub keys: &'a [KeyFile],
}

impl Scope<'_> {
    /// The environment of that name, if there is one; else a mistake.
    pub(super) fn environment(
        &self,
        name: &Located<String>,
        problems: &mut Vec<Problem>,
    ) -> Option<EnvironmentId> {
        if !self.suites.contains_key(name.value.as_str()) {
            let problem = Problem::new(name.place, format!("unknown environment `{}`", name.value));
            problems.push(problem.did_you_mean(&name.value, self.suites.keys().copied()));
            return None;
        }
        EnvironmentId::new(self.project, &name.value).ok()
    }

    /// A role that at least `count` keys have; else a mistake.
    fn role(&self, role: &Located<String>, count: u32, problems: &mut Vec<Problem>) -> Role {
        let has = |key: &&KeyFile| key.roles.iter().any(|it| it.value == role.value);
        let keys = self.keys.iter().filter(has).count();
        if keys == 0 {
            let known: BTreeSet<&str> =
                self.keys.iter().flat_map(|key| &key.roles).map(|it| it.value.as_str()).collect();
            let problem = Problem::new(role.place, format!("no key has the role `{}`", role.value));
            problems.push(problem.did_you_mean(&role.value, known));
        } else if u32::try_from(keys).is_ok_and(|keys| keys < count) {
            let noun = if keys == 1 { "key has" } else { "keys have" };
            let message = format!(
                "only {keys} {noun} the role `{}`, so {count} approvals could never be reached",
                role.value
            );
            problems.push(Problem::new(role.place, message).help("one key counts once"));
        }
        Role::new(role.value.clone())
    }
}

pub(super) fn rules(
    name: &str,
    written: &RulesFile,
    scope: &Scope<'_>,
    problems: &mut Vec<Problem>,
) -> Rules {
    let mut after = Vec::new();
    for Located { value, place } in &written.after {
        let earlier = Located { value: value.0.environment.clone(), place: *place };
        if earlier.value == name {
            problems.push(Problem::new(*place, format!("`{name}` cannot come after itself")));
        } else if scope.environment(&earlier, problems).is_some() {
            after.push(After { environment: earlier.value, ran: value.0.ran });
        }
    }
    let gates = gates(&written.gates, scope, problems);
    let skipped_by_rollbacks = on_rollback(&written.gates.on_rollback, problems);
    Rules { after, gates, skipped_by_rollbacks }
}

fn gates(written: &GatesFile, scope: &Scope<'_>, problems: &mut Vec<Problem>) -> Vec<Gate> {
    let mut gates = Vec::new();
    for it in many(&written.tested) {
        gates.extend(tested(it, scope, problems));
    }
    if let Some(it) = &written.signed {
        gates.push(Gate::Signed(signed(it)));
    }
    if let Some(name) = &written.same_manifests {
        let environment = scope.environment(name, problems);
        gates.extend(environment.map(|environment| Gate::SameManifests { environment }));
    }
    for it in many(&written.soak) {
        let (environment, period) =
            (scope.environment(&it.environment, problems), span(&it.period, problems));
        gates.extend(environment.map(|environment| Gate::Soak { environment, period }));
    }
    for it in many(&written.approvals) {
        gates.push(Gate::Approvals(approvals(it, scope, problems)));
    }
    if let Some(list) = &written.windows {
        let windows = list.iter().filter_map(|it| window(it, problems)).collect();
        gates.push(Gate::Windows { windows });
    }
    for it in many(&written.attested) {
        gates.extend(attested(it, scope, problems).map(Gate::Attested));
    }
    if let Some(order) = &written.order {
        gates.push(Gate::Order { unrelated: order.0.unrelated == Unrelated::Allow });
    }
    if let Some(max_age) = &written.freshness {
        gates.push(Gate::Freshness { max_age: span(max_age, problems) });
    }
    for (name, text) in &written.when {
        let condition = condition(text, WHEN_VARIABLES, problems);
        let name = name.value.clone();
        gates.extend(condition.map(|condition| Gate::When { name, condition }));
    }
    gates
}

fn many<T>(written: &Option<Many<T>>) -> &[T] {
    written.as_ref().map(|many| many.0.as_slice()).unwrap_or_default()
}

fn tested(written: &TestedFile, scope: &Scope<'_>, problems: &mut Vec<Problem>) -> Option<Gate> {
    let environment = scope.environment(&written.environment, problems)?;
    let there = &scope.suites[written.environment.value.as_str()];
    for suite in written.suites.iter().filter(|suite| !there.contains(&suite.value.as_str())) {
        let message = format!("`{}` has no suite `{}`", written.environment.value, suite.value);
        problems.push(
            Problem::new(suite.place, message).did_you_mean(&suite.value, there.iter().copied()),
        );
    }
    if there.is_empty() && written.suites.is_empty() {
        let message =
            format!("`{}` has no tests, so nothing could ever pass", written.environment.value);
        problems.push(Problem::new(written.environment.place, message).help("add `tests` to it"));
    }
    let suites = match written.suites.is_empty() {
        true => there.iter().map(|suite| (*suite).to_owned()).collect(),
        false => written.suites.iter().map(|suite| suite.value.clone()).collect(),
    };
    let max_age = written.max_age.as_ref().map(|max_age| span(max_age, problems));
    Some(Gate::Tested { environment, suites, max_age })
}

fn signed(written: &SignedFile) -> BuildRequirement {
    let texts = |list: &[Located<String>]| list.iter().map(|it| it.value.clone()).collect();
    BuildRequirement {
        builders: texts(&written.builders),
        sources: texts(&written.sources),
        branches: texts(&written.branches),
    }
}

fn approvals(
    written: &ApprovalsFile,
    scope: &Scope<'_>,
    problems: &mut Vec<Problem>,
) -> ApprovalRequirement {
    let count = written.count.as_ref().map_or(1, |count| count.value);
    if let Some(zero) = written.count.as_ref().filter(|count| count.value == 0) {
        problems.push(
            Problem::new(zero.place, "no approvals are always there").help("leave out `approvals`"),
        );
    }
    ApprovalRequirement {
        count,
        role: scope.role(&written.role, count, problems),
        not_author: written.not_author,
        max_age: written.max_age.as_ref().map(|max_age| span(max_age, problems)),
    }
}

fn window(written: &WindowFile, problems: &mut Vec<Problem>) -> Option<ZonedWindow> {
    let (kind, text) = match (&written.allow, &written.deny) {
        (Some(text), None) => (WindowKind::Allow, text),
        (None, Some(text)) => (WindowKind::Deny, text),
        (Some(_), Some(deny)) => {
            let message = "a window is `allow` or `deny`, not both";
            problems.push(Problem::new(deny.place, message).help("make two of it"));
            return None;
        }
        (None, None) => {
            let place = written.timezone.as_ref().map_or(Place::default(), |zone| zone.place);
            problems.push(Problem::new(place, "a window has `allow` or `deny`"));
            return None;
        }
    };
    let (zone_name, zone) = match &written.timezone {
        None => ("UTC".to_owned(), Some(TimeZone::UTC)),
        Some(name) => (name.value.clone(), zone(name, problems)),
    };
    match text.value.parse::<Window>() {
        Ok(window) => Some(ZonedWindow { kind, window, zone_name, zone: zone? }),
        Err(error) => {
            problems.push(Problem::new(text.place, error.to_string()));
            None
        }
    }
}

fn zone(name: &Located<String>, problems: &mut Vec<Problem>) -> Option<TimeZone> {
    match TimeZone::get(&name.value) {
        Ok(zone) => Some(zone),
        Err(_) => {
            let known: Vec<String> = jiff::tz::db().available().map(|it| it.to_string()).collect();
            let problem = Problem::new(name.place, format!("unknown time zone `{}`", name.value));
            let problem = match problem.nearest(&name.value, known.iter().map(String::as_str)) {
                Ok(problem) => problem,
                Err(problem) => problem.help("write its IANA name, for example `Europe/Kyiv`"),
            };
            problems.push(problem);
            None
        }
    }
}

fn attested(
    written: &AttestedFile,
    scope: &Scope<'_>,
    problems: &mut Vec<Problem>,
) -> Option<StatementRequirement> {
    let role = match &written.role {
        Some(role) => scope.role(role, 1, problems),
        None => Role::TESTER,
    };
    let parsed = written.when.as_ref().map(|text| condition(text, ATTESTED_VARIABLES, problems));
    let max_age = written.max_age.as_ref().map(|max_age| span(max_age, problems));
    let latest = match (&written.time, &written.max_age) {
        (Some(time), _) => {
            let field: Vec<String> = time.value.split('.').map(ToOwned::to_owned).collect();
            if field.iter().any(String::is_empty) {
                problems.push(Problem::new(time.place, "not the name of a field").help(
                    "write the names from the outside in, for example `metadata.scanFinishedOn`",
                ));
            }
            Some(StatementTime { field, max_age })
        }
        (None, Some(lonely)) => {
            let message = "`max_age` needs `time`: where the predicate says how old it is";
            problems.push(Problem::new(lonely.place, message));
            None
        }
        (None, None) => None,
    };
    let condition = match parsed {
        Some(None) => return None,
        Some(condition) => condition,
        None => None,
    };
    let predicate_type = written.predicate_type.value.clone();
    Some(StatementRequirement { predicate_type, role, condition, latest })
}

fn condition(
    text: &Located<String>,
    known: &[&str],
    problems: &mut Vec<Problem>,
) -> Option<Condition> {
    match Condition::parse(&text.value, known) {
        Ok(condition) => Some(condition),
        Err(error) => {
            problems.push(Problem::new(text.place, format!("not a condition: {error}")));
            None
        }
    }
}

fn span(period: &Located<Period>, problems: &mut Vec<Problem>) -> SignedDuration {
    if period.value.0.is_zero() {
        problems.push(Problem::new(period.place, "no time at all"));
    }
    SignedDuration::try_from(period.value.0).unwrap_or(SignedDuration::MAX)
}

/// What rollbacks are not asked, after what the rules say of it.
fn on_rollback(written: &OnRollbackFile, problems: &mut Vec<Problem>) -> BTreeSet<GateKind> {
    let mut skipped = GateKind::usually_skipped();
    let mut kind = |name: &Located<String>| -> Option<GateKind> {
        if let Ok(kind) = name.value.parse::<GateKind>() {
            return Some(kind);
        }
        let problem = Problem::new(name.place, format!("unknown gate `{}`", name.value));
        problems.push(problem.did_you_mean(&name.value, GateKind::ALL.map(GateKind::name)));
        None
    };
    let asked: Vec<GateKind> = written.ask.iter().filter_map(&mut kind).collect();
    let not_asked: Vec<(Place, GateKind)> =
        written.skip.iter().filter_map(|name| Some((name.place, kind(name)?))).collect();
    for (place, kind) in &not_asked {
        if !kind.may_be_skipped() {
            problems.push(Problem::new(*place, format!("no rollback skips `{kind}`")));
        } else if asked.contains(kind) {
            problems.push(Problem::new(*place, format!("`{kind}` is asked and skipped")));
        }
    }
    skipped.retain(|kind| !asked.contains(kind));
    skipped.extend(not_asked.into_iter().map(|(_, kind)| kind));
    skipped
}
