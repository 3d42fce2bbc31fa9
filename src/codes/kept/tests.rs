//! Codes that work once: for whom, for how long, and how many.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

use passerby_actors::system::SystemEntropy;
use proptest::prelude::*;

use super::super::code::CODE_BYTES;
use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const NOW: ServiceTime = 315_360_000;
const LIMITS: Limits = Limits { lifetime_s: 120, most: 100, most_per_owner: 3 };

fn codes() -> Codes<&'static str, u32> {
    Codes::new(CodeKind::Transfer, LIMITS)
}

fn issue(codes: &Codes<&'static str, u32>, owner: &'static str, payload: u32, now: ServiceTime) -> Code {
    codes.issue(Some(owner), payload, now, &SystemEntropy::default()).unwrap()
}

#[test]
fn a_code_is_worth_something_once() {
    let codes = codes();
    let (one, two) = (issue(&codes, "a", 1, NOW), issue(&codes, "b", 2, NOW));
    assert_eq!(codes.redeem(two.text(), NOW), Some(2));
    assert_eq!(codes.redeem(two.text(), NOW), None);
    assert_eq!(codes.redeem(one.text(), NOW), Some(1));
    assert_eq!(codes.count(NOW), 0);
}

#[test]
fn of_many_that_redeem_it_at_once_one_gets_it() {
    let codes = Arc::new(codes());
    for round in 0..50 {
        let code = issue(&codes, "a", round, NOW).text().to_owned();
        let redeem = |codes: Arc<Codes<_, _>>, code: String| move || codes.redeem(&code, NOW);
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(redeem(Arc::clone(&codes), code.clone()))).collect();
        let won: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(won, [round]);
    }
}

#[test]
fn it_is_worth_nothing_from_its_last_second_on() {
    let codes = codes();
    for (age_s, worth) in [(0, Some(7)), (119, Some(7)), (120, None), (121, None)] {
        let code = issue(&codes, "a", 7, NOW);
        assert_eq!(codes.redeem(code.text(), NOW + age_s), worth, "{age_s} s");
    }
}

#[test]
fn one_too_many_ends_the_owners_oldest_and_no_one_elses() {
    let codes = codes();
    let other = issue(&codes, "b", 99, NOW);
    let own: Vec<_> = (0..4).map(|number| issue(&codes, "a", number, NOW)).collect();
    assert_eq!(codes.redeem(own[0].text(), NOW), None);
    assert_eq!(codes.redeem(own[2].text(), NOW), Some(2));
    issue(&codes, "a", 4, NOW);
    assert_eq!(codes.redeem(own[1].text(), NOW), Some(1), "there was room");
    codes.end_all_of(&"a");
    assert_eq!(codes.redeem(own[3].text(), NOW), None);
    assert_eq!(codes.redeem(other.text(), NOW), Some(99));
}

#[test]
fn when_there_are_too_many_no_more_are_given_out_until_some_have_ended() {
    let codes: Codes<(), u32> = Codes::new(CodeKind::OidcState, LIMITS);
    let issue = |now| codes.issue(None, 1, now, &SystemEntropy::default());
    let first = issue(NOW).unwrap();
    for _ in 1..LIMITS.most {
        issue(NOW + 1).unwrap();
    }
    assert_eq!(issue(NOW + 1).err(), Some(Full));
    assert_eq!(codes.redeem(first.text(), NOW + 1), Some(1));
    assert!(issue(NOW + 2).is_ok());
    assert_eq!(issue(NOW + 2).err(), Some(Full));
    assert!(issue(NOW + 121).is_ok(), "those of the first second have expired");
    assert_eq!(codes.count(NOW + 121), 2);
}

#[test]
fn a_code_of_one_kind_is_worth_nothing_as_a_different_one() {
    for kind in CodeKind::ALL {
        let (code, hash) = Code::new(kind, &SystemEntropy::default());
        for other in CodeKind::ALL {
            assert_eq!(hash.verify(other, code.text()), other == kind, "{kind:?} {other:?}");
            let disguised = code.text().replace(kind.prefix(), other.prefix());
            assert_eq!(hash.verify(other, &disguised), other == kind, "{kind:?} {other:?}");
        }
    }
}

#[test]
fn what_is_not_the_code_does_not_pass() {
    let (code, hash) = Code::new(CodeKind::Reset, &SystemEntropy::default());
    let text = code.text();
    assert!(hash.verify(CodeKind::Reset, text));
    assert!(CodeHash::from_bytes(*hash.as_bytes()).verify(CodeKind::Reset, text));
    for at in 0..text.len() {
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(!hash.verify(CodeKind::Reset, std::str::from_utf8(&bytes).unwrap()), "{at}");
    }
    for other in ["", "psbr_", &text[1..], &text[..text.len() - 1], &format!("{text}A"), &format!("{text}=")] {
        assert!(!hash.verify(CodeKind::Reset, other), "{other}");
    }
}

/// S1: random, at least 128 bits, no fixed bit, never the same.
#[test]
fn codes_are_random_in_every_bit() {
    let entropy = SystemEntropy::default();
    let (mut ones, mut zeros, mut seen) = ([0_u8; CODE_BYTES], [0_u8; CODE_BYTES], HashSet::new());
    for _ in 0..10_000 {
        let (code, hash) = Code::new(CodeKind::Login, &entropy);
        let bytes = URL_SAFE_NO_PAD.decode(code.text().strip_prefix("psbl_").unwrap()).unwrap();
        for (at, byte) in bytes.iter().enumerate() {
            ones[at] |= byte;
            zeros[at] |= !byte;
        }
        assert!(seen.insert(hash));
    }
    assert_eq!((ones, zeros), ([0xff; CODE_BYTES], [0xff; CODE_BYTES]));
}

#[test]
fn a_code_is_never_shown() {
    let codes = codes();
    let code = issue(&codes, "a", 1, NOW);
    assert_eq!(format!("{code:?}"), "Code(..)");
    let shown = format!("{codes:?}");
    assert!(shown.starts_with("Codes { kind: Transfer") && !shown.contains(&code.text()[5..]), "{shown}");
}

proptest! {
    /// Against a plain list of (owner, payload, expiry, text).
    #[test]
    fn they_do_what_a_plain_list_does(steps in prop::collection::vec((0..4_u8, 0..4_usize, 0..50_u32), 1..200)) {
        const OWNERS: [&str; 4] = ["a", "b", "c", "d"];
        let limits = Limits { lifetime_s: 120, most: 8, most_per_owner: 3 };
        let codes = Codes::new(CodeKind::Transfer, limits);
        let (mut list, mut given) = (Vec::<(&str, u32, ServiceTime, String)>::new(), Vec::new());
        let mut now = NOW;
        for (number, (what, which, passed_s)) in (0..).zip(steps) {
            now += passed_s;
            list.retain(|(_, _, expires_at, _)| *expires_at > now);
            let owner = OWNERS[which];
            match what {
                0 | 1 => {
                    let issued = codes.issue(Some(owner), number, now, &SystemEntropy::default());
                    if list.iter().filter(|code| code.0 == owner).count() == limits.most_per_owner {
                        let oldest = list.iter().position(|code| code.0 == owner).unwrap();
                        list.remove(oldest);
                    }
                    prop_assert_eq!(issued.is_ok(), list.len() < limits.most);
                    if let Ok(code) = issued {
                        list.push((owner, number, now + limits.lifetime_s, code.text().to_owned()));
                        given.push(code);
                    }
                }
                2 => {
                    let Some(code) = given.get(which) else { continue };
                    let held = list.iter().position(|entry| entry.3 == code.text());
                    let worth = held.map(|at| list.remove(at).1);
                    prop_assert_eq!(codes.redeem(code.text(), now), worth);
                    given.remove(which);
                }
                _ => {
                    codes.end_all_of(&owner);
                    list.retain(|code| code.0 != owner);
                }
            }
            prop_assert_eq!(codes.count(now), list.len());
            let inner = codes.inner.lock();
            prop_assert_eq!(inner.by_number.len(), list.len());
            prop_assert_eq!(inner.by_owner.values().map(VecDeque::len).sum::<usize>(), list.len());
            prop_assert!(inner.by_owner.values().all(|numbers| !numbers.is_empty()));
        }
    }
}
