//! The session of a request, on the App Services path.

use actix_web::HttpRequest;
use passerby_actors::domain::{Refusal, SessionKind};
use passerby_actors::handle::{self, Live};

use super::error::ClientError;
use crate::http::bearer::{self, NoToken};
use crate::http::{Context, came_back};
use crate::token::{Access, Refresh, TokenError};

/// The live session of an access token.
pub(super) fn authenticate(request: &HttpRequest, context: &Context) -> Result<(Access, Live), ClientError> {
    let access = bearer::access(request, context).map_err(|error| match error {
        NoToken::Missing => no_token(),
        NoToken::OverBudget(over) => over.into(),
        NoToken::Refused(TokenError::Expired) => ClientError::invalid_session("invalid session: access token expired"),
        NoToken::Refused(TokenError::WrongType) => {
            ClientError::unauthorized(None, "invalid access token: incorrect token type")
        }
        // the client refreshes on this text
        NoToken::Refused(_) => ClientError::unauthorized(None, "unauthorized"),
    })?;
    match context.handle.check(&access.user, &access.session, Some(access.epoch)) {
        Ok(live) => {
            came_back(request, context, &live);
            Ok((access, live))
        }
        Err(handle::Error::Refused(Refusal::Disabled)) => {
            Err(ClientError::invalid_session("invalid session: user disabled"))
        }
        Err(handle::Error::Refused(_)) => Err(ClientError::invalid_session("invalid session: session not found")),
        Err(other) => Err(other.into()),
    }
}

/// Whether a session may change its account: not one that an API key began.
pub(super) fn of_owner(live: &Live) -> Result<(), ClientError> {
    if live.method.may_change_account() { Ok(()) } else { Err(ClientError::insufficient_scope()) }
}

fn no_token() -> ClientError {
    ClientError::unauthorized("AuthError", "must authenticate first")
}

/// The live session of an App Services refresh token.
pub(super) fn authenticate_refresh(request: &HttpRequest, context: &Context) -> Result<(Refresh, Live), ClientError> {
    let wrong_type = || ClientError::unauthorized(None, "invalid refresh token: incorrect token type");
    let refresh = bearer::refresh(request, context).map_err(|error| match error {
        NoToken::Missing => no_token(),
        NoToken::OverBudget(over) => over.into(),
        NoToken::Refused(TokenError::WrongType) => wrong_type(),
        NoToken::Refused(_) => ClientError::dead_refresh_token(),
    })?;
    if refresh.kind != SessionKind::AppServices {
        return Err(wrong_type());
    }
    let live = context.handle.check(&refresh.user, &refresh.session, None)?;
    came_back(request, context, &live);
    Ok((refresh, live))
}
