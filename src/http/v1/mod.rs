//! Passerby's own API under `/v1`, Bearer mode; errors are RFC 9457 problem details. And the public keys.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use passerby_actors::actor::{Joined, Preview, Proof};
use passerby_actors::domain::{
    CredentialRefusal, DeviceId, Flags, Identity, Refusal, ServiceTime, SessionId, SessionKind, UserId, UserState,
};
use passerby_actors::handle::{self, IdForm, Live, LoggedIn};
use passerby_actors::store::Store as _;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::body::{self, BodyError};
use super::identities;
use super::plain::PlainObject;
use super::reader::{self, Found};
use super::{Context, JSON, NO_STORE, bearer, client, other_method, retry_after_s, spend, within_time};
use crate::budget::{OverBudget, Spend};
use crate::provider::ANON_USER;
use crate::provider::identity::IdentityError;
use crate::provider::throttle::Throttled;
use crate::server::Transfer;
use crate::token::{RefreshClaims, TokenError};

pub(crate) mod api_keys;
pub(crate) mod browser_login;
pub(crate) mod meters;
pub(crate) mod sessions;
pub(crate) mod userpass;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Adds the routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/v1/sessions").post(create_session).default_service(other_method("POST")))
        .service(
            web::resource("/v1/session").get(session).delete(end_session).default_service(other_method("GET, DELETE")),
        )
        .service(web::resource("/v1/session/refresh").post(refresh_session).default_service(other_method("POST")))
        .service(
            web::resource("/v1/user/identities")
                .get(list_identities)
                .post(link_identity)
                .default_service(other_method("GET, POST")),
        )
        .service(
            web::resource("/v1/user/identities/{provider}/{id}")
                .delete(unlink_identity)
                .default_service(other_method("DELETE")),
        )
        .service(web::resource("/v1/user").delete(delete_user).default_service(other_method("DELETE")))
        .service(web::resource("/.well-known/jwks.json").get(jwks).default_service(other_method("GET")))
        .configure(sessions::routes)
        .configure(userpass::routes)
        .configure(api_keys::routes)
        .configure(browser_login::routes)
        .configure(meters::routes);
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
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
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

    /// The last part of `type`.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    fn cross_site() -> Self {
        let detail = "a change by cookie must come from the site itself: Sec-Fetch-Site or Origin does not say so";
        Self::new(StatusCode::FORBIDDEN, "cross-site", detail)
    }

    /// For a check that finds nobody.
    pub(super) fn no_reader() -> Self {
        Self::unauthorized("no-reader", "neither a Bearer token nor a reader's cookie")
    }

    fn provider_disabled() -> Self {
        Self::new(StatusCode::FORBIDDEN, "provider-disabled", "this provider is switched off")
    }

    fn unknown_provider() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unknown-provider", "there is no such provider")
    }

    fn missing_field(field: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-field", format!("the body needs the text {field:?}"))
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

impl From<Throttled> for Problem {
    fn from(error: Throttled) -> Self {
        let retry_after_s = Some(u16::try_from(error.retry_after_s).unwrap_or(u16::MAX));
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self { retry_after_s, ..Self::new(status, "too-many-attempts", error.to_string()) }
    }
}

impl From<OverBudget> for Problem {
    fn from(error: OverBudget) -> Self {
        let retry_after_s = Some(u16::try_from(error.retry_after_s).unwrap_or(u16::MAX));
        Self { retry_after_s, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "over-budget", error.to_string()) }
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        let detail = error.to_string();
        match error {
            IdentityError::Throttled(throttled) => throttled.into(),
            IdentityError::Unavailable(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "provider-unavailable", detail),
            IdentityError::Passwords(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail),
            error if error.is_bad_request() => Self::new(StatusCode::BAD_REQUEST, "bad-credential", detail),
            // the right password of an address that waits would tell whether the address was free
            IdentityError::NotConfirmed => IdentityError::Password.into(),
            _ => Self::new(StatusCode::UNAUTHORIZED, "invalid-credential", detail),
        }
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
            handle::Error::Refused(Refusal::IdentityInUse) => {
                Self::new(StatusCode::CONFLICT, "identity-in-use", detail)
            }
            handle::Error::Refused(Refusal::NoSuchIdentity) => {
                Self::new(StatusCode::NOT_FOUND, "no-such-identity", detail)
            }
            handle::Error::Refused(Refusal::TooManyIdentities) => {
                Self::new(StatusCode::CONFLICT, "too-many-identities", detail)
            }
            handle::Error::Refused(Refusal::LastIdentity) => Self::new(StatusCode::CONFLICT, "last-identity", detail),
            handle::Error::Refused(Refusal::ProviderLinked) => {
                Self::new(StatusCode::CONFLICT, "provider-linked", detail)
            }
            handle::Error::Refused(Refusal::Anonymous) => Self::new(StatusCode::FORBIDDEN, "anonymous", detail),
            handle::Error::Refused(Refusal::NotAnonymous) => Self::new(StatusCode::CONFLICT, "not-anonymous", detail),
            handle::Error::Refused(Refusal::TooManyAliases) => {
                Self::new(StatusCode::CONFLICT, "too-many-aliases", detail)
            }
            handle::Error::Refused(Refusal::KeyNameTaken) => Self::new(StatusCode::CONFLICT, "key-name-taken", detail),
            handle::Error::Refused(Refusal::TooManyKeys) => Self::new(StatusCode::CONFLICT, "too-many-keys", detail),
            handle::Error::Refused(Refusal::NoSuchKey) => Self::new(StatusCode::NOT_FOUND, "no-such-key", detail),
            handle::Error::Refused(Refusal::StaleProof) => {
                Self::new(StatusCode::UNAUTHORIZED, "invalid-credential", detail)
            }
            handle::Error::Refused(Refusal::Credential(refusal)) => match refusal {
                CredentialRefusal::BadToken => Self::new(StatusCode::BAD_REQUEST, "bad-token", detail),
                CredentialRefusal::ExpiredToken => Self::new(StatusCode::BAD_REQUEST, "expired-token", detail),
                _ => Self::new(StatusCode::CONFLICT, "credential-changed", detail),
            },
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

pub(super) fn respond(context: &Context, answer: Answer) -> HttpResponse {
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
            let challenge = if matches!(problem.code, "no-token" | "no-reader") {
                "Bearer"
            } else {
                r#"Bearer error="invalid_token""#
            };
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

/// Tokens of a session, and who became part of its user.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what a PlainObject writes")]
pub struct LinkAnswer {
    #[serde(flatten)]
    #[schema(inline)]
    tokens: SessionTokens,
    /// After a merge: the id that is an alias from now on.
    merged_user_id: Option<String>,
}

/// The tokens of a session, or its cookie and no token (S18).
fn tokens(
    request: &HttpRequest,
    status: StatusCode,
    context: &Context,
    live: &LoggedIn,
    of: Of,
    merged_user: Option<&UserId>,
) -> HttpResponse {
    if of.kind == SessionKind::Cookie {
        let mut response = session_body(status, &live.user, live.session, merged_user);
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
        .with("access_token", |out| server.tokens.access_into(&access, out))
        .number("expires_in", ACCESS_TTL_S)
        .with("refresh_token", |out| server.tokens.refresh_into(&refresh, out));
    let body = match merged_user {
        None => body,
        Some(user) => body.text("merged_user_id", user.encode(&mut [0; 36])),
    };
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// What tokens say beyond whose they are.
struct Of {
    kind: SessionKind,
    counter: u16,
    lasting: bool,
}

/// Of a session that has just begun on this API.
const fn new_session(kind: SessionKind, lasting: bool) -> Of {
    Of { kind, counter: 0, lasting }
}

/// Logs in: without a provider (or with `anon-user`) as a new anonymous user, otherwise as the owner of the identity that
/// the credential proves, who is made if there is none. The body may be left out. With `mode` `cookie`
/// the answer holds no token and sets a reader's cookie; while that lives, it is the same reader again (200).
#[utoipa::path(post, path = "/v1/sessions", tag = "Passerby",
    request_body(content = Option<Object>,
        description = "nothing, or `mode` (`bearer`, or `cookie` for a reader's cookie instead of tokens), `provider` and what the provider asks for: `email` and `password` for `local-userpass`, `key` for `api-key`, `token` for `custom-token`, `id_token` or `code` and `code_verifier` for OpenID Connect, `code` for `transfer`"),
    responses((status = 200, body = Object, description = "the reader of the live cookie: `user_id`, `session_id`"),
        (status = 201, body = SessionTokens), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
async fn create_session(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        let body = body::read_object(&request, &context, payload).await?;
        let kind = match body.get("mode").map(Value::as_str) {
            None | Some(Some("bearer")) => SessionKind::V1,
            Some(Some("cookie")) => SessionKind::Cookie,
            _ => {
                let detail = "mode must be \"bearer\" or \"cookie\"";
                return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown-mode", detail));
            }
        };
        if kind == SessionKind::Cookie && !reader::is_own(&request, &context) {
            return Err(Problem::cross_site());
        }
        if body.get("provider").is_none_or(|provider| provider == ANON_USER) {
            if !context.server.providers.anon_user_enabled {
                let detail = "anonymous logins are switched off";
                return Err(Problem::new(StatusCode::FORBIDDEN, "provider-disabled", detail));
            }
            if kind == SessionKind::Cookie {
                return by_cookie(&request, &context).await;
            }
            spend(&request, &context, Spend::Create)?;
            let live = context.handle.login(kind, IdForm::TimeOrdered).await?;
            return Ok(tokens(&request, StatusCode::CREATED, &context, &live, new_session(kind, false), None));
        }
        if body.get("provider").is_some_and(|provider| provider == TRANSFER) {
            return transferred(&request, &context, &body, kind).await;
        }
        let proof = prove(&request, &context, &body, false).await?;
        let log_in = context.server.linker.log_in(proof, kind, DeviceId::default(), IdForm::TimeOrdered);
        let live = within_time(&context, log_in).await?;
        Ok(tokens(&request, StatusCode::CREATED, &context, &live, new_session(kind, true), None))
    };
    respond(&context, answer.await)
}

/// What [`create_session`] calls a code of `POST /v1/session/transfer`.
const TRANSFER: &str = "transfer";

/// The reader of the live cookie, the one whom a lazy cookie names, or a new one; without a token in the answer (S18).
async fn by_cookie(request: &HttpRequest, context: &Context) -> Answer {
    let found = match reader::look(request, context)? {
        Found::Reader(live, cookie) => {
            let session = SessionId::derive(&live.user, live.number);
            let mut response = session_body(StatusCode::OK, &live.user, session, None);
            reader::slide(&mut response, request, context, &live, &cookie);
            return Ok(response);
        }
        Found::Lazy(cookie) => {
            spend(request, context, Spend::Create)?;
            match context.handle.make_lazily(&cookie.user).await {
                Err(handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => None,
                other => Some(other?),
            }
        }
        Found::Nobody => None,
    };
    let live = match found {
        Some(live) => live,
        None => {
            spend(request, context, Spend::Create)?;
            context.handle.login(SessionKind::Cookie, IdForm::TimeOrdered).await?
        }
    };
    Ok(tokens(request, StatusCode::CREATED, context, &live, new_session(SessionKind::Cookie, false), None))
}

fn session_body(status: StatusCode, user: &UserId, session: SessionId, merged: Option<&UserId>) -> HttpResponse {
    let body =
        PlainObject::new().text("user_id", user.encode(&mut [0; 36])).text("session_id", session.encode(&mut [0; 24]));
    let body = match merged {
        None => body,
        Some(user) => body.text("merged_user_id", user.encode(&mut [0; 36])),
    };
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// Another session of the user whose session gave the code out, if that one still lives.
async fn transferred(request: &HttpRequest, context: &Context, body: &Map<String, Value>, kind: SessionKind) -> Answer {
    let server = &context.server;
    let code = body.get("code").and_then(Value::as_str).ok_or_else(|| Problem::missing_field("code"))?;
    spend(request, context, Spend::Link)?;
    let refused = || Problem::from(IdentityError::Code);
    let Transfer { user, session } = server.codes.transfers.redeem(code, server.clock().now()).ok_or_else(refused)?;
    let opening = context.handle.open_session(&user, kind, DeviceId::default(), Some(session));
    let opened = match within_time(context, opening).await {
        Err(handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => return Err(refused()),
        other => other?,
    };
    let (session, lasting) = (SessionId::derive(&user, opened.number), !opened.anonymous_at_start);
    let live = LoggedIn { user, number: opened.number, session, epoch: opened.epoch };
    Ok(tokens(request, StatusCode::CREATED, context, &live, new_session(kind, lasting), None))
}

/// What the credential in a body proves. `peek` leaves a code that works once as it is.
async fn prove(
    request: &HttpRequest,
    context: &Context,
    body: &Map<String, Value>,
    peek: bool,
) -> Result<Proof, Problem> {
    let name = body.get("provider").and_then(Value::as_str).unwrap_or_default();
    let server = &context.server;
    if name == ANON_USER {
        let detail = "an anonymous identity cannot be linked";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "anonymous-identity", detail));
    }
    let Some(provider) = server.providers.get(name) else {
        return Err(if server.providers.knows(name) {
            Problem::provider_disabled()
        } else {
            Problem::unknown_provider()
        });
    };
    spend(request, context, Spend::Link)?;
    if body.contains_key("code") && server.providers.oidc(name).is_some() {
        return Ok(browser_login::finished(context, name, body, peek)?);
    }
    Ok(identities::prove(server, &**provider, body, client(request, context)).await?)
}

/// Design §6: what happens if the identity has another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnConflict {
    Reject,
    Switch,
    Merge,
}

impl OnConflict {
    fn of(body: &Map<String, Value>) -> Result<Self, Problem> {
        match body.get("on_conflict").map(Value::as_str) {
            None | Some(Some("reject")) => Ok(Self::Reject),
            Some(Some("switch")) => Ok(Self::Switch),
            Some(Some("merge")) => Ok(Self::Merge),
            _ => {
                let detail = "on_conflict must be \"reject\", \"switch\" or \"merge\"";
                Err(Problem::new(StatusCode::BAD_REQUEST, "unknown-on-conflict", detail))
            }
        }
    }
}

/// An identity of a user.
#[derive(Serialize, ToSchema)]
pub struct IdentityView {
    #[schema(example = "custom-token")]
    provider: String,
    /// Who it is at the provider.
    id: String,
    /// When it was linked (RFC 3339); for the anonymous identity, when the user was made.
    #[schema(example = "2026-01-31T12:00:00Z")]
    linked: String,
}

/// The identities of a user, in link order.
#[derive(Serialize, ToSchema)]
pub struct Identities {
    identities: Vec<IdentityView>,
}

/// The access token's user's identities.
#[utoipa::path(get, path = "/v1/user/identities", tag = "Passerby", security(("access_token" = [])),
    responses((status = 200, body = Identities), (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json")))]
async fn list_identities(request: HttpRequest, context: web::Data<Context>) -> HttpResponse {
    let answer = authenticate(&request, &context).and_then(|live| {
        let user = context.handle.load(&live.user).ok_or(handle::Error::Refused(Refusal::Gone))?;
        let anonymous =
            IdentityView { provider: ANON_USER.to_owned(), id: user.id.anonymous_identity(), linked: made(&user) };
        let was_anonymous = !user.record.flags.has(Flags::BORN_LASTING);
        let clock = context.server.clock();
        let linked = user.identities().iter().map(|identity| IdentityView {
            provider: identity.key.provider.to_string(),
            id: identities::shown_id(identity),
            linked: rfc3339(clock.to_wall_s(identity.linked)),
        });
        let identities = was_anonymous.then_some(anonymous).into_iter().chain(linked).collect();
        Ok(json(StatusCode::OK, JSON, &Identities { identities }))
    });
    respond(&context, answer)
}

/// What a link would do.
#[derive(Serialize, ToSchema)]
pub struct LinkPreview {
    /// `unchanged`: the user has the identity. `linked`: nobody has it. `rejected`, `switched`, `merged`: another user has it.
    #[schema(example = "merged")]
    outcome: &'static str,
    /// Whose session the answer would be.
    user_id: String,
    /// Who would become part of that user.
    #[serde(skip_serializing_if = "Option::is_none")]
    merged_user_id: Option<String>,
    /// When the user of the answer would count as made (RFC 3339), if it were a merge.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// Why it would be rejected: the `code` of the problem that the request would be answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "identity-in-use")]
    code: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

fn preview(context: &Context, live: &Live, proof: &Proof, on_conflict: OnConflict) -> Answer {
    let server = &context.server;
    let bare = |outcome, user: UserId| LinkPreview {
        outcome,
        user_id: user.to_string(),
        merged_user_id: None,
        created: None,
        code: None,
        reason: None,
    };
    let rejected = |refusal: Refusal| {
        let problem = Problem::from(handle::Error::Refused(refusal));
        LinkPreview { code: Some(problem.code), reason: Some(problem.detail), ..bare("rejected", live.user) }
    };
    let found = match server.linker.preview(&live.user, live.number, proof, &server.merge_policy()) {
        Ok(found) => found,
        // about the session, not about the identity
        Err(error @ handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded | Refusal::Disabled)) => {
            return Err(error.into());
        }
        Err(handle::Error::Refused(refusal)) => return Ok(json(StatusCode::OK, JSON, &rejected(refusal))),
        Err(other) => return Err(other.into()),
    };
    let view = match (found, on_conflict) {
        (Preview::Unchanged, _) => bare("unchanged", live.user),
        (Preview::Linked, _) => bare("linked", live.user),
        (Preview::Owned { .. }, OnConflict::Reject) => rejected(Refusal::IdentityInUse),
        (Preview::Owned { .. }, _) if proof.of_known_user => rejected(Refusal::IdentityInUse),
        (Preview::Owned { owner, .. }, OnConflict::Switch) => bare("switched", owner),
        (Preview::Owned { merged: Err(refusal), .. }, OnConflict::Merge) => rejected(refusal),
        (Preview::Owned { owner, merged: Ok(survivor) }, OnConflict::Merge) => LinkPreview {
            merged_user_id: Some(live.user.to_string()),
            created: Some(made(&survivor)),
            ..bare("merged", owner)
        },
    };
    Ok(json(StatusCode::OK, JSON, &view))
}

/// Links the identity that the credential proves to the access token's user, who is from then on a lasting account. The
/// answer's tokens replace those before. If the identity has another user, `on_conflict` says what happens: `reject` (the
/// default) changes nothing, `switch` logs in as that user and leaves this one as it is, `merge` makes this one, who must be
/// anonymous, part of that one: its data joins, its id becomes an alias, its sessions end, and the answer is a session of
/// that user with `merged_user_id`. A merge whose answer was lost can be asked for again within 10 minutes, with the token
/// that it ended. `dry_run` answers what would happen and does nothing.
#[utoipa::path(post, path = "/v1/user/identities", tag = "Passerby", security(("access_token" = [])),
    request_body(content = Object, description = "`provider`, what it asks for, `on_conflict`, `dry_run`"),
    responses((status = 200, body = LinkAnswer), (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 429, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
async fn link_identity(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        let body = body::read_object(&request, &context, payload).await?;
        let on_conflict = OnConflict::of(&body)?;
        let dry_run = match body.get("dry_run") {
            None => false,
            Some(Value::Bool(dry_run)) => *dry_run,
            Some(_) => {
                let detail = "dry_run must be true or false";
                return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-field", detail));
            }
        };
        let live = match authenticate(&request, &context) {
            Ok(live) => live,
            Err(problem) if on_conflict == OnConflict::Merge && !dry_run => {
                return merge_again(&request, &context, &body, problem).await;
            }
            Err(problem) => return Err(problem),
        };
        fresh(&context, &live)?;
        // a code that works once is used up when it has worked
        let proof = prove(&request, &context, &body, true).await?;
        if dry_run {
            return preview(&context, &live, &proof, on_conflict);
        }
        let (server, opens) = (&context.server, (live.kind, DeviceId::default()));
        let linked = match on_conflict {
            OnConflict::Merge => {
                let merge = server.linker.merge(live.user, live.number, proof, opens, server.merge_policy());
                match within_time(&context, merge).await? {
                    Joined::Linked(linked) => linked,
                    Joined::Merged(into) => {
                        use_up(&context, &body);
                        return Ok(merged(&request, &context, &into, live.kind, &live.user));
                    }
                }
            }
            OnConflict::Switch | OnConflict::Reject => {
                match within_time(&context, server.linker.link(live.user, live.number, proof.clone())).await {
                    Err(handle::Error::Refused(Refusal::IdentityInUse))
                        if on_conflict == OnConflict::Switch && !proof.of_known_user =>
                    {
                        // of an owner who vanishes meanwhile no new user is made
                        let proof = Proof { of_known_user: true, ..proof };
                        let log_in = server.linker.log_in(proof, live.kind, DeviceId::default(), IdForm::TimeOrdered);
                        within_time(&context, log_in).await?
                    }
                    linked => linked?,
                }
            }
        };
        use_up(&context, &body);
        // of a link that was there already, the session and its refresh token go on
        let user = context.handle.load(&linked.user);
        let sessions = user.map(|user| user.sessions()).unwrap_or_default();
        let counter = sessions.iter().find(|s| s.number == linked.number).map_or(0, |s| s.refresh_counter);
        Ok(tokens(&request, StatusCode::OK, &context, &linked, Of { kind: live.kind, counter, lasting: true }, None))
    };
    respond(&context, answer.await)
}

/// Uses up the code of a browser login, if the body holds one.
fn use_up(context: &Context, body: &Map<String, Value>) {
    if let Some(code) = body.get("code").and_then(Value::as_str) {
        let server = &context.server;
        drop(server.codes.finished.redeem(code, server.clock().now()));
    }
}

fn merged(
    request: &HttpRequest,
    context: &Context,
    into: &LoggedIn,
    kind: SessionKind,
    source: &UserId,
) -> HttpResponse {
    tokens(request, StatusCode::OK, context, into, Of { kind, counter: 0, lasting: true }, Some(source))
}

/// The answer to a merge once more, for a client that lost it: its user is an alias of the very user whom the credential
/// proves (design §6). Otherwise what the token's check said.
async fn merge_again(request: &HttpRequest, context: &Context, body: &Map<String, Value>, problem: Problem) -> Answer {
    let server = &context.server;
    let ended = bearer(request).and_then(|token| server.tokens.verify_access_at_any_time(token).ok());
    let Some(ended) = ended.filter(|ended| server.store.registry().survivor(&ended.user).is_some()) else {
        return Err(problem);
    };
    let proof = prove(request, context, body, false).await?;
    let again = server.linker.repeat_merge(ended.user, proof, (ended.kind, DeviceId::default()));
    match within_time(context, again).await {
        Ok(into) => Ok(merged(request, context, &into, ended.kind, &ended.user)),
        Err(handle::Error::Refused(_)) => Err(problem),
        Err(other) => Err(other.into()),
    }
}

/// Takes an identity off the access token's user; never the last.
#[utoipa::path(delete, path = "/v1/user/identities/{provider}/{id}", tag = "Passerby", security(("access_token" = [])),
    params(("provider" = String, Path, description = "as listed"), ("id" = String, Path, description = "as listed")),
    responses((status = 204), (status = 401, body = Problem, content_type = "application/problem+json"),
        (status = 403, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json"),
        (status = 503, body = Problem, content_type = "application/problem+json")))]
async fn unlink_identity(
    request: HttpRequest,
    context: web::Data<Context>,
    path: web::Path<(String, String)>,
    payload: web::Payload,
) -> HttpResponse {
    let answer = async {
        body::discard(&request, &context, payload).await?;
        let live = authenticate(&request, &context)?;
        fresh(&context, &live)?;
        let user = context.handle.load(&live.user).ok_or(handle::Error::Refused(Refusal::Gone))?;
        let (provider, id) = path.into_inner();
        let named = |identity: &&Identity| *identity.key.provider == *provider && identities::shown_id(identity) == id;
        let found = user.identities().iter().find(named);
        let key = found.ok_or(handle::Error::Refused(Refusal::NoSuchIdentity))?.key.clone();
        within_time(&context, context.server.linker.unlink(live.user, key)).await?;
        Ok(HttpResponse::NoContent().finish())
    };
    respond(&context, answer.await)
}

/// The live session of an access token, or of a reader's cookie; if there is a token, the cookie is ignored.
fn authenticate(request: &HttpRequest, context: &Context) -> Result<Live, Problem> {
    if request.headers().contains_key(header::AUTHORIZATION) || !request.headers().contains_key(header::COOKIE) {
        return by_bearer(request, context);
    }
    match reader::look(request, context)? {
        Found::Reader(live, _) if reader::is_own(request, context) => Ok(live),
        Found::Reader(..) => Err(Problem::cross_site()),
        Found::Lazy(_) | Found::Nobody => Err(Problem::no_reader()),
    }
}

/// The live session of an access token.
pub(super) fn by_bearer(request: &HttpRequest, context: &Context) -> Result<Live, Problem> {
    let token = bearer(request).ok_or_else(Problem::no_token)?;
    let access = match context.server.tokens.verify_access(token, context.server.wall_s()) {
        Err(error) if error.is_guess() => {
            spend(request, context, Spend::BadToken)?;
            return Err(error.into());
        }
        other => other?,
    };
    Ok(context.handle.check(&access.user, &access.session, Some(access.epoch))?)
}

/// Whether the session of a lasting account is young enough to change how the account is logged in to (S40).
fn fresh(context: &Context, live: &Live) -> Result<(), Problem> {
    if context.server.is_fresh(live) {
        return Ok(());
    }
    let detail = "this needs a session that has just begun: log in again";
    Err(Problem::new(StatusCode::FORBIDDEN, "fresh-login-needed", detail))
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
    /// Ids of users who became part of this one, if there are any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
}

/// When a user was made.
fn made(user: &UserState) -> String {
    rfc3339(i64::try_from(user.created_ms() / 1000).unwrap_or(i64::MAX))
}

pub(super) fn rfc3339(unix_s: i64) -> String {
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
        let view = SessionView {
            user_id: user.id.to_string(),
            session_id: SessionId::derive(&live.user, live.number).to_string(),
            anonymous: user.record.is_anonymous(),
            created: made(&user),
            last_seen: shown(user.record.last_seen),
            expires: user.record.deadline(policy.window_s).map(shown),
            aliases: user.aliases().iter().map(|alias| alias.id.to_string()).collect(),
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
        let refresh = match context.server.tokens.verify_refresh(token) {
            Err(error) if error.is_guess() => {
                spend(&request, &context, Spend::BadToken)?;
                return Err(error.into());
            }
            other => other?,
        };
        if refresh.kind != SessionKind::V1 {
            return Err(Problem::wrong_token());
        }
        let live = context.handle.check(&refresh.user, &refresh.session, None)?;
        let counter = within_time(&context, context.handle.rotate(&live.user, live.number, refresh.counter)).await?;
        let lasting = !live.record.is_anonymous();
        let live = LoggedIn { user: live.user, number: live.number, session: refresh.session, epoch: live.epoch };
        Ok(tokens(&request, StatusCode::OK, &context, &live, Of { kind: SessionKind::V1, counter, lasting }, None))
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
        if leaves_before_being_made(&request, &context)? {
            return Ok(gone(&request, &context));
        }
        let live = authenticate(&request, &context)?;
        within_time(&context, context.handle.logout(&live.user, live.number)).await?;
        Ok(gone(&request, &context))
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
        if leaves_before_being_made(&request, &context)? {
            return Ok(gone(&request, &context));
        }
        let live = authenticate(&request, &context)?;
        within_time(&context, context.handle.delete(&live.user)).await?;
        Ok(gone(&request, &context))
    };
    respond(&context, answer.await)
}

/// Whether a reader whom nothing is kept about wants to be forgotten: then the browser's cookie is all there is to end.
fn leaves_before_being_made(request: &HttpRequest, context: &Context) -> Result<bool, Problem> {
    if request.headers().contains_key(header::AUTHORIZATION) || !request.headers().contains_key(header::COOKIE) {
        return Ok(false);
    }
    match reader::look(request, context)? {
        Found::Lazy(_) if reader::is_own(request, context) => Ok(true),
        Found::Lazy(_) => Err(Problem::cross_site()),
        Found::Reader(..) | Found::Nobody => Ok(false),
    }
}

/// 204; and a browser is told to forget what it kept for us, its cookie above all (S20).
fn gone(request: &HttpRequest, context: &Context) -> HttpResponse {
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

/// The public keys that access tokens can be checked with (RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Passerby", responses((status = 200, body = Object)))]
async fn jwks(context: web::Data<Context>) -> HttpResponse {
    let mut response = json(StatusCode::OK, JSON, &context.server.tokens.jwks());
    let fresh = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert(header::CACHE_CONTROL, fresh);
    respond(&context, Ok(response))
}
