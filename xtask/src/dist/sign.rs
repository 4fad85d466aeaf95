//! The sums of a release and their signature, as `sha256sum`, `openssl` and `cosign verify-blob` read them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{DecodePrivateKey, EncodePublicKey, LineEnding};
use verbatim_oci::Digest;

/// The variable with the private key.
const VARIABLE: &str = "RELEASE_KEY";

/// The sums of all other files.
const SUMS: &str = "SHA256SUMS";

/// The key that signs releases.
pub(super) struct ReleaseKey(SigningKey);

impl ReleaseKey {
    pub(super) fn of_environment() -> Result<Self> {
        let pem = std::env::var(VARIABLE)
            .with_context(|| format!("{VARIABLE} is not set: no key to sign with"))?;
        let key = p256::SecretKey::from_pkcs8_pem(&pem);
        let key =
            key.with_context(|| format!("{VARIABLE} holds no PEM of an ECDSA key on P-256"))?;
        Ok(Self(key.into()))
    }

    /// A key that nobody keeps.
    pub(super) fn throw_away() -> Result<Self> {
        let mut bytes = [0; 32];
        loop {
            getrandom::fill(&mut bytes).context("no random numbers")?;
            // Fewer than one in four thousand million is no key.
            if let Ok(key) = SigningKey::from_slice(&bytes) {
                return Ok(Self(key));
            }
        }
    }

    pub(super) fn public_pem(&self) -> Result<String> {
        self.0.verifying_key().to_public_key_pem(LineEnding::LF).context("no public key")
    }

    /// The signature of `content`; the same each time (RFC 6979).
    fn sign(&self, content: &[u8]) -> String {
        let signature: Signature = self.0.sign(content);
        STANDARD.encode(signature.to_der())
    }
}

/// Adds the installer, the sums of all files, their signature and the key for it.
pub(super) fn finish(out: &Path, key: &ReleaseKey, installer: &str) -> Result<()> {
    let write = |name: &str, text: &str| {
        fs::write(out.join(name), text).with_context(|| format!("cannot write {name}"))
    };
    write("install.sh", installer)?;
    write("release.pub", &key.public_pem()?)?;
    let mut sums = String::new();
    for name in super::names(out)? {
        let content = fs::read(out.join(&name)).with_context(|| format!("cannot read {name}"))?;
        sums.push_str(&format!("{}  {name}\n", Digest::of(&content).hex()));
    }
    write(SUMS, &sums)?;
    write(&format!("{SUMS}.sig"), &format!("{}\n", key.sign(sums.as_bytes())))
}
