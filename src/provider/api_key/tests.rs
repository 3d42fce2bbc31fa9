//! What is a key and what is not, and that none is shown.

use std::collections::HashSet;

use passerby_actors::system::SystemEntropy;

use super::*;

#[test]
fn a_key_is_recognised_and_its_hash_is_the_same_each_time() {
    let mut seen = HashSet::new();
    let mut characters = vec![HashSet::new(); SECRET];
    for _ in 0..2000 {
        let key = ApiKey::new(&SystemEntropy::default());
        assert_eq!(key.text().len(), 64);
        assert_eq!(ApiKeyHash::parse(key.text()), Some(key.hash()));
        assert_eq!(ApiKeyHash::from_bytes(*key.hash().as_bytes()), key.hash());
        assert!(seen.insert(key.hash()));
        let secret = &key.text().as_bytes()[PREFIX.len()..PREFIX.len() + SECRET];
        for (position, character) in characters.iter_mut().zip(secret) {
            position.insert(*character);
        }
    }
    assert!(characters.iter().all(|position| position.len() == 62), "every character can be everywhere");
}

/// Scanners are told this format, so it may not change by accident. Computed with Python's hashlib.
#[test]
fn the_format_is_fixed() {
    struct Counting;
    impl Entropy for Counting {
        fn fill(&self, out: &mut [u8]) {
            for (number, byte) in (244_u8..=255).chain(0..).zip(out) {
                *byte = number;
            }
        }
    }
    let key = ApiKey::new(&Counting);
    assert_eq!(key.text(), "psb_wxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefwxyz01231YQk2i");
}

#[test]
fn one_wrong_character_anywhere_makes_it_no_key() {
    let key = ApiKey::new(&SystemEntropy::default());
    let text = key.text();
    for at in 0..text.len() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
        assert_eq!(ApiKeyHash::parse(std::str::from_utf8(&bytes).unwrap()), None, "{at}");
    }
    let multibyte = format!("{PREFIX}{}", "é".repeat(30));
    for other in ["", PREFIX, &text[1..], &text[..63], &format!("{text}0"), &multibyte] {
        assert_eq!(ApiKeyHash::parse(other), None, "{other}");
    }
}

#[test]
fn names_are_as_app_services_wants_them() {
    let longest = "a".repeat(LONGEST_NAME);
    for name in ["a", "My_Key-1", "0", longest.as_str()] {
        assert_eq!(check_name(name), Ok(()), "{name}");
    }
    let too_long = "a".repeat(LONGEST_NAME + 1);
    for name in ["", " ", "my key", "ключ", "a.b", "a\n", "a/b", too_long.as_str()] {
        assert_eq!(check_name(name), Err(NameError), "{name:?}");
    }
}

#[test]
fn a_key_is_never_shown() {
    assert_eq!(format!("{:?}", ApiKey::new(&SystemEntropy::default())), "ApiKey(..)");
}
