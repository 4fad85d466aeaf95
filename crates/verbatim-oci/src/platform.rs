//! Platforms: for which machine an image of an index is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::lenient;

/// A platform, printed as `os/architecture[/variant]`, with the values that Go uses for `GOOS` and `GOARCH`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, `linux` for example.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub os: String,
    /// The architecture, `amd64` for example.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub architecture: String,
    /// The variant of the architecture, `v8` for example.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_text"
    )]
    pub variant: Option<String>,
    /// The version of the operating system: only Windows images have one.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient::filled_text"
    )]
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

    /// Whether this names nothing, as Go writes a platform that is not set.
    pub(crate) fn is_empty(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }

    /// The platform under the names that Go has: `linux/aarch64` and `linux/arm64/v8` are `linux/arm64`. By the [rules of
    /// containerd][rules], which Docker uses.
    ///
    /// [rules]: https://github.com/containerd/platforms/blob/v1.0.0-rc.1/database.go
    #[must_use]
    pub fn normalized(&self) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase();
        let os = match lower(&self.os) {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let architecture = lower(&self.architecture);
        let variant = self.variant.as_deref().map(lower);
        let (architecture, variant) = match (architecture.as_str(), variant.as_deref()) {
            ("i386", _) => ("386", None),
            ("x86_64" | "x86-64" | "amd64", None | Some("v1")) => ("amd64", None),
            ("x86_64" | "x86-64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", None | Some("8" | "v8")) => ("arm64", None),
            ("aarch64", variant) => ("arm64", variant),
            ("armhf", _) => ("arm", Some("v7")),
            ("armel", _) => ("arm", Some("v6")),
            ("arm", Some("5")) => ("arm", Some("v5")),
            ("arm", Some("6")) => ("arm", Some("v6")),
            ("arm", Some("7")) => ("arm", Some("v7")),
            ("arm", Some("8")) => ("arm", Some("v8")),
            (other, variant) => (other, variant),
        };
        Self {
            os,
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
            os_version: self.os_version.clone(),
        }
    }

    /// How well an image for this platform fits one that serves `wanted`, less is better: the variant that was asked for, else
    /// the one that the architecture means without one.
    pub(crate) fn distance(&self, wanted: &Platform) -> u8 {
        let (have, wanted) = (self.normalized(), wanted.normalized());
        let meant = match (wanted.architecture.as_str(), wanted.variant.as_deref()) {
            ("arm", None) => Some("v7"),
            (_, variant) => variant,
        };
        match have.variant.as_deref() {
            variant if variant == meant => 0,
            None => 1,
            Some("v6") if meant == Some("v7") => 2,
            Some(_) => 3,
        }
    }

    /// Whether an image for this platform serves `wanted`: what `wanted` leaves out does not matter, nor which of its names an
    /// architecture has.
    pub fn serves(&self, wanted: &Platform) -> bool {
        let (have, wanted) = (self.normalized(), wanted.normalized());
        let same = |have: &Option<String>, want: &Option<String>| want.is_none() || have == want;
        have.os == wanted.os
            && have.architecture == wanted.architecture
            && same(&have.variant, &wanted.variant)
            && same(&have.os_version, &wanted.os_version)
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
        assert!(check("linux/arm64", "linux/arm64/v8"));
        assert!(!check("linux/arm64", "linux/arm64/v9"));
        assert!(!check("linux/arm/v6", "linux/arm/v7"));
        assert!(!check("linux/amd64", "linux/arm64"));
    }

    #[test]
    fn architectures_have_several_names() {
        let cases = [
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/aarch64/v9", "linux/arm64/v9"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/x86-64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("Linux/AMD64", "linux/amd64"),
            ("linux/i386", "linux/386"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/arm/7", "linux/arm/v7"),
            ("linux/arm", "linux/arm"),
            ("macos/arm64", "darwin/arm64"),
            ("linux/riscv64", "linux/riscv64"),
        ];
        for (written, want) in cases {
            let platform: Platform = written.parse().unwrap();
            assert_eq!(platform.normalized().to_string(), want, "{written}");
            assert!(platform.serves(&want.parse().unwrap()), "{written}");
        }
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
