//! What the App Services path answers when something is wrong, and its other answers.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::DeviceId;
use passerby_actors::handle;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::body::BodyError;
use crate::http::context::{json, origin};
use crate::http::endpoint::ApiError;
use crate::http::problem::KEY_SESSION;
use crate::http::{Context, NO_STORE, bearer, came_back, retry_after_s};
use crate::limits::budget::{OverBudget, Why};
use crate::limits::throttle::Throttled;

/// Carries the same id as an error's `link`.
pub(crate) const REQUEST_ID: &str = "x-appservices-request-id";

/// An error in App Services form.
#[derive(Debug)]
pub(crate) struct ClientError {
    status: StatusCode,
    text: String,
    code: Option<&'static str>,
    retry_after_s: Option<u16>,
    /// Whether it is about a credential, and not about the request's token.
    of_credential: bool,
}

impl ClientError {
    pub(super) fn new(status: StatusCode, code: impl Into<Option<&'static str>>, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), code: code.into(), retry_after_s: None, of_credential: false }
    }

    pub(super) fn unauthorized(code: impl Into<Option<&'static str>>, text: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, text)
    }

    /// A credential that is not accepted: 401, as SDKs expect of a login; to a request with a good token of its own 400, because
    /// realm-web 1.0.0 to 2.0.0 refreshes and repeats after every 401, and other SDKs drop their user.
    pub(super) fn refused(code: &'static str, text: &str) -> Self {
        Self { of_credential: true, ..Self::unauthorized(code, text) }
    }

    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", text)
    }

    pub(super) fn invalid_session(text: &str) -> Self {
        Self::unauthorized("InvalidSession", text)
    }

    /// The text that realm-web's logOut, removeUser and deleteUser wait for (docs/protocol.md, "Errors").
    pub(super) fn dead_refresh_token() -> Self {
        Self::invalid_session("invalid session: failed to find refresh token")
    }

    /// For a session that an API key began, and what only the account's owner may do. Not a 401: SDKs would log in again.
    pub(super) fn insufficient_scope() -> Self {
        Self::new(StatusCode::FORBIDDEN, "AuthError", KEY_SESSION)
    }

    pub(super) fn throttled(text: String, after_s: u32) -> Self {
        let retry_after_s = Some(u16::try_from(after_s).unwrap_or(u16::MAX));
        Self { retry_after_s, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", text) }
    }

    pub(super) fn unavailable(text: impl Into<String>, code: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, text)
    }
}

impl ApiError for ClientError {
    fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, None, "method not allowed")
    }

    fn answer(mut self, request: &HttpRequest, context: &Context) -> HttpResponse {
        let server = &context.server;
        if self.status == StatusCode::UNAUTHORIZED && !server.may_refuse() {
            // a client drops its identity on a 401: it must mean "known to be dead"
            self = handle::Error::NotWritable.into();
        }
        if self.of_credential && self.status == StatusCode::UNAUTHORIZED && has_good_token(request, context) {
            self.status = StatusCode::BAD_REQUEST;
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE && self.retry_after_s.is_none() {
            self.retry_after_s = Some(retry_after_s(server));
        }
        server.count_refusal(self.status.as_u16(), self.code);
        let id = DeviceId(server.random_id()).to_string();
        let (domain, app) = (server.tokens.domain_id(), &server.settings.app_id);
        let link = format!("{}/groups/{domain}/apps/{app}/logs?co_id={id}", origin(request, context, "http"));
        let mut response = json(self.status, &ErrorBody { error: self.text, error_code: self.code, link });
        let headers = response.headers_mut();
        let (name, value) = NO_STORE;
        headers.insert(name, value);
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(header::HeaderName::from_static(REQUEST_ID), id);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<BodyError> for ClientError {
    fn from(error: BodyError) -> Self {
        let status = match error {
            BodyError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::TooSlow => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken
            | BodyError::NotJson
            | BodyError::NotAnObject
            | BodyError::Twice(_)
            | BodyError::Inexact(_) => StatusCode::BAD_REQUEST,
        };
        Self::new(status, "BadRequest", error.to_string())
    }
}

impl From<Throttled> for ClientError {
    fn from(error: Throttled) -> Self {
        Self::throttled(error.to_string(), error.retry_after_s)
    }
}

impl From<OverBudget> for ClientError {
    fn from(error: OverBudget) -> Self {
        if error.why == Why::Blocked {
            return Self::new(StatusCode::FORBIDDEN, "NetworkBlocked", error.to_string());
        }
        Self::throttled(error.to_string(), error.retry_after_s)
    }
}

impl From<handle::Error> for ClientError {
    fn from(error: handle::Error) -> Self {
        match error {
            handle::Error::Refused(_) => Self::dead_refresh_token(),
            handle::Error::Capacity => {
                Self { retry_after_s: Some(60), ..Self::unavailable("capacity", "ServiceUnavailable") }
            }
            handle::Error::Internal => Self::new(StatusCode::INTERNAL_SERVER_ERROR, None, error.to_string()),
            other => Self::unavailable(other.to_string(), "ServiceUnavailable"),
        }
    }
}

/// The body of every error.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesError)]
pub(crate) struct ErrorBody {
    /// What happened.
    #[schema(example = "invalid session: access token expired")]
    error: String,
    /// A stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "InvalidSession")]
    error_code: Option<&'static str>,
    /// Names the request.
    #[schema(
        example = "https://id.news.example/groups/0123456789abcdef01234567/apps/passerby/logs?co_id=636aba021728b6c1c03db7f9"
    )]
    link: String,
}

pub(crate) type Answer = Result<HttpResponse, ClientError>;

/// Without a body there is no content type: realm-web fails on one (docs/protocol.md, "Bodies and content types").
pub(super) fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

pub(crate) fn bad_preflight(request: &HttpRequest, context: &Context) -> HttpResponse {
    ClientError::bad_request("this origin may not do this").answer(request, context)
}

pub(crate) fn not_found(request: &HttpRequest, context: &Context) -> HttpResponse {
    ClientError::new(StatusCode::NOT_FOUND, None, "404 page not found").answer(request, context)
}

/// Whether the request has a token of a session that lives.
fn has_good_token(request: &HttpRequest, context: &Context) -> bool {
    let server = &context.server;
    let session = bearer(request).and_then(|token| match server.tokens.verify_access(token, server.wall_s()) {
        Ok(access) => Some((access.user, access.session, Some(access.epoch))),
        Err(_) => server.tokens.verify_refresh(token).ok().map(|refresh| (refresh.user, refresh.session, None)),
    });
    let live = session.and_then(|(user, session, epoch)| context.handle.check(&user, &session, epoch).ok());
    if let Some(live) = &live {
        came_back(request, context, live);
    }
    live.is_some()
}

pub(super) fn check_app(request: &HttpRequest, context: &Context) -> Result<(), ClientError> {
    let app = request.match_info().get("app").unwrap_or_default();
    if app == context.server.settings.app_id {
        return Ok(());
    }
    let text = format!("cannot find app using Client App ID '{}'", shown(app));
    Err(ClientError::new(StatusCode::NOT_FOUND, None, text))
}

/// Text of the client's in an error of ours, cut short.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// A provider that is off, or not built (docs/protocol.md, "Errors").
pub(super) fn unsupported(name: &str) -> ClientError {
    ClientError::refused("AuthError", &format!("authentication via '{name}' is unsupported"))
}
