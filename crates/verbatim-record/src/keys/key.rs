//! ECDSA P-256 keys in PEM: reading, making, naming. Reads no files.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use p256::SecretKey;
use p256::ecdsa::Signature;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::elliptic_curve::zeroize::Zeroizing;
use p256::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _,
    LineEnding,
};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use super::cosign;
use super::pem::{self, ANY_STANDARD, ANY_URL_SAFE};

/// Why a text is not a usable key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no PEM block.
    #[error("no PEM block (`-----BEGIN … KEY-----`)")]
    NotPem,
    /// The base64 of a key without the lines around it.
    #[error(
        "base64 without the lines `-----BEGIN … KEY-----` and `-----END … KEY-----`; store the whole file"
    )]
    NoBoundaries,
    /// A first or last line that cannot be read.
    #[error("a damaged line `-----BEGIN … KEY-----`; store the whole file")]
    Boundary,
    /// A block without its last line, as from a store that keeps one line only.
    #[error(
        "the PEM block `{label}` has no line `-----END {label}-----`: the end of the key is cut off"
    )]
    Cut {
        /// The label of the block.
        label: String,
    },
    /// A block whose content is no base64.
    #[error("the PEM block `{label}` is damaged: {what}")]
    Body {
        /// The label of the block.
        label: String,
        /// What is wrong.
        what: String,
    },
    /// A cosign key file, which is always encrypted, and no password for it.
    #[error("an encrypted cosign key file, and no password for it")]
    PasswordNeeded,
    /// A cosign key file, and another password.
    #[error("wrong password for this cosign key file")]
    Password,
    /// A cosign key file of an unknown form.
    #[error("an unsupported cosign key file: {0}")]
    CosignForm(String),
    /// A key encrypted by openssl.
    #[error("the private key is encrypted; decrypt it with `openssl pkey -in FILE -out PLAIN`")]
    Encrypted,
    /// A public key in place of a private one, or the other way round.
    #[error("a {found} instead of a {wanted}")]
    Wrong {
        /// The kind of the PEM block.
        found: &'static str,
        /// The kind that is needed.
        wanted: &'static str,
    },
    /// A PEM block of another kind.
    #[error("an unsupported PEM block `{0}`")]
    Label(String),
    /// A key of another algorithm or curve, or a damaged one.
    #[error("not an ECDSA P-256 key, or damaged")]
    NotP256,
}

/// A private key. Cannot be printed; dropping it wipes the memory.
#[derive(Clone)]
pub struct SigningKey {
    secret: SecretKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.verifying_key().id()).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a key from random bytes of the operating system: `SigningKey::generate(getrandom::fill)`.
    ///
    /// # Errors
    /// If `fill` fails, which has to fill the whole slice.
    pub fn generate<E>(mut fill: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        loop {
            let mut bytes = Zeroizing::new([0_u8; 32]);
            fill(bytes.as_mut_slice())?;
            // Rejection sampling (FIPS 186-5, A.2.2): reducing a number that is too large would favour small keys.
            if let Ok(secret) = SecretKey::from_slice(bytes.as_slice()) {
                return Ok(Self { secret });
            }
        }
    }

    /// Reads a private key in PEM, also one whose line breaks are lost or changed: PKCS #8 (`PRIVATE KEY`) or SEC 1 (`EC PRIVATE KEY`, also behind the `EC PARAMETERS`
    /// that `openssl ecparam -genkey` writes).
    ///
    /// # Errors
    /// If there is no key, or an encrypted one, or one of another algorithm; the message says what to do.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        Self::from_pem_with(text, None)
    }

    /// Reads a private key in PEM, also one that cosign encrypted with this password (`ENCRYPTED SIGSTORE PRIVATE KEY`).
    ///
    /// # Errors
    /// If [`SigningKey::from_pem`] refuses the key, or the password is wrong.
    pub fn from_pem_with(text: &str, password: Option<&SecretString>) -> Result<Self, KeyError> {
        for block in pem::blocks(text)? {
            let secret = match block.label.as_str() {
                "EC PARAMETERS" => continue,
                "EC PRIVATE KEY" if block.is_encrypted => return Err(KeyError::Encrypted),
                "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
                "PRIVATE KEY" => {
                    SecretKey::from_pkcs8_pem(&block.pem()?).map_err(|_| KeyError::NotP256)?
                }
                "EC PRIVATE KEY" => {
                    SecretKey::from_sec1_pem(&block.pem()?).map_err(|_| KeyError::NotP256)?
                }
                "ENCRYPTED SIGSTORE PRIVATE KEY" | "ENCRYPTED COSIGN PRIVATE KEY" => {
                    cosign::open(&block.pem()?, password.ok_or(KeyError::PasswordNeeded)?)?
                }
                "PUBLIC KEY" => {
                    return Err(KeyError::Wrong { found: "public key", wanted: "private key" });
                }
                other => return Err(KeyError::Label(other.to_owned())),
            };
            return Ok(Self { secret });
        }
        Err(KeyError::NotPem)
    }

    /// The key as unencrypted PKCS #8 in PEM: for a file that only its owner may read, or a secret of the CI.
    ///
    /// # Errors
    /// If the encoder fails; no such case is known.
    pub fn to_pkcs8_pem(&self) -> Result<SecretString, KeyError> {
        let pem = self.secret.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::NotP256)?;
        Ok(SecretString::from(pem.as_str()))
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { key: self.secret.public_key().into() }
    }

    /// ECDSA over SHA-256 of `message`, DER. The nonce comes from key and message (RFC 6979), so signing the same bytes
    /// again gives the same signature, and a record that is attached again is the same record.
    pub(crate) fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let key = p256::ecdsa::SigningKey::from(&self.secret);
        let signature: p256::ecdsa::DerSignature = key.sign(message);
        signature.as_bytes().to_vec()
    }
}

/// A public key, which verifies signatures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey {
    key: p256::ecdsa::VerifyingKey,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.id())
    }
}

impl VerifyingKey {
    /// Reads a public key in PEM (`PUBLIC KEY`), as cosign and `openssl pkey -pubout` write it.
    ///
    /// # Errors
    /// If there is no key, or a private one, or one of another algorithm.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let block = pem::blocks(text)?.into_iter().next().ok_or(KeyError::NotPem)?;
        match block.label.as_str() {
            "PUBLIC KEY" => {
                let key = p256::PublicKey::from_public_key_pem(&block.pem()?)
                    .map_err(|_| KeyError::NotP256)?;
                Ok(Self { key: key.into() })
            }
            private if private.ends_with("PRIVATE KEY") => {
                Err(KeyError::Wrong { found: "private key", wanted: "public key" })
            }
            other => Err(KeyError::Label(other.to_owned())),
        }
    }

    /// The key as SubjectPublicKeyInfo in PEM, which `cosign --key` and openssl read.
    ///
    /// # Errors
    /// If the encoder fails; no such case is known.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        p256::PublicKey::from(self.key)
            .to_public_key_pem(LineEnding::LF)
            .map_err(|_| KeyError::NotP256)
    }

    /// The name of this key in a bundle (its `hint`): base64 of SHA-256 of the DER of the public key, as in cosign.
    pub fn id(&self) -> KeyId {
        // Encoding an existing point cannot fail; an empty encoding would merely be the id of no key.
        let der = p256::PublicKey::from(self.key).to_public_key_der().map(|der| der.into_vec());
        KeyId(BASE64.encode(Sha256::digest(der.unwrap_or_default())))
    }

    /// Finds this key's signature over `message` in the answer of a signer, and returns it in DER. Signers write DER, or r
    /// and s after each other; either as bytes, in base64 of both alphabets, or after a prefix with a colon.
    pub fn signature_in(&self, message: &[u8], answer: &[u8]) -> Option<Vec<u8>> {
        let text: Vec<u8> =
            answer.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let text = text.rsplit(|byte| *byte == b':').next().unwrap_or_default();
        let decoded = [ANY_STANDARD, ANY_URL_SAFE].map(|engine| engine.decode(text).ok());
        let spellings = decoded.into_iter().flatten().chain([answer.to_vec()]);
        spellings.into_iter().find_map(|bytes| {
            let signature = Signature::from_der(&bytes).or_else(|_| Signature::from_slice(&bytes));
            let signature = signature.ok().filter(|it| self.key.verify(message, it).is_ok())?;
            Some(signature.to_der().as_bytes().to_vec())
        })
    }

    /// Whether `signature` (DER) is by this key over `message`. Uses `ring`, which takes a fifth of the time of `p256`:
    /// with ten thousand records this is most of the work.
    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        let point = self.key.to_sec1_point(false);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.as_bytes())
            .verify(message, signature)
            .is_ok()
    }
}

/// The id of a key, see [`VerifyingKey::id`], or of an identity in its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct KeyId(String);

impl KeyId {
    /// The name of an identity by its hash. The colon is in no base64, so it is the name of no key.
    pub(super) fn of_identity(hash: &str) -> Self {
        Self(format!("identity:{hash}"))
    }

    /// The text of the `hint`; of an identity its hash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::testing::key;

    // Made with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, `openssl ec` and
    // `openssl pkey -pubout`: three spellings of one key.
    const PKCS8: &str = include_str!("../../tests/keys/pkcs8.pem");
    const SEC1: &str = include_str!("../../tests/keys/sec1.pem");
    const PUBLIC: &str = include_str!("../../tests/keys/public.pem");

    #[test]
    fn keys_of_openssl() {
        let pkcs8 = SigningKey::from_pem(PKCS8).unwrap();
        let sec1 = SigningKey::from_pem(SEC1).unwrap();
        let public = VerifyingKey::from_pem(PUBLIC).unwrap();
        assert_eq!(pkcs8.verifying_key(), public);
        assert_eq!(sec1.verifying_key(), public);
        assert_eq!(public.to_pem().unwrap(), PUBLIC);
        // `openssl pkey -pubin -in public.pem -outform DER | openssl sha256 -binary | base64`
        assert_eq!(public.id().as_str(), include_str!("../../tests/keys/public.id").trim());
    }

    #[test]
    fn a_generated_key_survives_its_file() {
        let made = key(7);
        let read = SigningKey::from_pem(made.to_pkcs8_pem().unwrap().expose_secret()).unwrap();
        assert_eq!(read.verifying_key(), made.verifying_key());
        let public = VerifyingKey::from_pem(&made.verifying_key().to_pem().unwrap()).unwrap();
        assert!(public.accepts(b"message", &read.sign_der(b"message")));
        assert!(!public.accepts(b"massage", &read.sign_der(b"message")));
        assert_eq!(read.sign_der(b"message"), made.sign_der(b"message"), "the nonce is derived");
    }

    #[test]
    fn numbers_outside_of_the_field_are_drawn_again() {
        let mut draws = [[0xff_u8; 32], [0; 32], [5; 32]].into_iter();
        let made = SigningKey::generate(|bytes| {
            bytes.copy_from_slice(&draws.next().ok_or("empty")?);
            Ok::<_, &str>(())
        });
        assert_eq!(made.unwrap().verifying_key(), key(5).verifying_key());
        assert_eq!(draws.next(), None);
        assert_eq!(SigningKey::generate(|_| Err::<(), _>("no entropy")).unwrap_err(), "no entropy");
    }

    #[test]
    fn a_signature_is_found_in_every_spelling() {
        let (signer, message) = (key(7), b"message".as_slice());
        let public = signer.verifying_key();
        let der = signer.sign_der(message);
        let raw = Signature::from_der(&der).unwrap().to_bytes().to_vec();
        let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let lines = |text: String| format!("{}\n{}\n", &text[..40], &text[40..]).into_bytes();
        for answer in [
            der.clone(),
            raw.clone(),
            BASE64.encode(&der).into_bytes(),
            lines(BASE64.encode(&der)),
            lines(url_safe.encode(&raw)),
            format!("vault:v1:{}", BASE64.encode(&der)).into_bytes(),
        ] {
            assert_eq!(public.signature_in(message, &answer).as_ref(), Some(&der));
            assert_eq!(public.signature_in(b"massage", &answer), None);
            assert_eq!(key(8).verifying_key().signature_in(message, &answer), None);
        }
        assert_eq!(public.signature_in(message, b""), None);
        assert_eq!(public.signature_in(message, b"no signature"), None);
    }

    #[test]
    fn a_key_cannot_be_printed() {
        let secret = key(7);
        let printed = format!("{secret:?}");
        assert_eq!(
            printed,
            format!("SigningKey {{ id: KeyId({:?}), .. }}", secret.verifying_key().id().as_str())
        );
        let public = secret.verifying_key();
        assert_eq!(format!("{public:?}"), format!("VerifyingKey({})", public.id().as_str()));
    }

    #[test]
    fn what_is_no_private_key_says_what_it_is() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        for (text, want) in [
            ("not a key".to_owned(), KeyError::NotPem),
            (pem("PRIVATE KEY"), KeyError::NotP256),
            (pem("EC PRIVATE KEY"), KeyError::NotP256),
            (pem("ENCRYPTED PRIVATE KEY"), KeyError::Encrypted),
            (pem("ENCRYPTED SIGSTORE PRIVATE KEY"), KeyError::PasswordNeeded),
            (pem("ENCRYPTED COSIGN PRIVATE KEY"), KeyError::PasswordNeeded),
            (pem("RSA PRIVATE KEY"), KeyError::Label("RSA PRIVATE KEY".to_owned())),
            (PUBLIC.to_owned(), KeyError::Wrong { found: "public key", wanted: "private key" }),
            (include_str!("../../tests/keys/ed25519.pem").to_owned(), KeyError::NotP256),
        ] {
            assert_eq!(SigningKey::from_pem(&text).unwrap_err(), want, "{text}");
        }
        assert_eq!(
            VerifyingKey::from_pem(PKCS8).unwrap_err(),
            KeyError::Wrong { found: "private key", wanted: "public key" }
        );
        assert_eq!(VerifyingKey::from_pem(&pem("PUBLIC KEY")).unwrap_err(), KeyError::NotP256);
        assert_eq!(
            VerifyingKey::from_pem(&pem("CERTIFICATE")).unwrap_err(),
            KeyError::Label("CERTIFICATE".to_owned())
        );
    }
}
