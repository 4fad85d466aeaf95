//! Looks at the tree of an application while it is waited for, and reads what meets an obstacle: nothing of what is well, and
//! the log of what crashed only when the wait ends.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::api::error::Error;
use crate::api::request::{EventsOf, LogQuery, ObjectRef};
use crate::judge::obstacle::{Obstacle, ObstacleKind, last_lines, obstacles, of_events};
use crate::judge::outcome::{AppFailure, Unhealthy, unhealthy};
use crate::judge::reading::reference;
use crate::judge::rendered::runs_one_of;
use crate::judge::suspect::{Suspect, is_attempt, suspects};
use crate::model::{HealthStatus, LogEntry, ResourceTree, TreeNode};
use crate::run::event::DeployEvent;
use crate::run::follow::NextState;
use crate::run::session::AppRun;

/// Pause between two looks at the tree.
const TREE_PAUSE: Duration = Duration::from_secs(2);

/// How many objects one look reads at most. What is alike counts once.
const MOST: usize = 4;

/// How soon an object that told nothing is read again.
const AGAIN: Duration = Duration::from_secs(15);

/// How long before the deadline everything is read that can say why it is missed, and how long that may take.
const LAST_LOOK: Duration = Duration::from_secs(4);

/// How many logs are read at most, and how many lines of each.
const LOGS: usize = 2;
const LOG_LINES: u64 = 20;

/// What the looks at a tree have shown during one wait.
pub(crate) struct TreeLooks {
    pub(crate) tree: ResourceTree,
    /// When to look next.
    pub(crate) next: Instant,
    has_begun: bool,
    pub(crate) unhealthy: Vec<Unhealthy>,
    /// What has been suspected, by its uid.
    seen: BTreeMap<String, Seen>,
    /// What is to run a wanted image and fails, by its uid, since when.
    failing: BTreeMap<String, Instant>,
    /// What is told at the end: the obstacles of the last look.
    pub(crate) obstacles: Vec<Obstacle>,
    /// What has been told: where, and of which kind.
    told: Vec<(String, Discriminant<ObstacleKind>)>,
    /// The deadline for which the last look was taken.
    looked_last: Option<Instant>,
}

/// What is known of an object that is suspected.
struct Seen {
    since: Instant,
    /// When it was read, and in which version.
    read: Option<(Instant, String)>,
    found: Vec<Obstacle>,
    /// Whether a workload has a wanted image; a pod's tree node tells that by itself.
    is_ours: bool,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self { since: now, read: None, found: Vec::new(), is_ours: false }
    }
}

impl TreeLooks {
    pub(crate) fn new() -> Self {
        Self {
            tree: ResourceTree::default(),
            next: Instant::now(),
            has_begun: false,
            unhealthy: Vec::new(),
            seen: BTreeMap::new(),
            failing: BTreeMap::new(),
            obstacles: Vec::new(),
            told: Vec::new(),
            looked_last: None,
        }
    }

    /// Lets an operation get along before the first look.
    pub(crate) fn begin_later(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            self.next = Instant::now() + TREE_PAUSE;
        }
    }
}

impl AppRun<'_> {
    /// Looks at the tree, if it is time.
    pub(crate) async fn look_at_tree_in_time(&mut self, looks: &mut TreeLooks) {
        looks.has_begun = true;
        if Instant::now() >= looks.next {
            self.look_at_tree(looks, false).await;
            looks.next = Instant::now() + TREE_PAUSE;
        }
    }

    /// Looks for what fails to start. The tree is from the server's cache: it costs the cluster nothing.
    async fn look_at_tree(&mut self, looks: &mut TreeLooks, is_last: bool) {
        let Ok(tree) = self.subject.client.tree(&self.subject.app).await else { return };
        for node in tree.nodes.iter().filter(|node| node.kind == "Pod") {
            let Some(health) = node.health.clone() else { continue };
            let (kind, name) = (node.kind.clone(), node.name.clone());
            self.log.resource(Unhealthy { kind, name, health });
        }
        looks.unhealthy = unhealthy(self.follow.app(), &tree);
        let obstacles = self.read_suspects(looks, &tree, is_last).await;
        for obstacle in &obstacles {
            // One that has crashed once more is the same.
            let known = (obstacle.place.clone(), discriminant(&obstacle.kind));
            if !is_last && !looks.told.contains(&known) {
                looks.told.push(known);
                self.log.tell(DeployEvent::Obstructed { obstacle: obstacle.clone() });
            }
        }
        looks.obstacles = obstacles;
        let now = Instant::now();
        let failing = tree.nodes.iter().filter(|node| self.fails(node, looks)).map(|node| {
            let since = looks.failing.get(&node.uid).copied().unwrap_or(now);
            (node.uid.clone(), since)
        });
        looks.failing = failing.collect();
        looks.tree = tree;
    }

    async fn read_suspects(
        &self,
        looks: &mut TreeLooks,
        tree: &ResourceTree,
        is_last: bool,
    ) -> Vec<Obstacle> {
        let now = Instant::now();
        let mut all = Vec::new();
        let suspects = suspects(tree);
        looks.seen.retain(|uid, _| suspects.iter().any(|one| one.node.uid == *uid));
        for Suspect { node, suspicion, others } in suspects.iter().take(MOST) {
            let seen = looks.seen.entry(node.uid.clone()).or_insert_with(|| Seen::new(now));
            let is_due = suspicion.patience().is_some_and(|time| seen.since.elapsed() >= time);
            let is_known = seen.read.as_ref().is_some_and(|(at, version)| {
                *version == node.resource_version
                    && (!seen.found.is_empty() || at.elapsed() < AGAIN)
            });
            if (is_due || is_last) && !(is_known && (!is_last || !seen.found.is_empty())) {
                seen.read = Some((Instant::now(), node.resource_version.clone()));
                self.read_suspect(node, seen).await;
            }
            let found = seen.found.iter().cloned();
            all.extend(found.map(|one| Obstacle { others: *others, ..one }));
        }
        all
    }

    /// Whether a pod with the wanted image is Degraded, or what is to make such pods is refused them.
    fn fails(&self, node: &TreeNode, looks: &TreeLooks) -> bool {
        if node.kind == "Pod" {
            let health = node.health.as_ref().map(|health| health.status);
            return health == Some(HealthStatus::Degraded) && self.is_ours(node);
        }
        let refused = |one: &Obstacle| matches!(one.kind, ObstacleKind::NoPods { .. });
        let seen = looks.seen.get(&node.uid);
        seen.is_some_and(|seen| seen.is_ours && seen.found.iter().any(refused))
    }

    /// Whether a pod has the wanted image.
    fn is_ours(&self, pod: &TreeNode) -> bool {
        let images = self.subject.images;
        images.is_empty()
            || images.iter().any(|wanted| {
                let digest = wanted.digest.to_string();
                pod.images.iter().any(|image| image.ends_with(&digest))
            })
    }

    /// Reads an object, and its events if it says nothing itself. What cannot be read is not known, and no error.
    async fn read_suspect(&self, node: &TreeNode, seen: &mut Seen) {
        let (client, app) = (&self.subject.client, &self.subject.app);
        let object = reference(node);
        let Ok(live) = client.resource(app, &object).await else { return };
        seen.is_ours = self.subject.images.is_empty() || runs_one_of(&live, self.subject.images);
        seen.found = obstacles(&object, &live);
        if !seen.found.is_empty() {
            return;
        }
        let of = EventsOf {
            namespace: node.namespace.clone(),
            name: node.name.clone(),
            uid: node.uid.clone(),
        };
        if let Ok(events) = client.events(app, Some(&of)).await {
            seen.found = of_events(&object, &events).into_iter().collect();
        }
    }

    /// Waits for the next state, looking at the tree from time to time. [`NextState::Time`] may come before the deadline.
    pub(crate) async fn next_looking(&mut self, looks: &mut TreeLooks) -> Result<NextState, Error> {
        self.look_at_tree_in_time(looks).await;
        let next = self.follow.next(self.until(looks, looks.next)).await?;
        if matches!(next, NextState::Time) {
            self.look_before_deadline(looks).await;
        }
        Ok(next)
    }

    /// When a wait has to look at something else than the next state at the latest.
    pub(crate) fn until(&self, looks: &TreeLooks, wake: Instant) -> Instant {
        let deadline = self.follow.deadline();
        match looks.looked_last == Some(deadline) {
            true => wake.min(deadline),
            false => wake.min(self.last_look_at()),
        }
    }

    fn last_look_at(&self) -> Instant {
        let deadline = self.follow.deadline();
        deadline.checked_sub(LAST_LOOK.min(self.subject.options.timeout / 4)).unwrap_or(deadline)
    }

    /// The last look before the deadline, if it is time for that. Whether it was.
    pub(crate) async fn look_before_deadline(&mut self, looks: &mut TreeLooks) -> bool {
        let deadline = self.follow.deadline();
        let is_time = looks.looked_last != Some(deadline) && Instant::now() >= self.last_look_at();
        if is_time {
            looks.looked_last = Some(deadline);
            let _ = timeout_at(deadline, self.look_last(looks)).await;
        }
        is_time
    }

    /// Looks at everything that can say why it does not go on, and at what crashed containers wrote.
    pub(crate) async fn look_at_end(&mut self, looks: &mut TreeLooks) {
        let until = (Instant::now() + LAST_LOOK).min(self.follow.deadline());
        let _ = timeout_at(until, self.look_last(looks)).await;
    }

    async fn look_last(&mut self, looks: &mut TreeLooks) {
        self.look_at_tree(looks, true).await;
        let mut logs = 0;
        for obstacle in &mut looks.obstacles {
            let is_crash = matches!(obstacle.kind, ObstacleKind::Crash { .. });
            if is_crash && logs < LOGS {
                logs += 1;
                self.read_log(&looks.tree, obstacle).await;
            }
        }
    }

    /// The last lines of a container that crashed: of the one before, if it runs again.
    async fn read_log(&self, tree: &ResourceTree, obstacle: &mut Obstacle) {
        let Some((pod, container)) = obstacle.container() else { return };
        let Some(node) = tree.nodes.iter().find(|node| node.kind == "Pod" && node.name == pod)
        else {
            return;
        };
        let ObjectRef { group, kind, namespace, name, .. } = reference(node);
        let wanted = LogQuery {
            group: Some(group),
            kind: Some(kind),
            name: Some(name),
            namespace: Some(namespace),
            container: Some(container.to_owned()),
            tail: Some(LOG_LINES),
            previous: obstacle.runs_again,
            ..LogQuery::default()
        };
        // What is sent is bounded by `tail`, and by the time.
        let (mut lines, mut unread) = (Vec::new(), None);
        let take = |entry: LogEntry| match entry.is_failure() {
            true => unread = Some(entry.content),
            false => lines.push(entry.content),
        };
        let read = self.subject.client.logs(&self.subject.app, &wanted, take).await;
        obstacle.log = last_lines(lines);
        obstacle.log_error = match read {
            Err(error) => Some(error.kind.to_string().into()),
            Ok(()) => unread.filter(|_| obstacle.log.is_empty()).map(Into::into),
        };
    }

    /// Why it is given up, if pods with the wanted image, or what is to make them, have been failing for too long. While an
    /// operation runs, only what it has made counts.
    pub(crate) fn stuck(&self, looks: &TreeLooks) -> Option<AppFailure> {
        let state = self.follow.app().status.operation_state.as_ref();
        let begun = state.filter(|state| state.finished_at.is_none()).map(|state| state.started_at);
        let is_stuck = |node: &&TreeNode| {
            let Some(since) = looks.failing.get(&node.uid) else { return false };
            let is_new = begun.is_none_or(|begun| begun.is_none() || node.created_at >= begun);
            // A Job tries again by itself.
            let may_succeed = begun.is_some() && is_attempt(node);
            since.elapsed() >= self.subject.options.stuck_after && is_new && !may_succeed
        };
        let (pods, makers): (Vec<_>, Vec<_>) =
            looks.tree.nodes.iter().filter(is_stuck).partition(|node| node.kind == "Pod");
        let unhealthy = |nodes: Vec<&TreeNode>| {
            nodes
                .into_iter()
                .map(|node| Unhealthy {
                    kind: node.kind.clone(),
                    name: node.name.clone(),
                    health: node.health.clone().unwrap_or_default(),
                })
                .collect()
        };
        match (pods.is_empty(), makers.is_empty()) {
            (false, _) => Some(AppFailure::Stuck { pods: unhealthy(pods) }),
            (true, false) => Some(AppFailure::NoPods { workloads: unhealthy(makers) }),
            (true, true) => None,
        }
    }
}
