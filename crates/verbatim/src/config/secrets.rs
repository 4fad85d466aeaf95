//! Which variables let somebody act as the pipeline, by their names. Pure.

use super::is_token_variable;

/// Variables that hold such a secret.
const SECRETS: [&str; 6] = [
    "VERBATIM_KEY",
    "COSIGN_PASSWORD",
    "DOCKER_AUTH_CONFIG",
    "GITLAB_OIDC_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
];

/// Variables that say where one is.
const WAYS: [&str; 4] =
    ["VERBATIM_KEY_FILE", "VERBATIM_SIGNER", "ACTIONS_ID_TOKEN_REQUEST_URL", "KUBECONFIG"];

/// Whether a variable holds a secret of ours, of Argo CD, of a registry or of the CI system.
pub(crate) fn holds_secret(name: &str) -> bool {
    SECRETS.contains(&name) || is_token_variable(name)
}

/// Whether a variable holds such a secret, or says where it is.
pub(crate) fn is_secret(name: &str) -> bool {
    holds_secret(name) || WAYS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_the_ways_to_them_are_known() {
        for name in ["VERBATIM_KEY", "ARGOCD_AUTH_TOKEN", "ARGOCD_EU_TOKEN"] {
            assert!(is_secret(name) && holds_secret(name), "{name}");
        }
        assert!(is_secret("KUBECONFIG") && !holds_secret("KUBECONFIG"));
        for name in ["PATH", "ARGOCD_SERVER", "VERBATIM_ENVIRONMENT", "MY_TOKEN"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
