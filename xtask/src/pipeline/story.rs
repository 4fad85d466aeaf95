//! The story: one release through three environments, one that is refused, and what can be checked afterwards.
//!
//! Every claim that it prints was checked before; a claim that does not hold ends it.

use anyhow::{Context, Result, bail, ensure};

use super::narrate::Narrator;
use super::project::{ENVIRONMENTS, Fault, Project};
use super::tool::Tool;
use super::world::World;

/// Exit status of `verbatim` for "it worked, and the answer is no".
const NO: i32 = 1;

/// Everybody in the story.
pub(super) struct Story<'a> {
    pub(super) narrator: Narrator,
    pub(super) world: &'a World,
    pub(super) project: &'a Project,
    pub(super) tool: &'a Tool,
    /// The commit of the release.
    pub(super) commit: String,
}

impl Story<'_> {
    /// All of it, or, with a fault, up to the stage that finds the fault.
    pub(super) fn tell(&self, fault: Option<Fault>) -> Result<()> {
        match fault {
            None => {
                self.promote()?;
                self.refuse()?;
                self.status()?;
                self.custody()
            }
            Some(fault) => self.stop_at(fault),
        }
    }

    fn promote(&self) -> Result<()> {
        let narrator = self.narrator;
        narrator.heading("One release, three environments");
        narrator.say(
            "The image is built and pushed once. From then on only its digest travels: into the Argo CD application \
             of dev, then of staging, then of production. Each time it is proven that the running pods have this \
             very digest, the tests of the environment ask the application itself, and a signed record of both goes \
             into the registry.",
        );
        self.run_to(&self.commit, None, None, 0)?;
        println!();
        for (index, name) in ENVIRONMENTS.iter().enumerate() {
            let answer =
                self.world.ask(index).with_context(|| format!("{name} does not answer"))?;
            self.is_answer(&answer, &self.commit, name)?;
            narrator.fact(name, &answer);
        }
        narrator.good("all three run the commit that was built, and say so themselves");
        Ok(())
    }

    fn refuse(&self) -> Result<()> {
        let narrator = self.narrator;
        narrator.heading("A shortcut is refused");
        narrator.say(
            "A second commit is built and goes to dev. Somebody is in a hurry and promotes it straight to production. \
             The gates of production look for signed records of staging about this digest, and find none.",
        );
        std::fs::write(self.project.root.join("NOTES.md"), "In a hurry.\n")
            .context("failed to change the project")?;
        let commit = self.project.commit("Change something in a hurry")?;
        self.world.publish(self.project)?;
        self.run_to(&commit, Some(ENVIRONMENTS[0]), None, 0)?;
        self.tool.run(&["promote", ENVIRONMENTS[2]], NO)?;
        narrator.good("refused, with the reasons");
        let dev = self.world.ask(0).context("dev does not answer")?;
        self.is_answer(&dev, &commit, ENVIRONMENTS[0])?;
        let production = self.world.ask(2).context("production does not answer")?;
        self.is_answer(&production, &self.commit, ENVIRONMENTS[2])?;
        narrator.good("dev runs the second commit, production still the first");
        Ok(())
    }

    fn status(&self) -> Result<()> {
        self.narrator.heading("What runs where");
        self.narrator
            .say("From the records of each environment, and from what Argo CD shows right now.");
        self.tool.run(&["status"], 0)
    }

    fn custody(&self) -> Result<()> {
        let narrator = self.narrator;
        narrator.heading("The chain of custody");
        narrator.say(
            "Who built the release that production runs, what was tested where, and who promoted it: from signed \
             records in the registry, each checked against the keys in verbatim.yaml.",
        );
        let release = self.release_of_production()?;
        self.tool.run(&["verify", &release], 0)
    }

    /// A build that is broken on purpose stops the pipeline in dev.
    fn stop_at(&self, fault: Fault) -> Result<()> {
        let narrator = self.narrator;
        narrator.heading("A build that is broken on purpose");
        let (text, good) = match fault {
            Fault::WrongAnswer => (
                "This build answers with another commit than its own. It starts, it is healthy, Argo CD is content. \
                 Only the test of dev, which asks the application itself, notices.",
                "stopped after the test of dev",
            ),
            Fault::Crash => (
                "This build ends as soon as it is started. Argo CD reports the application as degraded.",
                "stopped in dev",
            ),
        };
        narrator.say(text);
        self.run_to(&self.commit, None, Some(fault), NO)?;
        narrator.good(good);
        for (index, name) in ENVIRONMENTS.iter().enumerate().skip(1) {
            if let Ok(answer) = self.world.ask(index) {
                bail!("something runs in {name}: {answer}");
            }
        }
        narrator.good("nothing reached staging or production");
        Ok(())
    }

    /// `verbatim run`. Without an engine the image is there before.
    fn run_to(
        &self,
        commit: &str,
        to: Option<&str>,
        fault: Option<Fault>,
        want: i32,
    ) -> Result<()> {
        if self.world.docker_host().is_none() {
            self.world.assemble(self.project, commit, fault)?;
        }
        let to: Vec<&str> = to.into_iter().flat_map(|to| ["--to", to]).collect();
        self.tool.run(&[&["run"], to.as_slice()].concat(), want)
    }

    /// The answer is this commit's, in this environment.
    fn is_answer(&self, answer: &str, commit: &str, environment: &str) -> Result<()> {
        let value: serde_json::Value = serde_json::from_str(answer)
            .with_context(|| format!("{environment} answers {answer:?}"))?;
        ensure!(
            value["commit"] == commit,
            "{environment} answers {answer}, and should run commit {commit}"
        );
        ensure!(
            value["environment"] == environment,
            "{environment} says that it is another: {answer}"
        );
        Ok(())
    }

    /// What `verbatim status` says about production, by its digest.
    fn release_of_production(&self) -> Result<String> {
        let status: serde_json::Value =
            serde_json::from_str(&self.tool.output(&["status", "--quiet", "--format", "json"])?)
                .context("the status is not JSON")?;
        find_release(&status, ENVIRONMENTS[2])
            .context("the status does not tell what production runs")
    }
}

/// The digest of an environment in the output of `verbatim status --format json`.
fn find_release(status: &serde_json::Value, environment: &str) -> Option<String> {
    let environments = status.get("environments")?.as_array()?;
    let found = environments
        .iter()
        .find(|one| one["environment"] == environment || one["name"] == environment)?;
    found.get("release")?.as_str().map(str::to_owned)
}
