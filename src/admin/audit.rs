//! The audit log: who did what, to whom, from where, when, and what became of it. Kept in the store, the newest for so long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use passerby_actors::domain::{Family, Listing, Rewrite, ValueKey};
use passerby_actors::handle::{Changes, Error, Handle, OwnChange};

use super::fault::Fault;
use super::record::{Entry, Outcome, Role, Who, decode, encode};
use crate::config::AdminRules;

/// How often a change is tried again when others were faster.
pub(super) const TRIES: usize = 8;
/// Entries that are dropped with each that is written, at most: of many that are written at the same time, one drops for all.
const DROPPED: usize = 64;
/// The share of the bound that entries of what was refused have (one part in so many), besides.
const REFUSED_SHARE: usize = 10;
/// Where `after` has whom it was done to, if there are several.
pub const IDS: &str = "user_ids";
/// Entries that are looked at for one page.
const LOOKED_AT: usize = 5000;
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
            && self.whom.as_deref().is_none_or(|whom| is_about(entry, whom))
    }
}

/// Whether something was done to this one, perhaps among others.
fn is_about(entry: &Entry, whom: &str) -> bool {
    let several = || entry.after.as_ref().and_then(|after| after.get(IDS)?.as_array());
    entry.whom.as_deref().unwrap_or_default() == whom
        || several().is_some_and(|ids| ids.iter().any(|id| id.as_str() == Some(whom)))
}

/// Some entries, the newest first.
pub struct Page {
    /// Their times (Unix time in milliseconds) and themselves.
    pub entries: Vec<(u64, Entry)>,
    /// Where the next page begins, if there is one.
    pub next: Option<Box<[u8]>>,
}

/// An action that has begun. Until it is told what became of it, its entry says that this is not known.
pub struct Begun {
    entry: Entry,
    key: ValueKey,
    bytes: Arc<[u8]>,
}

impl Begun {
    /// Says in the entry what is known of the action by now. It is written at the end.
    pub fn tell(&mut self, after: serde_json::Value) {
        self.entry.after = Some(after);
    }
}

/// The audit log. What was refused is apart from what was done, with a bound of its own: it drops nothing but its like.
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

    /// Where entries of this outcome are, and how many may be there.
    fn log_of(&self, outcome: Outcome) -> (Family, usize) {
        match outcome {
            Outcome::Refused => (Family::AUDIT_REFUSED, self.most / REFUSED_SHARE),
            Outcome::Done | Outcome::Unknown => (Family::AUDIT, self.most),
        }
    }

    /// What drops the oldest that are too old, or too many with one more.
    fn dropping(&self, handle: &Handle, (family, most): (Family, usize), now_ms: u64) -> Vec<OwnChange> {
        let surplus = (handle.own_count(family) + 1).saturating_sub(most);
        let oldest = handle.own_values(&Listing { family, after: None, last_first: false, most: DROPPED });
        let oldest = oldest.into_iter().enumerate();
        let over = oldest.filter(|(place, (key, _))| *place < surplus || self.is_over(&key.key, now_ms));
        over.map(|(_, (key, seen))| OwnChange { key, seen: Some(seen), change: Rewrite::Remove }).collect()
    }

    fn is_over(&self, key: &[u8], now_ms: u64) -> bool {
        at_ms(key).saturating_add(self.keep_ms) <= now_ms
    }

    /// Makes changes together with the entry that tells of them.
    ///
    /// # Errors
    /// `Moved`: one of them is of a value that is no longer what the caller saw. The core's.
    pub async fn commit(&self, handle: &Handle, changes: &[OwnChange], entry: &Entry) -> Result<(), Fault> {
        self.put(handle, changes, entry, &encode(entry)?).await.map(drop)
    }

    async fn put(
        &self,
        handle: &Handle,
        changes: &[OwnChange],
        entry: &Entry,
        bytes: &[u8],
    ) -> Result<ValueKey, Fault> {
        let now_ms = handle.core().store().clock().wall_ms();
        let log = self.log_of(entry.outcome);
        // one that has just begun drops nothing: it may be refused
        let drops = entry.outcome != Outcome::Unknown;
        let mut dropped = if drops { self.dropping(handle, log, now_ms) } else { Vec::new() };
        for _ in 0..TRIES {
            let count = self.written.fetch_add(1, Ordering::Relaxed);
            let key = ValueKey::own(log.0, [&now_ms.to_be_bytes()[..], &count.to_be_bytes()].concat());
            let put = OwnChange { key: key.clone(), seen: None, change: Rewrite::Put(bytes.into()) };
            let all = changes.iter().cloned().chain([put]).chain(std::mem::take(&mut dropped)).collect();
            match handle.change_own(all).await? {
                Changes::Done => return Ok(key),
                Changes::Moved { change } if change < changes.len() => return Err(Fault::Moved),
                // another entry dropped the same ones meanwhile: a later one drops what this one leaves
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

    /// Writes the entry of an action that is about to begin.
    ///
    /// # Errors
    /// The core's.
    pub async fn begin(&self, handle: &Handle, mut entry: Entry) -> Result<Begun, Fault> {
        entry.outcome = Outcome::Unknown;
        let bytes = encode(&entry)?;
        let key = self.put(handle, &[], &entry, &bytes).await?;
        Ok(Begun { entry, key, bytes: bytes.into() })
    }

    /// Writes into its entry what became of an action. A failure is logged: the action is over all the same.
    pub async fn end(&self, handle: &Handle, begun: Begun, outcome: Outcome) {
        if let Err(error) = self.try_end(handle, begun, outcome).await {
            tracing::error!(%error, "an entry of the audit log goes on saying that it is not known what became of an action");
        }
    }

    async fn try_end(&self, handle: &Handle, begun: Begun, outcome: Outcome) -> Result<(), Fault> {
        let Begun { entry, key, bytes } = begun;
        let entry = Entry { outcome, ..entry };
        let (family, most) = self.log_of(outcome);
        let next = Rewrite::Put(encode(&entry)?);
        let is_moved = family != key.family;
        let change = |key: ValueKey, seen, change| OwnChange { key, seen, change };
        let ended = if is_moved {
            let apart = ValueKey::own(family, &key.key[..]);
            vec![change(key.clone(), Some(bytes), Rewrite::Remove), change(apart, None, next)]
        } else {
            vec![change(key.clone(), Some(bytes), next)]
        };
        // an entry that stays where it is is counted already
        let log = (family, if is_moved { most } else { most + 1 });
        let mut dropped = self.dropping(handle, log, handle.core().store().clock().wall_ms());
        dropped.retain(|dropped| dropped.key != key);
        for dropped in [dropped, Vec::new()] {
            match handle.change_own(ended.iter().cloned().chain(dropped).collect()).await? {
                Changes::Done => return Ok(()),
                // so many were written meanwhile that it was dropped
                Changes::Moved { change } if change < ended.len() => break,
                // another entry dropped the same ones meanwhile
                Changes::Moved { .. } => {}
            }
        }
        self.write(handle, &entry).await
    }

    /// A page, after others had their turn: for reading many pages.
    ///
    /// # Errors
    /// As [`page`](Self::page).
    pub async fn next_page(
        &self,
        handle: &Handle,
        filter: &Filter,
        cursor: Option<&[u8]>,
        most: usize,
    ) -> Result<Page, Fault> {
        tokio::task::yield_now().await;
        self.page(handle, filter, cursor, most)
    }

    /// Drops what is too old or too many.
    ///
    /// # Errors
    /// The core's.
    pub async fn drop_old(&self, handle: &Handle) -> Result<(), Fault> {
        let now_ms = handle.core().store().clock().wall_ms();
        for outcome in [Outcome::Done, Outcome::Refused] {
            let (family, most) = self.log_of(outcome);
            loop {
                let dropped = self.dropping(handle, (family, most + 1), now_ms);
                if dropped.is_empty() {
                    break;
                }
                // what others dropped meanwhile is not there the next time
                handle.change_own(dropped).await?;
            }
        }
        Ok(())
    }

    /// The entries that the filter takes, the newest first, from before `cursor` on.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn page(&self, handle: &Handle, filter: &Filter, cursor: Option<&[u8]>, most: usize) -> Result<Page, Fault> {
        let now_ms = handle.core().store().clock().wall_ms();
        let newest =
            |family| Newest { handle, family, after: cursor.map(Box::from), read: VecDeque::new(), has_more: true };
        let (mut done, mut refused) = (newest(Family::AUDIT), newest(Family::AUDIT_REFUSED));
        let mut entries = Vec::new();
        for looked_at in 1.. {
            let next = if done.first() >= refused.first() { done.next() } else { refused.next() };
            let Some((key, bytes)) = next else { break };
            if self.is_over(&key.key, now_ms) {
                break;
            }
            let entry: Entry = decode(&bytes)?;
            if filter.takes(&entry) {
                entries.push((at_ms(&key.key), entry));
            }
            if entries.len() == most || looked_at == LOOKED_AT {
                return Ok(Page { entries, next: Some(key.key) });
            }
        }
        Ok(Page { entries, next: None })
    }
}

/// The entries of a family, the newest first, read some at a time.
struct Newest<'a> {
    handle: &'a Handle,
    family: Family,
    after: Option<Box<[u8]>>,
    read: VecDeque<(ValueKey, Arc<[u8]>)>,
    has_more: bool,
}

impl Newest<'_> {
    /// The key of the next one.
    fn first(&mut self) -> Option<&[u8]> {
        if self.read.is_empty() && self.has_more {
            let listing =
                Listing { family: self.family, after: self.after.as_deref(), last_first: true, most: AT_ONCE };
            self.read = self.handle.own_values(&listing).into();
            self.has_more = self.read.len() == AT_ONCE;
            self.after = self.read.back().map(|(key, _)| key.key.clone());
        }
        self.read.front().map(|(key, _)| &*key.key)
    }

    fn next(&mut self) -> Option<(ValueKey, Arc<[u8]>)> {
        self.read.pop_front()
    }
}

/// The time in an entry's key.
fn at_ms(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |time| u64::from_be_bytes(*time))
}
