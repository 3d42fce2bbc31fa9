//! The token that a request carries. A text that is not one of ours costs its network a guess.

use actix_web::HttpRequest;
use actix_web::http::header;

use super::charge::spend;
use super::context::Context;
use crate::limits::budget::{OverBudget, Spend};
use crate::token::{Access, Refresh, TokenError};

/// Why a request has no token that says anything.
#[derive(Debug)]
pub(crate) enum NoToken {
    /// There is none.
    Missing,
    /// It is not good.
    Refused(TokenError),
    /// Its network has guessed too often.
    OverBudget(OverBudget),
}

/// The token of an `Authorization: Bearer` header; tokens are accepted nowhere else (S19).
pub(crate) fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| str::from_utf8(token.trim_ascii()).ok()).flatten()
}

const SCHEME: &[u8] = b"Bearer ";

/// What the access token of a request says.
///
/// # Errors
/// There is none, it is not good, or its network has guessed too often.
pub(crate) fn access(request: &HttpRequest, context: &Context) -> Result<Access, NoToken> {
    verified(request, context, |token| context.server.tokens.verify_access(token, context.server.wall_s()))
}

/// What the refresh token of a request says.
///
/// # Errors
/// As [`access`].
pub(crate) fn refresh(request: &HttpRequest, context: &Context) -> Result<Refresh, NoToken> {
    verified(request, context, |token| context.server.tokens.verify_refresh(token))
}

fn verified<T>(
    request: &HttpRequest,
    context: &Context,
    verify: impl FnOnce(&str) -> Result<T, TokenError>,
) -> Result<T, NoToken> {
    let token = bearer(request).ok_or(NoToken::Missing)?;
    verify(token).map_err(|error| match spend_if_guess(request, context, &error) {
        Ok(()) => NoToken::Refused(error),
        Err(over) => NoToken::OverBudget(over),
    })
}

fn spend_if_guess(request: &HttpRequest, context: &Context, error: &TokenError) -> Result<(), OverBudget> {
    if error.is_guess() { spend(request, context, Spend::BadToken) } else { Ok(()) }
}
