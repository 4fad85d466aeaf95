//! A run of ours as a machine that does one thing at a time, in the order of `run/deploy.rs`. What each state means for it
//! is decided by the functions of `judge` and `overrides` that the real one calls.

mod promises;

use std::fmt;
use std::hash::Hash;
use std::rc::Rc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::api::error::ErrorKind;
use crate::api::request::{AppRef, go_json};
use crate::judge::change::{
    Change, ClaimGone, ValueWrite, Writer, closing, interrupted, not_put_back, undoing,
};
use crate::judge::sending::{Sending, Unrendered};
use crate::judge::verdict::{
    Expectation, ExpectedOperation, JudgeMemory, Verdict, deploys_our_values, judge,
};
use crate::model::{Application, HealthStatus, Phase};
use crate::overrides::claim::{Claim, ClaimState, read_claim};
use crate::overrides::patch;
use crate::overrides::plan::AppPlan;
use crate::overrides::values::{Deviation, OverrideValues, deviations};

use super::server::nonce;
use super::world::{Answer, Request, Requested, Rule, World};

/// How often the end of a claim is written, as in `run/write.rs`.
const CLOSINGS: u8 = 3;

/// A run that may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunSetup {
    pub release: &'static str,
    pub environment: Option<&'static str>,
    pub values: &'static [(&'static str, &'static str)],
    /// When it begins, by the server's clock. A claim holds others off for ten minutes.
    pub minute: i64,
    /// It begins when this other run is over.
    pub after: Option<u8>,
}

impl RunSetup {
    /// The run that comes after all others, and has to cope with what they left.
    pub(super) fn next() -> Self {
        Self {
            release: "next",
            environment: Some("shop/dev"),
            values: &[("tag", "5")],
            minute: 80,
            after: None,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_796_000_000 + self.minute * 60).unwrap()
    }

    fn wanted(&self) -> OverrideValues {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        OverrideValues { helm: self.values.iter().map(own).collect(), ..OverrideValues::default() }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Ending {
    /// Exit 0.
    Proven,
    Refused,
    Superseded,
    Failed,
    /// A write may have been done, or may be done yet.
    InDoubt,
    Unknown,
}

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    Values,
    Undo,
    Close,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum At {
    #[default]
    Start,
    /// A change is to be made of the newest state.
    Change(Purpose),
    /// And this is the state that it is made from, and its patch.
    Again(Purpose, u16, u32),
    /// The operations are on their way.
    Sent(Purpose),
    /// The attempt failed.
    Failed(Purpose, Failure),
    /// An automatic sync is given time to begin.
    Automatic,
    Render,
    Sync,
    SyncSent,
    Slot,
    Wait,
    Look,
    ReadBack(Purpose),
    Over,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Failure {
    Conflict,
    Lost,
}

/// What a run does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunStep {
    Begins,
    Sees(u16),
    Sends,
    /// The answer will be lost, or the request.
    SendsInVain,
    Reads,
    Renders,
    GivesUp,
    Looks,
    ReadsBack,
}

impl RunStep {
    pub(super) fn is_undisturbed(&self) -> bool {
        !matches!(self, Self::GivesUp | Self::SendsInVain)
    }
}

impl fmt::Display for RunStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins => f.write_str("begins"),
            Self::Sees(version) => write!(f, "sees version {version}"),
            Self::Sends => f.write_str("sends a request"),
            Self::SendsInVain => f.write_str("sends a request, and gets no answer"),
            Self::Reads => f.write_str("reads"),
            Self::Renders => f.write_str("looks at the manifests"),
            Self::GivesUp => f.write_str("waits no longer"),
            Self::Looks => f.write_str("looks at the pods"),
            Self::ReadsBack => f.write_str("reads back"),
        }
    }
}

/// An attempt at a write: the state that it was made from, the one that showed it, and what it was to make.
#[derive(Clone, Copy, Debug, PartialEq, Hash)]
struct Landing {
    before: u16,
    after: u16,
    expected: u32,
}

/// A run.
///
/// What it holds is in the world's pool.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub(super) struct Run {
    pub at: At,
    before: u16,
    /// The newest state that it knows, by the watch or by answers.
    known: u16,
    /// The newest state that the watch has shown.
    shown: u16,
    /// What its last write made.
    floor: u16,
    write: Option<u32>,
    claim: Option<u32>,
    sending: Option<Sending>,
    /// Attempts at the write that is being sent, as far as they may have landed.
    attempts: Vec<(u16, u32)>,
    /// The attempts at each write that is done.
    writes: Vec<Landing>,
    /// An attempt got no answer, and another one was made.
    is_in_doubt: bool,
    memory: Option<u32>,
    is_state_enough: bool,
    closings: u8,
    /// The writes that were done before the claim was to be closed.
    writes_before: usize,
    /// What the end will be once the claim is closed.
    conclusion: Option<Ending>,
    end: Option<u32>,
    /// It has proven its values, whatever became of them since.
    pub was_proven: bool,
    pub broken: Option<String>,
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

impl Run {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.at, At::Over | At::Dead | At::Start)
    }

    pub(super) fn is_at_work(&self) -> bool {
        !self.is_over()
    }

    pub(super) fn die(&mut self) {
        let was_proven = self.conclusion == Some(Ending::Proven);
        *self = Self { at: At::Dead, was_proven, ..Self::default() };
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        self.conclusion.filter(|_| self.at == At::Over)
    }

    /// What a run may do next, and the worlds that come of it.
    pub(super) fn next(world: &World, run: u8) -> Vec<(RunStep, World)> {
        let mut next = Vec::new();
        let mut step = |step: RunStep, act: &dyn Fn(&mut Actor)| {
            let mut world = world.clone();
            act(&mut Actor { world: &mut world, run });
            next.push((step, world));
        };
        let this = &world.runs[usize::from(run)];
        let seen = if world.fixed.setup.is_prompt { world.now() } else { this.shown };
        let later = seen..=world.now();
        match this.at {
            At::Start => {
                let after = world.fixed.setup.runs[usize::from(run)].after;
                if after.is_none_or(|other| {
                    matches!(world.runs[usize::from(other)].at, At::Over | At::Dead)
                }) {
                    step(RunStep::Begins, &|run| run.begin());
                }
            }
            At::Change(purpose) => {
                for seen in later {
                    step(RunStep::Sees(seen), &|run| {
                        run.see(seen);
                        let known = run.me().known;
                        run.change(purpose, known);
                    });
                }
            }
            At::Again(purpose, state, patch) => {
                step(RunStep::Sends, &|run| run.send(purpose, state, patch, true));
                if world.lost_answers > 0 {
                    step(RunStep::SendsInVain, &|run| run.send(purpose, state, patch, false));
                }
            }
            At::Sent(..) | At::SyncSent | At::Over | At::Dead => {}
            At::Failed(purpose, failure) => {
                step(RunStep::Reads, &|run| run.failed(purpose, failure));
            }
            At::Automatic => {
                for seen in later {
                    step(RunStep::Sees(seen), &|run| {
                        run.see(seen);
                        if run.is_under_way() {
                            run.me().at = At::Render;
                            run.remember(JudgeMemory::default());
                        }
                    });
                }
                step(RunStep::GivesUp, &|run| run.me().at = At::Render);
            }
            At::Render => step(RunStep::Renders, &|run| run.render()),
            At::Sync => step(RunStep::Sends, &|run| run.sync()),
            At::Slot => {
                step(RunStep::Reads, &|run| run.slot());
                if !world.fixed.setup.is_patient {
                    step(RunStep::GivesUp, &|run| run.undo(Ending::Unknown));
                }
            }
            At::Wait => {
                for seen in later {
                    step(RunStep::Sees(seen), &|run| {
                        run.see(seen);
                        run.judge();
                    });
                }
                if !world.fixed.setup.is_patient {
                    step(RunStep::GivesUp, &|run| run.conclude(Ending::Unknown));
                }
            }
            At::Look => step(RunStep::Looks, &|run| run.look()),
            At::ReadBack(purpose) => step(RunStep::ReadsBack, &|run| run.read_back(purpose)),
        }
        next.retain(|(_, after)| {
            after.runs[usize::from(run)] != *this || after.now() != world.now()
        });
        next
    }

    pub(super) fn answered(world: &mut World, run: u8, answer: Answer) {
        Actor { world, run }.answered(answer);
    }
}

/// A run in its world.
struct Actor<'a> {
    world: &'a mut World,
    run: u8,
}

impl Actor<'_> {
    fn me(&mut self) -> &mut Run {
        &mut self.world.runs[usize::from(self.run)]
    }

    fn setup(&self) -> RunSetup {
        self.world.fixed.setup.runs[usize::from(self.run)]
    }

    fn known(&mut self) -> Rc<Application> {
        let known = self.me().known;
        self.world.app(known)
    }

    fn see(&mut self, version: u16) {
        let me = self.me();
        me.shown = me.shown.max(version);
        me.known = me.known.max(version);
    }

    fn plan(&mut self) -> Option<&'static AppPlan> {
        self.written_values().map(|write| write.plan)
    }

    fn begin(&mut self) {
        let now = self.world.now();
        let me = self.me();
        (me.before, me.known, me.shown) = (now, now, now);
        let setup = self.setup();
        let time = setup.now();
        let writer = Writer {
            app: AppRef::new("a"),
            environment: setup.environment,
            release: setup.release,
            by: None,
            nonce: nonce(self.run),
            take_over: false,
            period: SignedDuration::from_mins(10),
        };
        let before = self.world.app(now);
        let values = leak(setup.wanted());
        let Ok(mut plan) = writer.plan(&before, values, time) else {
            return self.over(Ending::Refused);
        };
        if !self.world.has(Rule::Leftovers) {
            plan.changes.retain(|change| !change.new.is_null());
        }
        if writer.admission(&before, &plan, time).is_err() {
            return self.over(Ending::Refused);
        }
        let plan = leak(plan);
        let is_open = read_claim(&before, setup.environment)
            .known()
            .is_some_and(|claim| claim.state == ClaimState::Open);
        let write =
            ValueWrite::new(writer, values, plan, (*before).clone(), ClaimState::Open, time);
        self.keep(write);
        self.me().is_state_enough = plan.is_noop() && !is_open;
        self.me().at = match self.me().is_state_enough && self.is_there(&before) {
            true => At::Wait,
            false => At::Change(Purpose::Values),
        };
        self.me().is_state_enough &= self.me().at == At::Wait;
    }

    /// Whether the values stand, and Argo CD is done with them.
    fn is_there(&mut self, before: &Application) -> bool {
        self.expect(|_, expect| {
            let mut memory = JudgeMemory::default();
            memory.note(expect, before);
            judge(expect, &memory, before, Duration::ZERO) == Verdict::Done
                && memory.operation().is_some()
        })
    }

    fn keep(&mut self, write: ValueWrite<'static>) {
        // The state that it was planned from is part of it.
        let before = self.me().before;
        let before = self.world.versions[usize::from(before)];
        let text = format!("{before:?} {}", write.claim.to_text());
        let id = self.world.fixed.pool.writes.borrow_mut().add(text, write);
        self.me().write = Some(id);
    }

    fn written_values(&mut self) -> Option<Rc<ValueWrite<'static>>> {
        let write = self.me().write?;
        Some(self.world.fixed.pool.writes.borrow().get(write))
    }

    fn interned(&self, claim: Claim) -> u32 {
        self.world.fixed.pool.claims.borrow_mut().add(claim.to_text(), claim)
    }

    fn claim(&mut self, claim: Option<Claim>) {
        self.me().claim = claim.map(|claim| self.interned(claim));
    }

    /// The claim as it stands on the application, as far as this run knows.
    fn own_claim(&mut self) -> Option<Rc<Claim>> {
        let claim = self.me().claim?;
        Some(self.world.fixed.pool.claims.borrow().get(claim))
    }

    fn remember(&mut self, memory: JudgeMemory) {
        let text = format!("{memory:?}");
        let id = self.world.fixed.pool.memories.borrow_mut().add(text, memory);
        self.me().memory = Some(id);
    }

    /// What the state means for the change that is to be made.
    fn meaning(&mut self, purpose: Purpose, app: &Application) -> Change<Option<ClaimGone>> {
        let none = |change| match change {
            Change::Write(operations) => Change::Write(operations),
            Change::Written => Change::Written,
            Change::Stop(()) => Change::Stop(None),
        };
        match purpose {
            Purpose::Values => {
                let time = self.setup().now();
                let Some(write) = self.written_values() else { return Change::Stop(None) };
                let mut write = (*write).clone();
                let change = write.change(app, time);
                self.keep(write);
                none(match change {
                    Change::Write(operations) => Change::Write(operations),
                    Change::Written => Change::Written,
                    Change::Stop(_) => Change::Stop(()),
                })
            }
            Purpose::Undo => {
                let Some(claim) = self.own_claim() else { return Change::Written };
                none(match undoing(app, &claim) {
                    Change::Write(operations) => Change::Write(operations),
                    Change::Written => Change::Written,
                    Change::Stop(_) => Change::Stop(()),
                })
            }
            Purpose::Close => {
                let Some(end) = self.me().end else { return Change::Written };
                let end = self.world.fixed.pool.claims.borrow().get(end);
                match closing(app, &end) {
                    Change::Write(operations) => Change::Write(operations),
                    Change::Written => Change::Written,
                    Change::Stop(gone) => Change::Stop(Some(gone)),
                }
            }
        }
    }

    fn change(&mut self, purpose: Purpose, state: u16) {
        if self.me().sending.is_none() {
            let unrendered = match purpose {
                Purpose::Values => Unrendered::Refuse,
                _ => Unrendered::Replace,
            };
            self.me().sending = Some(Sending::new(unrendered));
        }
        let app = self.world.app(state);
        match self.meaning(purpose, &app) {
            Change::Write(operations) => self.again(purpose, state, operations),
            Change::Written => self.written(purpose),
            Change::Stop(gone) => self.stopped(purpose, gone),
        }
    }

    fn again(&mut self, purpose: Purpose, state: u16, operations: Vec<Value>) {
        let mut operations: Value = serde_json::from_str(&go_json(&operations.into())).unwrap();
        if !self.world.has(Rule::Tests) {
            operations = patch::without_tests(operations);
        }
        let patch = self.world.fixed.pool.json(operations);
        self.me().at = At::Again(purpose, state, patch);
    }

    fn send(&mut self, purpose: Purpose, state: u16, operations: u32, is_answered: bool) {
        let object = self.world.versions[usize::from(state)].object;
        let pool = &self.world.fixed.pool;
        let whole = patch::without_tests((*pool.value(operations)).clone());
        let expected = pool.patched(object, &whole).unwrap_or(object);
        self.me().attempts.push((state, expected));
        let run = self.run;
        if !is_answered {
            self.world.lost_answers -= 1;
            let what = Requested::Patch { from: state, operations };
            self.world.requests.push(Request { run, is_awaited: false, what });
            self.me().at = At::Failed(purpose, Failure::Lost);
            return;
        }
        match self.world.read_for(state, operations) {
            None => {
                self.me().attempts.pop();
                self.me().at = At::Failed(purpose, Failure::Conflict);
            }
            Some(what) => {
                self.world.requests.push(Request { run, is_awaited: true, what });
                self.me().at = At::Sent(purpose);
            }
        }
    }

    fn answered(&mut self, answer: Answer) {
        match (self.me().at, answer) {
            (At::Sent(purpose), Answer::Version(version)) => {
                self.sent(version);
                self.written(purpose);
            }
            (At::SyncSent, Answer::AnotherOperation) => self.me().at = At::Slot,
            (At::SyncSent, Answer::Version(version)) => {
                self.me().floor = version;
                self.me().known = version;
                let app = self.world.app(version);
                let used = app.operation.as_ref().and_then(|operation| operation.sources());
                let lost = match (self.plan(), used) {
                    (Some(plan), Some(sources)) => deviations(sources, &plan.changes),
                    _ => Vec::new(),
                };
                match lost.is_empty() {
                    true => self.me().at = At::Wait,
                    false => self.conclude(Ending::Superseded),
                }
            }
            _ => {}
        }
    }

    fn sent(&mut self, after: u16) {
        let me = self.me();
        me.is_in_doubt |= me.attempts.len() > 1;
        for (before, expected) in std::mem::take(&mut me.attempts) {
            me.writes.push(Landing { before, after, expected });
        }
        me.floor = me.floor.max(after);
        me.known = me.known.max(after);
    }

    fn failed(&mut self, purpose: Purpose, failure: Failure) {
        let Some(mut sending) = self.me().sending.clone() else { return };
        sending.failed(&match failure {
            Failure::Conflict => ErrorKind::TestFailed(String::new()),
            Failure::Lost => ErrorKind::Timeout(Duration::from_secs(1)),
        });
        let found = self.world.now();
        let app = self.world.app(found);
        let meaning = self.meaning(purpose, &app);
        let goes_on = !matches!(meaning, Change::Written) && sending.goes_on();
        let is_in_doubt = sending.is_in_doubt();
        self.me().sending = Some(sending);
        match meaning {
            Change::Written => {
                self.sent(found);
                self.written(purpose);
            }
            _ if !goes_on && is_in_doubt => self.in_doubt(purpose),
            _ if !goes_on => self.gave_up(purpose),
            Change::Write(operations) => self.again(purpose, found, operations),
            Change::Stop(gone) => self.stopped(purpose, gone),
        }
    }

    /// The change is there.
    fn written(&mut self, purpose: Purpose) {
        self.me().sending = None;
        match purpose {
            Purpose::Values => {
                let Some(write) = self.written_values() else { return };
                self.claim(Some(write.claim.clone()));
                let known = self.known();
                if !write.lost(&known).is_empty() {
                    return self.conclude(Ending::Superseded);
                }
                self.me().at = match known.spec.is_automated() && !write.plan.is_noop() {
                    true => At::Automatic,
                    false => At::Render,
                };
            }
            Purpose::Undo | Purpose::Close => self.me().at = At::ReadBack(purpose),
        }
    }

    /// The change must not be made.
    fn stopped(&mut self, purpose: Purpose, gone: Option<ClaimGone>) {
        self.me().sending = None;
        match (purpose, gone) {
            (Purpose::Values, _) => self.over(Ending::Refused),
            (Purpose::Undo, _) => self.conclude(Ending::Unknown),
            (Purpose::Close, gone) => {
                let is_proof = self.me().conclusion == Some(Ending::Proven);
                self.claim(None);
                match gone {
                    Some(ClaimGone::TakenOver | ClaimGone::Changed(_)) if is_proof => {
                        self.over(Ending::Superseded);
                    }
                    _ => self.concluded(),
                }
            }
        }
    }

    fn in_doubt(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Values => self.over(Ending::InDoubt),
            Purpose::Undo => self.conclude(Ending::InDoubt),
            Purpose::Close => self.concluded(),
        }
    }

    fn gave_up(&mut self, purpose: Purpose) {
        match purpose {
            Purpose::Values => self.over(Ending::Refused),
            Purpose::Undo => self.conclude(Ending::Unknown),
            Purpose::Close => self.concluded(),
        }
    }

    fn expect<T>(&mut self, judge: impl FnOnce(&mut Self, &Expectation<'_>) -> T) -> T {
        let before = self.me().before;
        let before = self.world.app(before);
        let plan = self.plan();
        let is_state_enough = self.me().is_state_enough;
        let operation = match is_state_enough {
            true => ExpectedOperation::State,
            false => ExpectedOperation::Sync { nonce: nonce(self.run) },
        };
        let expect = Expectation {
            values: plan.map(|plan| plan.changes.as_slice()),
            operation,
            revisions: &[],
            last_history: before.status.last_history(),
            health_before: HealthStatus::Healthy,
            broken_before: Vec::new(),
            stuck_after: Duration::from_secs(60),
            allow_unpruned: false,
        };
        judge(self, &expect)
    }

    /// Whether an operation with our values runs, or is over.
    fn is_under_way(&mut self) -> bool {
        let app = self.known();
        self.expect(|_, expect| {
            let mut memory = JudgeMemory::default();
            memory.note(expect, &app);
            deploys_our_values(expect, &app) || memory.operation().is_some()
        })
    }

    fn render(&mut self) {
        let stands = self.stands(self.world.now());
        let is_begun = self.me().memory.take().is_some();
        if stands && !self.world.fixed.setup.shadowed {
            self.me().at = if is_begun { At::Wait } else { At::Sync };
            return;
        }
        // Other values than ours may have been rendered: somebody wrote in between.
        self.me().known = self.world.now();
        match stands {
            false => self.conclude(Ending::Superseded),
            true => self.undo(Ending::Refused),
        }
    }

    /// Whether our values stand in a version.
    fn stands(&mut self, version: u16) -> bool {
        let app = self.world.app(version);
        self.plan().is_some_and(|plan| deviations(app.spec.sources(), &plan.changes).is_empty())
    }

    fn sync(&mut self) {
        let source = self.world.source();
        let snapshot = self.world.fixed.setup.snapshots.then_some(source);
        if self.world.status().operation.is_some() {
            self.me().at = At::Slot;
            return;
        }
        let what = Requested::Sync { snapshot };
        self.world.requests.push(Request { run: self.run, is_awaited: true, what });
        self.me().at = At::SyncSent;
    }

    fn slot(&mut self) {
        self.me().known = self.world.now();
        let app = self.known();
        let runs = app
            .status
            .operation_state
            .as_ref()
            .is_some_and(|state| matches!(state.phase, Phase::Running | Phase::Terminating));
        if self.is_under_way() {
            self.me().at = At::Wait;
        } else if app.operation.is_none() && !runs {
            self.me().at = At::Sync;
        }
    }

    fn judge(&mut self) {
        let app = self.known();
        let mut memory = match self.me().memory.take() {
            Some(memory) => (*self.world.fixed.pool.memories.borrow().get(memory)).clone(),
            None => JudgeMemory::default(),
        };
        let verdict = self.expect(|_, expect| {
            memory.note(expect, &app);
            judge(expect, &memory, &app, Duration::ZERO)
        });
        self.remember(memory);
        match verdict {
            Verdict::Superseded(_) => self.conclude(Ending::Superseded),
            Verdict::Failed(_) => self.conclude(Ending::Failed),
            Verdict::Done => self.me().at = At::Look,
            Verdict::Stale(_) | Verdict::Waiting(_) => {}
        }
    }

    fn look(&mut self) {
        let live = self.world.live;
        let runs = self
            .setup()
            .values
            .iter()
            .all(|(name, value)| self.world.parameter(live, name).as_deref() == Some(*value));
        match runs {
            true => self.conclude(Ending::Proven),
            false => self.me().at = At::Wait,
        }
    }

    fn undo(&mut self, ending: Ending) {
        self.me().conclusion = Some(ending);
        self.me().at = At::Change(Purpose::Undo);
    }

    /// Closes the claim as the ending wants it.
    fn conclude(&mut self, ending: Ending) {
        self.me().conclusion = Some(ending);
        let state = match ending {
            Ending::Proven => ClaimState::Done,
            _ => ClaimState::Failed,
        };
        if self.me().is_state_enough && ending == Ending::Proven {
            let environment = self.setup().environment;
            let on_app = read_claim(&self.known(), environment);
            let release = self.setup().release;
            let failed = on_app
                .known()
                .filter(|claim| claim.state == ClaimState::Failed && claim.release == release);
            let ours = failed.map(|claim| claim.in_state(ClaimState::Open));
            self.claim(ours);
        }
        let open = self.own_claim().filter(|claim| claim.state == ClaimState::Open);
        let Some(claim) = open else { return self.concluded() };
        self.me().end = Some(self.interned(claim.in_state(state)));
        self.me().closings = 0;
        self.me().writes_before = self.me().writes.len();
        self.me().at = At::Change(Purpose::Close);
    }

    fn read_back(&mut self, purpose: Purpose) {
        if !self.world.has(Rule::ReadBack) {
            return match purpose {
                Purpose::Close => self.closed(),
                _ => self.concluded(),
            };
        }
        let now = self.world.now();
        let me = self.me();
        me.shown = me.shown.max(me.floor);
        me.known = now;
        let app = self.world.app(now);
        if purpose == Purpose::Undo {
            let Some(claim) = self.own_claim() else { return self.concluded() };
            if !not_put_back(&app, &claim).is_empty() {
                return self.conclude(Ending::Unknown);
            }
            self.claim(Some(claim.in_state(ClaimState::Undone)));
            return self.concluded();
        }
        match self.meaning(Purpose::Close, &app) {
            Change::Write(_) if self.me().closings + 1 < CLOSINGS => {
                self.me().closings += 1;
                self.me().at = At::Change(Purpose::Close);
            }
            Change::Stop(Some(gone @ ClaimGone::Changed(_))) => {
                self.stopped(Purpose::Close, Some(gone));
            }
            _ => match self.interrupted() {
                lost if lost.is_empty() => self.closed(),
                lost => self.stopped(Purpose::Close, Some(ClaimGone::Changed(lost))),
            },
        }
    }

    fn interrupted(&mut self) -> Vec<Deviation> {
        let Some(end) = self.me().end else { return Vec::new() };
        let end = self.world.fixed.pool.claims.borrow().get(end);
        let me = self.me().clone();
        let versions = me.writes[me.writes_before..].iter().flat_map(|it| it.before + 1..it.after);
        let seen: Vec<Rc<Application>> = versions.map(|version| self.world.app(version)).collect();
        interrupted(&end, &seen.iter().map(Rc::as_ref).collect::<Vec<_>>())
    }

    fn closed(&mut self) {
        let end = self.me().end.take();
        self.me().claim = end;
        self.concluded();
    }

    fn concluded(&mut self) {
        let ending = self.me().conclusion.unwrap_or(Ending::Unknown);
        self.over(ending);
    }

    /// The run ends, and its promises are looked at.
    fn over(&mut self, ending: Ending) {
        let broken = self.broken_promise(ending);
        let was_proven = self.me().conclusion == Some(Ending::Proven);
        *self.me() =
            Run { at: At::Over, conclusion: Some(ending), was_proven, broken, ..Run::default() };
    }
}
