//! Passerby's own API under `/v1`, Bearer mode; errors are RFC 9457 problem details. And the public keys.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use passerby_actors::actor::{Proof, USERS_PER_ENDED};
use passerby_actors::domain::{
    DeviceId, LOCAL_USERPASS, Refusal, ServiceTime, SessionId, SessionKind, UserId, UserState,
};
use passerby_actors::handle::{self, IdForm, Live, LoggedIn};
use passerby_actors::store::Store as _;
use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::fields::{OF_CREDENTIALS, only, without_nulls};
use super::identities;
use super::openapi::{Jwks, LoginRequest, NewSession, ReaderSession};
use super::plain::PlainObject;
use super::reader::{self, Found};
use super::{Context, JSON, bearer, body, came_back, client, other_method, spend, went, within_time};
use crate::budget::Spend;
use crate::provider::ANON_USER;
use crate::provider::identity::IdentityError;
use crate::server::Transfer;
use crate::token::RefreshClaims;

pub(crate) mod api_keys;
pub(crate) mod browser_login;
pub(crate) mod challenge;
pub(crate) mod data;
pub(crate) mod export;
mod fields;
pub(crate) mod linking;
pub(crate) mod meters;
mod problem;
pub(crate) mod sessions;
pub(crate) mod userpass;

use self::challenge::{afford, afford_password, prove_work};
pub(crate) use self::fields::none as no_fields;
use self::linking::Absorbed;
pub use self::problem::Problem;
pub(crate) use self::problem::respond;
use self::problem::{Answer, json};

/// Adds the routes.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/v1/sessions").post(create_session).default_service(other_method("POST")))
        .service(
            web::resource("/v1/session").get(session).delete(end_session).default_service(other_method("GET, DELETE")),
        )
        .service(web::resource("/v1/session/refresh").post(refresh_session).default_service(other_method("POST")))
        .service(web::resource("/v1/user").delete(delete_user).default_service(other_method("DELETE")))
        .service(web::resource("/.well-known/jwks.json").get(jwks).default_service(other_method("GET")))
        .configure(linking::routes)
        .configure(sessions::routes)
        .configure(userpass::routes)
        .configure(api_keys::routes)
        .configure(browser_login::routes)
        .configure(challenge::routes)
        .configure(data::routes)
        .configure(export::routes)
        .configure(meters::routes);
}

/// Tokens of a session.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what a PlainObject writes")]
pub struct SessionTokens {
    /// The user's id.
    #[schema(example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c")]
    user_id: String,
    /// The session's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    session_id: String,
    /// `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Goes with every request, in `Authorization: Bearer …`. A JWT (RFC 9068).
    #[schema(example = "eyJhbGciOiJFZERTQSJ9.eyJ0eXAiOiJhY2Nlc3MifQ.c2lnbmF0dXJl")]
    access_token: String,
    /// Seconds for which the access token is good.
    #[schema(example = 1800)]
    expires_in: u32,
    /// Replaced at every refresh.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJyZWZyZXNoIn0.c2lnbmF0dXJl")]
    refresh_token: String,
}

/// How long an access token is good (seconds): 30 minutes (design §5).
pub const ACCESS_TTL_S: u32 = 1800;

/// The tokens of a session, or its cookie and no token (S18).
fn tokens(
    request: &HttpRequest,
    status: StatusCode,
    context: &Context,
    live: &LoggedIn,
    of: Of,
    absorbed: Option<Absorbed<'_>>,
) -> HttpResponse {
    if of.kind == SessionKind::Cookie {
        let mut response = session_body(status, &live.user, live.session, absorbed);
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
        .with("access_token", |out| server.write_access(&access, out))
        .number("expires_in", ACCESS_TTL_S)
        .with("refresh_token", |out| server.tokens.refresh_into(&refresh, out));
    let body = match absorbed {
        None => body,
        Some(absorbed) => absorbed.tell(body),
    };
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// What tokens say beyond whose they are.
struct Of {
    kind: SessionKind,
    counter: u32,
    lasting: bool,
}

/// Of a session that has just begun on this API.
const fn new_session(kind: SessionKind, lasting: bool) -> Of {
    Of { kind, counter: 0, lasting }
}

/// Begins a session.
///
/// Without a provider, or with `anon-user`, a new anonymous user is created. Otherwise it is the session of the owner of the identity
/// that the credential proves; if nobody has the identity, a user is created. The body may be left out.
///
/// With `mode` `cookie` the answer holds no token and sets a reader's cookie. While that lives, the same request answers the same
/// reader again (200).
#[utoipa::path(post, path = "/v1/sessions", tag = "Sessions", operation_id = "createSession", security((), ("reader_cookie" = [])),
    request_body(content = Option<LoginRequest>, description = "How to log in. None at all: as a new anonymous user, with tokens."),
    responses((status = 200, body = ReaderSession, description = "The reader of the live cookie.", headers(("set-cookie" = Option<String>, description = "With `mode` `cookie`: the reader's cookie."))),
        (status = 201, body = NewSession, description = "The new session: its tokens or, with `mode` `cookie`, the reader of the new cookie.", headers(("set-cookie" = Option<String>, description = "With `mode` `cookie`: the reader's cookie.")))),
    extensions(("x-problems" = json!("object unknown-mode credential over-budget cross-site user-disabled session-ended sessions-used-up write capacity"))))]
async fn create_session(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        let bytes = body::read(&request, &context, payload).await?;
        let body = fields::named(&request, &bytes, &[OF_LOGIN, OF_CREDENTIALS])?;
        // a form that forgot the provider would take every password, and one that is not filled in is a form all the same
        if body.get("provider").is_none_or(Value::is_null) {
            misplaced(&body, &[], ANONYMOUSLY)?;
        }
        let body = without_nulls(body);
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
            misplaced(&body, &[], ANONYMOUSLY)?;
            if !context.server.providers.anon_user_enabled {
                let detail = "anonymous logins are switched off";
                return Err(Problem::new(StatusCode::FORBIDDEN, "provider-disabled", detail));
            }
            if kind == SessionKind::Cookie {
                return by_cookie(&request, &context, &body).await;
            }
            afford(&request, &context, Spend::Create, &body)?;
            let created = context.handle.login(kind, IdForm::TimeOrdered).await;
            let live = context.server.budgets.kept_if_stored(client(&request, &context), 1, created)?;
            return Ok(tokens(&request, StatusCode::CREATED, &context, &live, new_session(kind, false), None));
        }
        if body.get("provider").is_some_and(|provider| provider == TRANSFER) {
            return transferred(&request, &context, &body, kind).await;
        }
        if kind == SessionKind::Cookie {
            reader::leave(&request, &context);
        }
        let proof = prove(&request, &context, &body, false).await?;
        let log_in = context.server.linker.log_in(proof, kind, DeviceId::default(), IdForm::TimeOrdered);
        let live = within_time(&context, log_in).await?;
        Ok(tokens(&request, StatusCode::CREATED, &context, &live, new_session(kind, true), None))
    };
    respond(&context, answer.await)
}

/// What has no credential.
const ANONYMOUSLY: &str = "an anonymous login, and \"provider\" names the one whose credential it is";

/// What [`create_session`] calls a code of `POST /v1/session/transfer`.
const TRANSFER: &str = "transfer";

/// What every login may have besides the credential.
const OF_LOGIN: &[&str] = &["provider", "mode", "altcha"];

/// Refuses the fields of other providers' credentials; `what` has those in `known`.
fn misplaced(body: &Map<String, Value>, known: &[&str], what: &str) -> Result<(), Problem> {
    let of_credentials = |(name, _): &(&String, &Value)| OF_CREDENTIALS.contains(&name.as_str());
    let found = body.iter().filter(of_credentials).map(|(name, _)| (name.clone(), Value::Null)).collect();
    only(&found, &[known], what).map_err(|refused| Problem::misplaced_fields(refused.to_string()))
}

/// The reader of the live cookie, the one whom a lazy cookie names, or a new one; without a token in the answer (S18).
async fn by_cookie(request: &HttpRequest, context: &Context, body: &Map<String, Value>) -> Answer {
    let lazy = match reader::look(request, context)? {
        Found::Reader(live, cookie) => {
            let session = SessionId::derive(&live.user, live.number);
            let mut response = session_body(StatusCode::OK, &live.user, session, None);
            reader::slide(&mut response, request, context, &live, &cookie);
            return Ok(response);
        }
        Found::Replaced(live) => {
            let session = SessionId::derive(&live.user, live.number);
            return Ok(session_body(StatusCode::OK, &live.user, session, None));
        }
        Found::Lazy(cookie) => Some(cookie.user),
        Found::Nobody => None,
    };
    let server = &context.server;
    // of many requests for one reader one pays
    let (made, costs) = match lazy {
        Some(user) => {
            let is_made = || server.store.registry().record(&user).is_some();
            let paid = server.budgets.spend_on_reader(&user, client(request, context), is_made);
            // held until the reader is made
            let (_paid, costs) = match paid {
                Ok(paid) => {
                    let costs = u64::from(paid.is_some());
                    (paid, costs)
                }
                Err(over) => {
                    prove_work(request, context, Spend::Create, over, body)?;
                    (None, 1)
                }
            };
            let made = match context.handle.make_lazily(&user).await {
                Err(handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => None,
                other => Some(other),
            };
            (made, costs)
        }
        None => {
            afford(request, context, Spend::Create, body)?;
            (None, 1)
        }
    };
    let created = match made {
        Some(made) => made,
        None => context.handle.login(SessionKind::Cookie, IdForm::TimeOrdered).await,
    };
    let live = server.budgets.kept_if_stored(client(request, context), costs, created)?;
    if !reader::may_set(context, &live.session) {
        return Ok(session_body(StatusCode::CREATED, &live.user, live.session, None));
    }
    Ok(tokens(request, StatusCode::CREATED, context, &live, new_session(SessionKind::Cookie, false), None))
}

fn session_body(status: StatusCode, user: &UserId, session: SessionId, absorbed: Option<Absorbed<'_>>) -> HttpResponse {
    let body =
        PlainObject::new().text("user_id", user.encode(&mut [0; 36])).text("session_id", session.encode(&mut [0; 24]));
    let body = match absorbed {
        None => body,
        Some(absorbed) => absorbed.tell(body),
    };
    HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// Another session of the user whose session gave the code out, if that one still lives.
async fn transferred(request: &HttpRequest, context: &Context, body: &Map<String, Value>, kind: SessionKind) -> Answer {
    let server = &context.server;
    misplaced(body, &["code"], "a login with \"transfer\"")?;
    let code = body.get("code").and_then(Value::as_str).ok_or_else(|| Problem::missing_field("code"))?;
    afford(request, context, Spend::Link, body)?;
    // no code is used up for nothing
    if !server.may_refuse() {
        return Err(handle::Error::NotWritable.into());
    }
    if kind == SessionKind::Cookie {
        reader::leave(request, context);
    }
    let refused = || Problem::from(IdentityError::Code);
    let Transfer { user, session } =
        server.codes.transfers.redeem(code, server.clock().running()).ok_or_else(refused)?;
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
    misplaced(body, provider.fields(body), &format!("this credential of {name:?}"))?;
    if name == LOCAL_USERPASS {
        afford_password(request, context, body)?;
    } else {
        afford(request, context, Spend::Link, body)?;
    }
    if body.contains_key("code") && server.providers.oidc(name).is_some() {
        return Ok(browser_login::finished(context, name, body, peek)?);
    }
    Ok(identities::prove(server, &**provider, body, client(request, context)).await?)
}

/// What a session must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Use the account's data, look at itself, end itself: every session may.
    Data,
    /// Change or list how the account is logged in to, its keys and its sessions, take everything along, delete it: not one
    /// that an API key began, which is a program's.
    Account,
}

/// The live session of an access token, or of a reader's cookie; if there is a token, the cookie is ignored.
pub(super) fn authenticate(request: &HttpRequest, context: &Context, scope: Scope) -> Result<Live, Problem> {
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
    let token = bearer(request).ok_or_else(Problem::no_token)?;
    let access = match context.server.tokens.verify_access(token, context.server.wall_s()) {
        Err(error) if error.is_guess() => {
            spend(request, context, Spend::BadToken)?;
            return Err(error.into());
        }
        other => other?,
    };
    let live = context.handle.check(&access.user, &access.session, Some(access.epoch))?;
    came_back(request, context, &live);
    Ok(live)
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

/// When a user was made.
fn made(user: &UserState) -> String {
    rfc3339(i64::try_from(user.created_ms() / 1000).unwrap_or(i64::MAX))
}

pub(super) fn rfc3339(unix_s: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

/// Shows the session and its user.
#[utoipa::path(get, path = "/v1/session", tag = "Sessions", operation_id = "getSession", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 200, body = SessionView, description = "The session and its user.")),
    extensions(("x-problems" = json!("session"))))]
async fn session(request: HttpRequest, context: web::Data<Context>) -> HttpResponse {
    let answer = authenticate(&request, &context, Scope::Data).and_then(|live| {
        let (clock, policy) = (context.server.clock(), context.server.core.policy());
        let user = context.handle.load(&live.user).ok_or(handle::Error::Refused(Refusal::Gone))?;
        let shown = |t: ServiceTime| rfc3339(clock.to_wall_s(t));
        let view = SessionView {
            user_id: user.id.to_string(),
            session_id: SessionId::derive(&live.user, live.number).to_string(),
            anonymous: user.record.is_anonymous(),
            created: made(&user),
            // service counts whole seconds, which begin somewhere within those of the wall clock
            last_seen: shown(user.record.last_seen).max(made(&user)),
            expires: user.record.deadline(policy.window_s).map(shown),
            aliases: user.aliases().iter().map(|alias| alias.id.to_string()).collect(),
        };
        Ok(json(StatusCode::OK, JSON, &view))
    });
    respond(&context, answer)
}

/// Refreshes the tokens of a session.
///
/// The refresh token is replaced. The one before the current one gets the current one again, for a client that lost an answer. An older
/// one ends the session: somebody else may have it.
#[utoipa::path(post, path = "/v1/session/refresh", tag = "Sessions", operation_id = "refreshSession", security(("refresh_token" = [])),
    responses((status = 200, body = SessionTokens, description = "The new tokens.")),
    extensions(("x-problems" = json!("object no-token invalid-token wrong-token token-expired session-ended user-disabled over-budget write"))))]
async fn refresh_session(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        fields::none(&request, &context, payload).await?;
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
        came_back(&request, &context, &live);
        let counter = within_time(&context, context.handle.rotate(&live.user, live.number, refresh.counter)).await?;
        let lasting = !live.record.is_anonymous();
        let live = LoggedIn { user: live.user, number: live.number, session: refresh.session, epoch: live.epoch };
        Ok(tokens(&request, StatusCode::OK, &context, &live, Of { kind: SessionKind::V1, counter, lasting }, None))
    };
    respond(&context, answer.await)
}

/// Ends the session.
///
/// An anonymous user is gone with it. Of a browser the reader's cookie is taken away.
#[utoipa::path(delete, path = "/v1/session", tag = "Sessions", operation_id = "endSession", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 204, description = "The session has ended.")),
    extensions(("x-problems" = json!("object session write"))))]
async fn end_session(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        fields::none(&request, &context, payload).await?;
        if let Some(user) = leaves_before_being_made(&request, &context)? {
            return end_unmade(&request, &context, &user).await;
        }
        let live = authenticate(&request, &context, Scope::Data)?;
        within_time(&context, context.handle.logout(&live.user, live.number)).await?;
        went(&request, &context, &live);
        Ok(gone(&request, &context))
    };
    respond(&context, answer.await)
}

/// Deletes the user with all sessions, identities and data.
#[utoipa::path(delete, path = "/v1/user", tag = "Accounts", operation_id = "deleteUser", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 204, description = "The user is gone.")),
    extensions(("x-problems" = json!("object account write"))))]
async fn delete_user(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        fields::none(&request, &context, payload).await?;
        if let Some(user) = leaves_before_being_made(&request, &context)? {
            return end_unmade(&request, &context, &user).await;
        }
        let live = authenticate(&request, &context, Scope::Account)?;
        within_time(&context, context.handle.delete(&live.user)).await?;
        went(&request, &context, &live);
        Ok(gone(&request, &context))
    };
    respond(&context, answer.await)
}

/// The reader who is not made yet and wants to be forgotten.
fn leaves_before_being_made(request: &HttpRequest, context: &Context) -> Result<Option<UserId>, Problem> {
    if request.headers().contains_key(header::AUTHORIZATION) || !request.headers().contains_key(header::COOKIE) {
        return Ok(None);
    }
    match reader::look(request, context)? {
        Found::Lazy(cookie) if reader::is_own(request, context) => Ok(Some(cookie.user)),
        Found::Lazy(_) => Err(Problem::cross_site()),
        Found::Reader(..) | Found::Replaced(_) | Found::Nobody => Ok(None),
    }
}

/// Ends the id of a lazy cookie, whose reader another request may be making. That is kept for as long as the cookie is good, so it
/// takes from the budget for making readers; beyond that, and when as many are kept as may be, the browser's cookie is all that ends.
async fn end_unmade(request: &HttpRequest, context: &Context, user: &UserId) -> Answer {
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

/// Lists the public keys that check access tokens.
///
/// A JSON Web Key Set (RFC 7517). Tokens name their key in `kid`.
#[utoipa::path(get, path = "/.well-known/jwks.json", tag = "Sessions", operation_id = "getJwks",
    responses((status = 200, body = Jwks, description = "The public keys.")))]
async fn jwks(context: web::Data<Context>) -> HttpResponse {
    let mut response = json(StatusCode::OK, JSON, &context.server.tokens.jwks());
    let fresh = HeaderValue::from_static("public, max-age=60");
    response.headers_mut().insert(header::CACHE_CONTROL, fresh);
    respond(&context, Ok(response))
}
