//! The real clock and the real randomness. The only place that may ask the machine for either.

use std::cell::RefCell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use parking_lot::Mutex;

use crate::domain::{Clock, Entropy};

/// How often a thread that serves beats.
pub(crate) const EVERY: Duration = Duration::from_millis(250);
/// Beats that are further apart than this show a stall; a busy thread's are not.
pub(crate) const STALL: Duration = Duration::from_secs(1);

/// The beats of all threads that serve: when none came for a while, the process stood still.
struct Beats {
    threads: usize,
    last: Option<Instant>,
    stood_still: Duration,
}

static BEATS: Mutex<Beats> = Mutex::new(Beats { threads: 0, last: None, stood_still: Duration::ZERO });

impl Beats {
    /// For how long it stood still until now.
    fn until(&self, now: Instant) -> Duration {
        let since = self.last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        if self.threads > 0 && since > STALL { self.stood_still + (since - EVERY) } else { self.stood_still }
    }

    fn beat(&mut self, now: Instant) {
        self.stood_still = self.until(now);
        self.last = Some(now);
    }
}

/// One more thread begins to beat.
#[expect(clippy::disallowed_methods, reason = "the one real clock")]
pub(crate) fn begin_to_beat() {
    let mut beats = BEATS.lock();
    beats.beat(Instant::now());
    beats.threads += 1;
}

/// A thread runs.
#[expect(clippy::disallowed_methods, reason = "the one real clock")]
pub(crate) fn beat() {
    BEATS.lock().beat(Instant::now());
}

/// A thread beats no more.
#[expect(clippy::disallowed_methods, reason = "the one real clock")]
pub(crate) fn end_beating() {
    let mut beats = BEATS.lock();
    beats.beat(Instant::now());
    beats.threads = beats.threads.saturating_sub(1);
}

/// The machine's clocks.
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one real clock")]
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "the one real clock")]
    fn stood_still_us(&self) -> u64 {
        u64::try_from(BEATS.lock().until(Instant::now()).as_micros()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::disallowed_methods, reason = "the one real clock")]
    fn wall_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The operating system's generator, by way of aws-lc's CTR-DRBG (S1). Small requests are served from a store of each
/// thread: a call of the generator costs as much as 500 bytes of it.
#[derive(Default)]
pub struct SystemEntropy(SystemRandom);

const STORE_BYTES: usize = 512;
/// More than this goes past the store.
const SMALL_BYTES: usize = 32;

/// Unused random bytes; those given out are zeroed.
struct Unused {
    bytes: [u8; STORE_BYTES],
    taken: usize,
}

thread_local! {
    static UNUSED: RefCell<Unused> = const { RefCell::new(Unused { bytes: [0; STORE_BYTES], taken: STORE_BYTES }) };
}

impl SystemEntropy {
    #[expect(clippy::expect_used, reason = "without randomness no id or key may be made: stopping is the safe answer")]
    fn generate(&self, out: &mut [u8]) {
        self.0.fill(out).expect("the operating system gives randomness");
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) {
        if out.len() > SMALL_BYTES {
            return self.generate(out);
        }
        UNUSED.with_borrow_mut(|unused| {
            if unused.taken + out.len() > STORE_BYTES {
                self.generate(&mut unused.bytes);
                unused.taken = 0;
            }
            let given = &mut unused.bytes[unused.taken..unused.taken + out.len()];
            out.copy_from_slice(given);
            given.fill(0);
            unused.taken += out.len();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any moment will do")]
    fn a_process_stood_still_when_no_thread_beat_and_not_when_none_was_there_to() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut beats = Beats { threads: 0, last: None, stood_still: Duration::ZERO };
        beats.beat(at(0));
        assert_eq!(beats.until(at(40_000)), Duration::ZERO, "nobody serves yet");
        beats.beat(at(40_000));
        beats.threads = 2;
        for ms in [40_250, 40_900, 41_850] {
            beats.beat(at(ms));
        }
        assert_eq!(beats.until(at(42_000)), Duration::ZERO, "a busy thread is no stall");
        let lost = Duration::from_secs(30) - EVERY;
        assert_eq!(beats.until(at(71_850)), lost, "the late beat has not come");
        beats.beat(at(71_850));
        assert_eq!(beats.until(at(72_100)), lost);
        beats.beat(at(82_100));
        assert_eq!(beats.until(at(82_100)), lost + Duration::from_millis(10_250) - EVERY);
    }

    #[test]
    fn no_byte_is_given_out_twice() {
        let entropy = SystemEntropy::default();
        let mut seen = HashSet::new();
        for length in (8..=40).cycle().take(10_000) {
            let mut bytes = vec![0; length];
            entropy.fill(&mut bytes);
            assert!(seen.insert(bytes[..8].to_vec()), "again after {}", seen.len());
        }
    }
}
