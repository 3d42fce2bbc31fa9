//! The real clock and the real randomness. The only place that may ask the machine for either.

use std::cell::RefCell;
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

/// The operating system's generator, by way of aws-lc's CTR-DRBG (S1). Small requests are served from a store of each
/// thread: a call of the generator costs as much as 500 bytes of it.
#[derive(Default)]
pub struct SystemEntropy(SystemRandom);

const STORE_BYTES: usize = 512;
/// More than this goes past the store.
const SMALL_BYTES: usize = 32;

/// Random bytes that nobody has seen; those given out are zeroed.
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
