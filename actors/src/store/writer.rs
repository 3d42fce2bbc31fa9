//! The group writer: one thread that checks, appends, applies and only then answers, one group at a time. Which log it appends
//! to is a matter of its type.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use smallvec::smallvec;

use super::Sets;
use super::apply::Effect;
use super::check::Group;
use super::committed::{Committed, Position};
use super::completion::{Outcomes, ReplyTo, Wakes};
use super::feed::Feed;
use super::log::Log;
use super::stats::Stats;
use crate::domain::{Outcome, ServiceClock, ServiceTime, UserId};
use crate::registry::Registry;

/// The writer looks at the clock at least this often.
const TICK: Duration = Duration::from_secs(1);
/// From so many expected commits on, the writer waits for them before a group, but no longer than the log lets it: under load a
/// larger group costs each of its commits less, and a single caller does not wait.
const MANY_COMMITS: usize = 16;
/// A group takes at most this many sets: its memory and the time of its sync are bounded.
const MAX_GROUP_SETS: usize = 16_384;

/// What the handle, the writer and the log of one store share.
pub(super) struct Shared {
    pub(super) registry: Registry,
    pub(super) clock: ServiceClock,
    pub(super) stats: Stats,
    pub(super) queue: Mutex<Queue>,
    arrived: Condvar,
    /// The log takes no group for now.
    pub(super) failing: AtomicBool,
    pub(super) stopped: AtomicBool,
    pub(super) feed: Feed,
}

/// What the writer is sent.
pub(super) enum Message {
    Commit(Sets, ReplyTo),
    Touch(UserId, ServiceTime),
    /// Begin a new generation now.
    NewGeneration,
    Stop,
}

/// What the writer has been sent and has not yet taken.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) messages: Vec<Message>,
    /// How many messages the writer sleeps for.
    wanted: usize,
    /// There is something to do without a message.
    woken: bool,
}

impl Shared {
    pub(super) fn new(registry: Registry, clock: ServiceClock) -> Self {
        Self {
            registry,
            clock,
            stats: Stats::default(),
            queue: Mutex::default(),
            arrived: Condvar::new(),
            failing: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            feed: Feed::default(),
        }
    }

    pub(super) fn send(&self, message: Message) {
        let mut queue = self.queue.lock();
        // dropping a commit's reply answers `Failed`
        if !self.stopped.load(Ordering::Acquire) {
            queue.messages.push(message);
            if queue.messages.len() >= queue.wanted {
                self.arrived.notify_one();
            }
        }
    }

    /// Has the log do what is due now.
    pub(super) fn wake(&self) {
        let mut queue = self.queue.lock();
        queue.woken = true;
        // a writer that lingers for more sets goes on soon enough
        if queue.wanted <= 1 {
            self.arrived.notify_one();
        }
    }

    /// From now on nothing is taken; what has come in since the last group is answered `Failed`.
    fn stop(&self) {
        let left = {
            let mut queue = self.queue.lock();
            self.stopped.store(true, Ordering::Release);
            std::mem::take(&mut queue.messages)
        };
        drop(left);
        self.feed.close();
    }

    /// Service time, and Unix time in milliseconds.
    pub(super) fn times(&self) -> (ServiceTime, u64) {
        (self.clock.now(), self.clock.wall_ms())
    }
}

/// The writer of one store.
pub(super) struct Writer<L: Log> {
    shared: Arc<Shared>,
    log: L,
    waiting: VecDeque<(Sets, ReplyTo)>,
    /// How many commits the next group is expected to have: as many as the one before, and half as many as were expected of it at
    /// least. A straggler that comes behind a large group does not make all that follow small.
    expected: usize,
    stopping: bool,
}

impl<L: Log> Writer<L> {
    pub(super) fn new(shared: Arc<Shared>, log: L) -> Self {
        Self { shared, log, waiting: VecDeque::new(), expected: 0, stopping: false }
    }

    pub(super) fn run(mut self) {
        loop {
            self.receive();
            if !self.waiting.is_empty() || (self.log.is_open() && self.log.has_touches()) {
                let before_us = self.shared.clock.monotonic_us();
                self.write_group();
                let took_us = self.shared.clock.monotonic_us().saturating_sub(before_us);
                self.shared.stats.group.record(took_us);
            } else if self.stopping {
                break;
            }
            if let Some(jump_ms) = self.shared.clock.wall_jump_ms() {
                tracing::warn!(jump_ms, "the wall clock jumped; no deadline moves");
            }
            self.log.keep(self.stopping);
        }
        self.shared.stop();
        self.log.close();
    }

    /// Takes what has arrived, waiting for it if there is nothing left to do.
    fn receive(&mut self) {
        let messages = {
            let mut queue = self.shared.queue.lock();
            if queue.messages.is_empty() && !queue.woken && self.waiting.is_empty() && !self.stopping {
                queue.wanted = 1;
                self.shared.arrived.wait_for(&mut queue, TICK);
            }
            // a few more may be under way from where these came from
            let may_linger = !L::LINGER.is_zero() && self.expected >= MANY_COMMITS && !self.stopping;
            if may_linger && queue.messages.len() < self.expected {
                queue.wanted = self.expected;
                self.shared.arrived.wait_for(&mut queue, L::LINGER);
            }
            (queue.wanted, queue.woken) = (usize::MAX, false);
            std::mem::take(&mut queue.messages)
        };
        for message in messages {
            match message {
                Message::Commit(sets, reply) => self.waiting.push_back((sets, reply)),
                Message::Touch(id, at) => self.log.touch(id, at),
                Message::NewGeneration => self.log.new_generation(),
                Message::Stop => self.stopping = true,
            }
        }
    }

    fn write_group(&mut self) {
        if !self.log.is_open() {
            return self.fail_waiting();
        }
        let shared = Arc::clone(&self.shared);
        let room = self.expected;
        let mut group = Group::with_room(&shared.registry, room);
        let (mut replies, mut committed) = (Vec::with_capacity(room), Vec::with_capacity(room));
        let (seq, times) = (self.log.next_seq(), shared.times());
        let mut sets_taken = 0;
        while sets_taken < MAX_GROUP_SETS
            && let Some((sets, reply)) = self.waiting.pop_front()
        {
            sets_taken += sets.len();
            let outcomes = group.decide(sets, |accepted| {
                self.log.add(&accepted);
                committed.push(accepted.committed(Position::of(seq, &committed), times));
            });
            replies.push((reply, outcomes));
        }
        self.expected = replies.len().max(self.expected / 2);
        let mut effects = group.into_effects();
        if !self.log.append(times) {
            for (_, outcomes) in &mut replies {
                outcomes.fill(Outcome::Failed);
            }
            effects.clear();
            committed.clear();
        }
        Effect::apply_all(effects, &shared.registry);
        self.answer(replies, &committed);
    }

    fn fail_waiting(&mut self) {
        let failed = |(sets, reply): (Sets, ReplyTo)| (reply, smallvec![Outcome::Failed; sets.len()]);
        let replies = self.waiting.drain(..).map(failed).collect();
        self.answer(replies, &[]);
    }

    /// Publishes what is committed, and delivers the outcomes.
    fn answer(&self, replies: Vec<(ReplyTo, Outcomes)>, committed: &[Committed]) {
        let (stats, mut wakes) = (&self.shared.stats, Wakes::default());
        self.shared.feed.publish(committed, &mut wakes);
        let (mut done, mut conflicted, mut failed) = (0, 0, 0);
        for (reply, outcomes) in replies {
            for outcome in &outcomes {
                match outcome {
                    Outcome::Done => done += 1,
                    Outcome::Conflict { .. } => conflicted += 1,
                    Outcome::Failed => failed += 1,
                }
            }
            reply.deliver(outcomes, &mut wakes);
        }
        stats.sets_done.fetch_add(done, Ordering::Relaxed);
        stats.sets_conflicted.fetch_add(conflicted, Ordering::Relaxed);
        stats.sets_failed.fetch_add(failed, Ordering::Relaxed);
    }
}

impl<L: Log> Drop for Writer<L> {
    /// Also when it dies: no caller waits for ever.
    fn drop(&mut self) {
        self.shared.stop();
    }
}
