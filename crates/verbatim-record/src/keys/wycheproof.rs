//! Signatures that verifiers have got wrong: the ECDSA P-256 tests of project Wycheproof.
//!
//! <https://github.com/C2SP/wycheproof>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use wycheproof::TestResult;
use wycheproof::ecdsa::{TestName, TestSet};

use super::key::VerifyingKey;

/// Runs all tests of a set; returns how many signatures were to be accepted and to be refused.
#[track_caller]
fn check(set: TestName, accepts: impl Fn(&VerifyingKey, &[u8], &[u8]) -> bool) -> (usize, usize) {
    let (mut valid, mut invalid) = (0, 0);
    for group in TestSet::load(set).unwrap().test_groups {
        let key = VerifyingKey::from_pem(&group.pem).unwrap();
        for test in group.tests {
            let want = match test.result {
                TestResult::Valid => true,
                TestResult::Invalid => false,
                TestResult::Acceptable => panic!("test {} has no one answer", test.tc_id),
            };
            let got = accepts(&key, &test.msg, &test.sig);
            assert_eq!(got, want, "{set:?} {}: {} {:?}", test.tc_id, test.comment, test.flags);
            *if want { &mut valid } else { &mut invalid } += 1;
        }
    }
    (valid, invalid)
}

#[test]
fn only_a_right_signature_of_a_record_is_accepted() {
    let counts = check(TestName::EcdsaSecp256r1Sha256, VerifyingKey::accepts);
    assert_eq!(counts, (174, 310));
}

/// The answers of a signing command: `r` and `s` after each other, as they are and in base64.
#[test]
fn no_answer_of_a_signer_passes_that_is_no_signature() {
    for encoded in [false, true] {
        let counts = check(TestName::EcdsaSecp256r1Sha256P1363, |key, message, signature| {
            let answer = match encoded {
                true => BASE64.encode(signature).into_bytes(),
                false => signature.to_vec(),
            };
            let found = key.signature_in(message, &answer);
            found.is_some_and(|found| key.accepts(message, &found))
        });
        assert_eq!(counts, (173, 89));
    }
}
