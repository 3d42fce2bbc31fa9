//! The socket, `passerby.v1` (`docs/socket.md`): a user's document, live. Here it is opened; `frames` is what is said on it, `live` says
//! it.

mod frames;
mod guard;
mod live;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use passerby_actors::domain::{SessionId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use self::guard::Guard;
use self::live::Socket;
use super::connection::Endless;
use super::reader::{self, Found};
use super::{Answer, Context, JSON, Problem, Scope, at, authenticate, by_bearer, client, read, within_time};
use crate::codes::{TICKET_S, Transfer};
use crate::limits::network::Network;

/// The sub-protocol.
const PROTOCOL: &str = "passerby.v1";
/// Before the ticket, among the sub-protocols that a client offers: the one place where a page can put something that does not
/// stand in a URL.
const TICKET: &str = "ticket.";

/// The schema of all frames.
const ASYNCAPI: &str = include_str!("asyncapi.json");

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(at("/v1/socket").on(Method::GET, open))
        .service(at("/v1/socket-ticket").on(Method::POST, ticket))
        .service(at("/asyncapi.json").on(Method::GET, schema));
}

async fn schema() -> Answer {
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, JSON)).body(ASYNCAPI))
}

/// A ticket for a socket.
#[derive(Serialize, ToSchema)]
pub(crate) struct TicketAnswer {
    /// Offered as the sub-protocol `ticket.` and this, besides `passerby.v1`.
    #[schema(example = "psbs_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0")]
    ticket: String,
    /// Seconds for which it is good, once.
    #[schema(example = 30)]
    expires_in: u32,
}

/// Issues a ticket for a socket of this session.
///
/// Browsers cannot send a token with a WebSocket but in its URL, where it does not belong. The ticket is good once, for 30 seconds.
#[utoipa::path(post, path = "/v1/socket-ticket", tag = "Data", operation_id = "createSocketTicket", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 201, body = TicketAnswer, description = "The ticket.")),
    extensions(("x-problems" = json!("object session overloaded"))))]
pub(crate) async fn ticket(request: HttpRequest, context: Data<Context>, payload: web::Payload) -> Answer {
    read::none(&request, &context, payload).await?;
    let live = authenticate(&request, &context, Scope::Data)?;
    let server = &context.server;
    let whose = Transfer { user: live.user, session: live.number };
    let ticket = server.codes.tickets.issue(Some(live.user), whose, server.clock().running(), &*server.entropy)?;
    let answer = TicketAnswer { ticket: ticket.text().to_owned(), expires_in: TICKET_S };
    Ok(HttpResponse::Created().json(answer))
}

/// Opens a WebSocket on the document.
///
/// By a ticket, by an access token or by a reader's cookie. What is said on it is in `/asyncapi.json`.
#[utoipa::path(get, path = "/v1/socket", tag = "Data", operation_id = "openSocket", security((), ("access_token" = []), ("reader_cookie" = [])),
    params(("since" = Option<u64>, Query, description = "The version of the document that the client has.", example = 7),
        ("Sec-WebSocket-Protocol" = String, Header, description = "`passerby.v1`, and `ticket.` with a ticket of `POST /v1/socket-ticket`.", example = "passerby.v1, ticket.psbs_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0")),
    responses((status = 101, description = "The WebSocket.")),
    extensions(("x-problems" = json!("bad-query no-websocket unknown-protocol no-reader invalid-ticket invalid-token token-expired wrong-token session-ended cross-site user-disabled too-many-sockets write"))))]
pub(crate) async fn open(request: HttpRequest, context: Data<Context>, payload: web::Payload) -> Answer {
    let (request, context) = (&request, &**context);
    let bad = |code, detail: &str| Problem::new(StatusCode::BAD_REQUEST, code, detail);
    let since = since(request.query_string())?;
    let guard = Guard::new(payload.into_inner(), context.server.settings.http.max_body);
    let mut guard: Payload = Payload::Stream { payload: Box::pin(guard) };
    let guarded = web::Payload::from_request(request, &mut guard).await;
    let guarded = guarded.map_err(|error| bad("no-websocket", &error.to_string()))?;
    // before the ticket is used up
    let (response, session, messages) = actix_ws::handle_with_protocols(request, guarded, &[PROTOCOL])
        .map_err(|error| bad("no-websocket", &format!("this is for WebSockets: {error}")))?;
    let offered = offered(request);
    if !offered.contains(&PROTOCOL) {
        return Err(bad("unknown-protocol", "the sub-protocol passerby.v1 must be offered"));
    }
    let server = &context.server;
    if *server.stopping.borrow() {
        return Err(passerby_actors::handle::Error::Stopping.into());
    }
    // a ticket is used up when nothing but its own user's state is in the way
    let place = server.sockets.take(Network::of(client(request, context)))?;
    let (user, number) = match offered.iter().find_map(|offered| offered.strip_prefix(TICKET)) {
        Some(ticket) => by_ticket(request, context, ticket)?,
        // a page cannot send one; a program that has a token has no need of a ticket
        None if request.headers().contains_key(header::AUTHORIZATION) => {
            let live = by_bearer(request, context)?;
            (live.user, live.number)
        }
        None => by_cookie(request, context)?,
    };
    let attachment = within_time(context, context.handle.attach(&user, number, since)).await?;
    let socket = Socket {
        context: context.clone(),
        user,
        client: client(request, context),
        session: SessionId::derive(&user, number),
        endless: request.conn_data::<Endless>().cloned().unwrap_or_default(),
        _place: place,
        known: 0,
    };
    socket.endless.begin();
    actix_web::rt::spawn(socket.run(attachment, session, messages));
    Ok(response)
}

/// The sub-protocols that a client offers.
fn offered(request: &HttpRequest) -> Vec<&str> {
    let headers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
    headers.flat_map(|value| value.split(',')).map(str::trim).collect()
}

/// The version that the client knows.
fn since(query: &str) -> Result<Option<u64>, Problem> {
    if query.is_empty() {
        return Ok(None);
    }
    let since = query.strip_prefix("since=").and_then(|version| version.parse().ok());
    let wrong = || Problem::new(StatusCode::BAD_REQUEST, "bad-query", "the query takes since=VERSION");
    since.map(Some).ok_or_else(wrong)
}

/// The session that asked for the ticket. A page of a different origin cannot use it either where origins are listed (S23).
fn by_ticket(request: &HttpRequest, context: &Context, ticket: &str) -> Result<(UserId, u32), Problem> {
    let server = &context.server;
    let is_page = request.headers().contains_key(header::ORIGIN);
    let app = server.app();
    let allowed = &app.allowed_origins;
    if is_page && !allowed.is_empty() && !reader::is_from_page_of(request, context, allowed) {
        return Err(Problem::cross_site());
    }
    let refused =
        || Problem::unauthorized("invalid-ticket", "the ticket is not one of ours, too old, or was used before");
    let Transfer { user, session } =
        server.codes.tickets.redeem(ticket, server.clock().running()).ok_or_else(refused)?;
    Ok((user, session))
}

/// The reader of the cookie, on a page of the site's own: a socket is no GET that changes nothing.
fn by_cookie(request: &HttpRequest, context: &Context) -> Result<(UserId, u32), Problem> {
    if !request.headers().contains_key(header::COOKIE) {
        return Err(Problem::no_reader());
    }
    if !reader::is_from_own_page(request, context) {
        return Err(Problem::cross_site());
    }
    match reader::look(request, context)? {
        Found::Reader(live, _) => Ok((live.user, live.number)),
        Found::Replaced(_) | Found::Lazy(_) | Found::Nobody => Err(Problem::no_reader()),
    }
}
