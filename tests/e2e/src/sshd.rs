//! The OpenSSH server of this machine on a port of its own, with keys made for one test. Who has the key may do there what
//! the user of the test may.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use needs::Program;
use tokio::process::{Child, Command};

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Sshd {
    /// The private key that is let in.
    pub key: PathBuf,
    /// The private key of somebody else.
    pub other_key: PathBuf,
    /// The private key by which the server is known.
    pub host_key: PathBuf,
    port: u16,
    user: String,
    _server: Child,
}

impl Sshd {
    /// Starts one, with its files in `folder`. `None` if this machine has no `sshd`.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(folder: &Path) -> Result<Option<Self>> {
        let Some(program) = needs::program(Program::Sshd) else { return Ok(None) };
        let folder = folder.join("ssh");
        std::fs::create_dir_all(&folder)?;
        let user = printed(Command::from(Program::Id.command()).arg("-un")).await?;
        for name in ["host", "key", "other"] {
            let mut keygen = Command::from(Program::SshKeygen.command());
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(folder.join(name));
            printed(&mut keygen).await?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let at = |name: &str| folder.join(name).display().to_string();
        // PAM would ask the machine who may come in, and StrictModes whether /tmp is anybody's.
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nAllowUsers {user}\n",
            at("host"),
            at("key.pub")
        );
        std::fs::write(folder.join("config"), config)?;
        if user == "root" {
            // Where it locks itself in; a service manager makes it at other times.
            std::fs::create_dir_all("/run/sshd")?;
        }
        let log = std::fs::File::create(folder.join("log"))?;
        let mut server = Command::new(program);
        server.args(["-D", "-e", "-f", &at("config")]).stdin(Stdio::null());
        server.stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let mut server = server.spawn().context("sshd does not start")?;
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                let [key, other_key, host_key] =
                    ["key", "other", "host"].map(|name| folder.join(name));
                return Ok(Some(Self { key, other_key, host_key, port, user, _server: server }));
            }
            ensure!(
                server.try_wait()?.is_none(),
                "{}",
                std::fs::read_to_string(folder.join("log"))?
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("sshd does not listen: {}", std::fs::read_to_string(folder.join("log"))?)
    }

    /// The server, as a file of known hosts names it.
    pub fn host(&self) -> String {
        format!("[127.0.0.1]:{}", self.port)
    }

    /// The line of a file of known hosts that says that the server has this key.
    ///
    /// # Errors
    /// The other half of the key cannot be read.
    pub fn known_by(&self, key: &Path) -> Result<String> {
        let text = std::fs::read_to_string(key.with_extension("pub"))?;
        let words: Vec<&str> = text.split_whitespace().take(2).collect();
        Ok(format!("{} {}\n", self.host(), words.join(" ")))
    }

    /// The URL of a folder of this machine.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://{}@127.0.0.1:{}{}", self.user, self.port, path.display())
    }
}

async fn printed(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
