//! What a new or a replaced session is answered with: its tokens, or its cookie.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::{Conflicts, DeviceId, SessionId, SessionKind, UserId};
use passerby_actors::handle::LoggedIn;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::plain::PlainObject;
use crate::http::{Context, JSON, reader};
use crate::token::{ACCESS_TTL_S, RefreshClaims};

/// The tokens of a session, or its cookie and no token (S18).
pub(super) fn tokens(
    request: &HttpRequest,
    status: StatusCode,
    context: &Context,
    live: &LoggedIn,
    of: Of,
    absorbed: Option<Absorbed<'_>>,
) -> HttpResponse {
    if of.kind == SessionKind::Cookie {
        let mut response = session_body(status, &live.user, live.session, absorbed);
        reader::set_session(&mut response, request, context, live, of.lasting);
        return response;
    }
    let server = &context.server;
    let (access, refresh) = server.claims(live, of.kind, DeviceId::default(), of.lasting);
    let refresh = RefreshClaims { counter: of.counter, ..refresh };
    let body = PlainObject::new()
        .text("user_id", live.user.encode(&mut [0; 36]))
        .text("session_id", live.session.encode(&mut [0; 24]))
        .text("token_type", "Bearer")
        .with("access_token", |out| server.write_access(&access, out))
        .number("expires_in", ACCESS_TTL_S)
        .with("refresh_token", |out| server.tokens.refresh_into(&refresh, out));
    let body = match absorbed {
        None => body,
        Some(absorbed) => absorbed.tell(body),
    };
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// What tokens say beside their user and session.
pub(super) struct Of {
    pub(super) kind: SessionKind,
    pub(super) counter: u32,
    pub(super) lasting: bool,
}

/// Of a session that has just begun on this API.
pub(super) const fn new_session(kind: SessionKind, lasting: bool) -> Of {
    Of { kind, counter: 0, lasting }
}

pub(super) fn session_body(
    status: StatusCode,
    user: &UserId,
    session: SessionId,
    absorbed: Option<Absorbed<'_>>,
) -> HttpResponse {
    let body =
        PlainObject::new().text("user_id", user.encode(&mut [0; 36])).text("session_id", session.encode(&mut [0; 24]));
    let body = match absorbed {
        None => body,
        Some(absorbed) => absorbed.tell(body),
    };
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// A value that a merge left out of the account's document.
#[derive(Serialize, ToSchema)]
pub(crate) struct ConflictView {
    /// Where it was (a JSON pointer, RFC 6901); the account's own value is there.
    #[schema(example = "/settings/theme")]
    pointer: String,
    /// What it was.
    value: Value,
}

pub(super) fn shown(conflicts: &Conflicts) -> Vec<ConflictView> {
    let one = |conflict: &passerby_actors::domain::Conflict| ConflictView {
        pointer: conflict.pointer.clone(),
        value: conflict.value.clone(),
    };
    conflicts.list.iter().map(one).collect()
}

/// The user who became part of a session's user, and what the joined document does not hold.
#[derive(Clone, Copy)]
pub(super) struct Absorbed<'a> {
    pub(super) user: &'a UserId,
    pub(super) conflicts: &'a Conflicts,
}

impl Absorbed<'_> {
    /// Adds it to an answer.
    fn tell(self, body: PlainObject) -> PlainObject {
        let conflicts = serde_json::to_string(&shown(self.conflicts)).unwrap_or_default();
        body.text("merged_user_id", self.user.encode(&mut [0; 36]))
            .json("conflicts", &conflicts)
            .json("conflicts_truncated", if self.conflicts.truncated { "true" } else { "false" })
    }
}
