//! The load generator: HTTP/1.1 over epoll on one thread, a closed or an open loop. It shares the cores with what it
//! measures, so a request costs it a write, a read, and nothing that allocates.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};

use hdrhistogram::Histogram;
use passerby_actors::domain::Clock;
use passerby_actors::system::SystemClock;
use passerby_actors::testkit::Random;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::process::{Cpu, Process};
use crate::work::{Kind, Same, Work};

/// When requests are sent.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// On every connection as soon as the last answer is there.
    Closed,
    /// So many a second in the mean, at random intervals and whatever the answers do. One that finds no connection free
    /// waits, and its latency counts from the time it was meant for: a stall is not left out.
    Open {
        /// Requests a second.
        per_s: f64,
    },
    /// So many in all, as fast as they go.
    Count(u64),
}

/// For how long, in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// Not measured.
    pub warm_us: u64,
    /// Measured, after that.
    pub measured_us: u64,
}

impl Span {
    /// For a [`Pace::Count`].
    pub const ENDLESS: Self = Self { warm_us: 0, measured_us: u64::MAX };
}

/// What came of it, without the warm-up.
pub struct Measured {
    /// Answers of any status.
    pub answers: u64,
    /// What was measured of the time.
    pub seconds: f64,
    /// From the first request to the last answer, the warm-up and what was late included.
    pub lasted_us: u64,
    /// Answers that were not 2xx, and requests that got none.
    pub failed: u64,
    /// The first of the failures, in words.
    pub failure: Option<String>,
    /// Microseconds.
    pub latency: Histogram<u64>,
    /// Of the processes that were measured, in their order.
    pub cpu: Vec<Cpu>,
    /// Of this process.
    pub client_cpu: Cpu,
}

impl Measured {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }

    /// Processor time of all processes that were measured.
    pub fn cpu_us_per_answer(&self) -> f64 {
        self.cpu.iter().map(|cpu| cpu.seconds()).sum::<f64>() * 1e6 / self.answers.max(1) as f64
    }

    /// Processor time of this process.
    pub fn client_us_per_answer(&self) -> f64 {
        self.client_cpu.seconds() * 1e6 / self.answers.max(1) as f64
    }

    /// The latency that this part of all does not exceed (microseconds).
    pub fn at(&self, part: f64) -> u64 {
        self.latency.value_at_quantile(part)
    }
}

/// A request that was not answered this long after the last was sent has failed.
const PATIENCE_US: u64 = 10_000_000;

struct Connection {
    stream: TcpStream,
    kind: Kind,
    /// When the request on its way was to be sent.
    since_us: u64,
    /// An answer that came in pieces.
    received: Vec<u8>,
    /// The rest of a request that the socket did not take at once.
    unsent: Vec<u8>,
}

/// An answer's head, in so far as it matters.
struct Head {
    status: u16,
    length: usize,
    body: usize,
}

/// `None` if it is not all there yet.
fn parse(bytes: &[u8]) -> Option<Head> {
    const LENGTH: &[u8] = b"content-length: ";
    let status = bytes.get(9..12)?.iter().fold(0, |number, digit| number * 10 + u16::from(digit.wrapping_sub(b'0')));
    let (mut at, mut body) = (0, 0);
    loop {
        let line = &bytes[at..];
        let end = line.iter().position(|byte| *byte == b'\n')?;
        at += end + 1;
        match &line[..end] {
            b"\r" => break,
            line if line.len() > LENGTH.len() && line[..LENGTH.len()].eq_ignore_ascii_case(LENGTH) => {
                let digits = line[LENGTH.len()..].iter().take_while(|byte| byte.is_ascii_digit());
                body = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
            }
            _ => {}
        }
    }
    Some(Head { status, length: at, body }).filter(|_| bytes.len() >= at + body)
}

struct Run<'a> {
    clock: &'a SystemClock,
    address: &'a str,
    epoll: std::os::fd::OwnedFd,
    connections: Vec<Connection>,
    /// Connections on which nothing is on its way, the longest idle first: the server cuts off one that never asks.
    free: VecDeque<usize>,
    work: &'a mut dyn Work,
    measured: Measured,
    /// Only what was to be sent, or in a closed loop answered, in here counts.
    from_us: u64,
    until_us: u64,
    is_closed: bool,
}

/// Puts `work` on `address` through so many connections, while the processor time of `processes` is taken.
pub fn run(
    clock: &SystemClock,
    address: &str,
    connections: usize,
    pace: Pace,
    span: Span,
    work: &mut dyn Work,
    processes: &[&Process],
) -> Measured {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let connections: Vec<_> = (0..connections).map(|index| connect(&epoll, address, index)).collect();
    let began_us = clock.monotonic_us();
    let from_us = began_us + span.warm_us;
    let until_us = from_us.saturating_add(span.measured_us);
    let measured = Measured {
        answers: 0,
        seconds: 0.0,
        lasted_us: 0,
        failed: 0,
        failure: None,
        latency: Histogram::new_with_bounds(1, 60_000_000, 3).unwrap(),
        cpu: Vec::new(),
        client_cpu: Cpu::default(),
    };
    let free = (0..connections.len()).collect();
    let is_closed = !matches!(pace, Pace::Open { .. });
    let mut run = Run { clock, address, epoll, connections, free, work, measured, from_us, until_us, is_closed };

    let cpu = || processes.iter().map(|process| process.cpu()).collect::<Vec<_>>();
    let mut random = Random(began_us);
    // intervals of a Poisson process: real readers do not take turns
    let mut gap_us = |per_s: f64| -(1.0 - random.unit()).ln() * 1e6 / per_s;
    let mut due_us = began_us as f64;
    let mut left = if let Pace::Count(left) = pace { left } else { u64::MAX };
    let (mut before, mut after) = (None, None);
    let mut events = Vec::with_capacity(run.connections.len());
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now_us = clock.monotonic_us();
        if before.is_none() && now_us >= from_us {
            before = Some((now_us, cpu(), Cpu::of_this_process()));
        }
        if after.is_none() && now_us >= until_us {
            after = Some((now_us, cpu(), Cpu::of_this_process()));
        }
        let mut wait_us = None;
        match pace {
            Pace::Closed | Pace::Count(_) => {
                while now_us < until_us && left > 0 {
                    let Some(index) = run.free.pop_front() else { break };
                    left -= 1;
                    run.send(index, now_us);
                }
            }
            Pace::Open { per_s } => {
                while due_us <= now_us as f64 && due_us < until_us as f64 {
                    let Some(index) = run.free.pop_front() else { break };
                    run.send(index, due_us as u64);
                    due_us += gap_us(per_s);
                }
                if due_us < until_us as f64 && !run.free.is_empty() {
                    wait_us = Some((due_us as u64).saturating_sub(now_us));
                }
            }
        }
        let is_sent = match pace {
            Pace::Closed => now_us >= until_us,
            Pace::Open { .. } => due_us >= until_us as f64,
            Pace::Count(_) => left == 0,
        };
        let is_idle = run.free.len() == run.connections.len();
        if is_sent && is_idle && (after.is_some() || left == 0) {
            break;
        }
        if now_us > until_us.saturating_add(PATIENCE_US) {
            run.fail((run.connections.len() - run.free.len()) as u64, || "no answer".to_owned());
            break;
        }
        run.wait(&mut events, wait_us.unwrap_or(10_000));
        for event in events.drain(..) {
            let index = usize::try_from(event.data.u64()).unwrap();
            if run.receive(index, &mut buffer) && run.is_closed && left > 0 {
                let now_us = clock.monotonic_us();
                if now_us < until_us {
                    run.free.pop_back();
                    left -= 1;
                    run.send(index, now_us);
                }
            }
        }
    }
    run.measured.lasted_us = clock.monotonic_us() - began_us;
    let (ended_us, cpu_after, own_after) =
        after.unwrap_or_else(|| (clock.monotonic_us(), cpu(), Cpu::of_this_process()));
    let (counted_us, cpu_before, own_before) = before.unwrap();
    run.measured.seconds = (ended_us - counted_us) as f64 / 1e6;
    run.measured.cpu = cpu_after.iter().zip(&cpu_before).map(|(after, before)| after.since(*before)).collect();
    run.measured.client_cpu = own_after.since(own_before);
    run.measured
}

/// The same from a thread of the lowest priority: bots compute on machines of their own, so theirs gets what the server and
/// others that are measured leave.
pub fn run_in_background(
    address: &str,
    connections: usize,
    pace: Pace,
    span: Span,
    mut work: impl Work + Send + 'static,
) -> JoinHandle<Measured> {
    let address = address.to_owned();
    thread::spawn(move || {
        rustix::process::setpriority_process(None, 19).unwrap();
        run(&SystemClock::default(), &address, connections, pace, span, &mut work, &[])
    })
}

/// Sends `work` so many times, of which none may fail.
pub fn send_all(clock: &SystemClock, address: &str, connections: usize, times: usize, work: &mut dyn Work) -> Measured {
    let pace = Pace::Count(times as u64);
    let measured = run(clock, address, connections.min(times), pace, Span::ENDLESS, work, &[]);
    assert_eq!(measured.failed, 0, "{:?}", measured.failure);
    measured
}

/// Sends one request so many times, of which none may fail, and shows the head and the body of every answer.
pub fn collect(clock: &SystemClock, address: &str, times: usize, request: Vec<u8>, answered: impl FnMut(&[u8], &[u8])) {
    send_all(clock, address, 64, times, &mut Same { request, kind: Kind::Login, answered });
}

fn connect(epoll: &std::os::fd::OwnedFd, address: &str, index: usize) -> Connection {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    let interest = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
    epoll::add(epoll, &stream, epoll::EventData::new_u64(index as u64), interest).unwrap();
    let (received, unsent) = (Vec::new(), Vec::new());
    Connection { stream, kind: Kind::Check, since_us: 0, received, unsent }
}

impl Run<'_> {
    /// epoll's own timeout is in milliseconds, too coarse to keep an open loop's pace.
    fn wait(&self, events: &mut Vec<epoll::Event>, wait_us: u64) {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(events), Some(&zero)).unwrap();
        if events.is_empty() && wait_us > 0 {
            let timeout =
                Timespec { tv_sec: (wait_us / 1_000_000) as i64, tv_nsec: (wait_us % 1_000_000 * 1000) as i64 };
            match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("poll: {error}"),
            }
            epoll::wait(&self.epoll, spare_capacity(events), Some(&zero)).unwrap();
        }
    }

    fn send(&mut self, index: usize, since_us: u64) {
        let (kind, request) = self.work.next();
        let connection = &mut self.connections[index];
        (connection.kind, connection.since_us) = (kind, since_us);
        let sent = match connection.stream.write(request) {
            Ok(sent) => sent,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            // reading will find out
            Err(_) => return,
        };
        connection.unsent.extend_from_slice(&request[sent..]);
    }

    /// Reads what there is; true if the connection is free from now on.
    fn receive(&mut self, index: usize, buffer: &mut [u8]) -> bool {
        let connection = &mut self.connections[index];
        if !connection.unsent.is_empty()
            && let Ok(sent) = connection.stream.write(&connection.unsent)
        {
            connection.unsent.drain(..sent);
        }
        let read = match connection.stream.read(buffer) {
            Ok(0) => return self.broken(index, "the server closed the connection".to_owned()),
            Ok(read) => read,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return false,
            Err(error) => return self.broken(index, error.to_string()),
        };
        // one request at a time, so what came is (a piece of) one answer
        let mut pieces = std::mem::take(&mut connection.received);
        let bytes = if pieces.is_empty() {
            &buffer[..read]
        } else {
            pieces.extend_from_slice(&buffer[..read]);
            &pieces
        };
        let Some(head) = parse(bytes) else {
            self.connections[index].received = if pieces.is_empty() { buffer[..read].to_vec() } else { pieces };
            return false;
        };
        let (kind, since_us) = (connection.kind, connection.since_us);
        let is_good = (200..300).contains(&head.status);
        if is_good {
            self.work.answered(kind, &bytes[..head.length], &bytes[head.length..head.length + head.body]);
        }
        let now_us = self.clock.monotonic_us();
        let counted_us = if self.is_closed { now_us } else { since_us };
        if (self.from_us..self.until_us).contains(&counted_us) {
            self.measured.answers += 1;
            self.measured.latency.saturating_record(now_us.saturating_sub(since_us));
        }
        if !is_good {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.fail(1, || text);
        }
        pieces.clear();
        self.connections[index].received = pieces;
        self.free.push_back(index);
        true
    }

    fn broken(&mut self, index: usize, why: String) -> bool {
        self.fail(1, || why);
        self.connections[index] = connect(&self.epoll, self.address, index);
        self.free.push_back(index);
        true
    }

    fn fail(&mut self, times: u64, why: impl FnOnce() -> String) {
        self.measured.failed += times;
        self.measured.failure.get_or_insert_with(why);
    }
}
