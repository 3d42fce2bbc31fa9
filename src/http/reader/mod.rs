//! Readers known by a cookie: which cookie it is, what it is good for, and when it is set again.
//!
//! A reader's first cookie is *lazy*: signed, and nothing is stored. The user is created on the second visit, under the id that the
//! cookie names, and gets a cookie of a session. So a visitor who reads one page costs nothing, and has the same id from the
//! first page on.

mod visitor;

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::{LAZY_S, Record, Refusal, ServiceTime, SessionId, SessionKind, UserId};
use passerby_actors::handle::{self, Live, LoggedIn};

pub(crate) use self::visitor::Visitor;
use super::charge::came_back;
use super::context::Context;
use super::forwarded::Forwarded;
use crate::left::ON_THE_WAY_S;
use crate::token::{CookieKind, ReaderCookie};

/// A session's cookie is issued again when it is this old (seconds): at most once a day.
const SLIDE_S: u32 = 86_400;
/// No cookie lives longer in a browser (RFC 6265bis §5.5).
const LONGEST_AGE_S: u32 = 400 * 86_400;

/// What a request's cookie turned out to be.
pub(crate) enum Found {
    /// There is none, or it is not ours, or its session is over.
    Nobody,
    /// A live session, by its own cookie or by the lazy one that began it.
    Reader(Live, ReaderCookie),
    /// A session whose place a link or a merge has given to this one a moment ago ([`ON_THE_WAY_S`]): it reads for the requests that
    /// a page had on their way. Its answers set no cookie, or they would overwrite the new one.
    Replaced(Live),
    /// A reader who has not been stored yet.
    Lazy(ReaderCookie),
}

/// How the cookie is called and kept, for this request.
struct Form<'a> {
    name: &'static str,
    secure: bool,
    domain: Option<&'a str>,
    partitioned: bool,
}

impl<'a> Form<'a> {
    /// `__Host-` wherever there is TLS, `__Secure-` with a domain for subdomains; on loopback without TLS browsers keep
    /// neither (RFC 6265bis §4.1.3).
    fn of(request: &HttpRequest, context: &'a Context) -> Self {
        let settings = &context.server.settings;
        let plain = match &settings.public_url {
            Some(url) => is_plain(url),
            None => {
                let forwarded = Forwarded::of(request, &settings.trusted_proxies);
                is_plain(&format!("{}://{}", forwarded.scheme, forwarded.host.unwrap_or_default()))
            }
        };
        let cookie = &settings.cookie;
        let domain = cookie.domain.as_deref().filter(|_| !plain);
        let name = match (plain, domain) {
            (true, _) => "passerby",
            (false, None) => "__Host-passerby",
            (false, Some(_)) => "__Secure-passerby",
        };
        Self { name, secure: !plain, domain, partitioned: cookie.partitioned && !plain }
    }

    /// The header's text.
    fn cookie(&self, value: String, max_age_s: u32) -> String {
        let mut cookie = Cookie::build(self.name, value)
            .path("/")
            .http_only(true)
            .secure(self.secure)
            // a page embedded by a different site gets a cookie only if it is partitioned, and then needs this (CHIPS)
            .same_site(if self.partitioned { SameSite::None } else { SameSite::Lax })
            .max_age(Duration::seconds(max_age_s.into()))
            .finish();
        if let Some(domain) = self.domain {
            cookie.set_domain(domain);
        }
        // the library does not know the attribute yet
        format!("{cookie}{}", if self.partitioned { "; Partitioned" } else { "" })
    }
}

/// Whether cookies for this origin go without TLS: on this machine alone.
pub(crate) fn is_plain(origin: &str) -> bool {
    let Some(host) = origin.strip_prefix("http://") else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// The first genuine reader cookie of a request; the texts of others are never adopted (S4). The site's own cookies beside it may
/// be of any bytes: scripts write what they like.
fn genuine(request: &HttpRequest, context: &Context) -> Option<ReaderCookie> {
    let form = Form::of(request, context);
    let headers = request.headers().get_all(header::COOKIE).map(HeaderValue::as_bytes);
    let mut values = headers
        .flat_map(|header| header.split(|byte| *byte == b';'))
        .filter_map(|pair| pair.trim_ascii().strip_prefix(form.name.as_bytes())?.strip_prefix(b"="));
    values.find_map(|value| context.server.tokens.verify_cookie(str::from_utf8(value).ok()?))
}

/// Whose cookie a request carries.
///
/// # Errors
/// The reader is disabled; or the store cannot write, so no session may be called over.
pub(crate) fn look(request: &HttpRequest, context: &Context) -> Result<Found, handle::Error> {
    let Some(cookie) = genuine(request, context) else { return Ok(Found::Nobody) };
    let session = session_of(&cookie);
    match cookie.kind {
        CookieKind::Session => match context.handle.check(&cookie.user, &session, None) {
            Ok(live) if live.kind == SessionKind::Cookie => {
                came_back(request, context, &live);
                Ok(Found::Reader(live, cookie))
            }
            Ok(_) => Ok(Found::Nobody),
            Err(handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => {
                replaced(request, context, &cookie.user, &session)
            }
            Err(other) => Err(other),
        },
        CookieKind::Lazy => {
            let server = &context.server;
            let over = server.clock().now() >= cookie.issued.saturating_add(lazy_s(context, &cookie));
            if over {
                return replaced(request, context, &cookie.user, &session);
            }
            match context.handle.lazy(&cookie.user) {
                Ok(Some(live)) => {
                    came_back(request, context, &live);
                    Ok(Found::Reader(live, cookie))
                }
                Ok(None) => Ok(Found::Lazy(cookie)),
                Err(handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => {
                    replaced(request, context, &cookie.user, &session)
                }
                Err(other) => Err(other),
            }
        }
    }
}

/// The session that a cookie is of: a lazy one of the first that its reader has.
fn session_of(cookie: &ReaderCookie) -> SessionId {
    let number = match cookie.kind {
        CookieKind::Session => cookie.session,
        CookieKind::Lazy => Record::created_lazily(0).session_no.into(),
    };
    SessionId::derive(&cookie.user, number)
}

/// What a cookie is whose session is over.
fn replaced(
    request: &HttpRequest,
    context: &Context,
    user: &UserId,
    ended: &SessionId,
) -> Result<Found, handle::Error> {
    match context.handle.successor(user, ended, ON_THE_WAY_S) {
        Ok(live) if live.kind == SessionKind::Cookie => {
            came_back(request, context, &live);
            Ok(Found::Replaced(live))
        }
        Ok(_) | Err(handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => Ok(Found::Nobody),
        Err(other) => Err(other),
    }
}

/// Whose session a request's cookie is of, whether or not it is over.
pub(crate) fn named(request: &HttpRequest, context: &Context) -> Option<(UserId, SessionId)> {
    genuine(request, context).map(|cookie| (cookie.user, session_of(&cookie)))
}

/// The browser that asks goes over to the session of an account: answers that are on their way to it set the cookie that it has now
/// no more. Said before the login is done, because they may come while it is.
pub(crate) fn leave(request: &HttpRequest, context: &Context) {
    if let Some((_, session)) = named(request, context) {
        context.server.left.note(session, context.server.clock().now());
    }
}

/// Whether a request was on its way when its browser went over to the session of an account: its answer sets no cookie at all.
pub(crate) fn is_late(request: &HttpRequest, context: &Context) -> bool {
    named(request, context).is_some_and(|(_, session)| !may_set(context, &session))
}

/// Whether the cookie of a session may be set, or would overwrite that of a browser that went over to a different one.
pub(crate) fn may_set(context: &Context, session: &SessionId) -> bool {
    !context.server.left.is_left(session, context.server.clock().now())
}

/// Sets the cookie of a session.
pub(crate) fn set_session(
    response: &mut HttpResponse,
    request: &HttpRequest,
    context: &Context,
    session: &LoggedIn,
    lasting: bool,
) {
    let (now, policy) = (context.server.clock().now(), &context.server.core.policy());
    let age_s = if lasting { policy.session_lifetime_s } else { policy.window_s };
    let cookie = ReaderCookie { kind: CookieKind::Session, user: session.user, session: session.number, issued: now };
    set(response, request, context, &cookie, age_s.min(LONGEST_AGE_S));
}

/// How long a lazy cookie is good (seconds): for the window, which may have changed since it was issued.
fn lazy_s(context: &Context, cookie: &ReaderCookie) -> u32 {
    let issued_for = if cookie.session == 0 { LAZY_S } else { cookie.session };
    issued_for.min(context.server.core.policy().window_s)
}

/// Sets a lazy cookie for an id whose reader is not stored.
pub(crate) fn set_lazy(response: &mut HttpResponse, request: &HttpRequest, context: &Context, user: UserId) {
    let issued: ServiceTime = context.server.clock().now();
    let window_s = context.server.core.policy().window_s;
    let cookie = ReaderCookie { kind: CookieKind::Lazy, user, session: window_s, issued };
    set(response, request, context, &cookie, window_s.min(LONGEST_AGE_S));
}

fn set(response: &mut HttpResponse, request: &HttpRequest, context: &Context, cookie: &ReaderCookie, max_age_s: u32) {
    let value = context.server.tokens.cookie(cookie);
    put(response, &Form::of(request, context).cookie(value, max_age_s));
}

/// Tells the browser to delete the cookie.
pub(crate) fn clear(response: &mut HttpResponse, request: &HttpRequest, context: &Context) {
    put(response, &Form::of(request, context).cookie(String::new(), 0));
}

fn put(response: &mut HttpResponse, cookie: &str) {
    // we wrote it: it holds nothing that a header may not
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
}

/// Slides the cookie of a live session, at most once a day; a lazy one is replaced at once.
pub(crate) fn slide(
    response: &mut HttpResponse,
    request: &HttpRequest,
    context: &Context,
    live: &Live,
    cookie: &ReaderCookie,
) {
    let age_s = context.server.clock().now().saturating_sub(cookie.issued);
    let session = SessionId::derive(&live.user, live.number);
    if (cookie.kind == CookieKind::Lazy || age_s >= SLIDE_S) && may_set(context, &session) {
        let session = LoggedIn { user: live.user, number: live.number, session, epoch: live.epoch };
        set_session(response, request, context, &session, !live.record.is_anonymous());
    }
}

/// Slides the cookie of a reader who comes back and still cannot be stored.
pub(crate) fn slide_lazy(response: &mut HttpResponse, request: &HttpRequest, context: &Context, cookie: &ReaderCookie) {
    let is_due = context.server.clock().now().saturating_sub(cookie.issued) >= SLIDE_S;
    if is_due && may_set(context, &session_of(cookie)) {
        set_lazy(response, request, context, cookie.user);
    }
}

/// Whether a request that changes something, and proves itself by a cookie alone, comes from the site itself or from a page of
/// `allowed_origins` (S21): browsers say so in `Sec-Fetch-Site` and `Origin`, older ones in `Origin` alone.
pub(crate) fn is_own(request: &HttpRequest, context: &Context) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD) || is_from_own_page(request, context)
}

/// Whether a page of the site itself or of `allowed_origins` asks: of a socket too, which begins with a GET (S23).
pub(crate) fn is_from_own_page(request: &HttpRequest, context: &Context) -> bool {
    is_from_page_of(request, context, &context.server.app().allowed_origins)
}

/// The same, of origins that the caller has looked up.
pub(crate) fn is_from_page_of(request: &HttpRequest, context: &Context, allowed: &[String]) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let settings = &context.server.settings;
    let origin = header("origin");
    if origin.is_some_and(|origin| allowed.iter().any(|allowed| allowed == origin)) {
        return true;
    }
    if let Some(site) = header("sec-fetch-site") {
        return site == "same-origin" || (site == "same-site" && settings.cookie.domain.is_some());
    }
    let own = match &settings.public_url {
        Some(url) => url.clone(),
        None => {
            let forwarded = Forwarded::of(request, &settings.trusted_proxies);
            format!("{}://{}", forwarded.scheme, forwarded.host.unwrap_or_default())
        }
    };
    origin == Some(own.as_str())
}
