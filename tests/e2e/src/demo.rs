//! The demo's web application, for tests in which containers really run.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// Builds the application and puts it with its Dockerfile into `root`: a build context of its own.
///
/// # Errors
/// It does not build.
pub async fn context(root: &Path) -> Result<()> {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../demo/app");
    let target = host().await?;
    // Below the workspace's own target folder, so that the next run finds it done.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/demo");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--release", "--locked", "--quiet", "--target", &target, "--manifest-path"])
        .arg(demo.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&folder)
        // Static: the image has nothing but this one file.
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    let output = build.output().await.context("cannot run cargo")?;
    ensure!(
        output.status.success(),
        "the demo does not build: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::create_dir_all(root.join("bin"))?;
    std::fs::copy(folder.join(&target).join("release/demo"), root.join("bin/demo"))?;
    std::fs::copy(demo.join("Dockerfile"), root.join("Dockerfile"))?;
    Ok(())
}

/// The target of this machine's own compiler. It is named so that the static flag does not reach build scripts.
async fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().await.context("cannot run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not tell its host")
}
