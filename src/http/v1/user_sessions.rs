//! A user's own sessions, and transfer codes for a session on a second screen.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::{Refusal, SessionId};
use passerby_actors::handle;
use serde::Serialize;
use utoipa::ToSchema;

use super::session::gone;
use crate::codes::{TRANSFER_CODE_S, Transfer};
use crate::http::{Answer, Context, Problem, Scope, at, authenticate, json, read, rfc3339, user_of, went, within_time};

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    let all = at("/v1/user/sessions").on(Method::GET, list_sessions).on(Method::DELETE, end_other_sessions);
    config
        .service(all)
        .service(at("/v1/user/sessions/{id}").on(Method::DELETE, end_one_session))
        .service(at("/v1/session/transfer").on(Method::POST, transfer));
}

/// One of a user's sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionEntry {
    /// The session's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    session_id: String,
    /// Whether it is the one that asks.
    current: bool,
    /// When it began (RFC 3339); linking begins it again.
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    created: String,
    /// When it was last used (RFC 3339), up to `expiry.touch_granularity` before the last use.
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    last_seen: String,
    /// Whether the user was anonymous when it began.
    anonymous: bool,
    /// What began it: `anonymous`, `password`, `custom-token`, `id-token`, `browser` (a login in the browser), `api-key`, `transfer`,
    /// `link`, `merge`, or `unknown` (it began under a version that did not keep it).
    #[schema(example = "password")]
    method: &'static str,
    /// The key that began it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_id: Option<String>,
}

/// A user's sessions, oldest first.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionList {
    /// The sessions.
    sessions: Vec<SessionEntry>,
}

/// Lists the sessions of the user.
#[utoipa::path(get, path = "/v1/user/sessions", tag = "Accounts", operation_id = "listSessions", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 200, body = SessionList, description = "The sessions, oldest first.")),
    extensions(("x-problems" = json!("account"))))]
pub(crate) async fn list_sessions(request: HttpRequest, context: Data<Context>) -> Answer {
    let live = authenticate(&request, &context, Scope::Account)?;
    let user = user_of(&context, &live)?;
    let (clock, policy) = (context.server.clock(), &context.server.core.policy());
    let now = clock.now();
    let sessions = user.live_sessions(now, policy).into_iter().map(|session| SessionEntry {
        session_id: SessionId::derive(&user.id, session.number).to_string(),
        current: session.number == live.number,
        created: rfc3339(clock.to_wall_s(session.started)),
        last_seen: rfc3339(clock.to_wall_s(session.seen)),
        anonymous: session.anonymous_at_start,
        method: session.method.name(),
        api_key_id: session.method.api_key().map(|id| id.to_string()),
    });
    Ok(json(StatusCode::OK, &SessionList { sessions: sessions.collect() }))
}

/// Ends all other sessions of the user.
#[utoipa::path(delete, path = "/v1/user/sessions", tag = "Accounts", operation_id = "endOtherSessions", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 204, description = "All other sessions have ended.")),
    extensions(("x-problems" = json!("object account write"))))]
pub(crate) async fn end_other_sessions(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    read::none(&request, &context, payload).await?;
    let live = authenticate(&request, &context, Scope::Account)?;
    within_time(&context, context.handle.end_others(&live.user, live.number)).await?;
    // nor may one be begun by a code that is on its way
    context.server.codes.transfers.end_all_of(&live.user);
    Ok(HttpResponse::NoContent().finish())
}

/// Ends one session of the user.
///
/// With the last session of an anonymous user, the user is gone.
#[utoipa::path(delete, path = "/v1/user/sessions/{id}", tag = "Accounts", operation_id = "endListedSession", security(("access_token" = []), ("reader_cookie" = [])),
    params(("id" = String, Path, description = "The session's id, as listed.", example = "636aba021728b6c1c03db7f9")),
    responses((status = 204, description = "The session has ended.")),
    extensions(("x-problems" = json!("object account no-such-session write"))))]
pub(crate) async fn end_one_session(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    read::none(&request, &context, payload).await?;
    let live = authenticate(&request, &context, Scope::Data)?;
    let wanted = request.match_info().get("id").unwrap_or_default();
    // itself it may end
    if SessionId::derive(&live.user, live.number).to_string() != wanted && !live.method.may_change_account() {
        return Err(Problem::insufficient_scope());
    }
    let user = user_of(&context, &live)?;
    let named = |number: u32| SessionId::derive(&user.id, number).to_string() == wanted;
    let (now, policy) = (context.server.clock().now(), &context.server.core.policy());
    let found = user.live_sessions(now, policy).into_iter().find(|session| named(session.number));
    let no_such = || Problem::new(StatusCode::NOT_FOUND, "no-such-session", "the user does not have this session");
    let number = found.ok_or_else(no_such)?.number;
    match within_time(&context, context.handle.logout(&live.user, number)).await {
        // it ended meanwhile
        Err(handle::Error::Refused(Refusal::SessionEnded)) if number != live.number => {}
        other => other?,
    }
    if number != live.number {
        return Ok(HttpResponse::NoContent().finish());
    }
    went(&request, &context, &live);
    Ok(gone(&request, &context))
}

/// A code for a second session of the same user.
#[derive(Serialize, ToSchema)]
pub(crate) struct TransferCode {
    /// Works once, in `POST /v1/sessions` with `provider` `transfer`.
    #[schema(example = "psbt_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0")]
    code: String,
    /// Seconds for which it is good.
    #[schema(example = 120)]
    expires_in: u32,
    /// The page `transfer.page` with the code behind `#code=`, for a QR code; only if that is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "https://news.example/device#code=psbt_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0")]
    url: Option<String>,
}

/// Issues a code for a second device.
///
/// With it a second device begins a session of the same user: `POST /v1/sessions` with `provider` `transfer`. The code ends with the
/// session that asked for it.
#[utoipa::path(post, path = "/v1/session/transfer", tag = "Sessions", operation_id = "createTransferCode", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 201, body = TransferCode, description = "The code.")),
    extensions(("x-problems" = json!("object account overloaded"))))]
pub(crate) async fn transfer(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    read::none(&request, &context, payload).await?;
    let live = authenticate(&request, &context, Scope::Account)?;
    let server = &context.server;
    let worth = Transfer { user: live.user, session: live.number };
    let code = server.codes.transfers.issue(Some(live.user), worth, server.clock().running(), &*server.entropy)?;
    let url = server.settings.transfer.page.as_ref().map(|page| format!("{page}#code={}", code.text()));
    let code = TransferCode { code: code.text().to_owned(), expires_in: TRANSFER_CODE_S, url };
    Ok(json(StatusCode::CREATED, &code))
}
