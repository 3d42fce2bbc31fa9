//! The clock of an open loop: says when requests are due, whatever became of those before them.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use passerby_actors::domain::Clock;
use passerby_actors::system::SystemClock;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// What is due is told this often: late by no more than this, and counted as late.
const EVERY: Duration = Duration::from_micros(200);

/// Numbers requests that are due at a steady rate. Latency counts from the time at which a request was due, so that a
/// server that stalls does not stop the watch that it is timed with.
pub struct Pacer {
    clock: Arc<SystemClock>,
    rate: f64,
    stopped: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Pacer {
    /// Begins with request 0, at `rate` a second. The numbers end when it is stopped.
    pub fn start(rate: f64) -> (Self, UnboundedReceiver<Range<u64>>) {
        let (clock, stopped) = (Arc::<SystemClock>::default(), Arc::<AtomicBool>::default());
        let (tell, numbers) = unbounded_channel();
        let (time, is_over) = (Arc::clone(&clock), Arc::clone(&stopped));
        let run = move || {
            let mut told = 0;
            while !is_over.load(Ordering::Relaxed) {
                std::thread::park_timeout(EVERY);
                let due = (time.monotonic_us() as f64 * rate / 1e6) as u64;
                if due > told && tell.send(told..due).is_ok() {
                    told = due;
                }
            }
        };
        (Self { clock, rate, stopped, thread: std::thread::spawn(run) }, numbers)
    }

    /// Microseconds since it began.
    pub fn now_us(&self) -> u64 {
        self.clock.monotonic_us()
    }

    /// Microseconds since this request was due.
    pub fn since_due_us(&self, number: u64) -> u64 {
        self.now_us().saturating_sub((number as f64 / self.rate * 1e6) as u64)
    }

    /// Nothing more is due.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}
