//! Several applications at once, beside argocd with one after the other.

use anyhow::{Result, ensure};

use super::objects;
use super::stage::Stage;
use super::tables::{OPERATION, SPEC};

/// Applications that are treated alike, two by each program.
struct Pairs {
    theirs: [String; 2],
    ours: [String; 2],
}

impl Pairs {
    async fn make(stage: &Stage) -> Result<Self> {
        let names = |whose: &str| [stage.name(whose), stage.name(whose)];
        let pairs = Self { theirs: names("theirs"), ours: names("ours") };
        for app in pairs.theirs.iter().chain(&pairs.ours) {
            stage.make(app, "chart").await?;
            stage.argocd_does("app sync APP", app).await?;
            stage.argocd_does("app set APP --helm-set-string image.tag=1", app).await?;
            stage.argocd_does("app sync APP", app).await?;
            stage.argocd_does("app wait APP --sync --health", app).await?;
        }
        Ok(pairs)
    }

    /// A line of ours about both of ours.
    fn line(&self, line: &str) -> String {
        line.replace("BOTH", &self.ours.join(" "))
    }

    /// Does the same with each of theirs and with both of ours, and compares what is left of each pair.
    async fn change(&self, stage: &Stage, theirs: &str, ours: &str, sees: &[&str]) -> Result<()> {
        for app in &self.theirs {
            stage.argocd_does(theirs, app).await?;
        }
        stage.verbatim_does(&self.line(ours), "").await?;
        for (theirs, ours) in self.theirs.iter().zip(&self.ours) {
            let theirs = stage.picture(theirs, sees).await?;
            objects::same(&theirs, &stage.picture(ours, sees).await?)?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_at_once_are_treated_as_one_after_the_other() -> Result<()> {
    let Some(rig) = e2e::rig() else { return Ok(()) };
    let stage = Stage::start(rig, "once").await?;
    let outcome = at_once(&stage).await;
    stage.clean().await?;
    outcome
}

async fn at_once(stage: &Stage) -> Result<()> {
    let pairs = Pairs::make(stage).await?;
    looked_at(stage, &pairs).await?;
    let changes = [
        ("app rollback APP", "rollback BOTH", OPERATION),
        ("app rollback APP 1", "rollback BOTH --id 1 --parallel 1", OPERATION),
        ("app set APP --helm-set-string image.tag=2", "override BOTH --helm-set image.tag=2", SPEC),
        ("app unset APP -p image.tag", "unset BOTH -p image.tag", SPEC),
        ("app set APP --revision-history-limit 2", "set BOTH --revision-history-limit 2", SPEC),
        (
            "app actions run APP restart --kind Deployment",
            "actions run BOTH restart --kind Deployment",
            SPEC,
        ),
        ("app sync APP", "sync BOTH", OPERATION),
    ];
    for (theirs, ours, sees) in changes {
        pairs.change(stage, theirs, ours, sees).await?;
    }
    confirmed(stage, &pairs).await?;
    for app in &pairs.theirs {
        stage.argocd_does("app delete APP --yes", app).await?;
    }
    stage.verbatim_does(&pairs.line("delete BOTH --wait"), "").await?;
    for app in pairs.theirs.iter().chain(&pairs.ours) {
        stage.gone(app).await?;
    }
    Ok(())
}

/// What argocd tells of one after the other, ours tells of both.
async fn looked_at(stage: &Stage, pairs: &Pairs) -> Result<()> {
    let mut theirs = Vec::new();
    for app in &pairs.ours {
        theirs.push(stage.argocd_does("app manifests APP", app).await?);
    }
    let ours = stage.verbatim_does(&pairs.line("manifests BOTH"), "").await?;
    objects::same_yaml(&theirs.join("\n---\n"), &ours)?;
    for line in ["events BOTH", "events BOTH --kind Deployment", "history BOTH", "resources BOTH"] {
        let told = stage.verbatim_does(&pairs.line(line), "").await?;
        for app in &pairs.ours {
            ensure!(told.contains(app.as_str()), "{line} does not name {app}: {told}");
        }
    }
    let told = stage.verbatim_does(&pairs.line("events BOTH"), "").await?;
    // Each was made, written to and synced.
    ensure!(told.matches("ResourceCreated").count() >= 2, "{told}");
    for line in ["diff BOTH", "images BOTH", "get BOTH -o tree", "wait BOTH --operation"] {
        stage.verbatim_does(&pairs.line(line), "").await?;
    }
    // Where the rig has no containers, no node answers.
    let logs = stage.verbatim(&pairs.line("logs BOTH --tail 1"), "").await?;
    ensure!([0, 3].contains(&logs.code), "{logs}");
    let none = stage.verbatim(&pairs.line("terminate BOTH"), "").await?;
    ensure!(none.code == 1, "{none}");
    Ok(())
}

/// The moment differs; that there is one does not.
async fn confirmed(stage: &Stage, pairs: &Pairs) -> Result<()> {
    for app in &pairs.theirs {
        stage.argocd_does("app confirm-deletion APP", app).await?;
    }
    stage.verbatim_does(&pairs.line("confirm-deletion BOTH"), "").await?;
    for app in pairs.theirs.iter().chain(&pairs.ours) {
        let object = stage.application(app).await?.unwrap_or_default();
        let at = &object["metadata"]["annotations"]["argocd.argoproj.io/deletion-approved"];
        let at = at.as_str().unwrap_or_default();
        ensure!(at.parse::<jiff::Timestamp>().is_ok(), "{app} is confirmed at `{at}`");
    }
    Ok(())
}
