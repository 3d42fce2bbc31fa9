//! Durations counted in buckets of powers of two, without locks: what the server says about its own pauses.

use std::sync::atomic::{AtomicU64, Ordering};

/// Upper bounds are 2⁰ to 2²³ microseconds (8.4 s); what took longer is in the last bucket.
const BUCKETS: usize = 25;

/// A histogram of durations in microseconds.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum_us: AtomicU64,
    longest_us: AtomicU64,
}

/// What a [`Histogram`] held at some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// For each bucket its upper bound in microseconds (`None`: without a bound) and how many durations lie in it.
    pub buckets: Vec<(Option<u64>, u64)>,
    /// All durations together (microseconds).
    pub sum_us: u64,
    /// The longest one (microseconds).
    pub longest_us: u64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, us: u64) {
        let bucket = (u64::BITS - us.saturating_sub(1).leading_zeros()) as usize;
        self.buckets[bucket.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
        self.longest_us.fetch_max(us, Ordering::Relaxed);
    }

    /// What has been counted so far.
    pub fn snapshot(&self) -> Snapshot {
        let bound = |bucket: usize| (bucket < BUCKETS - 1).then(|| 1 << bucket);
        let count = |(bucket, count): (usize, &AtomicU64)| (bound(bucket), count.load(Ordering::Relaxed));
        Snapshot {
            buckets: self.buckets.iter().enumerate().map(count).collect(),
            sum_us: self.sum_us.load(Ordering::Relaxed),
            longest_us: self.longest_us.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_lies_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        for (us, bound) in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (1000, 1024), (1024, 1024), (1025, 2048)] {
            let histogram = Histogram::default();
            histogram.record(us);
            let snapshot = histogram.snapshot();
            let counted = snapshot.buckets.iter().find(|(_, count)| *count > 0);
            assert_eq!(counted, Some(&(Some(bound), 1)), "{us}");
            assert_eq!((snapshot.sum_us, snapshot.longest_us), (us, us));
        }
        let histogram = Histogram::default();
        histogram.record(u64::from(u32::MAX));
        assert_eq!(histogram.snapshot().buckets.last(), Some(&(None, 1)));
    }
}
