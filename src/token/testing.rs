//! Randomness for tests whose bytes must be the same in every run.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use passerby_actors::domain::Entropy;

/// The same bytes in every run.
#[derive(Default)]
pub(crate) struct Repeatable(AtomicU64);

impl Entropy for Repeatable {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            let hash = digest(&SHA256, &self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            chunk.copy_from_slice(&hash.as_ref()[..chunk.len()]);
        }
    }
}
