//! Docker's `config.json` and Podman's `auth.json`: one format, read and searched.
//!
//! Pure: text in, a list of places out. `keychain.rs` reads the files, and `helper.rs` runs the helpers.
//!
//! Format: <https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties> and
//! <https://github.com/containers/image/blob/v5.36.0/docs/containers-auth.json.5.md>, which adds keys with a path.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};

use crate::{Credential, ErrorKind};

/// Under this key Docker stores the credential of its Hub, and asks helpers for it.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The name of Docker Hub in a reference.
const DOCKER_HUB: &str = "docker.io";

/// Some tools omit the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys of the file that are about credentials.
/// Go takes names in any case, and `null` for nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct DockerConfig {
    #[serde(alias = "Auths", deserialize_with = "filled_entries")]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(rename = "credHelpers", alias = "credhelpers", deserialize_with = "filled_entries")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore", alias = "credsstore")]
    creds_store: Option<String>,
}

/// One entry of `auths`. Which of the fields is filled depends on the program that wrote it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    #[serde(alias = "Auth")]
    auth: Option<SecretString>,
    #[serde(alias = "Username")]
    username: Option<String>,
    #[serde(alias = "Password")]
    password: Option<SecretString>,
    #[serde(alias = "identityToken", alias = "IdentityToken")]
    identitytoken: Option<SecretString>,
    #[serde(alias = "registryToken", alias = "RegistryToken")]
    registrytoken: Option<SecretString>,
}

/// A map, without the entries that are `null`.
fn filled_entries<'de, D, V>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    let entries: Option<BTreeMap<String, Option<V>>> = Option::deserialize(deserializer)?;
    let filled = entries.unwrap_or_default().into_iter();
    Ok(filled.filter_map(|(key, value)| Some((key, value?))).collect())
}

/// A place where a credential may be.
#[derive(Debug)]
pub(crate) enum CredentialPlace {
    /// An entry of the file itself.
    Entry {
        /// The key of the entry.
        key: String,
        credential: Result<Credential, ErrorKind>,
    },
    Helper {
        /// The name, without `docker-credential-`.
        name: String,
        /// The server to ask the helper for.
        server: String,
    },
}

impl DockerConfig {
    pub(crate) fn parse(text: &[u8]) -> Result<Self, ErrorKind> {
        // Some editors begin a file with a mark.
        let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// The `auths` alone, as `DOCKER_AUTH_CONFIG` is read.
    pub(crate) fn auths_only(self) -> Self {
        Self { auths: self.auths, ..Self::default() }
    }

    /// Where a credential for the repository `path` in `registry` may be: the helper of this registry, else the store
    /// of all registries, then the entry with the longest matching key. `docker login` leaves an empty entry next to a
    /// helper; empty entries are skipped.
    pub(crate) fn places(&self, registry: &str, path: &str) -> Vec<CredentialPlace> {
        let wanted = format!("{}/{path}", canonical_host(registry));
        let helper = longest_match(&self.cred_helpers, &wanted).map(|(_, name)| name);
        let mut places = Vec::new();
        if let Some(name) = helper.or(self.creds_store.as_ref()).filter(|name| !name.is_empty()) {
            places.push(CredentialPlace::Helper {
                name: name.clone(),
                server: helper_server(registry),
            });
        }
        let filled = self.auths.iter().filter(|(_, entry)| !entry.is_empty());
        if let Some((key, entry)) = longest_match(filled, &wanted) {
            places
                .push(CredentialPlace::Entry { key: key.clone(), credential: entry.credential() });
        }
        places
    }

    /// The registries in the file, named as in references.
    pub(crate) fn registries(&self) -> BTreeSet<String> {
        let host = |key: &String| {
            let key = canonical_key(key);
            key.split('/').next().unwrap_or_default().to_owned()
        };
        self.auths.keys().chain(self.cred_helpers.keys()).map(host).collect()
    }
}

impl AuthEntry {
    fn is_empty(&self) -> bool {
        let secrets = [&self.auth, &self.password, &self.identitytoken, &self.registrytoken];
        secrets.into_iter().all(|secret| filled(secret).is_none())
    }

    fn credential(&self) -> Result<Credential, ErrorKind> {
        if let Some(token) = filled(&self.registrytoken) {
            return Ok(Credential::RegistryToken(token.clone()));
        }
        if let Some(token) = filled(&self.identitytoken) {
            return Ok(Credential::IdentityToken(token.clone()));
        }
        let written = || self.username.is_some() && filled(&self.password).is_some();
        match filled(&self.auth).map(decode_auth) {
            Some(Err(_)) if written() => {}
            Some(decoded) => return decoded,
            None => {}
        }
        let password = self.password.clone().unwrap_or_default();
        Ok(Credential::Basic { username: self.username.clone().unwrap_or_default(), password })
    }
}

fn filled(secret: &Option<SecretString>) -> Option<&SecretString> {
    secret.as_ref().filter(|secret| !secret.expose_secret().is_empty())
}

fn decode_auth(auth: &SecretString) -> Result<Credential, ErrorKind> {
    // Lines that `base64` broke.
    let lines: String = auth.expose_secret().split_ascii_whitespace().collect();
    let lines = SecretString::from(lines);
    let bytes = BASE64.decode(lines.expose_secret()).map_err(|_| ErrorKind::Auth)?;
    let text = SecretString::from(String::from_utf8(bytes).map_err(|_| ErrorKind::Auth)?);
    let (username, password) = text.expose_secret().split_once(':').ok_or(ErrorKind::Auth)?;
    // Docker's own decoder also removes trailing NUL bytes.
    let password = password.trim_end_matches('\0').to_owned().into();
    Ok(Credential::Basic { username: username.to_owned(), password })
}

/// The entry whose key is the longest prefix of `wanted` (`host/path`), at a boundary between components.
fn longest_match<'a, V>(
    entries: impl IntoIterator<Item = (&'a String, &'a V)>,
    wanted: &str,
) -> Option<(&'a String, &'a V)> {
    let matching = |key: &str| {
        wanted.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    entries
        .into_iter()
        .map(|(key, value)| (canonical_key(key), key, value))
        .filter(|(canonical, _, _)| matching(canonical))
        .max_by_key(|(canonical, _, _)| canonical.len())
        .map(|(_, key, value)| (key, value))
}

/// The `host[:port][/path]` that a key means. Keys with a scheme are URLs of the API (`https://host/v1/`) and mean the
/// whole host; only keys without one may carry a path.
fn canonical_key(key: &str) -> String {
    let (rest, is_url) = match key.strip_prefix("https://").or(key.strip_prefix("http://")) {
        Some(rest) => (rest, true),
        None => (key, false),
    };
    let rest = rest.trim_end_matches('/');
    match rest.split_once('/') {
        Some((host, path)) if !is_url && !matches!(path, "v1" | "v2") => {
            format!("{}/{path}", canonical_host(host))
        }
        Some((host, _)) => canonical_host(host),
        None => canonical_host(rest),
    }
}

/// Host names ignore case, and Docker Hub has several.
fn canonical_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            DOCKER_HUB.to_owned()
        }
        _ => host,
    }
}

fn helper_server(registry: &str) -> String {
    if canonical_host(registry) == DOCKER_HUB {
        DOCKER_HUB_KEY.to_owned()
    } else {
        registry.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(places: Vec<CredentialPlace>) -> Vec<String> {
        let secret = |secret: &SecretString| secret.expose_secret().to_owned();
        places
            .into_iter()
            .map(|place| match place {
                CredentialPlace::Helper { name, server } => format!("helper {name} {server}"),
                CredentialPlace::Entry { key, credential } => match credential {
                    Ok(Credential::Basic { username, password }) => {
                        format!("{key} basic {username} {}", secret(&password))
                    }
                    Ok(Credential::IdentityToken(token)) => {
                        format!("{key} identity {}", secret(&token))
                    }
                    Ok(Credential::RegistryToken(token)) => {
                        format!("{key} bearer {}", secret(&token))
                    }
                    Ok(Credential::Anonymous) => format!("{key} anonymous"),
                    Err(error) => format!("{key} error {error}"),
                },
            })
            .collect()
    }

    #[track_caller]
    fn check(config: &str, registry: &str, path: &str, want: &[&str]) {
        let config = DockerConfig::parse(config.as_bytes()).unwrap();
        assert_eq!(show(config.places(registry, path)), want);
    }

    // `bot:pa:ss` and `bot:p`, once without padding.
    const AUTH: &str = "Ym90OnBhOnNz";
    const UNPADDED: &str = "Ym90OnA";

    #[test]
    fn every_spelling_of_docker_hub_is_found() {
        let keys = [
            "https://index.docker.io/v1/",
            "https://index.docker.io/v1",
            "https://index.docker.io/v2/",
            "index.docker.io",
            "docker.io",
            "https://docker.io",
            "registry-1.docker.io",
            "https://registry.hub.docker.com/v2/",
        ];
        for key in keys {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{AUTH}"}}}}}}"#);
            check(&config, "docker.io", "library/nginx", &[&format!("{key} basic bot pa:ss")]);
            check(&config, "quay.io", "a/b", &[]);
        }
    }

    #[test]
    fn every_kind_of_entry_is_read() {
        let check = |entry: &str, want: &[&str]| {
            let config = format!(r#"{{"auths":{{"h:5000":{entry}}},"HttpHeaders":{{}}}}"#);
            check(&config, "h:5000", "a", want);
        };
        check("{}", &[]);
        check(r#"{"auth":""}"#, &[]);
        check(r#"{"auth":null,"email":"x"}"#, &[]);
        check(&format!(r#"{{"auth":"{UNPADDED}"}}"#), &["h:5000 basic bot p"]);
        check(&format!(r#"{{"auth":"{UNPADDED}="}}"#), &["h:5000 basic bot p"]);
        check(r#"{"username":"u","password":"p"}"#, &["h:5000 basic u p"]);
        check(r#"{"auth":"MDA6","identitytoken":"T"}"#, &["h:5000 identity T"]);
        check(r#"{"registrytoken":"R"}"#, &["h:5000 bearer R"]);
        check("null", &[]);
        check(r#"{"auth":"Ym90On\nBhOnNz\n"}"#, &["h:5000 basic bot pa:ss"]);
        check(r#"{"auth":"Ym90OnBhOnNzAAAA"}"#, &["h:5000 basic bot pa:ss"]);
        check(r#"{"auth":"Ym90","username":"u","password":"p"}"#, &["h:5000 basic u p"]);
        check(r#"{"auth":"Ym90","identitytoken":"T"}"#, &["h:5000 identity T"]);
        check(r#"{"Username":"u","Password":"p"}"#, &["h:5000 basic u p"]);
        check(r#"{"identityToken":"T"}"#, &["h:5000 identity T"]);
        let bad = "h:5000 error `auth` is not the base64 form of `name:password`";
        check(r#"{"auth":"???"}"#, &[bad]);
        check(r#"{"auth":"Ym90"}"#, &[bad]);
    }

    #[test]
    fn the_longest_key_wins_at_a_boundary() {
        let config = r#"{"auths":{
            "quay.io":{"registrytoken":"host"},
            "quay.io/team":{"registrytoken":"team"},
            "quay.io/team/app":{"registrytoken":"app"},
            "https://h/v1/":{"registrytoken":"url"}}}"#;
        check(config, "quay.io", "other", &["quay.io bearer host"]);
        check(config, "quay.io", "teams/app", &["quay.io bearer host"]);
        check(config, "quay.io", "team/x", &["quay.io/team bearer team"]);
        check(config, "quay.io", "team/app", &["quay.io/team/app bearer app"]);
        check(config, "H", "x", &["https://h/v1/ bearer url"]);
    }

    #[test]
    fn every_form_of_a_file_is_read() {
        let basic = ["h basic bot pa:ss"];
        let entry = format!(r#"{{"h":{{"auth":"{AUTH}"}}}}"#);
        for config in [
            format!(r#"{{"auths":{entry}}}"#),
            format!("\u{feff}{{\"auths\":{entry}}}"),
            format!(r#"{{"auths":{entry},"credHelpers":null,"credsStore":null}}"#),
            format!(r#"{{"auths":{entry},"credHelpers":{{"h":""}},"credsStore":""}}"#),
            format!(r#"{{"auths":{entry},"credHelpers":{{"h":null}}}}"#),
            format!(r#"{{"auths":{entry},"HttpHeaders":null,"proxies":{{}},"plugins":[1]}}"#),
        ] {
            check(&config, "h", "x", &basic);
        }
        for config in ["", "{}", r#"{"auths":null}"#, r#"{"auths":{}}"#, r#"{"auths":{"h":null}}"#]
        {
            check(config, "h", "x", &[]);
        }
        check(r#"{"credsstore":"pass","auths":{"h":{}}}"#, "h", "x", &["helper pass h"]);
        for key in [
            "h:5000",
            "H:5000",
            "h:5000/",
            "http://h:5000",
            "https://h:5000",
            "https://h:5000/",
            "https://h:5000/v1/",
            "https://h:5000/v2/",
            "h:5000/v2/",
        ] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{AUTH}"}}}}}}"#);
            check(&config, "h:5000", "a/b", &[&format!("{key} basic bot pa:ss")]);
            check(&config, "h", "a/b", &[]);
            check(&config, "h:5001", "a/b", &[]);
        }
    }

    #[test]
    fn helpers_come_before_entries() {
        let config = r#"{"credsStore":"pass","credHelpers":{"gcr.io":"gcloud"},
            "auths":{"gcr.io":{},"h":{"registrytoken":"R"}}}"#;
        check(config, "gcr.io", "x", &["helper gcloud gcr.io"]);
        check(config, "h", "x", &["helper pass h", "h bearer R"]);
        check(config, "docker.io", "x", &["helper pass https://index.docker.io/v1/"]);
    }

    #[test]
    fn registries_are_named_as_in_references() {
        let config = r#"{"credHelpers":{"gcr.io":"gcloud"},
            "auths":{"https://index.docker.io/v1/":{},"quay.io/team":{}}}"#;
        let config = DockerConfig::parse(config.as_bytes()).unwrap();
        assert_eq!(Vec::from_iter(config.registries()), ["docker.io", "gcr.io", "quay.io"]);
    }

    #[test]
    fn a_syntax_error_has_a_position_and_no_secret() {
        let check = |text: &str, want: &str| {
            let error = DockerConfig::parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), want);
            assert!(!format!("{error:?}").contains("s3cr3t"));
        };
        check("{\n  s3cr3t", "not JSON at line 2, column 3");
        check(r#"{"auths":"s3cr3t"}"#, "unexpected value at line 1, column 17");
        assert!(DockerConfig::parse(b" \n").unwrap().registries().is_empty());
    }

    proptest! {
        #[test]
        fn no_input_panics(key in "[a-z:/.]{0,30}", auth in ".{0,20}", host in ".{0,10}") {
            let config = serde_json::json!({"auths": {key: {"auth": auth}}}).to_string();
            let _ = DockerConfig::parse(config.as_bytes()).unwrap().places(&host, "x");
        }
    }
}
