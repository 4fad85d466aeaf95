//! TLS for a server whose certificates are named, as argocd's `--server-crt` names them. Nothing is sent here.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use secrecy::{ExposeSecret, SecretString};

/// Settings that trust these certificates besides the system's. A server's own certificate is good as well, also one that
/// `openssl req -x509` made, which says that it is an authority.
pub(super) fn trusting(
    pem: &[u8],
    client_cert: Option<&SecretString>,
) -> Result<ClientConfig, String> {
    verbatim_http::check_roots(pem).map_err(|error| error.to_string())?;
    let mut config = verbatim_http::client_config(pem).map_err(|error| error.to_string())?;
    // Over HTTP/2 the server takes everything for gRPC.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if let Some(pem) = client_cert {
        let unusable = || "the client certificate with its key cannot be read as PEM".to_owned();
        let key = identity(pem.expose_secret().as_bytes()).ok_or_else(unusable)?;
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(key));
    }
    Ok(config)
}

fn identity(pem: &[u8]) -> Option<CertifiedKey> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?;
    let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
    CertifiedKey::from_der(chain, key, &ring::default_provider()).ok()
}
