//! A credential for a registry. The registry client decides how to send it, and to which server.

use std::fmt;

use secrecy::SecretString;

use crate::Error;

/// A credential for one registry. Its `Debug` form shows no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// No credential, for public content.
    Anonymous,
    /// A name and a password, or a token instead of a password.
    Basic {
        /// The name, which is no secret.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// An OAuth 2 refresh token, which the registry's token server turns into an access token. Azure's registry and
    /// Docker Desktop issue them.
    IdentityToken(SecretString),
    /// An access token that is sent to the registry as it is.
    RegistryToken(SecretString),
}

/// A credential for a repository, and where it is from.
#[derive(Debug)]
pub struct FoundLogin {
    /// The credential; anonymous if no source has one.
    pub credential: Credential,
    /// Where it is from, for messages: the file and the key, or the helper. `None` if it was handed over.
    pub origin: Option<String>,
    /// Why the place that was meant to have one cannot be used, if no other has one. It matters as soon as the registry asks
    /// for a login, and not before.
    pub unusable: Option<Error>,
}

impl fmt::Display for FoundLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.credential {
            Credential::Anonymous => f.write_str("nobody")?,
            Credential::Basic { username, .. } => write!(f, "`{username}`")?,
            Credential::IdentityToken(_) | Credential::RegistryToken(_) => {
                f.write_str("the token")?
            }
        }
        match &self.origin {
            Some(origin) => write!(f, " from {origin}"),
            None => Ok(()),
        }
    }
}

impl Credential {
    /// Whether this is no credential at all.
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let secrets = [
            Credential::Basic { username: "bot".into(), password: "s3cr3t".into() },
            Credential::IdentityToken("s3cr3t".into()),
            Credential::RegistryToken("s3cr3t".into()),
        ];
        for secret in secrets {
            assert!(!format!("{secret:?}").contains("s3cr3t"));
        }
    }
}
