//! A bounded queue in which networks take turns: whoever sends much waits behind themselves, and nobody else does.
//!
//! Blocks take turns (an IPv4 /24, an IPv6 /48), and within a block its networks (an address, a /64). Who comes while it is
//! full takes the place of the last of whoever waits with the most, unless that is themselves.

use std::collections::VecDeque;

use crate::network::Network;

/// Whose turn it is: a network, or all who cannot be told apart.
type Source = Option<Network>;

/// What waits, in turns.
pub(super) struct FairQueue<T> {
    most: usize,
    len: usize,
    /// In the order of their turns; none is empty.
    blocks: VecDeque<Turn<VecDeque<Turn<VecDeque<T>>>>>,
}

/// What somebody has waiting.
struct Turn<Q> {
    of: Source,
    len: usize,
    waiting: Q,
}

/// What became of something new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed<T> {
    /// It waits.
    Waits,
    /// It waits, in the place of this.
    InPlaceOf(T),
    /// There is no room.
    Full(T),
}

impl<T> FairQueue<T> {
    /// Nothing yet, and never more than `most`.
    pub(super) fn new(most: usize) -> Self {
        Self { most, len: 0, blocks: VecDeque::new() }
    }

    /// How much waits.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds something of a network.
    pub(super) fn push(&mut self, of: Source, new: T) -> Pushed<T> {
        let mut last = None;
        if self.len >= self.most {
            let own = self.waiting_of(of);
            match self.blocks.iter().max_by_key(|block| block.len) {
                Some(longest) if longest.len > own.max(1) || self.is_longest_within(longest, of) => {
                    last = self.drop_last()
                }
                _ => return Pushed::Full(new),
            }
        }
        let block = turn_of(&mut self.blocks, of.map(Network::block));
        block.len += 1;
        let network = turn_of(&mut block.waiting, of);
        network.len += 1;
        network.waiting.push_back(new);
        self.len += 1;
        last.map_or(Pushed::Waits, Pushed::InPlaceOf)
    }

    /// Takes what is next.
    pub(super) fn pop(&mut self) -> Option<T> {
        let mut block = self.blocks.pop_front()?;
        let next = block.waiting.pop_front().and_then(|mut network| {
            let next = network.waiting.pop_front();
            network.len -= 1;
            if network.len > 0 {
                block.waiting.push_back(network);
            }
            next
        });
        block.len -= 1;
        self.len -= 1;
        if block.len > 0 {
            self.blocks.push_back(block);
        }
        next
    }

    /// Whether somebody of this network should work for a place: half the places are taken, and of that half the block has as much
    /// as would be its own if all who wait had the same. Of those who cannot work, whoever has nothing waiting gets a turn.
    pub(super) fn is_pressed_by(&self, of: Source, can_work: bool) -> bool {
        let half = self.most.div_ceil(2);
        let own = self.waiting_of(of);
        let blocks = self.blocks.len() + usize::from(own == 0);
        self.len >= half && own >= half / blocks.max(1) && (can_work || own > 0)
    }

    /// How much of this network's block waits.
    fn waiting_of(&self, of: Source) -> usize {
        let block = of.map(Network::block);
        self.blocks.iter().find(|turn| turn.of == block).map_or(0, |turn| turn.len)
    }

    /// Whether this is the block of the network, and another network of it has more waiting.
    fn is_longest_within(&self, longest: &Turn<VecDeque<Turn<VecDeque<T>>>>, of: Source) -> bool {
        let own = longest.waiting.iter().find(|turn| turn.of == of).map_or(0, |turn| turn.len);
        longest.of == of.map(Network::block) && longest.waiting.iter().any(|turn| turn.len > own + 1)
    }

    /// Takes away the last of whoever has the most waiting, in the block that has.
    fn drop_last(&mut self) -> Option<T> {
        let at = longest(&self.blocks)?;
        let block = self.blocks.get_mut(at)?;
        let within = longest(&block.waiting)?;
        let network = block.waiting.get_mut(within)?;
        let last = network.waiting.pop_back();
        network.len -= 1;
        if network.len == 0 {
            block.waiting.remove(within);
        }
        block.len -= 1;
        if block.len == 0 {
            self.blocks.remove(at);
        }
        self.len -= 1;
        last
    }
}

/// The place of whoever has the most waiting.
fn longest<Q>(turns: &VecDeque<Turn<Q>>) -> Option<usize> {
    turns.iter().enumerate().max_by_key(|(_, turn)| turn.len).map(|(at, _)| at)
}

/// Somebody's turn; a newcomer's is the last.
fn turn_of<Q: Default>(turns: &mut VecDeque<Turn<Q>>, of: Source) -> &mut Turn<Q> {
    let at = turns.iter().position(|turn| turn.of == of).unwrap_or_else(|| {
        turns.push_back(Turn { of, len: 0, waiting: Q::default() });
        turns.len() - 1
    });
    &mut turns[at]
}

#[cfg(test)]
mod tests {
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
    fn who_comes_to_a_full_queue_takes_the_last_place_of_whoever_has_the_most() {
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
    fn when_half_is_taken_those_work_who_have_their_share_of_it() {
        let mut queue = FairQueue::new(8);
        let flood = of("2001:db8::1");
        for _ in 0..3 {
            queue.push(flood, 0);
            assert!(!queue.is_pressed_by(flood, true));
        }
        queue.push(flood, 0);
        assert!(
            queue.is_pressed_by(flood, true) && queue.is_pressed_by(of("2001:db8:0:77::1"), true),
            "the whole block"
        );
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
        /// Nothing is lost or doubled, and nobody waits for more than one of each other block.
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
}
