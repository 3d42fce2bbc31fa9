//! Who has a session, an API key or an e-mail address: fingerprints of all of them, beside the index and only if somebody looks for one.
//!
//! A session's id is a hash of its user and number and cannot be turned round, so the first search reads every user. What it leaves
//! takes 12 bytes for each name, tells the few users who may have one, and goes with the index.

use std::hash::BuildHasher;
use std::ops::Range;

use foldhash::fast::FixedState;

use super::order::{Key, first_of};
use crate::domain::{Record, SessionId, UserId, UserState};
use crate::store::Store;

/// Something that a user may have, and of which it is not known who has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    /// A session or an API key of this id.
    Id([u8; 12]),
    /// An identity of whose owner the provider tells this e-mail address, whichever case it is written in.
    Email(Box<str>),
}

/// What a name is found by: its fingerprint, then its user's [`hint`].
type Entry = (u32, u32, u32);

/// So many entries, more or less, share a bucket, in which each is looked at.
const BUCKET: usize = 1024;
/// So many that are added are kept whatever the number of users.
const AT_LEAST: usize = 1 << 20;
/// At least so many users are read at a time.
const AT_ONCE: usize = 32_768;

/// Where a user stands in the order, as far as it has room: the second of creation, or of an id that tells none its beginning; and the
/// end of the id.
pub(super) fn hint(id: &UserId) -> (u32, u32) {
    let [a, b, c, d, .., w, x, y, z] = *id.as_bytes();
    let second = u32::try_from(id.created_ms() / 1000).unwrap_or(u32::MAX);
    (if second == 0 { u32::from_be_bytes([a, b, c, d]) } else { second }, u32::from_be_bytes([w, x, y, z]))
}

/// Where those stand who may have this for the first half of their hint.
pub(super) fn places(first: u32) -> [Range<Option<Key>>; 2] {
    let ms = u64::from(first) * 1000;
    let beginning = |first: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&first.to_be_bytes());
        (0, UserId::from_bytes(id))
    };
    let next = first.checked_add(1).map_or(first_of(1), beginning);
    // of the first second those whose ids tell none stand apart, each by its beginning
    [Some(first_of(ms.max(1)))..Some(first_of(ms + 1000)), Some(beginning(first))..Some(next)]
}

fn of_id(id: &[u8; 12]) -> u32 {
    // ids are hashes, or random
    let [a, b, c, d, ..] = *id;
    u32::from_be_bytes([a, b, c, d])
}

fn of_email(email: &str) -> u32 {
    FixedState::default().hash_one(email.to_ascii_lowercase()) as u32
}

/// The names of all users, and of some who are gone.
pub(super) struct Names {
    /// by their fingerprints
    buckets: Box<[Vec<Entry>]>,
    /// how many were put there since all were read
    added: usize,
    /// of the store: the first that is not read
    page: usize,
    pages: usize,
}

impl Names {
    /// Of about so many users in so many pages of the store, none of which is read.
    pub(super) fn of(users: usize, pages: usize) -> Self {
        let buckets = users / BUCKET + 1;
        let room = users / buckets * 9 / 8;
        Self { buckets: (0..buckets).map(|_| Vec::with_capacity(room)).collect(), added: 0, page: 0, pages }
    }

    /// Reads some users, if not all are read. Answers whether all are.
    pub(super) fn read_some(&mut self, store: &dyn Store) -> bool {
        let mut users = Vec::with_capacity(AT_ONCE * 2);
        while self.page < self.pages && users.len() < AT_ONCE {
            // hashed when nothing is locked any more
            store.see_users(self.page, &mut |id, record| users.push((*id, one_session(record))));
            self.page += 1;
        }
        for (id, session) in users {
            match session {
                Some(number) => self.put(entry(of_id(&SessionId::derive(&id, number).0), &id), false),
                None => {
                    let user = store.load(&id);
                    user.iter().for_each(|user| names_of(user, &mut |name| self.put(entry(name, &id), false)));
                }
            }
        }
        self.is_read()
    }

    /// Whether all users are read.
    pub(super) fn is_read(&self) -> bool {
        self.page == self.pages
    }

    /// Whether more were added since all were read than are worth keeping beside those of so many users: the most are of sessions that are over.
    /// What is not read to its end goes on, or a search would never end.
    pub(super) fn is_stale(&self, users: usize) -> bool {
        self.is_read() && self.added > users.saturating_mul(4).saturating_add(AT_LEAST)
    }

    /// Adds what a user has by now.
    pub(super) fn add(&mut self, user: &UserState) {
        names_of(user, &mut |name| self.put(entry(name, &user.id), true));
    }

    /// Puts an entry, if need be after a look at whether it is there. One that is there twice does no harm.
    fn put(&mut self, entry: Entry, may_be_there: bool) {
        let bucket = bucket(entry.0, self.buckets.len());
        let Some(bucket) = self.buckets.get_mut(bucket) else { return };
        if may_be_there && bucket.contains(&entry) {
            return;
        }
        if bucket.len() == bucket.capacity() {
            // doubled, all of them together would take twice what they need
            bucket.reserve_exact(bucket.len() / 8 + 8);
        }
        bucket.push(entry);
        self.added += usize::from(may_be_there && self.is_read());
    }

    /// The hints of those who may have it.
    pub(super) fn hints(&self, held: &Held) -> impl Iterator<Item = (u32, u32)> {
        let wanted = match held {
            Held::Id(id) => of_id(id),
            Held::Email(email) => of_email(email),
        };
        let bucket = self.buckets.get(bucket(wanted, self.buckets.len())).into_iter().flatten();
        bucket.filter(move |(name, ..)| *name == wanted).map(|(_, second, end)| (*second, *end))
    }
}

/// The bucket of a fingerprint, of so many.
fn bucket(name: u32, buckets: usize) -> usize {
    ((u64::from(name) * buckets as u64) >> 32) as usize
}

fn entry(name: u32, id: &UserId) -> Entry {
    let (second, end) = hint(id);
    (name, second, end)
}

/// The number of the one session of most users, which the record tells.
fn one_session(record: &Record) -> Option<u32> {
    record.flags.kind().map(|_| record.session_no.into())
}

fn names_of(user: &UserState, see: &mut dyn FnMut(u32)) {
    user.sessions().iter().for_each(|session| see(of_id(&SessionId::derive(&user.id, session.number).0)));
    user.api_keys().iter().for_each(|key| see(of_id(&key.id.0)));
    user.identities().iter().filter_map(|identity| email(&identity.data)).for_each(|email| see(of_email(&email)));
}

impl Held {
    /// Whether a user has it.
    pub(super) fn is_of(&self, user: &UserState) -> bool {
        match self {
            Self::Id(wanted) => {
                let is_session = |number: u32| SessionId::derive(&user.id, number).0 == *wanted;
                user.sessions().iter().any(|session| is_session(session.number))
                    || user.api_keys().iter().any(|key| key.id.0 == *wanted)
            }
            Self::Email(wanted) => {
                let mut emails = user.identities().iter().filter_map(|identity| email(&identity.data));
                emails.any(|email| email.eq_ignore_ascii_case(wanted))
            }
        }
    }
}

/// The e-mail address in what a provider tells.
fn email(data: &str) -> Option<String> {
    let data: serde_json::Value = serde_json::from_str(data).ok()?;
    data["email"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dropped_for_what_was_added_since_all_were_read_and_not_before() {
        let mut names = Names::of(1, 1);
        names.put((1, 1, 1), true);
        names.page = 1;
        names.put((2, 1, 1), false);
        assert_eq!(names.added, 0, "what was there is no reason to read it again");
        (0..2).for_each(|_| names.put((3, 1, 1), true));
        assert_eq!(names.added, 1);
        names.added = AT_LEAST + 1;
        assert!(names.is_stale(0) && !names.is_stale(1));
        names.page = 0;
        assert!(!names.is_stale(0), "it would be read from the beginning for ever");
    }
}
