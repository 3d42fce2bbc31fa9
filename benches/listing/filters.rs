//! Filters by their names, and the pages of each.

use std::ops::Range;

use passerby_actors::domain::ServiceTime;
use passerby_actors::handle::{UserFilter, UserQuery};
use passerby_actors::testkit::Random;

use crate::world::{self, Numbered, PROVIDERS};

/// Users of a page.
const PAGE: usize = 50;

/// The page of this round: in either order, and from the beginning or `deep`, after a random user.
pub(crate) fn page(filter: &UserFilter, users: Numbered, round: usize, deep: bool, random: &mut Random) -> UserQuery {
    let after = deep.then(|| users.id(random.next() % users.0));
    UserQuery { filter: filter.clone(), newest_first: round.is_multiple_of(2), after, limit: PAGE }
}

/// Filters of each kind, of which many, few or no users are.
pub(crate) fn filters() -> Vec<(&'static str, UserFilter)> {
    let with = |change: &dyn Fn(&mut UserFilter)| {
        let mut filter = UserFilter::default();
        change(&mut filter);
        filter
    };
    let provider = |name: &str| with(&|filter| filter.provider = Some(name.into()));
    let seen = |seen: Range<ServiceTime>| with(&|filter| filter.seen = Some(seen.clone()));
    vec![
        ("everybody", UserFilter::default()),
        ("anonymous", with(&|filter| filter.anonymous = Some(true))),
        ("accounts", with(&|filter| filter.anonymous = Some(false))),
        ("disabled", with(&|filter| filter.disabled = Some(true))),
        ("never came back", with(&|filter| filter.unused = Some(true))),
        ("with a document", with(&|filter| filter.document = Some(true))),
        ("of a provider", provider(PROVIDERS[1])),
        ("of a provider of three users", provider(world::RARE)),
        ("of a provider that nobody has", provider("nobody-has-it")),
        ("created in one of ninety days", with(&|filter| filter.created = Some(world::day(40)))),
        ("created before all", with(&|filter| filter.created = Some(0..1000))),
        ("last seen in an hour", seen(world::hour(3))),
        ("last seen in a second", seen(world::second(7))),
        ("last seen before all", seen(0..1)),
        ("last seen by now", seen(0..ServiceTime::MAX)),
        // each of them a few in a hundred, and nobody all of it
        (
            "disabled accounts with a document",
            with(&|filter| {
                (filter.anonymous, filter.disabled, filter.document) = (Some(false), Some(true), Some(true))
            }),
        ),
    ]
}
