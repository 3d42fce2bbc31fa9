//! The session that asks, and its user: showing, refreshing and ending them.

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::actor::USERS_PER_ENDED;
use passerby_actors::domain::{Cause, ServiceTime, SessionId, SessionKind, UserId};
use passerby_actors::handle::{self, LoggedIn};
use serde::Serialize;
use utoipa::ToSchema;

use super::tokens::{Of, tokens};
use crate::http::bearer;
use crate::http::reader::{self, Found};
use crate::http::schemas::SessionTokens;
use crate::http::time::created;
use crate::http::{
    Answer, Context, Problem, Scope, at, authenticate, came_back, client, json, read, rfc3339, user_of, went,
    within_time,
};
use crate::limits::budget::Spend;

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(at("/v1/session").on(Method::GET, session).on(Method::DELETE, end_session))
        .service(at("/v1/session/refresh").on(Method::POST, refresh_session))
        .service(at("/v1/user").on(Method::DELETE, delete_user));
}

/// A session and its user.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionView {
    /// The user's id.
    #[schema(example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c")]
    user_id: String,
    /// The session's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    session_id: String,
    /// Whether the user has no identity but the anonymous one.
    anonymous: bool,
    /// When the user was created (RFC 3339).
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    created: String,
    /// Last activity (RFC 3339), up to `expiry.touch_granularity` old.
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    last_seen: String,
    /// When the user is gone without further activity (RFC 3339); null for an account.
    #[schema(required = true, format = DateTime, example = "2026-05-01T12:00:00Z")]
    expires: Option<String>,
    /// Ids of users who became part of this one, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false, example = json!(["0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2d"]))]
    aliases: Vec<String>,
}

/// Shows the session and its user.
#[utoipa::path(get, path = "/v1/session", tag = "Sessions", operation_id = "getSession", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 200, body = SessionView, description = "The session and its user.")),
    extensions(("x-problems" = json!("session"))))]
pub(crate) async fn session(request: HttpRequest, context: Data<Context>) -> Answer {
    let live = authenticate(&request, &context, Scope::Data)?;
    let (clock, policy) = (context.server.clock(), &context.server.core.policy());
    let user = user_of(&context, &live)?;
    let shown = |t: ServiceTime| rfc3339(clock.to_wall_s(t));
    let view = SessionView {
        user_id: user.id.to_string(),
        session_id: SessionId::derive(&live.user, live.number).to_string(),
        anonymous: user.record.is_anonymous(),
        created: created(&user),
        // service counts whole seconds, which begin somewhere within those of the wall clock
        last_seen: shown(user.record.last_seen).max(created(&user)),
        expires: user.record.deadline(policy.window_s).map(shown),
        aliases: user.aliases().iter().map(|alias| alias.id.to_string()).collect(),
    };
    Ok(json(StatusCode::OK, &view))
}

/// Refreshes the tokens of a session.
///
/// The refresh token is replaced. The one before the current one gets the current one again, for a client that lost an answer. An older
/// one ends the session: a thief may have it.
#[utoipa::path(post, path = "/v1/session/refresh", tag = "Sessions", operation_id = "refreshSession", security(("refresh_token" = [])),
    responses((status = 200, body = SessionTokens, description = "The new tokens.")),
    extensions(("x-problems" = json!("object no-token invalid-token wrong-token token-expired session-ended user-disabled over-budget write"))))]
pub(crate) async fn refresh_session(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    read::none(&request, &context, payload).await?;
    let refresh = bearer::refresh(&request, &context)?;
    if refresh.kind != SessionKind::V1 {
        return Err(Problem::wrong_token());
    }
    let live = context.handle.check(&refresh.user, &refresh.session, None)?;
    came_back(&request, &context, &live);
    let counter = within_time(&context, context.handle.rotate(&live.user, live.number, refresh.counter)).await?;
    let lasting = !live.record.is_anonymous();
    let live = LoggedIn { user: live.user, number: live.number, session: refresh.session, epoch: live.epoch };
    Ok(tokens(&request, StatusCode::OK, &context, &live, Of { kind: SessionKind::V1, counter, lasting }, None))
}

/// Ends the session.
///
/// An anonymous user is gone with it. A browser's reader cookie is removed.
#[utoipa::path(delete, path = "/v1/session", tag = "Sessions", operation_id = "endSession", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 204, description = "The session has ended.")),
    extensions(("x-problems" = json!("object session write"))))]
pub(crate) async fn end_session(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    read::none(&request, &context, payload).await?;
    if let Some(user) = leaves_unstored(&request, &context)? {
        return end_unstored(&request, &context, &user).await;
    }
    let live = authenticate(&request, &context, Scope::Data)?;
    within_time(&context, context.handle.logout(&live.user, live.number)).await?;
    went(&request, &context, &live);
    Ok(gone(&request, &context))
}

/// Deletes the user with all sessions, identities and data.
#[utoipa::path(delete, path = "/v1/user", tag = "Accounts", operation_id = "deleteUser", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 204, description = "The user is gone.")),
    extensions(("x-problems" = json!("object account write"))))]
pub(crate) async fn delete_user(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    read::none(&request, &context, payload).await?;
    if let Some(user) = leaves_unstored(&request, &context)? {
        return end_unstored(&request, &context, &user).await;
    }
    let live = authenticate(&request, &context, Scope::Account)?;
    within_time(&context, context.handle.delete(&live.user, Cause::DeletedByUser)).await?;
    went(&request, &context, &live);
    Ok(gone(&request, &context))
}

/// The reader who is not stored yet and logs out.
fn leaves_unstored(request: &HttpRequest, context: &Context) -> Result<Option<UserId>, Problem> {
    if request.headers().contains_key(header::AUTHORIZATION) || !request.headers().contains_key(header::COOKIE) {
        return Ok(None);
    }
    match reader::look(request, context)? {
        Found::Lazy(cookie) if reader::is_own(request, context) => Ok(Some(cookie.user)),
        Found::Lazy(_) => Err(Problem::cross_site()),
        Found::Reader(..) | Found::Replaced(_) | Found::Nobody => Ok(None),
    }
}

/// Ends the id of a lazy cookie, whose reader a concurrent request may be creating. That is kept for as long as the cookie is good, so it
/// takes from the budget for creating readers; beyond that, and when as many are kept as may be, the browser's cookie is all that ends.
async fn end_unstored(request: &HttpRequest, context: &Context, user: &UserId) -> Answer {
    let (budgets, client) = (&context.server.budgets, client(request, context));
    if budgets.spend(Spend::Create, client).is_err() {
        return Ok(gone(request, context));
    }
    // it takes the room of some users
    if budgets.claim_users(client, USERS_PER_ENDED - 1).is_err() {
        budgets.give_back_users(client, 1);
        return Ok(gone(request, context));
    }
    let ended = within_time(context, context.handle.end_lazily(user)).await;
    match budgets.kept_if_stored(client, USERS_PER_ENDED, ended) {
        // as many are kept as may be
        Ok(()) | Err(handle::Error::Capacity) => {}
        Err(other) => return Err(other.into()),
    }
    Ok(gone(request, context))
}

/// 204; and a browser is told to delete what it stored for us, above all the cookie (S20).
pub(super) fn gone(request: &HttpRequest, context: &Context) -> HttpResponse {
    let mut response = HttpResponse::NoContent().finish();
    if request.headers().contains_key(header::COOKIE) {
        reader::clear(&mut response, request, context);
    }
    if context.server.settings.clear_site_data {
        let value = HeaderValue::from_static(r#""cache", "cookies", "storage""#);
        response.headers_mut().insert(header::HeaderName::from_static("clear-site-data"), value);
    }
    response
}
