//! The public listener: actix-http over streams that cut off a client who stalls.
//!
//! actix-http times the first request head of a connection, and we time every body ([`super::body`]). A later head that is
//! never finished and answers that are never read are timed here, on the connection's own reads and writes.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_http::HttpService;
use actix_server::Server as Listener;
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::AppConfig;
use actix_web::rt::net::TcpStream;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::public_app;
use crate::config::Http;
use crate::server::Server;

/// Connections that the system keeps until they are accepted.
const BACKLOG: u32 = 2048;

/// Binds the public listener, and says where. It accepts once the result is awaited.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(server: &Arc<Server>) -> io::Result<(Listener, SocketAddr)> {
    let settings = &server.settings;
    let socket = match settings.listen {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(settings.listen)?;
    let socket = socket.listen(BACKLOG)?.into_std()?;
    let bound = socket.local_addr()?;

    let mut listener = Listener::build()
        .max_concurrent_connections(settings.http.max_connections)
        .shutdown_timeout(settings.drain.timeout.as_secs())
        .disable_signals();
    if let Some(workers) = settings.workers {
        listener = listener.workers(workers);
    }
    let drain = listener.graceful_shutdown_signal();
    let server = Arc::clone(server);
    let listener = listener.listen("public", socket, move || {
        let http = &server.settings.http;
        let patience = patience(http);
        let drain = drain.clone();
        let app = public_app(Arc::clone(&server)).into_factory().map_err(|error| error.error_response());
        let service = HttpService::build()
            .graceful_shutdown_signal(move || {
                let drain = drain.clone();
                async move { drain.notified().await }
            })
            .keep_alive(http.keep_alive)
            .client_request_timeout(http.client_timeout)
            .client_disconnect_timeout(Duration::from_secs(1))
            .local_addr(bound)
            .on_connect_ext(|stream: &Impatient<TcpStream>, extensions| {
                extensions.insert(stream.endless.clone());
            })
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| {
            let peer = stream.peer_addr().ok();
            // a socket's small frames would otherwise each wait for the client to acknowledge the one before
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps Nagle's algorithm");
            }
            std::future::ready(Ok((Impatient::new(stream, patience), peer)))
        })
        .and_then(service)
    })?;
    Ok((listener.run(), bound))
}

/// A request's head and its body may take `http.client_timeout` each, and its commit `http.request_timeout`.
fn patience(http: &Http) -> Duration {
    http.client_timeout * 2 + http.request_timeout
}

/// A connection that breaks when its client stalls: when bytes of a request came and for `patience` no answer could be
/// given, or when for as long nothing of an answer was taken. A connection on which nothing is owed may rest: its
/// end is `http.keep_alive`. Time counts from the first byte, so one byte now and then does not help.
struct Impatient<S> {
    stream: S,
    patience: Duration,
    endless: Endless,
    /// Since when something is owed.
    since: Option<Instant>,
    /// Runs while something is owed, and is left to run out where it no longer is: most requests start no timer.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer has not yet run out.
    is_running: bool,
}

/// Of a connection: whether a socket has it, which looks after its own stalls.
#[derive(Clone, Default)]
pub(crate) struct Endless(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_on: AtomicBool,
    /// Of whoever waits on the connection while no timer runs.
    waker: AtomicWaker,
}

impl Endless {
    /// A socket has it.
    pub(crate) fn begin(&self) {
        self.0.is_on.store(true, Ordering::Relaxed);
    }

    /// The socket is over, and what it left unsent is not waited for.
    pub(crate) fn end(&self) {
        self.0.is_on.store(false, Ordering::Relaxed);
        // who waits for a client that takes nothing has to begin to count
        self.0.waker.wake();
    }

    /// Whether nothing is counted now; then whoever asks is woken when that ends.
    fn holds(&self, cx: &Context<'_>) -> bool {
        if !self.0.is_on.load(Ordering::Relaxed) {
            return false;
        }
        self.0.waker.register(cx.waker());
        // it may have ended in between
        self.0.is_on.load(Ordering::Relaxed)
    }
}

impl<S> Impatient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, endless: Endless::default(), since: None, timer: None, is_running: false }
    }

    fn owe(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.endless.holds(cx) {
            return Ok(());
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.is_running {
            let deadline = since + self.patience;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(deadline),
                None => self.timer = Some(Box::pin(sleep_until(deadline))),
            }
            self.is_running = true;
        }
        self.check(cx)
    }

    /// Fails if something was owed for too long. The task is woken when the timer runs out.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(timer) = self.timer.as_mut().filter(|_| self.is_running) else { return Ok(()) };
        while timer.as_mut().poll(cx).is_ready() {
            let Some(since) = self.since else {
                self.is_running = false;
                return Ok(());
            };
            if self.endless.holds(cx) {
                (self.since, self.is_running) = (None, false);
                return Ok(());
            }
            let deadline = since + self.patience;
            if deadline <= timer.deadline() {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the client stalled"));
            }
            timer.as_mut().reset(deadline);
        }
        Ok(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.owe(cx)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        match Pin::new(&mut self.stream).poll_write(cx, bytes) {
            Poll::Pending => {
                self.owe(cx)?;
                Poll::Pending
            }
            written => {
                self.since = None;
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A client's end, and the server's over a pipe of eight bytes.
    fn connection() -> (tokio::io::DuplexStream, Impatient<tokio::io::DuplexStream>) {
        let (client, server) = duplex(8);
        (client, Impatient::new(server, PATIENCE))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_never_finished_ends_the_connection_however_slowly_it_comes() {
        let (mut client, mut server) = connection();
        let start = Instant::now();
        let slow = async {
            loop {
                tokio::time::sleep(Duration::from_secs(3)).await;
                if client.write_all(b"x").await.is_err() {
                    return;
                }
            }
        };
        let reading = async {
            let mut bytes = Vec::new();
            let error = server.read_to_end(&mut bytes).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert_eq!(start.elapsed().as_secs(), 23, "twenty seconds after the first byte");
        };
        tokio::select! { () = slow => panic!("the pipe broke"), () = reading => {} }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_are_never_read_end_the_connection() {
        let (client, mut server) = connection();
        let start = Instant::now();
        let error = server.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, PATIENCE));
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_is_owed_may_rest_and_go_on() {
        let (mut client, mut server) = connection();
        let mut buffer = [0; 1];
        for pause_s in [1, 19, 21, 1000, 19, 19] {
            client.write_all(b"q").await.unwrap();
            server.read_exact(&mut buffer).await.unwrap();
            tokio::time::sleep(Duration::from_secs(19)).await;
            server.write_all(b"a").await.unwrap();
            client.read_exact(&mut buffer).await.unwrap();
            let rest = tokio::time::timeout(Duration::from_secs(pause_s), server.read_exact(&mut buffer)).await;
            assert!(rest.is_err(), "nothing came, and nothing is wrong: {rest:?}");
        }
    }
}
