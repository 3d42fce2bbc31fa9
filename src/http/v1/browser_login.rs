//! Logging in in the browser at an OpenID Connect issuer: authorization code with PKCE, bound to the browser by a cookie.
//!
//! The page creates a secret, keeps it, and sends the browser to `/v1/providers/{provider}/login` with the secret's SHA-256. The
//! issuer sends it back here, and from here it goes on to the page with a code that works once, for a minute, and only
//! together with the page's secret: in `POST /v1/sessions` or `POST /v1/user/identities`. No token is ever in a URL.
//!
//! Each provider has a callback of its own, so that one issuer's code is never taken for another's (RFC 9700 §4.4). An answer
//! that comes by a form from the issuer's site brings no `SameSite=Lax` cookie, so it is sent on to the same place as a GET,
//! which does: the cookie need not be one that any site may send along.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passerby_actors::actor::Proof;
use passerby_actors::domain::{LoginMethod, UserId};
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use crate::codes::{FinishedLogin, SENT_LOGIN_S, SentLogin};
use crate::http::schemas::IssuersAnswer;
use crate::http::{Answer, Context, Problem, at, body, client, identities, read, spend};
use crate::limits::budget::Spend;
use crate::limits::network::Network;
use crate::provider::identity::{IdentityError, plain};

/// Where the issuer of `auth.shared_callback` sends browsers back to, under `public_url`; every issuer did before each
/// provider had a callback of its own.
const SHARED_CALLBACK: &str = "/v1/providers/callback";
/// What is taken of an issuer's answer.
const ANSWER: [&str; 5] = ["state", "code", "iss", "error", "error_description"];
/// Bytes of an answer that came by a form, once it is an address.
const LONGEST_ANSWER: usize = 8192;
/// Characters of an issuer's words in the log.
const SHOWN: usize = 200;
/// Characters of the issuer's `state` in the cookie's name, so that two tabs do not take each other's.
const NAMED_BY: usize = 12;

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(at(SHARED_CALLBACK).on(Method::GET, callback).on(Method::POST, callback_by_form))
        .service(at("/v1/providers/{provider}/callback").on(Method::GET, callback).on(Method::POST, callback_by_form))
        .service(at("/v1/providers/{provider}/login").on(Method::GET, begin));
}

/// What is read of an issuer's answer, a query or a form; the rest is ignored (RFC 6749 §4.1.2).
///
/// # Errors
/// One of them occurs twice (RFC 6749 §3.1): 400 `bad-answer`.
fn answer_in(text: &[u8]) -> Result<Map<String, Value>, Problem> {
    let mut found = Map::new();
    for (name, value) in form_urlencoded::parse(text).filter(|(name, _)| ANSWER.contains(&&**name)) {
        if found.contains_key(&*name) {
            return Err(bad_answer(format!("{name:?} is in the issuer's answer twice")));
        }
        found.insert(name.into_owned(), Value::from(value.into_owned()));
    }
    Ok(found)
}

fn bad_answer(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-answer", detail)
}

fn text<'a>(query: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    query.get(name).and_then(Value::as_str)
}

/// Where the provider's issuer sends browsers back to, under `public_url`.
fn callback_path(context: &Context, provider: &str) -> String {
    match context.server.settings.auth.shared_callback.as_deref() {
        Some(shared) if shared == provider => SHARED_CALLBACK.to_owned(),
        _ => format!("/v1/providers/{provider}/callback"),
    }
}

/// `__Host-` wherever there is TLS; loopback without TLS has no secure cookies.
fn cookie(context: &Context, state: &str, value: String) -> Cookie<'static> {
    let secure = context.server.settings.public_url.as_ref().is_some_and(|url| url.starts_with("https://"));
    let prefix = if secure { "__Host-" } else { "" };
    let named_by: String = state.chars().take(NAMED_BY).collect();
    Cookie::build(format!("{prefix}passerby-login-{named_by}"), value)
        .path("/")
        .http_only(true)
        .secure(secure)
        .same_site(SameSite::Lax)
        .finish()
}

/// A redirect without a trace in caches or in the next page's `Referer`.
fn go_to(status: StatusCode, url: &str) -> Result<HttpResponse, Problem> {
    let internal = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the browser cannot be sent on");
    let location = HeaderValue::from_str(url).map_err(internal)?;
    let mut response = HttpResponse::build(status).insert_header((header::LOCATION, location)).finish();
    let no_referrer = HeaderValue::from_static("no-referrer");
    response.headers_mut().insert(HeaderName::from_static("referrer-policy"), no_referrer);
    Ok(response)
}

/// Sends the browser to an OpenID Connect issuer.
///
/// A page navigates here; it cannot be called with `fetch`. The page keeps a secret and sends its SHA-256. From the issuer the browser comes
/// back to `redirect_uri` with a code, which logs in at `POST /v1/sessions` or links at `POST /v1/user/identities`, together with the
/// secret as `code_verifier`.
#[utoipa::path(get, path = "/v1/providers/{provider}/login", tag = "Browser login", operation_id = "beginBrowserLogin",
    params(("provider" = String, Path, description = "`oauth2-google`, `oauth2-apple` or `oidc-NAME`.", example = "oauth2-google"),
        ("code_challenge" = String, Query, description = "The SHA-256 of the page's secret in base64url. The secret is 43 to 128 characters of `A-Z a-z 0-9 - . _ ~`.", example = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("redirect_uri" = Option<String>, Query, description = "Where the browser comes back to: one of the provider's list, byte for byte. May be left out if there is only one.", example = "https://news.example/back")),
    responses((status = 302, description = "To the issuer.", headers(("location" = String, description = "The issuer's page."), ("set-cookie" = String, description = "Binds this login to the browser.")))),
    extensions(("x-problems" = json!("unknown-provider provider-disabled network-blocked over-budget bad-query bad-code-challenge bad-redirect-uri no-public-url provider-unavailable overloaded internal"))))]
pub(crate) async fn begin(request: HttpRequest, context: Data<Context>) -> Answer {
    let server = &context.server;
    let name = request.match_info().get("provider").unwrap_or_default();
    let app = server.app();
    let providers = &app.providers;
    let provider = providers.oidc(name).filter(|provider| provider.has_browser_login());
    let provider = provider.ok_or_else(|| {
        if providers.knows(name) { Problem::provider_disabled() } else { Problem::unknown_provider() }
    })?;
    let query = read::of_query(&request, &["code_challenge", "redirect_uri"])?;
    spend(&request, &context, Spend::Link)?;
    let challenge = text(&query, "code_challenge")
        .filter(|text| URL_SAFE_NO_PAD.decode(text).is_ok_and(|hash| hash.len() == SHA256.output_len()));
    let challenge = challenge.ok_or_else(|| {
        let detail = "code_challenge must be the SHA-256 of the page's secret in base64url";
        Problem::new(StatusCode::BAD_REQUEST, "bad-code-challenge", detail)
    })?;
    let redirect_uri = provider.redirect_uri(text(&query, "redirect_uri"));
    let redirect_uri =
        redirect_uri.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, "bad-redirect-uri", error.to_string()))?;
    let public_url = server.settings.public_url.as_deref().ok_or_else(|| {
        let detail = "this server has no public_url to which an issuer could send browsers back";
        Problem::new(StatusCode::FORBIDDEN, "no-public-url", detail)
    })?;
    let callback = format!("{public_url}{}", callback_path(&context, name));
    let begun = provider.begin(&callback, &*server.entropy, server.wall_s()).await;
    let (url, pending) = begun.inspect_err(|error| identities::report(name, error))?;
    let state = pending.state().to_owned();
    let sent = SentLogin {
        provider: name.to_owned(),
        pending,
        redirect_uri: redirect_uri.to_owned(),
        challenge: challenge.to_owned(),
    };
    let owner = Network::of(client(&request, &context));
    let code = server.codes.sent.issue(owner, sent, server.clock().running(), &*server.entropy)?;
    let mut cookie = cookie(&context, &state, code.text().to_owned());
    cookie.set_max_age(Duration::seconds(SENT_LOGIN_S.into()));
    with_cookie(go_to(StatusCode::FOUND, &url)?, &cookie)
}

fn with_cookie(mut response: HttpResponse, cookie: &Cookie<'_>) -> Result<HttpResponse, Problem> {
    let internal = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the cookie cannot be set");
    let value = HeaderValue::from_str(&cookie.encoded().to_string()).map_err(internal)?;
    response.headers_mut().append(header::SET_COOKIE, value);
    Ok(response)
}

/// Takes the browser back from the issuer.
///
/// It goes on to the page with `code`, or with `error`: `access_denied` (at the issuer), `login_failed` or `temporarily_unavailable`.
/// A login that began with a provider ends at its callback and at no other's.
#[utoipa::path(get, path = "/v1/providers/{provider}/callback", tag = "Browser login", operation_id = "finishBrowserLogin",
    params(("provider" = String, Path, description = "The provider that the login began with.", example = "oidc-corp"),
        ("state" = String, Query, description = "As the issuer was given it.", example = "vYs0v4kXh1"),
        ("code" = Option<String>, Query, description = "The issuer's code.", example = "SplxlOBeZQQYbYS6WxSbIA"),
        ("error" = Option<String>, Query, description = "The issuer's refusal.", example = "access_denied"),
        ("error_description" = Option<String>, Query, description = "The same in words, for the log.", example = "cancelled"),
        ("iss" = Option<String>, Query, description = "The issuer (RFC 9207); needed where its configuration promises it.", example = "https://accounts.example")),
    responses((status = 302, description = "To the page.", headers(("location" = String, description = "The page, with `code` or `error` in its query.")))),
    extensions(("x-problems" = json!("bad-answer unknown-login unknown-provider internal"))))]
pub(crate) async fn callback(request: HttpRequest, context: Data<Context>) -> Answer {
    let server = &context.server;
    let (query, now) = (answer_in(request.query_string().as_bytes())?, server.clock().running());
    let state = text(&query, "state").unwrap_or_default();
    let mut cookie = cookie(&context, state, String::new());
    let kept = request.cookie(cookie.name()).map(|kept| kept.value().to_owned()).unwrap_or_default();
    let sent = server.codes.sent.redeem(&kept, now);
    let sent = sent.filter(|sent| verify_slices_are_equal(sent.pending.state().as_bytes(), state.as_bytes()).is_ok());
    let sent = sent.ok_or_else(|| {
        let detail = "this browser did not begin this login, or too long ago: begin again";
        Problem::new(StatusCode::BAD_REQUEST, "unknown-login", detail)
    })?;
    let SentLogin { provider: name, pending, redirect_uri, challenge } = sent;
    let came_to = request.match_info().get("provider");
    if came_to.map_or(SHARED_CALLBACK.to_owned(), |came| format!("/v1/providers/{came}/callback"))
        != callback_path(&context, &name)
    {
        tracing::warn!(provider = name, came_to, "a login came back to a different provider's callback");
        let detail = "this login began with a different provider: begin again";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown-login", detail));
    }
    // one that was switched off meanwhile finishes nothing
    let provider = server.app().providers.oidc(&name).cloned().ok_or_else(Problem::unknown_provider)?;
    if provider.redirect_uri(Some(&redirect_uri)).is_err() {
        let detail = "the page that this login would come back to is no longer one of the provider's: begin again";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown-login", detail));
    }
    let (issuer, now_s) = (text(&query, "iss"), server.wall_s());
    let outcome = match (text(&query, "code"), text(&query, "error")) {
        (_, Some(error)) => match provider.check_answer(&pending, issuer, now_s).await {
            Ok(()) => Err(refused_by_issuer(&name, error, text(&query, "error_description"))),
            Err(error) => Err(refused_here(&name, &error)),
        },
        (Some(code), None) => match provider.finish(pending, code, issuer, now_s).await {
            Ok(verified) => Ok(Proof { method: LoginMethod::Browser, ..Proof::from(verified) }),
            Err(error) => Err(refused_here(&name, &error)),
        },
        (None, None) => {
            tracing::warn!(provider = name, "an issuer sent a browser back with neither a code nor an error");
            Err("login_failed")
        }
    };
    let issued = outcome.and_then(|proof| {
        let finished = FinishedLogin { provider: name, proof, challenge };
        let code = server.codes.finished.issue(None, finished, now, &*server.entropy);
        code.map_err(|_| "temporarily_unavailable")
    });
    let mut url = Url::parse(&redirect_uri)
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    match &issued {
        Ok(code) => url.query_pairs_mut().append_pair("code", code.text()),
        Err(error) => url.query_pairs_mut().append_pair("error", error),
    };
    cookie.make_removal();
    with_cookie(go_to(StatusCode::FOUND, url.as_str())?, &cookie)
}

/// Logs why the issuer refused a login, and returns what the page is told.
fn refused_by_issuer(provider: &str, error: &str, description: Option<&str>) -> &'static str {
    let (error, description) = (plain(error, SHOWN), plain(description.unwrap_or_default(), SHOWN));
    if error == "access_denied" {
        tracing::info!(provider, error, description, "an issuer has refused a login");
        return "access_denied";
    }
    tracing::warn!(provider, error, description, "an issuer has refused a login");
    if error == "temporarily_unavailable" { "temporarily_unavailable" } else { "login_failed" }
}

/// The same for a login that came back and proves nothing.
fn refused_here(provider: &str, error: &IdentityError) -> &'static str {
    if let IdentityError::Unavailable(_) = error {
        identities::report(provider, error);
        return "temporarily_unavailable";
    }
    tracing::warn!(provider, %error, "a login in the browser was refused");
    "login_failed"
}

/// Takes an issuer's answer by a form.
///
/// For `response_mode=form_post`. It sends the browser on to the same place with what is needed of it as a query, because the login's
/// cookie does not come with a form of a different site.
#[utoipa::path(post, path = "/v1/providers/{provider}/callback", tag = "Browser login", operation_id = "finishBrowserLoginByForm",
    params(("provider" = String, Path, description = "The provider that the login began with.", example = "oidc-corp")),
    request_body(content = IssuersAnswer, content_type = "application/x-www-form-urlencoded", description = "What else is there is not looked at."),
    responses((status = 303, description = "To the same place.", headers(("location" = String, description = "The path, with the answer in its query.")))),
    extensions(("x-problems" = json!("body-too-slow body-too-large bad-body bad-answer internal"))))]
pub(crate) async fn callback_by_form(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let form = answer_in(&body::read(&request, &context, payload).await?)?;
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(ANSWER.iter().filter_map(|name| Some((name, text(&form, name)?))));
    let query = query.finish();
    if query.is_empty() || query.len() > LONGEST_ANSWER {
        let detail = "the form is not an issuer's answer: it needs state, and code or error";
        return Err(bad_answer(detail));
    }
    go_to(StatusCode::SEE_OTHER, &format!("{}?{query}", request.path()))
}

/// What a code of a finished login proves to the page that has its secret. `peek` leaves the code as it is.
pub(super) fn finished(
    context: &Context,
    provider: &str,
    credentials: &Map<String, Value>,
    peek: bool,
) -> Result<Proof, IdentityError> {
    let code = text(credentials, "code").ok_or(IdentityError::Field("code"))?;
    // before the code is used up
    text(credentials, "code_verifier").ok_or(IdentityError::Field("code_verifier"))?;
    let (codes, now) = (&context.server.codes.finished, context.server.clock().running());
    // no code is used up in vain
    let uses_up = !peek && context.server.may_refuse();
    let finished = if uses_up { codes.redeem(code, now) } else { codes.peek(code, now) };
    proved(finished, provider, credentials)
}

/// The same of a code by which this user has linked or merged already.
pub(super) fn finished_before(
    context: &Context,
    user: &UserId,
    provider: &str,
    credentials: &Map<String, Value>,
) -> Result<Proof, IdentityError> {
    let code = text(credentials, "code").ok_or(IdentityError::Field("code"))?;
    let linked = context.server.codes.linked.peek(code, context.server.clock().running());
    proved(linked.filter(|(by, _)| by == user).map(|(_, finished)| finished), provider, credentials)
}

fn proved(
    finished: Option<FinishedLogin>,
    provider: &str,
    credentials: &Map<String, Value>,
) -> Result<Proof, IdentityError> {
    let secret = text(credentials, "code_verifier").ok_or(IdentityError::Field("code_verifier"))?;
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()));
    let finished = finished.filter(|finished| {
        finished.provider == provider
            && verify_slices_are_equal(finished.challenge.as_bytes(), challenge.as_bytes()).is_ok()
    });
    finished.map(|finished| finished.proof).ok_or(IdentityError::Code)
}
