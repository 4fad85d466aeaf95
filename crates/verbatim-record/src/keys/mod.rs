//! Keys: reading, making and naming them, and which of them are trusted for what. Nothing here knows what they sign.

mod cosign;
mod key;
mod limits;
mod person;
mod ring;
#[cfg(test)]
mod wycheproof;

pub use key::{KeyError, KeyId, SigningKey, VerifyingKey};
pub use limits::{KeyEnd, KeyLife, KeyScope, OutOfScope};
pub use person::Person;
pub use ring::{KeyRing, KeyRingError, Power, Powers, Role, Signer, TrustedKey, usual_powers};
