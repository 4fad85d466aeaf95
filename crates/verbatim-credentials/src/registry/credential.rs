//! A credential for a registry. The registry client decides how to send it, and to which server.

use secrecy::SecretString;

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
