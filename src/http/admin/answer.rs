//! How the admin API answers: problems in the form of its two faces, and what stands on every answer.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::DeviceId;
use serde_json::json;

use crate::admin::{ACCESS, Fault};
use crate::http::app_services::REQUEST_ID;
use crate::http::context::{self, origin};
use crate::http::forwarded::{Forwarded, STAY_ON_TLS};
use crate::http::problem::{Answer, Problem};
use crate::http::{Context, NO_STORE, bearer};

/// Where Passerby's own face of the admin API begins.
const V1: &str = "/v1/admin";
/// Where that of App Services begins.
pub(super) const V3: &str = "/api/admin/v3.0";

/// Where its sessions are refreshed and ended, by their refresh tokens.
const V3_SESSION: &str = "/api/admin/v3.0/auth/session";

/// Whether a path is of the admin API.
pub(super) fn serves(path: &str) -> bool {
    path.starts_with(V1) || path.starts_with(V3)
}

/// While the store is being read.
pub(super) fn not_yet(request: &HttpRequest) -> HttpResponse {
    let detail = "the server is reading its data; try again soon";
    let mut response = if request.path().starts_with(V3) {
        context::json(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "error": detail, "error_code": "Recovering", "link": "" }),
        )
    } else {
        context::json(
            StatusCode::SERVICE_UNAVAILABLE,
            &Problem::new(StatusCode::SERVICE_UNAVAILABLE, "recovering", detail),
        )
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    dress(response, false)
}

/// The answer as its client gets it.
pub(super) fn finish(answered: Answer, request: &HttpRequest, context: &Context) -> HttpResponse {
    let is_v3 = request.path().starts_with(V3);
    let response = match answered {
        Ok(response) => response,
        Err(problem) if is_v3 => in_form_of_app_services(problem, request, context),
        Err(problem) => problem.response(context),
    };
    dress(response, Forwarded::of(request, &context.server.settings.trusted_proxies).should_stay_on_tls())
}

/// Nothing is kept by a cache or taken for something else; over TLS the browser comes by TLS again.
fn dress(mut response: HttpResponse, stays_on_tls: bool) -> HttpResponse {
    let headers = response.headers_mut();
    let (name, value) = NO_STORE;
    headers.insert(name, value);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if stays_on_tls {
        let (name, value) = STAY_ON_TLS;
        headers.insert(name, value);
    }
    response
}

/// As the App Services admin API tells errors: `error`, `error_code` and `link`.
fn in_form_of_app_services(problem: Problem, request: &HttpRequest, context: &Context) -> HttpResponse {
    let server = &context.server;
    let problem = problem.told_now(server);
    let id = DeviceId(server.random_id()).to_string();
    let (domain, app) = (server.tokens.domain_id(), &server.settings.app_id);
    let link = format!("{}/groups/{domain}/apps/{app}/logs?co_id={id}", origin(request, context, "http"));
    // its scripts log in again on this
    let (error, code) = match problem.code() {
        "session-ended" | "no-token" => (dead_session(request), "invalid-session"),
        // it had few codes for requests that will not do
        code @ ("invalid-parameter" | "user-already-confirmed") => (problem.detail(), code),
        _ if problem.status() == 400 => (problem.detail(), "bad-request"),
        other => (problem.detail(), other),
    };
    let code: String = code.split('-').map(capitalized).collect();
    let body = json!({ "error": error, "error_code": code, "link": link });
    let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = context::json(status, &body);
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HeaderName::from_static(REQUEST_ID), id);
    }
    if let Some(seconds) = problem.retry_after_s() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// What its scripts wait for: by this text realm-js sees that it needs a new access token.
fn dead_session(request: &HttpRequest) -> &'static str {
    if bearer(request).is_some_and(|token| token.starts_with(ACCESS)) {
        return "invalid session: access token expired";
    }
    if request.path() == V3_SESSION { "invalid session: failed to find refresh token" } else { "invalid session" }
}

/// `user-not-found` is `UserNotFound` there, and `api-key-not-found` `APIKeyNotFound`.
fn capitalized(word: &str) -> String {
    if word == "api" {
        return "API".to_owned();
    }
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let detail = fault.to_string();
        let (status, code) = match fault {
            Fault::Core(error) => return error.into(),
            Fault::Throttled(throttled) => return throttled.into(),
            Fault::Credentials => (StatusCode::UNAUTHORIZED, "invalid-credential"),
            Fault::CodeNeeded => (StatusCode::UNAUTHORIZED, "code-needed"),
            // a 401 would end the session of whoever mistyped
            Fault::Password => (StatusCode::FORBIDDEN, "wrong-password"),
            Fault::Code => (StatusCode::BAD_REQUEST, "wrong-code"),
            Fault::NotAnAdmin => (StatusCode::CONFLICT, "no-account"),
            Fault::OwnAccount => (StatusCode::CONFLICT, "own-account"),
            Fault::Changed => (StatusCode::CONFLICT, "account-changed"),
            Fault::Seal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Fault::Ended => (StatusCode::UNAUTHORIZED, "session-ended"),
            Fault::Name | Fault::KeyName | Fault::Weak | Fault::PastEnd => (StatusCode::BAD_REQUEST, "bad-field"),
            Fault::Taken => (StatusCode::CONFLICT, "name-taken"),
            Fault::LastOwner => (StatusCode::CONFLICT, "last-owner"),
            Fault::TooMany => (StatusCode::CONFLICT, "too-many"),
            Fault::NoAdmin => (StatusCode::NOT_FOUND, "no-such-admin"),
            Fault::NoSession => (StatusCode::NOT_FOUND, "no-such-session"),
            Fault::NoKey => (StatusCode::NOT_FOUND, "no-such-key"),
            Fault::Passwords(_) | Fault::Moved => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Fault::Unreadable => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        if fault == Fault::Unreadable {
            tracing::error!("something stored about admins is of a later version, and is left as it is");
        }
        Self::new(status, code, detail)
    }
}
