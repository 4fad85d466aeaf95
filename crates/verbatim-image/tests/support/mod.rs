//! What the tests on a real engine share: the engine, a registry, a directory to build from, Docker's own client.

#![allow(dead_code, reason = "every test file uses another part")]
#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use needs::Service;
use verbatim_image::{
    BuildConfig, Endpoint, EndpointConfig, Engine, REQUEST_TIMEOUT, Withheld, labels::ImageOrigin,
};

/// The address of an engine that tests may fill.
pub(crate) fn docker_host() -> Option<String> {
    needs::service(Service::Engine)
}

/// The program of the distribution registry.
pub(crate) fn registry_binary() -> Option<PathBuf> {
    needs::service(Service::Registry).map(PathBuf::from)
}

pub(crate) async fn engine(host: &str) -> Engine {
    let config = EndpointConfig { host: Some(host.to_owned()), ..EndpointConfig::default() };
    Engine::connect(&Endpoint::find(&config).unwrap(), REQUEST_TIMEOUT).await.unwrap()
}

/// A directory to build from.
pub(crate) struct Tree {
    folder: tempfile::TempDir,
}

impl Tree {
    /// A tree with these files. `x -> y` makes a link, a name that ends in `/` a directory.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self { folder: tempfile::tempdir().unwrap() };
        for (name, content) in files {
            tree.add(name, content);
        }
        tree
    }

    pub(crate) fn add(&self, name: &str, content: &str) {
        let root = self.path();
        if let Some((link, target)) = name.split_once(" -> ") {
            let link = root.join(link);
            std::fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target, link).unwrap();
        } else if let Some(directory) = name.strip_suffix('/') {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        } else {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path().join(name), std::fs::Permissions::from_mode(mode))
            .unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// A name for an image that no other test of this run uses.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("verbatim-test/{name}:{}-{number}", std::process::id())
}

pub(crate) fn config(image: &str, context: &Path) -> BuildConfig {
    BuildConfig {
        withheld: Withheld::default(),
        left_out: Vec::new(),
        image: image.parse().unwrap(),
        context: context.to_owned(),
        dockerfile: None,
        build_args: BTreeMap::new(),
        labels: BTreeMap::new(),
        origin: ImageOrigin::default(),
        epoch: None,
        target: None,
        platform: None,
        network: None,
        pull: false,
        no_cache: false,
        cache_from: Vec::new(),
        builder: None,
        timeout: Duration::from_secs(120),
        idle_timeout: Duration::from_secs(120),
    }
}

/// Docker's own client, with a configuration of its own. The words that it prints.
pub(crate) fn docker(host: &str, arguments: &[&str]) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let output = needs::Program::Docker
        .command()
        .args(["--host", host])
        .args(arguments)
        .env("DOCKER_BUILDKIT", "0")
        .env("DOCKER_CONFIG", home.path())
        .env_remove("DOCKER_CONTEXT")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A tree whose build prints `sleeping` and then never ends; the running step can be told by `marker`.
pub(crate) fn endless(marker: &str) -> Tree {
    let dockerfile = format!("FROM scratch\nCOPY program /\nRUN [\"/program\", \"{marker}\"]\n");
    let tree = Tree::new(&[("Dockerfile", &dockerfile)]);
    static_program(
        "fn main() { println!(\"sleeping\"); loop { std::thread::park() } }",
        tree.path(),
    );
    tree
}

/// Whether the step with this marker runs in the engine.
fn is_running(host: &str, marker: &str) -> bool {
    docker(host, &["ps", "--no-trunc", "--format", "{{.Command}}"]).unwrap().contains(marker)
}

/// Returns when the engine runs the step with this marker. A step can print before the engine lists it.
pub(crate) async fn started(host: &str, marker: &str) {
    becomes(host, marker, true).await;
}

/// Returns when the engine has ended the step with this marker.
pub(crate) async fn ended(host: &str, marker: &str) {
    becomes(host, marker, false).await;
}

async fn becomes(host: &str, marker: &str, want: bool) {
    let look = async {
        while is_running(host, marker) != want {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), look).await.unwrap();
}

/// An image in the engine that is taken away at the end of a test.
pub(crate) struct Image {
    pub(crate) host: String,
    pub(crate) name: String,
}

impl Image {
    pub(crate) fn new(host: &str, name: &str) -> Self {
        Self { host: host.to_owned(), name: name.to_owned() }
    }

    /// The files of the image as an archive.
    fn export(&self) -> tar::Archive<std::fs::File> {
        let container = docker(&self.host, &["create", &self.name, "none"]).unwrap();
        let archive = tempfile::NamedTempFile::new().unwrap();
        let path = archive.path().to_str().unwrap();
        docker(&self.host, &["export", "-o", path, &container]).unwrap();
        docker(&self.host, &["rm", &container]).unwrap();
        tar::Archive::new(std::fs::File::open(path).unwrap())
    }

    /// When a file of the image was changed, in seconds since 1970.
    pub(crate) fn time_of(&self, file: &str) -> u64 {
        let mut archive = self.export();
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let entry = entries.find(|entry| entry.path().unwrap() == Path::new(file)).unwrap();
        entry.header().mtime().unwrap()
    }

    /// Every path below `/context` in the image, with type, mode, and content or target.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        let mut archive = self.export();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let Some(path) = path.strip_prefix("context/").filter(|path| !path.is_empty()) else {
                continue;
            };
            let mode = entry.header().mode().unwrap();
            let target = entry.link_name().unwrap().map(|target| target.display().to_string());
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            let kind = entry.header().entry_type();
            let description = match kind {
                tar::EntryType::Directory => "directory".to_owned(),
                _ => format!("{kind:?} {mode:o} {}", target.unwrap_or(content)),
            };
            files.insert(path.trim_end_matches('/').to_owned(), description);
        }
        files
    }

    pub(crate) fn inspect(&self, format: &str) -> String {
        docker(&self.host, &["image", "inspect", "--format", format, &self.name]).unwrap()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = docker(&self.host, &["image", "rm", "--force", &self.name]);
    }
}

/// Compiles a small program that needs nothing in an image but itself.
pub(crate) fn static_program(source: &str, folder: &Path) {
    let code = folder.join("program.rs");
    std::fs::write(&code, source).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args([
            "--edition=2024",
            "-Ctarget-feature=+crt-static",
            "-Copt-level=s",
            "-Cstrip=symbols",
            "--target",
        ])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .arg("-o")
        .arg(folder.join("program"))
        .arg(&code)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(code).unwrap();
}

/// A distribution registry of its own, on this machine.
pub(crate) struct Registry {
    process: std::process::Child,
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    _folder: tempfile::TempDir,
}

/// A password that the engine does not get if it is encoded in the wrong base64 alphabet, and its bcrypt hash.
pub(crate) const PASSWORD: &str = "pa?s?w??~>";
const PASSWORD_HASH: &str = "$2b$04$K7kQoWkC5/U130pkoebQPeu5Fweg6nISqj9dCDOoE54p0Gt1QHIP.";

impl Registry {
    pub(crate) async fn start(binary: &Path, wants_login: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let users = folder.path().join("users");
        std::fs::write(&users, format!("bot:{PASSWORD_HASH}\n")).unwrap();
        let login = if wants_login {
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", users.display())
        } else {
            String::new()
        };
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {host}\n{login}",
            folder.path().join("data").display()
        );
        let config_file = folder.path().join("config.yml");
        std::fs::write(&config_file, config).unwrap();
        let process = Command::new(binary)
            .arg("serve")
            .arg(&config_file)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { process, host, _folder: folder };
        let up = async {
            while tokio::net::TcpStream::connect(&registry.host).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), up).await.unwrap();
        registry
    }

    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn client(keychain: &verbatim_credentials::Keychain) -> verbatim_registry::Client {
    let mut config = verbatim_registry::Config::new("verbatim-image-test");
    config.proxies = Default::default();
    config.retry.attempts = 1;
    verbatim_registry::Client::new(config, keychain.clone()).unwrap()
}
