//! Log lines on standard error, for a person or as JSON. Times are UTC.
//!
//! No thread that logs waits for the reader: a thread writes, from a bounded queue, and what finds it full is dropped
//! and counted. Of warnings and errors of one place in the code, which strangers may cause again and again, some are written
//! and the others counted. Life-cycle events (`passerby::events`) are all written, as long as there is room.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use passerby_actors::domain::Clock;
use passerby_actors::system::SystemClock;
use tracing::callsite::Identifier;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// Lines that wait to be written.
const WAITING: usize = 4096;
/// A longer line is cut off (bytes).
const LONGEST_LINE: usize = 16 * 1024;
/// How long the end waits for lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Warnings of one place that are written at once; then one a second.
const AT_ONCE: u64 = 20;
/// How often what was left out is said at most (microseconds).
const SAY_EVERY_US: u64 = 60_000_000;

/// The target of lines that an operator causes, by a start or a signal: all of them are written.
pub const OPERATOR: &str = "passerby::operator";

/// Lines that found no room.
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// Warnings and errors of a place that had said the same too often.
static SAMPLED: AtomicU64 = AtomicU64::new(0);

/// How many lines were dropped: because their reader was too slow, and because their place in the code had written
/// too many.
pub fn left_out() -> (u64, u64) {
    (DROPPED.load(Ordering::Relaxed), SAMPLED.load(Ordering::Relaxed))
}

/// Installs the process's one subscriber, and logs panics through it.
///
/// # Errors
/// The filter cannot be read, or there is no thread, in one sentence.
pub fn install(log: &Log) -> Result<Logging, String> {
    let (filter, handle) = reload::Layer::new(filter(&log.filter)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let lines = Lines::to(io::stderr(), &DROPPED, Arc::clone(&clock)).map_err(|error| error.to_string())?;
    let logging = Logging { filter: handle, _flush: Flush(lines.clone()) };
    let sampled = tracing_subscriber::registry().with(filter).with(Sampler::new(clock, &SAMPLED));
    let installed = match log.format {
        LogFormat::Human => sampled.with(fmt::layer().with_ansi(false).with_writer(lines)).try_init(),
        LogFormat::Json => sampled.with(fmt::layer().json().with_writer(lines)).try_init(),
    };
    installed.map_err(|error| error.to_string())?;
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(%panic, %backtrace, "a thread panicked");
    }));
    Ok(logging)
}

fn filter(text: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(text).map_err(|error| format!("log.filter: {error}"))
}

/// Held by the code that may end the process: dropping it waits a moment for lines to be written.
#[must_use = "the last lines are lost without it"]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    _flush: Flush,
}

impl Logging {
    /// Writes other lines from now on: those of this filter.
    ///
    /// # Errors
    /// It cannot be read, in one sentence.
    pub fn refilter(&self, text: &str) -> Result<(), String> {
        self.filter.reload(filter(text)?).map_err(|error| error.to_string())
    }
}

struct Flush(Lines);

impl Drop for Flush {
    fn drop(&mut self) {
        let (done, is_done) = sync_channel(1);
        // if there is no room, the reader is slow or gone
        if self.0.queue.try_send(Message::Flush(done)).is_ok() {
            let _ended_in_time = is_done.recv_timeout(LAST_LINES);
        }
    }
}

enum Message {
    Line(Box<[u8]>),
    Flush(SyncSender<()>),
}

/// Takes lines, and never waits.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Message>,
    dropped: &'static AtomicU64,
}

impl Lines {
    /// Starts the thread that writes.
    fn to(out: impl Write + Send + 'static, dropped: &'static AtomicU64, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let (queue, waiting) = sync_channel(WAITING);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(out, &waiting, dropped, &*clock))?;
        Ok(Self { queue, dropped })
    }
}

fn write_lines(mut out: impl Write, waiting: &Receiver<Message>, dropped: &AtomicU64, clock: &dyn Clock) {
    let (mut said, mut said_us) = ((0, 0), None);
    for message in waiting {
        match message {
            // there may be no reader
            Message::Line(line) => drop(out.write_all(&line)),
            Message::Flush(done) => {
                drop(out.flush());
                let _somebody_waits = done.try_send(());
            }
        }
        let left_out = (dropped.load(Ordering::Relaxed), SAMPLED.load(Ordering::Relaxed));
        let now_us = clock.monotonic_us();
        if left_out != said && said_us.is_none_or(|before: u64| now_us.saturating_sub(before) >= SAY_EVERY_US) {
            let (unread, repeated) = (left_out.0 - said.0, left_out.1 - said.1);
            (said, said_us) = (left_out, Some(now_us));
            // it waits for its turn like every other
            tracing::warn!(unread, repeated, "log lines were left out: too many waited, or one place wrote too many");
        }
    }
}

impl Write for Lines {
    /// Takes a whole line, as the formatter writes it.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut kept: Vec<u8> = line[..line.len().min(LONGEST_LINE)].to_vec();
        if kept.len() < line.len() {
            kept.extend_from_slice(b" (cut off)\n");
        }
        if let Err(TrySendError::Full(_)) = self.queue.try_send(Message::Line(kept.into())) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Lets so many warnings and errors of each place in the code through.
struct Sampler {
    clock: Arc<dyn Clock>,
    sampled: &'static AtomicU64,
    /// By place, of which there are as many as the code has: until when (microseconds) what was let through counts.
    busy_until: Mutex<HashMap<Identifier, u64>>,
}

impl Sampler {
    fn new(clock: Arc<dyn Clock>, sampled: &'static AtomicU64) -> Self {
        Self { clock, sampled, busy_until: Mutex::default() }
    }
}

impl<S: Subscriber> Layer<S> for Sampler {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::WARN || matches!(metadata.target(), "passerby::events" | OPERATOR) {
            return true;
        }
        let now_us = self.clock.monotonic_us();
        let mut places = self.busy_until.lock();
        let busy_until = places.entry(metadata.callsite()).or_default();
        let next = (*busy_until).max(now_us) + 1_000_000;
        let may = next <= now_us + AT_ONCE * 1_000_000;
        if may {
            *busy_until = next;
        } else {
            self.sampled.fetch_add(1, Ordering::Relaxed);
        }
        may
    }
}

#[cfg(test)]
mod tests;
