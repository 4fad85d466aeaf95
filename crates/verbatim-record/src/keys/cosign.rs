//! Reads the key files of cosign: PKCS #8 in a NaCl box, under a key that scrypt derives from a password. Writes none.
//!
//! The form is that of the package `encrypted` of [go-securesystemslib], in PEM.
//!
//! [go-securesystemslib]: https://github.com/secure-systems-lab/go-securesystemslib/blob/v0.9.0/encrypted/encrypted.go

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crypto_secretbox::aead::{Aead as _, KeyInit as _};
use crypto_secretbox::{Key, Nonce, XSalsa20Poly1305};
use p256::SecretKey;
use p256::elliptic_curve::zeroize::Zeroizing;
use p256::pkcs8::DecodePrivateKey as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::key::KeyError;

/// Most memory that a key file may ask for, in bytes. cosign's own ask for 64 MiB.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;

#[derive(Deserialize)]
struct File {
    kdf: Derivation,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
struct Derivation {
    name: String,
    params: Cost,
    salt: String,
}

#[derive(Deserialize)]
struct Cost {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// The private key inside one PEM block of cosign.
pub(crate) fn open(block: &str, password: &SecretString) -> Result<SecretKey, KeyError> {
    let body: String = block.lines().filter(|line| !line.starts_with("-----")).collect();
    let file: File = serde_json::from_slice(&decode(body.trim())?)
        .map_err(|error| KeyError::CosignForm(error.to_string()))?;
    if file.kdf.name != "scrypt" || file.cipher.name != "nacl/secretbox" {
        let (kdf, cipher) = (file.kdf.name, file.cipher.name);
        return Err(KeyError::CosignForm(format!("`{kdf}` with `{cipher}`")));
    }
    let mut key = Zeroizing::new([0_u8; 32]);
    let salt = decode(&file.kdf.salt)?;
    let password = password.expose_secret().as_bytes();
    scrypt::scrypt(password, &salt, &cost(&file.kdf.params)?, key.as_mut_slice())
        .map_err(|error| KeyError::CosignForm(error.to_string()))?;
    let nonce = decode(&file.cipher.nonce)?;
    if nonce.len() != size_of::<Nonce>() {
        return Err(KeyError::CosignForm(format!("a nonce of {} bytes", nonce.len())));
    }
    let sealed = decode(&file.ciphertext)?;
    let opened = XSalsa20Poly1305::new(Key::from_slice(key.as_slice()))
        .decrypt(Nonce::from_slice(&nonce), sealed.as_slice())
        .map_err(|_| KeyError::Password)?;
    SecretKey::from_pkcs8_der(&Zeroizing::new(opened)).map_err(|_| KeyError::NotP256)
}

fn cost(cost: &Cost) -> Result<scrypt::Params, KeyError> {
    let wrong = || KeyError::CosignForm("an impossible scrypt cost".to_owned());
    let memory = cost.n.checked_mul(128).and_then(|n| n.checked_mul(cost.r.into()));
    // Work is this times `p`.
    let total = memory.and_then(|memory| memory.checked_mul(cost.p.into()));
    if !cost.n.is_power_of_two() || total.is_none_or(|total| total > MOST_MEMORY) {
        return Err(wrong());
    }
    let log_n = u8::try_from(cost.n.trailing_zeros()).map_err(|_| wrong())?;
    scrypt::Params::new(log_n, cost.r, cost.p).map_err(|_| wrong())
}

fn decode(text: &str) -> Result<Vec<u8>, KeyError> {
    BASE64.decode(text).map_err(|error| KeyError::CosignForm(format!("base64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::key::{SigningKey, VerifyingKey};

    /// Made by cosign 3.1.3 of the key in `pkcs8.pem`.
    const FILE: &str = include_str!("../../tests/keys/cosign.key");

    fn file(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let body: String = FILE.lines().filter(|line| !line.starts_with("-----")).collect();
        let mut value = serde_json::from_slice(&BASE64.decode(body).unwrap()).unwrap();
        change(&mut value);
        let label = "ENCRYPTED SIGSTORE PRIVATE KEY";
        let body = BASE64.encode(value.to_string());
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    #[test]
    fn a_key_file_of_cosign_opens_with_its_password() {
        let public = VerifyingKey::from_pem(include_str!("../../tests/keys/public.pem")).unwrap();
        let open = |text: &str, password: &str| {
            SigningKey::from_pem_with(text, Some(&SecretString::from(password)))
                .map(|key| key.verifying_key())
        };
        assert_eq!(open(FILE, "correct horse"), Ok(public));
        assert_eq!(open(&file(|_| ()), "correct horse"), Ok(public), "on one line");
        assert_eq!(open(FILE, "correct house"), Err(KeyError::Password));
        assert_eq!(open(FILE, ""), Err(KeyError::Password));
        assert_eq!(SigningKey::from_pem(FILE).unwrap_err(), KeyError::PasswordNeeded);
    }

    #[test]
    fn other_forms_are_named() {
        let form = |text: &str| match open(text, &SecretString::from("correct horse")) {
            Err(KeyError::CosignForm(what)) => what,
            other => panic!("{other:?}"),
        };
        let changed = |path: &str, value: serde_json::Value| {
            form(&file(|file| *file.pointer_mut(path).unwrap() = value))
        };
        assert_eq!(changed("/kdf/name", "argon2".into()), "`argon2` with `nacl/secretbox`");
        assert_eq!(changed("/cipher/name", "aes".into()), "`scrypt` with `aes`");
        assert_eq!(changed("/cipher/nonce", "AAAA".into()), "a nonce of 3 bytes");
        for n in [0_u64, 3, 1 << 40, u64::MAX] {
            assert_eq!(changed("/kdf/params/N", n.into()), "an impossible scrypt cost");
        }
        let is_possible = |p| cost(&Cost { n: 1 << 18, r: 8, p }).is_ok();
        assert!(is_possible(1) && !is_possible(2), "the most memory, and twice as much");
        assert_eq!(changed("/kdf/params/r", 0.into()), "an impossible scrypt cost");
        assert!(changed("/ciphertext", "not base64!".into()).starts_with("base64: "));
        assert!(form("-----BEGIN X-----\ne30=\n-----END X-----").contains("missing field"));
    }
}
