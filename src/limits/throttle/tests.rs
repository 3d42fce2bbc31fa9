//! Which guesses are tried, and which wait for how long.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use passerby_actors::system::SystemEntropy;
use proptest::prelude::*;

use super::table::TRUST_S;
use super::*;

const NOW: ServiceTime = 315_360_000;
const VICTIM: Option<(&str, &str)> = Some(("local-userpass", "victim@example.test"));

fn throttle(tiers: Tiers, capacity: usize) -> Throttle {
    Throttle::new(tiers, capacity, &SystemEntropy::default())
}

fn host(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + number).into()
}

/// A failure at the first moment at which it is let in; answers that moment.
fn fail(throttle: &Throttle, identity: Option<(&str, &str)>, from: IpAddr, now: ServiceTime) -> ServiceTime {
    match throttle.admit(identity, from, now) {
        Ok(_) => now,
        Err(Throttled { retry_after_s }) => {
            let then = now + retry_after_s;
            let _failed = throttle.admit(identity, from, then).unwrap();
            then
        }
    }
}

#[test]
fn five_failures_are_free_then_each_doubles_the_wait_up_to_15_minutes() {
    let throttle = throttle(Tiers::LOGIN, 1000);
    let (mut now, mut waits) = (NOW, vec![]);
    for _ in 0..18 {
        let then = fail(&throttle, VICTIM, host(1), now);
        waits.push(then - now);
        now = then;
    }
    // one failure is forgiven every 15 minutes, so the wait before the last doubling is seen once more
    assert_eq!(waits[..16], [0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]);
    assert!(waits[16..].iter().all(|wait| (512..=900).contains(wait)), "{waits:?}");
}

#[test]
fn knocking_while_waiting_does_not_prolong_the_wait() {
    let throttle = throttle(Tiers::LOGIN, 1000);
    let mut now = NOW;
    for _ in 0..12 {
        now = fail(&throttle, VICTIM, host(1), now);
    }
    let Throttled { retry_after_s } = throttle.admit(VICTIM, host(1), now).unwrap_err();
    for waited in 1..retry_after_s {
        let left = throttle.admit(VICTIM, host(1), now + waited).unwrap_err().retry_after_s;
        assert_eq!(left, retry_after_s - waited);
    }
    assert!(throttle.admit(VICTIM, host(1), now + retry_after_s).is_ok());
}

#[test]
fn a_guesser_elsewhere_does_not_hold_the_victim_back() {
    let throttle = throttle(Tiers::LOGIN, 1000);
    let mut now = NOW;
    for _ in 0..30 {
        now = fail(&throttle, VICTIM, host(1), now);
    }
    assert!(throttle.admit(VICTIM, host(1), now).is_err());
    assert!(throttle.admit(VICTIM, host(2), now).is_ok());
    assert!(throttle.admit(Some(("local-userpass", "other@example.test")), host(1), now).is_ok());
}

#[test]
fn a_success_forgets_the_failures_of_the_identity_but_not_those_of_the_prefix() {
    let throttle = throttle(Tiers::LOGIN, 1000);
    let mut now = NOW;
    for _ in 0..10 {
        now = fail(&throttle, VICTIM, host(1), now);
    }
    now += throttle.admit(VICTIM, host(1), now).unwrap_err().retry_after_s;
    let right = throttle.admit(VICTIM, host(1), now).unwrap();
    throttle.succeeded(right, now);
    for _ in 0..5 {
        assert_eq!(fail(&throttle, VICTIM, host(1), now), now);
    }

    let own = Some(("local-userpass", "guesser@example.test"));
    let mut refused = 0;
    for number in 0..300 {
        let name = format!("{number}@example.test");
        refused += usize::from(throttle.admit(Some(("local-userpass", &name)), host(7), now).is_err());
        if let Ok(attempt) = throttle.admit(own, host(7), now) {
            throttle.succeeded(attempt, now);
        }
    }
    assert_eq!(refused, 300 - 101, "an account of one's own pays for nothing");
}

#[test]
fn many_addresses_are_slowed_too_but_never_where_the_identity_is_at_home() {
    let throttle = throttle(Tiers::LOGIN, 10_000);
    let home = host(1);
    throttle.succeeded(throttle.admit(VICTIM, home, NOW).unwrap(), NOW);
    let mut now = NOW;
    let mut last = 0;
    for number in 0..200 {
        let then = fail(&throttle, VICTIM, host(1000 + number), now);
        (last, now) = (then - now, then);
    }
    assert!((200..=300).contains(&last), "the guesser waits {last} s");
    let elsewhere = throttle.admit(VICTIM, host(2), now).unwrap_err();
    assert!(elsewhere.retry_after_s <= 300);
    throttle.succeeded(throttle.admit(VICTIM, home, now).unwrap(), now);

    // a password reset by e-mail from a new place opens that place
    let new_place = host(2);
    throttle.vouch(("local-userpass", "victim@example.test"), new_place, now);
    for number in 0..200 {
        now = fail(&throttle, VICTIM, host(1000 + number), now);
    }
    for place in [home, new_place] {
        assert!(throttle.admit(VICTIM, place, now).is_ok());
    }
    assert!(throttle.admit(VICTIM, host(3), now).is_err());
}

#[test]
fn a_place_is_no_longer_known_30_days_after_the_last_success() {
    for (age_s, known) in [(TRUST_S - 1, true), (TRUST_S, false)] {
        let throttle = throttle(Tiers::LOGIN, 10_000);
        throttle.succeeded(throttle.admit(VICTIM, host(1), NOW).unwrap(), NOW);
        let now = NOW + age_s;
        for number in 0..101 {
            assert_eq!(fail(&throttle, VICTIM, host(1000 + number), now), now);
        }
        assert_eq!(throttle.admit(VICTIM, host(1), now).is_ok(), known);
    }
}

#[test]
fn a_thousand_attempts_at_once_do_not_slip_through_together() {
    let throttle = throttle(Tiers::LOGIN, 1000);
    let running: Vec<_> = (0..1000).filter_map(|_| throttle.admit(VICTIM, host(1), NOW).ok()).collect();
    assert_eq!(running.len(), 6);
    for attempt in running {
        throttle.withdraw(attempt);
    }
    assert_eq!((0..1000).filter(|_| throttle.admit(VICTIM, host(1), NOW).is_ok()).count(), 6);
}

/// S36.
#[test]
fn clients_of_a_proxy_that_does_not_say_who_they_are_share_no_prefix() {
    let throttle = throttle(Tiers::LOGIN, 1 << 12);
    for number in 0..1000 {
        let name = format!("{number}@example.test");
        let admitted = throttle.admit(Some(("local-userpass", &name)), Ipv4Addr::LOCALHOST.into(), NOW);
        assert!(admitted.is_ok(), "{number}");
    }
    assert!((0..1000).all(|_| throttle.admit(None, Ipv4Addr::LOCALHOST.into(), NOW).is_ok()));
    let guesses = (0..10).filter(|_| throttle.admit(VICTIM, Ipv4Addr::LOCALHOST.into(), NOW).is_ok()).count();
    assert_eq!(guesses, 6, "one name is still guarded");
}

/// The memory of the limiter is bounded.
#[test]
fn it_never_grows_and_keeps_who_is_held_back() {
    let throttle = throttle(Tiers::LOGIN, 4096);
    let bytes = throttle.bytes();
    assert_eq!(bytes, 5 * 4096 * 24);
    let mut now = NOW;
    for _ in 0..14 {
        now = fail(&throttle, VICTIM, host(0), now);
    }
    for number in 0..100_000_u32 {
        let name = format!("{number}@example.test");
        let _failed = throttle.admit(Some(("local-userpass", &name)), host(1 + number), now);
    }
    assert_eq!(throttle.bytes(), bytes);
    let counts = throttle.counts.lock();
    let held = counts.identity.buckets.iter().flatten().filter(|entry| entry.failures > 0).count();
    assert!((4000..=4096).contains(&held), "{held}");
    drop(counts);
    assert!(throttle.admit(VICTIM, host(0), now).is_err(), "pushed out by the flood");
}

/// The rule in its plainest form, without bounds on memory.
#[derive(Default)]
struct Model {
    failures: HashMap<String, (u16, ServiceTime, ServiceTime)>,
    trusted_until: HashMap<String, ServiceTime>,
}

impl Model {
    fn until(&self, key: &str) -> ServiceTime {
        self.failures.get(key).map_or(0, |(_, _, until)| *until)
    }

    fn count(&mut self, key: &str, tier: Tier, now: ServiceTime) {
        let (failures, since, until) = self.failures.entry(key.to_owned()).or_insert((0, now, 0));
        while *failures > 0 && *since + tier.forgive_s <= now {
            *failures -= 1;
            *since += tier.forgive_s;
        }
        if *failures == 0 {
            *since = now;
        }
        if *failures >= tier.free {
            let wait_s = 2_u64.pow(u32::from(*failures - tier.free)).min(tier.longest_wait_s.into());
            *until = (*until).max(now + u32::try_from(wait_s).unwrap());
        }
        *failures = (*failures + 1).min(tier.most());
    }

    fn uncount(&mut self, key: &str, tier: Tier) {
        let (failures, _, until) = self.failures.get_mut(key).unwrap();
        *failures -= 1;
        if *failures <= tier.free {
            *until = 0;
        }
    }
}

const TIGHT: Tiers = Tiers {
    pair: Tier { free: 2, forgive_s: 30, longest_wait_s: 50 },
    prefix: Tier { free: 6, forgive_s: 5, longest_wait_s: 20 },
    identity: Tier { free: 4, forgive_s: 10, longest_wait_s: 40 },
};

proptest! {
    #[test]
    fn it_does_what_the_model_does(
        steps in prop::collection::vec((0..4_u32, 0..4_u32, 0..3_u8, prop_oneof![0..2_u32, 0..60_u32]), 1..300)
    ) {
        let (throttle, mut model, mut now) = (throttle(TIGHT, 4096), Model::default(), NOW);
        for (name, from, end, passed_s) in steps {
            now += passed_s;
            let (name, address) = (format!("n{name}"), host(from));
            let (pair, prefix) = (format!("{name} {from}"), format!("p{from}"));
            // all of these addresses are in one /24
            let (block, of_block) = ("block", TIGHT.prefix.times(16));
            let trusted = model.trusted_until.get(&pair).is_some_and(|until| *until > now);
            let identity_until = if trusted { 0 } else { model.until(&name) };
            let of_prefixes = model.until(&prefix).max(model.until(block));
            let until = model.until(&pair).max(of_prefixes).max(identity_until);
            let admitted = throttle.admit(Some(("local-userpass", &name)), address, now);
            let longest = [TIGHT.pair, TIGHT.prefix, TIGHT.identity].map(|tier| tier.longest_wait_s);
            match admitted {
                Err(Throttled { retry_after_s }) => {
                    prop_assert_eq!(retry_after_s, until.saturating_sub(now));
                    prop_assert!((1..=*longest.iter().max().unwrap()).contains(&retry_after_s));
                }
                Ok(attempt) => {
                    prop_assert!(until <= now, "let in {} s early", until - now);
                    model.count(&pair, TIGHT.pair, now);
                    model.count(&prefix, TIGHT.prefix, now);
                    model.count(block, of_block, now);
                    model.count(&name, TIGHT.identity, now);
                    match end {
                        0 => {}
                        1 => {
                            throttle.succeeded(attempt, now);
                            model.failures.remove(&pair);
                            model.failures.remove(&name);
                            model.trusted_until.insert(pair, now + TRUST_S);
                            model.uncount(&prefix, TIGHT.prefix);
                            model.uncount(block, of_block);
                        }
                        _ => {
                            throttle.withdraw(attempt);
                            model.uncount(&pair, TIGHT.pair);
                            model.uncount(&prefix, TIGHT.prefix);
                            model.uncount(block, of_block);
                            model.uncount(&name, TIGHT.identity);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn in_the_long_run_no_one_guesses_faster_than_is_forgiven(pauses in prop::collection::vec(0..40_u32, 1..600)) {
        let (throttle, mut now, mut guesses) = (throttle(TIGHT, 64), NOW, 0_u32);
        for pause_s in pauses {
            now += pause_s;
            guesses += u32::from(throttle.admit(VICTIM, host(1), now).is_ok());
        }
        let Tier { forgive_s, .. } = TIGHT.pair;
        prop_assert!(guesses <= u32::from(TIGHT.pair.most()) + 1 + (now - NOW) / forgive_s, "{guesses}");
    }
}
