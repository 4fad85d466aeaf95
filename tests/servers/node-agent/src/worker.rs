//! One pod on this node: carries out what its [`Machine`] wants, and reports. No rules of its own.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use super::{
    Shared,
    engine::{Create, Local},
    environment::{self, Sources},
    image_id::{self, Digests, Mode},
    kube::{Patch, pod_path},
    machine::{Command, Event, FailedReason, Image, Machine, Phase, ProbeKind},
    model::{Condition, Container, Pod},
    probe, registry, status,
};

/// What the API server says of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) pod: Pod,
    /// It is no longer there.
    pub(crate) gone: bool,
}

/// A pod that left the API server without notice gives its containers so long.
const GONE_GRACE: Duration = Duration::from_secs(1);

struct Worker {
    shared: Arc<Shared>,
    pod: Pod,
    pod_ip: IpAddr,
    machine: Machine,
    events: mpsc::UnboundedSender<(usize, Event)>,
    reported: Value,
    conditions: Vec<Condition>,
    probes: HashMap<usize, Vec<AbortHandle>>,
}

/// Runs a pod until it is gone from this node.
pub(crate) async fn run(shared: Arc<Shared>, mut seen: watch::Receiver<Seen>) {
    let pod = seen.borrow().pod.clone();
    let Some(pod_ip) = shared.addresses.take() else {
        tracing::error!("no address is left for pod {}", pod.metadata.name);
        return;
    };
    let (events, mut happened) = mpsc::unbounded_channel();
    let mut modes = shared.modes.subscribe();
    let machine = Machine::new(&pod, shared.back_off, Timestamp::now());
    let conditions = pod.status.conditions.clone();
    let mut worker = Worker {
        shared: shared.clone(),
        pod,
        pod_ip,
        machine,
        events,
        reported: Value::Null,
        conditions,
        probes: HashMap::new(),
    };
    loop {
        worker.see(&seen.borrow_and_update().clone());
        let (commands, wake) = worker.machine.next(Timestamp::now());
        let finish = commands.contains(&Command::Finish);
        worker.report().await;
        if finish {
            break;
        }
        for command in commands {
            worker.carry_out(command);
        }
        let sleep = async {
            match wake {
                Some(wake) => {
                    let left = wake.duration_since(Timestamp::now());
                    tokio::time::sleep(Duration::try_from(left).unwrap_or(Duration::ZERO)).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = happened.recv() => {
                let Some((slot, event)) = event else { break };
                worker.happened(slot, event);
            }
            changed = seen.changed() => {
                if changed.is_err() {
                    break;
                }
            }
            _ = modes.changed() => worker.reimage().await,
            () = sleep => {}
        }
    }
    worker.finish().await;
    shared.addresses.give_back(pod_ip);
}

impl Worker {
    fn see(&mut self, seen: &Seen) {
        self.pod.metadata = seen.pod.metadata.clone();
        if seen.gone {
            self.machine.delete(GONE_GRACE);
        } else if self.pod.metadata.deletion_timestamp.is_some() {
            let seconds = self.pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
            self.machine.delete(Duration::from_secs(seconds.try_into().unwrap_or(0)));
        }
    }

    fn happened(&mut self, slot: usize, event: Event) {
        match &event {
            Event::Started { container_id, .. } => self.watch(slot, container_id.clone()),
            Event::Ended { container_id, .. } => {
                self.probes.remove(&slot).into_iter().flatten().for_each(|probe| probe.abort());
                self.remember_end(slot, container_id);
            }
            _ => {}
        }
        self.machine.handle(slot, event, Timestamp::now());
    }

    /// The last ended container stays in the engine, for its log; the one before it goes.
    fn remember_end(&self, slot: usize, container_id: &str) {
        let Some(last) = self.machine.slots.get(slot).and_then(|slot| slot.last.as_ref()) else {
            return;
        };
        if last.container_id != container_id {
            let (engine, id) = (self.shared.engine.clone(), last.container_id.clone());
            tokio::spawn(async move { engine.remove(&id).await });
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Start { slot } => {
                let starter = Starter {
                    shared: self.shared.clone(),
                    pod: self.pod.clone(),
                    container: self.machine.slots[slot].spec.clone(),
                    pod_ip: self.pod_ip,
                };
                let events = self.events.clone();
                tokio::spawn(async move {
                    let event = match starter.start().await {
                        Ok((container_id, image)) => Event::Started { container_id, image },
                        Err((reason, message)) => Event::NotStarted { reason, message },
                    };
                    // Fails only when the pod is gone; then its containers are removed by their label.
                    let _ = events.send((slot, event));
                });
            }
            Command::Stop { container_id, grace, .. } => {
                let engine = self.shared.engine.clone();
                tokio::spawn(async move { engine.stop(&container_id, grace).await });
            }
            Command::Finish => {}
        }
    }

    /// Waits for the end of a container that has started, and probes it.
    fn watch(&mut self, slot: usize, container_id: String) {
        let (engine, events, id) =
            (self.shared.engine.clone(), self.events.clone(), container_id.clone());
        tokio::spawn(async move {
            let ended = engine.wait(&id).await;
            let event = Event::Ended {
                container_id: id,
                exit_code: ended.exit_code,
                out_of_memory: ended.out_of_memory,
            };
            let _ = events.send((slot, event));
        });
        let container = self.machine.slots[slot].spec.clone();
        let target = probe::Target {
            engine: self.shared.engine.clone(),
            http: self.shared.probe_http.clone(),
            container_id: container_id.clone(),
            pod_ip: self.pod_ip,
            container: container.clone(),
        };
        let kinds = [
            (ProbeKind::Startup, container.startup_probe),
            (ProbeKind::Readiness, container.readiness_probe),
            (ProbeKind::Liveness, container.liveness_probe),
        ];
        let handles = kinds.into_iter().filter_map(|(kind, probe)| {
            let (target, events, id) = (target.clone(), self.events.clone(), container_id.clone());
            let run = probe::run(target, probe?, move |success| {
                events
                    .send((slot, Event::Probed { container_id: id.clone(), kind, success }))
                    .is_ok()
            });
            Some(tokio::spawn(run).abort_handle())
        });
        self.probes.insert(slot, handles.collect());
    }

    /// Reports other image ids after the mode was changed.
    async fn reimage(&mut self) {
        for slot in 0..self.machine.slots.len() {
            let Phase::Running { .. } = self.machine.slots[slot].phase else { continue };
            let starter = Starter {
                shared: self.shared.clone(),
                pod: self.pod.clone(),
                container: self.machine.slots[slot].spec.clone(),
                pod_ip: self.pod_ip,
            };
            let policy = super::model::PullPolicy::Never;
            if let Ok(local) = self.shared.engine.pull(&starter.container.image, policy).await
                && let Ok(image) = starter.image(&local).await
            {
                self.machine.handle(slot, Event::Reimaged { image }, Timestamp::now());
            }
        }
    }

    /// Tells the API server, and this node's services, if something changed.
    async fn report(&mut self) {
        let metadata = self.pod.metadata.clone();
        let ready = self.machine.slots.iter().all(|slot| slot.is_init || slot.ready)
            && self.machine.initialized();
        let containers = self.machine.slots.iter().filter_map(|slot| {
            let id = match &slot.phase {
                Phase::Running { container_id, .. } => container_id,
                Phase::Exited { terminated, .. } => &terminated.container_id,
                _ => &slot.last.as_ref()?.container_id,
            };
            Some((slot.spec.name.clone(), id.clone()))
        });
        self.shared.publish(super::services::Endpoint {
            uid: metadata.uid.clone(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
            labels: metadata.labels.clone(),
            pod_ip: self.pod_ip,
            ready: ready && !self.machine.is_deleting(),
            containers: containers.collect(),
            specs: self.pod.spec.containers.clone(),
        });
        if self.machine.is_over() {
            return;
        }
        let report = status::report(
            &self.machine,
            &self.pod_ip.to_string(),
            &self.conditions,
            Timestamp::now(),
        );
        if report == self.reported {
            return;
        }
        // The uid keeps the report of an old pod off a new one of the same name.
        let patch = json!({ "metadata": { "uid": metadata.uid }, "status": report });
        match self
            .shared
            .kube
            .patch(&format!("{}/status", pod_path(&metadata)), Patch::Strategic, &patch)
            .await
        {
            Ok(_) => {
                self.conditions =
                    serde_json::from_value(report["conditions"].clone()).unwrap_or_default();
                self.reported = report;
            }
            Err(error) => tracing::warn!("reporting pod {}: {error:#}", metadata.name),
        }
    }

    async fn finish(&mut self) {
        for probe in self.probes.drain().flat_map(|(_, probes)| probes) {
            probe.abort();
        }
        let metadata = &self.pod.metadata;
        self.shared.retract(&metadata.uid);
        if let Err(error) = self.shared.engine.remove_all(Some(&metadata.uid)).await {
            tracing::warn!("removing the containers of pod {}: {error:#}", metadata.name);
        }
        if let Err(error) = self.shared.kube.finalize(metadata).await {
            tracing::warn!("finishing the deletion of pod {}: {error:#}", metadata.name);
        }
    }
}

struct Starter {
    shared: Arc<Shared>,
    pod: Pod,
    container: Container,
    pod_ip: IpAddr,
}

impl Starter {
    async fn start(&self) -> Result<(String, Image), (FailedReason, String)> {
        let config = |message: String| (FailedReason::Config, message);
        if let Some(mount) = self.container.volume_mounts.first() {
            return Err(config(format!(
                "this node agent mounts no volumes, and the container wants {:?}",
                mount.name
            )));
        }
        let sources = self.sources().await.map_err(|error| config(format!("{error:#}")))?;
        let env =
            environment::resolve(&self.pod, &self.container, &self.pod_ip.to_string(), &sources)
                .map_err(config)?;
        let local = self
            .shared
            .engine
            .pull(&self.container.image, self.container.image_pull_policy)
            .await?;
        let image = self.image(&local).await.map_err(config)?;
        let pairs: Vec<(String, String)> = env
            .iter()
            .filter_map(|it| it.split_once('='))
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .collect();
        let expand =
            |list: &[String]| list.iter().map(|text| environment::expand(text, &pairs)).collect();
        let metadata = &self.pod.metadata;
        let label = |name: &str, value: &str| (format!("io.kubernetes.{name}"), value.to_owned());
        let attempt = Timestamp::now().as_millisecond();
        let create = Create {
            name: format!(
                "k8s_{}_{}_{}_{}_{attempt}",
                self.container.name, metadata.name, metadata.namespace, metadata.uid
            ),
            image: self.container.image.clone(),
            entrypoint: expand(&self.container.command),
            command: expand(&self.container.args),
            env,
            working_dir: self.container.working_dir.clone(),
            labels: HashMap::from([
                label("container.name", &self.container.name),
                label("pod.name", &metadata.name),
                label("pod.namespace", &metadata.namespace),
                label("pod.uid", &metadata.uid),
            ]),
        };
        Ok((self.shared.engine.start(create).await?, image))
    }

    async fn sources(&self) -> anyhow::Result<Sources> {
        #[derive(serde::Deserialize)]
        struct Data {
            #[serde(default)]
            data: std::collections::BTreeMap<String, String>,
        }
        let (maps, secrets) = environment::referenced(&self.container);
        let mut sources = Sources::default();
        let base = format!("/api/v1/namespaces/{}", self.pod.metadata.namespace);
        for name in maps {
            if let Some(map) =
                self.shared.kube.get::<Data>(&format!("{base}/configmaps/{name}")).await?
            {
                sources.config_maps.insert(name, map.data);
            }
        }
        for name in secrets {
            if let Some(secret) =
                self.shared.kube.get::<Data>(&format!("{base}/secrets/{name}")).await?
            {
                use base64::Engine as _;
                let decode = |value: String| {
                    let bytes =
                        base64::engine::general_purpose::STANDARD.decode(value).unwrap_or_default();
                    String::from_utf8_lossy(&bytes).into_owned()
                };
                sources.secrets.insert(
                    name,
                    secret.data.into_iter().map(|(key, it)| (key, decode(it))).collect(),
                );
            }
        }
        Ok(sources)
    }

    /// What to report of an image, as the pod's mode says.
    async fn image(&self, local: &Local) -> Result<Image, String> {
        let metadata = &self.pod.metadata;
        let mode = self.shared.modes.borrow().of(&metadata.namespace, &metadata.annotations)?;
        let digests = self.digests(local, &mode).await;
        let owner = format!("{}/{}", metadata.namespace, self.container.name);
        let older = digests
            .top
            .as_deref()
            .and_then(|top| self.shared.older(&owner, &digests.repository, top));
        Ok(Image { id: image_id::choose(&mode, &digests, older.as_deref()) })
    }

    async fn digests(&self, local: &Local, mode: &Mode) -> Digests {
        let (repository, _, digest) = image_id::split_reference(&self.container.image);
        let recorded = |repo_digest: &String| {
            let (name, digest) = repo_digest.split_once('@')?;
            (name == repository).then(|| digest.to_owned())
        };
        let top =
            digest.map(str::to_owned).or_else(|| local.repo_digests.iter().find_map(recorded));
        let mut digests = Digests {
            repository: repository.to_owned(),
            top,
            manifest: None,
            config: local.id.clone(),
        };
        let asks = *mode == Mode::Manifest || (*mode == Mode::Config && local.id_is_manifest);
        if let Some(top) = digests.top.clone().filter(|_| asks) {
            match registry::below(
                &self.shared.http,
                repository,
                &top,
                &local.os,
                &local.architecture,
            )
            .await
            {
                Ok((manifest, config)) => {
                    digests.manifest = Some(manifest);
                    digests.config = config;
                }
                Err(error) => {
                    tracing::warn!("asking the registry about {}: {error:#}", self.container.image)
                }
            }
        }
        digests
    }
}
