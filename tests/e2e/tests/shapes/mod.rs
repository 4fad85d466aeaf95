//! Every shape of application that a team may have, on a real Argo CD: what an override can do there, and what is said
//! where it can do nothing. Each shape is a row of [`table::shapes`]; how a row is tried is [`scene`]'s.

mod begun;
mod blocked;
mod canary;
mod cluster;
mod followed;
mod rollouts;
mod scene;
mod stand_in;
mod table;

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, stream};

use scene::Scene;

/// How many are tried at the same time.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_of_application() -> Result<()> {
    let (Some(docker_host), Some(rig)) = (e2e::docker_host(), e2e::rig()) else { return Ok(()) };
    let scene = Scene::start(rig, &docker_host).await?;
    let tried = stream::iter(table::shapes())
        .map(|shape| {
            let scene = &scene;
            async move {
                let tried = async {
                    scene.attempt(&shape).await?;
                    scene.begin(&shape).await
                };
                (shape.name, tried.await)
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    // Whatever was found, the rig is left as it was.
    scene.remove().await?;
    let failed: Vec<String> = tried
        .iter()
        .filter_map(|(name, result)| Some(format!("{name}: {:#}", result.as_ref().err()?)))
        .collect();
    ensure!(failed.is_empty(), "{} of {}:\n{}", failed.len(), tried.len(), failed.join("\n"));
    Ok(())
}
