//! Which keys are trusted, and for what.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::key::{KeyId, VerifyingKey};

/// What a key may vouch for. The names of the first three are fixed by the predicates; teams add their own
/// (`release-manager`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Role(Cow<'static, str>);

impl Role {
    /// May state how a release was built.
    pub const BUILDER: Self = Self(Cow::Borrowed("builder"));
    /// May state that a release was tested.
    pub const TESTER: Self = Self(Cow::Borrowed("tester"));
    /// May state that a release was promoted.
    pub const PROMOTER: Self = Self(Cow::Borrowed("promoter"));

    /// A role by name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key that is trusted.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    /// What people call it.
    pub name: String,
    /// The key.
    pub key: VerifyingKey,
    /// What it may vouch for.
    pub roles: BTreeSet<Role>,
}

/// All keys that are trusted. Statements of any other key never count.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Vec<(KeyId, TrustedKey)>,
}

/// Why keys do not make a ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// Two keys have one name.
    #[error("two keys are named `{0}`")]
    Name(String),
    /// One key has two names: it could then count as two people.
    #[error("`{0}` and `{1}` are the same key")]
    Key(String, String),
}

impl KeyRing {
    /// A ring of these keys.
    ///
    /// # Errors
    /// A name or a key that occurs twice.
    pub fn new(keys: impl IntoIterator<Item = TrustedKey>) -> Result<Self, KeyRingError> {
        let mut ring = Self::default();
        for key in keys {
            let id = key.key.id();
            if let Some(other) = ring.find(&id) {
                return Err(KeyRingError::Key(other.name.clone(), key.name));
            }
            if ring.keys.iter().any(|(_, other)| other.name == key.name) {
                return Err(KeyRingError::Name(key.name));
            }
            ring.keys.push((id, key));
        }
        Ok(ring)
    }

    /// The key with this id.
    pub fn find(&self, id: &KeyId) -> Option<&TrustedKey> {
        self.find_hint(id.as_str())
    }

    /// The key that a bundle's hint names.
    pub(crate) fn find_hint(&self, hint: &str) -> Option<&TrustedKey> {
        self.keys.iter().find(|(id, _)| id.as_str() == hint).map(|(_, key)| key)
    }

    /// The trusted keys, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter().map(|(_, key)| key)
    }

    /// Whether nothing is trusted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    #[test]
    fn one_key_is_one_person() {
        let trusted = |name: &str, number| TrustedKey {
            name: name.to_owned(),
            key: key(number).verifying_key(),
            roles: BTreeSet::new(),
        };
        let ring = KeyRing::new([trusted("a", 1), trusted("b", 2)]).unwrap();
        assert_eq!(ring.find(&key(2).verifying_key().id()).unwrap().name, "b");
        assert!(ring.find(&key(3).verifying_key().id()).is_none());
        assert_eq!(
            KeyRing::new([trusted("a", 1), trusted("b", 1)]).unwrap_err(),
            KeyRingError::Key("a".to_owned(), "b".to_owned())
        );
        assert_eq!(
            KeyRing::new([trusted("a", 1), trusted("a", 2)]).unwrap_err(),
            KeyRingError::Name("a".to_owned())
        );
    }
}
