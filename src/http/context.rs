//! What every handler has and needs: the server, where a request came from, and for how long it may wait.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::handle::{self, Handle};
use passerby_actors::stall;
use serde::Serialize;

use super::forwarded::Forwarded;
use crate::server::Server;

/// What a handler has: the shared server and its worker's way into the core.
#[derive(Clone)]
pub struct Context {
    /// Shared by all workers.
    pub server: Arc<Server>,
    /// This worker's.
    pub handle: Handle,
}

/// `application/json`, exactly: one of the SDKs compares with `==` (docs/protocol.md, "Bodies and content types").
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const NO_STORE: (header::HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// A body in JSON.
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(bytes),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// Of a request that is handled as a GET: it was a HEAD.
pub(crate) struct WasHead;

/// Where a request came from. A trusted proxy that does not say is one nameless client.
pub(crate) fn client(request: &HttpRequest, context: &Context) -> IpAddr {
    let trusted = &context.server.settings.trusted_proxies;
    let client = if trusted.is_empty() {
        request.peer_addr().map(|peer| peer.ip())
    } else {
        Forwarded::of(request, trusted).client
    };
    client.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Scheme and host as clients reach us; `scheme` is the plain one of the pair (`http` or `ws`).
pub(crate) fn origin(request: &HttpRequest, context: &Context, scheme: &str) -> String {
    let settings = &context.server.settings;
    let (secure, host) = match &settings.public_url {
        Some(url) => match url.split_once("://") {
            Some((scheme, host)) => (scheme == "https", host.to_owned()),
            None => (false, url.clone()),
        },
        None => {
            let forwarded = Forwarded::of(request, &settings.trusted_proxies);
            (forwarded.scheme == "https", forwarded.host.unwrap_or_else(|| settings.listen.to_string()))
        }
    };
    format!("{scheme}{}://{host}", if secure { "s" } else { "" })
}

/// What can be asked of a path that has handlers for these methods: with GET also HEAD, and OPTIONS everywhere (RFC 9110 §10.2.1).
pub(crate) fn allow(methods: &str) -> (header::HeaderName, String) {
    (header::ALLOW, format!("{}, OPTIONS", methods.replace("GET", "GET, HEAD")))
}

/// What can be asked of a path (RFC 9110 §9.3.7).
pub(crate) fn options(methods: &str) -> HttpResponse {
    HttpResponse::NoContent().insert_header(allow(methods)).finish()
}

/// Seconds after which a request that was turned away may come again: jittered, so that not all come at once.
pub(crate) fn retry_after_s(server: &Server) -> u16 {
    let mut random = [0];
    server.entropy.fill(&mut random);
    1 + u16::from(random[0] % 3)
}

/// Waits for an operation as long as `http.request_timeout` allows; it goes on beyond that.
pub(crate) async fn within_time<T, E: From<handle::Error>>(
    context: &Context,
    operation: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let limit = context.server.settings.http.request_timeout;
    stall::within(limit, operation).await.unwrap_or_else(|_| Err(handle::Error::OutcomeUnknown.into()))
}
