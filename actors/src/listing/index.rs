//! The index itself: built from the store's pages, kept up to date by reading again who changed, and asked for pages and counts.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::Poll;

use super::filter::UserFilter;
use super::names::{Held, Names, hint, places};
use super::order::{Order, Sought, key};
use super::word::{
    DISABLED, DOCUMENT, Known, LASTING, OTHER_PROVIDER, Providers, UNUSED, Wanted, has_document, of_record,
    of_record_at,
};
use crate::domain::{Family, UserId, UserState};
use crate::store::{Store, without_values};

/// A page reads so many users at most: whoever fits by what the index tells may have expired.
pub const MOST_READ: usize = 10_000;
/// And for when they were seen last, it looks at about so many in the index.
pub const MOST_LOOKED_AT: usize = 1 << 14;

/// What is asked for a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserQuery {
    /// Which users.
    pub filter: UserFilter,
    /// Those who were created last come first.
    pub newest_first: bool,
    /// Users who come after this one, who need not be there any more: [`UserPage::next`] of the page before.
    pub after: Option<UserId>,
    /// At most so many.
    pub limit: usize,
}

/// Users in the order of their ids' creation. Whoever is there from the first page to the last and fits all the time is on exactly
/// one page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserPage {
    /// The users, as they are now but without meters and document. Those whose deadline has passed are left out.
    pub users: Vec<UserState>,
    /// After whom the next page goes on; none if there are no more. There may be more users after a page that is not full, or empty: one
    /// reads [`MOST_READ`] users at most, and for when they were seen last looks at about [`MOST_LOOKED_AT`].
    pub next: Option<UserId>,
    /// How many users were looked at: read, or in the index for when they were seen last.
    pub looked_at: usize,
}

/// How many users there are of each kind, until they are swept those too whose deadline has passed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserCounts {
    /// All.
    pub users: usize,
    /// Without an identity.
    pub anonymous: usize,
    /// Accounts.
    pub accounts: usize,
    /// Disabled.
    pub disabled: usize,
    /// Created, and never came back.
    pub unused: usize,
    /// With a document.
    pub documents: usize,
    /// With an identity of a provider, or an API key, by the provider's name.
    pub providers: Vec<(Box<str>, usize)>,
    /// With an identity of a provider that is not among them.
    pub other_providers: usize,
}

/// Every user's place, and what a filter asks for.
pub(crate) struct Index {
    store: Arc<dyn Store>,
    window_s: u32,
    order: Order,
    providers: Providers,
    /// Who is enabled by itself, by the Unix time in milliseconds from which on; perhaps sooner or not at all.
    suspended: BTreeSet<(u64, UserId)>,
    /// once somebody has looked for one
    names: Option<Names>,
}

impl Index {
    /// Reads every user, page by page; `None` if `is_ended` says so meanwhile. Who changes meanwhile has to be read again.
    pub(super) fn build(store: Arc<dyn Store>, window_s: u32, is_ended: &dyn Fn() -> bool) -> Option<Self> {
        let (mut providers, pages, wall_ms) = (Providers::default(), store.pages(), store.clock().wall_ms());
        let mut suspended = BTreeSet::new();
        let known = store.users();
        // before anything is locked; some come while it is read
        let mut users = Vec::with_capacity(known + known / 16 + 1024);
        for page in 0..pages {
            if is_ended() {
                return None;
            }
            let first = users.len();
            store.see_users(page, &mut |id, record| {
                users.push((*id, Known { word: of_record(record), seen: record.last_seen }));
            });
            for (id, known) in users[first..].iter_mut().filter(|(_, known)| known.word & DISABLED != 0) {
                let Some(record) = store.record(id) else { continue };
                let (word, over_ms) = of_record_at(&*store, id, &record, wall_ms);
                known.word = word;
                suspended.extend(over_ms.map(|over_ms| (over_ms, *id)));
            }
            for (id, known) in users[first..].iter_mut().filter(|(_, known)| known.word & LASTING != 0) {
                known.word |= store.extension(id).map_or(0, |bytes| providers.of_extension(&bytes));
            }
        }
        let mut order = Order::of(users);
        for page in 0..pages {
            if store.keys(Family::DOCUMENT) == 0 || is_ended() {
                break;
            }
            let mut owners = Vec::new();
            store.see_values(page, &mut |key, bytes| {
                if key.family == Family::DOCUMENT && has_document(bytes) {
                    owners.extend((*key.key).try_into().map(UserId::from_bytes));
                }
            });
            owners.iter().for_each(|owner| order.raise(owner, DOCUMENT));
        }
        Some(Self { store, window_s, order, providers, suspended, names: None })
    }

    /// Reads users again who changed, in whichever way and however often, and those whose suspension is over.
    pub(super) fn read_again(&mut self, mut changed: Vec<UserId>) {
        let wall_ms = self.store.clock().wall_ms();
        while self.suspended.first().is_some_and(|(over_ms, _)| *over_ms <= wall_ms) {
            changed.extend(self.suspended.pop_first().map(|(_, id)| id));
        }
        changed.sort_unstable_by_key(key);
        changed.dedup();
        for id in changed {
            let known = self.providers.known_of(&*self.store, &id);
            if let Some(over_ms) = known.and_then(|(_, over_ms)| over_ms) {
                self.suspended.insert((over_ms, id));
            }
            self.order.set(&id, known.map(|(known, _)| known));
            if let Some(names) = &mut self.names
                && let Some(user) = self.store.load(&id)
            {
                names.add(&user);
            }
        }
        // more are of users who are gone than of those who are there: they are read anew when somebody looks for one
        let users = self.order.tally().count(Wanted::default());
        self.names.take_if(|names| names.is_stale(users));
    }

    /// The first user who has this. The first such question has to be asked again and again, while it is pending: each time it reads
    /// some users, until all are read, and others may ask in between.
    pub(crate) fn find(&mut self, held: &Held) -> Poll<Option<UserState>> {
        let (store, now) = (&*self.store, self.store.clock().now());
        let names = self.names.get_or_insert_with(|| Names::of(store.users(), store.pages()));
        if !names.read_some(store) {
            return Poll::Pending;
        }
        let of_hint = |wanted: (u32, u32)| places(wanted.0).map(|keys| (wanted, keys));
        let found = names.hints(held).flat_map(of_hint).find_map(|(wanted, keys)| {
            let mut found = None;
            let sought = Sought { keys, ..Sought::default() };
            self.order.walk(&sought, (None, false), usize::MAX, &mut |id| {
                if hint(id) == wanted {
                    found =
                        store.load(id).filter(|user| !user.record.is_expired(now, self.window_s) && held.is_of(user));
                }
                if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            found
        });
        Poll::Ready(found)
    }

    /// Whether everybody's names are known, so that a search reads hardly any users.
    pub(crate) fn knows_names(&self) -> bool {
        self.names.as_ref().is_some_and(Names::is_read)
    }

    /// One page.
    pub(crate) fn page(&self, query: &UserQuery) -> UserPage {
        let UserQuery { filter, newest_first, after, limit } = query;
        let (mut page, mut read, mut last) = (UserPage::default(), 0, None);
        let Some(sought) = filter.sought(&self.providers) else { return page };
        let (store, now) = (&*self.store, self.store.clock().now());
        let walked = self.order.walk(&sought, (after.as_ref(), *newest_first), MOST_LOOKED_AT, &mut |id| {
            // only one more than there is room for tells that there is a next page
            if page.users.len() >= *limit || read >= MOST_READ {
                page.next = last;
                return ControlFlow::Break(());
            }
            read += 1;
            last = Some(*id);
            // looked up once: with many users that is what a page takes its time for
            if let Some((record, extension)) = store.records(id)
                && !record.is_expired(now, self.window_s)
                && filter.fits(sought.wanted, store, id, &record)
            {
                page.users.extend(without_values(id, record, extension));
            }
            ControlFlow::Continue(())
        });
        page.looked_at = read.max(walked.looked_at);
        page.next = page.next.or(walked.goes_on_after);
        page
    }

    /// How many users fit, until they are swept those too whose deadline has passed; `None` if the index does not tell.
    pub(crate) fn count(&self, filter: &UserFilter) -> Option<usize> {
        let Some(sought) = filter.sought(&self.providers) else { return Some(0) };
        (sought.wanted.mask & OTHER_PROVIDER == 0).then(|| self.order.count(&sought))
    }

    /// How many users there are of each kind.
    pub(crate) fn counts(&self) -> UserCounts {
        let count = |bit, on| Wanted::default().and(bit, on).map_or(0, |wanted| self.order.tally().count(wanted));
        UserCounts {
            users: self.order.tally().count(Wanted::default()),
            anonymous: count(LASTING, false),
            accounts: count(LASTING, true),
            disabled: count(DISABLED, true),
            unused: count(UNUSED, true),
            documents: count(DOCUMENT, true),
            providers: self.providers.named().map(|(name, bit)| (name.into(), count(bit, true))).collect(),
            other_providers: count(OTHER_PROVIDER, true),
        }
    }
}
