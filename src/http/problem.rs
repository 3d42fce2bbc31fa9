//! What Passerby's own API answers when something is wrong: RFC 9457 problem details.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::{CredentialRefusal, DocumentRefusal, Refusal};
use passerby_actors::handle;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::bearer::NoToken;
use super::body::BodyError;
use super::context::{Context, NO_STORE, json, retry_after_s};
use super::endpoint::ApiError;
use super::fields::Refused;
use crate::codes::Full;
use crate::limits::budget::{OverBudget, Why};
use crate::limits::places::NoPlace;
use crate::limits::throttle::Throttled;
use crate::provider::identity::IdentityError;
use crate::server::Server;
use crate::token::TokenError;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a session that an API key began may not do something.
pub(crate) const KEY_SESSION: &str =
    "a session that an API key began may use the account's data and nothing else: log in in another way";

/// An error as RFC 9457 wants it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Names the kind of problem, as a URI.
    #[serde(rename = "type")]
    #[schema(example = "urn:passerby:problem:session-ended")]
    kind: String,
    /// The status in words.
    #[schema(example = "Unauthorized")]
    title: &'static str,
    /// The status again.
    #[schema(example = 401)]
    status: u16,
    /// What happened here, for people.
    #[schema(example = "the session has ended")]
    pub(crate) detail: String,
    /// The last part of `type`, for programs. Each operation lists its own; new ones may come.
    #[schema(example = "session-ended")]
    code: &'static str,
    #[serde(skip)]
    retry_after_s: Option<u16>,
    /// What else of it programs need (RFC 9457 §3.2).
    #[serde(skip)]
    more: Map<String, Value>,
}

/// What is sent of a problem.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:passerby:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            code,
            retry_after_s: None,
            more: Map::new(),
        }
    }

    /// The same with one more member.
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    /// The same status and waiting time with a different code.
    pub(crate) fn renamed(self, code: &'static str, detail: String) -> Self {
        Self { kind: format!("urn:passerby:problem:{code}"), code, detail, ..self }
    }

    pub(crate) fn unauthorized(code: &'static str, detail: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
    }

    /// As a client may be told now: it drops its identity on a 401, which must mean "known to be dead"; and a 503 says when to come
    /// again.
    pub(crate) fn told_now(self, server: &Server) -> Self {
        let dead = self.status == StatusCode::UNAUTHORIZED.as_u16();
        let problem = if dead && !server.may_refuse() { handle::Error::NotWritable.into() } else { self };
        let retry_after_s = problem.retry_after_s.or_else(|| (problem.status == 503).then(|| retry_after_s(server)));
        Self { retry_after_s, ..problem }
    }

    /// What happened here.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The same as a 403, for proxies that support no other refusal.
    pub(crate) fn forbidden(self) -> Self {
        let Self { kind, code, detail, retry_after_s, more, .. } = self;
        Self { kind, retry_after_s, more, ..Self::new(StatusCode::FORBIDDEN, code, detail) }
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Seconds after which another try makes sense, if that is known.
    pub(crate) fn retry_after_s(&self) -> Option<u16> {
        self.retry_after_s
    }

    /// The last part of `type`.
    pub(crate) fn code(&self) -> &'static str {
        self.code
    }

    pub(crate) fn cross_site() -> Self {
        let detail = "a change by cookie must come from the site itself: Sec-Fetch-Site or Origin does not say so";
        Self::new(StatusCode::FORBIDDEN, "cross-site", detail)
    }

    /// For a session that an API key began, and what only the account's owner may do.
    pub(crate) fn insufficient_scope() -> Self {
        Self::new(StatusCode::FORBIDDEN, "insufficient-scope", KEY_SESSION)
    }

    /// For a check that finds no user.
    pub(crate) fn no_reader() -> Self {
        Self::unauthorized("no-reader", "neither a Bearer token nor a reader's cookie")
    }

    pub(crate) fn wrong_token() -> Self {
        Self::unauthorized("wrong-token", "this endpoint needs a different kind of token")
    }

    pub(crate) fn no_token() -> Self {
        Self::unauthorized("no-token", "an Authorization header with a Bearer token is needed")
    }

    pub(crate) fn provider_disabled() -> Self {
        Self::new(StatusCode::FORBIDDEN, "provider-disabled", "this provider is switched off")
    }

    pub(crate) fn unknown_provider() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unknown-provider", "there is no such provider")
    }

    pub(crate) fn no_such_meter() -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-meter", "there is no meter of this name")
    }

    fn too_many_sockets(detail: impl Into<String>) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-sockets", detail) }
    }

    /// A field with a value that it may not have.
    pub(crate) fn bad_field(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-field", detail)
    }

    pub(crate) fn missing_field(field: &str) -> Self {
        Self::bad_field(format!("the body needs the text {field:?}"))
    }

    /// Fields that are known nowhere here: one that was meant is misspelled, and would not be done.
    pub(crate) fn unknown_fields(refused: Refused) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-field", refused.to_string())
    }

    /// A name in the query of a request that has no query.
    pub(crate) fn not_in_query(name: &str) -> Self {
        let detail = format!("{name:?} stands in the query, and this request has none");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unknown-field", detail)
    }

    /// Fields that only a different provider or mode has.
    pub(crate) fn misplaced_fields(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "misplaced-field", detail)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is nothing at this path")
    }

    pub(crate) fn bad_preflight() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-preflight", "this origin may not do this")
    }

    /// The answer to a request, which is counted if it is a refusal.
    pub(crate) fn respond(self, context: &Context) -> HttpResponse {
        let problem = self.told_now(&context.server);
        context.server.count_refusal(problem.status, Some(problem.code));
        problem.response(context)
    }

    /// The answer to a request.
    pub(crate) fn response(self, context: &Context) -> HttpResponse {
        let problem = self.told_now(&context.server);
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &Sent { problem: &problem, more: &problem.more });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        if let Some(seconds) = problem.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6750 §3: without a token no error is named
            let has_none = matches!(problem.code, "no-token" | "no-reader");
            let challenge = if has_none { "Bearer" } else { r#"Bearer error="invalid_token""# };
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        let (name, value) = NO_STORE;
        headers.insert(name, value);
        response
    }
}

impl ApiError for Problem {
    fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "this path does not know this method")
    }

    fn answer(self, _: &HttpRequest, context: &Context) -> HttpResponse {
        self.respond(context)
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Self {
        let detail = error.to_string();
        let (status, code) = match error {
            BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large"),
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "body-too-slow"),
            BodyError::Broken | BodyError::NotJson | BodyError::NotAnObject => (StatusCode::BAD_REQUEST, "bad-body"),
            BodyError::Twice(_) => (StatusCode::UNPROCESSABLE_ENTITY, "duplicate-field"),
            BodyError::Inexact(_) => (StatusCode::UNPROCESSABLE_ENTITY, "inexact-number"),
        };
        Self::new(status, code, detail)
    }
}

impl From<Throttled> for Problem {
    fn from(error: Throttled) -> Self {
        let retry_after_s = Some(u16::try_from(error.retry_after_s).unwrap_or(u16::MAX));
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self { retry_after_s, ..Self::new(status, "too-many-attempts", error.to_string()) }
    }
}

impl From<Full> for Problem {
    fn from(error: Full) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", error.to_string())
    }
}

impl From<NoPlace> for Problem {
    fn from(error: NoPlace) -> Self {
        match error {
            NoPlace::Full => {
                let detail = "the server has as many sockets as it may";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail)
            }
            NoPlace::OfNetwork => Self::too_many_sockets("too many sockets are open from this network"),
        }
    }
}

impl From<OverBudget> for Problem {
    fn from(error: OverBudget) -> Self {
        if error.why == Why::Blocked {
            return Self::new(StatusCode::FORBIDDEN, "network-blocked", error.to_string());
        }
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
        let unavailable = |code| (StatusCode::SERVICE_UNAVAILABLE, code);
        let (status, code) = match error {
            handle::Error::Refused(Refusal::WrongKind) => return Self::wrong_token(),
            handle::Error::Refused(refusal) => of_refusal(refusal),
            handle::Error::TooManySockets => return Self::too_many_sockets(detail),
            handle::Error::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too-many-changes"),
            handle::Error::Capacity => unavailable("capacity"),
            handle::Error::OutcomeUnknown => unavailable("outcome-unknown"),
            handle::Error::NotWritable => unavailable("not-writable"),
            handle::Error::Overloaded => unavailable("overloaded"),
            handle::Error::Busy => unavailable("busy"),
            handle::Error::Quarantined => unavailable("quarantined"),
            handle::Error::Stopping => unavailable("stopping"),
            handle::Error::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        let retry_after_s = match error {
            handle::Error::Capacity => Some(60),
            handle::Error::TooMany => Some(1),
            _ => None,
        };
        Self { retry_after_s, ..Self::new(status, code, detail) }
    }
}

/// The status and the code of what the domain refuses.
fn of_refusal(refusal: Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::Gone | Refusal::SessionEnded => (StatusCode::UNAUTHORIZED, "session-ended"),
        Refusal::WrongKind => (StatusCode::UNAUTHORIZED, "wrong-token"),
        Refusal::StaleProof => (StatusCode::UNAUTHORIZED, "invalid-credential"),
        Refusal::Disabled => (StatusCode::FORBIDDEN, "user-disabled"),
        Refusal::Anonymous => (StatusCode::FORBIDDEN, "anonymous"),
        Refusal::NoSuchIdentity => (StatusCode::NOT_FOUND, "no-such-identity"),
        Refusal::NoSuchKey => (StatusCode::NOT_FOUND, "no-such-key"),
        Refusal::UserExists => (StatusCode::CONFLICT, "user-exists"),
        Refusal::IdentityInUse => (StatusCode::CONFLICT, "identity-in-use"),
        Refusal::TooManyIdentities => (StatusCode::CONFLICT, "too-many-identities"),
        Refusal::LastIdentity => (StatusCode::CONFLICT, "last-identity"),
        Refusal::ProviderLinked => (StatusCode::CONFLICT, "provider-linked"),
        Refusal::NotAnonymous => (StatusCode::CONFLICT, "not-anonymous"),
        Refusal::KeyNameTaken => (StatusCode::CONFLICT, "key-name-taken"),
        Refusal::TooManyKeys => (StatusCode::CONFLICT, "too-many-keys"),
        Refusal::SessionsUsedUp => (StatusCode::CONFLICT, "sessions-used-up"),
        Refusal::Meter(_) => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused"),
        Refusal::Document(refusal) => match refusal {
            DocumentRefusal::TooDeep => (StatusCode::BAD_REQUEST, "data-too-deep"),
            DocumentRefusal::Patch(_) => (StatusCode::CONFLICT, "patch-conflict"),
            DocumentRefusal::NotAnObject => (StatusCode::CONFLICT, "not-an-object"),
            DocumentRefusal::NotANumber => (StatusCode::CONFLICT, "not-a-number"),
            DocumentRefusal::Overflow => (StatusCode::CONFLICT, "number-too-large"),
            DocumentRefusal::Version(_) => (StatusCode::PRECONDITION_FAILED, "version-mismatch"),
            DocumentRefusal::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "data-too-large"),
            DocumentRefusal::TooCostly(_) => (StatusCode::UNPROCESSABLE_ENTITY, "patch-too-costly"),
            DocumentRefusal::Inexact => (StatusCode::UNPROCESSABLE_ENTITY, "inexact-number"),
            DocumentRefusal::OtherOperation => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused"),
            DocumentRefusal::Full => (StatusCode::INSUFFICIENT_STORAGE, "data-full"),
        },
        Refusal::Credential(CredentialRefusal::BadToken) => (StatusCode::BAD_REQUEST, "bad-token"),
        Refusal::Credential(CredentialRefusal::ExpiredToken) => (StatusCode::BAD_REQUEST, "expired-token"),
        Refusal::Credential(_) => (StatusCode::CONFLICT, "credential-changed"),
    }
}

impl From<NoToken> for Problem {
    fn from(error: NoToken) -> Self {
        match error {
            NoToken::Missing => Self::no_token(),
            NoToken::Refused(error) => error.into(),
            NoToken::OverBudget(over) => over.into(),
        }
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

pub(crate) type Answer = Result<HttpResponse, Problem>;
