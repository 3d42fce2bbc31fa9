//! `/verify`: what a proxy asks before it lets a request through (forward authentication).

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use passerby_actors::domain::{Refusal, SessionId, UserId};
use passerby_actors::handle::{self, Live};
use url::form_urlencoded;

use super::reader::{Found, Visitor, is_late, look, may_set, set_lazy, set_session, slide, slide_lazy};
use crate::http::meters::{self, Use};
use crate::http::schemas::{VerifyAssertion, VerifyCreate, VerifyItemFrom, VerifyOver};
use crate::http::{Context, NO_STORE, Problem, body, by_bearer, client};

/// Who it is; left out for a machine that reads a page of `create=auto`.
pub(crate) const USER: HeaderName = HeaderName::from_static("x-passerby-user");
/// `true` or `false`.
pub(crate) const ANONYMOUS: HeaderName = HeaderName::from_static("x-passerby-anonymous");
/// Seconds since the session began; 0 for a reader who is not stored yet.
const SESSION_AGE: HeaderName = HeaderName::from_static("x-passerby-session-age");
/// A JWT of one minute that says who it is.
const ASSERTION: HeaderName = HeaderName::from_static("x-passerby-assertion");
/// The meter that a page counts on, for proxies that say it so and not in the query.
const METER: HeaderName = HeaderName::from_static("x-passerby-meter");
/// Where the visitor finds more than the allowance.
const METER_PAGE: HeaderName = HeaderName::from_static("x-passerby-meter-page");
/// Why it is refused.
const REASON: HeaderName = HeaderName::from_static("x-passerby-reason");

/// Where proxies ask.
pub(crate) const PATH: &str = "/verify";

/// Adds the route. Proxies ask with whatever method they like. There is nothing below it: a path that a proxy reads as another
/// place, such as `/verify/..%2fv1`, must not reach it.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource(PATH).to(verify));
}

/// What the proxy's configuration asks for. The location is internal: no visitor writes this.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    creates: bool,
    asserts: bool,
    meter: Option<String>,
    item: Option<String>,
    /// The part of `X-Forwarded-Uri` that is the item.
    item_from: Option<Part>,
    operation: Option<String>,
    /// Whether a visitor whose allowance is used up is sent to the meter's page.
    redirects: bool,
}

/// Of the page that a visitor asked the proxy for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// What stands before the query.
    Path,
    /// All.
    Uri,
}

impl Wish {
    /// What `create=auto` asks for and, for the reading of an item, `meter=…&item=…`.
    pub(crate) fn of_page(reading: Option<(&str, &str)>) -> Self {
        let (meter, item) = reading.map(|(meter, item)| (meter.to_owned(), item.to_owned())).unzip();
        Self { creates: true, meter, item, ..Self::default() }
    }

    fn of(query: &str) -> Result<Self, Problem> {
        let mut wish = Self::default();
        let mut seen = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            // one that stands there twice is a visitor's behind the proxy's
            if seen.contains(&name) {
                let detail = format!("{name} stands in the query twice");
                return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail));
            }
            seen.push(name.clone());
            match (&*name, &*value) {
                ("create", "auto") => wish.creates = true,
                ("create", "never") => wish.creates = false,
                ("assertion", "1") => wish.asserts = true,
                ("assertion", "0") => wish.asserts = false,
                ("meter", meter) => wish.meter = Some(meter.to_owned()),
                ("item", item) => wish.item = Some(item.to_owned()),
                ("item_from", "path") => wish.item_from = Some(Part::Path),
                ("item_from", "uri") => wish.item_from = Some(Part::Uri),
                ("operation", operation) => wish.operation = Some(operation.to_owned()),
                // how a refusal is answered: nginx treats everything but 401 and 403 as an error of ours
                ("over", "402" | "403") => {}
                ("over", "303") => wish.redirects = true,
                _ => {
                    let detail = "the query takes create=auto or never, assertion=1 or 0, meter, item, item_from=path or uri, operation, over=402, 403 or 303";
                    return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail));
                }
            }
        }
        if wish.item.is_some() && wish.item_from.is_some() {
            let detail = "the query has item or item_from, not both";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail));
        }
        Ok(wish)
    }

    /// Takes what the proxy tells in headers: the meter, and the page's address as the item, into which no visitor can put a query.
    fn take_headers(&mut self, request: &HttpRequest) -> Result<(), Problem> {
        if self.meter.is_none() {
            let meter = request.headers().get(METER).and_then(|meter| meter.to_str().ok());
            self.meter = meter.filter(|meter| !meter.is_empty()).map(str::to_owned);
        }
        let Some(part) = self.item_from.filter(|_| self.meter.is_some()) else { return Ok(()) };
        let uri = request.headers().get("x-forwarded-uri").map(|uri| String::from_utf8_lossy(uri.as_bytes()));
        let uri = uri.ok_or_else(|| {
            let detail = "item_from needs the header X-Forwarded-Uri of the proxy";
            Problem::new(StatusCode::BAD_REQUEST, "no-forwarded-uri", detail)
        })?;
        let path = uri.split('?').next().unwrap_or_default();
        self.item = Some(if part == Part::Path { path } else { &uri }.to_owned());
        Ok(())
    }
}

/// Refuses a browser that asks here directly: what counts or creates a reader is for the proxy to ask, and a page anywhere can lead a
/// browser here, but not have it say `X-Forwarded-Uri` (S21).
fn is_asked_by_proxy(request: &HttpRequest, wish: &Wish) -> bool {
    let has = |name: &str| request.headers().contains_key(name);
    let is_direct = has("sec-fetch-site") && !has("x-forwarded-uri") && !has("x-forwarded-method");
    !is_direct || !(wish.creates || wish.meter.is_some())
}

/// Whether the visitor's request changes nothing (RFC 9110 §9.2.1), as far as the proxy says what it is.
fn reads(request: &HttpRequest) -> bool {
    let forwarded = request.headers().get("x-forwarded-method").map(HeaderValue::as_bytes);
    let method = forwarded.filter(|method| !method.is_empty()).unwrap_or(request.method().as_str().as_bytes());
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS")
}

/// The user that a check found.
struct Passed {
    user: UserId,
    anonymous: bool,
    age_s: u32,
}

impl Passed {
    fn by(context: &Context, live: &Live) -> Self {
        let age_s = context.server.clock().now().saturating_sub(live.started);
        Self { user: live.user, anonymous: live.record.is_anonymous(), age_s }
    }

    fn lazily(user: UserId) -> Self {
        Self { user, anonymous: true, age_s: 0 }
    }

    fn response(&self, context: &Context, wish: &Wish) -> HttpResponse {
        let mut response = HttpResponse::NoContent().finish();
        let headers = response.headers_mut();
        // ids are of characters that a header may hold
        if let Ok(user) = HeaderValue::from_str(self.user.encode(&mut [0; 36])) {
            headers.insert(USER, user);
        }
        headers.insert(ANONYMOUS, HeaderValue::from_static(if self.anonymous { "true" } else { "false" }));
        headers.insert(SESSION_AGE, self.age_s.into());
        if wish.asserts {
            let server = &context.server;
            let assertion = server.tokens.assertion(&self.user, self.anonymous, server.wall_s());
            if let Ok(assertion) = HeaderValue::from_str(&assertion) {
                headers.insert(ASSERTION, assertion);
            }
        }
        response
    }
}

/// Says who a visitor is.
///
/// For a proxy in front of a site, which asks here about every request, with whatever method it likes. By Bearer token or cookie; with
/// `create=auto` a first visit is given an id. Every refusal names its reason in `X-Passerby-Reason`.
#[utoipa::path(get, path = "/verify", tag = "Readers", operation_id = "verifyVisitor", security((), ("access_token" = []), ("reader_cookie" = [])),
    params(("create" = inline(Option<VerifyCreate>), Query, description = "`auto`: a first visit is given an id. `never` (the default): it is refused."),
        ("meter" = Option<String>, Query, description = "The meter that this use counts on.", example = "articles"),
        ("item" = Option<String>, Query, description = "What is used; counts once in a period.", example = "/2026/an-article"),
        ("item_from" = inline(Option<VerifyItemFrom>), Query, description = "The item is that part of `X-Forwarded-Uri`: `path` or all of it, `uri`."),
        ("operation" = Option<String>, Query, description = "Which request it is; counts once.", example = "5f0c2c1e"),
        ("over" = inline(Option<VerifyOver>), Query, description = "`402` (the default): the status when the allowance is used up. `403`: that of every refusal but 401 and 503, for proxies that support no others. `303`: the visitor is sent to the meter's page, where `meter.NAME.page` is set."),
        ("assertion" = inline(Option<VerifyAssertion>), Query, description = "`1`: with `X-Passerby-Assertion`."),
        ("X-Passerby-Meter" = Option<String>, Header, description = "The same as `meter`, for proxies that set a header for each page.", example = "articles"),
        ("X-Forwarded-Uri" = Option<String>, Header, description = "The page that the visitor asked for, for `item_from`.", example = "/2026/an-article?page=2")),
    responses((status = 204, description = "Let it through.", headers(
            ("x-passerby-user" = Option<String>, description = "The visitor's id. Left out for a crawler."),
            ("x-passerby-anonymous" = String, description = "`true` or `false`."),
            ("x-passerby-session-age" = Option<u32>, description = "Seconds since the session began."),
            ("x-passerby-assertion" = Option<String>, description = "With `assertion=1`: a JWT of one minute that says who it is."),
            ("x-passerby-meter-used" = Option<u32>, description = "Used of the meter in this period."),
            ("x-passerby-meter-limit" = Option<u32>, description = "Allowed in a period."),
            ("x-passerby-meter-remaining" = Option<u32>, description = "What is left."),
            ("x-passerby-meter-resets" = Option<String>, description = "When a new period begins (RFC 3339)."),
            ("x-passerby-meter-lifted" = Option<String>, description = "In place of those four: what lifts the meter for the visitor, `accounts` or the name of an entitlement."),
            ("set-cookie" = Option<String>, description = "To be passed on to the visitor."))),
        (status = 303, description = "With `over=303`: the allowance is used up.", headers(
            ("location" = String, description = "The meter's page (`meter.NAME.page`)."))),
        (status = 402, description = "The allowance is used up.", headers(
            ("x-passerby-reason" = String, description = "`meter`."),
            ("x-passerby-meter-page" = Option<String>, description = "The meter's page (`meter.NAME.page`)."),
            ("x-passerby-meter-resets" = String, description = "When a new period begins (RFC 3339).")))),
    extensions(("x-problems" = json!("body bad-query no-forwarded-uri no-such-meter:400 no-reader invalid-token wrong-token token-expired session-ended user-disabled cross-site network-blocked idempotency-key-reused over-budget write"))))]
pub(crate) async fn verify(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let wish = async {
        if !matches!(request.method().as_str(), "GET" | "HEAD") {
            body::discard(&request, &context, payload).await?;
        }
        let mut wish = Wish::of(request.query_string())?;
        wish.take_headers(&request)?;
        if is_asked_by_proxy(&request, &wish) { Ok(wish) } else { Err(Problem::cross_site()) }
    };
    let answer = match wish.await {
        Ok(wish) => check(&request, &context, &wish).await,
        Err(problem) => Err(problem),
    };
    // also of a query that is wrong elsewhere
    let over =
        || form_urlencoded::parse(request.query_string().as_bytes()).any(|pair| pair == ("over".into(), "403".into()));
    let is_refusal = |status: u16| (400..500).contains(&status) && status != 401 && over();
    let mut response = match answer {
        Ok(response) => response,
        Err(problem) => {
            let reason = HeaderValue::from_static(problem.code());
            let problem = if is_refusal(problem.status()) { problem.forbidden() } else { problem };
            let mut response = problem.respond(&context);
            response.headers_mut().insert(REASON, reason);
            response
        }
    };
    if is_refusal(response.status().as_u16()) {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    let (name, value) = NO_STORE;
    response.headers_mut().insert(name, value);
    response
}

/// The check itself.
pub(crate) async fn check(request: &HttpRequest, context: &Context, wish: &Wish) -> Result<HttpResponse, Problem> {
    if request.headers().contains_key("authorization") {
        let live = by_bearer(request, context)?;
        let response = Passed::by(context, &live).response(context, wish);
        return metered(context, wish, Some(&live.user), response).await;
    }
    by_cookie(request, context, wish).await
}

/// Counts the use that the proxy's configuration asks for. A reader who is not stored yet has used nothing.
async fn metered(
    context: &Context,
    wish: &Wish,
    user: Option<&UserId>,
    mut response: HttpResponse,
) -> Result<HttpResponse, Problem> {
    let Some(meter) = &wish.meter else { return Ok(response) };
    let view = match user {
        Some(user) => {
            let (item, operation) = (wish.item.as_deref(), wish.operation.as_deref().map(str::as_bytes));
            meters::used(context, user, Use { meter, amount: 1, item, operation }).await?
        }
        None => meters::unused(context, meter),
    };
    let view =
        view.ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "no-such-meter", "there is no meter of this name"))?;
    view.write(response.headers_mut());
    if !view.allowed {
        *response.status_mut() = StatusCode::PAYMENT_REQUIRED;
        response.headers_mut().insert(REASON, HeaderValue::from_static("meter"));
        // of characters that a header may hold
        if let Some(page) = meters::page(context, meter).and_then(|page| HeaderValue::from_str(page).ok()) {
            if wish.redirects {
                *response.status_mut() = StatusCode::SEE_OTHER;
                response.headers_mut().insert(LOCATION, page.clone());
            }
            response.headers_mut().insert(METER_PAGE, page);
        }
    }
    Ok(response)
}

/// Whether the cookie of a session may still be set after a wait: a link may have replaced it, or the browser may have gone over
/// to a session whose cookie must not be overwritten.
fn lives_on(context: &Context, user: &UserId, session: &SessionId) -> bool {
    may_set(context, session) && context.handle.check(user, session, None).is_ok()
}

async fn by_cookie(request: &HttpRequest, context: &Context, wish: &Wish) -> Result<HttpResponse, Problem> {
    match look(request, context)? {
        Found::Reader(live, cookie) => {
            let response = Passed::by(context, &live).response(context, wish);
            let mut response = metered(context, wish, Some(&live.user), response).await?;
            if lives_on(context, &live.user, &SessionId::derive(&live.user, live.number)) {
                slide(&mut response, request, context, &live, &cookie);
            }
            Ok(response)
        }
        // it gets no assertion
        Found::Replaced(live) if reads(request) => {
            let wish = &Wish { asserts: false, ..wish.clone() };
            metered(context, wish, Some(&live.user), Passed::by(context, &live).response(context, wish)).await
        }
        Found::Replaced(_) => Err(Problem::no_reader()),
        // as no login does where anonymous users are switched off
        Found::Lazy(_) | Found::Nobody if !wish.creates || !context.server.app().providers.anon_user_enabled => {
            Err(Problem::no_reader())
        }
        Found::Lazy(_) | Found::Nobody if let Err(blocked) = context.server.budgets.admit(client(request, context)) => {
            Err(blocked.into())
        }
        Found::Lazy(cookie) if !Visitor::of(request).may_become_reader => {
            metered(context, wish, None, Passed::lazily(cookie.user).response(context, wish)).await
        }
        Found::Lazy(cookie) => {
            let user = cookie.user;
            let exists = || context.handle.exists(&user);
            let created = match context.server.budgets.spend_on_reader(&user, client(request, context), exists) {
                Ok(paid) => {
                    let created = context.handle.create_lazily(&user).await;
                    let costs = u64::from(paid.is_some());
                    context.server.budgets.kept_if_stored(client(request, context), costs, created).map(Some)
                }
                // the reader keeps the id, and is stored when there is a budget again
                Err(_) => Ok(None),
            };
            match created {
                Ok(Some(session)) => {
                    let response = Passed::lazily(session.user).response(context, wish);
                    let mut response = metered(context, wish, Some(&session.user), response).await?;
                    if lives_on(context, &session.user, &session.session) {
                        set_session(&mut response, request, context, &session, false);
                    }
                    Ok(response)
                }
                // no user is removed to make room, and the reader keeps the id
                Ok(None) | Err(handle::Error::Capacity) => {
                    let mut response = Passed::lazily(user).response(context, wish);
                    slide_lazy(&mut response, request, context, &cookie);
                    metered(context, wish, None, response).await
                }
                Err(handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => {
                    metered(context, wish, None, first_visit(request, context, wish)).await
                }
                Err(other) => Err(other.into()),
            }
        }
        Found::Nobody => metered(context, wish, None, first_visit(request, context, wish)).await,
    }
}

/// A new id and nothing in the store. A machine gets no id and is let through: it reads what anyone may.
fn first_visit(request: &HttpRequest, context: &Context, wish: &Wish) -> HttpResponse {
    if !Visitor::of(request).may_become_reader {
        let mut response = HttpResponse::NoContent().finish();
        response.headers_mut().insert(ANONYMOUS, HeaderValue::from_static("true"));
        return response;
    }
    let user = context.handle.new_reader_id();
    let mut response = Passed::lazily(user).response(context, wish);
    if !is_late(request, context) {
        set_lazy(&mut response, request, context, user);
    }
    response
}
