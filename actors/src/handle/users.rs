//! Users listed, counted and found: an operator's questions.

use std::task::Poll;

use super::Handle;
use crate::actor::{Bulk, BulkAction, BulkJob, BulkUnderWay, Error};
use crate::domain::{Credential, IdentityKey, SessionId, UserId, UserState};
use crate::listing::{Held, Index, UserCounts, UserFilter, UserPage, UserQuery};

/// By what a user was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FoundBy {
    /// The user's id.
    Id,
    /// The id of a user who became part of this one.
    Alias,
    /// The id of the user's anonymous identity.
    AnonymousIdentity,
    /// The id of an identity at its provider.
    Identity,
    /// The name that the user logs in with.
    Name,
    /// The id of a session or an API key.
    SessionOrKey,
    /// The e-mail address that a provider tells.
    Email,
}

/// How many letters of the user's id the id of an anonymous identity begins with.
const ID_DIGITS: usize = 24;

impl Handle {
    /// One page of users. The first question in a while waits until the index is built: a second or two for ten million users.
    ///
    /// # Errors
    /// `Overloaded`: too many ask. `Stopping`.
    pub async fn users(&self, query: UserQuery) -> Result<UserPage, Error> {
        Ok(self.core().listing.ask(|_| true, move |index| index.page(&query)).await?)
    }

    /// How many users there are of each kind.
    ///
    /// # Errors
    /// As [`users`](Self::users).
    pub async fn user_counts(&self) -> Result<UserCounts, Error> {
        Ok(self.core().listing.ask(|_| true, |index| index.counts()).await?)
    }

    /// How many users a filter takes, until they are swept those too whose deadline has passed. `None` where that is not known: of a
    /// provider that came when there were a dozen others.
    ///
    /// # Errors
    /// As [`users`](Self::users).
    pub async fn count_users(&self, filter: UserFilter) -> Result<Option<usize>, Error> {
        // for when they were seen last, every user may have to be looked at
        let is_short = filter.seen.is_none();
        Ok(self.core().listing.ask(|_| is_short, move |index| index.count(&filter)).await?)
    }

    /// Users whom a text names outright: by an id, or as an identity or the name at one of these providers. Costs the same however
    /// many users there are. Each is answered once, by what comes first in [`FoundBy`].
    pub fn find(&self, text: &str, providers: &[&str]) -> Vec<(UserId, FoundBy)> {
        let store = &self.core().store;
        let mut found = Vec::new();
        if let Ok(id) = UserId::parse(text) {
            found.extend(store.record(&id).map(|_| (id, FoundBy::Id)));
            found.extend(store.survivor(&id).map(|survivor| (survivor, FoundBy::Alias)));
        }
        // the id of an anonymous identity begins with that of a user in the App Services form
        if let Some(id) = text.get(..ID_DIGITS).and_then(|digits| UserId::parse(digits).ok())
            && id.anonymous_identity() == text
            && store.record(&id).is_some()
        {
            found.push((id, FoundBy::AnonymousIdentity));
        }
        for provider in providers {
            let identity = IdentityKey { provider: (*provider).into(), external: text.into() };
            found.extend(store.resolve(&identity).map(|owner| (owner, FoundBy::Identity)));
        }
        found.extend(store.resolve(&Credential::identity(text)).map(|owner| (owner, FoundBy::Name)));
        let mut seen = Vec::new();
        found.retain(|(id, _)| {
            !seen.contains(id) && store.record(id).is_some() && {
                seen.push(*id);
                true
            }
        });
        found
    }

    /// Begins to do this to all users who are there now and fit when their turn comes, at a pace at which others' requests hardly
    /// notice it. A dry run only counts what would be done. It ends with this process, and is not taken up again after a restart.
    ///
    /// # Errors
    /// [`BulkUnderWay`]: there is one at a time.
    pub fn begin_bulk(
        &self,
        action: BulkAction,
        filter: UserFilter,
        is_dry_run: bool,
    ) -> Result<BulkJob, BulkUnderWay> {
        self.core().begin_bulk(action, filter, is_dry_run)
    }

    /// The bulk job that was begun last, as far as it has come.
    pub fn bulk(&self) -> Option<Bulk> {
        self.core().last_job.look()
    }

    /// Lets the bulk job of this number end after the users whose change is under way. Answers whether it was.
    pub fn stop_bulk(&self, number: u64) -> bool {
        self.core().last_job.stop(number)
    }

    /// The first user who has a session or an API key of this id, or an identity with this e-mail address; and which of them it is. The
    /// first such question reads every user: a few seconds for ten million, while other lists are answered.
    ///
    /// # Errors
    /// As [`users`](Self::users).
    pub async fn find_holder(&self, text: &str) -> Result<Option<(UserState, FoundBy)>, Error> {
        let (held, by) = match SessionId::parse(text) {
            // an API key's has the same form
            Ok(id) => (Held::Id(id.0), FoundBy::SessionOrKey),
            Err(_) if text.contains('@') => (Held::Email(text.into()), FoundBy::Email),
            Err(_) => return Ok(None),
        };
        loop {
            let held = held.clone();
            if let Poll::Ready(found) =
                self.core().listing.ask(Index::knows_names, move |index| index.find(&held)).await?
            {
                return Ok(found.map(|user| (user, by)));
            }
        }
    }
}
