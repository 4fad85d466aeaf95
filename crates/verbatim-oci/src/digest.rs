//! Digests: the only name under which content is deployed.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, printed as `sha256:` and 64 lower-case hexadecimal digits.
///
/// Other algorithms that the [specification][spec] registers are refused: no registry, engine or cluster that matters
/// here produces them, and two algorithms would mean two names for one content.
///
/// [spec]: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// There is no `algorithm:` in front.
    #[error("a digest starts with `sha256:`")]
    NoAlgorithm,
    /// The algorithm is not SHA-256.
    #[error("digest algorithm `{0}` is not supported, only `sha256` is")]
    Algorithm(String),
    /// The hexadecimal part has another length than 64.
    #[error("a sha256 digest has 64 hexadecimal digits, this one has {0}")]
    Length(usize),
    /// A character is not a lower-case hexadecimal digit.
    #[error("`{0}` is not a lower-case hexadecimal digit")]
    Character(char),
}

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest whose 32 bytes somebody has computed already, while streaming for example.
    pub fn from_sha256(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// `sha256:` and the first 12 hexadecimal digits: for people, never for machines.
    pub fn short(&self) -> String {
        format!("sha256:{}", hex::encode(&self.0[..6]))
    }
}

/// A text with its digests cut to 12 digits, as [`Digest::short`] does: for people, never for machines.
pub fn short_digests(text: &str) -> String {
    const PREFIX: &str = "sha256:";
    let mut parts = text.split(PREFIX);
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        let kept = if digits == 64 { 12 } else { digits };
        short.extend([PREFIX, &part[..kept], &part[digits..]]);
    }
    short
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that a table can ask for a width.
        f.pad(&format!("sha256:{}", self.hex()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text.split_once(':').ok_or(DigestError::NoAlgorithm)?;
        if algorithm != "sha256" {
            return Err(DigestError::Algorithm(algorithm.to_owned()));
        }
        if let Some(bad) = digits.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f')) {
            return Err(DigestError::Character(bad));
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| DigestError::Length(digits.len()))?;
        Ok(Self(bytes))
    }
}

crate::serde_by_text!(Digest);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::of(b"").short(), "sha256:e3b0c44298fc");
    }

    #[test]
    fn wrong_texts_are_refused_with_the_reason() {
        let cases = [
            ("", DigestError::NoAlgorithm),
            ("e3b0", DigestError::NoAlgorithm),
            ("sha512:e3b0", DigestError::Algorithm("sha512".into())),
            ("sha256:", DigestError::Length(0)),
            ("sha256:e3b0", DigestError::Length(4)),
            ("sha256:E3b0", DigestError::Character('E')),
            ("sha256:sha256:e3", DigestError::Character('s')),
            ("sha256:e3b0é", DigestError::Character('é')),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<Digest>(), Err(want), "{text}");
        }
        assert_eq!(format!("{EMPTY}00").parse::<Digest>(), Err(DigestError::Length(66)));
    }

    #[test]
    fn digests_are_cut() {
        let digest = "0123456789abcdef".repeat(4);
        let cases = [
            (
                format!("was a@sha256:{digest}, is sha256:{digest}"),
                "was a@sha256:0123456789ab, is sha256:0123456789ab",
            ),
            ("sha256:abc and sha256:".to_owned(), "sha256:abc and sha256:"),
            ("nothing".to_owned(), "nothing"),
        ];
        for (text, want) in cases {
            assert_eq!(short_digests(&text), want);
        }
    }

    #[test]
    fn serde_uses_the_printed_form() {
        let json = format!("\"{EMPTY}\"");
        let digest: Digest = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&digest).unwrap(), json);
        assert!(serde_json::from_str::<Digest>("\"sha256:1\"").is_err());
    }

    proptest! {
        #[test]
        fn parse_of_print_is_identity(bytes in any::<[u8; 32]>()) {
            let digest = Digest::from_sha256(bytes);
            prop_assert_eq!(digest.to_string().parse(), Ok(digest));
        }

        #[test]
        fn no_input_panics(text in ".{0,100}") {
            let _ = text.parse::<Digest>();
        }
    }
}
