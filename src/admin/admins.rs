//! What looks after admins: shared by all of a server.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use passerby_actors::domain::{Entropy, Family, Listing, Rewrite, ServiceTime, ValueKey};
use passerby_actors::handle::{Error, Handle, OwnChange};
use serde::de::DeserializeOwned;

use super::audit::{Audit, TRIES};
use super::fault::Fault;
use super::record::{Moment, Role, Who, decode, encode};
use super::secret::AccessTokens;
use super::totp::Seal;
use crate::config::AdminRules;
use crate::limits::throttle::{Throttle, Throttled, Tier, Tiers};
use crate::provider::password::{Cost, PasswordError, Passwords, Pool};

/// Entries of each count of attempts: 100 kB in all.
const THROTTLE_ENTRIES: usize = 1024;
/// Of refusals that cost a guesser nothing, and each of which is written down: of a wrong key, and for want of a role.
const REFUSALS: Tiers = {
    let tier = Tier { free: 100, forgive_s: 36, longest_wait_s: 300 };
    Tiers { pair: tier, prefix: tier, identity: tier }
};
/// Passwords of admins that wait to be hashed.
const PASSWORDS_WAITING: usize = 32;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// Who.
    pub who: Who,
    /// What they may do.
    pub role: Role,
    /// The session, if it is one.
    pub session: Option<[u8; 32]>,
}

/// Where a request comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The address.
    pub address: IpAddr,
}

/// What looks after admins: their names, sessions and keys, and the log of what they did.
pub struct Admins {
    pub(super) passwords: Passwords,
    pub(super) throttle: Throttle,
    refusals: Throttle,
    pub(super) tokens_refused: AtomicU64,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) access: AccessTokens,
    pub(super) seal: Seal,
    /// A digest of the blocks of networks that were put in force last; held while they are.
    pub(super) enforced: Mutex<u64>,
    /// SHA-256 of the token in the data folder.
    pub(super) local: Option<[u8; 32]>,
    /// What they did.
    pub audit: Audit,
}

impl Admins {
    /// With the folder of the signing keys, and the token of the data folder if there is one.
    ///
    /// # Errors
    /// There is no thread to hash passwords.
    pub fn new(
        rules: &AdminRules,
        cost: Cost,
        keys_dir: &Path,
        local: Option<[u8; 32]>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, PasswordError> {
        let pool = Pool { threads: NonZeroUsize::MIN, waiting: PASSWORDS_WAITING };
        Ok(Self {
            passwords: Passwords::start(cost, pool, Arc::clone(&entropy))?,
            throttle: Throttle::new(Tiers::LOGIN, THROTTLE_ENTRIES, &*entropy),
            tokens_refused: AtomicU64::new(0),
            refusals: Throttle::new(REFUSALS, THROTTLE_ENTRIES, &*entropy),
            access: AccessTokens::new(&*entropy),
            seal: Seal::new(keys_dir),
            enforced: Mutex::default(),
            entropy,
            local,
            audit: Audit::new(rules),
        })
    }

    /// Counts a refusal against whoever causes it.
    ///
    /// # Errors
    /// They caused too many; this one is not to be written down.
    pub fn count_refusal(&self, handle: &Handle, of: &str, from: &Source) -> Result<(), Throttled> {
        self.refusals.admit(Some(("refused", of)), from.address, now(handle)).map(drop)
    }
}

/// One of the server's own values as it is stored, and what it says.
pub(super) struct Seen<T> {
    bytes: Arc<[u8]>,
    pub(super) value: T,
}

impl<T> Seen<T> {
    /// Demands that it is still the same.
    pub(super) fn kept(&self, key: ValueKey) -> OwnChange {
        OwnChange { key, seen: Some(Arc::clone(&self.bytes)), change: Rewrite::Keep }
    }

    /// Takes it away.
    pub(super) fn removed(&self, key: ValueKey) -> OwnChange {
        OwnChange { change: Rewrite::Remove, ..self.kept(key) }
    }

    /// Puts something in its place.
    pub(super) fn replaced(&self, key: ValueKey, next: &impl serde::Serialize) -> Result<OwnChange, Fault> {
        Ok(OwnChange { change: Rewrite::Put(encode(next)?), ..self.kept(key) })
    }
}

/// Whether what is there is still what a change demands.
pub(super) fn is_current(handle: &Handle, change: &OwnChange) -> bool {
    handle.own_value(change.key.family, &change.key.key) == change.seen
}

/// Puts a value where none is.
pub(super) fn put(key: ValueKey, value: &impl serde::Serialize) -> Result<OwnChange, Fault> {
    Ok(OwnChange { key, seen: None, change: Rewrite::Put(encode(value)?) })
}

pub(super) fn load<T: DeserializeOwned>(handle: &Handle, family: Family, key: &[u8]) -> Result<Option<Seen<T>>, Fault> {
    let Some(bytes) = handle.own_value(family, key) else { return Ok(None) };
    Ok(Some(Seen { value: decode(&bytes)?, bytes }))
}

/// All values of a family of which there are few.
pub(super) fn all<T: DeserializeOwned>(handle: &Handle, family: Family) -> Result<Vec<(ValueKey, Seen<T>)>, Fault> {
    let listing = Listing { family, after: None, last_first: false, most: usize::MAX };
    let read = |(key, bytes): (ValueKey, Arc<[u8]>)| Ok((key, Seen { value: decode(&bytes)?, bytes }));
    handle.own_values(&listing).into_iter().map(read).collect()
}

/// Tries again while others are faster.
pub(super) async fn retried<T>(mut attempt: impl AsyncFnMut() -> Result<T, Fault>) -> Result<T, Fault> {
    for _ in 0..TRIES {
        match attempt().await {
            Err(Fault::Moved) => {}
            other => return other,
        }
    }
    Err(Error::Busy.into())
}

pub(super) fn now(handle: &Handle) -> ServiceTime {
    handle.core().store().clock().now()
}

pub(super) fn moment(handle: &Handle) -> Moment {
    Moment { service: now(handle), wall_ms: wall_ms(handle) }
}

pub(super) fn wall_ms(handle: &Handle) -> u64 {
    handle.core().store().clock().wall_ms()
}
