//! How a release is named on the command line and in `VERBATIM_RELEASE`: what the words mean by themselves. Pure; what the
//! registry and the ledgers have under a name is found out in `find`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use verbatim_oci::{
    Digest, DigestError, Reference, ReferenceError, Repository, RepositoryError, Tag, TagError,
};

/// A release as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// `sha256:…`, of the project's image.
    Digest(Digest),
    /// The first digits of one.
    Digits(DigestDigits),
    /// A tag or a digest in a repository that is written, too.
    Reference(Reference),
    /// A word: an environment, for what runs there, else a tag of the project's image.
    Word(Tag),
    /// `TAG@sha256:…`: both have to mean the same.
    Pinned(Tag, Digest),
}

/// The first digits of a digest: enough of them that no two releases of a project share them by chance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DigestDigits {
    digits: String,
    /// Whether `sha256:` stands before them. Without it they may be a tag as well: many tags are commits.
    is_marked: bool,
}

impl DigestDigits {
    /// As many as `status` and `history` show.
    const LEAST: usize = 12;

    const ALGORITHM: &str = "sha256:";

    pub(crate) fn begin(&self, digest: &Digest) -> bool {
        digest.hex().starts_with(&self.digits)
    }

    /// The tag that they may be as well.
    pub(crate) fn as_tag(&self) -> Option<Tag> {
        if self.is_marked { None } else { self.digits.parse().ok() }
    }

    /// Digits of a digest, if the text is some: with `sha256:` before them nothing else can be meant.
    fn parse(text: &str) -> Result<Option<Self>, NamedError> {
        let (digits, is_marked) = match text.strip_prefix(Self::ALGORITHM) {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        let wrong = digits.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f'));
        match (wrong, digits.len(), is_marked) {
            (None, Self::LEAST..=64, _) => Ok(Some(Self { digits: digits.to_owned(), is_marked })),
            (_, _, false) => Ok(None),
            (Some(wrong), _, true) => Err(NamedError::Digest(DigestError::Character(wrong))),
            (None, length, true) => Err(NamedError::Digits { length }),
        }
    }
}

/// Why a text names no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NamedError {
    /// It begins as a digest does.
    #[error(transparent)]
    Digest(DigestError),
    #[error(
        "a digest has 64 hexadecimal digits, of which the first {} are enough; this one has {length}",
        DigestDigits::LEAST
    )]
    Digits { length: usize },
    #[error(transparent)]
    Reference(ReferenceError),
    #[error("neither a tag, nor an environment, nor a digest: {0}")]
    Word(TagError),
}

impl FromStr for Named {
    type Err = NamedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(digest) = text.parse() {
            return Ok(Self::Digest(digest));
        }
        if let Some(digits) = DigestDigits::parse(text)? {
            let whole = format!("{}{}", DigestDigits::ALGORITHM, digits.digits).parse();
            return Ok(whole.map_or(Self::Digits(digits), Self::Digest));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        if name.contains(['/', ':']) {
            return text.parse().map(Self::Reference).map_err(NamedError::Reference);
        }
        let tag = name.parse().map_err(NamedError::Word)?;
        match digest {
            Some(digest) => Ok(Self::Pinned(tag, digest.parse().map_err(NamedError::Digest)?)),
            None => Ok(Self::Word(tag)),
        }
    }
}

impl fmt::Display for DigestDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = if self.is_marked { Self::ALGORITHM } else { "" };
        write!(f, "{algorithm}{}", self.digits)
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => digest.fmt(f),
            Self::Digits(digits) => digits.fmt(f),
            Self::Reference(reference) => reference.fmt(f),
            Self::Word(word) => f.write_str(word.as_str()),
            Self::Pinned(tag, digest) => write!(f, "{}@{digest}", tag.as_str()),
        }
    }
}

impl Named {
    /// Whether it says all by itself: nothing that somebody else may change decides what it means.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Self::Digest(_) | Self::Pinned(..) => true,
            Self::Reference(reference) => reference.digest.is_some(),
            Self::Digits(_) | Self::Word(_) => false,
        }
    }

    /// The digest, if it is whole.
    pub(crate) fn digest(&self) -> Option<Digest> {
        match self {
            Self::Digest(digest) | Self::Pinned(_, digest) => Some(*digest),
            Self::Reference(reference) => reference.digest,
            Self::Digits(_) | Self::Word(_) => None,
        }
    }

    /// The same as a reference, where one word is the name of an image of the Docker Hub: `nginx` is a repository in a
    /// project that has that one.
    pub(crate) fn in_repository(self, home: &Repository) -> Self {
        let is_home = |word: &Tag| {
            let repository: Result<Repository, RepositoryError> = word.as_str().parse();
            repository.is_ok_and(|repository| repository == *home)
        };
        let (repository, tag) = (home.clone(), None);
        match self {
            Self::Word(word) if is_home(&word) => {
                Self::Reference(Reference { repository, tag, digest: None })
            }
            Self::Pinned(word, digest) if is_home(&word) => {
                Self::Reference(Reference { repository, tag, digest: Some(digest) })
            }
            other => other,
        }
    }
}

/// What digits mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// They begin the digest of this release.
    Digest(Digest),
    /// They are its tag, whatever its digest is.
    Tag,
    /// Nothing that is known.
    Nothing,
    /// More than one release.
    Several(BTreeSet<Digest>),
}

/// What digits mean, by the releases that are `known` and by what has them as its tag.
pub(crate) fn meaning(
    digits: &DigestDigits,
    known: impl IntoIterator<Item = Digest>,
    tagged: Option<Digest>,
) -> Meaning {
    let mut all: BTreeSet<Digest> = known.into_iter().filter(|it| digits.begin(it)).collect();
    let begun = all.first().copied();
    all.extend(tagged);
    match (all.len(), begun, tagged) {
        (0, _, _) => Meaning::Nothing,
        (1, Some(digest), _) => Meaning::Digest(digest),
        (1, None, _) => Meaning::Tag,
        _ => Meaning::Several(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(begin: &str) -> Digest {
        format!("sha256:{begin:0<64}").parse().unwrap()
    }

    #[test]
    fn a_release_is_named_in_many_ways() {
        let whole = digest("abc");
        let digits = |digits: &str, is_marked| {
            Ok(Named::Digits(DigestDigits { digits: digits.to_owned(), is_marked }))
        };
        let reference = |text: &str| Ok(Named::Reference(text.parse().unwrap()));
        let tag = |text: &str| text.parse::<Tag>().unwrap();
        let word = |text: &str| Ok(Named::Word(tag(text)));
        let cases: [(String, Result<Named, &str>); 15] = [
            (whole.to_string(), Ok(Named::Digest(whole))),
            (whole.hex(), Ok(Named::Digest(whole))),
            ("sha256:abcdef012345".to_owned(), digits("abcdef012345", true)),
            ("abcdef0123456".to_owned(), digits("abcdef0123456", false)),
            // Fewer are a tag, and so is what is no digits.
            ("abcdef01234".to_owned(), word("abcdef01234")),
            ("ABCDEF012345".to_owned(), word("ABCDEF012345")),
            ("42.3f0c9a".to_owned(), word("42.3f0c9a")),
            ("production".to_owned(), word("production")),
            (format!("42@{whole}"), Ok(Named::Pinned(tag("42"), whole))),
            ("r.example/a:42".to_owned(), reference("r.example/a:42")),
            (format!("r.example/a:42@{whole}"), reference(&format!("r.example/a:42@{whole}"))),
            (
                "sha256:abcd".to_owned(),
                Err(
                    "a digest has 64 hexadecimal digits, of which the first 12 are enough; this one has 4",
                ),
            ),
            ("sha256:ABCDEF012345".to_owned(), Err("`A` is not a lower-case hexadecimal digit")),
            (
                "not a name".to_owned(),
                Err(
                    "neither a tag, nor an environment, nor a digest: ` ` is not allowed in a tag, only letters, digits, `_`, `.` and `-` are",
                ),
            ),
            (
                "42@sha256:abcd".to_owned(),
                Err("a sha256 digest has 64 hexadecimal digits, this one has 4"),
            ),
        ];
        for (text, want) in cases {
            let got = text.parse::<Named>().map_err(|error| error.to_string());
            assert_eq!(got, want.map_err(str::to_owned), "{text}");
            if let Ok(named) = got {
                assert_eq!(named.to_string().parse(), Ok(named), "{text}");
            }
        }
    }

    #[test]
    fn a_word_may_be_the_repository() {
        let home: Repository = "docker.io/library/shop".parse().unwrap();
        let named = |text: &str| text.parse::<Named>().unwrap().in_repository(&home);
        assert_eq!(named("shop"), Named::Reference("shop".parse().unwrap()));
        let pinned = format!("shop@{}", digest("abc"));
        assert_eq!(named(&pinned), Named::Reference(pinned.parse().unwrap()));
        assert_eq!(named("other"), Named::Word("other".parse().unwrap()));
    }

    #[test]
    fn digits_mean_one_release_or_nothing_is_chosen() {
        let (one, two, other) = (digest("abcdef0123451"), digest("abcdef0123452"), digest("00"));
        let several = |all: &[Digest]| Meaning::Several(all.iter().copied().collect());
        let cases = [
            ("abcdef0123451", &[one, two, other][..], None, Meaning::Digest(one)),
            ("abcdef012345", &[one, one, other], None, Meaning::Digest(one)),
            ("abcdef012345", &[one, two], None, several(&[one, two])),
            ("abcdef012345", &[other], None, Meaning::Nothing),
            // A commit is a tag, and looks like digits.
            ("abcdef012345", &[other], Some(two), Meaning::Tag),
            ("abcdef012345", &[one], Some(other), several(&[one, other])),
            ("abcdef012345", &[one], Some(one), Meaning::Digest(one)),
        ];
        for (text, known, tagged, want) in cases {
            let Ok(Named::Digits(digits)) = text.parse() else { panic!("{text}") };
            assert_eq!(meaning(&digits, known.iter().copied(), tagged), want, "{text} {known:?}");
        }
    }
}
