//! `verbatim key`: makes key pairs, and shows the public half of one.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;
use verbatim_console::{Console, ExitStatus, Failure};
use verbatim_credentials::ExposeSecret as _;
use verbatim_record::{KeyId, SigningKey};

use crate::settings::{KeyArgs, signing_key, variables};

const GENERATE_EXAMPLES: &str = "\
Examples:
  verbatim key generate keys/ci       writes keys/ci.pem (secret) and keys/ci.pub

Then name the public half in verbatim.yaml, and commit it:
  keys:
    - { name: ci, file: keys/ci.pub, roles: [builder, tester, promoter] }

The private half goes into a secret of the CI:
  VERBATIM_KEY=\"$(cat keys/ci.pem)\"";

/// Make and show signing keys
#[derive(Debug, Args)]
pub(crate) struct KeyCommandArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    Generate(GenerateArgs),
    Public(PublicArgs),
}

/// Make a key pair: ECDSA on the curve P-256, in PEM
///
/// The private half is not encrypted, and only its owner may read the file. cosign and openssl read both halves. A file
/// that is there already is never overwritten.
#[derive(Debug, Args)]
#[command(after_help = GENERATE_EXAMPLES)]
struct GenerateArgs {
    /// Where to write: NAME.pem and NAME.pub
    #[arg(default_value = "verbatim", value_name = "NAME")]
    name: PathBuf,
}

/// Print the public half of the signing key
#[derive(Debug, Args)]
struct PublicArgs {
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Serialize)]
struct Generated {
    private_key: PathBuf,
    public_key: PathBuf,
    id: KeyId,
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "private key  {}  (secret: never commit it)", self.private_key.display())?;
        writeln!(f, "public key   {}", self.public_key.display())?;
        write!(f, "id           {}", self.id)
    }
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

/// Runs the command.
///
/// # Errors
/// Files that are there already or cannot be written; no key.
pub(crate) fn run(args: KeyCommandArgs, console: &Console) -> Result<ExitStatus, Failure> {
    match args.command {
        KeyCommand::Generate(args) => console.result(&generate(&args.name)?)?,
        KeyCommand::Public(args) => {
            console.result(&public(&signing_key(&args.key, &variables())?)?)?
        }
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
    Ok(Generated { private_key, public_key, id: public.id })
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
            Err(Failure::usage(format!("{} is there already", path.display()))
                .hint("give another name; a key is never overwritten"))
        }
        Err(error) => {
            Err(Failure::usage(error).context(format!("cannot write {}", path.display())))
        }
    }
}
