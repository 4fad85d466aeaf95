//! Waits until an application is as expected, and proves what runs. Judging is done elsewhere; this is the loop.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::api::error::Error;
use crate::judge::baseline::unrelated;
use crate::judge::evidence::{DeployProof, KnownBy, RenderedImage, WorkloadEvidence};
use crate::judge::mismatch::Mismatch;
use crate::judge::missing::Missing;
use crate::judge::outcome::{AppFailure, DeployOutcome, OnPause, ProofStage, ReachedState};
use crate::judge::prove::Judgement;
use crate::judge::remembered::ProvenPods;
use crate::judge::verdict::{
    Expectation, ExpectedOperation, JudgeMemory, MissingState, Verdict, holds_sync,
    is_about_health, is_degraded, judge, unhealthy_names,
};
use crate::judge::warning::DeployWarning;
use crate::model::HealthStatus;
use crate::run::event::{DeployEvent, DeployStep};
use crate::run::follow::NextState;
use crate::run::obstacles::TreeLooks;
use crate::run::read::{Observation, evidence};
use crate::run::session::{AppRun, Subject, now};

/// Pause between two refreshes, if the first did not bring what is waited for.
const REFRESH_PAUSE: Duration = Duration::from_secs(5);

/// How long the manifests may differ before it counts. They are those of the comparison that was judged already.
const MANIFESTS_PATIENCE: Duration = Duration::from_millis(500);

/// Pauses between two looks at what runs: short at first, for what is only a cache behind.
const FIRST_LOOK: Duration = Duration::from_millis(150);
const LONGEST_LOOK: Duration = Duration::from_secs(15);

/// How soon after a look a change of the application leads to the next one.
const NEXT_LOOK: Duration = Duration::from_secs(1);

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

/// Whether a proof has to hold for a while still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// There is no proof that could hold.
    Not,
    Until(Instant),
    /// It is over, and what runs is looked at once more.
    Over,
}

/// Timers and memory of one wait.
struct Wait {
    memory: JudgeMemory,
    /// The judge said done once.
    proving: bool,
    degraded_since: Option<Instant>,
    refresh_at: Instant,
    differs_since: Option<Instant>,
    /// When to look at what runs next.
    look_at: Instant,
    look_pause: Duration,
    /// The version of the application at the last look.
    looked_at: String,
    hold: Hold,
    /// The deadline without any hold.
    deadline: Instant,
    proven: ProvenPods,
    looks: TreeLooks,
    /// What is not healthy and has nothing to do with the release.
    unrelated: Vec<String>,
    /// What is missing of a paused rollout, and what runs of it.
    paused: Option<(Mismatch, Vec<WorkloadEvidence>)>,
    missing: Missing,
}

impl Wait {
    fn new(memory: JudgeMemory, deadline: Instant) -> Self {
        let now = Instant::now();
        Self {
            memory,
            proving: false,
            degraded_since: None,
            refresh_at: now,
            differs_since: None,
            look_at: now,
            look_pause: FIRST_LOOK,
            looked_at: String::new(),
            hold: Hold::Not,
            deadline,
            proven: ProvenPods::default(),
            looks: TreeLooks::new(),
            unrelated: Vec::new(),
            paused: None,
            missing: Missing::Unknown,
        }
    }

    fn look_later(&mut self) {
        self.look_at = Instant::now() + self.look_pause;
        self.look_pause = (self.look_pause * 2).min(LONGEST_LOOK);
    }

    /// Argo CD has something to do again: whatever was seen has to be seen anew, at once.
    fn begin_again(&mut self) {
        self.hold = Hold::Not;
        self.differs_since = None;
        self.look_at = Instant::now();
        self.look_pause = FIRST_LOOK;
    }

    /// Waits out an error of a read, and says so.
    fn wait_out(&mut self, error: &Error) -> Act {
        self.missing = Missing::Answer(error.kind.to_string());
        self.look_later();
        Act::Wait(Some(self.look_at))
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
        let mut wait = Wait::new(memory, self.follow.deadline());
        loop {
            self.tell_changes();
            wait.memory.note(expect, self.follow.app());
            let degraded_for = wait.degraded_since.map_or(Duration::ZERO, |since| since.elapsed());
            let mut verdict = judge(expect, &wait.memory, self.follow.app(), degraded_for);
            match is_degraded(&verdict) {
                true => drop(wait.degraded_since.get_or_insert_with(Instant::now)),
                false => wait.degraded_since = None,
            }
            wait.unrelated.clear();
            // What is read meanwhile must not keep the time from being over.
            let deadline = self.follow.deadline();
            if goal == WaitGoal::Proof && is_about_health(&verdict) {
                let unrelated = self.unrelated(expect, &mut wait);
                wait.unrelated = timeout_at(deadline, unrelated).await.unwrap_or_default();
                if !wait.unrelated.is_empty() {
                    verdict = Verdict::Done;
                }
            }
            let acted = timeout_at(deadline, self.act(&verdict, expect, goal, &mut wait)).await;
            let wake = match acted.unwrap_or(Ok(Act::Wait(None))) {
                Ok(Act::End(outcome)) => return outcome,
                Ok(Act::Again) => continue,
                Ok(Act::Wait(wake)) => wake.unwrap_or(self.follow.deadline()),
                Err(error) => return self.cut_off(&wait, Some(error)),
            };
            match self.follow.next(self.until(&wait.looks, wake)).await {
                Ok(NextState::Changed) => {}
                Ok(NextState::Deleted) => return DeployOutcome::deleted(),
                Ok(NextState::Time) if self.look_before_deadline(&mut wait.looks).await => {}
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
            Verdict::Failed(why) => Ok(Act::End(self.degraded(why.clone(), wait).await)),
            Verdict::Stale(waiting) => {
                self.waiting(wait, Missing::State(waiting.clone()));
                wait.begin_again();
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
                    Err(error) if error.kind.may_pass() => {
                        self.follow.trouble = Some(error);
                        Ok(Act::Wait(Some(wait.refresh_at)))
                    }
                    Err(error) => Err(error),
                }
            }
            Verdict::Waiting(waiting) => {
                wait.begin_again();
                if matches!(waiting, MissingState::Running(_))
                    && let Some(held) = holds_sync(self.follow.app())
                {
                    return Ok(self.held(held, wait));
                }
                self.waiting(wait, Missing::State(waiting.clone()));
                match waiting {
                    MissingState::Health(..) => {}
                    // A hook or a wave may wait for pods that never come.
                    MissingState::Running(_) | MissingState::Retry(_) => wait.looks.begin_later(),
                    _ => return Ok(Act::Wait(None)),
                }
                self.look_at_tree_in_time(&mut wait.looks).await;
                let next = wait.looks.next;
                Ok(self.given_up(wait).await.unwrap_or(Act::Wait(Some(next))))
            }
            Verdict::Done => match goal {
                // What is suspended is not healthy: somebody or a step of a canary holds it.
                WaitGoal::Done if self.is_held() => {
                    let health = self.follow.app().status.health.status;
                    let names = unhealthy_names(self.follow.app());
                    self.waiting(wait, Missing::State(MissingState::Health(health, names)));
                    Ok(Act::Wait(None))
                }
                WaitGoal::Done => {
                    self.log.done(DeployStep::Wait);
                    Ok(Act::End(self.reached()))
                }
                WaitGoal::Proof => self.prove(expect, wait).await,
            },
        }
    }

    /// Whether the application is suspended, and that was not asked for.
    fn is_held(&self) -> bool {
        self.follow.app().status.health.status == HealthStatus::Suspended
            && self.subject.options.on_pause != OnPause::Accept
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
        let is_changed = wait.looked_at != self.follow.app().metadata.resource_version;
        if is_changed && wait.hold == Hold::Not {
            wait.look_at = wait.look_at.min(at + NEXT_LOOK);
        }
        if at < wait.look_at {
            return Ok(Act::Wait(Some(wait.look_at)));
        }
        if let Hold::Until(_) = wait.hold {
            // The second look is not at what the watch said last.
            return match self.follow.read_again().await {
                Ok(()) => {
                    wait.hold = Hold::Over;
                    Ok(Act::Again)
                }
                Err(error) if error.kind.may_pass() => Ok(wait.wait_out(&error)),
                Err(error) => Err(error),
            };
        }
        if !wait.proving {
            wait.proving = true;
            self.log.done(DeployStep::Wait);
            self.log.begin(DeployStep::Prove);
        }
        wait.looked_at.clone_from(&self.follow.app().metadata.resource_version);
        let look = match self.look(wait).await {
            Ok(look) => look,
            Err(error) if error.kind.may_pass() => return Ok(wait.wait_out(&error)),
            Err(error) => return Err(error),
        };
        if !matches!(look, Look::Proven(..)) {
            wait.hold = Hold::Not;
        }
        let paused_before = wait.paused.take();
        match look {
            Look::Proven(workloads, rendered) => {
                wait.differs_since = None;
                if !self.subject.options.settle.is_zero() && wait.hold != Hold::Over {
                    self.log.begin(DeployStep::Settle);
                    let until = Instant::now() + self.subject.options.settle;
                    wait.hold = Hold::Until(until);
                    wait.look_at = until;
                    // The hold is not part of the time that the deployment may take. One that begins after that time
                    // can only be a further one.
                    if at < wait.deadline {
                        self.follow.extend_to(until + Duration::from_secs(30));
                    }
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
                if problem.what.is_held()
                    && let Act::End(end) = self.held(problem.clone(), wait)
                {
                    return Ok(Act::End(end));
                }
                self.waiting(wait, Missing::Proof(problem));
                self.look_at_tree_in_time(&mut wait.looks).await;
                wait.look_later();
                let next = wait.look_at;
                Ok(self.given_up(wait).await.unwrap_or(Act::Wait(Some(next))))
            }
        }
    }

    /// What nobody but a person ends: told once, or the end. It is nothing that could be accepted: of the release nothing runs, or
    /// not all of it is applied.
    fn held(&self, problem: Mismatch, wait: &mut Wait) -> Act {
        if self.subject.options.on_pause != OnPause::Wait {
            let (at, problems) = (ProofStage::Cluster, vec![problem]);
            return Act::End(DeployOutcome::NotProven { at, problems });
        }
        if wait.missing != Missing::Proof(problem.clone()) {
            self.log.tell(DeployEvent::Paused { missing: problem.clone() });
        }
        self.waiting(wait, Missing::Proof(problem));
        Act::Wait(None)
    }

    /// Looks at what runs. What was proven before is not read again as long as something else is missing, but a proof
    /// rests on reads of now.
    async fn look(&self, wait: &mut Wait) -> Result<Look, Error> {
        let (look, is_remembered) = self.look_once(wait).await?;
        let ends = match look {
            Look::Proven(..) => true,
            Look::Paused(..) => self.subject.options.on_pause != OnPause::Wait,
            Look::Differs(..) | Look::Pending(_) => false,
        };
        if is_remembered && ends {
            wait.proven.forget();
            return Ok(self.look_once(wait).await?.0);
        }
        Ok(look)
    }

    async fn look_once(&self, wait: &mut Wait) -> Result<(Look, bool), Error> {
        let state = self.follow.app();
        let hooks = wait.memory.hooks(state);
        let Subject { client, app, images, .. } = &self.subject;
        let evidence = evidence(client, app, state, images, &hooks, &mut wait.proven).await?;
        let is_remembered = evidence.is_remembered;
        Ok((look(evidence), is_remembered))
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
        if !wait.unrelated.is_empty() {
            self.log.warn(DeployWarning::UnhealthyBefore { resources: wait.unrelated.clone() });
        }
        let app = self.follow.app();
        // What the comparison that is Synced has rendered. The operation may be an old one: where nothing had to be
        // written, its sources have moved on since.
        let revisions = match app.status.sync.revisions() {
            compared if compared.is_empty() => wait.memory.revisions().to_vec(),
            compared => compared,
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
                ended: self.ended.clone(),
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

    /// The resources that alone keep the application from being healthy and have nothing to do with the release.
    async fn unrelated(&mut self, expect: &Expectation<'_>, wait: &mut Wait) -> Vec<String> {
        if expect.broken_before.is_empty() {
            return Vec::new();
        }
        self.look_at_tree_in_time(&mut wait.looks).await;
        let (before, tree) = (&expect.broken_before, &wait.looks.tree);
        unrelated(before, self.follow.app(), tree, self.subject.images).unwrap_or_default()
    }

    /// The end, if pods with the wanted image have been failing for too long.
    async fn given_up(&mut self, wait: &mut Wait) -> Option<Act> {
        let why = self.stuck(&wait.looks)?;
        Some(Act::End(self.degraded(why, wait).await))
    }

    async fn degraded(&mut self, why: AppFailure, wait: &mut Wait) -> DeployOutcome {
        self.look_at_end(&mut wait.looks).await;
        let TreeLooks { unhealthy, obstacles, .. } = &mut wait.looks;
        let (unhealthy, obstacles) = (std::mem::take(unhealthy), std::mem::take(obstacles));
        DeployOutcome::Degraded { why, unhealthy, obstacles }
    }

    fn at_deadline(&mut self, verdict: &Verdict, wait: &Wait) -> DeployOutcome {
        if let Some((missing, workloads)) = wait.paused.clone() {
            return DeployOutcome::Paused { missing, workloads, on_pause: OnPause::Wait };
        }
        if let Verdict::Waiting(MissingState::Health(HealthStatus::Degraded, _)) = verdict {
            let health = self.follow.app().status.health.clone();
            return DeployOutcome::Degraded {
                why: AppFailure::Health { health },
                unhealthy: wait.looks.unhealthy.clone(),
                obstacles: wait.looks.obstacles.clone(),
            };
        }
        let trouble = self.follow.trouble.take();
        self.cut_off(wait, trouble)
    }

    fn cut_off(&self, wait: &Wait, error: Option<Error>) -> DeployOutcome {
        DeployOutcome::Unknown {
            missing: wait.missing.clone(),
            error: error.map(|error| format!("{error}: {}", error.kind)),
            unhealthy: wait.looks.unhealthy.clone(),
            obstacles: wait.looks.obstacles.clone(),
            left: self.written.leftover(),
        }
    }
}

/// What all judgements of a look mean together.
fn look(evidence: Observation) -> Look {
    if !evidence.shown.problems.is_empty() {
        return Look::Differs(ProofStage::Manifests, evidence.shown.problems);
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
            Judgement::Pending(problem) if problem.what.is_held() => pending = Some(problem),
            Judgement::Pending(problem) => pending = pending.or(Some(problem)),
        }
    }
    match (differs.is_empty(), pending, paused) {
        (false, ..) => Look::Differs(ProofStage::Cluster, differs),
        (true, Some(problem), _) => Look::Pending(problem),
        (true, None, Some(missing)) => Look::Paused(missing, proven),
        (true, None, None) => Look::Proven(proven, evidence.shown.images),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::mismatch::Difference;
    use crate::judge::rendered::RenderedState;

    #[test]
    fn what_nobody_but_a_person_ends_is_told_first() {
        let missing = |place: &str, what| Mismatch { place: place.to_owned(), what };
        let slow = missing("a", Difference::NotThereYet);
        let field = "spec.paused: true";
        let held = Difference::Held { field, what: Box::new(Difference::NotThereYet) };
        let held = missing("b", held);
        assert!(held.what.is_held() && !slow.what.is_held());
        for order in [[&slow, &held], [&held, &slow]] {
            let judgements = order.map(|one| Judgement::Pending(one.clone())).to_vec();
            let shown = RenderedState::default();
            let told = look(Observation { shown, judgements, is_remembered: false });
            assert!(matches!(told, Look::Pending(told) if told == held));
        }
    }
}
