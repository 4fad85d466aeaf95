//! Gathers evidence and facts: reads, several at once, and hands them to the pure judges. Decides nothing.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::api::client::Client;
use crate::api::error::{Error, ErrorKind};
use crate::api::request::{AppRef, ObjectRef};
use crate::judge::outcome::WantedImage;
use crate::judge::plan::Plan;
use crate::judge::preflight::{
    Checked, Effect, Facts, Owner, effect_of_parent, effect_of_set, owning_set, tracking_parent,
};
use crate::judge::prove::{Judgement, Live, judge, reading};
use crate::judge::rendered::{Shown, shown};
use crate::model::{Application, SourceAt};
use crate::overrides::values::Key;

/// Live reads at once. Each costs the server one of the 50 requests a second that it allows itself.
const READS: usize = 8;

/// What runs, as far as it could be read.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// What the manifests of the last comparison show.
    pub(crate) shown: Shown,
    /// One a workload.
    pub(crate) judgements: Vec<Judgement>,
}

/// Reads manifests, tree, workloads and pods, and judges them. `namespace` is where the application's resources go.
pub(crate) async fn evidence(
    client: &Client,
    app: &AppRef,
    namespace: &str,
    images: &[WantedImage],
) -> Result<Evidence, Error> {
    let (managed, tree) = tokio::try_join!(client.managed_resources(app), client.tree(app))?;
    let shown = shown(managed.items.iter().map(|item| item.target_state.as_str()), images);
    let readings: Vec<_> =
        shown.workloads.iter().map(|ours| reading(ours, &tree, namespace)).collect();
    let objects: Vec<ObjectRef> = readings.iter().flat_map(|reading| reading.objects()).collect();
    let live: BTreeMap<ObjectRef, Live> = stream::iter(objects)
        .map(|object| async move { read(client, app, &object).await.map(|live| (object, live)) })
        .buffer_unordered(READS)
        .try_collect()
        .await?;
    let judgements = readings.iter().map(|reading| judge(reading, &live)).collect();
    Ok(Evidence { shown, judgements })
}

async fn read(client: &Client, app: &AppRef, object: &ObjectRef) -> Result<Live, Error> {
    match client.resource(app, object).await {
        Ok(value) => Ok(Live::Is(value)),
        Err(error) => match error.kind {
            // In the tree and not in the cluster any more: 404; not even in the tree any more: 400.
            ErrorKind::NotFound(_) | ErrorKind::Refused(_) => Ok(Live::Gone),
            ErrorKind::PermissionDenied(why) => Ok(Live::Unreadable(why)),
            _ => Err(error),
        },
    }
}

/// What a write is followed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A sync, which is better known to be possible before anything is written.
    Sync,
    /// Nothing. Whether the token may write, the write itself tells, and does nothing if not; unless there is none.
    Nothing {
        /// There is no write.
        dry_run: bool,
    },
}

/// Asks everything that can be known before a write, all at once.
pub(crate) async fn facts(client: &Client, app: &Application, plan: &Plan, next: Next) -> Facts {
    let reference = &plan.app;
    let syncs = next == Next::Sync;
    let writes_only = next == Next::Nothing { dry_run: false };
    let (may_update, may_sync, windows, parameters, owner) = tokio::join!(
        if_asked(!writes_only, may(client, reference, "update")),
        if_asked(syncs, may(client, reference, "sync")),
        if_asked(syncs, async { checked(client.sync_windows(reference).await) }),
        parameters(client, app, plan),
        owner(client, app, plan),
    );
    Facts { may_update, may_sync, windows, parameters, owner }
}

async fn if_asked<T>(asked: bool, question: impl Future<Output = Checked<T>>) -> Checked<T> {
    if asked { question.await } else { Checked::NotAsked }
}

fn checked<T>(answer: Result<T, Error>) -> Checked<T> {
    match answer {
        Ok(answer) => Checked::Is(answer),
        Err(error) => Checked::Unknown(error.kind.to_string()),
    }
}

async fn may(client: &Client, app: &AppRef, action: &str) -> Checked<bool> {
    match client.can_i(app, action).await {
        Ok(Some(may)) => Checked::Is(may),
        Ok(None) => Checked::Unknown("its project is not known".into()),
        Err(error) => Checked::Unknown(error.kind.to_string()),
    }
}

/// The chart's parameters, if a new one is to be written.
async fn parameters(client: &Client, app: &Application, plan: &Plan) -> Checked<Vec<String>> {
    let adds = plan.changes.iter().any(|change| {
        change.old.is_none() && !change.new.is_null() && matches!(change.key, Key::Helm(_))
    });
    let Some(source) = app.spec.sources().get(plan.source).filter(|_| adds) else {
        return Checked::NotAsked;
    };
    let index = match plan.source {
        SourceAt::Single => 0,
        SourceAt::Index(index) => index,
    };
    match client.app_details(&plan.app, &app.spec.project, source, index).await {
        Ok(details) => match details.helm {
            Some(helm) => {
                Checked::Is(helm.parameters.into_iter().map(|parameter| parameter.name).collect())
            }
            None => Checked::NotAsked,
        },
        Err(error) => Checked::Unknown(error.kind.to_string()),
    }
}

async fn owner(client: &Client, app: &Application, plan: &Plan) -> Option<Owner> {
    if let Some(name) = owning_set(app) {
        let effect = match client.application_set(name, &app.metadata.namespace).await {
            Ok(set) => {
                Checked::Is(effect_of_set(&set, &app.metadata.name, plan.source, &plan.changes))
            }
            Err(error) => Checked::Unknown(error.kind.to_string()),
        };
        return Some(Owner { kind: "ApplicationSet", name: name.to_owned(), effect });
    }
    let (namespace, name) = tracking_parent(app)?;
    let parent =
        AppRef { name: name.to_owned(), namespace: namespace.map(str::to_owned), project: None };
    let effect = match parent_effect(client, &parent, app, plan).await {
        Ok(effect) => Checked::Is(effect),
        Err(error) => Checked::Unknown(error.kind.to_string()),
    };
    Some(Owner { kind: "Application", name: parent.to_string(), effect })
}

async fn parent_effect(
    client: &Client,
    parent: &AppRef,
    app: &Application,
    plan: &Plan,
) -> Result<Effect, Error> {
    let child =
        client.managed_resource(parent, "Application", &app.metadata.namespace, &app.metadata.name);
    let (object, child) = tokio::try_join!(client.get(parent), child)?;
    Ok(effect_of_parent(&object, &child, plan.source, &plan.changes))
}
