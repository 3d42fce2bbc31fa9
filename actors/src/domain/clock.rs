//! Time: the wall for people, the service clock for whatever ends something.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Seconds of service since the first start of this data folder (see [`ServiceClock`]). They do not wrap: they would stand still at the
/// last one, 126 years after the first.
pub type ServiceTime = u32;

/// Where time comes from. Tests bring their own.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds of the monotonic clock, from any origin.
    fn monotonic_us(&self) -> u64;
    /// Unix time in milliseconds; may jump.
    fn wall_ms(&self) -> u64;
    /// Microseconds of the monotonic clock in which this process stood still; 0 where that is not known.
    fn stood_still_us(&self) -> u64 {
        0
    }
}

/// Where randomness comes from: the operating system's generator (ASVS 7.2.3). Tests bring their own.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out` with unpredictable bytes.
    fn fill(&self, out: &mut [u8]);
}

/// The first service second. Not zero, so that an imported user with an older last activity has a time.
pub const FIRST_SERVICE_TIME: ServiceTime = 10 * 365 * 86_400;

/// Of the time a server was down, at most this counts (seconds).
pub const MAX_COUNTED_GAP_S: u64 = 3600;

/// A wall clock that moves this much against the monotonic one has jumped (milliseconds).
const WALL_JUMP_MS: i64 = 2000;

/// Seconds of service: they run with the monotonic clock, never go back and never follow the wall clock, so that neither
/// a clock that jumps nor a server that was down ends anyone.
pub struct ServiceClock {
    clock: Arc<dyn Clock>,
    base_ms: u64,
    monotonic_base_ms: u64,
    /// wall − monotonic, as last seen: what a jump is measured against
    wall_offset_ms: AtomicU64,
    /// Wall minus service time, as times are shown: followed in steps, or what is shown would flicker
    shown_offset_ms: AtomicI64,
}

impl ServiceClock {
    /// Goes on from the last written time. `last` is that service time and the wall time (Unix ms) written with it;
    /// `None` at the first start. Of the wall-clock gap since, at most an hour counts.
    pub fn resume(clock: Arc<dyn Clock>, last: Option<(ServiceTime, u64)>) -> Self {
        let base_ms = match last {
            None => u64::from(FIRST_SERVICE_TIME) * 1000,
            Some((service, wall_ms)) => {
                let gap_ms = clock.wall_ms().saturating_sub(wall_ms).min(MAX_COUNTED_GAP_S * 1000);
                u64::from(service) * 1000 + gap_ms
            }
        };
        let (monotonic_base_ms, wall_ms) = (clock.monotonic_us() / 1000, clock.wall_ms());
        Self {
            clock,
            base_ms,
            monotonic_base_ms,
            wall_offset_ms: AtomicU64::new(wall_ms.wrapping_sub(monotonic_base_ms)),
            shown_offset_ms: AtomicI64::new(signed(wall_ms) - signed(base_ms)),
        }
    }

    /// Now, in seconds of service.
    pub fn now(&self) -> ServiceTime {
        ServiceTime::try_from(self.now_ms() / 1000).unwrap_or(ServiceTime::MAX)
    }

    /// Now, in seconds of service in which this process ran: by it ends what others have to do in time, since they could not while
    /// it stood still. Means nothing beyond the process.
    pub fn running(&self) -> ServiceTime {
        let ran_ms = self.now_ms().saturating_sub(self.clock.stood_still_us() / 1000);
        ServiceTime::try_from(ran_ms / 1000).unwrap_or(ServiceTime::MAX)
    }

    fn now_ms(&self) -> u64 {
        self.base_ms + self.monotonic_ms().saturating_sub(self.monotonic_base_ms)
    }

    /// Now, Unix time in milliseconds.
    pub fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    /// Unix time in seconds.
    pub fn wall_s(&self) -> i64 {
        i64::try_from(self.wall_ms() / 1000).unwrap_or(i64::MAX)
    }

    /// Milliseconds of the monotonic clock.
    pub fn monotonic_ms(&self) -> u64 {
        self.monotonic_us() / 1000
    }

    /// Microseconds of the monotonic clock.
    pub fn monotonic_us(&self) -> u64 {
        self.clock.monotonic_us()
    }

    /// A service time as people see it: Unix seconds, now − (service now − t). What it answers for a time stays the same while
    /// the wall clock does not move by a second against the service clock.
    pub fn to_wall_s(&self, t: ServiceTime) -> i64 {
        let offset_ms = signed(self.clock.wall_ms()) - signed(self.now_ms());
        let mut shown_ms = self.shown_offset_ms.load(Ordering::Relaxed);
        if offset_ms.abs_diff(shown_ms) >= 1000 {
            shown_ms = offset_ms;
            self.shown_offset_ms.store(offset_ms, Ordering::Relaxed);
        }
        shown_ms.saturating_add(i64::from(t) * 1000).div_euclid(1000)
    }

    /// By how many milliseconds the wall clock has jumped since this was last asked; `None` when it has not.
    pub fn wall_jump_ms(&self) -> Option<i64> {
        let offset = self.clock.wall_ms().wrapping_sub(self.monotonic_ms());
        let before = self.wall_offset_ms.swap(offset, Ordering::Relaxed);
        let jump = offset.wrapping_sub(before).cast_signed();
        (jump.abs() > WALL_JUMP_MS).then_some(jump)
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
