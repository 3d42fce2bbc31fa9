//! The audit log: who did what, to whom, from where, when, and what became of it. Kept in the store, the newest for so long.

use std::sync::atomic::{AtomicU32, Ordering};

use passerby_actors::domain::{Family, Listing, Rewrite, ValueKey};
use passerby_actors::handle::{Changes, Error, Handle, OwnChange};

use super::fault::Fault;
use super::record::{Entry, Outcome, Role, Who, decode, encode};
use crate::config::AdminRules;

/// How often a change is tried again when others were faster.
pub(super) const TRIES: usize = 8;
/// Entries that are dropped with each that is written, at most: more than one, so that a lowered bound is reached.
const DROPPED: usize = 8;
/// Entries that are looked at for one page.
const LOOKED_AT: usize = 20_000;
const AT_ONCE: usize = 500;

const DAY_MS: u64 = 86_400_000;

/// Who does something, as the log names them.
#[derive(Debug, Clone)]
pub struct By {
    /// Who.
    pub who: String,
    /// In which role; none before a login.
    pub role: Option<Role>,
    /// From which address; none on a server that is stopped.
    pub address: Option<String>,
}

impl By {
    /// Of someone who is known.
    pub fn new(who: &Who, role: Role, address: Option<String>) -> Self {
        Self { who: who.to_string(), role: Some(role), address }
    }

    /// The entry for what they did.
    pub fn did(&self, what: &str, whom: Option<&str>, outcome: Outcome) -> Entry {
        Entry {
            who: self.who.clone(),
            role: self.role,
            what: what.to_owned(),
            whom: whom.map(str::to_owned),
            address: self.address.clone(),
            outcome,
            before: None,
            after: None,
            reason: None,
        }
    }
}

/// Which entries are read.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By whom.
    pub who: Option<String>,
    /// What; a word before the dot stands for all of its kind.
    pub what: Option<String>,
    /// Whom it was done to.
    pub whom: Option<String>,
}

impl Filter {
    fn takes(&self, entry: &Entry) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let kind = entry.what.split('.').next().unwrap_or_default();
        is(&self.who, &entry.who)
            && (is(&self.what, &entry.what) || is(&self.what, kind))
            && is(&self.whom, entry.whom.as_deref().unwrap_or_default())
    }
}

/// Some entries, the newest first.
pub struct Page {
    /// Their times (Unix time in milliseconds) and themselves.
    pub entries: Vec<(u64, Entry)>,
    /// Where the next page begins, if there is one.
    pub next: Option<Box<[u8]>>,
}

/// The audit log.
pub struct Audit {
    written: AtomicU32,
    keep_ms: u64,
    most: usize,
}

impl Audit {
    /// With the retention of the settings.
    pub fn new(rules: &AdminRules) -> Self {
        let keep_ms = u64::from(rules.audit_days) * DAY_MS;
        Self { written: AtomicU32::new(0), keep_ms, most: rules.audit_max }
    }

    /// What writes an entry, and drops the oldest that are too old or too many.
    fn changes(&self, handle: &Handle, entry: &Entry) -> Result<Vec<OwnChange>, Fault> {
        let now_ms = handle.core().store().clock().wall_ms();
        let count = self.written.fetch_add(1, Ordering::Relaxed);
        let key = [&now_ms.to_be_bytes()[..], &count.to_be_bytes()].concat();
        let put = Rewrite::Put(encode(entry)?);
        let mut changes = vec![OwnChange { key: ValueKey::own(Family::AUDIT, key), seen: None, change: put }];
        let surplus = (handle.own_count(Family::AUDIT) + 1).saturating_sub(self.most);
        let oldest = Listing { family: Family::AUDIT, after: None, last_first: false, most: DROPPED };
        for (place, (key, seen)) in handle.own_values(&oldest).into_iter().enumerate() {
            if place < surplus || self.is_over(&key.key, now_ms) {
                changes.push(OwnChange { key, seen: Some(seen), change: Rewrite::Remove });
            }
        }
        Ok(changes)
    }

    fn is_over(&self, key: &[u8], now_ms: u64) -> bool {
        at_ms(key).saturating_add(self.keep_ms) <= now_ms
    }

    /// Makes changes together with the entry that tells of them.
    ///
    /// # Errors
    /// `Moved`: one of them is of a value that is no longer what the caller saw. The core's.
    pub async fn commit(&self, handle: &Handle, changes: &[OwnChange], entry: &Entry) -> Result<(), Fault> {
        for _ in 0..TRIES {
            let all = changes.iter().cloned().chain(self.changes(handle, entry)?).collect();
            match handle.change_own(all).await? {
                Changes::Done => return Ok(()),
                Changes::Moved { change } if change < changes.len() => return Err(Fault::Moved),
                // an old entry that others dropped meanwhile
                Changes::Moved { .. } => {}
            }
        }
        Err(Error::Busy.into())
    }

    /// Writes an entry.
    ///
    /// # Errors
    /// The core's.
    pub async fn write(&self, handle: &Handle, entry: &Entry) -> Result<(), Fault> {
        self.commit(handle, &[], entry).await
    }

    /// The entries that the filter takes, the newest first, from before `cursor` on.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn page(&self, handle: &Handle, filter: &Filter, cursor: Option<&[u8]>, most: usize) -> Result<Page, Fault> {
        let now_ms = handle.core().store().clock().wall_ms();
        let (mut entries, mut next, mut looked_at) = (Vec::new(), cursor.map(Box::from), 0);
        loop {
            let after: Option<&[u8]> = next.as_deref();
            let listing = Listing { family: Family::AUDIT, after, last_first: true, most: AT_ONCE };
            let some = handle.own_values(&listing);
            let is_last = some.len() < AT_ONCE;
            for (key, bytes) in some {
                if self.is_over(&key.key, now_ms) {
                    return Ok(Page { entries, next: None });
                }
                let entry: Entry = decode(&bytes)?;
                looked_at += 1;
                if filter.takes(&entry) {
                    entries.push((at_ms(&key.key), entry));
                }
                next = Some(key.key);
                if entries.len() == most {
                    return Ok(Page { entries, next });
                }
            }
            if is_last {
                return Ok(Page { entries, next: None });
            }
            if looked_at >= LOOKED_AT {
                return Ok(Page { entries, next });
            }
        }
    }
}

/// The time in an entry's key.
fn at_ms(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |time| u64::from_be_bytes(*time))
}
