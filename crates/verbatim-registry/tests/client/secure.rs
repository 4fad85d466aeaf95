//! TLS: whose certificate is trusted, and what is said if it is not.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use verbatim_credentials::Keychain;
use verbatim_oci::Digest;
use verbatim_registry::{Client, Config, ErrorKind};

use crate::scripted::{ScriptedRegistry, reply};
use crate::setup::{config, tagged};

const MANIFEST: &str = r#"{"schemaVersion":2,"manifests":[]}"#;

/// A server with a certificate of its own; ends with this value.
struct TlsRegistry {
    host: String,
    certificate: Vec<u8>,
    task: JoinHandle<()>,
}

impl Drop for TlsRegistry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TlsRegistry {
    async fn start() -> Self {
        Self::answering(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{MANIFEST}",
            MANIFEST.len()
        ))
        .await
    }

    async fn redirecting(target: &str) -> Self {
        Self::answering(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {target}\r\n\
             content-length: 0\r\nconnection: close\r\n\r\n"
        ))
        .await
    }

    async fn answering(answer: String) -> Self {
        let made =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], PrivateKeyDer::from(key))
            .expect("a key that fits");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust us ends the handshake.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { host, certificate: made.cert.pem().into_bytes(), task }
    }
}

fn client(config: Config) -> Client {
    Client::new(config, Keychain::anonymous()).expect("a client")
}

#[tokio::test]
async fn a_certificate_is_trusted_if_it_is_named() {
    let server = TlsRegistry::start().await;
    let reference = tagged(&server.host, "v1");
    let config = Config { tls_on_loopback: true, ..config() };
    let error = client(config.clone()).resolve(&reference).await.expect_err("not trusted");
    let ErrorKind::Tls(cause) = error.kind() else { panic!("{:?}", error.kind()) };
    assert!(cause.to_string().contains("certificate"), "{cause}");
    assert!(!error.is_retryable());
    let trusting = Config { extra_roots: server.certificate.clone(), ..config };
    let resolved = client(trusting).resolve(&reference).await.expect("a digest");
    assert_eq!(resolved.digest(), Digest::of(MANIFEST.as_bytes()));
}

/// Without a word in the settings: TLS first, then plain HTTP, and the registry is asked once which it is.
#[tokio::test]
async fn a_registry_on_this_machine_speaks_tls_or_does_not() {
    let tls = TlsRegistry::start().await;
    let trusting = || Config { extra_roots: tls.certificate.clone(), ..config() };
    let digest = Digest::of(MANIFEST.as_bytes());
    let resolved = client(trusting()).resolve(&tagged(&tls.host, "v1")).await.expect("a digest");
    assert_eq!(resolved.digest(), digest);
    // A certificate that is not trusted does not lead to plain HTTP.
    let error = client(config()).resolve(&tagged(&tls.host, "v1")).await.expect_err("not trusted");
    assert!(matches!(error.kind(), ErrorKind::Tls(_)), "{:?}", error.kind());
    assert!(error.url().starts_with("https://"), "{error}");
    let plain = ScriptedRegistry::start(|_| {
        reply(200, &[("content-type", "application/vnd.oci.image.index.v1+json")], MANIFEST)
    })
    .await;
    let local = client(trusting());
    for _ in 0..3 {
        let resolved = local.resolve(&tagged(&plain.host, "v1")).await.expect("a digest");
        assert_eq!(resolved.digest(), digest);
    }
    assert_eq!((plain.lines().len(), local.requests()), (3, 3), "no request to find out");
    // Named for plain HTTP, nothing is asked.
    let named = Config { plain_http: [tls.host.clone()].into(), ..trusting() };
    let error = client(named).resolve(&tagged(&tls.host, "v1")).await;
    assert!(error.expect_err("plain HTTP to TLS").url().starts_with("http://"));
}

/// A server that is silent, hangs up, or speaks something else than TLS is spoken to in plain HTTP.
#[tokio::test]
async fn whoever_does_not_answer_a_handshake_speaks_plain_http() {
    for first in [None, Some(&b""[..]), Some(b"HTTP/1.1 400 Bad Request\r\n\r\n")] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let host = listener.local_addr().expect("an address").to_string();
        let server = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap_or_default();
                if request.starts_with(b"GET ") {
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.oci.image.index.v1+json\r\n\
                         content-length: {}\r\nconnection: close\r\n\r\n{MANIFEST}",
                        MANIFEST.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                    continue;
                }
                assert!(length > 0);
                match first {
                    None => open.push(stream),
                    Some(bytes) => drop(stream.write_all(bytes).await),
                }
            }
        });
        let resolved = client(config()).resolve(&tagged(&host, "v1")).await.expect("a digest");
        assert_eq!(resolved.digest(), Digest::of(MANIFEST.as_bytes()), "{first:?}");
        server.abort();
    }
}

#[tokio::test]
async fn a_server_without_tls_is_named_as_such() {
    // As Go's server answers what it takes for a broken request.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ =
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    let config = Config { tls_on_loopback: true, ..config() };
    let error = client(config).resolve(&tagged(&host, "v1")).await.expect_err("no TLS");
    server.abort();
    assert!(matches!(error.kind(), ErrorKind::NotTls), "{:?}", error.kind());
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn nobody_is_led_from_tls_to_plain_http() {
    let plain = ScriptedRegistry::start(|_| reply(200, &[], MANIFEST)).await;
    let made = TlsRegistry::redirecting(&format!("http://{}/x", plain.host)).await;
    let config =
        Config { tls_on_loopback: true, extra_roots: made.certificate.clone(), ..config() };
    let error = client(config).resolve(&tagged(&made.host, "v1")).await.expect_err("refused");
    assert!(
        matches!(error.kind(), ErrorKind::PlainHttpRefused(url) if url.as_str() == format!("http://{}/x", plain.host)),
        "{:?}",
        error.kind()
    );
    assert!(plain.lines().is_empty());
}

#[test]
fn additional_certificates_have_to_be_pem() {
    let config = Config {
        extra_roots: b"-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n".to_vec(),
        ..config()
    };
    let error = Client::new(config, Keychain::anonymous()).expect_err("no PEM");
    assert!(matches!(error.kind(), ErrorKind::Config(_)));
    // An empty file is no way to trust nothing more.
    for empty in [&b""[..], b"\n", b"no certificate"] {
        let error = super::setup::config().trust(empty).expect_err("no certificate");
        assert!(error.to_string().contains("no certificate"), "{error}");
    }
}
