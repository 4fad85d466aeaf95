//! Gathers evidence and facts: reads, several at once, and hands them to the pure judges. Decides nothing.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::api::client::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{AppRef, ObjectRef, Revisions};
use crate::judge::evidence::WantedImage;
use crate::judge::hooks::other_images;
use crate::judge::owner::{
    AppOwner, INSTANCE_LABEL, OwnerEffect, effect_of_parent, may_be_tracked_by_label, owning_set,
    set_owner, tracking_parent,
};
use crate::judge::plan::names_of_values;
use crate::judge::preflight::{Inquiry, Preconditions, Writer};
use crate::judge::prove::{Judgement, LiveObject, judge, judge_stray};
use crate::judge::reading::{reading, reference, strays};
use crate::judge::remembered::ProvenPods;
use crate::judge::rendered::{self, RenderedState};
use crate::model::{Application, ResourceResult, ResourceTree, SourceAt, TreeNode};
use crate::overrides::claim::claim_annotation;
use crate::overrides::plan::AppPlan;
use crate::overrides::values::{OverrideKey, ValueChange};

/// Live reads at once. Each costs the server one of the 50 requests a second that it allows itself.
const READS: usize = 8;

/// What runs, as far as it could be read.
#[derive(Debug)]
pub(crate) struct Observation {
    /// What the manifests of the last comparison show.
    pub(crate) shown: RenderedState,
    pub(crate) judgements: Vec<Judgement>,
    /// Whether something was not read because it was proven before.
    pub(crate) is_remembered: bool,
}

/// Reads manifests, tree, workloads and pods of `state`, and judges them. `hooks` are the results of the operation that
/// deployed it. Pods that are `proven` and have not changed are not read again.
pub(crate) async fn evidence(
    client: &Client,
    app: &AppRef,
    state: &Application,
    images: &[WantedImage],
    hooks: &[ResourceResult],
    proven: &mut ProvenPods,
) -> Result<Observation, Error> {
    let (managed, tree) = tokio::try_join!(client.managed_resources(app), client.tree(app))?;
    let compared: Vec<&str> = managed.items.iter().map(|item| item.target_state.as_str()).collect();
    let mut shown = rendered::shown(compared.iter().copied(), images);
    if shown.lacks_an_image() {
        // Hooks are not compared, so only rendering again shows theirs.
        let rendered = client.manifests_at(app, &compared_revision(state)).await?;
        let all = compared.into_iter().chain(rendered::hooks(&rendered.manifests));
        shown = rendered::shown(all, images);
    }
    let namespace = &state.spec.destination.namespace;
    let readings: Vec<_> =
        shown.workloads.iter().map(|ours| reading(ours, &tree, namespace)).collect();
    let strays = strays(&tree, &readings, images);
    let objects: Vec<ObjectRef> = readings
        .iter()
        .flat_map(|reading| reading.objects())
        .chain(strays.iter().copied().map(reference))
        .collect();
    let remembered = remembered(&tree, &objects, proven);
    let unread = objects.into_iter().filter(|object| !remembered.contains_key(object));
    let mut live: BTreeMap<ObjectRef, LiveObject> = stream::iter(unread)
        .map(|object| async move { read(client, app, &object).await.map(|live| (object, live)) })
        .buffer_unordered(READS)
        .try_collect()
        .await?;
    for node in pods(&tree) {
        if let Some(LiveObject::Is(pod)) = live.get(&reference(node)) {
            proven.note(node, pod, images);
        }
    }
    let is_remembered = !remembered.is_empty();
    live.extend(remembered);
    let of_strays = strays.iter().filter_map(|pod| judge_stray(pod, &live, images));
    let of_hooks = Some(other_images(hooks, images)).filter(|others| !others.is_empty());
    let judgements = readings
        .iter()
        .map(|reading| judge(reading, &live, hooks))
        .chain(of_strays)
        .chain(of_hooks.map(Judgement::Differs))
        .collect();
    Ok(Observation { shown, judgements, is_remembered })
}

fn pods(tree: &ResourceTree) -> impl Iterator<Item = &TreeNode> {
    tree.nodes.iter().filter(|node| node.kind == "Pod")
}

/// The pods among these objects that were proven and have not changed since.
fn remembered(
    tree: &ResourceTree,
    objects: &[ObjectRef],
    proven: &ProvenPods,
) -> BTreeMap<ObjectRef, LiveObject> {
    pods(tree)
        .filter_map(|node| Some((reference(node), LiveObject::Is(proven.get(node)?.clone()))))
        .filter(|(object, _)| objects.contains(object))
        .collect()
}

/// The revision that the last comparison resolved. Of several sources none: for them the server writes the revisions that
/// it is asked for into its cached application (`GetManifests` in server/application/application.go of Argo CD 3.6.1).
fn compared_revision(state: &Application) -> Revisions {
    let single = match state.status.sync.revisions().as_slice() {
        [one] if state.spec.sources().iter().count() == 1 => Some(one.clone()),
        _ => None,
    };
    Revisions { single, by_position: Vec::new() }
}

async fn read(client: &Client, app: &AppRef, object: &ObjectRef) -> Result<LiveObject, Error> {
    match client.resource(app, object).await {
        Ok(value) => Ok(LiveObject::Is(value)),
        Err(error) => match error.kind {
            // In the tree and not in the cluster any more: 404; not even in the tree any more: 400.
            ErrorKind::NotFound(_) | ErrorKind::Refused(_) => Ok(LiveObject::Gone),
            ErrorKind::PermissionDenied(why) => Ok(LiveObject::Unreadable(why)),
            _ => Err(error),
        },
    }
}

/// What a write is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterWrite {
    /// A sync, which is better known to be possible before anything is written. Where no window can close, none is asked for.
    Sync { has_no_windows: bool },
    /// Nothing. Whether the token may write, the write itself tells, and does nothing if not; unless there is none.
    Nothing { dry_run: bool },
}

/// Asks everything that can be known before a write, all at once.
pub(crate) async fn facts(
    client: &Client,
    app: &Application,
    plan: &AppPlan,
    environment: Option<&str>,
    next: AfterWrite,
) -> Preconditions {
    let reference = &plan.app;
    let syncs = matches!(next, AfterWrite::Sync { .. });
    let has_windows = next == AfterWrite::Sync { has_no_windows: false };
    let writes_only = next == AfterWrite::Nothing { dry_run: false };
    let (may_update, may_sync, windows, parameters, owner) = tokio::join!(
        if_asked(!writes_only, may_write(client, reference, app)),
        if_asked(syncs, may(client, reference, "sync")),
        if_asked(has_windows, async { checked(client.sync_windows(reference).await) }),
        parameters(client, app, plan),
        owner(client, app, plan, environment),
    );
    let writer = match client.writes_to_kubernetes() {
        true => Writer::Kubeconfig,
        false => Writer::Token,
    };
    Preconditions { writer, may_update, may_sync, windows, parameters, owner }
}

async fn if_asked<T>(asked: bool, question: impl Future<Output = Inquiry<T>>) -> Inquiry<T> {
    if asked { question.await } else { Inquiry::NotAsked }
}

fn checked<T>(answer: Result<T, Error>) -> Inquiry<T> {
    match answer {
        Ok(answer) => Inquiry::Is(answer),
        Err(error) => Inquiry::Unknown(error.kind.to_string()),
    }
}

async fn may_write(client: &Client, app: &AppRef, read: &Application) -> Inquiry<bool> {
    may_be(client.may_write(app, &read.metadata).await)
}

async fn may(client: &Client, app: &AppRef, action: &str) -> Inquiry<bool> {
    may_be(client.can_i(app, action).await)
}

fn may_be(answer: Result<Option<bool>, Error>) -> Inquiry<bool> {
    match answer {
        Ok(Some(may)) => Inquiry::Is(may),
        Ok(None) => Inquiry::Unknown("its project is not known".into()),
        Err(error) => Inquiry::Unknown(error.kind.to_string()),
    }
}

/// The parameters of the charts that a new one is to be written for.
async fn parameters(
    client: &Client,
    app: &Application,
    plan: &AppPlan,
) -> Inquiry<Vec<(SourceAt, String)>> {
    let adds = |change: &&ValueChange| {
        change.old.is_none() && !change.new.is_null() && matches!(change.key, OverrideKey::Helm(_))
    };
    let mut asked: Vec<SourceAt> = plan.changes.iter().filter(adds).map(|it| it.source).collect();
    asked.dedup();
    let mut known: Inquiry<Vec<(SourceAt, String)>> = Inquiry::NotAsked;
    for at in asked {
        match (parameters_of(client, app, plan, at).await, &mut known) {
            (Inquiry::Is(names), known) => {
                let names = names.into_iter().map(|name| (at, name));
                match known {
                    Inquiry::Is(all) => all.extend(names),
                    known => *known = Inquiry::Is(names.collect()),
                }
            }
            (Inquiry::Unknown(why), _) => return Inquiry::Unknown(why),
            (Inquiry::NotAsked, _) => {}
        }
    }
    known
}

async fn parameters_of(
    client: &Client,
    app: &Application,
    plan: &AppPlan,
    at: SourceAt,
) -> Inquiry<Vec<String>> {
    let Some(source) = app.spec.sources().get(at) else { return Inquiry::NotAsked };
    match client.app_details(&plan.app, &app.spec.project, source, at.index()).await {
        Ok(details) => match details.helm {
            Some(helm) => {
                let listed = helm.parameters.iter().map(|parameter| parameter.name.clone());
                let inline = source.0.pointer("/helm/values").and_then(Value::as_str);
                let texts = [Some(helm.values.as_str()), inline].into_iter().flatten();
                let texts = texts.filter_map(|text| serde_saphyr::from_str::<Value>(text).ok());
                let object = source.0.pointer("/helm/valuesObject").cloned();
                let names = texts.chain(object).flat_map(|values| names_of_values(&values));
                Inquiry::Is(listed.chain(names).collect())
            }
            None => Inquiry::NotAsked,
        },
        Err(error) => Inquiry::Unknown(error.kind.to_string()),
    }
}

pub(crate) async fn owner(
    client: &Client,
    app: &Application,
    plan: &AppPlan,
    environment: Option<&str>,
) -> Option<AppOwner> {
    if let Some(name) = owning_set(app) {
        let set = client.application_set(name, &app.metadata.namespace).await;
        let set = set.map_err(|error| error.kind.to_string());
        let (app, claim) = (&app.metadata.name, claim_annotation(environment));
        return Some(set_owner(name, set, app, &claim, &plan.changes));
    }
    let label_key = label_key(client, app).await;
    let tracking = tracking_parent(app, &label_key)?;
    let parent = AppRef {
        name: tracking.name.to_owned(),
        namespace: tracking.namespace.map(str::to_owned),
        project: None,
    };
    let effect = match parent_effect(client, &parent, app, plan).await {
        Ok(None) if tracking.by_label => return None,
        Ok(effect) => Inquiry::Is(effect.unwrap_or(OwnerEffect::None)),
        Err(Error { kind: ErrorKind::NotFound(_), .. }) if tracking.by_label => return None,
        Err(error) => Inquiry::Unknown(error.kind.to_string()),
    };
    Some(AppOwner {
        kind: "Application",
        name: parent.to_string(),
        is_certain: !tracking.by_label,
        effect,
        keeps_claim: Inquiry::NotAsked,
        exemption: String::new(),
    })
}

/// The label by which this Argo CD tracks applications. Asked only if a label can matter; whoever may not read the settings
/// knows the usual one.
async fn label_key(client: &Client, app: &Application) -> String {
    let usual = INSTANCE_LABEL.to_owned();
    if !may_be_tracked_by_label(app) {
        return usual;
    }
    client.instance_label().await.ok().filter(|key| !key.is_empty()).unwrap_or(usual)
}

/// What a parent does to the values; `None` if the application is not among its resources.
async fn parent_effect(
    client: &Client,
    parent: &AppRef,
    app: &Application,
    plan: &AppPlan,
) -> Result<Option<OwnerEffect>, Error> {
    let child =
        client.managed_resource(parent, "Application", &app.metadata.namespace, &app.metadata.name);
    let (object, child) = tokio::try_join!(client.get(parent), child)?;
    if child.items.is_empty() {
        return Ok(None);
    }
    Ok(Some(effect_of_parent(&object, &child, &plan.changes)))
}
