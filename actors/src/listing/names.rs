//! Who has a session, an API key or an e-mail address: fingerprints of all of them, beside the index and only if somebody looks for one.
//!
//! A session's id is a hash of its user and number and cannot be turned round, so the first search reads every user. What it leaves
//! takes 12 bytes for each name, tells the few users who may have one, and goes with the index.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;

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

/// What a name is found by: its fingerprint, then of its user the second of creation and the end of the id.
type Entry = (u32, u32, u32);

/// So many entries, more or less, share a bucket, in which each is looked at.
const BUCKET: usize = 1024;
/// At least so many users are read at a time.
const AT_ONCE: usize = 32_768;

/// The second in which a user was created, and the end of the id.
pub(super) fn hint(id: &UserId) -> (u32, u32) {
    let [.., a, b, c, d] = *id.as_bytes();
    (u32::try_from(id.created_ms() / 1000).unwrap_or(u32::MAX), u32::from_be_bytes([a, b, c, d]))
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
    len: usize,
    /// of the store: the first that is not read
    page: usize,
}

impl Names {
    /// Of about so many users, none of whom is read.
    pub(super) fn of(users: usize) -> Self {
        let buckets = users / BUCKET + 1;
        let room = users / buckets * 9 / 8;
        Self { buckets: (0..buckets).map(|_| Vec::with_capacity(room)).collect(), len: 0, page: 0 }
    }

    /// Reads some users, if not all are read. Answers whether all are.
    pub(super) fn read_some(&mut self, store: &dyn Store) -> bool {
        let (pages, mut users) = (store.pages(), Vec::with_capacity(AT_ONCE * 2));
        while self.page < pages && users.len() < AT_ONCE {
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
        self.page == pages
    }

    /// Whether all users are read.
    pub(super) fn are_all(&self, store: &dyn Store) -> bool {
        self.page == store.pages()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.len
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
        self.len += 1;
    }

    /// Where those stand who may have it: the second of creation and the end of the id.
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
