//! Passerby's own API under `/v1`, Bearer mode; errors are RFC 9457 problem details. And the public keys.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use passerby_actors::domain::{DeviceId, Refusal, ServiceTime, SessionId, SessionKind};
use passerby_actors::handle::{self, IdForm, Live};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::body::{self, BodyError};
use super::plain::PlainObject;
use super::{Context, JSON, NO_STORE, bearer, other_method, retry_after_s, within_time};
use crate::token::{AccessClaims, RefreshClaims, TokenError};

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Adds the routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/v1/sessions").post(create_session).default_service(other_method("POST")))
        .service(
            web::resource("/v1/session").get(session).delete(end_session).default_service(other_method("GET, DELETE")),
        )
        .service(web::resource("/v1/session/refresh").post(refresh_session).default_service(other_method("POST")))
        .service(web::resource("/v1/user").delete(delete_user).default_service(other_method("DELETE")))
        .service(web::resource("/.well-known/jwks.json").get(jwks).default_service(other_method("GET")));
}

/// An error as RFC 9457 wants it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// Names the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:passerby:problem:session-ended")]
    kind: String,
    /// The kind in words.
    title: &'static str,
    /// The status again.
    status: u16,
    /// What happened here.
    detail: String,
    /// The last part of `type`.
    #[schema(example = "session-ended")]
    code: &'static str,
    #[serde(skip)]
    retry_after_s: Option<u16>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:passerby:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            retry_after_s: None,
        }
    }

    fn unauthorized(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this path does not know this method")
    }

    pub(super) fn bad_preflight() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-preflight", "this origin may not do this")
    }

    pub(super) fn respond(self, context: &Context) -> HttpResponse {
        respond(context, Err(self))
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let (status, code) = match error {
            BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow"),
            BodyError::Broken | BodyError::NotAnObject => (StatusCode::BAD_REQUEST, "bad-body"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<handle::Error> for Problem {
    fn from(error: handle::Error) -> Self {
        let detail = error.to_string();
        let unavailable = |code| Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail.clone());
        match error {
            handle::Error::Refused(Refusal::Disabled) => Self::new(StatusCode::FORBIDDEN, "user-disabled", detail),
            handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded) => {
                Self::new(StatusCode::UNAUTHORIZED, "session-ended", detail)
            }
            handle::Error::Refused(Refusal::WrongKind) => Self::wrong_token(),
            handle::Error::Capacity => Self { retry_after_s: Some(60), ..unavailable("capacity") },
            handle::Error::OutcomeUnknown => unavailable("outcome-unknown"),
            handle::Error::NotWritable => unavailable("not-writable"),
            handle::Error::Overloaded => unavailable("overloaded"),
            handle::Error::Busy => unavailable("busy"),
            handle::Error::Quarantined => unavailable("quarantined"),
            handle::Error::Stopping => unavailable("stopping"),
        }
    }
}

impl Problem {
    fn wrong_token() -> Self {
        Self::unauthorized("wrong-token", "this endpoint takes another kind of token")
    }

    fn no_token() -> Self {
        Self::unauthorized("no-token", "an Authorization header with a Bearer token is needed")
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Expired => Self::unauthorized("token-expired", "the access token has expired"),
            TokenError::WrongType => Self::wrong_token(),
            _ => Self::unauthorized("invalid-token", "the token is not one of ours"),
        }
    }
}

type Answer = Result<HttpResponse, Problem>;

fn respond(context: &Context, answer: Answer) -> HttpResponse {
    let server = &context.server;
    let mut response = answer.unwrap_or_else(|mut problem| {
        if problem.status == StatusCode::UNAUTHORIZED.as_u16() && !server.may_refuse() {
            // a client drops its identity on a 401: it must mean "known to be dead"
            problem = handle::Error::NotWritable.into();
        }
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after_s = problem.retry_after_s.or_else(|| (problem.status == 503).then(|| retry_after_s(server)));
        let mut response = json(status, PROBLEM_JSON, &problem);
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3: without a token no error is named
            let challenge = if problem.code == "no-token" { "Bearer" } else { r#"Bearer error="invalid_token""# };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    });
    let (name, value) = NO_STORE;
    if !response.headers().contains_key(&name) {
        response.headers_mut().insert(name, value);
    }
    response
}

fn json(status: StatusCode, content_type: HeaderValue, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => HttpResponse::build(status).insert_header((header::CONTENT_TYPE, content_type)).body(bytes),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// Tokens of a session.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what a PlainObject writes")]
pub struct SessionTokens {
    #[schema(example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c")]
    user_id: String,
    #[schema(example = "636aba021728b6c1c03db7f9")]
    session_id: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    access_token: String,
    /// Seconds for which the access token is good.
    #[schema(example = 1800)]
    expires_in: u32,
    /// Replaced at every refresh.
    refresh_token: String,
}

/// How long an access token is good (seconds): 30 minutes (design §5).
pub const ACCESS_TTL_S: u32 = 1800;

fn tokens(status: StatusCode, context: &Context, live: &LiveSession, counter: u16) -> HttpResponse {
    let (server, kind, device) = (&context.server, SessionKind::V1, DeviceId::default());
    let LiveSession { user, session, number, epoch } = *live;
    let issued_at_s = server.wall_s();
    let access = AccessClaims { user, session, epoch, device, kind, issued_at_s, jti: server.random_id() };
    let refresh = RefreshClaims { user, session, number, counter, kind, device, issued_at_s };
    let body = PlainObject::new()
        .text("user_id", user.encode(&mut [0; 36]))
        .text("session_id", session.encode(&mut [0; 24]))
        .text("token_type", "Bearer")
        .with("access_token", |out| server.tokens.access_into(&access, out))
        .number("expires_in", ACCESS_TTL_S)
        .with("refresh_token", |out| server.tokens.refresh_into(&refresh, out));
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// What tokens are made from.
type LiveSession = handle::LoggedIn;

/// Logs a new anonymous user in. The body may be left out; `mode` may be `bearer`.
#[utoipa::path(post, path = "/v1/sessions", tag = "Passerby",
    request_body(content = Option<Object>, description = "nothing, or `{\"mode\":\"bearer\"}`"),
    responses((status = 201, body = SessionTokens), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
async fn create_session(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        let body = body::read_object(&request, &context, payload).await?;
        if body.get("mode").is_some_and(|mode| mode != "bearer") {
            return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown-mode", "mode must be \"bearer\""));
        }
        if !context.server.providers.anon_user_enabled {
            let detail = "anonymous logins are switched off";
            return Err(Problem::new(StatusCode::FORBIDDEN, "provider-disabled", detail));
        }
        let live = context.handle.login(SessionKind::V1, IdForm::TimeOrdered).await?;
        Ok(tokens(StatusCode::CREATED, &context, &live, 0))
    };
    respond(&context, answer.await)
}

fn authenticate(request: &HttpRequest, context: &Context) -> Result<Live, Problem> {
    let token = bearer(request).ok_or_else(Problem::no_token)?;
    let access = context.server.tokens.verify_access(token, context.server.wall_s())?;
    Ok(context.handle.check(&access.user, &access.session, Some(access.epoch))?)
}

/// A session and its user.
#[derive(Serialize, ToSchema)]
pub struct SessionView {
    #[schema(example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c")]
    user_id: String,
    session_id: String,
    /// Whether the user has no identity but the anonymous one.
    anonymous: bool,
    /// When the user was made (RFC 3339).
    #[schema(example = "2026-01-31T12:00:00Z")]
    created: String,
    /// Last activity (RFC 3339), up to `expiry.touch_granularity` old.
    #[schema(example = "2026-01-31T12:00:00Z")]
    last_seen: String,
    /// When the user is gone without further activity (RFC 3339); null for a lasting account.
    #[schema(example = "2026-05-01T12:00:00Z")]
    expires: Option<String>,
}

fn rfc3339(unix_s: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

/// The access token's session and user.
#[utoipa::path(get, path = "/v1/session", tag = "Passerby", security(("access_token" = [])),
    responses((status = 200, body = SessionView), (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json")))]
async fn session(request: HttpRequest, context: web::Data<Context>) -> HttpResponse {
    let answer = authenticate(&request, &context).and_then(|live| {
        let (clock, policy) = (context.server.clock(), context.server.core.policy());
        let user = context.handle.load(&live.user).ok_or(handle::Error::Refused(Refusal::Gone))?;
        let shown = |t: ServiceTime| rfc3339(clock.to_wall_s(t));
        let created_ms = user.extension.as_ref().and_then(|e| e.created_ms).unwrap_or_else(|| user.id.created_ms());
        let view = SessionView {
            user_id: user.id.to_string(),
            session_id: SessionId::derive(&live.user, live.number).to_string(),
            anonymous: user.record.is_anonymous(),
            created: rfc3339(i64::try_from(created_ms / 1000).unwrap_or(i64::MAX)),
            last_seen: shown(user.record.last_seen),
            expires: user.record.deadline(policy.window_s).map(shown),
        };
        Ok(json(StatusCode::OK, JSON, &view))
    });
    respond(&context, answer)
}

/// New tokens for the refresh token, which is replaced. The one before the current still gets the current again; an older
/// one ends the session (S31, S32).
#[utoipa::path(post, path = "/v1/session/refresh", tag = "Passerby", security(("refresh_token" = [])),
    responses((status = 200, body = SessionTokens), (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
async fn refresh_session(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        body::discard(&request, &context, payload).await?;
        let token = bearer(&request).ok_or_else(Problem::no_token)?;
        let refresh = context.server.tokens.verify_refresh(token)?;
        if refresh.kind != SessionKind::V1 {
            return Err(Problem::wrong_token());
        }
        let live = context.handle.check(&refresh.user, &refresh.session, None)?;
        let counter = within_time(&context, context.handle.rotate(&live.user, live.number, refresh.counter)).await?;
        let live = LiveSession { user: live.user, number: live.number, session: refresh.session, epoch: live.epoch };
        Ok(tokens(StatusCode::OK, &context, &live, counter))
    };
    respond(&context, answer.await)
}

/// Ends the access token's session; an anonymous user is then gone.
#[utoipa::path(delete, path = "/v1/session", tag = "Passerby", security(("access_token" = [])),
    responses((status = 204), (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json")))]
async fn end_session(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        body::discard(&request, &context, payload).await?;
        let live = authenticate(&request, &context)?;
        within_time(&context, context.handle.logout(&live.user, live.number)).await?;
        Ok(gone(&context))
    };
    respond(&context, answer.await)
}

/// Deletes the access token's user with all its sessions.
#[utoipa::path(delete, path = "/v1/user", tag = "Passerby", security(("access_token" = [])),
    responses((status = 204), (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json")))]
async fn delete_user(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        body::discard(&request, &context, payload).await?;
        let live = authenticate(&request, &context)?;
        within_time(&context, context.handle.delete(&live.user)).await?;
        Ok(gone(&context))
    };
    respond(&context, answer.await)
}

/// 204; and a browser is told to forget what it kept for us (S20).
fn gone(context: &Context) -> HttpResponse {
    let mut response = HttpResponse::NoContent().finish();
    if context.server.settings.clear_site_data {
        let value = HeaderValue::from_static(r#""cache", "cookies", "storage""#);
        response.headers_mut().insert(header::HeaderName::from_static("clear-site-data"), value);
    }
    response
}

/// The public keys that access tokens can be checked with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Passerby", responses((status = 200, body = Object)))]
async fn jwks(context: web::Data<Context>) -> HttpResponse {
    let mut response = json(StatusCode::OK, JSON, &context.server.tokens.jwks());
    let fresh = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert(header::CACHE_CONTROL, fresh);
    respond(&context, Ok(response))
}
