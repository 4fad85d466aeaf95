//! From an admitted release to writes that may be carried out. A [`Sketch`] is what would be written and can only be
//! shown; a [`Ready`] is made from an admitted release whose applications all agree, and from nothing else.

use std::collections::BTreeMap;

use jiff::Timestamp;
use verbatim_argocd::{DeployOutcome, DeployReport, Prediction, WantedImage};
use verbatim_console::Failure;
use verbatim_oci::Digest;
use verbatim_policy::{GateAnswer, GateKind};
use verbatim_record::{Anchor, ChainLink};

use super::decide::{Admitted, Considered, LedgerPlace, Refusal, Refused};
use super::execute::{self, AppToDeploy, Rollout};
use super::overrides::Overrides;
use super::plan::PromotionPlan;
use super::{PromotionContext, charts};
use crate::environment::applications::ObservedApp;
use crate::release::find::ResolvedRelease;
use crate::release::{Release, digests};

/// What would be written, and what each application says to it. Nothing can be carried out from it.
#[derive(Debug)]
pub(crate) struct Sketch {
    pub plan: PromotionPlan,
    /// What each application says to it.
    pub reports: Vec<DeployReport>,
    apps: Vec<AppToDeploy>,
    images: Vec<WantedImage>,
    take_over: bool,
}

/// What a sketch would change, as far as that can be told before: the manifests, and the requests.
#[derive(Debug, Default)]
pub(crate) struct Preview {
    /// What the manifests would become.
    pub predictions: Vec<Prediction>,
    /// The requests that would change something.
    pub writes: Vec<String>,
}

/// An admitted release with what is to be written.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(super) considered: Box<Considered>,
    pub(super) sketch: Sketch,
    place: LedgerPlace,
}

/// An admitted release to which every application agrees. Its only constructor is [`Planned::ready`], and
/// [`carry_out`](Ready::carry_out) is the only way to a write.
///
/// ```
/// use verbatim::promotion::{Carried, PromotionContext, Ready};
/// use verbatim_console::Failure;
///
/// async fn go(ready: Ready, context: &PromotionContext<'_>) -> Result<Carried, Failure> {
///     Ready::carry_out(ready, context).await
/// }
/// ```
///
/// A refusal cannot be carried out:
///
/// ```compile_fail,E0308
/// use verbatim::promotion::{Carried, PromotionContext, Ready, Refused};
/// use verbatim_console::Failure;
///
/// async fn go(refused: Refused, context: &PromotionContext<'_>) -> Result<Carried, Failure> {
///     Ready::carry_out(refused, context).await
/// }
/// ```
#[derive(Debug)]
pub struct Ready {
    pub(super) considered: Box<Considered>,
    pub(super) place: LedgerPlace,
    pub(super) plan: PromotionPlan,
    pub(super) apps: Vec<AppToDeploy>,
    pub(super) images: Vec<WantedImage>,
    pub(super) take_over: bool,
    /// Whether the revisions of the plan must be those that are deployed.
    pub(super) is_pinned: bool,
    /// Private, so that nobody else makes one.
    _agreed: (),
}

/// An admitted release to which an application does not agree.
#[derive(Debug)]
pub(crate) struct NotReady {
    pub(super) considered: Box<Considered>,
    pub(super) sketch: Sketch,
}

impl Admitted {
    /// Plans the writes, and has every application checked without writing anything. It fails where an application or a
    /// manifest cannot be read; refusals of applications are part of the plan.
    pub(crate) async fn plan(
        self,
        context: &PromotionContext<'_>,
        found: &ResolvedRelease,
        overrides: &Overrides,
        take_over: bool,
    ) -> Result<Planned, Failure> {
        let Self { considered, seen, place, .. } = self;
        let release = considered.release.clone();
        let mut sketch =
            context.sketch(release, seen, found, place.previous, overrides, take_over).await?;
        sketch.plan.without = considered.without.clone();
        Ok(Planned { considered, sketch, place })
    }

    /// The same for applications whose values are known, where neither the registry nor the ledger can be asked.
    pub(super) async fn plan_values(
        self,
        context: &PromotionContext<'_>,
        images: Vec<WantedImage>,
        apps: Vec<AppToDeploy>,
        take_over: bool,
    ) -> Result<Planned, Failure> {
        let Self { considered, place, .. } = self;
        let release = considered.release.clone();
        let sketch = context.check(release, images, apps, place.previous, take_over).await?;
        Ok(Planned { considered, sketch, place })
    }
}

impl Refused {
    /// What would be written if the gates let it pass, which they may do before a plan is applied. `None` if something
    /// else than a gate refuses.
    pub(super) async fn sketch(
        &mut self,
        context: &PromotionContext<'_>,
        found: &ResolvedRelease,
        overrides: &Overrides,
        take_over: bool,
    ) -> Result<Option<Sketch>, Failure> {
        let Refusal::Gates(end) = self.refusal else { return Ok(None) };
        let (release, seen) = (self.considered.release.clone(), std::mem::take(&mut self.seen));
        let mut sketch = context.sketch(release, seen, found, end, overrides, take_over).await?;
        sketch.plan.without = self.considered.without.clone();
        Ok(Some(sketch))
    }
}

impl Planned {
    /// Notes the applications whose charts are not as they were when the release ran there.
    pub(super) fn note_charts(&mut self, then: &BTreeMap<String, Vec<String>>) {
        self.considered.notes.extend(charts::stay(&self.sketch.plan.apps, then));
    }

    /// The records at the end of the ledger: what the next one names, of whatever kind.
    pub(super) fn seen(&self) -> Vec<Digest> {
        let ChainLink { previous, merged, seen, .. } = &self.place.link;
        previous.iter().chain(merged).chain(seen).copied().collect()
    }

    /// Notes a record that came to the ledger meanwhile, and has seen its end.
    pub(super) fn has_seen(&mut self, record: Digest) {
        self.place.link.seen = vec![record];
    }

    /// Lets the plan be carried out if every application agrees to it.
    pub(crate) fn ready(self) -> Result<Ready, Box<NotReady>> {
        let Self { considered, sketch, place } = self;
        if !sketch.is_agreed() {
            return Err(Box::new(NotReady { considered, sketch }));
        }
        let Sketch { plan, apps, images, take_over, .. } = sketch;
        // A gate has let it in because of what its manifests are made from.
        let is_pinned = considered.decision.answers.iter().any(demands_manifests);
        Ok(Ready { considered, place, plan, apps, images, take_over, is_pinned, _agreed: () })
    }
}

impl Ready {
    /// The same, with the revisions of the plan and no others: somebody has agreed to exactly them.
    pub(super) fn pinned(self) -> Self {
        Self { is_pinned: true, ..self }
    }
}

/// Whether a gate let the release in because of the revisions from which its manifests are made.
fn demands_manifests(answer: &GateAnswer) -> bool {
    answer.gate.kind() == GateKind::SameManifests && answer.passed
}

impl Sketch {
    /// Whether all applications agree to it.
    pub(crate) fn is_agreed(&self) -> bool {
        self.reports.iter().all(|report| matches!(report.outcome, DeployOutcome::Planned))
    }

    /// Tells what it would change, if all applications agree to it.
    pub(super) async fn preview(&self, context: &PromotionContext<'_>) -> Result<Preview, Failure> {
        if !self.is_agreed() {
            return Ok(Preview::default());
        }
        let progress = context.console.progress("rendering the manifests as they are");
        let apps = &self.plan.apps;
        let predictions = execute::predict(&context.servers, apps, &self.images).await?;
        drop(progress);
        let mut writes = execute::writes(apps);
        let digest = self.plan.release.digest;
        let environment = &context.environment.id;
        writes.push(format!("PUT a record beside {digest} and the ledger of {environment}"));
        Ok(Preview { predictions, writes })
    }
}

impl PromotionContext<'_> {
    async fn sketch(
        &self,
        release: Release,
        seen: Vec<ObservedApp>,
        found: &ResolvedRelease,
        ledger: Option<Anchor>,
        overrides: &Overrides,
        take_over: bool,
    ) -> Result<Sketch, Failure> {
        let images = digests::wanted(&self.registry.client, &release, &found.resolved).await?;
        let apps = execute::apps_to_deploy(seen, &release)?;
        let mut sketch = self.check(release, images, apps, ledger, take_over).await?;
        sketch.plan.overrides = overrides.to_plan();
        Ok(sketch)
    }

    /// Has every application checked what is to be written to it, without writing anything.
    async fn check(
        &self,
        release: Release,
        images: Vec<WantedImage>,
        mut apps: Vec<AppToDeploy>,
        ledger: Option<Anchor>,
        take_over: bool,
    ) -> Result<Sketch, Failure> {
        let progress = self.console.progress("checking the applications");
        self.subscribe(&apps)?;
        let rollout = self.rollout(&release, &images, take_over);
        let checked = execute::check(&self.servers, &apps, &rollout, self.console).await?;
        drop(progress);
        let (planned, reports): (Vec<_>, Vec<_>) = checked.into_iter().unzip();
        for (app, report) in apps.iter_mut().zip(&reports) {
            app.has_no_windows = report.has_no_windows;
        }
        let plan = PromotionPlan {
            environment: self.environment.id.clone(),
            release,
            made_at: Timestamp::now(),
            policy: self.project.config.policy.hash,
            ledger,
            overrides: Vec::new(),
            without: Vec::new(),
            apps: planned,
        };
        Ok(Sketch { plan, reports, apps, images, take_over })
    }

    pub(super) fn rollout<'o>(
        &'o self,
        release: &'o Release,
        images: &'o [WantedImage],
        take_over: bool,
    ) -> Rollout<'o> {
        let by = self.project.ci.run_url.clone().or_else(|| self.project.run().actor);
        let options = execute::options(self.environment, self.deploy, take_over);
        let environment = &self.environment.id;
        Rollout { environment, release, images, by, is_pinned: false, options }
    }
}
