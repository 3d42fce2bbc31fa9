//! How much work each may have done, and which requests wait.

use std::collections::BTreeMap;

use passerby_actors::domain::KeyRule;
use passerby_actors::testkit::ManualClock;

use super::*;

fn work(on: bool, work_all: u32) -> (DataWork, Arc<ManualClock>) {
    let clock = ManualClock::new();
    let rules = DataRules {
        max_document: 16_384,
        max_bytes: None,
        merge: KeyRule::Deep,
        merge_keys: BTreeMap::new(),
        token_fields: vec![],
        work: 100,
        work_burst: 200,
        work_all,
    };
    (DataWork::new(&rules, on, clock.clone()), clock)
}

const KIB: usize = 1024;

fn user(n: u8) -> Whose {
    Whose::of("127.0.0.1".parse().unwrap(), UserId::from_bytes([n; 16]))
}

#[test]
fn each_has_a_burst_then_waits_its_turn_and_is_refused_when_that_takes_too_long() {
    let (work, clock) = work(true, 1 << 20);
    let spend = |whose| work.spend(whose, 50 * KIB + FREE).map(|wait| wait.as_millis());
    assert_eq!((0..5).map(|_| spend(user(1))).collect::<Vec<_>>(), [Ok(0), Ok(0), Ok(0), Ok(0), Ok(0)]);
    assert_eq!(
        [spend(user(1)), spend(user(1)), spend(user(1))],
        [Ok(500), Ok(1000), Err(OverBudget { why: Why::TooMany, retry_after_s: 1 })]
    );
    assert_eq!(work.refused(), 1);
    assert!((0..1000).all(|_| work.spend(user(1), FREE).is_ok()), "what is small is free");
    clock.advance_s(1);
    assert_eq!(spend(user(1)), Ok(500));
    assert_eq!(spend(user(2)), Ok(0), "others have their own");
    let networks = |n: u8| Whose::of(format!("203.0.113.{n}").parse().unwrap(), UserId::from_bytes([9; 16]));
    assert_ne!(networks(1), networks(2));
    assert_eq!(networks(1), Whose::of("203.0.113.1".parse().unwrap(), UserId::from_bytes([8; 16])));
}

#[test]
fn all_together_have_a_rate_too_and_off_is_off() {
    let (work, clock) = work(true, 1000);
    let spend = |n| work.spend(user(n), 100 * KIB + FREE).map(|wait| wait.as_millis());
    let waits: Vec<_> = (0..12).map(spend).collect();
    assert_eq!(waits[..4], [Ok(0), Ok(0), Ok(75), Ok(175)]);
    assert_eq!(waits[11], Ok(975));
    assert_eq!(spend(12), Err(OverBudget { why: Why::TooMany, retry_after_s: 1 }));
    clock.advance_s(10);
    work.owe(user(20), 1000 * KIB);
    assert_eq!(spend(21), Ok(875), "what telling others takes is counted as well");
    assert_eq!(spend(20), Err(OverBudget { why: Why::TooMany, retry_after_s: 7 }), "above all for who caused it");
    let (off, _) = self::work(false, 1000);
    assert!((0..1000).all(|_| off.spend(user(1), 1000 * KIB) == Ok(Duration::ZERO)));
}

/// S35: the owner of all /64s of a /48, or all addresses of a /24, has half of the work and not all of it.
#[test]
fn a_block_of_many_networks_leaves_others_their_work() {
    for block in ["2001:db8:7:{:x}00::1", "203.0.113.{}"] {
        let (work, clock) = work(true, 1000);
        let from = |address: String| Whose::of(address.parse().unwrap(), UserId::from_bytes([9; 16]));
        let of_block = |n: u64| from(block.replace("{:x}", &format!("{n:x}")).replace("{}", &n.to_string()));
        let spend = |whose| work.spend(whose, 10 * KIB + FREE).map(|wait| wait.as_millis());
        let (mut taken, mut longest) = (0, 0);
        for round in 0..100 {
            taken += (0..250).filter(|n| spend(of_block(*n)).is_ok()).count();
            longest = longest.max(spend(user(round)).expect("others have their turn"));
            clock.advance_us(100_000);
        }
        assert!(longest < 1000, "{block}: {longest} ms");
        // half a second's burst of 1000 KiB, and so much ahead as may wait, then half of each second
        assert!((500..=605).contains(&taken), "{block}: {taken} of 10 KiB");
        let elsewhere = from("198.51.100.1".to_owned());
        assert_eq!(spend(elsewhere), Ok(0), "{block}: what the block did is done");

        work.owe(of_block(251), 4000 * KIB);
        clock.advance_us(4_100_000);
        assert!(spend(of_block(252)).is_err(), "{block}: what its networks owe, the block owes");
        assert_eq!(spend(elsewhere), Ok(0), "{block}");
    }
}

#[test]
fn memory_is_bounded_however_many_come() {
    let (work, clock) = work(true, 1000);
    for n in 0..MOST_KNOWN as u128 + 1000 {
        clock.advance_us(10);
        assert!(work.spend(Whose::User(UserId::from_bytes(n.to_be_bytes())), FREE + 1).is_ok());
    }
    assert!(work.promised.lock().of.len() <= MOST_KNOWN + 1);
}
