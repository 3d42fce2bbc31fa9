//! The order against a plain map, under random changes; chunks that fill, split, empty and join.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use passerby_actors::testkit::Random;

use super::*;

/// Ids of both forms, of few moments, so that many are of the same.
fn some_id(random: &mut Random, moments: usize) -> UserId {
    let second = 1_700_000_000 + random.below(moments) as u32;
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&random.next().to_be_bytes());
    if random.one_in(2) {
        UserId::object(second, random.next().to_be_bytes())
    } else {
        UserId::time_ordered(u64::from(second) * 1000 + random.next() % 1000, bytes)
    }
}

fn some_known(random: &mut Random) -> Known {
    Known { word: random.next() as Word & 0b11, seen: 100 + random.below(50) as ServiceTime }
}

/// All who are sought, looking at `most` at a time.
fn listed(order: &Order, sought: &Sought, after: Option<&UserId>, newest: bool, most: usize) -> Vec<UserId> {
    let (mut seen, mut after) = (Vec::new(), after.copied());
    loop {
        let mut see = |id: &UserId| {
            seen.push(*id);
            ControlFlow::Continue(())
        };
        after = order.walk(sought, (after.as_ref(), newest), most, &mut see).goes_on_after;
        if after.is_none() {
            return seen;
        }
    }
}

fn check(order: &Order, model: &BTreeMap<Key, Known>, random: &mut Random) {
    assert!(order.chunks.iter().all(|chunk| (1..=MOST).contains(&chunk.ids.len())));
    assert_eq!(order.runs.len(), order.chunks.len().div_ceil(RUN));
    let (mask, on) = (random.next() as Word & 0b11, random.next() as Word);
    let wanted = Wanted { mask, bits: mask & on };
    let mut moments = [0; 2].map(|_| (1_700_000_000 + random.below(22) as u64) * 1000);
    moments.sort_unstable();
    let some = |at: u64, open: bool| (!open).then(|| first_of(at));
    let keys = some(moments[0], random.one_in(3))..some(moments[1], random.one_in(3));
    let times = 95 + random.below(60) as ServiceTime;
    let seen = random.one_in(2).then(|| times..times + random.below(60) as ServiceTime);
    let in_range = |key: &Key| keys.start.is_none_or(|start| *key >= start) && keys.end.is_none_or(|end| *key < end);
    let newest = random.one_in(2);
    let after = random.one_in(2).then(|| match model.len() {
        // who is there, or was
        n @ 1.. if random.one_in(2) => {
            model.keys().nth(random.below(n)).map_or(UserId::from_bytes([0; 16]), |key| key.1)
        }
        _ => some_id(random, 20),
    });
    let comes_after = |of: &Key| match after.as_ref().map(key) {
        None => true,
        Some(after) if newest => *of < after,
        Some(after) => *of > after,
    };
    let was_seen = |known: &Known| seen.as_ref().is_none_or(|seen| seen.contains(&known.seen));
    let fits = |(key, known): &(&Key, &Known)| in_range(key) && wanted.takes(known.word) && was_seen(known);
    let mut expected: Vec<_> =
        model.iter().filter(fits).filter(|(key, _)| comes_after(key)).map(|(key, _)| key.1).collect();
    if newest {
        expected.reverse();
    }
    let sought = Sought { wanted, keys: keys.clone(), seen: seen.clone() };
    for most in [1, MOST, usize::MAX] {
        assert_eq!(listed(order, &sought, after.as_ref(), newest, most), expected);
    }
    assert_eq!(order.count(&sought), model.iter().filter(fits).count());
    assert_eq!(order.tally().count(wanted), model.values().filter(|known| wanted.takes(known.word)).count());
}

#[test]
fn it_is_a_sorted_map_whatever_happens_to_it() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let mut model: BTreeMap<Key, Known> =
            (0..random.below(4 * MOST)).map(|_| (key(&some_id(&mut random, 20)), some_known(&mut random))).collect();
        let mut built: Vec<_> = model.iter().map(|(key, known)| (key.1, *known)).collect();
        built.reverse();
        built.extend(built.first().copied());
        let mut order = Order::of(built);
        check(&order, &model, &mut random);
        // times in which more come, and times in which more go
        for phase in 0..6 {
            for step in 0..3000 {
                let near = key(&some_id(&mut random, 20));
                let known = || model.range(near..).next().map(|(key, _)| key.1);
                if random.one_in(4) == (phase % 2 == 0) {
                    if let Some(id) = known() {
                        order.set(&id, None);
                        model.remove(&key(&id));
                    }
                } else if random.one_in(8) {
                    if let Some(id) = known() {
                        order.raise(&id, 0b10);
                        model.entry(key(&id)).and_modify(|known| known.word |= 0b10);
                    }
                } else {
                    let (id, known) = (some_id(&mut random, 20), some_known(&mut random));
                    order.set(&id, Some(known));
                    model.insert(key(&id), known);
                }
                if step % 500 == 0 {
                    check(&order, &model, &mut random);
                }
            }
        }
        order.set(&some_id(&mut random, 20), None);
        order.raise(&some_id(&mut random, 20), 1);
        check(&order, &model, &mut random);
        for id in model.keys().map(|key| key.1).collect::<Vec<_>>() {
            order.set(&id, None);
        }
        assert_eq!((order.chunks.len(), order.tally().count(Wanted::default())), (0, 0));
    }
}

const NEW: Known = Known { word: 0, seen: 7 };

/// Newcomers fill the last chunk, and those in between split one.
#[test]
fn chunks_stay_well_filled() {
    let mut order = Order::default();
    let id = |at: u64| UserId::time_ordered(1_700_000_000_000 + at, [7; 10]);
    (0..10 * MOST as u64).for_each(|at| order.set(&id(2 * at), Some(NEW)));
    assert_eq!(order.chunks.len(), 10);
    (0..MOST as u64).for_each(|at| order.set(&id(2 * at + 1), Some(NEW)));
    assert_eq!(order.chunks.len(), 12, "the first became two, and their second again");
    (0..10 * MOST as u64).for_each(|at| order.set(&id(2 * at), None));
    assert!(order.chunks.len() <= 3, "what is nearly empty is joined");
    assert_eq!(order.tally().count(Wanted::default()), MOST);
}

/// What is not there is not looked for in every chunk, nor in every user.
#[test]
fn who_is_not_there_is_looked_for_nowhere() {
    let id = |at: usize| UserId::time_ordered(1_700_000_000_000 + at as u64, [7; 10]);
    let users = 3 * RUN * BUILT;
    // everywhere are some with either bit, and nobody has both
    let known = |at: usize| Known { word: 1 << (at % 2), seen: 100 + (at / BUILT / RUN) as ServiceTime };
    let mut order = Order::of((0..users).map(|at| (id(at), known(at))).collect());
    let both = Sought { wanted: Wanted { mask: 0b11, bits: 0b11 }, ..Sought::default() };
    assert!(order.runs.len() == 3 && !order.runs.iter().any(|run| run.has(&both)));
    let seen = |seen: Range<ServiceTime>| Sought { seen: Some(seen), ..Sought::default() };
    let runs = |order: &Order, sought: &Sought| order.runs.iter().filter(|run| run.has(sought)).count();
    assert_eq!([0..100, 101..102, 102..200, 103..200].map(|times| runs(&order, &seen(times))), [0, 1, 1, 0]);
    let mut nobody = |_: &UserId| panic!("there is nobody");
    for sought in [both.clone(), seen(0..100)] {
        let walked = order.walk(&sought, (None, true), 0, &mut nobody);
        assert_eq!(walked, Walked { looked_at: 0, goes_on_after: None });
        assert_eq!(order.count(&sought), 0);
    }
    assert_eq!(order.count(&seen(101..102)), RUN * BUILT);
    // one is enough to be found
    order.set(&id(users / 2), Some(Known { word: 0b11, seen: 500 }));
    for sought in [both, seen(500..501)] {
        assert_eq!((runs(&order, &sought), order.count(&sought)), (1, 1));
        assert_eq!(listed(&order, &sought, None, true, usize::MAX), [id(users / 2)]);
    }
}
