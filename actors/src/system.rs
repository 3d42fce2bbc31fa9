//! The real clock and the real randomness. The only place that may ask the machine for either.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::domain::{Clock, Entropy};

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
    fn wall_ms(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The operating system's generator, by way of aws-lc's CTR-DRBG (S1).
#[derive(Default)]
pub struct SystemEntropy(SystemRandom);

impl Entropy for SystemEntropy {
    #[expect(clippy::expect_used, reason = "without randomness no id or key may be made: stopping is the safe answer")]
    fn fill(&self, out: &mut [u8]) {
        self.0.fill(out).expect("the operating system gives randomness");
    }
}
