//! TLS with ring, and the certificates that are trusted: those of the system, and some more.
//!
//! The system's certificates are read when the first server shows one: that takes some milliseconds, and a server in plain
//! HTTP never needs them. No provider is installed for the process: libraries that are used side by side may differ.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// Why additional certificates cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// The bytes are no PEM.
    #[error("the additional certificates are not PEM")]
    Malformed,
    /// There are bytes, and no certificate in them.
    #[error("there is no certificate in the PEM of the additional certificates")]
    Empty,
    /// The TLS library has no cipher for its own protocol versions.
    #[error("TLS cannot be set up: {0}")]
    Library(String),
}

/// The settings of TLS, with `extra_roots` (PEM, or nothing) trusted besides the system's certificates. HTTP/2 is
/// offered, and HTTP/1.1.
///
/// # Errors
///
/// If `extra_roots` is not empty, and holds no certificate in PEM.
pub fn client_config(extra_roots: &[u8]) -> Result<ClientConfig, RootsError> {
    let roots = CertificateDer::pem_slice_iter(extra_roots)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| RootsError::Malformed)?;
    if roots.is_empty() && !extra_roots.is_empty() {
        return Err(RootsError::Empty);
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = SystemVerifier {
        provider: Arc::clone(&provider),
        extra_roots: roots,
        verifier: OnceLock::new(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| RootsError::Library(error.to_string()))?
        .dangerous()
        // It only puts off the making of the platform's own verifier, and then does what that one says.
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The verifier of the platform, made on first use.
#[derive(Debug)]
struct SystemVerifier {
    provider: Arc<CryptoProvider>,
    extra_roots: Vec<CertificateDer<'static>>,
    verifier: OnceLock<Result<Verifier, Error>>,
}

impl SystemVerifier {
    fn get(&self) -> Result<&Verifier, Error> {
        let make = || {
            let roots = self.extra_roots.iter().cloned();
            Verifier::new_with_extra_roots(roots, Arc::clone(&self.provider))
        };
        self.verifier.get_or_init(make).as_ref().map_err(Clone::clone)
    }
}

impl ServerCertVerifier for SystemVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.get()?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additional_roots_are_certificates_in_pem() {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let malformed = "-----BEGIN CERTIFICATE-----\n???\n-----END CERTIFICATE-----\n";
        let cases = [
            ("", None),
            (&certificate, None),
            (malformed, Some(RootsError::Malformed)),
            (&key, Some(RootsError::Empty)),
            ("not PEM at all", Some(RootsError::Empty)),
        ];
        for (pem, want) in cases {
            assert_eq!(client_config(pem.as_bytes()).err(), want, "{pem}");
        }
    }
}
