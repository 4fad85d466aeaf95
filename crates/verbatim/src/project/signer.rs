//! Who signs a record: a key that this process has, or a command that reaches one which nobody can copy: a key management
//! service, a hardware token, an agent. What is signed is not looked at here.
//!
//! The command gets the bytes on stdin and their SHA-256 in variables, since services that take only short messages sign
//! digests. It answers an ECDSA signature on stdout. Which key it has is found out with a signature over a fixed text,
//! before anything is done that will need one.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use verbatim_oci::Digest;
use verbatim_record::{Bundle, KeyRing, Payload, SignError, SigningKey, VerifyingKey};

use crate::project::{child, withheld};

/// How long the command may take: somebody may have to touch a token.
const DEADLINE: Duration = Duration::from_secs(60);

/// The longest answer that is read. A signature has less than a hundred bytes.
const LONGEST_ANSWER: u64 = 16 * 1024;

/// What is signed to find out which key the command has. It cannot be taken for a record, whose bytes begin with `DSSEv1`.
const PROBE: &[u8] = b"verbatim asks which key this is\n";

#[derive(Clone, Debug)]
pub(crate) enum RecordSigner {
    /// A key in this process, and the file that it is from, if it is from one.
    Key(SigningKey, Option<PathBuf>),
    Command(SigningCommand),
}

/// A command that signs, and the key that it was found to have.
#[derive(Clone, Debug)]
pub(crate) struct SigningCommand {
    line: String,
    key: VerifyingKey,
    deadline: Duration,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    /// The statement cannot be signed by anybody.
    #[error(transparent)]
    Statement(#[from] SignError),
    /// The command could not be started.
    #[error("cannot start the signing command")]
    Start(#[source] std::io::Error),
    /// It did not end well.
    #[error("the signing command failed: {0}")]
    Failed(String),
    /// It did not end in time.
    #[error("the signing command did not end within {} s", .0.as_secs())]
    Deadline(Duration),
    #[error("the signing command printed {0} bytes that are not a signature by a key of `keys`")]
    NoSignature(usize),
}

impl RecordSigner {
    /// The file with the private key, if there is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Key(_, file) => file.as_deref(),
            Self::Command(_) => None,
        }
    }

    /// A command as a signer: asks it for a signature, and finds the key of `ring` that made it.
    pub(crate) async fn command(line: &str, ring: &KeyRing) -> Result<Self, SigningError> {
        Self::command_within(line, ring, DEADLINE).await
    }

    async fn command_within(
        line: &str,
        ring: &KeyRing,
        deadline: Duration,
    ) -> Result<Self, SigningError> {
        let answer = ask(line, PROBE, deadline).await?;
        let made_it = |key: &&VerifyingKey| key.signature_in(PROBE, &answer).is_some();
        match ring.iter().filter_map(|trusted| trusted.key.key()).find(made_it) {
            Some(key) => {
                Ok(Self::Command(SigningCommand { line: line.to_owned(), key: *key, deadline }))
            }
            None => Err(SigningError::NoSignature(answer.len())),
        }
    }

    /// The public half of the key.
    pub(crate) fn verifying_key(&self) -> VerifyingKey {
        match self {
            Self::Key(key, _) => key.verifying_key(),
            Self::Command(command) => command.key,
        }
    }

    /// Signs the bytes of a statement.
    pub(crate) async fn sign_payload(&self, payload: Payload) -> Result<Bundle, SigningError> {
        let SigningCommand { line, key, deadline } = match self {
            Self::Key(key, _) => return Ok(payload.signed_by(key)?),
            Self::Command(command) => command,
        };
        let message = payload.to_be_signed();
        let answer = ask(line, &message, *deadline).await?;
        match key.signature_in(&message, &answer) {
            Some(signature) => Ok(payload.signed(key, &signature)?),
            None => Err(SigningError::NoSignature(answer.len())),
        }
    }
}

/// What the command answers to a message.
async fn ask(line: &str, message: &[u8], deadline: Duration) -> Result<Vec<u8>, SigningError> {
    let digest = Digest::of(message);
    let mut child = Command::new("sh")
        .args(["-c", line])
        // It may need what was kept from the tests.
        .envs(withheld::handed_over().iter())
        .env("VERBATIM_SHA256", digest.hex())
        .env("VERBATIM_SHA256_BASE64", BASE64.encode(digest.as_bytes()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        // A group of its own, so that what it has started can be ended with it.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(SigningError::Start)?;
    match tokio::time::timeout(deadline, converse(&mut child, message)).await {
        Ok(answered) => answered,
        Err(_) => {
            child::end(&mut child).await;
            Err(SigningError::Deadline(deadline))
        }
    }
}

async fn converse(child: &mut Child, message: &[u8]) -> Result<Vec<u8>, SigningError> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let tell = async {
        if let Some(mut stdin) = stdin {
            // A command that goes by the digest alone does not read this.
            let _ = stdin.write_all(message).await;
        }
    };
    let mut answer = Vec::new();
    let hear = async {
        match stdout {
            Some(stdout) => stdout.take(LONGEST_ANSWER).read_to_end(&mut answer).await.map(drop),
            None => Ok(()),
        }
    };
    let ((), heard) = tokio::join!(tell, hear);
    heard.map_err(|error| SigningError::Failed(format!("its answer cannot be read: {error}")))?;
    let status = child.wait().await.map_err(|error| SigningError::Failed(error.to_string()))?;
    match status.success() {
        true => Ok(answer),
        false => Err(SigningError::Failed(child::told(status))),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use verbatim_credentials::ExposeSecret as _;
    use verbatim_record::{KeyLife, KeyScope, Records, Statement, TrustedKey};

    use super::*;

    fn key(number: u8) -> SigningKey {
        SigningKey::generate(|bytes| {
            bytes.fill(number);
            Ok::<_, std::convert::Infallible>(())
        })
        .unwrap()
    }

    fn ring(keys: &[u8]) -> KeyRing {
        let trusted = keys.iter().map(|number| TrustedKey {
            name: format!("key {number}"),
            key: key(*number).verifying_key().into(),
            roles: BTreeSet::from([verbatim_record::Role::BUILDER]),
            actors: BTreeSet::new(),
            scope: KeyScope::ANYTHING,
            life: KeyLife::UNLIMITED,
        });
        KeyRing::new(trusted).unwrap()
    }

    /// openssl signs with key 5, whose file is in the folder.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let pem = key(5).to_pkcs8_pem().unwrap();
        std::fs::write(folder.path().join("key.pem"), pem.expose_secret()).unwrap();
        folder
    }

    fn payload() -> Payload {
        let builder = verbatim_record::BuildPlatform {
            id: "urn:example".into(),
            version: Default::default(),
        };
        let provenance = verbatim_record::Provenance {
            build_definition: verbatim_record::BuildDefinition {
                build_type: "urn:example".into(),
                external_parameters: Default::default(),
                internal_parameters: Default::default(),
                resolved_dependencies: Vec::new(),
            },
            run_details: verbatim_record::RunDetails {
                builder,
                metadata: None,
                byproducts: Vec::new(),
            },
        };
        Payload::of(&Statement::build("shop", &Digest::of(b"x"), provenance)).unwrap()
    }

    /// The answers of real signers: openssl as it is, as KMS tools print it, and by the digest alone.
    #[tokio::test]
    async fn a_command_signs_with_the_key_that_it_is_found_to_have() {
        let folder = folder();
        let file = folder.path().join("key.pem");
        let file = file.display();
        let lines = [
            format!("openssl dgst -sha256 -sign '{file}'"),
            format!("openssl dgst -sha256 -sign '{file}' | openssl base64"),
            format!("printf 'vault:v1:'; openssl dgst -sha256 -sign '{file}' | openssl base64 -A"),
            format!(
                "printf %s \"$VERBATIM_SHA256_BASE64\" | openssl base64 -d -A | openssl pkeyutl -sign -inkey '{file}'"
            ),
        ];
        for line in lines {
            let signer = RecordSigner::command(&line, &ring(&[4, 5])).await.unwrap();
            assert_eq!(signer.verifying_key(), key(5).verifying_key());
            let record = signer.sign_payload(payload()).await.unwrap();
            let records = Records::of_release(
                [record.bytes()],
                &ring(&[4, 5]),
                Digest::of(b"x"),
                jiff::Timestamp::now(),
            );
            assert_eq!(records.builds.len(), 1, "{line}: {:?}", records.rejected);
            assert_eq!(records.builds[0].signed_by(), "key 5");
        }
    }

    #[tokio::test]
    async fn what_is_no_signature_is_told() {
        let folder = folder();
        let file = folder.path().join("key.pem");
        let sign = format!("openssl dgst -sha256 -sign '{}'", file.display());
        let long = Duration::from_secs(60);
        let cases = [
            ("exit 3", long, "the signing command failed: its command ended with status 3"),
            (
                "true",
                long,
                "the signing command printed 0 bytes that are not a signature by a key of `keys`",
            ),
            (
                "echo hello",
                long,
                "the signing command printed 6 bytes that are not a signature by a key of `keys`",
            ),
            (
                "sleep 60 & wait",
                Duration::from_millis(20),
                "the signing command did not end within 0 s",
            ),
            ("kill -9 $$", long, "the signing command failed: its command was ended by signal 9"),
            // An answer without end is cut off. Without the trap it would depend on who runs this test what comes of that.
            (
                "trap '' PIPE; yes 2>/dev/null; exit 9",
                long,
                "the signing command failed: its command ended with status 9",
            ),
        ];
        for (line, deadline, want) in cases {
            let got = RecordSigner::command_within(line, &ring(&[5]), deadline).await;
            assert_eq!(got.unwrap_err().to_string(), want, "{line}");
        }
        // A key that is nobody's here, and one that changes between two signatures.
        let got = RecordSigner::command(&sign, &ring(&[4])).await;
        assert!(matches!(got, Err(SigningError::NoSignature(_))), "{got:?}");
        let changed = RecordSigner::Command(SigningCommand {
            line: sign,
            key: key(4).verifying_key(),
            deadline: long,
        });
        let got = changed.sign_payload(payload()).await;
        assert!(matches!(got, Err(SigningError::NoSignature(_))), "{got:?}");
    }
}
