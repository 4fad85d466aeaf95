//! Deployments of what only a controller runs. Until the controller has followed, the image of before runs, whatever Argo CD
//! says. What stands in for the controller is [`StandIn`]'s.

use anyhow::{Context as _, Result, ensure};
use e2e::{Run, Tool};

use super::cluster::Cluster;
use super::scene::{Names, says};
use super::stand_in::StandIn;

/// A deployment of an image, with how long it may take at most.
type Deployment<'a> = &'a dyn Fn(&Names, &str) -> Vec<String>;

/// Deploys an image with the controller at work, and another one while it does nothing, which must end with this status and
/// name the pod. Then deploys that one with the controller at work.
pub(crate) async fn followed(
    tool: &Tool,
    (cluster, by): (&Cluster, StandIn),
    app: &str,
    (before, after): (&Names, &Names),
    (deployment, behind): (Deployment<'_>, i32),
) -> Result<Run> {
    let with = async |names: &Names, version| {
        let arguments = deployment(names, "100");
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let follow = by.follow(cluster, app, &names.image, version);
        let (run, followed) = tokio::join!(tool.run(&arguments), follow);
        let run = run?;
        followed.with_context(|| format!("{run}"))?;
        Ok::<_, anyhow::Error>(run)
    };
    let first = with(before, 1).await?;
    ensure!(first.code == 0, "the first version: {first}");
    let arguments = deployment(after, "30");
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let alone = tool.run(&arguments).await?;
    ensure!(alone.code == behind, "while the controller does nothing: {alone}");
    says(&alone, &format!("Pod {app}-"))?;
    says(&alone, &before.digest)?;
    with(after, 2).await
}
