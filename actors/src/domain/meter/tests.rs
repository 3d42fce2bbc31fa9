//! Allowances, their periods, and what merging makes of them.

use super::*;

const MONTH: Period = Period { start: 1000, end: 2000 };

fn count(now: i64) -> Count {
    Count {
        meter: "articles".into(),
        period: MONTH,
        rolls: false,
        limit: 3,
        amount: 1,
        item: None,
        operation: None,
        now,
    }
}

fn used(meters: &mut Meters, count: &Count) -> (u32, bool) {
    let (next, reading) = meters.count(count).unwrap();
    *meters = next.unwrap_or_else(|| meters.clone());
    (reading.used, reading.allowed)
}

#[test]
fn an_allowance_is_used_up_and_comes_back_with_the_next_period() {
    let mut meters = Meters::default();
    assert_eq!(
        (1..=4).map(|_| used(&mut meters, &count(1500))).collect::<Vec<_>>(),
        [(1, true), (2, true), (3, true), (3, false)]
    );
    let next = Count { period: Period { start: 2000, end: 3000 }, ..count(2000) };
    assert_eq!(used(&mut meters, &next), (1, true));
    assert_eq!(used(&mut meters, &Count { amount: 3, ..next.clone() }), (1, false), "all of it or nothing");
    assert_eq!(used(&mut meters, &Count { amount: 0, ..next }), (1, true), "a look takes nothing");
}

#[test]
fn an_item_and_a_repeated_request_count_once() {
    let mut meters = Meters::default();
    let item = |item| Count { item: Some(item), limit: 2, ..count(1500) };
    assert_eq!(used(&mut meters, &item(1)), (1, true));
    assert_eq!(used(&mut meters, &item(1)), (1, true));
    assert_eq!(used(&mut meters, &item(2)), (2, true));
    assert_eq!(used(&mut meters, &item(3)), (2, false));
    assert_eq!(used(&mut meters, &item(1)), (2, true), "what was read may be read again");
    let mut meters = Meters::default();
    let named = |name, asks| Some(MeterOperation { name, asks });
    let request = |n| Count { operation: named(n, 1), limit: 1000, ..count(1500) };
    let at = |n: u64| u32::try_from(n).unwrap() + 1;
    for n in 0..300 {
        assert_eq!(used(&mut meters, &request(n)), (at(n), true));
    }
    for n in 44..300 {
        assert_eq!(used(&mut meters, &request(n)), (at(n), true), "the first result");
    }
    assert!(meters.encode().len() < 256 * 16 + 100, "what is remembered is bounded");
    assert_eq!(meters.count(&Count { operation: named(299, 2), ..request(0) }), Err(OtherUse));
}

#[test]
fn a_rolling_period_begins_with_the_first_use() {
    let mut meters = Meters::default();
    let rolling = |now| Count { rolls: true, period: Period { start: now, end: now + 100 }, ..count(now) };
    assert_eq!(meters.count(&rolling(1000)).unwrap().1.resets, 1100);
    assert_eq!(used(&mut meters, &rolling(1000)), (1, true));
    assert_eq!(meters.count(&rolling(1099)).unwrap().1, Reading { used: 2, allowed: true, resets: 1100, granted: 0 });
    assert_eq!(meters.count(&rolling(1100)).unwrap().1, Reading { used: 1, allowed: true, resets: 1200, granted: 0 });
}

/// A count that was decided on before midnight, and comes after one from after it.
#[test]
fn a_late_use_counts_in_the_period_that_has_begun() {
    let mut meters = Meters::default();
    let next = Count { period: Period { start: 2000, end: 3000 }, ..count(2000) };
    assert_eq!(used(&mut meters, &next), (1, true));
    assert_eq!(used(&mut meters, &count(1999)), (2, true));
    assert_eq!(used(&mut meters, &next), (3, true), "nothing was forgotten");
    let far = Count { period: Period { start: 1_000_000, end: 2_000_000 }, ..count(1_000_000) };
    assert_eq!(used(&mut meters, &far), (1, true));
    assert_eq!(used(&mut meters, &next), (1, true), "a clock that was far wrong takes nothing");
}

#[test]
fn merged_rolling_meters_are_one_until_the_later_end() {
    let rolling =
        |now: i64, limit| Count { rolls: true, limit, period: Period { start: now, end: now + 100 }, ..count(now) };
    let with = |now, uses: u32, operation| {
        let mut meters = Meters::default();
        used(
            &mut meters,
            &Count { amount: uses, operation: Some(MeterOperation { name: operation, asks: 1 }), ..rolling(now, 9) },
        );
        meters
    };
    let (account, guest) = (with(1000, 5, 1), with(1050, 1, 2));
    for (one, other) in [(&account, &guest), (&guest, &account)] {
        let merged = one.merged(other, 1090, |_| MeterMerge::Sum);
        let look = Count { amount: 0, ..rolling(1090, 9) };
        assert_eq!(merged.count(&look).unwrap().1, Reading { used: 6, allowed: true, resets: 1150, granted: 0 });
        for (operation, result) in [(1, 5), (2, 1)] {
            let repeat = Count { operation: Some(MeterOperation { name: operation, asks: 1 }), ..rolling(1090, 9) };
            assert_eq!(merged.count(&repeat).unwrap().1.used, result, "both sides' repeats are known");
        }
        let late = one.merged(other, 1110, |_| MeterMerge::Sum);
        assert_eq!(late.count(&Count { amount: 0, ..rolling(1110, 9) }).unwrap().1.used, 1, "what is over is over");
    }
}

#[test]
fn merged_meters_sum_or_keep_the_larger_and_count_an_item_once() {
    let with = |items: &[u64]| {
        let mut meters = Meters::default();
        for item in items {
            used(&mut meters, &Count { item: Some(*item), limit: 9, ..count(1500) });
        }
        meters
    };
    let look = |meters: &Meters| meters.count(&Count { amount: 0, limit: 9, ..count(1500) }).unwrap().1.used;
    let (a, b) = (with(&[1, 2]), with(&[2, 3, 4]));
    assert_eq!(look(&a.merged(&b, 1500, |_| MeterMerge::Sum)), 4);
    assert_eq!(look(&b.merged(&a, 1500, |_| MeterMerge::Sum)), 4);
    assert_eq!(look(&a.merged(&b, 1500, |_| MeterMerge::Max)), 3);
    assert_eq!(look(&Meters::default().merged(&a, 1500, |_| MeterMerge::Sum)), 2);
    let later = Count { period: Period { start: 2000, end: 3000 }, ..count(2500) };
    let mut newer = Meters::default();
    used(&mut newer, &later);
    assert_eq!(a.merged(&newer, 2500, |_| MeterMerge::Sum), newer);
    assert_eq!(newer.merged(&a, 2500, |_| MeterMerge::Sum), newer);
}

#[test]
fn what_is_granted_is_allowed_until_the_period_ends_and_a_reset_begins_anew() {
    let mut meters = Meters::default();
    used(&mut meters, &Count { amount: 3, ..count(1500) });
    assert_eq!(used(&mut meters, &count(1500)), (3, false));
    let (granted, reading) = meters.granted(&Count { amount: 2, ..count(1500) });
    assert_eq!(reading, Reading { used: 3, allowed: true, resets: 2000, granted: 2 });
    meters = granted;
    assert_eq!(
        (1..=3).map(|_| used(&mut meters, &count(1500))).collect::<Vec<_>>(),
        [(4, true), (5, true), (5, false)]
    );
    let sum = meters.merged(&meters, 1500, |_| MeterMerge::Sum);
    let look = |meters: &Meters| meters.count(&Count { amount: 0, ..count(1500) }).unwrap().1;
    assert_eq!((look(&sum).used, look(&sum).granted), (10, 4), "of two grants both count");
    assert_eq!(look(&meters.merged(&meters, 1500, |_| MeterMerge::Max)).granted, 2);
    let next = Count { period: Period { start: 2000, end: 3000 }, amount: 0, ..count(2000) };
    assert_eq!(meters.count(&next).unwrap().1, Reading { used: 0, allowed: true, resets: 3000, granted: 0 });
    let (reset, reading) = meters.reset(&count(1500));
    assert_eq!((reset.is_empty(), reading), (true, Reading { used: 0, allowed: true, resets: 2000, granted: 0 }));
}

#[test]
fn the_bytes_with_grants_are_as_they_always_were() {
    let (meters, _) = Meters::default().granted(&Count { meter: "m".into(), amount: 258, ..count(1500) });
    let golden: &[u8] = &[
        3, 0, 0, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0, 7, 208, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0,
        0, 0, 0,
    ];
    assert_eq!(&*meters.encode(), golden);
    assert_eq!(Meters::decode(golden).as_ref(), Ok(&meters));
}

#[test]
fn the_bytes_are_as_they_always_were() {
    let mut meters = Meters::default();
    let operation = Some(MeterOperation { name: 6, asks: 7 });
    used(&mut meters, &Count { meter: "m".into(), item: Some(5), operation, ..count(1500) });
    let golden: &[u8] = &[
        2, 0, 0, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0, 7, 208, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0,
        0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 1,
    ];
    assert_eq!(&*meters.encode(), golden);
    assert_eq!(Meters::decode(golden).as_ref(), Ok(&meters));
    let before = Meters::decode(&[&[FORMAT_1], &golden[1..golden.len() - 8]].concat()).unwrap();
    let again = Count { meter: "m".into(), operation: Some(MeterOperation { name: 6, asks: 8 }), ..count(1500) };
    assert_eq!(before.count(&again).unwrap().1.used, 1, "without what was asked for and the result");
    for n in 0..golden.len() {
        assert_eq!(Meters::decode(&golden[..n]).is_ok(), n == 1, "{n}");
    }
    let huge = [&golden[..26], &[255; 4]].concat();
    assert_eq!(Meters::decode(&huge), Err(UnreadableMeters), "a length is believed as far as there are bytes");
}
