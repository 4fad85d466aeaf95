//! A door before the rig: it speaks TLS, and lets in only who shows a certificate of the test's own authority. What comes
//! through goes on as it is, HTTP of both versions.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// An open door; dropping it closes it.
pub(crate) struct Door {
    /// `127.0.0.1:PORT`
    pub(crate) address: String,
    task: JoinHandle<()>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Door {
    /// Opens a door to `upstream`. What a client needs comes into `folder`: `ca.pem`, `client.pem`, `client.key`.
    pub(crate) async fn open(upstream: SocketAddr, folder: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let (server, client) = (KeyPair::generate()?, KeyPair::generate()?);
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let of_server = params.signed_by(&server, &authority)?;
        let mut params = CertificateParams::new(vec!["pipeline".to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let of_client = params.signed_by(&client, &authority)?;
        std::fs::write(folder.join("ca.pem"), authority.pem())?;
        std::fs::write(folder.join("client.pem"), of_client.pem())?;
        std::fs::write(folder.join("client.key"), client.serialize_pem())?;

        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(server.serialize_der()));
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![of_server.der().clone()], key)?;
        // gRPC comes over the one, REST over the other.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr().context("the door has no address")?.to_string();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut inside = match acceptor.accept(stream).into_fallible().await {
                        Ok(inside) => inside,
                        Err((_, mut stream)) => {
                            // With what it has sent already unread, the client would not read why it is not let in.
                            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                            return;
                        }
                    };
                    let Ok(mut outside) = TcpStream::connect(upstream).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
                });
            }
        });
        Ok(Self { address, task })
    }
}
