//! Addresses at which something else answers than was thought, and certificates that are named. Each server is a few lines.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which lints do not take for tests")]

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use verbatim_argocd::cli::failure;
use verbatim_argocd::{Client, Config, Error, server_url};
use verbatim_http::RetryPolicy;

/// Reads the head of a request, or a part of a handshake, and answers this.
async fn answer(mut connection: impl AsyncRead + AsyncWrite + Unpin, text: &[u8]) {
    let mut seen = [0; 4096];
    let _ = connection.read(&mut seen).await;
    let _ = connection.write_all(text).await;
    let _ = connection.shutdown().await;
}

/// A server that answers everything like this, over TLS or not. Its port.
async fn serve(text: &'static str, tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => answer(connection, text.as_bytes()).await,
                    Some(tls) => {
                        if let Ok(connection) = tls.accept(connection).await {
                            answer(connection, text.as_bytes()).await;
                        }
                    }
                }
            });
        }
    });
    port
}

fn config(scheme: &str, port: u16) -> Config {
    let mut config =
        Config::new(server_url(&format!("{scheme}://127.0.0.1:{port}"), false, None).unwrap());
    config.retry = RetryPolicy { attempts: 1, ..config.retry };
    config.timeouts.read = Duration::from_secs(20);
    config
}

async fn ask(config: Config) -> Result<String, Error> {
    let version = Client::new(config)?.version().await?;
    Ok(version.version)
}

#[tokio::test]
async fn what_answers_at_a_wrong_address_is_named() {
    // The alert of a TLS server that got no handshake.
    let alert = "\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{46}";
    let go = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
    let plain = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    let method =
        "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n";
    let path = "HTTP/1.1 302 Found\r\nLocation: /oauth2/start?rd=%2Fapi%2Fversion\r\nContent-Length: 0\r\n\r\n";
    let cases = [
        ("https", plain, 2, "the server speaks plain HTTP on this port", "use http://"),
        ("http", go, 2, "the server does not speak plain HTTP on this port", "use https://"),
        ("http", alert, 2, "the server does not speak plain HTTP on this port", "use https://"),
        ("http", method, 7, "status 405", "GET, POST, PUT, PATCH and DELETE"),
        ("http", path, 7, "/oauth2/start", "--header"),
    ];
    for (scheme, text, status, words, hint) in cases {
        let failed = failure(ask(config(scheme, serve(text, None).await)).await.unwrap_err());
        let told = failed.whole();
        assert!(told.contains(words), "{text:?}: {told}");
        assert!(failed.hints.iter().any(|one| one.contains(hint)), "{text:?}: {:?}", failed.hints);
        assert_eq!(failed.status.code(), status, "{text:?}");
    }
    // Nobody is there.
    let failed = failure(ask(config("http", 1)).await.unwrap_err());
    assert_eq!(failed.status.code(), 3);
}

/// As `openssl req -x509` makes it: it signed itself, and says that it is an authority.
fn certificate() -> (String, TlsAcceptor) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let made = params.self_signed(&key).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    (made.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_good_if_it_is_named() {
    let version = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{\"Version\":\"v3.6.1\"}";
    let (pem, tls) = certificate();
    let port = serve(version, Some(tls)).await;
    let named = Config { ca: Some(pem.clone().into_bytes()), ..config("https", port) };
    assert_eq!(ask(named.clone()).await.unwrap(), "v3.6.1");
    // With a client certificate of one's own, too.
    let own = rcgen::generate_simple_self_signed(["me".to_owned()]).unwrap();
    let own = format!("{}{}", own.cert.pem(), own.signing_key.serialize_pem());
    assert_eq!(ask(Config { client_cert: Some(own.into()), ..named }).await.unwrap(), "v3.6.1");
    let (another, _) = certificate();
    let failed = ask(Config { ca: Some(another.into_bytes()), ..config("https", port) }).await;
    assert_eq!(failure(failed.unwrap_err()).status.code(), 7);
    assert_eq!(failure(ask(config("https", port)).await.unwrap_err()).status.code(), 7);
    let empty = Config { ca: Some(b"\n".to_vec()), ..config("https", port) };
    assert_eq!(failure(ask(empty).await.unwrap_err()).status.code(), 2);
}
