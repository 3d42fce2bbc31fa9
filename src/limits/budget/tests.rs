//! What each network and all together may do.

use std::net::{Ipv4Addr, Ipv6Addr};

use passerby_actors::testkit::ManualClock;

use super::*;

fn rules() -> BudgetRules {
    BudgetRules {
        create: 6,
        create_burst: 3,
        create_all: 10_000_000,
        link: 60,
        link_burst: 1,
        link_all: 1,
        bad_tokens: 60,
        bad_tokens_burst: 1,
        bad_tokens_all: 1,
        work: 6,
        work_burst: 14,
        work_all: 100,
        sockets: 1,
        connections: None,
        share: 100,
    }
}

fn budgets(rules: &BudgetRules, most: usize) -> (Budgets, Arc<ManualClock>) {
    let clock = ManualClock::new();
    (Budgets::with_room(rules, true, clock.clone(), most), clock)
}

fn over(retry_after_s: u32) -> OverBudget {
    OverBudget { why: Why::TooMany, retry_after_s }
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from(0x0b00_0000 + number).into()
}

/// S35: rate and burst are both honoured, and a request that comes too early is told when to come again.
#[test]
fn a_prefix_has_a_burst_and_then_its_rate() {
    let (budgets, clock) = budgets(&rules(), 1000);
    let create = || budgets.spend(Spend::Create, v4(1));
    assert_eq!([create(), create(), create()], [Ok(()); 3]);
    assert_eq!(create(), Err(over(10)));
    assert_eq!(budgets.spend(Spend::Create, v4(2)), Ok(()), "others have their own");
    assert_eq!(budgets.spend(Spend::Link, v4(1)), Ok(()), "and each purpose its own");
    clock.advance_s(10);
    assert_eq!((create(), create()), (Ok(()), Err(over(10))));
    clock.advance_s(3600);
    assert_eq!((0..10).filter(|_| create().is_ok()).count(), 3, "what is not used does not add up");
    assert_eq!(budgets.refused(), [9, 0, 0, 0]);
}

/// What an operator sees of a budget takes nothing from it, and what is given back is whole.
#[test]
fn what_is_left_is_shown_and_given_back() {
    let (budgets, clock) = budgets(&rules(), 1000);
    let network = Network::of(v4(1)).unwrap();
    let left = || budgets.standing(network).map(|standing| (standing.burst, standing.left));
    let untouched = [(3, 3), (1, 1), (1, 1), (14, 14)];
    assert_eq!(left(), untouched);
    assert_eq!((budgets.held(), budgets.spenders(9)), (0, vec![]), "to look is no use");
    assert_eq!(budgets.spend(Spend::Create, v4(1)), Ok(()));
    assert_eq!(budgets.spend(Spend::Create, v4(1)), Ok(()));
    assert_eq!((left()[0], left()[0]), ((3, 1), (3, 1)));
    assert_eq!(budgets.spend(Spend::Link, v4(0x300)), Ok(()));
    let spenders = budgets.spenders(3);
    assert_eq!(spenders[0], Network::of(v4(0x300)).unwrap(), "all of it is the most");
    assert_eq!((spenders[1], spenders.len(), budgets.spenders(1).len()), (network, 3, 1));
    clock.advance_s(10);
    assert_eq!(left()[0], (3, 2), "one is there again");
    assert_eq!(budgets.spend(Spend::Create, v4(1)), Ok(()));
    assert_eq!(budgets.spend(Spend::Create, v4(1)), Ok(()));
    assert_eq!((left()[0], budgets.spend(Spend::Create, v4(1)).is_err()), ((3, 0), true));
    assert_eq!(budgets.spend(Spend::Link, v4(0x300)), Ok(()));
    budgets.give_back(&network.prefix());
    assert_eq!(left(), untouched);
    assert_eq!(budgets.standing(network.block())[0].left, 48, "of the wider one, too");
    assert_eq!(budgets.standing(Network::of(v4(0x300)).unwrap())[1].left, 0, "and of no other");
    assert_eq!(budgets.spend(Spend::Create, v4(1)), Ok(()));
}

/// A network that is blocked gets neither users nor challenges, also where no budgets are in force.
#[test]
fn a_network_that_is_blocked_gets_nothing_of_what_strangers_may_do() {
    let clock = ManualClock::new();
    let budgets = Budgets::new(&rules(), false, clock.clone());
    budgets.blocks().put([(Network::of(v4(1)).unwrap().prefix(), Some(clock.wall_ms() + 10_000))]);
    for what in [Spend::Create, Spend::Link] {
        assert_eq!(budgets.spend(what, v4(1)), Err(OverBudget::BLOCKED));
        assert_eq!(budgets.spend(what, v4(2)), Ok(()));
    }
    assert_eq!(budgets.challenge(v4(1)), Err(OverBudget::BLOCKED));
    assert_eq!(budgets.spend(Spend::BadToken, v4(1)), Ok(()), "known users have tokens that are too old");
    clock.advance_s(10);
    assert_eq!(budgets.spend(Spend::Create, v4(1)), Ok(()), "its time is over");
}

/// S35: the work rises with use, to a hard limit, and falls again with time.
#[test]
fn challenges_get_harder_the_more_a_network_asks_for() {
    let (budgets, clock) = budgets(&rules(), 1000);
    let asked: Vec<_> = (0..15).map(|_| budgets.challenge(v4(1))).collect();
    assert_eq!(asked[..14], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6].map(Ok));
    assert_eq!(asked[14], Err(over(10)));
    assert_eq!(budgets.challenge(v4(2)), Ok(0), "others have their own");
    clock.advance_s(70);
    assert_eq!(budgets.challenge(v4(1)), Ok(3));
    let passed = (0..2000).filter(|n| budgets.challenge(v4(100 + n)).is_ok()).count();
    assert_eq!(passed, 999, "all together have a budget too");
    assert!(budgets.challenge("127.0.0.1".parse().unwrap()).is_err(), "which holds for this machine as well");
}

/// S35, S36.
#[test]
fn a_v6_network_is_one_and_this_machine_is_none() {
    let (budgets, _) = budgets(&rules(), 1000);
    let v6 = |net: u16, host: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, host));
    let passed = (0..10).filter(|host| budgets.spend(Spend::Create, v6(1, *host)).is_ok()).count();
    assert_eq!(passed, 3);
    assert!(budgets.spend(Spend::Create, v6(2, 1)).is_ok());
    let mapped: IpAddr = Ipv4Addr::new(11, 0, 0, 1).to_ipv6_mapped().into();
    let passed = (0..10).filter(|n| budgets.spend(Spend::Create, if n % 2 == 0 { v4(1) } else { mapped }).is_ok());
    assert_eq!(passed.count(), 3, "an IPv4 address in IPv6 clothes is the IPv4 address");
    for own in ["127.0.0.1", "::1", "0.0.0.0"] {
        assert!((0..100).all(|_| budgets.spend(Spend::Create, own.parse().unwrap()).is_ok()), "{own}");
    }
}

/// S35: the owner of a whole /48 or /24 has the budget of a few networks and not of all that are in it.
#[test]
fn a_block_has_the_budget_of_a_few_and_one_of_its_networks_cannot_use_it_up() {
    let (budgets, clock) = budgets(&rules(), 100_000);
    let passed = |addresses: &mut dyn Iterator<Item = IpAddr>| {
        addresses.filter(|address| budgets.spend(Spend::Create, *address).is_ok()).count()
    };
    let v6 = |net: u16| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 7, net, 0, 0, 0, 1));
    assert_eq!(passed(&mut (0..100).map(|_| v6(0))), 3, "one /64");
    assert_eq!(passed(&mut (0..256).map(v6)), 12 - 3, "a /56 is worth four, of which one has had its share");
    assert_eq!(passed(&mut (0..=u16::MAX).map(v6)), 48 - 12, "a /48 is worth sixteen");
    assert_eq!(passed(&mut [IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 8, 0, 0, 0, 0, 1))].into_iter()), 1);
    assert_eq!(passed(&mut (0..256).map(v4)), 48, "a /24 is worth sixteen");
    assert_eq!(passed(&mut [v4(256)].into_iter()), 1);
    clock.advance_s(60);
    assert_eq!(passed(&mut (0..=u16::MAX).map(v6)), 48, "and sixteen times six a minute, of which 48 may be at once");
}

/// S35: ten million prefixes, and the memory of a few.
#[test]
fn memory_is_bounded_however_many_prefixes_come_and_known_ones_keep_their_budgets() {
    let (budgets, clock) = budgets(&rules(), 1000);
    let known = v4(0);
    assert!(budgets.spend(Spend::Create, known).is_ok());
    let passed = (1..1_000_000).filter(|n| budgets.spend(Spend::Create, v4(*n)).is_ok()).count();
    let held = budgets.create.levels[0].held();
    assert!(held <= 1000 + level::SHARED as usize, "{held}");
    assert!(budgets.held() <= 2000 + 3 * level::SHARED as usize, "{}", budgets.held());
    assert!(passed <= 3 * held, "{passed}: the crowd shares what few would have");
    clock.advance_s(3600);
    assert!(budgets.spend(Spend::Create, known).is_ok());
    assert!(budgets.create.levels[0].held() <= 1000, "those who came once are forgotten");
}

/// A page and its thirty pictures are one reader.
#[test]
fn of_many_requests_that_create_one_reader_one_pays() {
    let (budgets, _) = budgets(&rules(), 1000);
    let user = |n| UserId::from_bytes([n; 16]);
    let pay = |n, made: bool| budgets.spend_on_reader(&user(n), v4(1), || made);
    let first = pay(1, false).unwrap();
    assert!(first.is_some());
    assert!((0..30).all(|_| pay(1, false).is_ok_and(|paid| paid.is_none())));
    drop(first);
    assert!(pay(1, true).is_ok_and(|paid| paid.is_none()), "who looked before it was done pays nothing either");
    assert!(pay(2, false).is_ok() && pay(3, false).is_ok());
    assert!(pay(4, false).is_err(), "a burst of three");
}

#[test]
fn all_together_have_a_budget_too_and_off_is_off() {
    let few = BudgetRules { create_all: 1, ..rules() };
    let (budgets, clock) = budgets(&few, 1000);
    let nameless = budgets.spend(Spend::Create, "127.0.0.1".parse().unwrap());
    assert_eq!(nameless, Ok(()), "who has no network takes from it as well");
    for (what, left) in [(Spend::Create, 9), (Spend::Link, 10), (Spend::BadToken, 10)] {
        assert_eq!((0..100).filter(|n| budgets.spend(what, v4(*n)).is_ok()).count(), left, "{what:?}");
    }
    let off = Budgets::new(&few, false, clock);
    assert!((0..100).all(|_| off.spend(Spend::Create, v4(1)).is_ok()));
}
