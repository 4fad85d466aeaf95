//! The demo's own git repository: the application, its chart, its `verbatim.yaml`, in a folder made for this run.
//!
//! It is a copy, so that the demo can commit and break things. What is in it is read from `tests/demo/app`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use needs::cargo;
use needs::workspace_root;
use rig::engine::children;

/// The environments of the demo, in their order.
pub(super) const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "production"];

/// How the application is broken on purpose; the Dockerfile hands it on as `FAULT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Fault {
    /// It answers with another commit than its own
    WrongAnswer,
    /// It ends at once
    Crash,
}

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Fault::WrongAnswer => "wrong-answer",
            Fault::Crash => "crash",
        }
    }
}

/// Where the services are that `verbatim.yaml` names.
#[derive(Debug)]
pub(super) struct Addresses {
    /// `127.0.0.1:PORT`.
    pub(super) registry: String,
    /// `http://127.0.0.1:PORT`.
    pub(super) argocd: String,
    /// The URL of each environment, in their order.
    pub(super) environments: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Project {
    pub(super) root: PathBuf,
}

impl Project {
    /// Copies the demo into `root` and builds its programs into `root/bin`.
    pub(super) fn create(root: &Path) -> Result<Project> {
        let demo = workspace_root().join("tests/demo/app");
        copy(&demo, root)?;
        build(&demo, &root.join("bin"))?;
        let project = Project { root: root.to_owned() };
        project.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(project)
    }

    /// Writes the real addresses into `verbatim.yaml` and the chart, and the fault into the build arguments.
    pub(super) fn configure(&self, addresses: &Addresses, fault: Option<Fault>) -> Result<()> {
        for file in ["verbatim.yaml", "chart/values.yaml"] {
            let path = self.root.join(file);
            let text =
                fs::read_to_string(&path).with_context(|| format!("failed to read {file}"))?;
            let text = filled(&text, addresses, fault);
            fs::write(&path, text).with_context(|| format!("failed to write {file}"))?;
        }
        Ok(())
    }

    /// Commits everything and returns the commit.
    pub(super) fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git as nobody in particular: no configuration of this machine or user counts.
    pub(super) fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut command = needs::Program::Git.command();
        hermetic(&mut command);
        let output = command
            .args(arguments)
            .current_dir(&self.root)
            .output()
            .context("failed to run git")?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("git {} failed: {}", arguments.first().unwrap_or(&""), text.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Shuts git off from the configuration of this machine.
pub(super) fn hermetic(command: &mut Command) {
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_AUTHOR_NAME", "Demo")
        .env("GIT_AUTHOR_EMAIL", "demo@example.com")
        .env("GIT_COMMITTER_NAME", "Demo")
        .env("GIT_COMMITTER_EMAIL", "demo@example.com");
}

/// `verbatim.yaml` with the addresses in the places of the examples.
fn filled(text: &str, addresses: &Addresses, fault: Option<Fault>) -> String {
    let mut text = text
        .replace("registry.demo.example", &addresses.registry)
        .replace("https://argocd.demo.example", &addresses.argocd);
    for (name, url) in ENVIRONMENTS.iter().zip(&addresses.environments) {
        text = text.replace(&format!("https://{name}.demo.example"), url);
    }
    match fault {
        Some(fault) => text.replace("FAULT: \"\"", &format!("FAULT: {}", fault.name())),
        None => text,
    }
}

/// Copies what git would know of the demo: no build results.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("failed to read {}", from.display()))? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            if entry.file_name() != "target" && entry.file_name() != "bin" || from.ends_with("src")
            {
                copy(&source, &target)?;
            }
        } else {
            fs::copy(&source, &target)
                .with_context(|| format!("failed to copy {}", source.display()))?;
        }
    }
    Ok(())
}

/// Builds the demo's programs so that they need nothing at run time: an image `FROM scratch` has nothing.
fn build(demo: &Path, to: &Path) -> Result<()> {
    let target = host()?;
    // Below the workspace's own target folder, so that the next run finds it done.
    let folder = workspace_root().join("target/demo");
    let mut command = cargo();
    command
        .args(["build", "--release", "--locked", "--quiet", "--target", &target, "--manifest-path"])
        .arg(demo.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    let status = children::run(&mut command)?;
    if !status.success() {
        bail!("the demo application does not build: {status}");
    }
    fs::create_dir_all(to).with_context(|| format!("failed to create {}", to.display()))?;
    for program in ["demo", "smoke"] {
        let built = folder.join(&target).join("release").join(program);
        fs::copy(&built, to.join(program))
            .with_context(|| format!("failed to copy {}", built.display()))?;
    }
    Ok(())
}

/// The target of this machine's own compiler. It is named so that the static flag does not reach build scripts.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("failed to run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("rustc does not tell its host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_the_services_of_this_run() {
        let text =
            fs::read_to_string(workspace_root().join("tests/demo/app/verbatim.yaml")).unwrap();
        let addresses = Addresses {
            registry: "127.0.0.1:5000".to_owned(),
            argocd: "http://127.0.0.1:8080".to_owned(),
            environments: ["http://a", "http://b", "http://c"].map(str::to_owned).to_vec(),
        };
        let whole = filled(&text, &addresses, None);
        for want in [
            "repository: 127.0.0.1:5000/demo/app",
            "url: http://127.0.0.1:8080",
            "url: http://a",
            "url: http://b",
            "url: http://c",
            "FAULT: \"\"",
        ] {
            assert!(whole.contains(want), "{want} is not in\n{whole}");
        }
        let example =
            whole.lines().find(|line| !line.starts_with('#') && line.contains("demo.example"));
        assert_eq!(example, None);
        assert!(filled(&text, &addresses, Some(Fault::Crash)).contains("FAULT: crash"));
    }

    #[test]
    fn the_environments_are_those_of_the_file() {
        let text =
            fs::read_to_string(workspace_root().join("tests/demo/app/verbatim.yaml")).unwrap();
        let named: Vec<_> =
            text.lines().filter_map(|line| line.trim().strip_prefix("- name: ")).collect();
        assert_eq!(named, ENVIRONMENTS);
    }
}
