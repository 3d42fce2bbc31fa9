//! The App Services client API, as its SDKs speak it (wire-protocol §0–§4, §8).

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use passerby_actors::domain::{API_KEY, DeviceId, Flags, LOCAL_USERPASS, Refusal, SessionId, SessionKind, UserState};
use passerby_actors::handle::{self, IdForm, Live, LoggedIn};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::{self, BodyError};
use super::forwarded::Forwarded;
use super::identities;
use super::openapi::AppServicesLoginRequest;
use super::plain::PlainObject;
use super::{
    Context, JSON, KEY_SESSION, NO_STORE, bearer, came_back, client, other_method, retry_after_s, spend,
    spend_on_password, went, within_time,
};
use crate::budget::{OverBudget, Spend};
use crate::provider::ANON_USER;
use crate::provider::identity::IdentityError;
use crate::provider::throttle::Throttled;
use crate::server::Server;
use crate::token::{Access, AccessClaims, Refresh, TokenError};

pub(crate) mod api_keys;
pub(crate) mod userpass;

/// Carries the same id as an error's `link`.
pub(crate) const REQUEST_ID: &str = "x-appservices-request-id";

/// Adds the routes. Those without a parameter first: they are found by comparing text.
pub fn routes(config: &mut web::ServiceConfig) {
    let profile = web::resource("/auth/profile").get(profile).default_service(other_method("GET"));
    let session = web::resource("/auth/session").post(refresh).delete(logout);
    let delete = web::resource("/auth/delete").delete(delete).default_service(other_method("DELETE"));
    let login = web::resource("/app/{app}/auth/providers/{provider}/login").post(login);
    let location = web::resource("/app/{app}/location").get(location).default_service(other_method("GET"));
    let scope = web::scope("/api/client/v2.0")
        .service(session.default_service(other_method("POST, DELETE")))
        .service(profile)
        .service(delete)
        .service(login.default_service(other_method("POST")))
        .service(location);
    config.service(api_keys::routes(userpass::routes(scope)));
}

/// An error in App Services form.
#[derive(Debug)]
struct ClientError {
    status: StatusCode,
    text: String,
    code: Option<&'static str>,
    retry_after_s: Option<u16>,
    /// Whether it is about a credential, and not about the request's token.
    of_credential: bool,
}

impl ClientError {
    fn new(status: StatusCode, code: impl Into<Option<&'static str>>, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), code: code.into(), retry_after_s: None, of_credential: false }
    }

    fn unauthorized(code: impl Into<Option<&'static str>>, text: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, text)
    }

    /// A credential that is not taken: 401, as SDKs expect of a login; to a request with a good token of its own 400, because
    /// realm-web 1.0.0 to 2.0.0 refreshes and repeats after every 401, and other SDKs drop their user.
    fn refused(code: &'static str, text: &str) -> Self {
        Self { of_credential: true, ..Self::unauthorized(code, text) }
    }

    fn bad_request(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", text)
    }

    fn invalid_session(text: &str) -> Self {
        Self::unauthorized("InvalidSession", text)
    }

    /// The text that realm-web's logOut, removeUser and deleteUser wait for (wire-protocol §0.9).
    fn dead_refresh_token() -> Self {
        Self::invalid_session("invalid session: failed to find refresh token")
    }

    /// For a session that an API key began, and what only the account's owner may do. Not a 401: SDKs would log in again.
    fn insufficient_scope() -> Self {
        Self::new(StatusCode::FORBIDDEN, "AuthError", KEY_SESSION)
    }

    fn throttled(text: String, after_s: u32) -> Self {
        let retry_after_s = Some(u16::try_from(after_s).unwrap_or(u16::MAX));
        Self { retry_after_s, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", text) }
    }

    fn unavailable(text: impl Into<String>, code: &'static str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, text)
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
            other => Self::unavailable(other.to_string(), "ServiceUnavailable"),
        }
    }
}

/// The body of every error.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesError)]
pub struct ErrorBody {
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

type Answer = Result<HttpResponse, ClientError>;

fn respond(request: &HttpRequest, context: &Context, answer: Answer) -> HttpResponse {
    let server = &context.server;
    let mut response = answer.unwrap_or_else(|mut error| {
        if error.status == StatusCode::UNAUTHORIZED && !server.may_refuse() {
            // a client drops its identity on a 401: it must mean "known to be dead"
            error = handle::Error::NotWritable.into();
        }
        if error.of_credential && error.status == StatusCode::UNAUTHORIZED && has_good_token(request, context) {
            error.status = StatusCode::BAD_REQUEST;
        }
        if error.status == StatusCode::SERVICE_UNAVAILABLE && error.retry_after_s.is_none() {
            error.retry_after_s = Some(retry_after_s(server));
        }
        let id = DeviceId(server.random_id()).to_string();
        let (domain, app) = (server.tokens.domain_id(), &server.settings.app_id);
        let link = format!("{}/groups/{domain}/apps/{app}/logs?co_id={id}", origin(request, context, "http"));
        let body = ErrorBody { error: error.text, error_code: error.code, link };
        let mut response = json(error.status, &body);
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(header::HeaderName::from_static(REQUEST_ID), id);
        }
        if let Some(seconds) = error.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    });
    let (name, value) = NO_STORE;
    response.headers_mut().insert(name, value);
    response
}

fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    match serde_json::to_vec(body) {
        Ok(bytes) => HttpResponse::build(status).insert_header((header::CONTENT_TYPE, JSON)).body(bytes),
        Err(_) => HttpResponse::InternalServerError().finish(),
    }
}

/// Without a body there is no content type: realm-web fails on one (wire-protocol §0.2).
fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

pub(super) fn bad_preflight(request: &HttpRequest, context: &Context) -> HttpResponse {
    respond(request, context, Err(ClientError::bad_request("this origin may not do this")))
}

pub(super) fn not_found(request: &HttpRequest, context: &Context) -> HttpResponse {
    respond(request, context, Err(ClientError::new(StatusCode::NOT_FOUND, None, "404 page not found")))
}

pub(super) fn method_not_allowed(request: &HttpRequest, context: &Context) -> HttpResponse {
    respond(request, context, Err(ClientError::new(StatusCode::METHOD_NOT_ALLOWED, None, "method not allowed")))
}

/// Scheme and host as clients reach us; `scheme` is the plain one of the pair (`http` or `ws`).
pub(super) fn origin(request: &HttpRequest, context: &Context, scheme: &str) -> String {
    let settings = &context.server.settings;
    let (secure, host) = match &settings.public_url {
        Some(url) => match url.split_once("://") {
            Some((scheme, host)) => (scheme == "https", host.to_owned()),
            None => (false, url.clone()),
        },
        None => {
            let forwarded = Forwarded::of(request, &settings.trusted_proxies);
            (forwarded.scheme == "https", forwarded.host.unwrap_or_else(|| settings.listen.to_string()))
        }
    };
    format!("{scheme}{}://{host}", if secure { "s" } else { "" })
}

fn check_app(request: &HttpRequest, context: &Context) -> Result<(), ClientError> {
    let app = request.match_info().get("app").unwrap_or_default();
    if app == context.server.settings.app_id {
        return Ok(());
    }
    let text = format!("cannot find app using Client App ID '{}'", shown(app));
    Err(ClientError::new(StatusCode::NOT_FOUND, None, text))
}

/// Words of the client's in an error of ours: not too many.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Where the app is served.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesLocation)]
pub struct Location {
    /// `GLOBAL`.
    #[schema(example = "GLOBAL")]
    deployment_model: &'static str,
    /// `US-VA`.
    #[schema(example = "US-VA")]
    location: &'static str,
    /// Prefix of every other request, without a slash at its end.
    #[schema(example = "http://127.0.0.1:8080")]
    hostname: String,
    /// The same for WebSockets.
    #[schema(example = "ws://127.0.0.1:8080")]
    ws_hostname: String,
}

/// Shows where the app is served.
///
/// SDKs ask this first, and send every other request to `hostname`.
#[utoipa::path(get, path = "/api/client/v2.0/app/{app}/location", tag = "App Services", operation_id = "appServicesGetLocation",
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder name another one.", example = "passerby")),
    responses((status = 200, body = Location, description = "Where the app is served.")),
    extensions(("x-problems" = json!("AppNotFound"))))]
async fn location(request: HttpRequest, context: web::Data<Context>) -> HttpResponse {
    let answer = check_app(&request, &context).map(|()| {
        let mut response = json(
            StatusCode::OK,
            &Location {
                deployment_model: "GLOBAL",
                location: "US-VA",
                hostname: origin(&request, &context, "http"),
                ws_hostname: origin(&request, &context, "ws"),
            },
        );
        if context.server.settings.public_url.is_none() {
            response.headers_mut().append(header::VARY, HeaderValue::from_static("Host"));
        }
        response
    });
    respond(&request, &context, answer)
}

/// A new session, or a linked one.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what a PlainObject writes")]
#[schema(as = AppServicesTokens)]
pub struct LoginBody {
    /// Goes with most requests, in `Authorization: Bearer …`. A JWT.
    #[schema(example = "eyJhbGciOiJFZERTQSJ9.eyJ0eXAiOiJhY2Nlc3MifQ.c2lnbmF0dXJl")]
    access_token: String,
    /// Gives out new access tokens.
    #[schema(required = false, example = "eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJyZWZyZXNoIn0.c2lnbmF0dXJl")]
    refresh_token: String,
    /// The user's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    user_id: String,
    /// The device's id; zeros for none.
    #[schema(example = "000000000000000000000000")]
    device_id: String,
}

/// Logs in, or links an identity.
///
/// An anonymous login needs no body and always creates a new user. With `?link=true` and an access token, the identity that the
/// credential proves is linked to the token's user.
#[utoipa::path(post, path = "/api/client/v2.0/app/{app}/auth/providers/{provider}/login", tag = "App Services", operation_id = "appServicesLogin", security((), ("access_token" = [])),
    params(("app" = String, Path, description = "The app id, `passerby` unless the settings or the app folder name another one.", example = "passerby"),
        ("provider" = String, Path, description = "`anon-user`, `local-userpass`, `custom-token`, `api-key`, `oauth2-google` or `oauth2-apple`.", example = "anon-user"),
        ("link" = Option<bool>, Query, description = "`true`: link the identity to the user of the access token.")),
    request_body(content = Option<AppServicesLoginRequest>, description = "The provider's credentials and `options.device`. All of it is optional for `anon-user`; fields that are not known are ignored."),
    responses((status = 200, body = LoginBody, description = "The tokens of the session. After a link `refresh_token` may be left out: the one before goes on.")),
    extensions(("x-problems" = json!("LoginNeeded BadRequest AppNotFound AuthProviderNotFound AuthError KeySession CredentialRefused IdentityInUse InvalidPassword UserDisabled InvalidParameter body InvalidSession Unauthorized TooManyRequests ServiceUnavailable"))))]
async fn login(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = try_login(&request, &context, payload).await;
    respond(&request, &context, answer)
}

async fn try_login(request: &HttpRequest, context: &Context, payload: web::Payload) -> Answer {
    let object = body::read_object(request, context, payload).await?;
    check_app(request, context)?;
    let server = &context.server;
    let name = request.match_info().get("provider").unwrap_or_default();
    let link = request.query_string().split('&').any(|pair| pair == "link=true");
    if name == ANON_USER && server.providers.anon_user_enabled {
        if link {
            authenticate(request, context)?;
            return Err(ClientError::bad_request("linking an anonymous identity is not allowed"));
        }
        spend(request, context, Spend::Create)?;
        let device = device(&object, || DeviceId(server.random_id()));
        let created = context.handle.login(SessionKind::AppServices, IdForm::Object).await;
        let user = server.budgets.kept_if_stored(client(request, context), 1, created)?;
        return Ok(logged_in(server, &user, device, false));
    }
    let Some(provider) = server.providers.get(name) else {
        if server.providers.knows(name) {
            return Err(unsupported(name));
        }
        let text = format!("auth provider not found: '{}'", shown(name));
        return Err(ClientError::new(StatusCode::NOT_FOUND, "AuthProviderNotFound", text));
    };
    if link {
        // the session first: what it may not do need not be verified
        let (access, live) = authenticate(request, context)?;
        of_owner(&live)?;
        // SDKs cannot be asked to log in again; a session of `/v1` can (S40)
        if live.kind != SessionKind::AppServices && !context.server.is_fresh(&live) {
            let text = "this needs a session that has just begun: log in again";
            return Err(ClientError::new(StatusCode::FORBIDDEN, "AuthError", text));
        }
        spend_on_identity(request, context, name)?;
        let proof = identities::prove(server, &**provider, &object, client(request, context)).await;
        let proof = proof.map_err(|error| refused_proof(context, &error, true))?;
        let linked = within_time(context, server.linker.link(access.user, live.number, proof)).await;
        let linked = linked.map_err(|error| match error {
            // somebody else's key (wire-protocol §2.3)
            handle::Error::Refused(Refusal::IdentityInUse) if name == API_KEY => {
                ClientError::new(StatusCode::BAD_REQUEST, "InvalidParameter", "invalid user link request")
            }
            other => refused_link(other),
        })?;
        return Ok(linked_session(server, &linked, &access, live.number));
    }
    spend_on_identity(request, context, name)?;
    let proof = identities::prove(server, &**provider, &object, client(request, context)).await;
    let proof = proof.map_err(|error| refused_proof(context, &error, false))?;
    let device = device(&object, || DeviceId(server.random_id()));
    let log_in = server.linker.log_in(proof, SessionKind::AppServices, device, IdForm::Object);
    let user = within_time(context, log_in).await.map_err(|error| match error {
        handle::Error::Refused(Refusal::Disabled) => ClientError::refused("UserDisabled", "user disabled"),
        handle::Error::Refused(_) => ClientError::refused("AuthError", "unauthorized"),
        other => other.into(),
    })?;
    Ok(logged_in(server, &user, device, true))
}

/// Takes one from the budget for trying identities; passwords need room for hashing too.
fn spend_on_identity(request: &HttpRequest, context: &Context, provider: &str) -> Result<(), OverBudget> {
    if provider == LOCAL_USERPASS {
        spend_on_password(request, context, false)
    } else {
        spend(request, context, Spend::Link)
    }
}

/// Why a credential is not taken.
fn refused_proof(context: &Context, error: &IdentityError, link: bool) -> ClientError {
    let hides = context.server.settings.auth.hide_accounts;
    let code = match error {
        IdentityError::Unavailable(_) | IdentityError::Passwords(_) => {
            return ClientError::unavailable(error.to_string(), "ServiceUnavailable");
        }
        IdentityError::Throttled(throttled) => return (*throttled).into(),
        _ if error.is_bad_request() => return ClientError::bad_request(error.to_string()),
        IdentityError::Password => "InvalidPassword",
        IdentityError::NotConfirmed if hides => "InvalidPassword",
        _ => "AuthError",
    };
    let text = if link { "unauthorized: the credential is not accepted" } else { "unauthorized" };
    ClientError::refused(code, text)
}

/// A provider that is off, or not built (wire-protocol §8.2).
fn unsupported(name: &str) -> ClientError {
    ClientError::refused("AuthError", &format!("authentication via '{name}' is unsupported"))
}

/// Why a link is not made (wire-protocol §2.3, with its texts).
fn refused_link(error: handle::Error) -> ClientError {
    let conflict = |text: &str| ClientError::new(StatusCode::CONFLICT, "AuthError", text);
    match error {
        handle::Error::Refused(Refusal::IdentityInUse) => {
            conflict("unauthorized: a user already exists with the specified provider")
        }
        handle::Error::Refused(Refusal::TooManyIdentities) => {
            conflict("unauthorized: the user has too many identities")
        }
        handle::Error::Refused(Refusal::ProviderLinked) => {
            ClientError::bad_request("linking a local-userpass identity is not allowed when one is already linked")
        }
        handle::Error::Refused(Refusal::StaleProof | Refusal::NoSuchIdentity) => {
            ClientError::refused("AuthError", "unauthorized: the credential is not accepted")
        }
        handle::Error::Refused(Refusal::Disabled) => ClientError::invalid_session("invalid session: user disabled"),
        handle::Error::Refused(_) => ClientError::invalid_session("invalid session: session not found"),
        other => other.into(),
    }
}

fn logged_in(server: &Server, user: &LoggedIn, device: DeviceId, lasting: bool) -> HttpResponse {
    let (access, refresh) = server.claims(user, SessionKind::AppServices, device, lasting);
    let body = PlainObject::new()
        .with("access_token", |out| server.write_access(&access, out))
        .with("refresh_token", |out| server.tokens.refresh_into(&refresh, out))
        .text("user_id", user.user.encode(&mut [0; 36]))
        .text("device_id", device.encode(&mut [0; 24]));
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// SDKs keep their refresh token, unless its session goes on under another number (wire-protocol §1.8).
fn linked_session(server: &Server, linked: &LoggedIn, before: &Access, number: u32) -> HttpResponse {
    let (access, refresh) = server.claims(linked, before.kind, before.device, true);
    let mut body = PlainObject::new().with("access_token", |out| server.write_access(&access, out));
    if linked.number != number {
        body = body.with("refresh_token", |out| server.tokens.refresh_into(&refresh, out));
    }
    let body =
        body.text("user_id", linked.user.encode(&mut [0; 36])).text("device_id", before.device.encode(&mut [0; 24]));
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, JSON)).body(body.finish())
}

/// The device id that was sent (EJSON or plain), a new one for a device without, zeros for none (wire-protocol §1.2).
fn device(body: &Map<String, Value>, mint: impl FnOnce() -> DeviceId) -> DeviceId {
    let Some(device) = body.get("options").and_then(|options| options.get("device")).filter(|d| d.is_object()) else {
        return DeviceId::default();
    };
    let sent = device.get("deviceId").and_then(|id| id.as_str().or_else(|| id.get("$oid")?.as_str()));
    let known = sent.and_then(|id| DeviceId::parse(id).ok()).filter(|id| *id != DeviceId::default());
    known.unwrap_or_else(mint)
}

/// The live session of an access token.
fn authenticate(request: &HttpRequest, context: &Context) -> Result<(Access, Live), ClientError> {
    let token = bearer(request).ok_or_else(no_token)?;
    let verified = context.server.tokens.verify_access(token, context.server.wall_s());
    if verified.as_ref().is_err_and(|error| error.is_guess()) {
        spend(request, context, Spend::BadToken)?;
    }
    let access = verified.map_err(|error| match error {
        TokenError::Expired => ClientError::invalid_session("invalid session: access token expired"),
        TokenError::WrongType => ClientError::unauthorized(None, "invalid access token: incorrect token type"),
        // the client refreshes on this text
        _ => ClientError::unauthorized(None, "unauthorized"),
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

/// Whether the request has a token of a session that lives.
fn has_good_token(request: &HttpRequest, context: &Context) -> bool {
    let server = &context.server;
    let session = bearer(request).and_then(|token| match server.tokens.verify_access(token, server.wall_s()) {
        Ok(access) => Some((access.user, access.session, Some(access.epoch))),
        Err(_) => server.tokens.verify_refresh(token).ok().map(|refresh| (refresh.user, refresh.session, None)),
    });
    session.is_some_and(|(user, session, epoch)| context.handle.check(&user, &session, epoch).is_ok())
}

/// Whether a session may change its account: not one that an API key began.
fn of_owner(live: &Live) -> Result<(), ClientError> {
    if live.method.may_change_account() { Ok(()) } else { Err(ClientError::insufficient_scope()) }
}

fn no_token() -> ClientError {
    ClientError::unauthorized("AuthError", "must authenticate first")
}

/// The live session of an App Services refresh token.
fn authenticate_refresh(request: &HttpRequest, context: &Context) -> Result<(Refresh, Live), ClientError> {
    let wrong_type = || ClientError::unauthorized(None, "invalid refresh token: incorrect token type");
    let token = bearer(request).ok_or_else(no_token)?;
    let verified = context.server.tokens.verify_refresh(token);
    if verified.as_ref().is_err_and(|error| error.is_guess()) {
        spend(request, context, Spend::BadToken)?;
    }
    let refresh = verified.map_err(|error| match error {
        TokenError::WrongType => wrong_type(),
        _ => ClientError::dead_refresh_token(),
    })?;
    if refresh.kind != SessionKind::AppServices {
        return Err(wrong_type());
    }
    let live = context.handle.check(&refresh.user, &refresh.session, None)?;
    came_back(request, context, &live);
    Ok((refresh, live))
}

/// A user's profile.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesProfile)]
pub struct Profile {
    /// The user's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    user_id: String,
    /// The app's domain.
    #[schema(example = "0123456789abcdef01234567")]
    domain_id: String,
    /// The user's identities, in the order in which they were linked.
    identities: Vec<ProfileIdentity>,
    /// What the providers tell, as far as the settings ask for it.
    #[schema(value_type = std::collections::HashMap<String, Value>, example = json!({"name": "Ada"}))]
    data: Map<String, Value>,
    /// `normal`.
    #[serde(rename = "type")]
    #[schema(example = "normal")]
    kind: &'static str,
}

/// One identity of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesIdentity)]
pub struct ProfileIdentity {
    /// Who it is at the provider.
    #[schema(example = "636aba021728b6c1c03db7fa")]
    id: String,
    /// The provider.
    #[schema(example = "anon-user")]
    provider_type: String,
    /// The provider's id in this app.
    #[schema(example = "636aba021728b6c1c03db7fb")]
    provider_id: String,
}

/// Shows the access token's user.
#[utoipa::path(get, path = "/api/client/v2.0/auth/profile", tag = "App Services", operation_id = "appServicesGetProfile", security(("access_token" = [])),
    responses((status = 200, body = Profile, description = "The user.")),
    extensions(("x-problems" = json!("appsession"))))]
async fn profile(request: HttpRequest, context: web::Data<Context>) -> HttpResponse {
    let answer = authenticate(&request, &context).map(|(access, live)| {
        let tokens = &context.server.tokens;
        let identity = |kind: &str, id: String| ProfileIdentity {
            id,
            provider_type: kind.to_owned(),
            provider_id: tokens.provider_id(kind),
        };
        let user = context.handle.load(&access.user);
        let linked = user.as_ref().map_or(&[][..], UserState::identities);
        let mut data = Map::new();
        for known in linked {
            if let Ok(Value::Object(told)) = serde_json::from_str(&known.data) {
                data.extend(told);
            }
        }
        let was_anonymous = !live.record.flags.has(Flags::BORN_LASTING);
        let anonymous = was_anonymous.then(|| identity(ANON_USER, access.user.anonymous_identity()));
        let linked = linked.iter().map(|known| identity(identities::sdk_type(known), identities::shown_id(known)));
        let identities = anonymous.into_iter().chain(linked).collect();
        let (user_id, domain_id) = (access.user.to_string(), tokens.domain_id().to_owned());
        json(StatusCode::OK, &Profile { user_id, domain_id, identities, data, kind: "normal" })
    });
    respond(&request, &context, answer)
}

/// A new access token.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesAccessToken)]
pub struct RefreshBody {
    /// The token.
    #[schema(example = "eyJhbGciOiJFZERTQSJ9.eyJ0eXAiOiJhY2Nlc3MifQ.c2lnbmF0dXJl")]
    access_token: String,
}

/// Issues a new access token for the refresh token.
///
/// The refresh token stays as it is.
#[utoipa::path(post, path = "/api/client/v2.0/auth/session", tag = "App Services", operation_id = "appServicesRefresh", security(("refresh_token" = [])),
    responses((status = 201, body = RefreshBody, description = "The new access token.")),
    extensions(("x-problems" = json!("apprefresh body"))))]
async fn refresh(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        body::discard(&request, &context, payload).await?;
        let (refresh, live) = authenticate_refresh(&request, &context)?;
        let server = &context.server;
        let claims = AccessClaims {
            user: live.user,
            session: SessionId::derive(&live.user, live.number),
            epoch: live.epoch,
            device: refresh.device,
            kind: live.kind,
            issued_at_s: server.wall_s(),
            jti: server.random_id(),
        };
        let mut access_token = String::new();
        server.write_access(&claims, &mut access_token);
        Ok(json(StatusCode::CREATED, &RefreshBody { access_token }))
    };
    respond(&request, &context, answer.await)
}

/// Ends the refresh token's session.
///
/// An anonymous user is gone with it.
#[utoipa::path(delete, path = "/api/client/v2.0/auth/session", tag = "App Services", operation_id = "appServicesLogout", security(("refresh_token" = [])),
    responses((status = 204, description = "The session has ended.")),
    extensions(("x-problems" = json!("apprefresh body"))))]
async fn logout(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        body::discard(&request, &context, payload).await?;
        let (_, live) = authenticate_refresh(&request, &context)?;
        within_time(&context, context.handle.logout(&live.user, live.number)).await?;
        went(&request, &context, &live);
        Ok(no_content())
    };
    respond(&request, &context, answer.await)
}

/// Deletes the access token's user.
#[utoipa::path(delete, path = "/api/client/v2.0/auth/delete", tag = "App Services", operation_id = "appServicesDeleteUser", security(("access_token" = [])),
    responses((status = 204, description = "The user is gone.")),
    extensions(("x-problems" = json!("appsession KeySession body"))))]
async fn delete(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let answer = async {
        body::discard(&request, &context, payload).await?;
        let (_, live) = authenticate(&request, &context)?;
        of_owner(&live)?;
        within_time(&context, context.handle.delete(&live.user)).await?;
        went(&request, &context, &live);
        Ok(no_content())
    };
    respond(&request, &context, answer.await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_is_kept_minted_or_none() {
        let minted = DeviceId([7; 12]);
        let sent = DeviceId([0xab; 12]);
        let cases = [
            (serde_json::json!({}), DeviceId::default()),
            (serde_json::json!({"options": {"device": {}}}), minted),
            (serde_json::json!({"options": {"device": "x"}}), DeviceId::default()),
            (serde_json::json!({"options": {"device": {"deviceId": {"$oid": sent.to_string()}}}}), sent),
            (serde_json::json!({"options": {"device": {"deviceId": sent.to_string()}}}), sent),
            (serde_json::json!({"options": {"device": {"deviceId": "000000000000000000000000"}}}), minted),
            (serde_json::json!({"options": {"device": {"deviceId": {"$oid": 5}}}}), minted),
        ];
        for (body, expected) in cases {
            assert_eq!(device(body.as_object().unwrap(), || minted), expected, "{body}");
        }
    }
}
