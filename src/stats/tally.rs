//! What happened in a while: a number of each kind, of refusals by their code, and of walls by their meter.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The kinds that are counted, as the admin API names them.
pub const NAMES: [&str; 10] = [
    "new",
    "returning",
    "came_back",
    "active_anonymous",
    "converted",
    "expired",
    "logins",
    "checks",
    "meter_walls",
    "refusals",
];

/// Numbers by name; those that are 0 are not there.
pub type Numbers = BTreeMap<String, u64>;

/// What happened in a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Of each kind of [`NAMES`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kinds: Numbers,
    /// Refusals, by the code that was answered.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refusals: Numbers,
    /// Uses beyond the allowance, by the meter.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub walls: Numbers,
}

impl Tally {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        self.join(other, |number, other| *number = number.saturating_add(other));
    }

    /// What of it is beyond `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        since.join(before, |number, before| *number = number.saturating_sub(before));
        since.of_each(|numbers| numbers.retain(|_, number| *number > 0));
        since
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    fn of_each(&mut self, mut each: impl FnMut(&mut Numbers)) {
        [&mut self.kinds, &mut self.refusals, &mut self.walls].into_iter().for_each(&mut each);
    }

    fn join(&mut self, other: &Self, join: impl Fn(&mut u64, u64)) {
        let Self { kinds, refusals, walls } = other;
        for (numbers, other) in [(&mut self.kinds, kinds), (&mut self.refusals, refusals), (&mut self.walls, walls)] {
            other.iter().for_each(|(name, other)| join(numbers.entry(name.clone()).or_default(), *other));
        }
    }
}
