//! Which token servers may get the credentials of a registry. Pure.
//!
//! The registry itself names the token server, in an answer that needs no login. A hijacked registry, or a proxy in
//! front of it, could collect passwords that way.

use std::collections::BTreeSet;

use url::{Host, Url};

/// Domains whose customers each get a name below them, and which the public suffix list lacks. Two hosts there can have
/// different owners.
const SHARED: [&str; 6] =
    ["azurecr.io", "amazonaws.com", "pkg.dev", "jfrog.io", "nip.io", "sslip.io"];

/// Whether `realm` may get the credentials for `registry`: the same host, a host of the same site, or one in `trusted`.
pub(crate) fn may_see_credentials(registry: &Url, realm: &Url, trusted: &BTreeSet<String>) -> bool {
    let (Some(Host::Domain(registry)), Some(Host::Domain(realm_host))) =
        (registry.host(), realm.host())
    else {
        return registry.host() == realm.host() || is_trusted(realm, trusted);
    };
    registry == realm_host || same_site(registry, realm_host) || is_trusted(realm, trusted)
}

fn is_trusted(realm: &Url, trusted: &BTreeSet<String>) -> bool {
    let Some(host) = realm.host_str() else { return false };
    let with_port = realm.port().map(|port| format!("{host}:{port}"));
    trusted.contains(host) || with_port.is_some_and(|text| trusted.contains(&text))
}

/// `registry.example.com` and `auth.example.com`, `registry-1.docker.io` and `auth.docker.io`,
/// `registry.gitlab.com` and `gitlab.com`: the registry's parent domain is the site, unless by the
/// [public suffix list](https://publicsuffix.org) anybody can register a name there. What is below the registry itself
/// (`example.com` and `auth.example.com`) is its own, by the same rule.
fn same_site(registry: &str, realm: &str) -> bool {
    let is_within = |host: &str, domain: &str| {
        host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let is_owned = |site: &str| psl::domain_str(site).is_some();
    let is_below = is_owned(registry) && !SHARED.contains(&registry) && is_within(realm, registry);
    let Some((_, site)) = registry.split_once('.') else { return false };
    let is_shared = SHARED.iter().any(|shared| is_within(site, shared));
    is_below || (is_owned(site) && !is_shared && is_within(realm, site))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stay_on_the_site() {
        let trusted =
            BTreeSet::from(["sso.example.net".to_owned(), "sso.example.net:9000".to_owned()]);
        let cases = [
            ("https://registry-1.docker.io/v2/", "https://auth.docker.io/token", true),
            ("https://ghcr.io/v2/", "https://ghcr.io/token", true),
            ("https://ghcr.io/v2/", "https://evil.io/token", false),
            ("https://registry.gitlab.com/v2/", "https://gitlab.com/jwt/auth", true),
            ("https://registry.example.com/v2/", "https://gitlab.example.com/jwt/auth", true),
            ("https://registry.example.com/v2/", "https://example.com.evil.io/", false),
            ("https://registry.example.com/v2/", "https://notexample.com/", false),
            ("https://r.eu.example.com/v2/", "https://auth.eu.example.com/", true),
            ("https://r.eu.example.com/v2/", "https://auth.us.example.com/", false),
            ("https://example.co.uk/v2/", "https://evil.co.uk/", false),
            ("https://r.example.co.uk/v2/", "https://auth.example.co.uk/", true),
            ("https://registry.abc.io/v2/", "https://auth.abc.io/", true),
            ("https://registry.psi.ch/v2/", "https://gitlab.psi.ch/jwt/auth", true),
            ("https://docker.n8n.io/v2/", "https://auth.n8n.io/", true),
            ("https://registry.co.example.br/v2/", "https://auth.co.example.br/", true),
            ("https://r.ac.be/v2/", "https://evil.ac.be/", false),
            ("https://example.com/v2/", "https://auth.example.com/", true),
            ("https://example.co.uk/v2/", "https://auth.example.co.uk/", true),
            ("https://co.uk/v2/", "https://evil.co.uk/", false),
            ("https://github.io/v2/", "https://evil.github.io/", false),
            ("https://jfrog.io/v2/", "https://evil.jfrog.io/", false),
            ("https://mine.jfrog.io/v2/", "https://auth.mine.jfrog.io/", true),
            ("https://REGISTRY.example.com/v2/", "https://auth.EXAMPLE.com/", true),
            ("https://mine.fly.dev/v2/", "https://mine.fly.dev/token", true),
            ("https://mine.fly.dev/v2/", "https://evil.fly.dev/token", false),
            ("https://r.mine.fly.dev/v2/", "https://auth.mine.fly.dev/token", true),
            ("https://mine.github.io/v2/", "https://evil.github.io/", false),
            ("https://mine.up.railway.app/v2/", "https://evil.up.railway.app/", false),
            ("https://mine-x.a.run.app/v2/", "https://evil-y.a.run.app/", false),
            ("https://mine.gov.in/v2/", "https://evil.gov.in/", false),
            ("https://mine.jfrog.io/v2/", "https://evil.jfrog.io/", false),
            ("https://10.0.0.1.nip.io/v2/", "https://10.0.0.2.nip.io/", false),
            ("https://hub.corp.internal/v2/", "https://auth.corp.internal/", true),
            ("https://hub.internal/v2/", "https://auth.internal/", false),
            ("https://registry.example.com./v2/", "https://auth.example.com./", true),
            ("https://mine.azurecr.io/v2/", "https://mine.azurecr.io/oauth2/token", true),
            ("https://mine.azurecr.io/v2/", "https://yours.azurecr.io/oauth2/token", false),
            (
                "https://1.dkr.ecr.eu-west-1.amazonaws.com/v2/",
                "https://2.dkr.ecr.eu-west-1.amazonaws.com/",
                false,
            ),
            ("https://r.example.com/v2/", "https://sso.example.net/auth", true),
            ("https://r.example.com/v2/", "https://sso.example.net:9000/auth", true),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token", true),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.2:5001/token", false),
            ("http://[::1]:5000/v2/", "http://[::1]:5001/token", true),
            ("http://localhost:5000/v2/", "http://localhost:5001/token", true),
            ("http://localhost:5000/v2/", "https://evil.io/token", false),
            ("https://10.0.0.1/v2/", "https://evil.io/token", false),
        ];
        for (registry, realm, want) in cases {
            let (registry, realm) = (registry.parse().unwrap(), realm.parse().unwrap());
            assert_eq!(
                may_see_credentials(&registry, &realm, &trusted),
                want,
                "{registry} {realm}"
            );
        }
    }
}
