//! `verbatim key`: makes key pairs, and shows the public half of one. What ends a key is in files of its own.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::{Args, Subcommand};
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::ExposeSecret as _;
use verbatim_record::{KeyId, SigningKey};

use super::key_revoke::{self, RevokeArgs};
use super::key_rotate::{self, RotateArgs};
use crate::project::{KeyFileArgs, signing_key, variables};

const GENERATE_EXAMPLES: &str = "\
Examples:
  verbatim key generate keys/ci    writes keys/ci.pem (secret) and keys/ci.pub

Then add the public key to verbatim.yaml, and commit both:
  keys:
    - { name: ci, file: keys/ci.pub, roles: [builder, tester, promoter] }

Store the private key as a secret of the CI:
  VERBATIM_KEY=\"$(cat keys/ci.pem)\"";

/// Generate, show, rotate and revoke signing keys
#[derive(Debug, Args)]
pub(crate) struct KeyCommandArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    Generate(GenerateArgs),
    Public(PublicArgs),
    Rotate(RotateArgs),
    Revoke(RevokeArgs),
}

/// Generate a key pair: ECDSA P-256, as PEM
///
/// The private key is not encrypted; only its owner may read the file. cosign and openssl read both keys. Never
/// overwrites a file.
#[derive(Debug, Args)]
#[command(after_help = GENERATE_EXAMPLES)]
struct GenerateArgs {
    /// Where to write: NAME.pem and NAME.pub
    #[arg(default_value = "verbatim", value_name = "NAME")]
    name: PathBuf,
}

/// Print the public key of the signing key
#[derive(Debug, Args)]
struct PublicArgs {
    #[command(flatten)]
    key: KeyFileArgs,
}

#[derive(Serialize)]
struct Generated {
    private_key: PathBuf,
    public_key: PathBuf,
    id: KeyId,
    /// The entry of `keys` for it.
    entry: String,
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "private key  {}  (secret: never commit it)", self.private_key.display())?;
        writeln!(f, "public key   {}", self.public_key.display())?;
        writeln!(f, "id           {}", self.id)?;
        write!(
            f,
            "\nfor verbatim.yaml, with the roles that it is to have:\nkeys:\n  - {}",
            self.entry
        )
    }
}

/// The entry of `keys` for a public key. Its file is named as seen from the working folder, where a configuration usually
/// is.
fn entry(public_key: &Path) -> String {
    let name = public_key.file_stem().unwrap_or_default().to_string_lossy();
    format!(
        "{{ name: {name}, file: {}, roles: [builder, tester, promoter] }}",
        public_key.display()
    )
}

#[derive(Serialize)]
struct Public {
    public_key: String,
    id: KeyId,
}

impl fmt::Display for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.public_key)
    }
}

pub(crate) async fn run(args: KeyCommandArgs, console: &Console) -> Result<ExitStatus, Failure> {
    match args.command {
        KeyCommand::Generate(args) => {
            let generated = generate(&args.name)?;
            console.result(&generated)?;
            if git_would_take(&generated.private_key) {
                let file = generated.private_key.display();
                console.warn(format!("git does not ignore {file}: `git add .` would take it"));
                console.status(format!("hint: keep it elsewhere, or: echo '{file}' >> .gitignore"));
            }
        }
        KeyCommand::Public(args) => {
            console.result(&public(&signing_key(&args.key, &variables())?)?)?
        }
        KeyCommand::Rotate(args) => return key_rotate::run(args, console).await,
        KeyCommand::Revoke(args) => return key_revoke::run(args, console).await,
    }
    Ok(ExitStatus::Done)
}

fn generate(name: &Path) -> Result<Generated, Failure> {
    let suffixed = |suffix: &str| {
        let mut path = name.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    };
    let (private_key, public_key) = (suffixed(".pem"), suffixed(".pub"));
    let key = SigningKey::generate(getrandom::fill).map_err(|error| {
        Failure::new(ExitStatus::Defect, error).context("cannot get random bytes from the system")
    })?;
    let private = key.to_pkcs8_pem().map_err(|error| Failure::new(ExitStatus::Defect, error))?;
    let public = public(&key)?;
    // The public half first: it does no harm if the second file cannot be written.
    write_new(&public_key, &public.public_key, 0o644)?;
    if let Err(failure) = write_new(&private_key, private.expose_secret(), 0o600) {
        // Ours, made a moment ago; alone it is of no use.
        let _ = std::fs::remove_file(&public_key);
        return Err(failure);
    }
    let entry = entry(&public_key);
    Ok(Generated { private_key, public_key, id: public.id, entry })
}

/// Whether a file lies in a work tree of git that does not ignore it. Where git does not say, nothing is claimed.
fn git_would_take(file: &Path) -> bool {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(name) = file.file_name() else { return false };
    let status = Command::new("git")
        .args(["check-ignore", "--quiet", "--"])
        .arg(name)
        .current_dir(folder.unwrap_or(Path::new(".")))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    // 0 is ignored, 128 no work tree.
    status.is_ok_and(|status| status.code() == Some(1))
}

fn public(key: &SigningKey) -> Result<Public, Failure> {
    let key = key.verifying_key();
    let public_key = key.to_pem().map_err(|error| Failure::new(ExitStatus::Defect, error))?;
    Ok(Public { public_key, id: key.id() })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|error| {
            Failure::usage(error).context(format!("cannot make the folder {}", folder.display()))
        })?;
    }
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    match opened.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Failure::usage(format!("{} already exists", path.display()))
                .hint("give another name; a key is never overwritten"))
        }
        Err(error) => {
            Err(Failure::usage(error).context(format!("cannot write {}", path.display())))
        }
    }
}
