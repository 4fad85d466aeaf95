//! Containers in a Docker Engine: pull, start, wait, stop, remove. Knows nothing of Kubernetes but the labels that
//! tell whose container it is.

use std::{collections::HashMap, io, time::Duration};

use anyhow::Context as _;
use bollard::{
    Docker,
    errors::Error as DockerError,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions,
        ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
        StartContainerOptions, StopContainerOptionsBuilder, WaitContainerOptions,
    },
};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use tokio::sync::mpsc;

use super::{image_id::split_reference, machine::FailedReason, model::PullPolicy};

/// The label with the name of the node that a container belongs to.
const NODE_LABEL: &str = "dev.verbatim.node-agent.node";

/// An engine, and the node whose containers it runs.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    docker: Docker,
    node: String,
}

/// A container to be started.
#[derive(Debug)]
pub(crate) struct Create {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) labels: HashMap<String, String>,
}

/// An image in the engine.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    /// The engine's id of it.
    pub(crate) id: String,
    /// `repository@digest` of each repository it was pulled from or pushed to.
    pub(crate) repo_digests: Vec<String>,
    /// The id is a manifest's digest (containerd image store), not the configuration's.
    pub(crate) id_is_manifest: bool,
    pub(crate) os: String,
    pub(crate) architecture: String,
}

/// Which part of what a container has written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Go on until the container ends.
    pub(crate) follow: bool,
    /// Each line begins with its time.
    pub(crate) timestamps: bool,
    /// Only so many lines from the end.
    pub(crate) tail: Option<u64>,
    /// Only from this second on.
    pub(crate) since: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) exit_code: i64,
    pub(crate) out_of_memory: bool,
}

impl Engine {
    pub(crate) async fn connect(docker_host: &str, node: &str) -> anyhow::Result<Self> {
        let docker = Docker::connect_with_host(docker_host)
            .with_context(|| format!("{docker_host} is not the address of a Docker Engine"))?;
        docker
            .ping()
            .await
            .with_context(|| format!("no Docker Engine answers at {docker_host}"))?;
        Ok(Self { docker, node: node.to_owned() })
    }

    /// Makes sure that the image is in the engine, as the policy says.
    pub(crate) async fn pull(
        &self,
        image: &str,
        policy: PullPolicy,
    ) -> Result<Local, (FailedReason, String)> {
        let local = self.inspect(image).await;
        match (policy, local) {
            (PullPolicy::IfNotPresent | PullPolicy::Never, Ok(Some(local))) => return Ok(local),
            (PullPolicy::Never, _) => {
                let message =
                    format!("Container image {image:?} is not present with pull policy of Never");
                return Err((FailedReason::NeverPull, message));
            }
            _ => {}
        }
        let failed = |error: String| {
            (FailedReason::Pull, format!("failed to pull image {image:?}: {error}"))
        };
        let (repository, tag, digest) = split_reference(image);
        let options = match digest {
            // With a digest the tag says nothing.
            Some(digest) => {
                CreateImageOptionsBuilder::new().from_image(&format!("{repository}@{digest}"))
            }
            None => {
                CreateImageOptionsBuilder::new().from_image(repository).tag(tag.unwrap_or("latest"))
            }
        };
        self.docker
            .create_image(Some(options.build()), None, None)
            .try_for_each(|_| async { Ok(()) })
            .await
            .map_err(|error| failed(message_of(&error)))?;
        match self.inspect(image).await {
            Ok(Some(local)) => Ok(local),
            Ok(None) => Err(failed("the engine pulled it and does not have it".to_owned())),
            Err(error) => Err(failed(message_of(&error))),
        }
    }

    async fn inspect(&self, image: &str) -> Result<Option<Local>, DockerError> {
        let (repository, tag, digest) = split_reference(image);
        let name = match digest {
            Some(digest) => format!("{repository}@{digest}"),
            None => format!("{repository}:{}", tag.unwrap_or("latest")),
        };
        match self.docker.inspect_image(&name).await {
            Ok(image) => Ok(Some(Local {
                id: image.id.unwrap_or_default(),
                repo_digests: image.repo_digests.unwrap_or_default(),
                id_is_manifest: image.descriptor.is_some(),
                os: image.os.unwrap_or_default(),
                architecture: image.architecture.unwrap_or_default(),
            })),
            Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates and starts a container with the host's network. Returns its id.
    pub(crate) async fn start(&self, create: Create) -> Result<String, (FailedReason, String)> {
        let mut labels = create.labels;
        labels.insert(NODE_LABEL.to_owned(), self.node.clone());
        let (repository, tag, digest) = split_reference(&create.image);
        let image = match digest {
            Some(digest) => format!("{repository}@{digest}"),
            None => format!("{repository}:{}", tag.unwrap_or("latest")),
        };
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        let body = ContainerCreateBody {
            image: Some(image),
            entrypoint: some(create.entrypoint),
            cmd: some(create.command),
            env: Some(create.env),
            working_dir: (!create.working_dir.is_empty()).then_some(create.working_dir),
            labels: Some(labels),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&create.name).build();
        let made = self.docker.create_container(Some(options), body).await;
        let id = made.map_err(|error| (FailedReason::Create, message_of(&error)))?.id;
        if let Err(error) = self.docker.start_container(&id, None::<StartContainerOptions>).await {
            self.remove(&id).await;
            return Err((FailedReason::Run, message_of(&error)));
        }
        Ok(id)
    }

    /// Waits for the end of a container.
    pub(crate) async fn wait(&self, id: &str) -> Ended {
        loop {
            let answer =
                self.docker.wait_container(id, None::<WaitContainerOptions>).try_next().await;
            let code = match answer {
                Ok(Some(answer)) => Some(answer.status_code),
                // bollard makes an error of every code but 0.
                Err(DockerError::DockerContainerWaitError { code, .. }) => Some(code),
                _ => None,
            };
            match self.docker.inspect_container(id, None::<InspectContainerOptions>).await {
                Ok(container) => {
                    let state = container.state.unwrap_or_default();
                    if let Some(exit_code) = code {
                        return Ended { exit_code, out_of_memory: state.oom_killed == Some(true) };
                    }
                    if state.running == Some(false) {
                        let exit_code = state.exit_code.unwrap_or(137);
                        return Ended { exit_code, out_of_memory: state.oom_killed == Some(true) };
                    }
                }
                // Somebody removed it.
                Err(DockerError::DockerResponseServerError { status_code: 404, .. }) => {
                    return Ended { exit_code: code.unwrap_or(137), out_of_memory: false };
                }
                Err(error) => tracing::warn!("waiting for container {id}: {}", message_of(&error)),
            }
            // The engine ended the wait without an answer: ask again, but not in a tight loop.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// SIGTERM, and SIGKILL after `grace`.
    pub(crate) async fn stop(&self, id: &str, grace: Duration) {
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        if let Err(error) = self.docker.stop_container(id, Some(options)).await {
            tracing::warn!("stopping container {id}: {}", message_of(&error));
        }
    }

    /// Removes a container, running or not.
    pub(crate) async fn remove(&self, id: &str) {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            Ok(()) | Err(DockerError::DockerResponseServerError { status_code: 404 | 409, .. }) => {
            }
            Err(error) => tracing::warn!("removing container {id}: {}", message_of(&error)),
        }
    }

    /// Removes every container of this node, or of one of its pods.
    pub(crate) async fn remove_all(&self, pod_uid: Option<&str>) -> anyhow::Result<usize> {
        let mut labels = vec![format!("{NODE_LABEL}={}", self.node)];
        labels.extend(pod_uid.map(|uid| format!("io.kubernetes.pod.uid={uid}")));
        let filters = HashMap::from([("label", labels)]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers =
            self.docker.list_containers(Some(options)).await.context("cannot list containers")?;
        let ids: Vec<String> =
            containers.into_iter().filter_map(|container| container.id).collect();
        futures_util::future::join_all(ids.iter().map(|id| self.remove(id))).await;
        Ok(ids.len())
    }

    /// What a container has written, both streams.
    pub(crate) async fn logs(&self, id: &str) -> anyhow::Result<Vec<u8>> {
        let mut written = self.written(id, &Written::default());
        let mut all = Vec::new();
        while let Some(chunk) = written.recv().await {
            all.extend_from_slice(&chunk.context("cannot read the log")?);
        }
        Ok(all)
    }

    /// The same as it comes, and only a part of it.
    pub(crate) fn written(&self, id: &str, what: &Written) -> mpsc::Receiver<io::Result<Bytes>> {
        let tail = what.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::new()
            .stdout(true)
            .stderr(true)
            .follow(what.follow)
            .timestamps(what.timestamps)
            .tail(&tail)
            .since(what.since.and_then(|since| i32::try_from(since).ok()).unwrap_or_default())
            .build();
        let (sender, receiver) = mpsc::channel(16);
        let (docker, id) = (self.docker.clone(), id.to_owned());
        tokio::spawn(async move {
            let mut chunks = std::pin::pin!(docker.logs(&id, Some(options)));
            loop {
                let chunk = tokio::select! {
                    chunk = chunks.try_next() => chunk,
                    // Nobody reads on.
                    () = sender.closed() => return,
                };
                let chunk = match chunk {
                    Ok(None) => return,
                    Ok(Some(chunk)) => Ok(chunk.into_bytes()),
                    Err(error) => Err(io::Error::other(message_of(&error))),
                };
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// Runs a command in a container. Whether it exited with 0.
    pub(crate) async fn exec(&self, id: &str, command: &[String]) -> anyhow::Result<bool> {
        use bollard::exec::{CreateExecOptions, StartExecResults};
        let options = CreateExecOptions {
            cmd: Some(command.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..CreateExecOptions::default()
        };
        let exec = self.docker.create_exec(id, options).await?.id;
        if let StartExecResults::Attached { output, .. } =
            self.docker.start_exec(&exec, None).await?
        {
            output.try_for_each(|_| async { Ok(()) }).await?;
        }
        Ok(self.docker.inspect_exec(&exec).await?.exit_code == Some(0))
    }
}

fn message_of(error: &DockerError) -> String {
    match error {
        DockerError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        DockerError::DockerStreamError { error } => error.trim().to_owned(),
        other => other.to_string(),
    }
}
