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

fn listed(
    order: &Order,
    wanted: Wanted,
    keys: &Range<Option<Key>>,
    after: Option<&UserId>,
    newest: bool,
) -> Vec<UserId> {
    let mut seen = Vec::new();
    order.walk(wanted, keys, (after, newest), &mut |id| {
        seen.push(*id);
        ControlFlow::Continue(())
    });
    seen
}

fn check(order: &Order, model: &BTreeMap<Key, Word>, random: &mut Random) {
    assert!(order.chunks.iter().all(|chunk| (1..=MOST).contains(&chunk.ids.len())));
    let (mask, on) = (random.next() as Word & 0b11, random.next() as Word);
    let wanted = Wanted { mask, bits: mask & on };
    let mut moments = [0; 2].map(|_| (1_700_000_000 + random.below(22) as u64) * 1000);
    moments.sort_unstable();
    let some = |at: u64, open: bool| (!open).then(|| first_of(at));
    let keys = some(moments[0], random.one_in(3))..some(moments[1], random.one_in(3));
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
    let fits = |(key, word): &(&Key, &Word)| in_range(key) && wanted.takes(**word);
    let mut expected: Vec<_> =
        model.iter().filter(fits).filter(|(key, _)| comes_after(key)).map(|(key, _)| key.1).collect();
    if newest {
        expected.reverse();
    }
    assert_eq!(listed(order, wanted, &keys, after.as_ref(), newest), expected);
    assert_eq!(order.count(wanted, &keys), model.iter().filter(fits).count());
    assert_eq!(order.tally().count(wanted), model.values().filter(|word| wanted.takes(**word)).count());
}

#[test]
fn it_is_a_sorted_map_whatever_happens_to_it() {
    for seed in 0..6 {
        let mut random = Random(seed);
        let users: BTreeMap<Key, Word> = (0..random.below(4 * MOST))
            .map(|_| (key(&some_id(&mut random, 20)), random.next() as Word & 0b11))
            .collect();
        let mut model = users;
        let mut built: Vec<_> = model.iter().map(|(key, word)| (key.1, *word)).collect();
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
                        model.entry(key(&id)).and_modify(|word| *word |= 0b10);
                    }
                } else {
                    let (id, word) = (some_id(&mut random, 20), random.next() as Word & 0b11);
                    order.set(&id, Some(word));
                    model.insert(key(&id), word);
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

/// Newcomers fill the last chunk, and those in between split one.
#[test]
fn chunks_stay_well_filled() {
    let mut order = Order::default();
    let id = |at: u64| UserId::time_ordered(1_700_000_000_000 + at, [7; 10]);
    (0..10 * MOST as u64).for_each(|at| order.set(&id(2 * at), Some(0)));
    assert_eq!(order.chunks.len(), 10);
    (0..MOST as u64).for_each(|at| order.set(&id(2 * at + 1), Some(0)));
    assert_eq!(order.chunks.len(), 12, "the first became two, and their second again");
    (0..10 * MOST as u64).for_each(|at| order.set(&id(2 * at), None));
    assert!(order.chunks.len() <= 3, "what is nearly empty is joined");
    assert_eq!(order.tally().count(Wanted::default()), MOST);
}
