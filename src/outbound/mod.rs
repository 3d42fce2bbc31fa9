//! The one HTTP client of the project. It reaches public addresses by https, and what `outbound.allow` names.
//!
//! A client that can make the server fetch something could otherwise make it fetch from inside its own network (SSRF, security
//! row S30). So a name is resolved once, every address found is judged, and the connection goes to a judged address: a
//! name that resolves to a different one a moment later (DNS rebinding) changes nothing. Redirects are not followed, proxies
//! of the environment are not used, time and size are bounded.

mod address;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, select};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

/// How long an exchange may take, from the look-up of the name to the last byte of the answer.
pub const MAX_TIME: Duration = Duration::from_secs(5);
/// How many bytes the body of an answer may have.
pub const MAX_BODY: usize = 256 * 1024;
/// How many bytes the head of an answer may have.
const MAX_HEAD: usize = 64 * 1024;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("passerby/", env!("CARGO_PKG_VERSION")));

/// Where the addresses of a name come from. Tests bring their own.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, in the order in which they should be tried.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// The certificate authorities of the operating system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR`. An authority that
/// cannot be read is left out; if none is left, no https server is trusted.
pub fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// The entries of `outbound.allow`: origins that may have any address, and may be http on loopback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed(Vec<url::Origin>);

impl Allowed {
    /// Reads entries of the form `scheme://host:port`; the scheme's own port may be left out.
    ///
    /// # Errors
    /// What is wrong with the first bad entry, in words: it is not such an origin, or http to a host other than a loopback
    /// address or `localhost`.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, String> {
        entries.iter().map(|entry| origin(entry.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    fn names(&self, url: &Url) -> bool {
        self.0.contains(&url.origin())
    }
}

/// An entry of [`Allowed`] in its one form: lower case, no slash at the end, no default port.
///
/// # Errors
/// As [`Allowed::parse`].
pub fn allowed_origin(entry: &str) -> Result<String, String> {
    origin(entry).map(|origin| origin.ascii_serialization())
}

fn origin(entry: &str) -> Result<url::Origin, String> {
    let wrong = || format!("{entry:?} is not scheme://host:port with http or https");
    let url = Url::parse(entry).map_err(|_| wrong())?;
    let bare = url[Position::BeforePath..].trim_start_matches('/').is_empty() && !has_userinfo(&url);
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" | "http" if !bare => Err(wrong()),
        "http" if !loopback => Err(format!("{entry:?} is not https: http may only name loopback")),
        "https" | "http" => Ok(url.origin()),
        _ => Err(wrong()),
    }
}

fn has_userinfo(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Why there is no answer. Names the origin alone: paths and queries may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {failure}")]
pub struct OutboundError {
    /// Scheme, host and port of what was to be fetched.
    pub origin: String,
    /// What went wrong.
    pub failure: Failure,
}

/// What went wrong with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The URL cannot be parsed, has no host, or has a user name or password in it.
    #[error("the URL is not one that can be fetched")]
    BadUrl,
    /// Neither https nor an http origin of `outbound.allow`.
    #[error("is not https")]
    NotHttps,
    /// An address is not public (or, for http, not loopback).
    #[error("has an address that is not public, and outbound.allow does not name it")]
    Forbidden,
    /// The name has no address.
    #[error("the name cannot be resolved")]
    Unresolved,
    /// No connection came about.
    #[error("cannot be connected to")]
    Unreachable,
    /// The TLS handshake failed: most often the certificate is not trusted.
    #[error("has no certificate that is trusted for it")]
    Untrusted,
    /// The answer is a redirect, which is never followed.
    #[error("answers with a redirect, which is not followed")]
    Redirect,
    /// The answer has more bytes than are taken.
    #[error("the answer is too large")]
    TooLarge,
    /// The exchange took too long.
    #[error("took too long")]
    TimedOut,
    /// The connection broke, or what came is not HTTP.
    #[error("the connection broke off")]
    Broken,
}

/// The client. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    allowed: Arc<Allowed>,
    resolver: Arc<dyn Resolver>,
    tls: TlsConnector,
    max_time: Duration,
    max_body: usize,
}

impl Outbound {
    /// A client that trusts the authorities `roots` (see [`system_roots`]), bounded by [`MAX_TIME`] and [`MAX_BODY`].
    ///
    /// # Errors
    /// If the TLS library refuses its own defaults, which no input can cause.
    pub fn new(allowed: Allowed, resolver: Arc<dyn Resolver>, roots: RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::with_tls(allowed, resolver, tls))
    }

    /// A client that judges certificates in a way of its own.
    pub fn with_tls(allowed: Allowed, resolver: Arc<dyn Resolver>, tls: ClientConfig) -> Self {
        Self {
            allowed: Arc::new(allowed),
            resolver,
            tls: TlsConnector::from(Arc::new(tls)),
            max_time: MAX_TIME,
            max_body: MAX_BODY,
        }
    }

    /// With other bounds than [`MAX_TIME`] and [`MAX_BODY`].
    #[must_use]
    pub fn bounded(self, max_time: Duration, max_body: usize) -> Self {
        Self { max_time, max_body, ..self }
    }

    /// Checks what can be known of a URL before it is fetched, so that a wrong one is refused at start.
    ///
    /// # Errors
    /// `BadUrl`, `NotHttps`, or `Forbidden` if its host is an address and not a public one.
    pub fn check(&self, url: &str) -> Result<Url, OutboundError> {
        let parsed = parse(url)?;
        let literal = match parsed.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        let checked = self.check_scheme(&parsed).and_then(|()| match literal {
            Some(address) if !self.may_reach(&parsed, address) => Err(Failure::Forbidden),
            _ => Ok(()),
        });
        checked.map_err(|failure| error(&parsed, failure))?;
        Ok(parsed)
    }

    /// Sends a request and reads the whole answer, of whatever status except a redirect. `Host`, `Connection` and, if
    /// there is none, `User-Agent` are set here.
    ///
    /// # Errors
    /// Says why there is no answer.
    pub async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, OutboundError> {
        let url = parse(&request.uri().to_string())?;
        self.check_scheme(&url).map_err(|failure| error(&url, failure))?;
        match tokio::time::timeout(self.max_time, self.exchange(&url, request)).await {
            Ok(outcome) => outcome.map_err(|failure| error(&url, failure)),
            Err(_) => Err(error(&url, Failure::TimedOut)),
        }
    }

    fn check_scheme(&self, url: &Url) -> Result<(), Failure> {
        match url.scheme() {
            "https" => Ok(()),
            "http" if self.allowed.names(url) => Ok(()),
            _ => Err(Failure::NotHttps),
        }
    }

    /// Whether a connection for this URL, whose scheme has been checked, may go to this address.
    fn may_reach(&self, url: &Url, address: IpAddr) -> bool {
        match url.scheme() {
            "https" => self.allowed.names(url) || address::is_public(address),
            _ => address.to_canonical().is_loopback(),
        }
    }

    async fn exchange(&self, url: &Url, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Failure> {
        let addresses = self.addresses(url).await?;
        let stream = self.connect(&addresses).await?;
        let request = outgoing(url, request)?;
        if url.scheme() == "http" {
            return self.talk(stream, request).await;
        }
        let name = match url.host() {
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).map_err(|_| Failure::BadUrl)?,
            Some(Host::Ipv4(address)) => ServerName::from(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => ServerName::from(IpAddr::V6(address)),
            None => return Err(Failure::BadUrl),
        };
        let stream = self.tls.connect(name, stream).await.map_err(|_| Failure::Untrusted)?;
        self.talk(stream, request).await
    }

    /// Every address of the URL's host. If one of them may not be reached none is: an honest name has no such address.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Failure> {
        let found = match url.host() {
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            Some(Host::Domain(name)) => self.resolver.resolve(name).await.map_err(|_| Failure::Unresolved)?,
            None => return Err(Failure::BadUrl),
        };
        if found.is_empty() {
            return Err(Failure::Unresolved);
        }
        if !found.iter().all(|address| self.may_reach(url, *address)) {
            return Err(Failure::Forbidden);
        }
        let port = url.port_or_known_default().ok_or(Failure::BadUrl)?;
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// One address that swallows packets must not use up the time of the others.
    async fn connect(&self, addresses: &[SocketAddr]) -> Result<TcpStream, Failure> {
        for address in addresses {
            if let Ok(Ok(stream)) = tokio::time::timeout(self.max_time / 3, TcpStream::connect(address)).await {
                return Ok(stream);
            }
        }
        Err(Failure::Unreachable)
    }

    async fn talk<S>(&self, stream: S, request: Request<Full<Bytes>>) -> Result<Response<Vec<u8>>, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut client = hyper::client::conn::http1::Builder::new();
        client.max_buf_size(MAX_HEAD);
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(|_| Failure::Broken)?;
        let answer = async move {
            let response = sender.send_request(request).await.map_err(|_| Failure::Broken)?;
            if response.status().is_redirection() {
                return Err(Failure::Redirect);
            }
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.max_body).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() { Failure::TooLarge } else { Failure::Broken }
            })?;
            Ok(Response::from_parts(head, body.to_bytes().to_vec()))
        };
        // the connection is driven here and not in a task of its own, so that it ends with this future
        match select(pin!(answer), pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, answer)) => answer.await,
        }
    }
}

fn parse(url: &str) -> Result<Url, OutboundError> {
    let bad = |origin: String| OutboundError { origin, failure: Failure::BadUrl };
    let parsed = Url::parse(url).map_err(|_| bad("a URL".to_owned()))?;
    if parsed.host().is_none() || has_userinfo(&parsed) {
        return Err(bad(parsed.origin().ascii_serialization()));
    }
    Ok(parsed)
}

fn error(url: &Url, failure: Failure) -> OutboundError {
    OutboundError { origin: url.origin().ascii_serialization(), failure }
}

/// The request as it goes over the connection. Host and target both come from the parsed URL that was judged.
fn outgoing(url: &Url, request: Request<Vec<u8>>) -> Result<Request<Full<Bytes>>, Failure> {
    let (mut head, body) = request.into_parts();
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    let target = &url[Position::BeforePath..Position::AfterQuery];
    head.uri = target.parse().map_err(|_| Failure::BadUrl)?;
    head.headers.insert(HOST, HeaderValue::from_str(authority).map_err(|_| Failure::BadUrl)?);
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    head.headers.entry(USER_AGENT).or_insert(AGENT);
    Ok(Request::from_parts(head, Full::new(Bytes::from(body))))
}
