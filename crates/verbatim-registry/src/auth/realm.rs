//! Which token server may be shown the credentials of a registry. Pure.
//!
//! The registry itself names the token server, in an answer that needs no login. A registry that was taken over, or a
//! proxy before it, could so collect passwords at a place of its choice.

use std::collections::BTreeSet;

use url::{Host, Url};

/// Below these anybody gets a name: two hosts there have nothing to do with each other.
const SHARED: [&str; 6] =
    ["azurecr.io", "amazonaws.com", "pkg.dev", "github.io", "cloudfront.net", "run.app"];

/// Whether `realm` may be shown credentials for `registry`: it is the same host, or a host of the same site, or named
/// in `trusted`.
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
/// `registry.gitlab.com` and `gitlab.com`: the registry's parent domain is the site.
fn same_site(registry: &str, realm: &str) -> bool {
    let Some((_, site)) = registry.split_once('.') else { return false };
    let labels: Vec<&str> = site.split('.').collect();
    let is_public = match labels.as_slice() {
        // `example.com` alone is a site, its parent `com` is not.
        [] | [_] => true,
        // `co.uk`, `com.au`, `ac.jp`.
        [second, top] => top.len() == 2 && second.len() <= 3,
        _ => false,
    };
    let is_shared =
        SHARED.iter().any(|shared| site == *shared || site.ends_with(&format!(".{shared}")));
    !is_public
        && !is_shared
        && (realm == site || realm.strip_suffix(site).is_some_and(|rest| rest.ends_with('.')))
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
