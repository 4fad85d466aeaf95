//! DSSE v1: the bytes that a signature covers. <https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md>

/// Payload type of in-toto statements, the only one that this project signs and accepts.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The pre-authentication encoding: type and payload with their lengths, so that no two pairs give the same bytes.
/// This is what is signed, also by an external signer.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of the DSSE protocol document.
    #[test]
    fn the_vector_of_the_specification() {
        assert_eq!(
            pae("http://example.com/HelloWorld", b"hello world"),
            b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
        );
    }

    #[test]
    fn a_length_is_counted_in_bytes() {
        assert_eq!(pae("é", "ü".as_bytes()), "DSSEv1 2 é 2 ü".as_bytes());
    }
}
