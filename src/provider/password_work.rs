//! What works on passwords and counts attempts at them: it lives as long as the server, whatever becomes of the provider's settings.

use std::sync::Arc;

use passerby_actors::domain::Entropy;

use super::password::{Cost, PasswordError, Passwords, Pool};
use crate::limits::throttle::{Throttle, Tiers};

/// Entries of each count of attempts: 1.5 MiB in all.
const THROTTLE_ENTRIES: usize = 1 << 14;

/// The hashing threads, and the counts of attempts.
pub struct PasswordWork {
    pub(super) passwords: Passwords,
    /// At passwords and tokens.
    pub(super) guesses: Throttle,
    /// At having e-mails sent.
    pub(super) mails: Throttle,
}

impl PasswordWork {
    /// What hashes and checks passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// There are none to be had.
    pub(super) fn start(cost: Cost, entropy: &Arc<dyn Entropy>) -> Result<Self, PasswordError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let passwords = Passwords::start(cost, Pool::for_cores(cores), Arc::clone(entropy))?;
        let guesses = Throttle::new(Tiers::LOGIN, THROTTLE_ENTRIES, &**entropy);
        let mails = Throttle::new(Tiers::MAIL, THROTTLE_ENTRIES, &**entropy);
        Ok(Self { passwords, guesses, mails })
    }
}
