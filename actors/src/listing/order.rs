//! Users in the order of their creation, in chunks that each know how often which word occurs in them, and so does each run of chunks:
//! what a filter does not want is skipped run by run and chunk by chunk.

use std::ops::{ControlFlow, Range};

use super::word::{Known, Tally, Wanted, Word};
use crate::domain::{ServiceTime, UserId};

/// A chunk that would hold more is split.
const MOST: usize = 4096;
/// What is built at once leaves room for users whose ids are older than the newest.
const BUILT: usize = MOST / 4 * 3;
/// So many chunks are a run.
const RUN: usize = 64;
/// Words that are looked at together.
const BLOCK: usize = 64;

/// Where a user stands: by creation, and those of the same moment by their ids. Those whose ids tell no time stand before all others.
pub(super) type Key = (u64, UserId);

/// The key of a user.
pub(super) fn key(id: &UserId) -> Key {
    (id.created_ms(), *id)
}

/// The key before all of a moment (Unix time in milliseconds).
pub(super) fn first_of(created_ms: u64) -> Key {
    (created_ms, UserId::from_bytes([0; 16]))
}

/// What is known of many users.
#[derive(Default)]
struct Summary {
    tally: Tally,
    /// None of them was seen last at a time that is not in here.
    seen: Range<ServiceTime>,
}

impl Summary {
    fn add(&mut self, known: Known) {
        self.tally.add(known.word);
        self.span(&(known.seen..known.seen.saturating_add(1)));
    }

    fn remove(&mut self, known: Known) {
        self.tally.remove(known.word);
    }

    fn join(&mut self, other: &Self) {
        self.tally.join(&other.tally);
        self.span(&other.seen);
    }

    fn span(&mut self, seen: &Range<ServiceTime>) {
        if self.seen.is_empty() {
            self.seen = seen.clone();
        } else {
            self.seen = self.seen.start.min(seen.start)..self.seen.end.max(seen.end);
        }
    }

    /// Whether one of them may be sought.
    fn has(&self, sought: &Sought) -> bool {
        let overlaps = |seen: &Range<ServiceTime>| seen.start < self.seen.end && self.seen.start < seen.end;
        sought.seen.as_ref().is_none_or(overlaps) && self.tally.has(sought.wanted)
    }

    /// How many of them are sought, if that can be told without looking at each.
    fn count(&self, sought: &Sought) -> Option<usize> {
        let is_inside = |seen: &Range<ServiceTime>| seen.start <= self.seen.start && self.seen.end <= seen.end;
        if sought.seen.as_ref().is_none_or(is_inside) {
            return Some(self.tally.count(sought.wanted));
        }
        (!self.has(sought)).then_some(0)
    }
}

/// Who is sought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sought {
    pub(super) wanted: Wanted,
    pub(super) keys: Range<Option<Key>>,
    pub(super) seen: Option<Range<ServiceTime>>,
}

impl Sought {
    fn takes(&self, word: Word, seen: ServiceTime) -> bool {
        self.wanted.takes(word) & self.seen.as_ref().is_none_or(|wanted| wanted.contains(&seen))
    }
}

#[derive(Default)]
struct Chunk {
    ids: Vec<UserId>,
    /// of the same users
    words: Vec<Word>,
    /// of the same users
    seen: Vec<ServiceTime>,
    summary: Summary,
}

impl Chunk {
    fn of(users: &[(UserId, Known)]) -> Self {
        let mut summary = Summary::default();
        users.iter().for_each(|(_, known)| summary.add(*known));
        let ids = users.iter().map(|(id, _)| *id).collect();
        let (words, seen) = users.iter().map(|(_, known)| (known.word, known.seen)).unzip();
        Self { ids, words, seen, summary }
    }

    fn first(&self) -> Option<Key> {
        self.ids.first().map(key)
    }

    fn known(&self, i: usize) -> Known {
        Known { word: self.words[i], seen: self.seen[i] }
    }

    fn place(&self, wanted: &Key) -> Result<usize, usize> {
        self.ids.binary_search_by(|id| key(id).cmp(wanted))
    }

    fn summarize(&mut self) {
        self.summary = Summary::default();
        for i in 0..self.ids.len() {
            self.summary.add(self.known(i));
        }
    }

    /// Takes the users from this place on away.
    fn split_off(&mut self, at: usize) -> Self {
        let (ids, words, seen) = (self.ids.split_off(at), self.words.split_off(at), self.seen.split_off(at));
        let mut split = Self { ids, words, seen, summary: Summary::default() };
        self.summarize();
        split.summarize();
        split
    }

    fn append(&mut self, mut next: Self) {
        self.ids.append(&mut next.ids);
        self.words.append(&mut next.words);
        self.seen.append(&mut next.seen);
        self.summary.join(&next.summary);
    }
}

/// A place between two users: a chunk, and how many of its users come before.
type Place = (usize, usize);

/// How far a walk came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Walked {
    /// At so many users it looked for when they were seen last.
    pub(super) looked_at: usize,
    /// If there are more users than it may look at: the last of those.
    pub(super) goes_on_after: Option<UserId>,
}

/// Users in the order of their keys.
#[derive(Default)]
pub(super) struct Order {
    /// none is empty
    chunks: Vec<Chunk>,
    /// of the chunks, [`RUN`] at a time from the first on
    runs: Vec<Summary>,
    all: Summary,
}

impl Order {
    /// Of these users, in any order.
    pub(super) fn of(mut users: Vec<(UserId, Known)>) -> Self {
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
            order.all.join(&chunk.summary);
            order.chunks.push(chunk);
        }
        order.chunks.reverse();
        order.summarize_runs(0);
        order
    }

    /// Summarizes the runs from that of this chunk on, whose chunks are others now. Chunks come and go once in thousands of users.
    fn summarize_runs(&mut self, chunk: usize) {
        let run = chunk / RUN;
        self.runs.truncate(run);
        let chunks = &self.chunks[self.chunks.len().min(run * RUN)..];
        self.runs.extend(chunks.chunks(RUN).map(|chunks| {
            let mut summary = Summary::default();
            chunks.iter().for_each(|chunk| summary.join(&chunk.summary));
            summary
        }));
    }

    /// How often each word occurs.
    pub(super) fn tally(&self) -> &Tally {
        &self.all.tally
    }

    /// The chunk in which a key is, if it is in any.
    fn chunk_of(&self, wanted: &Key) -> usize {
        self.chunks.partition_point(|chunk| chunk.first().is_some_and(|first| first <= *wanted)).saturating_sub(1)
    }

    /// Sets what is known of a user, who is added if need be; none takes the user away.
    pub(super) fn set(&mut self, id: &UserId, known: Option<Known>) {
        let wanted = key(id);
        let at = self.chunk_of(&wanted);
        let place = self.chunks.get(at).map_or(Err(0), |chunk| chunk.place(&wanted));
        match (place, known) {
            (Ok(i), Some(known)) => self.replace(at, i, known),
            (Ok(i), None) => self.remove(at, i),
            (Err(i), Some(known)) => self.insert(at, i, id, known),
            (Err(_), None) => {}
        }
    }

    /// Sets further bits of a user who is there.
    pub(super) fn raise(&mut self, id: &UserId, bits: Word) {
        let wanted = key(id);
        let at = self.chunk_of(&wanted);
        if let Some(Ok(i)) = self.chunks.get(at).map(|chunk| chunk.place(&wanted)) {
            let Known { word, seen } = self.chunks[at].known(i);
            self.replace(at, i, Known { word: word | bits, seen });
        }
    }

    fn replace(&mut self, at: usize, i: usize, known: Known) {
        let chunk = &mut self.chunks[at];
        let before = chunk.known(i);
        if before != known {
            (chunk.words[i], chunk.seen[i]) = (known.word, known.seen);
            for summary in [&mut chunk.summary, &mut self.runs[at / RUN], &mut self.all] {
                summary.remove(before);
                summary.add(known);
            }
        }
    }

    fn insert(&mut self, at: usize, i: usize, id: &UserId, known: Known) {
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::default());
            self.runs.push(Summary::default());
        }
        let chunk = &mut self.chunks[at];
        chunk.ids.insert(i, *id);
        chunk.words.insert(i, known.word);
        chunk.seen.insert(i, known.seen);
        for summary in [&mut chunk.summary, &mut self.runs[at / RUN], &mut self.all] {
            summary.add(known);
        }
        if chunk.ids.len() > MOST {
            // newcomers come at the end, and fill what is there
            let at_the_end = i == MOST && at + 1 == self.chunks.len();
            let split = self.chunks[at].split_off(if at_the_end { MOST } else { MOST / 2 });
            self.chunks.insert(at + 1, split);
            self.summarize_runs(at);
        }
    }

    fn remove(&mut self, at: usize, i: usize) {
        let chunk = &mut self.chunks[at];
        let known = chunk.known(i);
        chunk.ids.remove(i);
        chunk.words.remove(i);
        chunk.seen.remove(i);
        for summary in [&mut chunk.summary, &mut self.runs[at / RUN], &mut self.all] {
            summary.remove(known);
        }
        let left = chunk.ids.len();
        let next = self.chunks.get(at + 1).map_or(MOST, |next| next.ids.len());
        if left == 0 {
            self.chunks.remove(at);
        } else if left + next <= MOST / 4 {
            let next = self.chunks.remove(at + 1);
            self.chunks[at].append(next);
        } else {
            return;
        }
        self.summarize_runs(at);
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

    /// The chunks of a run that have users between two places.
    fn chunks_of(&self, run: usize, places: &Range<Place>) -> Range<usize> {
        let last = self.chunks.len().min(places.end.0 + 1);
        places.start.0.max(run * RUN)..last.min((run + 1) * RUN)
    }

    /// The users of a chunk between two places.
    fn part_of(&self, at: usize, places: &Range<Place>) -> Range<usize> {
        let (start, end) = (places.start, places.end);
        let from = if at == start.0 { start.1 } else { 0 };
        let to = if at == end.0 { end.1 } else { self.chunks[at].ids.len() };
        from..to.max(from)
    }

    /// Shows users who are sought, in the order of listing, until `see` has seen enough. For when they were seen last it looks at about
    /// `most` at most.
    pub(super) fn walk(
        &self,
        sought: &Sought,
        (after, newest_first): (Option<&UserId>, bool),
        most: usize,
        see: &mut dyn FnMut(&UserId) -> ControlFlow<()>,
    ) -> Walked {
        let places = self.places(&sought.keys, after, newest_first);
        let (mut looked_at, mut last) = (0, None);
        for run in in_order(0..self.runs.len(), newest_first) {
            let chunks = self.chunks_of(run, &places);
            if chunks.is_empty() || !self.runs[run].has(sought) {
                continue;
            }
            for at in in_order(chunks, newest_first) {
                let (chunk, part) = (&self.chunks[at], self.part_of(at, &places));
                if part.is_empty() || !chunk.summary.has(sought) {
                    continue;
                }
                if looked_at >= most {
                    return Walked { looked_at, goes_on_after: last };
                }
                if sought.seen.is_some() {
                    looked_at += part.len();
                    last = Some(chunk.ids[if newest_first { part.start } else { part.end - 1 }]);
                }
                if walk_part(chunk, part, sought, newest_first, see).is_break() {
                    return Walked { looked_at, goes_on_after: None };
                }
            }
        }
        Walked { looked_at, goes_on_after: None }
    }

    /// How many users are sought. It looks at each only where that has to be.
    pub(super) fn count(&self, sought: &Sought) -> usize {
        let places = self.places(&sought.keys, None, false);
        let is_whole = |at: usize| self.part_of(at, &places).len() == self.chunks[at].ids.len();
        let of_chunk = |at: usize| {
            let (chunk, part) = (&self.chunks[at], self.part_of(at, &places));
            let told = if is_whole(at) { chunk.summary.count(sought) } else { None };
            told.unwrap_or_else(|| {
                let users = chunk.words[part.clone()].iter().zip(&chunk.seen[part]);
                users.filter(|(word, seen)| sought.takes(**word, **seen)).count()
            })
        };
        let of_run = |run: usize| {
            let chunks = self.chunks_of(run, &places);
            let of_all = run * RUN..self.chunks.len().min((run + 1) * RUN);
            let is_whole = chunks == of_all && is_whole(chunks.start) && is_whole(chunks.end - 1);
            let told = if is_whole { self.runs[run].count(sought) } else { None };
            told.unwrap_or_else(|| chunks.map(of_chunk).sum())
        };
        (0..self.runs.len()).map(of_run).sum()
    }
}

fn in_order(range: Range<usize>, newest_first: bool) -> impl Iterator<Item = usize> {
    let (start, end) = (range.start, range.end);
    range.map(move |i| if newest_first { end - 1 - (i - start) } else { i })
}

fn walk_part(
    chunk: &Chunk,
    part: Range<usize>,
    sought: &Sought,
    newest_first: bool,
    see: &mut dyn FnMut(&UserId) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (ids, words, seen) = (&chunk.ids[part.clone()], &chunk.words[part.clone()], &chunk.seen[part]);
    for block in in_order(0..ids.len().div_ceil(BLOCK), newest_first) {
        let block = block * BLOCK..ids.len().min((block + 1) * BLOCK);
        // without a branch for each, since most blocks have none
        if !has(&words[block.clone()], &seen[block.clone()], sought) {
            continue;
        }
        for i in in_order(block, newest_first) {
            if sought.takes(words[i], seen[i]) {
                see(&ids[i])?;
            }
        }
    }
    ControlFlow::Continue(())
}

fn has(words: &[Word], seen: &[ServiceTime], sought: &Sought) -> bool {
    let wanted = sought.wanted;
    match &sought.seen {
        None => words.iter().fold(false, |any, word| any | wanted.takes(*word)),
        Some(times) => {
            let is_in = |seen: ServiceTime| (seen >= times.start) & (seen < times.end);
            // words that all are wanted need not be read from memory
            if wanted == Wanted::default() {
                return seen.iter().fold(false, |any, seen| any | is_in(*seen));
            }
            let users = words.iter().zip(seen);
            users.fold(false, |any, (word, seen)| any | (wanted.takes(*word) & is_in(*seen)))
        }
    }
}

#[cfg(test)]
mod tests;
