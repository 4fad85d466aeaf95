//! The world that is explored: one application, the controller, other clients and runs of ours, each one step at a time.

mod going_on;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use serde_json::json;

use crate::model::Application;

use super::run::{At, Run, RunSetup, RunStep};
use super::search::Explorable;
use super::server::{Edit, OperationState, Pool, Status, Sync, Version};

/// What can happen in an exploration, and how often.
#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    /// The application syncs itself.
    pub automated: bool,
    /// An operation carries the sources as its request saw them, as from Argo CD 3.2.
    pub snapshots: bool,
    /// A file in git wins over the application, so that the manifests never show our values.
    pub shadowed: bool,
    /// Runs wait for ever, so that there are fewer ends.
    pub is_patient: bool,
    /// The watch is never late.
    pub is_prompt: bool,
    pub runs: Vec<RunSetup>,
    pub others: Vec<Other>,
    /// Runs that are killed.
    pub crashes: u8,
    /// Answers to writes that get lost, or writes that do.
    pub lost_answers: u8,
    /// Operations that fail.
    pub failures: u8,
    /// What our runs leave out.
    pub without: Vec<Rule>,
}

/// A rule of our protocol, for an exploration that leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A patch tests what it depends on.
    Tests,
    /// What is left at the end is read back.
    ReadBack,
    /// What a write took back is told.
    Telling,
    /// A take-over puts back what only the dead run wrote.
    Leftovers,
}

/// Another client, who does one thing at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// Reads the application and writes all of it, as the argocd CLI does.
    Cli(Edit),
    /// Changes what is stored, as `kubectl patch` does.
    Kubectl(Edit),
    /// An ApplicationSet that makes the application anew from its template.
    Set,
}

/// How far another client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Progress {
    Idle,
    /// The server has read the application, and will write this object.
    Read(u32),
    Done,
}

/// A request of a run that the server has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Request {
    pub run: u8,
    /// Whether the run still waits for the answer.
    pub is_awaited: bool,
    pub what: Requested,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Requested {
    /// On its way: the operations of a patch, made from a version.
    Patch {
        from: u16,
        operations: u32,
    },
    /// Read at a version, and to be written as a whole object.
    Write {
        from: u16,
        base: u16,
        object: u32,
    },
    Sync {
        snapshot: Option<u32>,
    },
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    Version(u16),
    AnotherOperation,
}

/// A change of somebody else that a write of ours took back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Loss {
    pub run: u8,
    pub path: String,
    pub value: String,
}

/// What is the same in all states.
#[derive(Debug)]
pub(super) struct Fixed {
    pub setup: Setup,
    pub pool: Pool,
    /// What an ApplicationSet makes of it.
    template: u32,
    /// What the next run makes of a version, of what is deployed, and of which runs were proven.
    ends: RefCell<HashMap<End, Option<String>>>,
}

/// What ended runs leave.
type End = (Version, u32, Vec<bool>);

/// A state of the world.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub fixed: Rc<Fixed>,
    /// Every version that was stored, oldest first.
    pub versions: Vec<Version>,
    /// The source that is deployed.
    pub live: u32,
    pub requests: Vec<Request>,
    pub others: Vec<Progress>,
    pub runs: Vec<Run>,
    pub crashes: u8,
    pub lost_answers: u8,
    failures: u8,
    pub losses: BTreeSet<Loss>,
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let budgets = (self.crashes, self.lost_answers, self.failures);
        (&self.versions, self.live, &self.requests, &self.others, &self.runs).hash(state);
        (budgets, &self.losses).hash(state);
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Run(u8, RunStep),
    /// The server reads the application for a patch whose answer nobody waits for.
    Reads(u8),
    /// The server carries a request out, and answers.
    Writes(u8),
    Other(u8),
    Starts,
    Ends,
    Fails,
    Compares,
    SyncsItself,
    Crash(u8),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(run, step) => write!(f, "run {run} {step}"),
            Self::Reads(run) => write!(f, "the server reads for a patch of run {run}"),
            Self::Writes(run) => write!(f, "the server carries out a request of run {run}"),
            Self::Other(other) => write!(f, "client {other} goes on"),
            Self::Starts => f.write_str("the controller begins the operation"),
            Self::Ends => f.write_str("the operation succeeds"),
            Self::Fails => f.write_str("the operation fails"),
            Self::Compares => f.write_str("the controller compares"),
            Self::SyncsItself => f.write_str("the controller syncs by itself"),
            Self::Crash(run) => write!(f, "run {run} is killed"),
        }
    }
}

impl World {
    /// The application runs `tag` 1, and nobody has done anything.
    pub(super) fn new(setup: Setup) -> Self {
        let pool = Pool::default();
        let parameter =
            |name: &str, value: &str| json!({ "name": name, "value": value, "forceString": true });
        let policy = setup.automated.then(|| json!({ "automated": {} }));
        let object = pool.json(json!({
            "metadata": { "name": "a", "annotations": { "team": "web" } },
            "spec": {
                "project": "p",
                "source": {
                    "repoURL": "r", "path": "c",
                    "helm": { "parameters": [parameter("replicas", "1"), parameter("tag", "1")] },
                },
                "syncPolicy": policy,
            },
        }));
        let source = pool.source(object);
        let first = Sync { run: None, snapshot: None };
        let status = Status {
            operation: None,
            state: Some(OperationState { operation: first, source, ended: Some(true) }),
            history: vec![source],
            compared_to: source,
            is_synced: true,
            is_fresh: true,
        };
        let runs = (0..setup.runs.len()).map(|_| Run::default()).collect();
        Self {
            versions: vec![pool.version(object, status)],
            live: source,
            requests: Vec::new(),
            others: vec![Progress::Idle; setup.others.len()],
            runs,
            crashes: setup.crashes,
            lost_answers: setup.lost_answers,
            failures: setup.failures,
            losses: BTreeSet::new(),
            fixed: Rc::new(Fixed { setup, pool, template: object, ends: RefCell::default() }),
        }
    }

    /// A world in which all but a further run is over.
    pub(super) fn after(&self, run: RunSetup) -> Self {
        let fixed = &self.fixed.setup;
        let mut runs = fixed.runs.clone();
        runs.push(run);
        // Interned anew, in a pool of its own.
        let mut world = Self::new(Setup {
            automated: fixed.automated,
            snapshots: fixed.snapshots,
            runs,
            without: fixed.without.clone(),
            ..Setup::default()
        });
        let from = &self.fixed.pool;
        let into = &world.fixed.pool;
        let moved = |id: u32| into.json((*from.value(id)).clone());
        let sync = |sync: Sync| Sync { snapshot: sync.snapshot.map(moved), ..sync };
        let last = self.status();
        let status = Status {
            operation: last.operation.map(sync),
            state: last.state.map(|state| OperationState {
                operation: sync(state.operation),
                source: moved(state.source),
                ..state
            }),
            history: last.history.iter().copied().map(moved).collect(),
            compared_to: moved(last.compared_to),
            ..(*last).clone()
        };
        let version = into.version(moved(self.last().object), status);
        let live = moved(self.live);
        world.versions = vec![version];
        world.live = live;
        world.runs[..self.runs.len()].clone_from_slice(&self.runs);
        world
    }

    pub(super) fn last(&self) -> Version {
        self.versions[self.versions.len() - 1]
    }

    pub(super) fn status(&self) -> Rc<Status> {
        self.fixed.pool.status(self.last())
    }

    pub(super) fn now(&self) -> u16 {
        u16::try_from(self.versions.len() - 1).unwrap()
    }

    pub(super) fn app(&self, version: u16) -> Rc<Application> {
        self.fixed.pool.app(self.versions[usize::from(version)])
    }

    pub(super) fn source(&self) -> u32 {
        self.fixed.pool.source(self.last().object)
    }

    pub(super) fn has(&self, rule: Rule) -> bool {
        !self.fixed.setup.without.contains(&rule)
    }

    /// The value of a parameter in a source.
    pub(super) fn parameter(&self, source: u32, name: &str) -> Option<String> {
        let source = self.fixed.pool.value(source);
        let list = source["helm"]["parameters"].as_array()?;
        let found = list.iter().find(|parameter| parameter["name"] == name)?;
        found["value"].as_str().map(str::to_owned)
    }

    /// Stores a new version, if it is one.
    fn store(&mut self, object: u32, status: Status) -> u16 {
        let version = self.fixed.pool.version(object, status);
        if version != self.last() {
            self.versions.push(version);
        }
        self.now()
    }

    /// The server reads the application for a patch. `None`: a test does not hold.
    pub(super) fn read_for(&self, from: u16, operations: u32) -> Option<Requested> {
        let operations = self.fixed.pool.value(operations);
        let object = self.fixed.pool.patched(self.last().object, &operations)?;
        Some(Requested::Write { from, base: self.now(), object })
    }

    /// Writes a whole object over whatever was stored since the server had read it at `base`, for a change that was made
    /// `from` a version that is perhaps older.
    fn overlay(&mut self, run: u8, from: u16, base: u16, object: u32) -> u16 {
        let flat = |object: u32| self.fixed.pool.parts(object);
        let known = flat(self.versions[usize::from(from)].object);
        let (read, stored, written) =
            (flat(self.versions[usize::from(base)].object), flat(self.last().object), flat(object));
        let paths: BTreeSet<&String> =
            read.keys().chain(stored.keys()).chain(written.keys()).collect();
        for path in paths {
            let foreign = stored.get(path);
            let is_ours = known.get(path) != written.get(path);
            let is_unseen = foreign != read.get(path) || (is_ours && foreign != known.get(path));
            if is_unseen && foreign != written.get(path) {
                let value = foreign.cloned().unwrap_or_else(|| "(absent)".into());
                self.losses.insert(Loss { run, path: path.clone(), value });
            }
        }
        self.store(object, (*self.status()).clone())
    }

    /// Carries out a request whose reading is done.
    fn carry_out(&mut self, request: Request) {
        let answer = match request.what {
            Requested::Patch { .. } => return,
            Requested::Write { from, base, object } => {
                Answer::Version(self.overlay(request.run, from, base, object))
            }
            Requested::Sync { .. } if self.status().operation.is_some() => Answer::AnotherOperation,
            Requested::Sync { snapshot } => {
                let operation = Some(Sync { run: Some(request.run), snapshot });
                let status = Status { operation, ..(*self.status()).clone() };
                Answer::Version(self.store(self.last().object, status))
            }
        };
        if request.is_awaited {
            Run::answered(self, request.run, answer);
        }
    }

    fn controlled(&self) -> Vec<(Step, Self)> {
        let mut next = Vec::new();
        let (object, source) = (self.last().object, self.source());
        let mut change = |step, edit: &dyn Fn(&mut Self, &mut Status)| {
            let mut world = self.clone();
            let mut status = (*world.status()).clone();
            edit(&mut world, &mut status);
            world.store(object, status);
            next.push((step, world));
        };
        let status = self.status();
        let running = status.state.filter(|state| state.ended.is_none());
        match (running, status.operation) {
            (Some(state), _) => {
                let end = |good: bool| {
                    move |world: &mut Self, status: &mut Status| {
                        status.operation = None;
                        status.state = Some(OperationState { ended: Some(good), ..state });
                        status.is_fresh = false;
                        if good {
                            world.live = state.source;
                            status.history.push(state.source);
                        } else {
                            world.failures -= 1;
                        }
                    }
                };
                change(Step::Ends, &end(true));
                if self.failures > 0 {
                    change(Step::Fails, &end(false));
                }
            }
            (None, Some(operation)) => change(Step::Starts, &|_, status| {
                let source = operation.snapshot.unwrap_or(source);
                status.state = Some(OperationState { operation, source, ended: None });
            }),
            (None, None) => {}
        }
        let is_synced = self.live == source;
        if status.compared_to != source
            || status.is_synced != is_synced
            || (status.operation.is_none() && !status.is_fresh)
        {
            change(Step::Compares, &|_, status| {
                status.compared_to = source;
                status.is_synced = is_synced;
                status.is_fresh = running.is_none();
            });
        }
        let setup = &self.fixed.setup;
        let knows = status.compared_to == source && !status.is_synced && !is_synced;
        // What failed once with the same sources is not tried again.
        let failed =
            status.state.is_some_and(|state| state.source == source && state.ended == Some(false));
        if setup.automated && knows && !failed && status.operation.is_none() && running.is_none() {
            change(Step::SyncsItself, &|_, status| {
                let snapshot = setup.snapshots.then_some(source);
                status.operation = Some(Sync { run: None, snapshot });
            });
        }
        next
    }

    fn other(&self, index: usize) -> Option<Self> {
        let pool = &self.fixed.pool;
        let (object, status) = (self.last().object, (*self.status()).clone());
        let mut world = self.clone();
        let progress = match (self.fixed.setup.others[index], self.others[index]) {
            (_, Progress::Done) => return None,
            (Other::Cli(edit), Progress::Idle) => Progress::Read(pool.with(object, &edit)),
            (_, Progress::Read(object)) => {
                world.store(object, status);
                Progress::Done
            }
            (Other::Kubectl(edit), Progress::Idle) => {
                world.store(pool.with(object, &edit), status);
                Progress::Done
            }
            (Other::Set, Progress::Idle) => {
                world.store(self.fixed.template, status);
                Progress::Done
            }
        };
        world.others[index] = progress;
        Some(world)
    }

    /// Whether no run of ours is at work or can begin.
    fn is_over(&self) -> bool {
        self.runs.iter().all(|run| matches!(run.at, At::Over | At::Dead))
    }

    /// Whether nobody but the controller will do anything.
    fn is_quiet(&self) -> bool {
        self.requests.is_empty()
            && self.runs.iter().all(|run| run.is_over())
            && self.others.iter().all(|other| !matches!(other, Progress::Read(_)))
    }
}

impl Explorable for World {
    type Step = Step;

    fn next(&self) -> Vec<(Step, Self)> {
        let mut next = Vec::new();
        // What the controller does after the last run matters to nobody.
        if !self.is_over() {
            next.extend(self.controlled());
        }
        for index in 0..self.runs.len() {
            let run = u8::try_from(index).unwrap();
            next.extend(
                Run::next(self, run).into_iter().map(|(step, world)| (Step::Run(run, step), world)),
            );
            if self.crashes > 0 && self.runs[index].is_at_work() {
                let mut world = self.clone();
                world.crashes -= 1;
                world.runs[index].die();
                for request in &mut world.requests {
                    request.is_awaited &= request.run != run;
                }
                next.push((Step::Crash(run), world));
            }
        }
        for (index, request) in self.requests.iter().enumerate() {
            let mut world = self.clone();
            match request.what {
                Requested::Patch { from, operations } => {
                    // It may never come, too.
                    let mut without = self.clone();
                    without.requests.remove(index);
                    next.push((Step::Reads(request.run), without));
                    match self.read_for(from, operations) {
                        Some(what) => world.requests[index].what = what,
                        None => continue,
                    }
                    next.push((Step::Reads(request.run), world));
                }
                Requested::Write { .. } | Requested::Sync { .. } => {
                    let request = world.requests.remove(index);
                    world.carry_out(request);
                    next.push((Step::Writes(request.run), world));
                }
            }
        }
        for index in 0..self.others.len() {
            if self.is_over() && self.others[index] == Progress::Idle {
                continue;
            }
            let step = Step::Other(u8::try_from(index).unwrap());
            next.extend(self.other(index).map(|world| (step, world)));
        }
        next
    }

    fn broken(&self) -> Option<String> {
        for (index, run) in self.runs.iter().enumerate() {
            if let Some(promise) = run.broken.clone() {
                return Some(format!("run {index}: {promise}"));
            }
        }
        if !self.is_quiet() {
            return None;
        }
        let proven = self.runs.iter().map(|run| run.was_proven).collect();
        let end = (self.last(), self.live, proven);
        if let Some(known) = self.fixed.ends.borrow().get(&end) {
            return known.clone();
        }
        let found = self.cannot_go_on();
        self.fixed.ends.borrow_mut().insert(end, found.clone());
        found
    }
}
