//! What users can be filtered by, and whether one fits.

use std::ops::Range;

use super::order::{Sought, first_of};
use super::word::{
    DISABLED, DOCUMENT, LASTING, OF_THE_RECORD, OTHER_PROVIDER, Providers, UNUSED, Wanted, has_document, of_record_at,
};
use crate::domain::{API_KEY, Extension, Record, ServiceTime, UserId, UserState};
use crate::store::Store;

/// Which users are meant: those of whom all of it is true. The default means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserFilter {
    /// Anonymous users, or accounts.
    pub anonymous: Option<bool>,
    /// Users who are disabled, or who are not.
    pub disabled: Option<bool>,
    /// Users who were created and never came back, or others.
    pub unused: Option<bool>,
    /// Users with a document, or without.
    pub document: Option<bool>,
    /// Users with an identity of this provider; of [`API_KEY`], users with a key.
    pub provider: Option<Box<str>>,
    /// Users whose ids were given out at this time: Unix time in milliseconds, the end excluded. None whose id does not tell.
    pub created: Option<Range<u64>>,
    /// Users who were last seen at this time, the end excluded.
    pub seen: Option<Range<ServiceTime>>,
}

impl UserFilter {
    /// Those who may fit; `None` if nobody does.
    pub(super) fn sought(&self, providers: &Providers) -> Option<Sought> {
        let mut wanted = Wanted::default();
        let is_account = self.anonymous.map(|anonymous| !anonymous);
        for (bit, on) in
            [(LASTING, is_account), (DISABLED, self.disabled), (UNUSED, self.unused), (DOCUMENT, self.document)]
        {
            if let Some(on) = on {
                wanted = wanted.and(bit, on)?;
            }
        }
        if let Some(provider) = &self.provider {
            wanted = wanted.and(providers.wanted(provider)?, true)?;
        }
        let created = self.created.as_ref();
        // whose id tells no time stands at 0
        let keys = created.map(|created| first_of(created.start.max(1)))..created.map(|created| first_of(created.end));
        Some(Sought { wanted, keys, seen: self.seen.clone() })
    }

    /// Whether a user whose word is wanted fits as the user is now.
    pub(super) fn fits(&self, wanted: Wanted, store: &dyn Store, id: &UserId, record: &Record) -> bool {
        let (word, _) = of_record_at(store, id, record, store.clock().wall_ms());
        let mask = wanted.mask & OF_THE_RECORD;
        word & mask == wanted.bits & mask
            && self.seen.as_ref().is_none_or(|seen| seen.contains(&record.last_seen))
            && (wanted.mask & OTHER_PROVIDER == 0 || self.has_provider(store, id))
    }

    /// Whether it takes a user who is in this state, at this Unix time in milliseconds. By the record alone an index may tell otherwise of a user who changed meanwhile.
    pub(crate) fn takes(&self, user: &UserState, wall_ms: u64) -> bool {
        let is = |wanted: Option<bool>, is: bool| wanted.is_none_or(|wanted| wanted == is);
        let has_provider = |name: &str| {
            user.identities().iter().any(|identity| *identity.key.provider == *name)
                || (name == API_KEY && !user.api_keys().is_empty())
        };
        is(self.anonymous, user.record.is_anonymous())
            && is(self.disabled, user.is_disabled(wall_ms))
            && is(self.unused, user.record.is_unused())
            && is(self.document, user.document.as_deref().is_some_and(has_document))
            && self.provider.as_deref().is_none_or(has_provider)
            && self.created.as_ref().is_none_or(|created| was_created(user.id.created_ms(), created))
            && self.seen.as_ref().is_none_or(|seen| seen.contains(&user.record.last_seen))
    }

    fn has_provider(&self, store: &dyn Store, id: &UserId) -> bool {
        let mut found = false;
        let see = |name: &str| found |= Some(name) == self.provider.as_deref();
        store.extension(id).is_some_and(|bytes| Extension::providers(&bytes, see).is_ok()) && found
    }
}

/// Whether an id was given out at this time; it was not if it does not tell.
fn was_created(created_ms: u64, within: &Range<u64>) -> bool {
    created_ms > 0 && within.contains(&created_ms)
}
