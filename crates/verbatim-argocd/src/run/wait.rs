//! Waits until an application is as expected, and proves what runs. Judging is done elsewhere; this is the loop.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::error::Error;
use crate::judge::evidence::{DeployProof, KnownBy, RenderedImage, WorkloadEvidence};
use crate::judge::mismatch::Mismatch;
use crate::judge::missing::Missing;
use crate::judge::outcome::unhealthy;
use crate::judge::outcome::{
    AppFailure, DeployOutcome, OnPause, ProofStage, ReachedState, Unhealthy,
};
use crate::judge::prove::Judgement;
use crate::judge::verdict::{
    Expectation, ExpectedOperation, JudgeMemory, MissingState, Verdict, judge,
    only_health_is_missing,
};
use crate::judge::warning::DeployWarning;
use crate::model::HealthStatus;
use crate::run::event::{DeployEvent, DeployStep};
use crate::run::follow::NextState;
use crate::run::read::evidence;
use crate::run::session::{AppRun, Subject, now};

/// Pause between two refreshes, if the first did not bring what is waited for.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);

/// How long the manifests may differ before it counts. They are those of the comparison that was judged already.
const MANIFESTS_PATIENCE: Duration = Duration::from_millis(500);

/// Pause between two looks for pods that fail to start.
const TREE_PAUSE: Duration = Duration::from_secs(2);

/// Pauses between two looks at what runs: short at first, for what is only a cache behind.
const FIRST_LOOK: Duration = Duration::from_millis(150);
const LONGEST_LOOK: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitGoal {
    Done,
    /// And every wanted image is proven.
    Proof,
}

/// What a look at the pods brought.
enum Look {
    Proven(Vec<WorkloadEvidence>, Vec<RenderedImage>),
    Differs(ProofStage, Vec<Mismatch>),
    Paused(Mismatch, Vec<WorkloadEvidence>),
    Pending(Mismatch),
}

/// Timers and memory of one wait.
struct Wait {
    memory: JudgeMemory,
    /// The judge said done once.
    proving: bool,
    ready_since: Option<Instant>,
    refresh_at: Instant,
    differs_since: Option<Instant>,
    /// When to look at the tree next, and at what runs.
    tree_at: Instant,
    look_at: Instant,
    look_pause: Duration,
    settled_until: Option<Instant>,
    settled: bool,
    /// Pods that fail to start, since when.
    stuck: BTreeMap<String, Instant>,
    unhealthy: Vec<Unhealthy>,
    /// What is missing of a paused rollout, and what runs of it.
    paused: Option<(Mismatch, Vec<WorkloadEvidence>)>,
    missing: Missing,
}

impl Wait {
    fn new(memory: JudgeMemory) -> Self {
        let now = Instant::now();
        Self {
            memory,
            proving: false,
            ready_since: None,
            refresh_at: now,
            differs_since: None,
            tree_at: now,
            look_at: now,
            look_pause: FIRST_LOOK,
            settled_until: None,
            settled: false,
            stuck: BTreeMap::new(),
            unhealthy: Vec::new(),
            paused: None,
            missing: Missing::Unknown,
        }
    }

    fn look_later(&mut self) {
        self.look_at = Instant::now() + self.look_pause;
        self.look_pause = (self.look_pause * 2).min(LONGEST_LOOK);
    }
}

impl AppRun<'_> {
    /// Waits for the goal, or for the reason why it will not be reached.
    pub(crate) async fn wait(
        &mut self,
        expect: &Expectation<'_>,
        goal: WaitGoal,
        memory: JudgeMemory,
    ) -> DeployOutcome {
        self.log.begin(DeployStep::Wait);
        let mut wait = Wait::new(memory);
        loop {
            self.tell_changes();
            wait.memory.note(expect, self.follow.app());
            let since = wait.ready_since.map_or(Duration::ZERO, |since| since.elapsed());
            let verdict = judge(expect, &wait.memory, self.follow.app(), since);
            if only_health_is_missing(&verdict) && wait.ready_since.is_none() {
                wait.ready_since = Some(Instant::now());
            }
            let wake = match self.act(&verdict, expect, goal, &mut wait).await {
                Ok(Act::End(outcome)) => return outcome,
                Ok(Act::Again) => continue,
                Ok(Act::Wait(wake)) => wake.unwrap_or(self.follow.deadline()),
                Err(error) => return self.cut_off(&wait, Some(error)),
            };
            match self.follow.next(wake.min(self.follow.deadline())).await {
                Ok(NextState::Changed) => {}
                Ok(NextState::Deleted) => {
                    return DeployOutcome::Degraded {
                        why: AppFailure::Deleted,
                        unhealthy: Vec::new(),
                    };
                }
                Ok(NextState::Time) if self.follow.is_over() => {
                    return self.at_deadline(&verdict, &wait);
                }
                Ok(NextState::Time) => {}
                Err(error) => return self.cut_off(&wait, Some(error)),
            }
        }
    }

    async fn act(
        &mut self,
        verdict: &Verdict,
        expect: &Expectation<'_>,
        goal: WaitGoal,
        wait: &mut Wait,
    ) -> Result<Act, Error> {
        match verdict {
            Verdict::Superseded(deviations) => Ok(Act::End(self.superseded_by(deviations.clone()))),
            Verdict::Failed(why) => {
                self.look_at_tree(wait).await;
                let unhealthy = std::mem::take(&mut wait.unhealthy);
                Ok(Act::End(DeployOutcome::Degraded { why: why.clone(), unhealthy }))
            }
            Verdict::Stale(waiting) => {
                self.waiting(wait, Missing::State(waiting.clone()));
                if Instant::now() < wait.refresh_at {
                    return Ok(Act::Wait(Some(wait.refresh_at)));
                }
                wait.refresh_at = Instant::now() + REFRESH_PAUSE;
                let before = self.follow.app().clone();
                match self.follow.refresh().await {
                    Ok(()) => {
                        wait.memory.note_refresh(&before);
                        Ok(Act::Again)
                    }
                    Err(error) if error.kind.is_transient() => {
                        self.follow.trouble = Some(error);
                        Ok(Act::Wait(Some(wait.refresh_at)))
                    }
                    Err(error) => Err(error),
                }
            }
            Verdict::Waiting(waiting) => {
                self.waiting(wait, Missing::State(waiting.clone()));
                wait.settled_until = None;
                // A new state of health is worth a look at once.
                wait.look_at = Instant::now();
                wait.look_pause = FIRST_LOOK;
                if !matches!(waiting, MissingState::Health(..)) {
                    return Ok(Act::Wait(None));
                }
                if Instant::now() >= wait.tree_at {
                    self.look_at_tree(wait).await;
                    wait.tree_at = Instant::now() + TREE_PAUSE;
                }
                match self.stuck(wait) {
                    Some(pods) => Ok(Act::End(DeployOutcome::Degraded {
                        why: AppFailure::Stuck { pods },
                        unhealthy: std::mem::take(&mut wait.unhealthy),
                    })),
                    None => Ok(Act::Wait(Some(wait.tree_at))),
                }
            }
            Verdict::Done => match goal {
                WaitGoal::Done => {
                    self.log.done(DeployStep::Wait);
                    Ok(Act::End(self.reached()))
                }
                WaitGoal::Proof => self.prove(expect, wait).await,
            },
        }
    }

    /// Tells what is waited for, if that is something else than before.
    fn waiting(&self, wait: &mut Wait, missing: Missing) {
        if wait.missing != missing {
            self.log.waiting(missing.clone());
            wait.missing = missing;
        }
    }

    /// Looks at what runs; ends, or holds, or waits for more.
    async fn prove(&mut self, expect: &Expectation<'_>, wait: &mut Wait) -> Result<Act, Error> {
        let at = Instant::now();
        if let Some(until) = wait.settled_until.filter(|until| at < *until) {
            return Ok(Act::Wait(Some(until)));
        }
        if wait.settled_until.is_some() && !wait.settled {
            // The hold is over. The second look is at a live read, not at what the watch said last.
            wait.settled = true;
            self.follow.read().await?;
            return Ok(Act::Again);
        }
        if at < wait.look_at && wait.settled_until.is_none() {
            return Ok(Act::Wait(Some(wait.look_at)));
        }
        if !wait.proving {
            wait.proving = true;
            self.log.done(DeployStep::Wait);
            self.log.begin(DeployStep::Prove);
        }
        let look = match self.look(&wait.memory).await {
            Ok(look) => look,
            Err(error) if error.kind.is_transient() => {
                wait.missing = Missing::Answer(error.kind.to_string());
                wait.look_later();
                return Ok(Act::Wait(Some(wait.look_at)));
            }
            Err(error) => return Err(error),
        };
        let paused_before = wait.paused.take();
        match look {
            Look::Proven(workloads, rendered) => {
                if !self.subject.options.settle.is_zero() && !wait.settled {
                    self.log.begin(DeployStep::Settle);
                    let until = Instant::now() + self.subject.options.settle;
                    wait.settled_until = Some(until);
                    // The hold is not part of the time that the deployment may take.
                    self.follow.extend_to(until + Duration::from_secs(30));
                    wait.missing = Missing::Hold;
                    return Ok(Act::Wait(Some(until)));
                }
                self.log.done(DeployStep::Prove);
                Ok(Act::End(self.proven(expect, wait, workloads, rendered)))
            }
            Look::Differs(place, problems) => {
                let since = *wait.differs_since.get_or_insert(at);
                let patience = match place {
                    ProofStage::Manifests => MANIFESTS_PATIENCE,
                    // An operator may be slow; one that makes nothing may never do.
                    ProofStage::Cluster if problems.iter().all(Mismatch::is_nothing_made) => {
                        self.subject.options.stuck_after
                    }
                    ProofStage::Cluster => self.subject.options.patience,
                };
                if since.elapsed() >= patience || self.follow.is_over() {
                    return Ok(Act::End(DeployOutcome::NotProven { at: place, problems }));
                }
                if let Some(problem) = problems.into_iter().next() {
                    self.waiting(wait, Missing::Proof(problem));
                }
                wait.look_later();
                Ok(Act::Wait(Some(wait.look_at)))
            }
            Look::Paused(missing, workloads) => {
                wait.differs_since = None;
                let on_pause = self.subject.options.on_pause;
                if on_pause != OnPause::Wait {
                    return Ok(Act::End(DeployOutcome::Paused { missing, workloads, on_pause }));
                }
                // Told once for each step of a canary: somebody has to do something now.
                if paused_before.is_none_or(|(told, _)| told != missing) {
                    self.log.tell(DeployEvent::Paused { missing: missing.clone() });
                }
                wait.missing = Missing::Proof(missing.clone());
                wait.paused = Some((missing, workloads));
                wait.look_later();
                Ok(Act::Wait(Some(wait.look_at)))
            }
            Look::Pending(problem) => {
                wait.differs_since = None;
                self.waiting(wait, Missing::Proof(problem));
                wait.look_later();
                Ok(Act::Wait(Some(wait.look_at)))
            }
        }
    }

    async fn look(&self, memory: &JudgeMemory) -> Result<Look, Error> {
        let state = self.follow.app();
        let hooks = memory.hooks(state);
        let Subject { client, app, images, .. } = &self.subject;
        let evidence = evidence(client, app, state, images, &hooks).await?;
        if !evidence.shown.problems.is_empty() {
            return Ok(Look::Differs(ProofStage::Manifests, evidence.shown.problems));
        }
        let (mut proven, mut differs) = (Vec::new(), Vec::new());
        let (mut pending, mut paused) = (None, None);
        for judgement in evidence.judgements {
            match judgement {
                Judgement::Proven(workload) => proven.push(workload),
                Judgement::Paused { part, missing } => {
                    proven.push(part);
                    paused = paused.or(Some(missing));
                }
                Judgement::Differs(problems) => differs.extend(problems),
                Judgement::Pending(problem) => pending = pending.or(Some(problem)),
            }
        }
        Ok(match (differs.is_empty(), pending, paused) {
            (false, ..) => Look::Differs(ProofStage::Cluster, differs),
            (true, Some(problem), _) => Look::Pending(problem),
            (true, None, Some(missing)) => Look::Paused(missing, proven),
            (true, None, None) => Look::Proven(proven, evidence.shown.images),
        })
    }

    fn proven(
        &mut self,
        expect: &Expectation<'_>,
        wait: &Wait,
        workloads: Vec<WorkloadEvidence>,
        rendered: Vec<RenderedImage>,
    ) -> DeployOutcome {
        let operation = wait.memory.operation().cloned();
        if let Some(operation) =
            operation.as_ref().filter(|operation| operation.known_by != KnownBy::Nonce)
            && expect.operation != ExpectedOperation::State
            // That an automatic sync deploys an application that has one is no news.
            && !(operation.initiated_by.automated && self.follow.app().spec.is_automated())
        {
            self.log.warn(DeployWarning::Adopted { by: operation.initiated_by.clone() });
        }
        let app = self.follow.app();
        let revisions = match wait.memory.revisions() {
            [] => app.status.sync.revisions(),
            revisions => revisions.to_vec(),
        };
        DeployOutcome::Proven {
            proof: Box::new(DeployProof {
                images: self.subject.images.to_vec(),
                resource_version: app.metadata.resource_version.clone(),
                operation,
                revisions,
                rendered,
                workloads,
                sync: app.status.sync.status,
                health: app.status.health.status,
                at: now(),
                settled_seconds: self.subject.options.settle.as_secs(),
            }),
        }
    }

    fn reached(&self) -> DeployOutcome {
        let status = &self.follow.app().status;
        DeployOutcome::Reached {
            what: ReachedState::Done,
            sync: status.sync.status,
            health: status.health.status,
            revisions: status.sync.revisions(),
            resources: Vec::new(),
        }
    }

    /// Looks for pods that fail to start. From the server's cache: it costs the cluster nothing.
    async fn look_at_tree(&mut self, wait: &mut Wait) {
        let Ok(tree) = self.subject.client.tree(&self.subject.app).await else { return };
        let wanted: Vec<String> =
            self.subject.images.iter().map(|image| image.digest.to_string()).collect();
        let mut failing = BTreeMap::new();
        for node in tree.nodes.iter().filter(|node| node.kind == "Pod") {
            let Some(health) = &node.health else { continue };
            self.log.resource(Unhealthy {
                kind: node.kind.clone(),
                name: node.name.clone(),
                health: health.clone(),
            });
            let ours = wanted.is_empty()
                || node.images.iter().any(|image| wanted.iter().any(|d| image.ends_with(d)));
            if ours && health.status == HealthStatus::Degraded {
                let since = wait.stuck.get(&node.name).copied().unwrap_or_else(Instant::now);
                failing.insert(node.name.clone(), since);
            }
        }
        wait.stuck = failing;
        wait.unhealthy = unhealthy(self.follow.app(), &tree);
    }

    /// The pods with the wanted image that have been failing for too long.
    fn stuck(&self, wait: &Wait) -> Option<Vec<Unhealthy>> {
        let names: Vec<_> = wait
            .stuck
            .iter()
            .filter(|(_, since)| since.elapsed() >= self.subject.options.stuck_after)
            .map(|(name, _)| name)
            .collect();
        let pods: Vec<_> = wait
            .unhealthy
            .iter()
            .filter(|one| one.kind == "Pod" && names.contains(&&one.name))
            .cloned()
            .collect();
        (!pods.is_empty()).then_some(pods)
    }

    fn at_deadline(&mut self, verdict: &Verdict, wait: &Wait) -> DeployOutcome {
        if let Some((missing, workloads)) = wait.paused.clone() {
            return DeployOutcome::Paused { missing, workloads, on_pause: OnPause::Wait };
        }
        if let Verdict::Waiting(MissingState::Health(HealthStatus::Degraded, _)) = verdict {
            let health = self.follow.app().status.health.clone();
            return DeployOutcome::Degraded {
                why: AppFailure::Health { health },
                unhealthy: wait.unhealthy.clone(),
            };
        }
        let trouble = self.follow.trouble.take();
        self.cut_off(wait, trouble)
    }

    fn cut_off(&self, wait: &Wait, error: Option<Error>) -> DeployOutcome {
        DeployOutcome::Unknown {
            missing: wait.missing.clone(),
            error: error.map(|error| format!("{error}: {}", error.kind)),
            unhealthy: wait.unhealthy.clone(),
            left: self.written.leftover(),
        }
    }
}

/// What to do after a verdict.
enum Act {
    End(DeployOutcome),
    /// Judge the newest state again.
    Again,
    /// Wait for a newer state, or until a time.
    Wait(Option<Instant>),
}
