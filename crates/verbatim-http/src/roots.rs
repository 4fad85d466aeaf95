//! TLS with ring, and the certificates that are trusted: those of the system, and some more.
//!
//! The system's certificates are read when the first server shows one: that takes some milliseconds, and a server in plain
//! HTTP never needs them. No provider is installed for the process: libraries that are used side by side may differ.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

/// Why additional certificates cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootsError {
    /// The bytes are no PEM.
    #[error("the additional certificates are not PEM")]
    Malformed,
    /// There is no certificate in them.
    #[error("there is no certificate in the PEM of the additional certificates")]
    Empty,
    /// One certificate in the binary form.
    #[error(
        "the certificate is in DER and not in PEM: convert it with `openssl x509 -inform der -in FILE -out FILE.pem`"
    )]
    Der,
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
    let roots = match extra_roots {
        [] => Vec::new(),
        pem => read(pem)?,
    };
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

/// Checks the content of one file of additional certificates. Nothing of a file that was named would be trusted nothing of,
/// silently.
///
/// # Errors
///
/// If it holds no certificate in PEM.
pub fn check_roots(pem: &[u8]) -> Result<(), RootsError> {
    read(pem).map(drop)
}

fn read(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    // A sequence with a long length: no text begins so.
    if pem.starts_with(&[0x30, 0x82]) {
        return Err(RootsError::Der);
    }
    let roots = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match roots.map_err(|_| RootsError::Malformed)? {
        roots if roots.is_empty() => Err(RootsError::Empty),
        roots => Ok(roots),
    }
}

/// The verifier of the platform, made on first use.
#[derive(Debug)]
struct SystemVerifier {
    provider: Arc<CryptoProvider>,
    extra_roots: Vec<CertificateDer<'static>>,
    verifier: OnceLock<Result<Verifier, Error>>,
}

/// Whether all that speaks against a certificate is that it is an authority, as those are that `openssl req -x509` makes. It is
/// found after the check that it is valid now, see `check_issuer_independent_properties` in `verify_cert.rs` of
/// rustls-webpki 0.103. Go takes such a certificate if exactly it is trusted.
fn is_its_own_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
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
        let verified =
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(error) if self.extra_roots.contains(end_entity) && is_its_own_authority(&error) => {
                // Its name is all that is left to check.
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
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
        // Of a file that was named, something must be trusted.
        assert_eq!(check_roots(b""), Err(RootsError::Empty));
        assert_eq!(check_roots(b"\n"), Err(RootsError::Empty));
        assert_eq!(check_roots(made.cert.der()), Err(RootsError::Der));
        assert_eq!(check_roots(format!("# ours\r\n{certificate}").as_bytes()), Ok(()));
    }

    #[test]
    fn a_certificate_that_is_trusted_itself_is_good() {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_800_000_000));
        let make = |host: &str, is_ca: IsCa, last_year: i32| {
            let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
            params.is_ca = is_ca;
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(last_year, 1, 1);
            let key = KeyPair::generate().unwrap();
            params.self_signed(&key).unwrap().der().clone()
        };
        let authority = IsCa::Ca(BasicConstraints::Unconstrained);
        let check = |trusted: &CertificateDer<'static>, shown: &CertificateDer<'_>| {
            let verifier = SystemVerifier {
                provider: Arc::new(ring::default_provider()),
                extra_roots: vec![trusted.clone()],
                verifier: OnceLock::new(),
            };
            verifier.verify_server_cert(shown, &[], &name, &[], now).is_ok()
        };
        for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa, authority] {
            let good = make("127.0.0.1", is_ca, 2040);
            assert!(check(&good, &good), "{is_ca:?}");
            let another = make("127.0.0.1", is_ca, 2040);
            assert!(!check(&good, &another), "another one, {is_ca:?}");
            let of_another_host = make("10.0.0.1", is_ca, 2040);
            assert!(!check(&of_another_host, &of_another_host), "another host, {is_ca:?}");
            let expired = make("127.0.0.1", is_ca, 2021);
            assert!(!check(&expired, &expired), "expired, {is_ca:?}");
        }
    }
}
