//! Who comes into a rig's Argo CD without an account: jobs of an imagined CI, through Dex. As Argo CD's documentation tells for
//! GitHub Actions and GitLab CI.

use serde_json::{Map, Value};

/// The parts that trust each other.
#[derive(Debug)]
pub(super) struct SingleSignOn {
    /// Argo CD's own URL: Dex signs in its name.
    pub(super) argocd: String,
    /// The URL of the identity provider.
    pub(super) identity: String,
}

impl SingleSignOn {
    /// What `argocd-cm` says about it.
    pub(super) fn settings(&self) -> Map<String, Value> {
        Map::from_iter([
            ("url".to_owned(), self.argocd.as_str().into()),
            ("dex.config".to_owned(), self.connectors().into()),
        ])
    }

    /// The one of GitHub is that of the documentation. GitLab's tokens have groups, which may stand in access rules; Dex
    /// lets in nobody else than who is of one of these.
    fn connectors(&self) -> String {
        let identity = &self.identity;
        format!(
            "connectors:
- type: oidc
  id: github-actions
  name: GitHub Actions
  config:
    issuer: {identity}/github
    scopes: [openid]
    userNameKey: sub
    insecureSkipEmailVerified: true
- type: oidc
  id: gitlab-ci
  name: GitLab CI
  config:
    issuer: {identity}/gitlab
    scopes: [openid]
    userNameKey: sub
    insecureSkipEmailVerified: true
    insecureEnableGroups: true
    claimMapping: {{groups: groups_direct}}
    allowedGroups: [example/deployers, example/visitors]
"
        )
    }
}

/// What jobs may do: by their subject, and by the group that they belong to. The argocd command line wants to read the
/// project, too.
pub(super) const POLICY: &str = "\
p, role:job, projects, get, *, allow
g, role:job, role:pipeline
g, repo:example/shop:ref:refs/heads/main, role:job
g, example/deployers, role:job
";
