//! A minimal HTTP/1.1 client, and logins over many of its connections.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_rt::task::JoinHandle;
use futures_util::future::join_all;
use passerby_actors::domain::Clock;
use passerby_actors::system::SystemClock;
use passerby_benches::Pacer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

const LOGIN: &[u8] = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";

/// Requests one after the other, on a connection that stays open.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What came back of a response.
pub(crate) struct Response {
    /// 0: the connection broke.
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) body: String,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::with_capacity(4096) }
    }

    pub(crate) async fn log_in(&mut self) -> Response {
        self.exchange(LOGIN).await
    }

    async fn exchange(&mut self, request: &[u8]) -> Response {
        match self.try_exchange(request).await {
            Ok(response) => response,
            Err(_) => Response { status: 0, retry_after_s: None, body: String::new() },
        }
    }

    async fn try_exchange(&mut self, request: &[u8]) -> std::io::Result<Response> {
        self.stream.write_all(request).await?;
        self.read.clear();
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more().await?;
        };
        let text = String::from_utf8_lossy(&self.read[..head]).to_ascii_lowercase();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let header = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().parse::<u64>().ok()
        };
        let (length, retry_after_s) = (header("content-length").unwrap_or(0) as usize, header("retry-after"));
        while self.read.len() < head + length {
            self.read_more().await?;
        }
        let body = String::from_utf8_lossy(&self.read[head..head + length]).into_owned();
        Ok(Response { status, retry_after_s, body })
    }

    async fn read_more(&mut self) -> std::io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The body that a path gives.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let response = Connection::open(address).await.exchange(request.as_bytes()).await;
    assert_eq!(response.status, 200, "{path}");
    response.body
}

async fn open_many(address: SocketAddr, count: usize) -> Vec<Connection> {
    join_all((0..count).map(|_| Connection::open(address))).await
}

/// Logins a second on this many connections, each always waiting for one; without the first second.
pub(crate) async fn closed_loop(address: SocketAddr, connections: usize, seconds: u64) -> f64 {
    let (clock, created) = (SystemClock::default(), Cell::new(0u64));
    let (begin_us, end_us) = (1_000_000, seconds * 1_000_000);
    let caller = async |mut connection: Connection| {
        while clock.monotonic_us() < end_us {
            assert_eq!(connection.log_in().await.status, 201);
            let is_timed = (begin_us..end_us).contains(&clock.monotonic_us());
            created.set(created.get() + u64::from(is_timed));
        }
    };
    join_all(open_many(address, connections).await.into_iter().map(caller)).await;
    created.get() as f64 * 1e6 / (end_us - begin_us) as f64
}

/// What is offered, whatever the answers take.
#[derive(Clone, Copy)]
pub(crate) struct Offer {
    /// Logins a second.
    pub(crate) rate: f64,
    pub(crate) seconds: u64,
    pub(crate) connections: usize,
}

/// What became of an offered login.
pub(crate) struct Answer {
    /// 0: the connection broke.
    pub(crate) status: u16,
    pub(crate) retry_after_s: Option<u64>,
    pub(crate) due_at_us: u64,
    /// From when it was due.
    pub(crate) took_us: u64,
}

#[derive(Default)]
struct Queue {
    due: RefCell<VecDeque<u64>>,
    arrived: Notify,
    is_over: Cell<bool>,
    answers: RefCell<Vec<Answer>>,
}

/// An open loop that is over, but for what is still being answered.
pub(crate) struct Load {
    queue: Rc<Queue>,
    callers: Vec<JoinHandle<()>>,
}

impl Load {
    /// All answers, once the last is there.
    pub(crate) async fn answers(self) -> Vec<Answer> {
        for caller in self.callers {
            caller.await.unwrap();
        }
        self.queue.answers.take()
    }
}

/// Offers logins over a pool of connections; those for which none is free wait, and are timed meanwhile.
pub(crate) async fn open_loop(address: SocketAddr, offer: Offer) -> Load {
    let connections = open_many(address, offer.connections).await;
    let queue = Rc::<Queue>::default();
    let (pacer, mut numbers) = Pacer::start(offer.rate);
    let pacer = Rc::new(pacer);
    let call = |connection| actix_rt::spawn(call(connection, Rc::clone(&queue), Rc::clone(&pacer)));
    let callers = connections.into_iter().map(call).collect();
    while pacer.now_us() < offer.seconds * 1_000_000 {
        if let Ok(Some(numbers)) = tokio::time::timeout(Duration::from_millis(10), numbers.recv()).await {
            for number in numbers {
                queue.due.borrow_mut().push_back(number);
                queue.arrived.notify_one();
            }
        }
    }
    pacer.stop();
    queue.is_over.set(true);
    queue.arrived.notify_waiters();
    Load { queue, callers }
}

async fn call(mut connection: Connection, queue: Rc<Queue>, pacer: Rc<Pacer>) {
    loop {
        let next = queue.due.borrow_mut().pop_front();
        let Some(number) = next else {
            if queue.is_over.get() {
                return;
            }
            queue.arrived.notified().await;
            continue;
        };
        let response = connection.log_in().await;
        let (now_us, took_us) = (pacer.now_us(), pacer.since_due_us(number));
        let (status, retry_after_s) = (response.status, response.retry_after_s);
        queue.answers.borrow_mut().push(Answer {
            status,
            retry_after_s,
            due_at_us: now_us.saturating_sub(took_us),
            took_us,
        });
        if status == 0 {
            return;
        }
    }
}
