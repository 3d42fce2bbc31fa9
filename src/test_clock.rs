//! The clock of `passerby serve --test`: the machine's own, and as far ahead as the tests have moved it.

use std::sync::atomic::{AtomicU64, Ordering};

use passerby_actors::domain::Clock;
use passerby_actors::system::SystemClock;

/// How far it can be moved in all (seconds): 50 years, after which refresh tokens end anyhow.
pub const MOST_AHEAD_S: u64 = 50 * 365 * 86_400;

/// A clock that can be moved forward. Wall and monotonic time move together, so nothing takes it for a jump of the wall clock.
#[derive(Default)]
pub struct TestClock {
    clock: SystemClock,
    ahead_s: AtomicU64,
}

impl TestClock {
    /// Moves it forward by so many seconds, and answers by how many it is then ahead. `None`, and nothing is moved, beyond
    /// [`MOST_AHEAD_S`].
    pub fn advance(&self, by_s: u64) -> Option<u64> {
        let moved = |ahead: u64| ahead.checked_add(by_s).filter(|ahead| *ahead <= MOST_AHEAD_S);
        let before = self.ahead_s.fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved).ok()?;
        Some(before + by_s)
    }

    /// By how many seconds it is ahead of the machine's.
    pub fn ahead_s(&self) -> u64 {
        self.ahead_s.load(Ordering::SeqCst)
    }
}

impl Clock for TestClock {
    fn monotonic_us(&self) -> u64 {
        self.clock.monotonic_us() + self.ahead_s() * 1_000_000
    }

    fn stood_still_us(&self) -> u64 {
        self.clock.stood_still_us()
    }

    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms() + self.ahead_s() * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_forward_on_both_scales_and_not_without_bound() {
        let clock = TestClock::default();
        let (monotonic, wall) = (clock.monotonic_us(), clock.wall_ms());
        assert_eq!((clock.advance(3600), clock.advance(60)), (Some(3600), Some(3660)));
        assert!(clock.monotonic_us() >= monotonic + 3_660_000_000 && clock.wall_ms() >= wall + 3_660_000);
        assert_eq!(clock.advance(MOST_AHEAD_S), None);
        assert_eq!(clock.advance(u64::MAX), None);
        assert_eq!(clock.ahead_s(), 3660, "what is refused moves nothing");
    }
}
