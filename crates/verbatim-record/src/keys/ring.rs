//! Which keys are trusted, and for what.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::identity::{ClosestIdentity, Identity, SignerCertificate};
use super::key::{KeyId, VerifyingKey};
use super::limits::{KeyEnd, KeyLife, KeyScope};
use super::person::{Person, persons};
use super::trust_root::TrustRoot;

/// What a key may vouch for. This project knows the names here; teams add their own (`release-manager`).
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
    /// May promote past a gate that refuses.
    pub const BREAK_GLASS: Self = Self(Cow::Borrowed("break-glass"));

    /// A role by name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name in the configuration.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether machines have it: the work of a pipeline needs it.
    fn is_of_pipelines(&self) -> bool {
        [Self::BUILDER, Self::TESTER, Self::PROMOTER].contains(self)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that only keys with certain roles may do. Approving is not among them: every trusted key may, and the gate
/// that asks for approvals names the role that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Power {
    /// State how a release was built.
    Build,
    /// State that a release was tested.
    Test,
    /// State that a release was promoted.
    Promote,
    /// Keep a release out of an environment, or of all.
    Veto,
    /// Keep every release out of an environment.
    Lock,
    /// Lift the vetoes and locks of others. The maker of one may always lift it.
    Lift,
    /// Promote past a gate that refuses.
    OverrideGate,
}

/// Which roles have which power. Nobody has a power that is not in here.
pub type Powers = BTreeMap<Power, BTreeSet<Role>>;

/// The powers unless a team says otherwise. `roles` are all roles that some key has. Vetoes and locks only keep things
/// out, so everybody but builders and testers may make them; lifting is for people.
pub fn usual_powers<'a>(roles: impl IntoIterator<Item = &'a Role>) -> Powers {
    let mut people: BTreeSet<Role> =
        roles.into_iter().filter(|role| !role.is_of_pipelines()).cloned().collect();
    let only = |role: Role| BTreeSet::from([role]);
    let lift = people.clone();
    people.insert(Role::PROMOTER);
    Powers::from([
        (Power::Build, only(Role::BUILDER)),
        (Power::Test, only(Role::TESTER)),
        (Power::Promote, only(Role::PROMOTER)),
        (Power::Veto, people.clone()),
        (Power::Lock, people),
        (Power::Lift, lift),
        (Power::OverrideGate, only(Role::BREAK_GLASS)),
    ])
}

/// What a signature is recognised by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A public key.
    Key(VerifyingKey),
    /// What a certificate must say.
    Identity(Box<Identity>),
}

impl Credential {
    /// Its id.
    pub fn id(&self) -> KeyId {
        match self {
            Self::Key(key) => key.id(),
            Self::Identity(identity) => identity.id(),
        }
    }

    /// The public key, if it is one.
    pub fn key(&self) -> Option<&VerifyingKey> {
        match self {
            Self::Key(key) => Some(key),
            Self::Identity(_) => None,
        }
    }
}

impl From<VerifyingKey> for Credential {
    fn from(key: VerifyingKey) -> Self {
        Self::Key(key)
    }
}

impl From<Identity> for Credential {
    fn from(identity: Identity) -> Self {
        Self::Identity(Box::new(identity))
    }
}

/// A key that is trusted, or an identity in its place.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    /// The name that people give it.
    pub name: String,
    /// The public key, or the identity.
    pub key: Credential,
    /// What it may vouch for.
    pub roles: BTreeSet<Role>,
    /// The names under which its owner starts CI runs, so that nobody approves what is their own.
    pub actors: BTreeSet<String>,
    /// What its statements may be about.
    pub scope: KeyScope,
    /// From when to when they count.
    pub life: KeyLife,
}

/// The signer of a record: what matters of a trusted key after verification.
#[derive(Debug, PartialEq, Eq)]
pub struct Signer {
    /// The name that people give the key.
    pub name: String,
    /// The id of the key.
    pub key_id: KeyId,
    /// What it may vouch for.
    pub roles: BTreeSet<Role>,
    /// Who holds it, with all other keys of theirs.
    pub person: Arc<Person>,
    /// What its statements may be about.
    pub scope: KeyScope,
    /// From when to when they count.
    pub life: KeyLife,
    /// Whether it may lift the vetoes and locks of others.
    pub may_lift: bool,
}

/// All trusted keys. Statements of any other key never count.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    keys: Vec<Entry>,
    powers: Powers,
    trust_root: Option<TrustRoot>,
}

#[derive(Debug, Clone)]
struct Entry {
    key: TrustedKey,
    signer: Arc<Signer>,
}

/// Why a certificate is not that of one identity.
#[derive(Debug)]
pub(crate) enum Unidentified {
    /// It is that of none; with the identity that it comes closest to, if there is any.
    Nobody(Option<ClosestIdentity>),
    /// It is that of several, by their names. Who has signed must not depend on their order.
    Several(Vec<String>),
}

/// Why some keys do not form a ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// Two keys have one name.
    #[error("two keys are named `{0}`")]
    Name(String),
    /// One key has two names, so it could count as two people.
    #[error("`{0}` and `{1}` are the same key")]
    Key(String, String),
}

impl KeyRing {
    /// A ring of these keys, with the usual powers.
    ///
    /// # Errors
    /// If a name or a key occurs twice.
    pub fn new(keys: impl IntoIterator<Item = TrustedKey>) -> Result<Self, KeyRingError> {
        let keys: Vec<TrustedKey> = keys.into_iter().collect();
        let powers = usual_powers(keys.iter().flat_map(|key| &key.roles));
        Self::with_powers(keys, powers)
    }

    /// A ring of these keys, with these powers.
    ///
    /// # Errors
    /// If a name or a key occurs twice.
    pub fn with_powers(
        keys: impl IntoIterator<Item = TrustedKey>,
        powers: Powers,
    ) -> Result<Self, KeyRingError> {
        let mut ring = Self { keys: Vec::new(), powers, trust_root: None };
        let keys: Vec<TrustedKey> = keys.into_iter().collect();
        let persons = persons(keys.iter().map(|key| (key.key.id(), &key.actors)));
        for (key, person) in keys.into_iter().zip(persons) {
            let key_id = key.key.id();
            if let Some(other) = ring.find(&key_id) {
                return Err(KeyRingError::Key(other.name.clone(), key.name));
            }
            if ring.keys.iter().any(|other| other.key.name == key.name) {
                return Err(KeyRingError::Name(key.name));
            }
            let signer = Signer {
                name: key.name.clone(),
                key_id,
                roles: key.roles.clone(),
                person,
                scope: key.scope.clone(),
                life: key.life,
                may_lift: ring.has_power(&key.roles, Power::Lift),
            };
            ring.keys.push(Entry { key, signer: Arc::new(signer) });
        }
        Ok(ring)
    }

    /// Other keys with the same powers and the same trust root.
    ///
    /// # Errors
    /// If a name or a key occurs twice.
    pub fn with_keys(
        &self,
        keys: impl IntoIterator<Item = TrustedKey>,
    ) -> Result<Self, KeyRingError> {
        let ring = Self::with_powers(keys, self.powers.clone())?;
        Ok(Self { trust_root: self.trust_root.clone(), ..ring })
    }

    /// The same ring, which believes the certificates of this trust root. Without one the identities in it are nobody's.
    #[must_use]
    pub fn with_trust_root(self, root: TrustRoot) -> Self {
        Self { trust_root: Some(root), ..self }
    }

    /// Whose certificates are believed.
    pub fn trust_root(&self) -> Option<&TrustRoot> {
        self.trust_root.as_ref()
    }

    /// The key with this id.
    pub fn find(&self, id: &KeyId) -> Option<&TrustedKey> {
        self.entry(id).map(|entry| &entry.key)
    }

    fn entry(&self, id: &KeyId) -> Option<&Entry> {
        self.keys.iter().find(|entry| entry.signer.key_id == *id)
    }

    /// The key that a bundle's hint names. Never an identity: anybody may write its id.
    pub(crate) fn find_hint(&self, hint: &str) -> Option<(&VerifyingKey, &Arc<Signer>)> {
        let named = |entry: &&Entry| entry.signer.key_id.as_str() == hint;
        let entry = self.keys.iter().find(named)?;
        Some((entry.key.key.key()?, &entry.signer))
    }

    /// The identity whose certificate this is.
    pub(crate) fn identify(
        &self,
        certificate: &SignerCertificate,
    ) -> Result<&Arc<Signer>, Unidentified> {
        let (mut found, mut closest) = (Vec::new(), None);
        for Entry { key, signer } in &self.keys {
            let Credential::Identity(identity) = &key.key else { continue };
            match identity.check(certificate) {
                Ok(()) => found.push(signer),
                // Parts are compared in one order; whoever comes furthest differs least.
                Err(mismatch) => {
                    let further =
                        |other: &ClosestIdentity| mismatch.progress() > other.mismatch.progress();
                    if closest.as_ref().is_none_or(further) {
                        closest = Some(ClosestIdentity { name: key.name.clone(), mismatch });
                    }
                }
            }
        }
        match found[..] {
            [signer] => Ok(signer),
            [] => Err(Unidentified::Nobody(closest)),
            _ => {
                let names = found.iter().map(|signer| signer.name.clone());
                Err(Unidentified::Several(names.collect()))
            }
        }
    }

    /// The trusted keys, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &TrustedKey> {
        self.keys.iter().map(|entry| &entry.key)
    }

    /// Whether no key is trusted.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Who holds a key; `None` if it is not trusted.
    pub fn person(&self, id: &KeyId) -> Option<&Arc<Person>> {
        self.entry(id).map(|entry| &entry.signer.person)
    }

    /// Whether the end of some key has come.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.ended(now).next().is_some()
    }

    /// The keys whose end has come.
    pub(crate) fn ended(&self, now: Timestamp) -> impl Iterator<Item = (&Arc<Signer>, KeyEnd)> {
        self.keys.iter().filter_map(move |entry| Some((&entry.signer, entry.key.life.ended(now)?)))
    }

    /// What each role may do.
    pub fn powers(&self) -> &Powers {
        &self.powers
    }

    /// The roles that have a power.
    pub fn roles(&self, power: Power) -> impl Iterator<Item = &Role> {
        self.powers.get(&power).into_iter().flatten()
    }

    /// Whether a key with these roles has a power.
    pub fn has_power(&self, roles: &BTreeSet<Role>, power: Power) -> bool {
        self.roles(power).any(|role| roles.contains(role))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;

    fn trusted(name: &str, number: u8, roles: &[&str]) -> TrustedKey {
        TrustedKey {
            name: name.to_owned(),
            key: key(number).verifying_key().into(),
            roles: roles.iter().map(|role| Role::new(*role)).collect(),
            actors: BTreeSet::new(),
            scope: KeyScope::ANYTHING,
            life: KeyLife::UNLIMITED,
        }
    }

    #[test]
    fn one_key_is_one_person() {
        let ring = KeyRing::new([trusted("a", 1, &[]), trusted("b", 2, &[])]).unwrap();
        assert_eq!(ring.find(&key(2).verifying_key().id()).unwrap().name, "b");
        assert!(ring.find(&key(3).verifying_key().id()).is_none());
        assert!(!ring.is_empty() && KeyRing::default().is_empty());
        assert_eq!(
            KeyRing::new([trusted("a", 1, &[]), trusted("b", 1, &[])]).unwrap_err(),
            KeyRingError::Key("a".to_owned(), "b".to_owned())
        );
        assert_eq!(
            KeyRing::new([trusted("a", 1, &[]), trusted("a", 2, &[])]).unwrap_err(),
            KeyRingError::Name("a".to_owned())
        );
    }

    #[test]
    fn who_may_do_what() {
        use Power::{Build, Lift, Lock, OverrideGate, Promote, Test, Veto};
        let usual = KeyRing::new([
            trusted("ci", 1, &["builder", "tester", "promoter"]),
            trusted("lead", 2, &["release-manager", "break-glass"]),
        ])
        .unwrap();
        let veto_only_by_leads =
            Powers::from([(Veto, BTreeSet::from([Role::new("release-manager")]))]);
        let own = KeyRing::with_powers([], veto_only_by_leads).unwrap();
        let cases: [(&KeyRing, &str, &[Power]); 7] = [
            (&usual, "builder", &[Build]),
            (&usual, "tester", &[Test]),
            (&usual, "promoter", &[Promote, Veto, Lock]),
            (&usual, "release-manager", &[Veto, Lock, Lift]),
            (&usual, "break-glass", &[Veto, Lock, Lift, OverrideGate]),
            (&own, "release-manager", &[Veto]),
            (&own, "promoter", &[]),
        ];
        for (ring, role, want) in cases {
            let all = [Build, Test, Promote, Veto, Lock, Lift, OverrideGate];
            let roles = BTreeSet::from([Role::new(role)]);
            let got: Vec<Power> =
                all.into_iter().filter(|power| ring.has_power(&roles, *power)).collect();
            assert_eq!(got, want, "{role}");
        }
    }
}
