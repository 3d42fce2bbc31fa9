//! A bounded queue in which networks take turns: a network that sends much waits behind itself, and no other network does.
//!
//! Blocks take turns (an IPv4 /24, an IPv6 /48), and within a block its networks (an address, a /64). A newcomer to a full
//! queue takes the last place of the network with the most waiting, unless that is its own.

use std::collections::VecDeque;

use super::network::Network;

/// Whose turn it is: a network, or all that cannot be told apart.
type Source = Option<Network>;

/// What waits, in turns.
pub(crate) struct FairQueue<T> {
    most: usize,
    len: usize,
    /// In the order of their turns; none is empty.
    blocks: VecDeque<Turn<VecDeque<Turn<VecDeque<T>>>>>,
}

/// What a network has waiting.
struct Turn<Q> {
    of: Source,
    len: usize,
    waiting: Q,
}

/// What became of something new.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pushed<T> {
    /// It waits.
    Waits,
    /// It waits, in the place of this.
    InPlaceOf(T),
    /// There is no room.
    Full(T),
}

impl<T> FairQueue<T> {
    /// Nothing yet, and never more than `most`.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, len: 0, blocks: VecDeque::new() }
    }

    /// How much waits.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds something of a network.
    pub(crate) fn push(&mut self, of: Source, new: T) -> Pushed<T> {
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
    pub(crate) fn pop(&mut self) -> Option<T> {
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

    /// Whether a client of this network should work for a place: half the places are taken, and of that half the block has as much
    /// as its share would be if all that wait had the same. Of those that cannot work, one with nothing waiting gets a turn.
    pub(crate) fn is_pressed_by(&self, of: Source, can_work: bool) -> bool {
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

    /// Whether this is the block of the network, and a different network of it has more waiting.
    fn is_longest_within(&self, longest: &Turn<VecDeque<Turn<VecDeque<T>>>>, of: Source) -> bool {
        let own = longest.waiting.iter().find(|turn| turn.of == of).map_or(0, |turn| turn.len);
        longest.of == of.map(Network::block) && longest.waiting.iter().any(|turn| turn.len > own + 1)
    }

    /// Removes the last of the network with the most waiting, in the block with the most.
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

/// The place of the one with the most waiting.
fn longest<Q>(turns: &VecDeque<Turn<Q>>) -> Option<usize> {
    turns.iter().enumerate().max_by_key(|(_, turn)| turn.len).map(|(at, _)| at)
}

/// A network's turn; a newcomer's is the last.
fn turn_of<Q: Default>(turns: &mut VecDeque<Turn<Q>>, of: Source) -> &mut Turn<Q> {
    let at = turns.iter().position(|turn| turn.of == of).unwrap_or_else(|| {
        turns.push_back(Turn { of, len: 0, waiting: Q::default() });
        turns.len() - 1
    });
    &mut turns[at]
}

#[cfg(test)]
mod tests;
