//! Merging: what becomes of an anonymous user's data when it becomes part of an account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::clock::ServiceTime;
use super::document::{Conflicts, KeyRule};
use super::extension::Alias;
use super::meter::MeterMerge;
use super::operation::Refusal;
use super::policy::Policy;
use super::record::Flags;
use super::session::{Opening, Session};
use super::user::UserState;

/// How many users who became part of one are remembered, the latest: each check of its tokens reads their ids.
pub const MAX_ALIASES: usize = 256;

/// How the data of the two become one. Every kind of data that users have is decided here and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MergePolicy {
    /// Whether the account takes the creation date of the older of the two; otherwise it keeps its own date.
    pub oldest_created: bool,
    /// Meters of which the larger use counts; of all others the sum.
    pub larger: BTreeSet<Box<str>>,
    /// What becomes of a key that both documents have.
    pub document: KeyRule,
    /// Keys with a rule of their own.
    pub document_keys: BTreeMap<Box<str>, KeyRule>,
}

/// What an account is after a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The account; the store sets the version.
    pub survivor: UserState,
    /// Its new session.
    pub session: Session,
    /// What its document does not hold of the other's.
    pub conflicts: Conflicts,
}

impl MergePolicy {
    /// The account `target` with all that the anonymous user `source` has, and with a new session. The id of the source
    /// becomes an alias, and its sessions end with it; beyond [`MAX_ALIASES`] the oldest alias is forgotten. `wall_s` is now as
    /// Unix time, by which meters run.
    ///
    /// # Errors
    /// The source is a lasting account, or one of them is gone or disabled, or the document would be too large.
    pub fn merge(
        &self,
        source: &UserState,
        target: &UserState,
        opening: Opening,
        now: ServiceTime,
        wall_s: i64,
        policy: &Policy,
    ) -> Result<Merged, Refusal> {
        if source.record.is_expired(now, policy.window_s) {
            return Err(Refusal::Gone);
        }
        if !source.record.is_anonymous() {
            return Err(Refusal::NotAnonymous);
        }
        if source.record.flags.has(Flags::DISABLED) {
            return Err(Refusal::Disabled);
        }
        let (mut survivor, session) = target.open_session(opening, now, policy)?;
        let extension = survivor.extension.get_or_insert_default();
        // what was merged into an anonymous user goes along, so that no alias ever leads to an alias
        let inherited = source.extension.iter().flat_map(|extension| &extension.aliases).copied();
        extension.aliases.extend(inherited.chain([Alias { id: source.id, merged: now }]));
        forget_oldest(&mut extension.aliases);
        if self.oldest_created && (1..target.created_ms()).contains(&source.created_ms()) {
            extension.created_ms = Some(source.created_ms());
        }
        if source.meters.is_some() {
            let rule = |name: &str| if self.larger.contains(name) { MeterMerge::Max } else { MeterMerge::Sum };
            survivor.meters = Some(Arc::from(target.meters().merged(&source.meters(), wall_s, rule).encode()));
        }
        let theirs = source.document();
        let mut conflicts = Conflicts::default();
        if source.document.is_some() {
            let rule = |key: &str| self.document_keys.get(key).copied().unwrap_or(self.document);
            let (joined, left_out) = target.document().merged(&theirs, now, policy.document_bytes, rule)?;
            survivor.document = Some(Arc::from(joined.encode()));
            conflicts = left_out;
        }
        Ok(Merged { survivor, session, conflicts })
    }
}

/// Leaves the latest [`MAX_ALIASES`], in their order.
fn forget_oldest(aliases: &mut Vec<Alias>) {
    while aliases.len() > MAX_ALIASES {
        let oldest = aliases.iter().enumerate().min_by_key(|(_, alias)| alias.merged);
        let Some((oldest, _)) = oldest else { return };
        aliases.remove(oldest);
    }
}

impl UserState {
    /// When the user was created, Unix time in milliseconds; 0 if neither is it kept nor does the id tell.
    pub fn created_ms(&self) -> u64 {
        self.extension.as_ref().and_then(|extension| extension.created_ms).unwrap_or_else(|| self.id.created_ms())
    }

    /// Ids of users who became part of this one, in merge order.
    pub fn aliases(&self) -> &[Alias] {
        self.extension.as_ref().map_or(&[], |extension| &extension.aliases)
    }
}
