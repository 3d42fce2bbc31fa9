//! Time that moves when a test says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::Clock;

/// Seconds of a day.
pub const DAY_S: u64 = 86_400;

/// Time that moves when it is told to.
#[derive(Default)]
pub struct ManualClock {
    monotonic_us: AtomicU64,
    wall_ms: AtomicU64,
    stood_still_us: AtomicU64,
}

impl ManualClock {
    /// Its wall clock shows a day in November 2023, and no time has passed on the other.
    pub fn new() -> Arc<Self> {
        let clock = Self::default();
        clock.wall_ms.store(1_700_000_000_000, Ordering::SeqCst);
        Arc::new(clock)
    }

    /// Time passes on both clocks.
    pub fn advance_s(&self, seconds: u64) {
        self.advance_us(seconds * 1_000_000);
    }

    /// The same, in microseconds; what is less than a millisecond is lost on the wall clock.
    pub fn advance_us(&self, us: u64) {
        self.monotonic_us.fetch_add(us, Ordering::SeqCst);
        self.wall_ms.fetch_add(us / 1000, Ordering::SeqCst);
    }

    /// Time passes in which no thread ran.
    pub fn stand_still_s(&self, seconds: u64) {
        self.stood_still_us.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
        self.advance_s(seconds);
    }

    /// Sets the wall clock.
    pub fn jump_wall_s(&self, seconds: i64) {
        self.wall_ms.fetch_add((seconds * 1000).cast_unsigned(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic_us(&self) -> u64 {
        self.monotonic_us.load(Ordering::SeqCst)
    }

    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn stood_still_us(&self) -> u64 {
        self.stood_still_us.load(Ordering::SeqCst)
    }
}
