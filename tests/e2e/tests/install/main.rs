//! The installer of a release, as people run it: in the shells that they have, with the programs that they have, against a
//! server whose answers are wrong in the ways that answers are.

#![expect(clippy::unwrap_used, reason = "the helpers of a test stand outside of its functions")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

use needs::{Program, workspace_root};
use verbatim_oci::Digest;

const VERSION: &str = "9.8.7";

fn archive_name() -> String {
    format!("verbatim-{VERSION}-{}-unknown-linux-musl.tar.gz", std::env::consts::ARCH)
}

/// Runs a program that has to succeed.
fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What a server has of a path: an answer, or the first half of one.
type Files = BTreeMap<String, (Vec<u8>, bool)>;

/// A release on a server.
struct Release {
    folder: tempfile::TempDir,
    files: Arc<Mutex<Files>>,
    address: String,
    /// The installer, with the key of this release in it.
    script: PathBuf,
}

impl Release {
    /// A release as `cargo xtask dist` makes it, with a script in the place of the binary.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let content = root.join(archive_name().trim_end_matches(".tar.gz"));
        for (name, text) in [
            ("verbatim", "#!/bin/sh\necho this is verbatim 9.8.7\n"),
            ("man/man1/verbatim.1", ".TH verbatim 1\n"),
            ("completions/verbatim.bash", "complete verbatim\n"),
            ("completions/verbatim.fish", "complete verbatim\n"),
            ("completions/_verbatim", "#compdef verbatim\n"),
        ] {
            let path = content.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let archive = root.join(archive_name());
        run(Program::Tar
            .command()
            .arg("-czf")
            .arg(&archive)
            .arg("-C")
            .arg(root)
            .arg(content.file_name().unwrap()));
        let key = new_key(root, "release");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let files = Arc::new(Mutex::new(Files::new()));
        let served = Arc::clone(&files);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &served.lock().unwrap());
            }
        });
        let script =
            fs::read_to_string(workspace_root().join("xtask/src/dist/install.sh")).unwrap();
        let public = run(Program::Openssl.command().args(["pkey", "-pubout", "-in"]).arg(&key));
        let script = script.replace("@RELEASE_KEY@\n", &String::from_utf8(public).unwrap());
        let path = root.join("install.sh");
        fs::write(&path, script.replace("@VERSION@", VERSION)).unwrap();
        let release = Self { folder, files, address, script: path };
        release.publish(&key);
        release
    }

    /// Puts the archive, its sum and the signature on the server.
    fn publish(&self, key: &Path) {
        let archive = fs::read(self.folder.path().join(archive_name())).unwrap();
        let sums = format!(
            "{}  other.tar.gz\n{}  {}\n",
            "0".repeat(64),
            Digest::of(&archive).hex(),
            archive_name()
        );
        let signature = sign(self.folder.path(), key, sums.as_bytes());
        self.serve(&archive_name(), archive);
        self.serve("SHA256SUMS", sums.into_bytes());
        self.serve("SHA256SUMS.sig", signature);
    }

    fn serve(&self, name: &str, content: Vec<u8>) {
        self.files.lock().unwrap().insert(format!("/v{VERSION}/{name}"), (content, true));
    }

    /// Breaks the answer off in the middle.
    fn cut(&self, name: &str) {
        self.files.lock().unwrap().get_mut(&format!("/v{VERSION}/{name}")).unwrap().1 = false;
    }
}

fn new_key(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(format!("{name}.pem"));
    let mut command = Program::Openssl.command();
    command.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
    run(command.arg(&path));
    path
}

fn sign(folder: &Path, key: &Path, content: &[u8]) -> Vec<u8> {
    let file = folder.join("to-sign");
    fs::write(&file, content).unwrap();
    let signature =
        run(Program::Openssl.command().args(["dgst", "-sha256", "-sign"]).arg(key).arg(&file));
    let raw = folder.join("signature");
    fs::write(&raw, signature).unwrap();
    run(Program::Openssl.command().args(["base64", "-A", "-in"]).arg(&raw))
}

fn answer(mut stream: TcpStream, files: &Files) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let request = lines.next().unwrap_or_default();
    for line in lines {
        if line.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let _ = match files.get(path) {
        Some((content, whole)) => {
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            let end = if *whole { content.len() } else { content.len() / 2 };
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content[..end]))
        }
        None => stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    };
}

/// A machine with a shell, and with these programs only.
struct Machine {
    name: &'static str,
    folder: tempfile::TempDir,
    shell: Vec<PathBuf>,
}

const COMMON: [&str; 13] = [
    "cat",
    "chmod",
    "cp",
    "cut",
    "gzip",
    "mkdir",
    "mktemp",
    "mv",
    "rm",
    "sed",
    "sha256sum",
    "tar",
    "uname",
];

impl Machine {
    fn new(name: &'static str, shell: Vec<PathBuf>, programs: &[(&str, PathBuf)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, path) in programs {
            symlink(path, folder.path().join(name)).unwrap();
        }
        Self { name, folder, shell }
    }

    /// Programs of Debian, dash, and curl.
    fn debian(programs: &[Program]) -> Self {
        let mut all: Vec<(&str, PathBuf)> =
            COMMON.iter().map(|name| (*name, needs::find(name).unwrap())).collect();
        for program in programs {
            all.push((program.name(), path(*program)));
        }
        Self::new("dash", vec![path(Program::Sh)], &all)
    }

    /// Busybox alone, with its wget; and openssl.
    fn busybox(programs: &[Program]) -> Self {
        let busybox = path(Program::Busybox);
        let mut all: Vec<(&str, PathBuf)> =
            COMMON.iter().map(|name| (*name, busybox.clone())).collect();
        all.push(("wget", busybox.clone()));
        for program in programs {
            all.push((program.name(), path(*program)));
        }
        Self::new("busybox", vec![busybox, "sh".into()], &all)
    }

    fn install(&self, release: &Release, prefix: &Path, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(&self.shell[0]);
        command.args(&self.shell[1..]).arg(&release.script).env_clear();
        command.env("PATH", self.folder.path()).env("HOME", self.folder.path());
        command.env("PREFIX", prefix).env("BASE_URL", &release.address);
        command.envs(variables.iter().copied());
        command.output().unwrap()
    }
}

fn path(program: Program) -> PathBuf {
    PathBuf::from(program.command().get_program())
}

fn machines() -> [Machine; 2] {
    [Machine::debian(&[Program::Curl, Program::Openssl]), Machine::busybox(&[Program::Openssl])]
}

#[test]
fn a_release_is_installed() {
    let release = Release::start();
    for machine in machines() {
        let prefix = tempfile::tempdir().unwrap();
        let output = machine.install(&release, prefix.path(), &[]);
        let said = String::from_utf8_lossy(&output.stdout)
            .replace(&prefix.path().display().to_string(), "PREFIX");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", machine.name);
        assert_eq!(
            said, "installed PREFIX/bin/verbatim\nthis is verbatim 9.8.7\nadd PREFIX/bin to PATH\n",
            "{}",
            machine.name
        );
        let binary = prefix.path().join("bin/verbatim");
        assert_eq!(fs::metadata(binary).unwrap().permissions().mode() & 0o777, 0o755);
        for page in ["share/man/man1/verbatim.1", "share/zsh/site-functions/_verbatim"] {
            assert!(prefix.path().join(page).exists(), "{}: {page}", machine.name);
        }
        // A second time, over the first one.
        assert!(machine.install(&release, prefix.path(), &[]).status.success());
        assert_eq!(fs::read_dir(prefix.path().join("bin")).unwrap().count(), 1);
    }
}

#[test]
fn nothing_is_installed_that_is_not_what_was_released() {
    /// What is wrong, how it comes about, what is set, what is told.
    type Case = (&'static str, fn(&Release), &'static [(&'static str, &'static str)], &'static str);
    let cases: [Case; 8] = [
        (
            "an archive that was changed",
            |release| release.serve(&archive_name(), b"something else".to_vec()),
            &[],
            "and SHA256SUMS says",
        ),
        (
            "an archive that was changed, with its sum",
            |release| {
                let sums = format!("{}  {}\n", Digest::of(b"something else").hex(), archive_name());
                release.serve(&archive_name(), b"something else".to_vec());
                release.serve("SHA256SUMS", sums.into_bytes());
            },
            &[],
            "is not signed by the key of the releases",
        ),
        (
            "everything by somebody else",
            |release| release.publish(&new_key(release.folder.path(), "stranger")),
            &[],
            "is not signed by the key of the releases",
        ),
        (
            "no signature",
            |release| release.serve("SHA256SUMS.sig", Vec::new()),
            &[],
            "is not signed by",
        ),
        ("a download that was cut", |release| release.cut(&archive_name()), &[], "cannot download"),
        ("sums that were cut", |release| release.cut("SHA256SUMS"), &[], "cannot download"),
        ("a release that there is not", |_| {}, &[("VERSION", "1.0.0")], "cannot download"),
        ("a word that means nothing", |_| {}, &[("VERIFY", "no")], "VERIFY is signature or sums"),
    ];
    for (what, spoil, variables, want) in cases {
        let release = Release::start();
        spoil(&release);
        for machine in machines() {
            let prefix = tempfile::tempdir().unwrap();
            let output = machine.install(&release, prefix.path(), variables);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{what}, {}: {said}", machine.name);
            assert!(said.contains(want), "{what}, {}: {said}", machine.name);
            assert_eq!(fs::read_dir(prefix.path()).unwrap().count(), 0, "{what}, {}", machine.name);
        }
    }
}

#[test]
fn what_cannot_be_checked_is_only_installed_on_request() {
    let release = Release::start();
    for machine in [Machine::debian(&[Program::Curl]), Machine::busybox(&[])] {
        let prefix = tempfile::tempdir().unwrap();
        let output = machine.install(&release, prefix.path(), &[]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{}: {said}", machine.name);
        assert!(said.contains("VERIFY=sums does without it"), "{}: {said}", machine.name);
        let output =
            machine.install(&release, prefix.path(), &[("VERIFY", "sums"), ("VERSION", "v9.8.7")]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", machine.name);
    }
    let machine = Machine::debian(&[Program::Openssl]);
    let output = machine.install(&release, Path::new("/nowhere"), &[]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("this needs curl or wget"));
}
