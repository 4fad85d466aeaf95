//! Login: every kind, how often it is done, and who gets to see it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use test_registry::{Account, Auth, Bearer, Config as RegistryConfig, Registry};
use verbatim_credentials::{Credential, Keychain};
use verbatim_oci::media_type;
use verbatim_registry::{Client, ErrorKind};

use crate::scripted::{ReceivedRequest, ScriptedRegistry, reply};
use crate::setup::{client, client_with, config, password, push_image, tagged};

const MANIFEST: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

fn account() -> Account {
    Account { username: "bot".into(), password: "pa?s:w~>".into() }
}

async fn registry(auth: Auth) -> Registry {
    let config = RegistryConfig { auth, ..RegistryConfig::default() };
    Registry::start(config).await.expect("a registry")
}

fn bearer(lifetime: Duration) -> Auth {
    Auth::Bearer(Bearer { account: account(), anonymous_pull: true, lifetime })
}

fn good() -> Credential {
    password("bot", "pa?s:w~>")
}

#[tokio::test]
async fn basic_login_is_shown_with_every_request_after_the_first() {
    let registry = registry(Auth::Basic(account())).await;
    let host = registry.host();
    let client = client_with(&host, good());
    push_image(&client, &tagged(&host, "v1"), "one").await;
    let refused = registry.seen().iter().filter(|seen| seen.status == 401).count();
    assert_eq!(refused, 1);
}

#[tokio::test]
async fn a_login_that_is_not_accepted_is_refused_at_once() {
    for auth in [Auth::Basic(account()), bearer(Duration::from_secs(60))] {
        let registry = registry(auth).await;
        let host = registry.host();
        let client = client_with(&host, password("bot", "wrong"));
        let error = client.resolve(&tagged(&host, "v1")).await.expect_err("a wrong password");
        let text = error.kind().to_string();
        assert!(text.starts_with("the login of `bot` is not accepted: 401"), "{error}: {text}");
        assert!(client.requests() <= 2, "{}", client.requests());
    }
}

#[tokio::test]
async fn one_token_serves_a_whole_push_and_everything_after() {
    let registry = registry(bearer(Duration::from_secs(60))).await;
    let host = registry.host();
    for credential in [good(), Credential::IdentityToken("pa?s:w~>".into())] {
        registry.forget_seen();
        let client = client_with(&host, credential.clone());
        let reference = tagged(&host, "v1");
        push_image(&client, &reference, "one").await;
        client.resolve(&reference).await.expect("a digest");
        let tokens =
            registry.seen().iter().filter(|seen| seen.target.starts_with("/token")).count();
        assert_eq!(tokens, 1, "{credential:?} {:?}", registry.seen());
    }
}

#[tokio::test]
async fn many_requests_at_once_fetch_one_token() {
    let registry = registry(bearer(Duration::from_secs(60))).await;
    let host = registry.host();
    let reference = tagged(&host, "v1");
    push_image(&client_with(&host, good()), &reference, "one").await;
    registry.forget_seen();
    let client = client_with(&host, good());
    let all = (0..20).map(|_| client.resolve(&reference));
    futures_util::future::try_join_all(all).await.expect("digests");
    let tokens = registry.seen().iter().filter(|seen| seen.target.starts_with("/token")).count();
    assert_eq!(tokens, 1);
}

#[tokio::test]
async fn everybody_may_pull_where_that_is_allowed_and_nobody_may_push() {
    let registry = registry(bearer(Duration::from_secs(60))).await;
    let host = registry.host();
    let reference = tagged(&host, "v1");
    let digest = push_image(&client_with(&host, good()), &reference, "one").await;
    let anonymous = client();
    assert_eq!(anonymous.resolve(&reference).await.expect("a digest").digest(), digest);
    // The request, its token, and the request again.
    assert_eq!(anonymous.requests(), 3);
    let error = anonymous.push_blob(&reference.repository, "new".into()).await.expect_err("no");
    assert!(matches!(error.kind(), ErrorKind::Unauthorized(_)), "{}", error.kind());
}

/// A registry and its token server in one, which takes each token once.
#[tokio::test]
async fn a_token_that_is_no_longer_accepted_is_replaced_once() {
    let issued = AtomicUsize::new(0);
    let server = ScriptedRegistry::start(move |arrived| {
        let host = arrived.headers["host"].to_str().expect("a host");
        if arrived.line.starts_with("GET /token") {
            let n = issued.fetch_add(1, Ordering::SeqCst) + 1;
            return reply(200, &[], format!(r#"{{"token":"t{n}","expires_in":3600}}"#));
        }
        let current = format!("Bearer t{}", issued.load(Ordering::SeqCst));
        let shown = arrived.headers.get("authorization").and_then(|value| value.to_str().ok());
        // `v2` is only for the second token, as if the first had been revoked meanwhile.
        let wants_second = arrived.line.ends_with("/v2") && current != "Bearer t2";
        if shown != Some(&current) || wants_second || arrived.line.ends_with("/never") {
            let challenge = format!(r#"Bearer realm="http://{host}/token",service="s""#);
            return reply(401, &[("www-authenticate", &challenge)], "");
        }
        reply(200, &[("content-type", media_type::OCI_INDEX)], MANIFEST)
    })
    .await;
    let client = client_with(&server.host, good());
    client.resolve(&tagged(&server.host, "v1")).await.expect("a digest");
    client.resolve(&tagged(&server.host, "v2")).await.expect("a digest with a new token");
    assert_eq!(server.lines().iter().filter(|line| line.contains("/token")).count(), 2);
    let error = client.resolve(&tagged(&server.host, "never")).await.expect_err("never");
    assert!(matches!(error.kind(), ErrorKind::LoginRefused { .. }));
    assert_eq!(server.lines().iter().filter(|line| line.contains("/token")).count(), 3);
}

fn shows_login(arrived: &[ReceivedRequest]) -> bool {
    arrived
        .iter()
        .any(|one| one.headers.contains_key("authorization") || one.body.contains("refresh_token"))
}

#[tokio::test]
async fn credentials_are_shown_to_the_registrys_own_token_server_only() {
    let thief = ScriptedRegistry::start(|_| reply(200, &[], r#"{"token":"t"}"#)).await;
    // Another address of this machine stands for another site.
    let realm = format!("http://{}/token", thief.host.replace("127.0.0.1", "localhost"));
    let challenge = format!(r#"Bearer realm="{realm}",service="s""#);
    let registry =
        ScriptedRegistry::start(move |arrived| match arrived.headers.get("authorization") {
            Some(_) => reply(200, &[("content-type", media_type::OCI_INDEX)], MANIFEST),
            None => reply(401, &[("www-authenticate", &challenge)], ""),
        })
        .await;
    let reference = tagged(&registry.host, "v1");
    for credential in [good(), Credential::IdentityToken("secret".into())] {
        let error = client_with(&registry.host, credential).resolve(&reference).await;
        let error = error.expect_err("another site");
        assert!(matches!(error.kind(), ErrorKind::RealmRefused(host) if host == "localhost"));
    }
    assert!(thief.lines().is_empty());
    // Without credentials there is nothing to steal.
    client().resolve(&reference).await.expect("an anonymous token");
    assert!(!shows_login(&thief.arrived()));
    let mut config = config();
    config.trusted_realms.insert("localhost".to_owned());
    let client = Client::new(config, Keychain::fixed(&registry.host, good())).expect("a client");
    client.resolve(&reference).await.expect("a trusted realm");
    assert!(shows_login(&thief.arrived()));
}

#[tokio::test]
async fn a_redirect_takes_no_login_along_and_cannot_ask_for_one() {
    let storage = ScriptedRegistry::start(|arrived| match arrived.line.as_str() {
        "GET /blob" => reply(200, &[], "content"),
        _ => reply(401, &[("www-authenticate", "Basic realm=\"storage\"")], ""),
    })
    .await;
    let address = storage.host.clone();
    let registry = ScriptedRegistry::start(move |arrived| {
        if !arrived.headers.contains_key("authorization") {
            return reply(401, &[("www-authenticate", "Basic realm=\"registry\"")], "");
        }
        let path = if arrived.line.contains("/good/") { "blob" } else { "locked" };
        reply(307, &[("location", &format!("http://{address}/{path}"))], "")
    })
    .await;
    let client = client_with(&registry.host, good());
    let blob = verbatim_oci::Descriptor::of("x", b"content");
    let repository = |name: &str| format!("{}/{name}/x", registry.host).parse().expect("a name");
    let read = client.blob(&repository("good"), &blob, 100).await.expect("the blob");
    assert_eq!(read, "content");
    let error = client.blob(&repository("locked"), &blob, 100).await.expect_err("locked");
    assert!(matches!(error.kind(), ErrorKind::Unauthorized(_)));
    assert_eq!(storage.lines(), ["GET /blob", "GET /locked"]);
    assert!(!shows_login(&storage.arrived()));
}

#[tokio::test]
async fn logins_that_are_not_known_are_named() {
    let check = async |challenge: &'static str, credential: Credential, want: &str| {
        let server =
            ScriptedRegistry::start(move |_| reply(401, &[("www-authenticate", challenge)], ""))
                .await;
        let client = client_with(&server.host, credential);
        let error = client.resolve(&tagged(&server.host, "v1")).await.expect_err("refused");
        assert_eq!(error.kind().to_string(), want);
    };
    let unsupported = "the registry wants an unsupported kind of login: ";
    check("Negotiate", good(), &format!("{unsupported}negotiate")).await;
    check(
        "Basic realm=x",
        Credential::IdentityToken("t".into()),
        &format!("{unsupported}a name and a password, but there is only an identity token"),
    )
    .await;
    check("Basic realm=x", Credential::Anonymous, "not logged in: 401 Unauthorized").await;
}

#[tokio::test]
async fn a_registry_token_is_shown_as_it_is() {
    let server = ScriptedRegistry::start(|arrived| {
        match arrived.headers.get("authorization").and_then(|value| value.to_str().ok()) {
            Some("Bearer tok") => reply(200, &[("content-type", media_type::OCI_INDEX)], MANIFEST),
            _ => reply(401, &[("www-authenticate", "Bearer realm=\"http://127.0.0.1:1/\"")], ""),
        }
    })
    .await;
    let client = client_with(&server.host, Credential::RegistryToken("tok".into()));
    client.resolve(&tagged(&server.host, "v1")).await.expect("a digest");
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn broken_credentials_are_told_and_not_skipped() {
    let server =
        ScriptedRegistry::start(|_| reply(401, &[("www-authenticate", "Basic realm=x")], "")).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.json");
    std::fs::write(&file, "{").expect("a file");
    let client = Client::new(config(), Keychain::from_file(&file)).expect("a client");
    let error = client.resolve(&tagged(&server.host, "v1")).await.expect_err("broken");
    assert!(matches!(error.kind(), ErrorKind::Credentials(_)));
}

/// A helper that is not there, as in a file that was copied from another machine, matters where a login is asked for.
#[tokio::test]
async fn a_missing_helper_matters_where_a_login_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.json");
    std::fs::write(&file, r#"{"credsStore":"verbatim-none"}"#).expect("a file");
    let client = || Client::new(config(), Keychain::from_file(&file)).expect("a client");
    let no_helper = "`docker-credential-verbatim-none` is not in the PATH";
    let refused = |error: verbatim_registry::Error| {
        let ErrorKind::NoUsableLogin { why, .. } = error.kind() else { panic!("{}", error.kind()) };
        assert!(why.to_string().contains(&file.display().to_string()), "{why}");
        let cause = std::error::Error::source(why).expect("a cause").to_string();
        assert_eq!(cause, no_helper);
    };
    // Nobody asks for a login.
    let open = registry(Auth::Anonymous).await;
    push_image(&client(), &tagged(&open.host(), "v1"), "one").await;
    // Everybody may read.
    let public = registry(bearer(Duration::from_secs(60))).await;
    let reference = tagged(&public.host(), "v1");
    push_image(&client_with(&public.host(), good()), &reference, "one").await;
    let mine = client();
    mine.resolve(&reference).await.expect("a digest");
    let absent = mine.find_manifest(&tagged(&public.host(), "none")).await.expect("an answer");
    assert!(absent.is_none());
    refused(mine.push_blob(&reference.repository, "new".into()).await.expect_err("no login"));
    let closed = registry(Auth::Basic(account())).await;
    refused(client().resolve(&tagged(&closed.host(), "v1")).await.expect_err("no login"));
    // A registry that hides what it does not show: with the login, it may be there.
    let hiding = ScriptedRegistry::start(|arrived| {
        let host = arrived.headers["host"].to_str().expect("a host");
        let challenge = format!(r#"Bearer realm="http://{host}/token",service="s""#);
        match arrived.headers.contains_key("authorization") {
            _ if arrived.line.contains("/token") => reply(200, &[], r#"{"token":"t"}"#),
            true => reply(404, &[], ""),
            false => reply(401, &[("www-authenticate", &challenge)], ""),
        }
    })
    .await;
    let mine = client();
    refused(mine.find_manifest(&tagged(&hiding.host, "v1")).await.expect_err("it may be there"));
    let repository = &tagged(&hiding.host, "v1").repository;
    let subject = verbatim_oci::Digest::of(b"subject");
    refused(mine.referrers(repository, &subject, None).await.expect_err("it may be there"));
}

/// Which login was refused, and that there is none, are told apart.
#[tokio::test]
async fn the_login_that_was_refused_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config.json");
    for (status, want) in [
        (401, "the login of `bot` from FILE, key `HOST` is not accepted: 401 Unauthorized"),
        (403, "not allowed: 403 Forbidden"),
    ] {
        let server = ScriptedRegistry::start(move |arrived| {
            match arrived.headers.contains_key("authorization") {
                true => reply(status, &[("www-authenticate", "Basic realm=x")], ""),
                false => reply(401, &[("www-authenticate", "Basic realm=x")], ""),
            }
        })
        .await;
        let host = &server.host;
        let entry = format!(r#"{{"auths":{{"{host}":{{"username":"bot","password":"wrong"}}}}}}"#);
        std::fs::write(&file, entry).expect("a file");
        let client = Client::new(config(), Keychain::from_file(&file)).expect("a client");
        let error = client.resolve(&tagged(host, "v1")).await.expect_err("refused");
        let named =
            |text: &str| text.replace("FILE", &file.display().to_string()).replace("HOST", host);
        assert_eq!(error.kind().to_string(), named(want));
        let login = (status == 403).then(|| named("`bot` from FILE, key `HOST`"));
        assert_eq!(error.login(), login.as_deref());
        let none = self::client().resolve(&tagged(host, "v1")).await.expect_err("no login");
        assert_eq!(none.kind().to_string(), "not logged in: 401 Unauthorized");
    }
}
