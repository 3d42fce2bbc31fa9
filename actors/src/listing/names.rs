//! Who has a session, an API key or an e-mail address: fingerprints of all of them, beside the index and only if somebody looks for one.
//!
//! A session's id is a hash of its user and number and cannot be turned round, so the first search reads every user. What it leaves
//! takes 12 bytes for each name, tells the few users who may have one, and goes with the index.

use std::collections::BTreeSet;
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

/// So many entries may wait to be sorted in.
const MOST_NEW: usize = 16_384;

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
    sorted: Vec<Entry>,
    /// those that came since
    new: BTreeSet<Entry>,
}

impl Names {
    /// Reads every user, page by page.
    pub(super) fn build(store: &dyn Store) -> Self {
        let known = store.users();
        let mut sorted = Vec::with_capacity(known + known / 16 + 1024);
        for page in 0..store.pages() {
            let mut others = Vec::new();
            store.see_users(page, &mut |id, record| match one_session(id, record) {
                Some(session) => {
                    let (second, end) = hint(id);
                    sorted.push((of_id(&session.0), second, end));
                }
                None => others.push(*id),
            });
            for user in others.iter().filter_map(|id| store.load(id)) {
                names_of(&user, &mut |entry| sorted.push(entry));
            }
        }
        sorted.sort_unstable();
        Self { sorted, new: BTreeSet::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.sorted.len() + self.new.len()
    }

    /// Adds what a user has by now.
    pub(super) fn add(&mut self, user: &UserState) {
        names_of(user, &mut |entry| {
            if self.sorted.binary_search(&entry).is_err() {
                self.new.insert(entry);
            }
        });
        if self.new.len() > MOST_NEW {
            self.sorted.extend(std::mem::take(&mut self.new));
            // two runs that are sorted, which this merges
            self.sorted.sort();
        }
    }

    /// Where those stand who may have it: the second of creation and the end of the id.
    pub(super) fn hints(&self, held: &Held) -> Vec<(u32, u32)> {
        let wanted = match held {
            Held::Id(id) => of_id(id),
            Held::Email(email) => of_email(email),
        };
        let from = self.sorted.partition_point(|(name, ..)| *name < wanted);
        let sorted = self.sorted[from..].iter().take_while(|(name, ..)| *name == wanted);
        let new = self.new.range((wanted, 0, 0)..=(wanted, u32::MAX, u32::MAX));
        sorted.chain(new).map(|(_, second, end)| (*second, *end)).collect()
    }
}

/// The one session of most users, which the record tells.
fn one_session(id: &UserId, record: &Record) -> Option<SessionId> {
    record.flags.kind().map(|_| SessionId::derive(id, record.session_no.into()))
}

fn names_of(user: &UserState, see: &mut dyn FnMut(Entry)) {
    let (second, end) = hint(&user.id);
    let mut see = |name: u32| see((name, second, end));
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
