//! Platforms: for which machine an image of an index is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform, printed as `os/architecture[/variant]`, with the values that Go uses for `GOOS` and `GOARCH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, `linux` for example.
    pub os: String,
    /// The architecture, `amd64` for example.
    pub architecture: String,
    /// The variant of the architecture, `v8` for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The version of the operating system: only Windows images have one.
    #[serde(default, rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
}

/// Why a text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a platform: want os/architecture or os/architecture/variant, linux/arm64/v8 for example"
)]
pub struct PlatformError(String);

impl Platform {
    /// Whether this is the placeholder `unknown/unknown`, under which builders store attestations in an index.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// Whether an image for this platform serves `wanted`: what `wanted` leaves out does not matter.
    pub fn serves(&self, wanted: &Platform) -> bool {
        let same = |have: &Option<String>, want: &Option<String>| want.is_none() || have == want;
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && same(&self.variant, &wanted.variant)
            && same(&self.os_version, &wanted.os_version)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let good = |part: &&str| {
            !part.is_empty()
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        match parts.as_slice() {
            [os, architecture, variant @ ..] if variant.len() <= 1 && parts.iter().all(good) => {
                Ok(Self {
                    os: (*os).to_owned(),
                    architecture: (*architecture).to_owned(),
                    variant: variant.first().map(|&variant| variant.to_owned()),
                    os_version: None,
                })
            }
            _ => Err(PlatformError(text.to_owned())),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{}/{}", self.os, self.architecture);
        if let Some(variant) = &self.variant {
            text.push('/');
            text.push_str(variant);
        }
        f.pad(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn platforms_are_parsed() {
        for text in ["linux/amd64", "linux/arm64/v8", "windows/amd64"] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }
        for text in ["", "linux", "linux/", "/amd64", "linux/arm/v7/x", "linux /amd64"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_asked_for_does_not_matter() {
        let check = |have: &str, want: &str| {
            have.parse::<Platform>().unwrap().serves(&want.parse().unwrap())
        };
        assert!(check("linux/arm64/v8", "linux/arm64"));
        assert!(check("linux/arm64/v8", "linux/arm64/v8"));
        assert!(!check("linux/arm64", "linux/arm64/v8"));
        assert!(!check("linux/amd64", "linux/arm64"));
    }

    proptest! {
        #[test]
        fn parse_of_print_is_identity(text in "[a-z]{1,5}/[a-z0-9]{1,5}(/v[0-9])?") {
            prop_assert_eq!(text.parse::<Platform>().unwrap().to_string(), text);
        }

        #[test]
        fn no_input_panics(text in ".{0,40}") {
            let _ = text.parse::<Platform>();
        }
    }
}
