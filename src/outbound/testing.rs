//! An HTTP server on loopback, and a resolver, for the tests of whatever fetches.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use rustls::RootCertStore;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{Allowed, Outbound, Resolver};

/// A request as the server got it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }
}

/// What the server sends back, byte for byte; then it closes the connection, or holds it until the client goes.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) hold: bool,
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let bytes = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes();
    Answer { bytes, hold: false }
}

pub(crate) fn json(body: &str) -> Answer {
    answer("200 OK", "Content-Type: application/json\r\n", body)
}

pub(crate) struct Server {
    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    pub(crate) origin: String,
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(answers: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        Self::run(None, answers).await
    }

    /// With a certificate of its own for `name`; returns what to trust for it to be accepted.
    pub(crate) async fn start_tls(
        name: &str,
        answers: impl Fn(&Received) -> Answer + Send + Sync + 'static,
    ) -> (Self, RootCertStore) {
        let certified = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certified.cert.der().clone()).unwrap();
        (Self::run(Some(TlsAcceptor::from(Arc::new(config))), answers).await, roots)
    }

    async fn run(tls: Option<TlsAcceptor>, answers: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin =
            if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let (answers, log) = (Arc::new(answers), Arc::clone(&received));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, log, tls) = (Arc::clone(&answers), Arc::clone(&log), tls.clone());
                tokio::spawn(async move {
                    let served = match tls {
                        None => serve(stream, &*answers, &log).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, &*answers, &log).await,
                            Err(error) => Err(error),
                        },
                    };
                    // a client that goes away is part of many a test
                    drop(served);
                });
            }
        });
        Self { origin, port, received, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    /// A client that may reach this server.
    pub(crate) fn client(&self) -> Outbound {
        client(&[&self.origin], Script::new([]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    answers: &(dyn Fn(&Received) -> Answer + Send + Sync),
    log: &Mutex<Vec<Received>>,
) -> io::Result<()> {
    let mut bytes = Vec::new();
    let head_length = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8(bytes[..head_length].to_vec()).unwrap();
    let mut request = Received { head, body: String::new() };
    let length: usize = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < head_length + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    }
    request.body = String::from_utf8(bytes[head_length..].to_vec()).unwrap();
    let answer = answers(&request);
    log.lock().push(request);
    stream.write_all(&answer.bytes).await?;
    stream.flush().await?;
    if answer.hold {
        while stream.read_buf(&mut bytes).await? > 0 {}
    }
    stream.shutdown().await
}

/// A resolver that answers what was written down, one answer for each question.
#[derive(Clone, Default)]
pub(crate) struct Script(Arc<Mutex<VecDeque<Vec<IpAddr>>>>);

impl Script {
    pub(crate) fn new<const N: usize>(answers: [&[&str]; N]) -> Self {
        let answers = answers.iter().map(|answer| answer.iter().map(|text| text.parse().unwrap()).collect());
        Self(Arc::new(Mutex::new(answers.collect())))
    }

    /// Answers not yet asked for.
    pub(crate) fn left(&self) -> usize {
        self.0.lock().len()
    }
}

impl Resolver for Script {
    fn resolve<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async { self.0.lock().pop_front().ok_or_else(|| io::ErrorKind::NotFound.into()) })
    }
}

/// A client with these entries of `outbound.allow`, which trusts no certificate.
pub(crate) fn client(allowed: &[&str], resolver: impl Resolver) -> Outbound {
    Outbound::new(Allowed::parse(allowed).unwrap(), Arc::new(resolver), RootCertStore::empty()).unwrap()
}

/// A port that nothing listens on.
pub(crate) async fn closed_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
    port
}
