//! Keys: reading, making and naming them, identities in their place, and which of them are trusted for what. Nothing here
//! knows what they sign.

mod cosign;
mod identity;
mod key;
mod limits;
mod pem;
mod person;
mod ring;
mod ring_provider;
mod trust_root;
#[cfg(test)]
mod wycheproof;

pub use identity::{ClosestIdentity, Identity, IdentityMismatch, IdentitySubject};
pub use key::{KeyError, KeyId, SigningKey, VerifyingKey};
pub use limits::{KeyEnd, KeyLife, KeyScope, OutOfScope};
pub use pem::relined_keys;
pub use person::Person;
pub use ring::{
    Credential, KeyRing, KeyRingError, Power, Powers, Role, Signer, TrustedKey, usual_powers,
};
pub use trust_root::{TrustRoot, TrustRootError};

pub(crate) use identity::SignerCertificate;
pub(crate) use ring::Unidentified;
