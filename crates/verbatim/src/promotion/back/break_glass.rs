//! Breaks the glass: what Argo CD deployed before is put back, though registry, records and gates cannot be asked. What was
//! done is kept in a file, to be attached when they can.

use std::collections::BTreeMap;

use jiff::Timestamp;
use verbatim_argocd::{
    Application, DeployOutcome, DeployReport, OverrideValues, PendingRecord, WantedImage, past,
    read_claim,
};
use verbatim_console::{ExitStatus, Failure};
use verbatim_oci::{Digest, Reference, Repository};
use verbatim_record::{
    Anchor, Predicate, ReleaseArtifact, ReleaseDocument, ReleaseImage, Statement, Veto,
};

use super::from_history::{self, Known, LastWrite, go_back};
use super::pinned::{self, Pins, Templates};
use super::rollback::{Rollback, VetoScope};
use crate::config::{App, Set, SourceSet};
use crate::environment::applications::{self, ObservedApp};
use crate::environment::missing::{self, MissingApp, missing_by_claims};
use crate::environment::shared;
use crate::environment::target::Target;
use crate::project::signer::RecordSigner;
use crate::project::{Project, failures};
use crate::promotion::PromotionContext;
use crate::promotion::decide::{Considered, Decided};
use crate::promotion::execute::{AppResult, AppToDeploy};
use crate::promotion::outcome::PromotionResult;
use crate::promotion::ready::{Planned, Preview};
use crate::records::attach::{self, Kept, RecordSubject};
use crate::records::convert;
use crate::release::find::{self, only_image};
use crate::release::{Release, compose};

/// An application with what it was deployed with before.
struct Candidate {
    app: App,
    sources: Vec<verbatim_record::Revision>,
    revisions: Vec<String>,
    namespace: String,
    plan: verbatim_argocd::AppPlan,
    known: Known,
}

/// Puts back what Argo CD's history has, without a registry. With `key` the record is signed before it is kept. It fails
/// where Argo CD cannot be asked, or has nothing to go back to; all else is a result.
pub(crate) async fn break_glass(
    context: &PromotionContext<'_>,
    request: &Rollback,
    key: Option<&RecordSigner>,
    looks_only: bool,
) -> Result<PromotionResult, Failure> {
    let seen = applications::at(context.environment, &context.servers).await?;
    shared::check(&context.project.config, context.environment, &seen, &context.servers).await?;
    let anchor =
        applications::anchors(&seen).promotions.into_iter().max_by_key(|anchor| anchor.sequence);
    if let Some(last) = anchor {
        check_missing(context, request, last, &seen).await?;
    }
    let only = only_image(context.project).ok().map(|image| image.name.as_str());
    let candidates = seen.into_iter().map(|seen| candidate(seen, only));
    let candidates = candidates.collect::<Result<Vec<_>, Failure>>()?;
    let known: Vec<Known> = candidates.iter().map(|it| it.known.clone()).collect();
    let home = find::home(context.project)?;
    let digest_of = |images: &Pins| release(context.project, home, images).digest;
    let images = go_back(&known, request.goal, &digest_of).map_err(|why| {
        Failure::new(ExitStatus::No, format!("nothing to go back to in Argo CD: {why}"))
            .hint("write values by hand: verbatim argocd override APP --helm-set NAME=VALUE")
    })?;
    let release = release(context.project, home, &images);
    let bad = standing(&known, only).filter(|bad| *bad != release.digest);
    let apps = candidates
        .into_iter()
        .map(|candidate| app_to_deploy(candidate, &images))
        .collect::<Result<Vec<_>, Failure>>()?;
    let environment = context.environment.id.clone();
    let decided =
        Decided::break_glass(release.clone(), environment, request.reason.clone(), bad, anchor)
            .noting(notes(&release, &request.without));
    let admitted = match decided.admit() {
        Ok(admitted) => admitted,
        Err(refused) => return Ok(refused.into_result()),
    };
    let wanted = release.images().into_values();
    let images = wanted.map(|image| WantedImage::new(Some(image.repository), image.digest));
    let planned = admitted.plan_values(context, images.collect(), apps, request.take_over).await?;
    if looks_only {
        let Planned { considered, sketch, .. } = planned;
        return Ok(considered.shown(sketch, Preview::default()));
    }
    let ready = match planned.ready() {
        Ok(ready) => ready,
        Err(not_ready) => return Ok(not_ready.into_result()),
    };
    // Of several images the digest of the release is only computed, and without the end of the ledger the place of the
    // record is not known: a signature would fix what may be wrong.
    let signer = key.filter(|_| anchor.is_some() && release.images.is_empty());
    let mut carried = ready.carry_out(context).await?;
    let promotion = carried.promotion(context, carried.results.iter().filter_map(told).collect());
    let proven = promotion.applications.len() == carried.results.len() && promotion.is_proven();
    let is_told = !promotion.applications.is_empty();
    let statement = Statement::promotion(promotion);
    let kept = match is_told {
        true => {
            let what = RecordSubject::Done("the rollback");
            let kept = keep(context, &mut carried.considered, &statement, signer, what).await;
            kept.map(|record| {
                record.map(PendingRecord::Record).or_else(|| attach::unsigned(&statement))
            })
        }
        false => Ok(None),
    };
    let changed =
        context.close(&carried.results, anchor, kept.as_ref().ok().copied().flatten()).await;
    if let (Some(_), Some(bad)) = (kept?, bad) {
        veto(context, &mut carried.considered, request, bad, key).await?;
    }
    Ok(carried.kept(proven, changed).into_result())
}

/// Refuses if an application that the last promotion changed is not found any more: it would keep what is to be taken away.
async fn check_missing(
    context: &PromotionContext<'_>,
    request: &Rollback,
    last: Anchor,
    seen: &[ObservedApp],
) -> Result<(), Failure> {
    let environment = &context.environment.id;
    for server in context.environment.servers() {
        let client = context.servers.get(server)?;
        let listed = client.list(&[], None, None).await.map_err(failures::argocd)?;
        let (id, url) = (environment.to_string(), client.server().as_str());
        let missing = missing_by_claims(&id, last, url, &listed, seen);
        let is_left_out = |app: &MissingApp| request.without.iter().any(|it| app.is_called(it));
        if let Some(app) = missing.iter().find(|app| !is_left_out(app)) {
            let why = format!(
                "{app} was part of the last promotion to {environment}, by its claim, and is not found any more; nothing was written"
            );
            let command = "rollback --from-argocd-history --reason TEXT";
            return Err(Failure::new(ExitStatus::No, why).hint(missing::hint(
                command,
                environment.name(),
                &app.to_string(),
            )));
        }
    }
    Ok(())
}

fn notes(release: &Release, without: &[String]) -> Vec<String> {
    let mut notes = vec!["no gate was asked, and no record was read".to_owned()];
    notes.extend(without.iter().map(|app| format!("without {app}, which left the environment")));
    match release.images.len() {
        0 => notes.push("that the registry has the image is not known".to_owned()),
        _ => {
            notes.push("that the registry has the images is not known".to_owned());
            let images = release.images.values().map(|image| image.reference().to_string());
            notes.push(format!("back to {}", images.collect::<Vec<_>>().join(", ")));
            notes.push(
                "which release these images are is looked up in the ledger when the record is attached"
                    .to_owned(),
            );
        }
    }
    notes
}

/// An application as it is, with the keys of the configuration and what stood in them.
fn candidate(seen: ObservedApp, only: Option<&str>) -> Result<Candidate, Failure> {
    let ObservedApp { app, application, .. } = seen;
    let application: Application = application.map_err(failures::argocd)?;
    // Only the keys matter here: which values they had is what the history tells.
    let keys = |set: &Set| {
        let helm = set.helm.keys().map(|name| (name.clone(), String::new())).collect();
        let image = |name: &String| format!("{name}={name}").parse().map_err(Failure::usage);
        let kustomize = set.kustomize.keys().map(image).collect::<Result<_, _>>()?;
        Ok::<_, Failure>(OverrideValues { helm, kustomize, ..OverrideValues::default() })
    };
    let planned = |keys: &OverrideValues| {
        verbatim_argocd::plan(&applications::reference(&app), &application, keys).map_err(|why| {
            let why: Vec<String> = why.iter().map(ToString::to_string).collect();
            Failure::new(ExitStatus::No, why.join("; "))
                .context(format!("cannot write to {}", app.name))
        })
    };
    let plan = planned(&app.values(keys)?)?;
    let mut templates = Templates::new();
    for SourceSet { source, set } in &app.sets {
        let own = planned(&OverrideValues { source: source.clone(), ..keys(set)? })?;
        templates.extend(own.changes.iter().filter_map(|change| {
            let template = pinned::template(set, &change.key)?.clone();
            Some(((change.source, change.key.clone()), template))
        }));
    }
    let set = &templates;
    let history = past(&application, &plan).into_iter();
    let on_app = read_claim(&application, Some(&app.environment));
    let known = Known {
        app: app.name.clone(),
        carries: pinned::carried(set, only),
        now: pinned::read(set, only, pinned::replaced(&plan.changes)),
        past: history.filter_map(|values| pinned::read(set, only, values)).collect(),
        last: on_app.known().map(|claim| {
            let sources = application.spec.sources();
            let stands = verbatim_argocd::deviations(sources, &claim.changes).is_empty();
            let before = pinned::read(set, only, pinned::replaced(&claim.changes));
            LastWrite { at: claim.at, release: claim.release.clone(), before, stands }
        }),
    };
    Ok(Candidate {
        sources: applications::sources(&application),
        revisions: application.status.sync.revisions(),
        namespace: application.metadata.namespace.clone(),
        plan,
        known,
        app,
    })
}

/// The release that stands in all applications: the only image that their values pin, or, of several images, what their
/// claims name.
fn standing(known: &[Known], only: Option<&str>) -> Option<Digest> {
    let Some(only) = only else {
        return from_history::standing(known)?.parse::<Reference>().ok()?.digest;
    };
    let mut digests = known.iter().map(|it| Some(it.now.as_ref()?.pins.get(only)?.digest));
    let first = digests.next()??;
    digests.all(|digest| digest == Some(first)).then_some(first)
}

/// The deployment that puts the values of the past back; those of an application that has the images already stay.
fn app_to_deploy(candidate: Candidate, images: &Pins) -> Result<AppToDeploy, Failure> {
    let Candidate { app, sources, revisions, namespace, plan, known } = candidate;
    let values = known.with(images).ok_or_else(|| {
        Failure::new(ExitStatus::No, format!("{} never had these images", app.name))
    })?;
    let values = values.past.to_override().map_err(Failure::usage)?;
    let target = Target { server: app.server.clone(), app: plan.app, values };
    Ok(AppToDeploy { target, sources, revisions, namespace, has_no_windows: false })
}

/// The release as far as the values tell. Of several images its digest is that of the artifact with these images and
/// tags: the same images make the same artifact, but a value need not have the tag.
fn release(project: &Project, home: &Repository, pins: &Pins) -> Release {
    let config = &project.config;
    let images = pins.iter().filter_map(|(name, pin)| {
        let repository = config.images.get(name)?.repository.clone();
        let image = ReleaseImage { repository, tag: pin.tag.clone(), digest: pin.digest };
        Some((name.clone(), image))
    });
    let document = ReleaseDocument { project: config.project.clone(), images: images.collect() };
    if let (Ok(only), Some(image)) = (only_image(project), document.images.values().next()) {
        let ReleaseImage { repository, tag, digest } = image.clone();
        return Release {
            image: only.name.clone(),
            repository,
            tag,
            digest,
            images: BTreeMap::new(),
        };
    }
    let first = document.images.values().next();
    let tag = first.and_then(|image| image.tag.as_ref()).and_then(|tag| compose::tag(tag).ok());
    Release {
        image: document.project.clone(),
        repository: home.clone(),
        tag,
        digest: ReleaseArtifact::of(&document).digest(),
        images: document.images,
    }
}

/// What the record says of an application whose values were changed; also if what runs is not proven.
fn told(result: &AppResult) -> Option<verbatim_record::PromotedApplication> {
    let AppResult { app, report: Ok(report) } = result else { return None };
    let DeployReport { plan: Some(plan), server, .. } = report else { return None };
    match &report.outcome {
        DeployOutcome::Proven { proof } => {
            Some(convert::application(server, plan, &app.sources, proof))
        }
        DeployOutcome::NotProven { .. }
        | DeployOutcome::Degraded { .. }
        | DeployOutcome::Paused { .. }
        | DeployOutcome::Unknown { .. } => Some(convert::unproven(server, plan, &report.outcome)),
        _ => None,
    }
}

/// Keeps a record in a file, and notes what to do with it.
async fn keep<P: Predicate>(
    context: &PromotionContext<'_>,
    considered: &mut Considered,
    statement: &Statement<P>,
    signer: Option<&RecordSigner>,
    what: RecordSubject<'_>,
) -> Result<Option<Digest>, Failure> {
    let Kept { path, record, command } =
        attach::queue(context.project, statement, signer, what).await?;
    let how = if record.is_some() { "signed" } else { "not signed yet" };
    considered.kept.push(path);
    considered.notes.push(format!("{what} is kept, {how}; when the registry answers: {command}"));
    Ok(record)
}

async fn veto(
    context: &PromotionContext<'_>,
    considered: &mut Considered,
    request: &Rollback,
    bad: Digest,
    key: Option<&RecordSigner>,
) -> Result<(), Failure> {
    let id = &context.environment.id;
    let environment = match request.veto {
        VetoScope::None => return Ok(()),
        VetoScope::All => None,
        VetoScope::Environment => Some(id.clone()),
    };
    let veto = Veto {
        seen: Vec::new(),
        environment,
        lifts: Vec::new(),
        reason: request.reason.clone().unwrap_or_else(|| format!("{id} was rolled back from it")),
        at: Timestamp::now(),
        until: None,
        run: context.project.run(),
    };
    let repository = considered.release.repository.to_string();
    keep(
        context,
        considered,
        &Statement::veto(&repository, &bad, veto),
        key,
        RecordSubject::Said("the veto"),
    )
    .await
    .map(drop)
}
