//! Pods without an engine: the program of each image is pulled by digest and run as an ordinary process.
//!
//! Only for the demo, and only where no engine can be had. The simulated Argo CD says which pods there are; this
//! starts the program of a pod when somebody first knocks at its door, and ends it when the pod is gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use simulated_argocd::SimulatedArgocd;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use verbatim_oci::{Manifest, Reference};
use verbatim_registry::Client;

use super::assemble::PROGRAM;

/// The largest layer that is taken; the demo's has a few megabytes.
const LAYER_LIMIT: u64 = 256 << 20;

/// The processes of all pods.
#[derive(Debug)]
pub(super) struct Processes {
    server: Arc<SimulatedArgocd>,
    registry: Client,
    folder: PathBuf,
    running: Mutex<BTreeMap<String, Running>>,
}

/// The process of one pod. Dropping it ends it.
#[derive(Debug)]
struct Running {
    address: SocketAddr,
    _process: Child,
}

/// What is to run: a pod that is said to be ready.
#[derive(Debug, PartialEq, Eq)]
struct Pod {
    uid: String,
    image: String,
    env: Vec<(String, String)>,
}

impl Processes {
    /// Programs are kept in `folder`.
    pub(super) fn new(server: Arc<SimulatedArgocd>, registry: Client, folder: &Path) -> Processes {
        Processes { server, registry, folder: folder.to_owned(), running: Mutex::default() }
    }

    /// The address of the program that runs for `app`, started if need be.
    pub(super) async fn address(&self, app: &str) -> Result<SocketAddr> {
        let objects = self.server.live_objects();
        let pods: Vec<&Value> = objects
            .iter()
            .filter(|(name, _)| name.starts_with("Pod "))
            .map(|(_, pod)| pod)
            .collect();
        let mut running = self.running.lock().await;
        running.retain(|uid, _| pods.iter().any(|pod| pod["metadata"]["uid"] == *uid));
        let pod = ready_pod(&pods, app).with_context(|| format!("nothing runs for {app}"))?;
        if let Some(known) = running.get(&pod.uid) {
            return Ok(known.address);
        }
        let started =
            self.start(&pod).await.with_context(|| format!("failed to run {}", pod.image))?;
        let address = started.address;
        running.insert(pod.uid, started);
        Ok(address)
    }

    async fn start(&self, pod: &Pod) -> Result<Running> {
        let image: Reference = pod.image.parse()?;
        let (program, env) = self.pull(&image).await?;
        // Taken and given back: nobody else asks for ports here in the moment between.
        let address = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let mut process = Command::new(program)
            .env_clear()
            .envs(env)
            .envs(pod.env.iter().cloned())
            .env("POD_IP", address.ip().to_string())
            .env("PORT", address.port().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        for _ in 0..500 {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(Running { address, _process: process });
            }
            if let Some(status) = process.try_wait()? {
                bail!("it ended at once: {status}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("it does not listen")
    }

    /// Pulls an image by its digest: the program, and the variables of the image.
    async fn pull(&self, image: &Reference) -> Result<(PathBuf, Vec<(String, String)>)> {
        let digest = image.digest.context("the image is not named by its digest")?;
        let Manifest::Image(manifest) = self.registry.manifest(image).await?.parse()? else {
            bail!("an index, and not an image");
        };
        let config = self.registry.blob(&image.repository, &manifest.config, LAYER_LIMIT).await?;
        let config: Value =
            serde_json::from_slice(&config).context("the configuration is not JSON")?;
        let variables =
            config["config"]["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let env = variables
            .filter_map(|one| one.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let layer = manifest.layers.first().context("the image has no layer")?;
        let layer = self.registry.blob(&image.repository, layer, LAYER_LIMIT).await?;
        let folder = self.folder.join(digest.to_string().replace(':', "-"));
        unpack(&layer, &folder)?;
        Ok((folder.join(PROGRAM), env.collect()))
    }
}

/// Takes the program, and nothing else, out of a layer.
fn unpack(layer: &[u8], folder: &Path) -> Result<()> {
    let program = folder.join(PROGRAM);
    if program.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder).context("failed to create a folder for a program")?;
    for entry in tar::Archive::new(layer).entries()? {
        let mut entry = entry?;
        if entry.path()?.as_ref() == Path::new(PROGRAM) {
            entry.unpack(&program).context("failed to unpack the program")?;
            return Ok(());
        }
    }
    bail!("the layer has no {PROGRAM}")
}

/// The ready pod of an application; the younger one while one takes over from the other.
fn ready_pod(pods: &[&Value], app: &str) -> Option<Pod> {
    let ready = |pod: &&&Value| {
        let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
        pod["metadata"]["labels"]["app"] == app
            && pod["metadata"]["deletionTimestamp"].is_null()
            && conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    let age = |pod: &&&Value| {
        pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned()
    };
    let pod = pods.iter().filter(ready).max_by_key(age)?;
    let container = pod["spec"]["containers"].get(0)?;
    let env = container["env"].as_array().into_iter().flatten();
    Some(Pod {
        uid: pod["metadata"]["uid"].as_str()?.to_owned(),
        image: container["image"].as_str()?.to_owned(),
        env: env
            .filter_map(|one| {
                Some((one["name"].as_str()?.to_owned(), one["value"].as_str()?.to_owned()))
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_younger_ready_pod_is_taken() {
        let pod = |uid: &str, app: &str, created: &str, ready: &str| {
            json!({
                "metadata": { "uid": uid, "labels": { "app": app }, "creationTimestamp": created },
                "spec": { "containers": [{ "image": uid, "env": [{ "name": "A", "value": "b" }, { "name": "POD_IP", "valueFrom": {} }] }] },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            })
        };
        let pods = [
            pod("old", "demo-dev", "2026-01-01T00:00:01Z", "True"),
            pod("young", "demo-dev", "2026-01-01T00:00:02Z", "True"),
            pod("younger", "demo-dev", "2026-01-01T00:00:03Z", "False"),
            pod("other", "demo-staging", "2026-01-01T00:00:04Z", "True"),
        ];
        let pods: Vec<&Value> = pods.iter().collect();
        let found = ready_pod(&pods, "demo-dev").unwrap();
        assert_eq!(
            (found.uid.as_str(), found.env.as_slice()),
            ("young", &[("A".to_owned(), "b".to_owned())][..])
        );
        assert_eq!(ready_pod(&pods, "demo-production"), None);
    }
}
