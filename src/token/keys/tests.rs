//! Keys: how they are created, stored and told apart.

use std::collections::HashSet;

use passerby_actors::system::SystemEntropy;

use super::*;
use crate::token::testing::Repeatable;

fn hmac_key(secret: Vec<u8>) -> Result<Key, KeyError> {
    Key::from_secret(KeyId([1; 8]), KeyUse::Refresh, Algorithm::HS256, 0, secret)
}

/// S1: a million keys, no id or secret twice, and no bit of them that never changes.
#[test]
fn secrets_are_unpredictable() {
    let entropy = SystemEntropy::default();
    let (mut seen, mut ids) = (HashSet::new(), HashSet::new());
    let (mut ones, mut zeros) = ([0_u8; 40], [0_u8; 40]);
    for _ in 0..1_000_000 {
        let key = Key::generate(KeyUse::Cookie, Algorithm::HS256, &entropy, 0).unwrap();
        for (at, byte) in key.id.0.iter().chain(&key.secret).enumerate() {
            ones[at] |= byte;
            zeros[at] |= !byte;
        }
        assert!(seen.insert(key.secret));
        assert!(ids.insert(key.id));
    }
    assert_eq!((ones, zeros), ([255; 40], [255; 40]));
}

/// S28: a secret of less than 256 bits, or one that is no random value, is refused.
#[test]
fn weak_secrets_are_refused() {
    let good: Vec<u8> = (0..32).collect();
    assert!(hmac_key(good.clone()).is_ok());
    for secret in [vec![], good[..31].to_vec(), vec![0; 32], vec![0x41; 64]] {
        assert!(matches!(hmac_key(secret), Err(KeyError::Bad { .. })));
    }
    let zeros = Ed25519KeyPair::from_seed_unchecked(&[0; 32]).unwrap().to_pkcs8v1().unwrap();
    let ed = |secret: &[u8]| {
        Key::from_secret(KeyId([1; 8]), KeyUse::Access, Algorithm::EdDSA, 0, secret.to_vec()).map(|_| ())
    };
    assert!(matches!(ed(zeros.as_ref()), Err(KeyError::Bad { .. })));
    assert!(matches!(ed(&good), Err(KeyError::Bad { .. })));
}

/// The key file holds these bytes, so they must go on being read.
#[test]
fn a_p256_key_is_stored_as_pkcs8() {
    let key = Key::generate(KeyUse::Access, Algorithm::ES256, &Repeatable::default(), 0).unwrap();
    let hex: String = key.secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420cd2662154e6d76b2b2b92e70c0cac3cc\
            f534f9b74eb5b89819ec509083d00a50a14403420004defc3a4fdbc1a1ff65c4b30c5a3f42e5d5c4c58fa83065642f31288f4d4c\
            934e22d659d9bc2a518514de4f96a56047855b41a23f5413304c509cdc0fca6e70e2";
    assert_eq!(hex, golden);
    let again = Key::from_secret(key.id, KeyUse::Access, Algorithm::ES256, 0, key.secret.clone()).unwrap();
    assert_eq!(again.public(), key.public());
    let mut out = [0; MAX_SIGNATURE];
    assert!(again.verify(b"text", key.sign(b"text", &mut out)));
    assert!(!again.verify(b"Text", &out));
    let mut cut = key.secret.clone();
    cut.pop();
    for bad in [vec![], (0..32).collect(), cut] {
        let refused = Key::from_secret(key.id, KeyUse::Access, Algorithm::ES256, 0, bad);
        assert!(matches!(refused, Err(KeyError::Bad { .. })));
    }
    let uniform = p256_pair(&[1; 32]).unwrap();
    assert!(Key::from_secret(key.id, KeyUse::Access, Algorithm::ES256, 0, uniform).is_err());
    // nought and the order of the group are no private keys
    assert!(p256_pair(&[0; 32]).is_none() && p256_pair(&[255; 32]).is_none());
}

/// S28: two keys never share a secret, so no token of one use can pass for one of another use.
#[test]
fn a_secret_serves_one_key() {
    let make = |id, purpose| {
        let secret = (0..32).collect();
        let key = Key::from_secret(KeyId([id; 8]), purpose, Algorithm::HS256, 0, secret);
        (Arc::new(key.unwrap()), KeyState::Signing)
    };
    let keys = [make(1, KeyUse::Access), make(2, KeyUse::Refresh), make(3, KeyUse::Cookie)];
    assert!(matches!(KeyRing::new(&keys), Err(KeyError::Bad { .. })));
}

/// S24: only access keys may be asymmetric, so a public key is never taken for an HMAC secret.
#[test]
fn refresh_and_cookie_keys_are_hmac() {
    for purpose in [KeyUse::Refresh, KeyUse::Cookie] {
        for algorithm in [Algorithm::EdDSA, Algorithm::ES256] {
            assert!(Key::generate(purpose, algorithm, &Repeatable::default(), 0).is_err());
        }
    }
}

/// S25: a key id is 16 hexadecimal digits in one spelling.
#[test]
fn a_key_id_has_one_spelling() {
    let id = KeyId([0, 1, 2, 3, 0xfc, 0xfd, 0xfe, 0xff]);
    assert_eq!(id.to_string(), "00010203fcfdfeff");
    assert_eq!(KeyId::parse("00010203fcfdfeff"), Some(id));
    for text in ["", "00010203FCFDFEFF", "00010203fcfdfef", "+0010203fcfdfeff", "../../etc/passwd", "é0010203fcfdfef"]
    {
        assert_eq!(KeyId::parse(text), None, "{text}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let key = hmac_key((100..132).collect()).unwrap();
    assert_eq!(format!("{key:?}"), "refresh HS256 0101010101010101");
}
