//! The reference implementation of a registry as a child process. It has no referrers API.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

/// It listens after some hundred milliseconds, on a busy machine later.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running registry; ends with this value.
#[derive(Debug)]
pub struct Distribution {
    host: String,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Distribution {
    /// Starts the program, with an empty storage.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(program: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // Freed again at once; nobody else in this test run asks the system for this port.
        let host = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let settings = json!({
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": true}},
            "storage": {"filesystem": {"rootdirectory": folder.path()}},
            "http": {"addr": host},
        });
        let file = folder.path().join("config.yml");
        std::fs::write(&file, settings.to_string())?;
        let process = Command::new(program)
            // Version 3 looks for a collector of traces otherwise.
            .env("OTEL_TRACES_EXPORTER", "none")
            .arg("serve")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut started = Self { host, process, _folder: folder };
        started.until_it_listens().await?;
        Ok(started)
    }

    /// Where it listens: `host:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    async fn until_it_listens(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(&self.host).await.is_err() {
            if let Some(status) = self.process.try_wait()? {
                bail!("the registry ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("the registry does not listen after {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        // Gone already is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
