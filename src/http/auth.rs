//! The session of a request: that of an access token, or of a reader's cookie.

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};
use passerby_actors::domain::{Refusal, UserState};
use passerby_actors::handle::{self, Live};

use super::bearer;
use super::charge::came_back;
use super::context::Context;
use super::problem::Problem;
use super::reader::{self, Found};

/// What a session must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Use the account's data, look at itself, end itself: every session may.
    Data,
    /// Change or list how the account is logged in to, its keys and its sessions, take everything along, delete it: not one
    /// that an API key began, which is a program's.
    Account,
}

/// The live session of an access token, or of a reader's cookie; if there is a token, the cookie is ignored.
pub(crate) fn authenticate(request: &HttpRequest, context: &Context, scope: Scope) -> Result<Live, Problem> {
    let live = by_token_or_cookie(request, context, scope)?;
    if scope == Scope::Account && !live.method.may_change_account() {
        return Err(Problem::insufficient_scope());
    }
    Ok(live)
}

fn by_token_or_cookie(request: &HttpRequest, context: &Context, scope: Scope) -> Result<Live, Problem> {
    if request.headers().contains_key(header::AUTHORIZATION) || !request.headers().contains_key(header::COOKIE) {
        return by_bearer(request, context);
    }
    match reader::look(request, context)? {
        Found::Reader(live, _) if reader::is_own(request, context) => Ok(live),
        Found::Reader(..) => Err(Problem::cross_site()),
        Found::Replaced(live) if scope == Scope::Data && request.method().is_safe() => Ok(live),
        Found::Replaced(_) | Found::Lazy(_) | Found::Nobody => Err(Problem::no_reader()),
    }
}

/// The live session of an access token.
pub(crate) fn by_bearer(request: &HttpRequest, context: &Context) -> Result<Live, Problem> {
    let access = bearer::access(request, context)?;
    let live = context.handle.check(&access.user, &access.session, Some(access.epoch))?;
    came_back(request, context, &live);
    Ok(live)
}

/// The state of the user whose session asks.
pub(crate) fn user_of(context: &Context, live: &Live) -> Result<UserState, Problem> {
    Ok(context.handle.load(&live.user).ok_or(handle::Error::Refused(Refusal::Gone))?)
}

/// Whether the session of a lasting account is young enough to change how the account is logged in to (S40).
pub(crate) fn fresh(context: &Context, live: &Live) -> Result<(), Problem> {
    if context.server.is_fresh(live) {
        return Ok(());
    }
    let detail = "this requires a recent login: log in again";
    Err(Problem::new(StatusCode::FORBIDDEN, "fresh-login-needed", detail))
}
