//! Whose turn it is, and who loses a place.

use proptest::prelude::*;

use super::*;

fn of(address: &str) -> Source {
    Network::of(address.parse().unwrap())
}

fn all(queue: &mut FairQueue<u32>) -> Vec<u32> {
    std::iter::from_fn(|| queue.pop()).collect()
}

#[test]
fn blocks_take_turns_and_networks_within_them() {
    let mut queue = FairQueue::new(100);
    for (address, number) in [
        ("2001:db8::1", 1),
        ("2001:db8::1", 2),
        ("2001:db8::1", 3),
        ("2001:db8:0:1::1", 4),
        ("192.0.2.1", 5),
        ("192.0.2.1", 6),
        ("127.0.0.1", 7),
    ] {
        assert_eq!(queue.push(of(address), number), Pushed::Waits);
    }
    assert_eq!(all(&mut queue), [1, 5, 7, 4, 6, 2, 3]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn a_newcomer_to_a_full_queue_takes_the_last_place_of_the_network_with_the_most() {
    let mut queue = FairQueue::new(4);
    let flood = ["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:1::1", "2001:db8:0:1::1"];
    for (number, address) in (0..).zip(flood) {
        assert_eq!(queue.push(of(address), number), Pushed::Waits);
    }
    assert_eq!(queue.push(of("2001:db8:0:1::2"), 9), Pushed::Full(9), "that is themselves");
    assert_eq!(queue.push(of("192.0.2.1"), 10), Pushed::InPlaceOf(3));
    assert_eq!(queue.push(of("198.51.100.1"), 11), Pushed::InPlaceOf(2));
    assert_eq!(queue.push(of("2001:db8:0:2::1"), 12), Pushed::Full(12), "a block that has the most, all alike");
    assert_eq!(queue.push(of("192.0.2.9"), 13), Pushed::InPlaceOf(1));
    assert_eq!(all(&mut queue), [0, 10, 11, 13]);
}

#[test]
fn when_half_is_taken_networks_that_have_their_share_must_work() {
    let mut queue = FairQueue::new(8);
    let flood = of("2001:db8::1");
    for _ in 0..3 {
        queue.push(flood, 0);
        assert!(!queue.is_pressed_by(flood, true));
    }
    queue.push(flood, 0);
    assert!(queue.is_pressed_by(flood, true) && queue.is_pressed_by(of("2001:db8:0:77::1"), true), "the whole block");
    assert!(!queue.is_pressed_by(of("192.0.2.1"), true), "who comes from elsewhere has half of it");
    queue.push(of("192.0.2.1"), 0);
    assert!(!queue.is_pressed_by(of("192.0.2.1"), true));
    queue.push(of("192.0.2.1"), 0);
    assert!(queue.is_pressed_by(of("192.0.2.1"), true), "which it has used now");
    for number in 0..4 {
        queue.push(of(&format!("198.51.{number}.1")), 0);
    }
    assert!(queue.is_pressed_by(of("203.0.113.1"), true), "of many networks everybody works");
    assert!(!queue.is_pressed_by(of("203.0.113.1"), false), "who cannot work and has nothing waiting gets a turn");
    let block = |number: usize| format!("198.51.{number}.1");
    let mut single = FairQueue::new(2);
    for number in 0..2 {
        assert!(matches!(single.push(of(&block(number)), number), Pushed::Waits));
    }
    assert!(matches!(single.push(of(&block(2)), 2), Pushed::Full(2)), "nobody's only place is taken");
}

proptest! {
    /// Nothing is lost or doubled, and no one waits for more than one of each other block.
    #[test]
    fn what_waits_comes_out_once_and_in_turns(
        steps in prop::collection::vec((0..3_u8, 0..3_u8, 0..4_u8), 1..200)
    ) {
        let (mut queue, mut waiting, mut served_since) = (FairQueue::new(16), vec![], vec![0_usize; 3]);
        for (number, (block, host, take)) in (0_u32..).zip(steps) {
            if take == 0 {
                let next = queue.pop();
                prop_assert_eq!(next.is_none(), waiting.is_empty());
                if let Some(next) = next {
                    let at = waiting.iter().position(|(number, _)| *number == next).unwrap();
                    let (_, of): (u32, u8) = waiting.remove(at);
                    for other in 0..3_u8 {
                        let waits = waiting.iter().any(|(_, block)| *block == other);
                        let count = &mut served_since[usize::from(other)];
                        *count = if other == of || !waits { 0 } else { *count + 1 };
                        prop_assert!(*count <= 2, "block {} waits for {}", other, count);
                    }
                }
            } else {
                match queue.push(of(&format!("192.0.{block}.{host}")), number) {
                    Pushed::Waits => {}
                    Pushed::InPlaceOf(gone) => waiting.retain(|(number, _)| *number != gone),
                    Pushed::Full(_) => continue,
                }
                waiting.push((number, block));
            }
            prop_assert!(queue.len() == waiting.len() && queue.len() <= 16);
        }
    }
}
