//! HTTP: the App Services client API, our own `/v1`, and the operators' endpoints.

pub(crate) mod admin_host;
pub mod body;
pub mod client_api;
mod demo;
mod exposition;
mod fields;
mod files;
pub mod forwarded;
mod identities;
mod index;
pub mod listener;
mod meters;
pub mod openapi;
pub mod ops;
mod plain;
mod preconditions;
pub(crate) mod reader;
mod script;
mod socket;
pub(crate) mod test_clock;
pub mod v1;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_web::body::{BodySize, BodyStream, BoxBody, MessageBody};
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Uri};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, web};
use futures_util::stream;
use passerby_actors::actor::USERS_PER_ENDED;
use passerby_actors::domain::Flags;
use passerby_actors::handle::{self, Handle, Live};
use passerby_actors::stall;

use self::forwarded::Forwarded;
use self::listener::Endless;
use crate::budget::{OverBudget, Spend};
use crate::network::Network;
use crate::server::Server;

/// What a handler has: the shared server and its worker's way into the core.
#[derive(Clone)]
pub struct Context {
    /// Shared by all workers.
    pub server: Arc<Server>,
    /// This worker's.
    pub handle: Handle,
}

/// `application/json`, exactly: one of the SDKs compares with `==` (wire-protocol §0.1).
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const NO_STORE: (header::HeaderName, HeaderValue) =
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Why a session that an API key began may not do something.
pub(crate) const KEY_SESSION: &str =
    "a session that an API key began uses the account's data and does nothing else: log in another way";

/// The application of the public listener, for one worker.
pub fn public_app(
    server: Arc<Server>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let cors = cors(&server.settings.allowed_origins);
    let handle = Handle::new(Arc::clone(&server.core));
    let demo = server.settings.demo;
    let public_url = server.settings.public_url.clone();
    App::new()
        .app_data(web::Data::new(Context { server, handle }))
        .wrap(cors)
        .wrap(from_fn(around))
        .configure(client_api::routes)
        .configure(v1::routes)
        .configure(reader::verify::routes)
        .configure(|config| openapi::routes(config, public_url.as_deref()))
        .configure(script::routes)
        .configure(socket::routes)
        .configure(move |config| match demo {
            Some(demo) => demo::routes(config, demo),
            None => index::routes(config),
        })
        .default_service(web::to(not_found))
}

/// Browsers may call from anywhere unless origins are listed, and only pages of listed ones with a reader's cookie: no
/// origin that nobody named is ever reflected (S22).
fn cors(origins: &[String]) -> actix_cors::Cors {
    let cors = actix_cors::Cors::default()
        .allowed_methods(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
        .allow_any_header()
        .expose_headers([client_api::REQUEST_ID, "accept-patch", "etag", "retry-after"])
        .max_age(3600);
    if origins.is_empty() {
        return cors.allow_any_origin().send_wildcard();
    }
    origins.iter().fold(cors.supports_credentials(), |cors, origin| cors.allowed_origin(origin))
}

async fn not_found(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    body::leave(&request, payload);
    // of the server as a whole (RFC 9110 §9.3.7)
    if *request.method() == Method::OPTIONS && request.path() == "*" {
        return options("GET, POST, PUT, PATCH, DELETE");
    }
    if is_client_api(request.path()) {
        client_api::not_found(&request, &context)
    } else {
        v1::Problem::not_found().respond(&context)
    }
}

/// What can be asked of a path that has handlers for these methods: with GET also HEAD, and OPTIONS everywhere (RFC 9110 §10.2.1).
pub(crate) fn allow(methods: &str) -> (header::HeaderName, String) {
    (header::ALLOW, format!("{}, OPTIONS", methods.replace("GET", "GET, HEAD")))
}

/// What can be asked of a path (RFC 9110 §9.3.7).
pub(crate) fn options(methods: &str) -> HttpResponse {
    HttpResponse::NoContent().insert_header(allow(methods)).finish()
}

/// For a known path with another method than these (RFC 9110 §15.5.6); `OPTIONS` asks which they are.
pub(crate) fn other_method(methods: &'static str) -> actix_web::Route {
    web::to(move |request: HttpRequest, context: web::Data<Context>, payload: web::Payload| {
        body::leave(&request, payload);
        if *request.method() == Method::OPTIONS {
            return std::future::ready(options(methods));
        }
        let mut response = if is_client_api(request.path()) {
            client_api::method_not_allowed(&request, &context)
        } else {
            v1::Problem::method_not_allowed().respond(&context)
        };
        let (name, value) = allow(methods);
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
        std::future::ready(response)
    })
}

/// Middleware: everything that is the same for every request. One layer, because each costs every request an allocation.
async fn around(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(context) = request.app_data::<web::Data<Context>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let clock = context.server.clock();
    let before_us = clock.monotonic_us();
    if let Some(connection) = request.conn_data::<Endless>() {
        connection.has_request();
    }
    merge_slashes(&mut request);
    let is_head = take_head(&mut request);
    let names_websocket = body::names_websocket(&request);
    let asks_for_upgrade = request.head().upgrade() || names_websocket;
    if names_websocket {
        body::end_at_its_length(&mut request);
    }
    body::hold_what_nobody_reads(&mut request).await?;
    let answered = next.call(request).await?.map_into_boxed_body();
    let answered = if is_head { without_body(answered) } else { answered };
    let mut response = shape_refused_preflight(body::release_unread(answered), &context);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if asks_for_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // actix-http ends the connection after it and does not say so: the next request of a proxy's would be lost
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    context.server.count_response(response.status().as_u16(), clock.monotonic_us().saturating_sub(before_us));
    Ok(response)
}

/// Of a request that is handled as a GET: it was a HEAD.
pub(crate) struct WasHead;

/// Lets a HEAD be handled as a GET (RFC 9110 §9.3.2); `/verify` has rules of its own for it.
fn take_head(request: &mut ServiceRequest) -> bool {
    let is_head = *request.method() == Method::HEAD && request.path() != reader::verify::PATH;
    if is_head {
        request.head_mut().method = Method::GET;
        request.extensions_mut().insert(WasHead);
    }
    is_head
}

/// The answer to a HEAD: as that to the GET, with its length and without its body. The encoder would see to it by itself, but by
/// the method of the last request that it read, which may be a later one.
fn without_body(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let BodySize::Sized(length) = response.response().body().size() else { return response };
    response.map_body(|head, _| {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
        head.no_chunking(true);
        BoxBody::new(BodyStream::new(stream::empty::<Result<web::Bytes, Infallible>>()))
    })
}

/// realm-web does not trim a slash at the end of its baseUrl (wire-protocol §1).
fn merge_slashes(request: &mut ServiceRequest) {
    if !request.path().contains("//") {
        return;
    }
    let mut path = String::with_capacity(request.path().len());
    for c in request.path().chars() {
        if c != '/' || !path.ends_with('/') {
            path.push(c);
        }
    }
    if let Some(query) = request.uri().query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = path.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

/// What the CORS library refuses by itself is plain text; here it gets the form of its API.
fn shape_refused_preflight(response: ServiceResponse, context: &Context) -> ServiceResponse {
    if response.status() != StatusCode::BAD_REQUEST || *response.request().method() != Method::OPTIONS {
        return response;
    }
    let (request, _) = response.into_parts();
    let shaped = if is_client_api(request.path()) {
        client_api::bad_preflight(&request, context)
    } else {
        v1::Problem::bad_preflight().respond(context)
    };
    ServiceResponse::new(request, shaped)
}

fn is_client_api(path: &str) -> bool {
    path.starts_with("/api/")
}

/// The token of an `Authorization: Bearer` header; tokens are accepted nowhere else (S19).
pub(crate) fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| str::from_utf8(token.trim_ascii()).ok()).flatten()
}

const SCHEME: &[u8] = b"Bearer ";

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

/// Takes one from the budget of where a request came from.
///
/// # Errors
/// There is none left: 429.
pub(crate) fn spend(request: &HttpRequest, context: &Context, what: Spend) -> Result<(), OverBudget> {
    context.server.budgets.spend(what, client(request, context))
}

/// A session was found live: a user who comes back for the first time counts no longer as one who never did, nor does the name of
/// an account that is in use.
pub(crate) fn came_back(request: &HttpRequest, context: &Context, live: &Live) {
    if live.returned > 0 {
        came_back_from(client(request, context), context, live);
    }
}

/// The same of a user of a socket, who may have been on it for all that time.
pub(crate) fn came_back_from(client: IpAddr, context: &Context, live: &Live) {
    context.server.budgets.give_back_users(client, live.returned as u64);
}

/// Whether the network's share still counts a user: one who was created a moment ago. Whoever was there for longer than that is back
/// by this very request, or was before it, and was given back then.
fn is_counted(context: &Context, live: &Live) -> bool {
    let record = &live.record;
    let age_s = context.server.clock().now().saturating_sub(record.session_started);
    record.is_anonymous()
        && record.last_seen == record.session_started
        && age_s < context.server.settings.expiry.touch_granularity_s
}

/// A user is gone, perhaps without having come back. Of a reader who was made lazily the id is kept, in the room of some users.
pub(crate) fn went(request: &HttpRequest, context: &Context, live: &Live) {
    let (budgets, client) = (&context.server.budgets, client(request, context));
    if !live.record.is_anonymous() {
        return;
    }
    let counted = u64::from(is_counted(context, live));
    if live.record.flags.has(Flags::MADE_LAZILY) {
        // it is kept whatever the network has had, and counted up to its share
        let _counted = budgets.claim_users(client, USERS_PER_ENDED - counted);
    } else {
        budgets.give_back_users(client, counted);
    }
}

/// A user has become part of another, who has come back by that. Of a reader who was made lazily the id is kept.
pub(crate) fn became_part(request: &HttpRequest, context: &Context, live: &Live) {
    if is_counted(context, live) && !live.record.flags.has(Flags::MADE_LAZILY) {
        context.server.budgets.give_back_users(client(request, context), 1);
    }
}

/// The same for a request that is about to have a password hashed: while many wait, those whose network has its share of them
/// have to work first (S35). `can_work`: whether a proof of work can be sent along.
///
/// # Errors
/// There is none left, or they have to: 429.
pub(crate) fn spend_on_password(request: &HttpRequest, context: &Context, can_work: bool) -> Result<(), OverBudget> {
    spend(request, context, Spend::Link)?;
    let network = Network::of(client(request, context));
    let userpass = context.server.accounts.userpass.as_ref().filter(|_| context.server.settings.limits);
    let pressed = userpass.is_some_and(|userpass| userpass.passwords().are_pressed_by(network, can_work));
    if pressed { Err(context.server.budgets.busy()) } else { Ok(()) }
}

/// Seconds after which a request that was turned away may come again: jittered, so that not all come at once.
pub(crate) fn retry_after_s(server: &Server) -> u16 {
    let mut random = [0];
    server.entropy.fill(&mut random);
    1 + u16::from(random[0] % 3)
}

/// Waits for an operation as long as `http.request_timeout` allows; it goes on by itself beyond that.
pub(crate) async fn within_time<T>(
    context: &Context,
    operation: impl Future<Output = Result<T, handle::Error>>,
) -> Result<T, handle::Error> {
    let limit = context.server.settings.http.request_timeout;
    stall::within(limit, operation).await.unwrap_or(Err(handle::Error::OutcomeUnknown))
}
