//! The story: one release through three environments, one that is refused, the ways forward and back, and what can be
//! checked afterwards.
//!
//! Every claim that it prints was checked before; a claim that does not hold ends it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::narrate::Narrator;
use super::project::{ENVIRONMENTS, Fault, Project};
use super::tool::Tool;
use super::world::{APPROVER_KEY, World};

/// Exit status of `verbatim` for "it worked, and the answer is no".
const NO: i32 = 1;

/// The soak of the demo takes seconds; on a machine that compiles at the same time everything takes longer.
const LONG: Duration = Duration::from_secs(90);

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
                self.approve()?;
                let second = self.refuse()?;
                self.lock()?;
                self.apply(&second)?;
                self.roll_back()?;
                self.restore()?;
                self.status()?;
                self.custody()
            }
            Some(fault) => self.stop_at(fault),
        }
    }

    fn promote(&self) -> Result<()> {
        let narrator = self.narrator;
        narrator.heading("One release, from environment to environment");
        narrator.say(
            "The image is built and pushed once. From then on only its digest travels: into the Argo CD application \
             of dev, then of staging. Each time it is proven that the running pods have this very digest, the tests \
             of the environment ask the application itself, and a signed record of both goes into the registry. \
             Production asks for more: some time in staging, and the word of a release manager. There it stops.",
        );
        self.run_to(&self.commit, None, None, NO)?;
        self.answers(0, &self.commit)?;
        self.answers(1, &self.commit)?;
        narrator.good(
            "dev and staging run it; production refused it, and said what would make it pass",
        );
        Ok(())
    }

    fn approve(&self) -> Result<()> {
        let (narrator, production) = (self.narrator, ENVIRONMENTS[2]);
        narrator.heading("It has stood the time, and somebody approves");
        narrator.say(
            "A release manager signs with a key of their own; the key of the pipeline would not count. The approval is \
             bound to this digest and to production.",
        );
        let key = self.approver_key();
        self.tool
            .run(&["approve", production, "--key", &key, "--reason", "the demo went well"], 0)?;
        self.until_allowed(production)?;
        self.tool.run(&["promote", production], 0)?;
        self.tool.run(&["test", production], 0)?;
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

    fn refuse(&self) -> Result<String> {
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
        Ok(commit)
    }

    fn lock(&self) -> Result<()> {
        let (narrator, staging) = (self.narrator, ENVIRONMENTS[1]);
        narrator.heading("An environment is locked");
        narrator.say(
            "Somebody looks into a problem in staging and wants no change there meanwhile. A lock is a signed record with a \
             reason and an end; it is shown on the applications too.",
        );
        let key = self.approver_key();
        let reason = "looking into slow requests";
        self.tool.run(&["lock", staging, "--key", &key, "--reason", reason, "--for", "1h"], 0)?;
        self.tool.run(&["promote", staging], NO)?;
        self.answers(1, &self.commit)?;
        self.tool.run(&["unlock", staging, "--key", &key, "--reason", "found it"], 0)?;
        narrator.good("refused while it was locked; free again");
        Ok(())
    }

    fn apply(&self, commit: &str) -> Result<()> {
        let narrator = self.narrator;
        narrator.heading("A plan is made, and applied later");
        narrator.say(
            "What a promotion would write can be looked at, kept in a file, and carried out by a later job: exactly that, \
             or nothing if the world has changed meanwhile.",
        );
        let file = self.world.folder().join("plan.json");
        let file = file.to_string_lossy();
        self.tool.run(&["plan", ENVIRONMENTS[1], "--out", &file], 0)?;
        self.tool.run(&["apply", &file], 0)?;
        self.answers(1, commit)?;
        narrator.good("staging runs the second commit");
        Ok(())
    }

    fn roll_back(&self) -> Result<()> {
        let narrator = self.narrator;
        narrator.heading("A rollback");
        narrator.say(
            "The second commit turns out to be bad. The last good release of staging goes back the way it came, with the \
             same proof, and the bad one gets a veto.",
        );
        self.tool
            .run(&["rollback", ENVIRONMENTS[1], "--reason", "the second commit is slow"], 0)?;
        self.answers(1, &self.commit)?;
        narrator.good("staging runs the first commit again");
        narrator.say("A pipeline that knows nothing of this comes again with the second commit.");
        self.tool.run(&["promote", ENVIRONMENTS[1]], NO)?;
        self.tool.run(&["history", ENVIRONMENTS[1]], 0)?;
        narrator.good("refused by the veto");
        Ok(())
    }

    fn restore(&self) -> Result<()> {
        let narrator = self.narrator;
        narrator.heading("An override is deleted by hand");
        narrator.say(
            "Somebody tidies up the application of production and deletes two parameters. At its next sync it would run \
             the chart's own image. The records tell what belongs there.",
        );
        self.world.delete_override(ENVIRONMENTS[2])?;
        self.tool.run(&["status", "--check"], NO)?;
        self.tool.run(&["restore", ENVIRONMENTS[2]], 0)?;
        self.tool.run(&["status", "--check", "--quiet"], 0)?;
        self.answers(2, &self.commit)?;
        narrator.good("production has its override again, and it is proven");
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
        let release = self.release_of(ENVIRONMENTS[2])?;
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

    /// The file of the key of whoever approves and locks.
    fn approver_key(&self) -> String {
        self.world.folder().join(APPROVER_KEY).to_string_lossy().into_owned()
    }

    /// Waits until only time was in the way of the release.
    fn until_allowed(&self, environment: &str) -> Result<()> {
        self.narrator.say("Now only time is in the way.");
        let start = Instant::now();
        let release = self.release_of(ENVIRONMENTS[1])?;
        let explain = ["policy", "explain", environment, "--release", &release];
        while !self.tool.holds(&explain)? {
            if start.elapsed() >= LONG {
                // It says which of them, and why.
                self.tool.run(&explain, 1)?;
                bail!("the gates of {environment} do not open");
            }
            thread::sleep(Duration::from_millis(500));
        }
        Ok(())
    }

    /// An environment answers with this commit.
    fn answers(&self, environment: usize, commit: &str) -> Result<()> {
        let name = ENVIRONMENTS[environment];
        let answer = self.world.ask(environment).with_context(|| format!("{name} is silent"))?;
        self.is_answer(&answer, commit, name)
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

    /// What `verbatim status` says about an environment.
    fn release_of(&self, environment: &str) -> Result<String> {
        let status = self.tool.report(&["status"])?;
        find_release(&status, environment)
            .with_context(|| format!("the status does not tell what {environment} runs"))
    }
}

/// The digest of an environment in the output of `verbatim status --format json`.
fn find_release(status: &serde_json::Value, environment: &str) -> Option<String> {
    let environments = status.get("environments")?.as_array()?;
    // `project/name`.
    let is_it = |one: &&serde_json::Value| {
        let id = one["environment"].as_str().unwrap_or_default();
        id.rsplit('/').next() == Some(environment)
    };
    let found = environments.iter().find(is_it)?;
    found["release"]["reference"].as_str().map(str::to_owned)
}
