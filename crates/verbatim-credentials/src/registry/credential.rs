//! What a registry is shown. How it is shown, and to whom, is the business of the registry client.

use secrecy::SecretString;

/// A credential for one registry. Its `Debug` form shows no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credential {
    /// None: what anybody may read.
    Anonymous,
    /// A name and a password, or a token in the place of a password.
    Basic {
        /// The name, which is no secret.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// An OAuth 2 refresh token, which the registry's token server turns into an access token. Azure's registry and
    /// Docker Desktop hand these out.
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
