//! References: a repository with a tag, a digest, or both.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, DigestError, Repository, RepositoryError, Tag, TagError};

/// A reference to an image: `host[:port]/path[:tag][@digest]`.
///
/// Tag and digest are both kept when both are there. The digest is what counts; the tag is for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Where the image lives.
    pub repository: Repository,
    /// The tag, if one is written. [`Reference::tag_or_latest`] gives the one that Docker would mean.
    pub tag: Option<Tag>,
    /// The digest, if one is written.
    pub digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference")]
pub struct ReferenceError {
    /// The text that is not a reference.
    pub text: String,
    /// Which part is wrong.
    #[source]
    pub kind: ReferenceErrorKind,
}

/// Which part of a reference is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceErrorKind {
    /// The repository.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The tag.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// The reference that names this content and nothing else.
    pub fn by_digest(repository: Repository, digest: Digest) -> Self {
        Self { repository, tag: None, digest: Some(digest) }
    }

    /// The reference by a tag.
    pub fn by_tag(repository: Repository, tag: Tag) -> Self {
        Self { repository, tag: Some(tag), digest: None }
    }

    /// The tag to ask for where there is no digest: the written one, or `latest`.
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_ref().map_or("latest", Tag::as_str)
    }

    /// What stands behind `/manifests/` in the registry's API: the digest if there is one, else the tag.
    pub fn manifest_name(&self) -> String {
        match &self.digest {
            Some(digest) => digest.to_string(),
            None => self.tag_or_latest().to_owned(),
        }
    }

    /// This reference with a digest.
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|kind| ReferenceError { text: text.to_owned(), kind })
    }
}

fn parse(text: &str) -> Result<Reference, ReferenceErrorKind> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.parse()?)),
        None => (text, None),
    };
    // The last colon starts a tag unless a slash follows: then it belongs to the registry's port.
    let (repository, tag) = match rest.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.parse()?)),
        _ => (rest, None),
    };
    Ok(Reference { repository: repository.parse()?, tag, digest })
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.repository.to_string();
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag.as_str());
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        f.pad(&text)
    }
}

crate::serde_by_text!(Reference);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn references_are_parsed_and_printed_in_full() {
        let cases = [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.29", "docker.io/library/nginx:1.29"),
            ("localhost:5000/x", "localhost:5000/x"),
            ("localhost:5000/x:1", "localhost:5000/x:1"),
            ("[::1]:5000/x:1", "[::1]:5000/x:1"),
            ("example.com/a/b:1.2", "example.com/a/b:1.2"),
        ];
        for (text, want) in cases {
            for (suffix, wanted) in [("", want.to_owned()), ("@", format!("{want}@{DIGEST}"))] {
                let text =
                    if suffix.is_empty() { text.to_owned() } else { format!("{text}@{DIGEST}") };
                let reference: Reference =
                    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
                assert_eq!(reference.to_string(), wanted, "{text}");
            }
        }
    }

    #[test]
    fn the_digest_wins_over_the_tag() {
        let check = |text: &str, want: &str| {
            assert_eq!(text.parse::<Reference>().unwrap().manifest_name(), want)
        };
        check("nginx", "latest");
        check("nginx:1", "1");
        check(&format!("nginx:1@{DIGEST}"), DIGEST);
    }

    #[test]
    fn the_wrong_part_is_named() {
        let cases = [
            ("", "a repository must not be empty"),
            (":1", "a repository must not be empty"),
            ("nginx:", "a tag must not be empty"),
            (
                "nginx:a b",
                "` ` is not allowed in a tag, only letters, digits, `_`, `.` and `-` are",
            ),
            ("nginx@", "a digest starts with `sha256:`"),
            ("nginx@sha256:12", "a sha256 digest has 64 hexadecimal digits, this one has 2"),
            ("UPPER/x:1@sha1:0", "digest algorithm `sha1` is not supported, only `sha256` is"),
        ];
        for (text, want) in cases {
            let error = text.parse::<Reference>().unwrap_err();
            assert_eq!(error.to_string(), format!("`{text}` is not an image reference"));
            assert_eq!(error.kind.to_string(), want, "{text}");
        }
    }

    fn references() -> impl Strategy<Value = String> {
        let registry = prop_oneof![
            // A first component with a dot would be a registry.
            Just("example/".to_owned()),
            "[a-z0-9]{1,5}\\.[a-z]{2,3}(:[1-9][0-9]{0,3})?/".prop_map(|text| text),
            Just("localhost:5000/".to_owned()),
            Just("[::1]:5000/".to_owned()),
        ];
        let path = "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,4}){0,2}";
        let tag = "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,9})?";
        (registry, path, tag, proptest::option::of(any::<[u8; 32]>())).prop_map(
            |(registry, path, tag, digest)| {
                let digest = digest
                    .map(|bytes| format!("@{}", Digest::from_sha256(bytes)))
                    .unwrap_or_default();
                format!("{registry}{path}{tag}{digest}")
            },
        )
    }

    proptest! {
        #[test]
        fn parse_of_print_is_identity(text in references()) {
            let reference: Reference = text.parse().unwrap();
            prop_assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
        }

        #[test]
        fn no_input_panics(text in prop_oneof![".{0,60}", "[a-z:@/\\[\\].0-9_-]{0,40}"]) {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
            }
        }
    }
}
