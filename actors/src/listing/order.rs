//! Users in the order of their creation, in chunks that each know how often which word occurs in them: what a filter does not want
//! is skipped chunk by chunk.

use std::ops::{ControlFlow, Range};

use super::word::{Tally, Wanted, Word};
use crate::domain::UserId;

/// A chunk that would hold more is split.
const MOST: usize = 4096;
/// What is built at once leaves room for users whose ids are older than the newest.
const BUILT: usize = MOST / 4 * 3;
/// Words that are looked at together.
const BLOCK: usize = 64;

/// Where a user stands: by creation, and those of the same moment by their ids.
pub(super) type Key = (u64, UserId);

/// The key of a user.
pub(super) fn key(id: &UserId) -> Key {
    (id.created_ms(), *id)
}

/// The key before all of a moment (Unix time in milliseconds).
pub(super) fn first_of(created_ms: u64) -> Key {
    (created_ms, UserId::from_bytes([0; 16]))
}

#[derive(Default)]
struct Chunk {
    ids: Vec<UserId>,
    /// of the same users
    words: Vec<Word>,
    tally: Tally,
}

impl Chunk {
    fn of(users: &[(UserId, Word)]) -> Self {
        let mut tally = Tally::default();
        users.iter().for_each(|(_, word)| tally.add(*word));
        let (ids, words) = users.iter().copied().unzip();
        Self { ids, words, tally }
    }

    fn first(&self) -> Option<Key> {
        self.ids.first().map(key)
    }

    fn place(&self, wanted: &Key) -> Result<usize, usize> {
        self.ids.binary_search_by(|id| key(id).cmp(wanted))
    }

    /// Takes the users from this place on away.
    fn split_off(&mut self, at: usize) -> Self {
        let (ids, words) = (self.ids.split_off(at), self.words.split_off(at));
        let mut split = Self { ids, words, tally: Tally::default() };
        for word in &split.words {
            self.tally.remove(*word);
            split.tally.add(*word);
        }
        split
    }

    fn append(&mut self, mut next: Self) {
        self.ids.append(&mut next.ids);
        self.words.append(&mut next.words);
        self.tally.join(&next.tally);
    }
}

/// A place between two users: a chunk, and how many of its users come before.
type Place = (usize, usize);

/// Users in the order of their keys.
#[derive(Default)]
pub(super) struct Order {
    /// none is empty
    chunks: Vec<Chunk>,
    tally: Tally,
}

impl Order {
    /// Of these users, in any order.
    pub(super) fn of(mut users: Vec<(UserId, Word)>) -> Self {
        users.sort_unstable_by_key(|(id, _)| key(id));
        users.dedup_by_key(|(id, _)| *id);
        let mut order = Self::default();
        // from the end, and giving back by and by what was taken, so that not all of it is there twice
        let parts = users.len() / 8 + 1;
        let mut given_back = users.len();
        while !users.is_empty() {
            let chunk = Chunk::of(&users[(users.len() - 1) / BUILT * BUILT..]);
            users.truncate(users.len() - chunk.ids.len());
            if given_back - users.len() >= parts {
                users.shrink_to_fit();
                given_back = users.len();
            }
            order.tally.join(&chunk.tally);
            order.chunks.push(chunk);
        }
        order.chunks.reverse();
        order
    }

    /// How often each word occurs.
    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The chunk in which a key is, if it is in any.
    fn chunk_of(&self, wanted: &Key) -> usize {
        self.chunks.partition_point(|chunk| chunk.first().is_some_and(|first| first <= *wanted)).saturating_sub(1)
    }

    /// Sets the word of a user, who is added if need be; none takes the user away.
    pub(super) fn set(&mut self, id: &UserId, word: Option<Word>) {
        let wanted = key(id);
        let at = self.chunk_of(&wanted);
        let place = self.chunks.get(at).map_or(Err(0), |chunk| chunk.place(&wanted));
        match (place, word) {
            (Ok(i), Some(word)) => self.replace(at, i, word),
            (Ok(i), None) => self.remove(at, i),
            (Err(i), Some(word)) => self.insert(at, i, id, word),
            (Err(_), None) => {}
        }
    }

    /// Sets further bits of a user who is there.
    pub(super) fn raise(&mut self, id: &UserId, bits: Word) {
        let wanted = key(id);
        let at = self.chunk_of(&wanted);
        if let Some(Ok(i)) = self.chunks.get(at).map(|chunk| chunk.place(&wanted)) {
            self.replace(at, i, self.chunks[at].words[i] | bits);
        }
    }

    fn replace(&mut self, at: usize, i: usize, word: Word) {
        let chunk = &mut self.chunks[at];
        let before = std::mem::replace(&mut chunk.words[i], word);
        if before != word {
            for tally in [&mut chunk.tally, &mut self.tally] {
                tally.remove(before);
                tally.add(word);
            }
        }
    }

    fn insert(&mut self, at: usize, i: usize, id: &UserId, word: Word) {
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::default());
        }
        let chunk = &mut self.chunks[at];
        chunk.ids.insert(i, *id);
        chunk.words.insert(i, word);
        chunk.tally.add(word);
        self.tally.add(word);
        if chunk.ids.len() > MOST {
            // newcomers come at the end, and fill what is there
            let at_the_end = i == MOST && at + 1 == self.chunks.len();
            let split = self.chunks[at].split_off(if at_the_end { MOST } else { MOST / 2 });
            self.chunks.insert(at + 1, split);
        }
    }

    fn remove(&mut self, at: usize, i: usize) {
        let chunk = &mut self.chunks[at];
        chunk.ids.remove(i);
        let word = chunk.words.remove(i);
        chunk.tally.remove(word);
        self.tally.remove(word);
        let left = chunk.ids.len();
        let next = self.chunks.get(at + 1).map_or(MOST, |next| next.ids.len());
        if left == 0 {
            self.chunks.remove(at);
        } else if left + next <= MOST / 4 {
            let next = self.chunks.remove(at + 1);
            self.chunks[at].append(next);
        }
    }

    /// The place before the first user whose key is this or more, or with `past` more.
    fn place(&self, wanted: &Key, past: bool) -> Place {
        let at = self.chunk_of(wanted);
        match self.chunks.get(at).map_or(Err(0), |chunk| chunk.place(wanted)) {
            Ok(i) => (at, i + usize::from(past)),
            Err(i) => (at, i),
        }
    }

    /// The places of the users with keys of this range, who also come after this one in the order of listing.
    fn places(&self, keys: &Range<Option<Key>>, after: Option<&UserId>, newest_first: bool) -> Range<Place> {
        let start = keys.start.map_or((0, 0), |key| self.place(&key, false));
        let end = keys.end.map_or((self.chunks.len(), 0), |key| self.place(&key, false));
        match after {
            None => start..end,
            Some(id) if newest_first => start..end.min(self.place(&key(id), false)),
            Some(id) => start.max(self.place(&key(id), true))..end,
        }
    }

    /// The users between two places, chunk by chunk.
    fn parts(&self, places: &Range<Place>) -> impl DoubleEndedIterator<Item = (&Chunk, Range<usize>)> {
        let (start, end) = (places.start, places.end);
        let part = move |(at, chunk)| {
            let chunk: &Chunk = chunk;
            let from = if at == start.0 { start.1 } else { 0 };
            let to = if at == end.0 { end.1 } else { chunk.ids.len() };
            (from < to).then_some((chunk, from..to))
        };
        let last = self.chunks.len().min(end.0 + 1);
        let range = start.0.min(last)..last;
        let first = range.start;
        self.chunks[range].iter().enumerate().map(move |(i, chunk)| (first + i, chunk)).filter_map(part)
    }

    /// Shows users whose words are wanted, in the order of listing, until `see` has seen enough.
    pub(super) fn walk(
        &self,
        wanted: Wanted,
        keys: &Range<Option<Key>>,
        (after, newest_first): (Option<&UserId>, bool),
        see: &mut dyn FnMut(&UserId) -> ControlFlow<()>,
    ) {
        let places = self.places(keys, after, newest_first);
        let mut parts = self.parts(&places).filter(|(chunk, _)| chunk.tally.has(wanted));
        while let Some((chunk, part)) = if newest_first { parts.next_back() } else { parts.next() } {
            if walk_part(chunk, part, wanted, newest_first, see).is_break() {
                return;
            }
        }
    }

    /// How many users there are whose words are wanted and whose keys are in this range.
    pub(super) fn count(&self, wanted: Wanted, keys: &Range<Option<Key>>) -> usize {
        if *keys == (None..None) {
            return self.tally.count(wanted);
        }
        let count = |(chunk, part): (&Chunk, Range<usize>)| {
            if part.len() == chunk.ids.len() {
                chunk.tally.count(wanted)
            } else {
                chunk.words[part].iter().filter(|word| wanted.takes(**word)).count()
            }
        };
        self.parts(&self.places(keys, None, false)).map(count).sum()
    }
}

fn walk_part(
    chunk: &Chunk,
    part: Range<usize>,
    wanted: Wanted,
    newest_first: bool,
    see: &mut dyn FnMut(&UserId) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let nth = |i: usize, of: usize| if newest_first { of - 1 - i } else { i };
    let first = part.start;
    let words = &chunk.words[part];
    let blocks = words.len().div_ceil(BLOCK);
    for block in 0..blocks {
        let from = nth(block, blocks) * BLOCK;
        let block = &words[from..words.len().min(from + BLOCK)];
        // without a branch for each, since most blocks have none
        if !block.iter().fold(false, |any, word| any | wanted.takes(*word)) {
            continue;
        }
        for i in 0..block.len() {
            let i = nth(i, block.len());
            if wanted.takes(block[i]) {
                see(&chunk.ids[first + from + i])?;
            }
        }
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests;
