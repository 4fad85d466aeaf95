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
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::keys::SigningKey;

    /// What is between two texts, everywhere in a source.
    fn all_between<'a>(source: &'a str, before: &str, after: &str) -> Vec<&'a str> {
        let parts = source.split(before).skip(1);
        parts.map(|part| part.split_once(after).unwrap().0).collect()
    }

    fn bytes_of(decimal: &str) -> [u8; 32] {
        let mut bytes = [0_u8; 32];
        for digit in decimal.bytes() {
            let mut carry = u16::from(digit - b'0');
            for byte in bytes.iter_mut().rev() {
                carry += u16::from(*byte) * 10;
                *byte = carry.to_le_bytes()[0];
                carry >>= 8;
            }
        }
        bytes
    }

    /// The tests of the implementation in Go: encodings, and the vector of the protocol document with its key and its
    /// signature, of which the nonce comes from key and message.
    #[test]
    fn the_vectors_of_the_implementation_in_go() {
        let Some(vectors) = needs::service(needs::Service::Vectors) else { return };
        let source = Path::new(&vectors).join("dsse/dsse/sign_test.go");
        let source = fs::read_to_string(source).unwrap();
        let encoded = all_between(&source, "var want = []byte(\"", "\")");
        let (http, hello) = ("http://example.com/HelloWorld", "hello world");
        let texts = [("", ""), (http, hello), (http, "ಠ")];
        assert_eq!(
            encoded,
            texts.map(|(kind, text)| String::from_utf8(pae(kind, text.as_bytes())).unwrap())
        );

        let secrets = all_between(&source, "d.SetString(\"", "\"");
        let signatures = all_between(&source, "Sig:   \"", "\"");
        let ([secret], [signature]) = (&secrets[..], &signatures[..]) else {
            panic!("{secrets:?}")
        };
        let key = SigningKey::generate(|bytes| {
            bytes.copy_from_slice(&bytes_of(secret));
            Ok::<_, std::convert::Infallible>(())
        });
        let (key, message) = (key.unwrap(), pae(http, hello.as_bytes()));
        let read = key.verifying_key().signature_in(&message, signature.as_bytes());
        assert_eq!(read, Some(key.sign_der(&message)));
        assert_eq!(key.verifying_key().signature_in(hello.as_bytes(), signature.as_bytes()), None);
    }

    #[test]
    fn a_length_is_counted_in_bytes() {
        assert_eq!(pae("é", "ü".as_bytes()), "DSSEv1 2 é 2 ü".as_bytes());
    }
}
