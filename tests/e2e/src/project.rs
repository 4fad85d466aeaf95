//! A git repository with a chart and a `verbatim.yaml`, made for one test.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use verbatim_record::SigningKey;

/// The repository.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its folder.
    pub root: PathBuf,
}

impl Project {
    /// Makes the repository with the demo's chart, without a configuration.
    ///
    /// # Errors
    /// A file cannot be written, or there is no git.
    pub async fn create(root: &Path) -> Result<Self> {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/app/chart");
        copy(&chart, &root.join("chart"))?;
        Self::begin(root).await
    }

    /// Makes a repository of a copy of a folder.
    ///
    /// # Errors
    /// As [`Project::create`].
    pub async fn copy(from: &Path, root: &Path) -> Result<Self> {
        copy(from, root)?;
        Self::begin(root).await
    }

    /// Makes an empty repository.
    ///
    /// # Errors
    /// As [`Project::create`].
    pub async fn empty(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root)?;
        Self::begin(root).await
    }

    async fn begin(root: &Path) -> Result<Self> {
        let project = Self { root: root.to_owned() };
        project.git(&["init", "--quiet", "--initial-branch=main"]).await?;
        Ok(project)
    }

    /// Writes a file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        std::fs::write(self.root.join(name), text).with_context(|| format!("cannot write {name}"))
    }

    /// Commits everything, and tells the commit.
    ///
    /// # Errors
    /// git refuses.
    pub async fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"]).await?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]).await?;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// Runs git as nobody in particular.
    ///
    /// # Errors
    /// git refuses.
    pub async fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::from(needs::Program::Git.command())
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .current_dir(&self.root)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .output()
            .await
            .context("cannot run git")?;
        ensure!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// A key made from one byte, of no value to anybody.
///
/// # Errors
/// None that are known.
pub fn key(seed: u8) -> Result<SigningKey> {
    Ok(SigningKey::generate(|bytes| {
        bytes.fill(seed);
        Ok::<_, std::convert::Infallible>(())
    })?)
}

/// Copies a folder with everything in it.
///
/// # Errors
/// Something cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in
        std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?
    {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => drop(std::fs::copy(entry.path(), &target)?),
        }
    }
    Ok(())
}
