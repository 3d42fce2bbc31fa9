//! The public listener: actix-http over streams that cut off a client that stalls.
//!
//! Every time limit of a connection is kept here, on its own reads and writes, but for that of bodies ([`super::body`]): those
//! of actix-http would blame clients for what they sent while this process was stopped. A limit counts only while the worker
//! ran ([`passerby_actors::stall`]).
//!
//! One network has only so many connections, and some of the files that a process may open are kept back: for the store's own,
//! and for the admin listener.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive};
use actix_server::Server as Listener;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use ipnet::IpNet;
use passerby_actors::stall::{self, Mark};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::app::public_app;
use super::connection::Endless;
use super::stream::{self, Stream};
use crate::config::{Http, Settings};
use crate::limits::network::Network;
use crate::limits::places::Place;
use crate::server::Server;
use crate::tls::Tls;

/// Binds the public listener, and says where. It accepts once the result is awaited.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(server: &Arc<Server>, tls: Option<&Arc<Tls>>) -> io::Result<(Listener, SocketAddr)> {
    let settings = &server.settings;
    let socket = stream::listen(settings.listen)?;
    let bound = socket.local_addr()?;

    let mut listener = Listener::build()
        .max_concurrent_connections(settings.http.max_connections)
        .shutdown_timeout(settings.drain.timeout.as_secs())
        .disable_signals();
    if let Some(workers) = settings.workers {
        listener = listener.workers(workers);
    }
    let drain = listener.graceful_shutdown_signal();
    let (server, tls) = (Arc::clone(server), tls.cloned());
    let listener = listener.listen("public", socket, move || {
        let http = &server.settings.http;
        let limits = Limits::of(http);
        // this worker's thread
        stall::watch();
        let drain = drain.clone();
        let app = public_app(Arc::clone(&server)).into_factory().map_err(|error| error.error_response());
        let service = HttpService::build()
            .graceful_shutdown_signal(move || {
                let drain = drain.clone();
                async move { drain.notified().await }
            })
            // both are kept here
            .keep_alive(KeepAlive::Os)
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(Duration::from_secs(1))
            .local_addr(bound)
            .on_connect_ext(|connection: &Impatient<Stream>, extensions| {
                extensions.insert(connection.endless.clone());
                connection.stream.mark(extensions);
            })
            .h1(map_config(app, |()| AppConfig::default()));
        let (server, tls) = (Arc::clone(&server), tls.clone());
        fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            let place = match server
                .connections
                .take(peer.and_then(|peer| counted(&server.settings.trusted_proxies, peer.ip())))
            {
                Ok(place) => place,
                Err(no_place) => {
                    // the client is told nothing: it may not be reading
                    tracing::warn!(reason = %no_place, "a connection was refused");
                    return std::future::ready(Err(DispatchError::Io(io::ErrorKind::ConnectionRefused.into())));
                }
            };
            let stream = Stream::new(stream, tls.as_deref());
            std::future::ready(Ok((Impatient::new(stream, limits, Some(place)), peer)))
        })
        .and_then(service)
    })?;
    Ok((listener.run(), bound))
}

/// The network that a connection counts for. Trusted proxies and this machine itself have no bound but that of all.
fn counted(trusted: &[IpNet], peer: IpAddr) -> Option<Network> {
    let address = peer.to_canonical();
    if trusted.iter().any(|proxies| proxies.contains(&address)) { None } else { Network::of(address) }
}

/// How many connections there may be, of all workers together: as many as the settings allow, and as there may be open files,
/// of which some are kept back.
pub(crate) fn most_connections(settings: &Settings) -> u64 {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let workers = settings.workers.unwrap_or_else(cores);
    let wanted = u64::try_from(settings.http.max_connections.saturating_mul(workers)).unwrap_or(u64::MAX);
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    files.map_or(wanted, |files| wanted.min(files - kept_back(files)))
}

/// Of so many files that may be open, those that are not for connections.
fn kept_back(files: u64) -> u64 {
    (files / 8).clamp(64, 1024).min(files / 2)
}

/// How long what a client owes may take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The first head, from the connection's begin, with the handshake of TLS.
    head: Duration,
    /// A later head; a body and the answer; an answer that is to be read.
    patience: Duration,
    /// Nothing at all, between an answer and the next head.
    rest: Duration,
}

impl Limits {
    /// A request's head and its body may take `http.client_timeout` each, and its commit `http.request_timeout`.
    fn of(http: &Http) -> Self {
        let patience = http.client_timeout * 2 + http.request_timeout;
        Self { head: http.client_timeout, patience, rest: http.keep_alive }
    }

    /// The timer looks this often at least, so that it is never set for later than a limit that begins now.
    fn step(&self) -> Duration {
        self.patience.min(self.rest)
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first byte.
    New,
    /// The end of the first head.
    Head,
    /// The rest of a request, its answer, or a client that reads it.
    Owed,
    /// Nothing: an answer was taken.
    Rest,
}

/// A connection that ends when its client stalls: when its first head does not come in time; when bytes of a request
/// came and for `patience` no answer could be given, or when for as long nothing of an answer was taken. A connection on which
/// nothing is owed may rest for `http.keep_alive`. Time counts from the first byte, so one byte now and then does not help.
struct Impatient<S> {
    stream: S,
    limits: Limits,
    endless: Endless,
    phase: Phase,
    /// Since when.
    since: Mark,
    /// Set for the end of the phase, or for a look before it, so that most requests set no timer.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer has not yet run out.
    is_running: bool,
    /// Whether what was sealed of an answer waits for the client to take it, as under TLS.
    is_flushing: bool,
    /// Given back with the connection.
    _place: Option<Place>,
}

/// The answer to a connection whose first head did not come in time.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

impl<S> Impatient<S> {
    fn new(stream: S, limits: Limits, place: Option<Place>) -> Self {
        Self {
            stream,
            limits,
            endless: Endless::default(),
            phase: Phase::New,
            since: Mark::now(),
            timer: None,
            is_running: false,
            is_flushing: false,
            _place: place,
        }
    }

    fn enter(&mut self, phase: Phase) {
        (self.phase, self.since) = (phase, Mark::now());
    }

    /// Bytes came.
    fn read(&mut self) {
        match self.phase {
            Phase::New => self.phase = Phase::Head,
            Phase::Rest => self.enter(Phase::Owed),
            Phase::Head | Phase::Owed => {}
        }
    }

    /// Whether the time of the phase is over. Otherwise the task is woken when it may be.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.phase == Phase::Head && self.endless.had_request() {
            self.phase = Phase::Owed;
        }
        loop {
            if self.is_running {
                let Some(timer) = &mut self.timer else { return false };
                if timer.as_mut().poll(cx).is_pending() {
                    return false;
                }
                self.is_running = false;
            }
            if self.endless.holds(cx) {
                self.enter(Phase::Rest);
                return false;
            }
            let limit = match self.phase {
                Phase::New | Phase::Head => self.limits.head,
                Phase::Owed => self.limits.patience,
                Phase::Rest => self.limits.rest,
            };
            let left = limit.saturating_sub(self.since.elapsed());
            if left.is_zero() {
                return true;
            }
            let next = Instant::now() + left.min(self.limits.step());
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(next),
                None => self.timer = Some(Box::pin(sleep_until(next))),
            }
            self.is_running = true;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        // what has arrived came in time, however late it is read
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if buffer.filled().len() == before => return Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) => {
                self.read();
                if self.phase == Phase::Rest || !self.is_late(cx) {
                    return Poll::Ready(Ok(()));
                }
                buffer.set_filled(before);
                return self.end(cx);
            }
            failed => return failed,
        }
        if self.is_late(cx) { self.end(cx) } else { Poll::Pending }
    }
}

impl<S: AsyncWrite + Unpin> Impatient<S> {
    /// The time was over: as if the client had gone, or an error if an answer was on its way.
    fn end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.phase {
            Phase::New | Phase::Rest => Poll::Ready(Ok(())),
            Phase::Head => {
                // nothing was written before; if there is no room for this, the client does not read
                let _told = Pin::new(&mut self.stream).poll_write(cx, TOO_SLOW);
                Poll::Ready(Ok(()))
            }
            Phase::Owed => Poll::Ready(Err(stalled())),
        }
    }
}

impl<S> Impatient<S> {
    /// Nothing of an answer is taken at the moment.
    fn wait_to_be_read<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if self.phase != Phase::Owed {
            self.enter(Phase::Owed);
        }
        if self.is_late(cx) { Poll::Ready(Err(stalled())) } else { Poll::Pending }
    }
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client stalled")
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Pending => self.wait_to_be_read(cx),
            written => {
                self.enter(Phase::Rest);
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => {
                self.is_flushing = true;
                self.wait_to_be_read(cx)
            }
            flushed => {
                if std::mem::take(&mut self.is_flushing) {
                    self.enter(Phase::Rest);
                }
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
