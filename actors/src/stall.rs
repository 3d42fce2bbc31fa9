//! Time limits on others count only while this process ran: when it was stopped, or a thread of it was held up, no one else is to
//! blame for what did not come.
//!
//! Each thread that serves beats a few times a second. What lies between two beats that are far apart is lost, and is
//! subtracted from what [`Mark::elapsed`] says; also by a caller that looks before the late beat.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::system::{self, EVERY, STALL};

#[derive(Clone, Copy)]
struct Beat {
    last: Instant,
    /// What was lost before.
    lost: Duration,
}

thread_local! {
    static BEAT: Cell<Option<Beat>> = const { Cell::new(None) };
}

/// Ends the beat of a thread with its runtime: what comes later on that thread is not late.
struct Beating;

impl Drop for Beating {
    fn drop(&mut self) {
        BEAT.set(None);
        system::end_beating();
    }
}

/// Lets this thread beat for as long as its runtime lives. Needs a running actix arbiter; does nothing if it beats already.
pub fn watch() {
    if BEAT.get().is_some() {
        return;
    }
    BEAT.set(Some(Beat { last: Instant::now(), lost: Duration::ZERO }));
    system::begin_to_beat();
    let beating = Beating;
    actix_rt::spawn(async move {
        let _beating = beating;
        loop {
            tokio::time::sleep(EVERY).await;
            let now = Instant::now();
            BEAT.set(Some(Beat { last: now, lost: lost(now) }));
            system::beat();
        }
    });
}

/// What this thread lost so far.
fn lost(now: Instant) -> Duration {
    let Some(Beat { last, lost }) = BEAT.get() else { return Duration::ZERO };
    let since = now.saturating_duration_since(last);
    if since > STALL { lost + (since - EVERY) } else { lost }
}

/// A moment, from which time counts while this thread runs.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    at: Instant,
    lost: Duration,
}

impl Mark {
    /// Now.
    pub fn now() -> Self {
        let at = Instant::now();
        Self { at, lost: lost(at) }
    }

    /// For how long the thread ran since. To be called on the thread on which it was created.
    pub fn elapsed(&self) -> Duration {
        let now = Instant::now();
        now.saturating_duration_since(self.at).saturating_sub(lost(now).saturating_sub(self.lost))
    }
}

/// The time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the time was over")]
pub struct Late;

/// Waits for a future for as long as this, of time in which the thread ran.
///
/// # Errors
/// The time was over.
pub async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Late> {
    let (mark, mut future, mut rest) = (Mark::now(), pin!(future), limit);
    loop {
        if let Ok(output) = tokio::time::timeout(rest, &mut future).await {
            return Ok(output);
        }
        rest = limit.saturating_sub(mark.elapsed());
        if rest.is_zero() {
            return Err(Late);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn beat() {
        let now = Instant::now();
        BEAT.set(Some(Beat { last: now, lost: lost(now) }));
    }

    async fn run(span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            tokio::time::advance(EVERY).await;
            beat();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_stall_takes_is_not_counted_before_or_after_the_late_beat() {
        beat();
        let mark = Mark::now();
        run(Duration::from_secs(3)).await;
        assert_eq!(mark.elapsed(), Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(40)).await;
        let counted = mark.elapsed();
        assert_eq!(counted, Duration::from_secs(3) + EVERY, "the late beat has not come");
        beat();
        assert_eq!(mark.elapsed(), counted);
        run(Duration::from_secs(2)).await;
        assert_eq!(mark.elapsed(), counted + Duration::from_secs(2));
        assert!(Mark::now().elapsed().is_zero(), "what was lost before a mark does not matter");
        tokio::time::advance(Duration::from_millis(900)).await;
        assert_eq!(mark.elapsed(), counted + Duration::from_millis(2900), "a busy thread is no stall");
        BEAT.set(None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_one_of_running_time() {
        let start = Instant::now();
        assert_eq!(within(LIMIT, std::future::pending::<()>()).await, Err(Late));
        assert_eq!(start.elapsed(), LIMIT, "where nothing beats, all time counts");

        beat();
        let (start, late) = (Instant::now(), Duration::from_secs(43));
        // nothing runs meanwhile, which is a stall
        let comes = async {
            tokio::time::sleep_until(start + late).await;
            beat();
        };
        assert_eq!(within(LIMIT, comes).await, Ok(()), "what came after the stall is in time");
        BEAT.set(None);
    }
}
