//! What has a bound over all users together, and how full it is.

use super::core::Core;
use super::error::Error;
use crate::domain::Family;

/// A credential takes about as much memory as so many resting users, by which `max_users` is meant.
pub const CREDENTIAL_COSTS: usize = 8;
/// Of so many users that may be there, one lazy id may be kept that ended.
pub const USERS_PER_ENDED: u64 = 8;

/// Something of which there may be so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// How much there is.
    pub used: usize,
    /// How much there may be.
    pub most: usize,
    /// What follows when it is full.
    pub then: &'static str,
}

/// How full a bound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Fullness {
    /// There is room.
    #[default]
    Room,
    /// Nine tenths are used.
    Nearly,
    /// All is used.
    Full,
}

impl Bound {
    /// How much of it is used, in percent, rounded down.
    pub fn percent(&self) -> u64 {
        u64::try_from(self.used as u128 * 100 / self.most.max(1) as u128).unwrap_or(u64::MAX)
    }

    /// How full it is.
    pub fn fullness(&self) -> Fullness {
        match self.percent() {
            0..90 => Fullness::Room,
            90..100 => Fullness::Nearly,
            _ => Fullness::Full,
        }
    }

    /// How much has to go until there is room.
    pub(crate) fn excess(&self) -> usize {
        // 90 % would still be nearly full
        let most = (self.most as u128 * 9).div_ceil(10).saturating_sub(1);
        self.used.saturating_sub(usize::try_from(most).unwrap_or(usize::MAX))
    }
}

impl Core {
    /// How many ended lazy ids may be kept. That of a reader who was stored is kept beyond it, in the place of the reader.
    fn most_ended(&self) -> usize {
        self.limits.max_users.div_ceil(USERS_PER_ENDED as usize)
    }

    /// Whether another user may be created, in whichever way.
    ///
    /// # Errors
    /// `Capacity`.
    pub(crate) fn room_for_user(&self) -> Result<(), Error> {
        self.room_for_users(1)
    }

    /// Whether so many users may be created together.
    ///
    /// # Errors
    /// `Capacity`.
    pub(crate) fn room_for_users(&self, users: usize) -> Result<(), Error> {
        if self.store.users() + users <= self.limits.max_users { Ok(()) } else { Err(Error::Capacity) }
    }

    /// Whether another lazy id may be kept that ended. While none may, no reader of a lazy cookie is created.
    ///
    /// # Errors
    /// `Capacity`.
    pub(crate) fn room_for_ended(&self) -> Result<(), Error> {
        let ended = self.store.keys(Family::ENDED_LAZY);
        if ended < self.most_ended() { Ok(()) } else { Err(Error::Capacity) }
    }

    /// Whether another name may be registered.
    ///
    /// # Errors
    /// `Capacity`.
    pub(crate) fn room_for_name(&self) -> Result<(), Error> {
        self.room_for_names(1)
    }

    /// Whether so many names may be registered together.
    ///
    /// # Errors
    /// `Capacity`.
    pub(crate) fn room_for_names(&self, names: usize) -> Result<(), Error> {
        let before_last = names.saturating_sub(1).saturating_mul(CREDENTIAL_COSTS);
        let is_room = names == 0 || self.users_and_names().saturating_add(before_last) < self.limits.max_users;
        if is_room { Ok(()) } else { Err(Error::Capacity) }
    }

    /// How many resting users take as much as the users and the registered names together.
    fn users_and_names(&self) -> usize {
        let store = &self.store;
        store.users().saturating_add(store.keys(Family::CREDENTIAL).saturating_mul(CREDENTIAL_COSTS))
    }

    /// Every bound: users; users and registered names; lazy ids that ended; documents.
    pub fn bounds(&self) -> [Bound; 4] {
        let store = &self.store;
        let (users, names) = (store.users(), self.users_and_names());
        let bound = |name, used, most, then| Bound { name, used, most, then };
        [
            bound("users", users, self.limits.max_users, "nobody is created, and newcomers are answered 503"),
            bound("names", names, self.limits.max_users, "no name is registered, a name counting as eight users"),
            bound(
                "ended-ids",
                store.keys(Family::ENDED_LAZY),
                self.most_ended(),
                "readers of lazy cookies are not created, and keep their ids",
            ),
            bound(
                "documents",
                store.document_bytes(),
                self.policy().documents_bytes,
                "documents do not grow, and those that would are answered 507",
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_nearly_full_at_ninety_percent_and_full_at_a_hundred() {
        let fullness = |used, most| Bound { name: "", used, most, then: "" }.fullness();
        assert_eq!(
            [fullness(89, 100), fullness(90, 100), fullness(99, 100)],
            [Fullness::Room, Fullness::Nearly, Fullness::Nearly]
        );
        assert_eq!([fullness(100, 100), fullness(7, 0)], [Fullness::Full; 2]);
        assert_eq!(fullness(usize::MAX / 2, usize::MAX), Fullness::Room);
        assert_eq!(Bound { name: "", used: 95, most: 100, then: "" }.excess(), 6, "to 89");
    }
}
