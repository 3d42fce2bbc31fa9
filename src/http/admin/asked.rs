//! A request of the admin API: who asks, whether they may, and what they say.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Payload};
use passerby_actors::handle::{self, Handle};
use serde_json::{Map, Value};

use super::phase::{Phase, SharedPhase};
use super::rule::Rule;
use crate::admin::{Admins, Asker, By, Fault, LONGEST_S, Outcome, Role, Source};
use crate::http::forwarded::{Forwarded, is_of_this_machine};
use crate::http::problem::Problem;
use crate::http::{Context, bearer, body, read, within_time};

/// The session of a browser over TLS; the prefix binds it to this host.
const SECURE_COOKIE: &str = "__Host-passerby-admin";
/// The same without TLS, on this machine.
const PLAIN_COOKIE: &str = "passerby-admin";
/// What a script says that was served from here: no form and no page elsewhere can send it.
const SCRIPT_SAYS: &str = "x-passerby-admin";
/// What a page says that looks again by itself: this is no use of the session, which ends when nobody is there any more.
const UNATTENDED: &str = "x-passerby-unattended";

/// The worker's way into the core, once there is one.
#[derive(Default)]
pub(super) struct Way(RefCell<Option<Context>>);

impl Way {
    /// The server, unless it is still reading its data.
    pub(super) fn context(&self, phase: &SharedPhase) -> Option<Context> {
        let mut found = self.0.borrow_mut();
        if found.is_none() {
            let (Phase::Serving(server) | Phase::Draining(server)) = phase.read().clone() else { return None };
            let handle = Handle::new(server.core.clone(), server.linker.clone());
            *found = Some(Context { server, handle });
        }
        found.clone()
    }
}

/// A request of someone who may ask it.
pub(super) struct Asked {
    pub(super) request: HttpRequest,
    pub(super) context: Context,
    pub(super) source: Source,
    /// Who asks; none where everyone may.
    asker: Option<Asker>,
    body: Bytes,
}

impl Asked {
    /// Reads a request.
    ///
    /// # Errors
    /// The connection is not private; nobody who is known asks; they may not; the body cannot be read.
    pub(super) async fn of(
        request: HttpRequest,
        payload: Payload,
        context: Context,
        rule: &Rule,
    ) -> Result<Self, Problem> {
        let body = body::read_at_most(&request, &context, payload, rule.most_body).await?;
        is_private(&request, &context)?;
        let source = Source { address: address_of(&request, &context) };
        let mut asked = Self { request, context, source, asker: None, body };
        if let Some(needed) = rule.needs {
            let asker = asked.identified().await?;
            let has = asker.role;
            asked.asker = Some(asker);
            if has < needed {
                let what = rule.audited.map_or_else(|| format!("{} {}", rule.method, rule.path), str::to_owned);
                let entry = asked.by()?.did(&what, None, Outcome::Refused);
                asked.admins().count_refusal(&asked.context.handle, &entry.who, &asked.source).map_err(Fault::from)?;
                asked.admins().audit.write(&asked.context.handle, &entry).await?;
                let detail = format!("this needs the role {}, and yours is {}", needed.name(), has.name());
                return Err(Problem::new(StatusCode::FORBIDDEN, "insufficient-role", detail));
            }
        }
        Ok(asked)
    }

    /// Whether the request shows that somebody is there.
    fn is_use(&self) -> bool {
        let is_read = matches!(*self.request.method(), Method::GET | Method::HEAD);
        !(is_read && self.request.headers().contains_key(UNATTENDED))
    }

    /// By a Bearer token, or by the cookie of a page that was served from here.
    async fn identified(&self) -> Result<Asker, Problem> {
        let (request, handle) = (&self.request, &self.context.handle);
        if let Some(token) = bearer(request) {
            return Ok(self.admins().asker(handle, token, &self.source, self.is_use()).await?);
        }
        let cookie = self.cookie_name();
        let Some(cookie) = request.cookie(cookie) else { return Err(Problem::no_token()) };
        let asker = self.admins().asker(handle, cookie.value(), &self.source, self.is_use()).await?;
        // a cookie is no text that anything else would be good in
        if asker.session.is_none() {
            return Err(Problem::no_token());
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            self.must_be_own_page()?;
        }
        Ok(asker)
    }

    /// A change by cookie comes from a page that was served from here, and a login that sets one (CSRF).
    ///
    /// # Errors
    /// It does not say so.
    pub(super) fn must_be_own_page(&self) -> Result<(), Problem> {
        let said = |name: &str| self.request.headers().get(name).and_then(|value| value.to_str().ok());
        let is_same_site = match (said("sec-fetch-site"), said("origin")) {
            (Some(site), _) => site == "same-origin",
            (None, Some(origin)) => {
                let Forwarded { scheme, host, .. } = self.forwarded();
                host.is_some_and(|host| origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")))
            }
            (None, None) => false,
        };
        if is_same_site && said(SCRIPT_SAYS) == Some("1") { Ok(()) } else { Err(Problem::cross_site()) }
    }

    fn forwarded(&self) -> Forwarded {
        Forwarded::of(&self.request, &self.context.server.settings.trusted_proxies)
    }

    fn cookie_name(&self) -> &'static str {
        if self.forwarded().scheme == "https" { SECURE_COOKIE } else { PLAIN_COOKIE }
    }

    /// The cookie of a session; without one, that it is over.
    pub(super) fn cookie(&self, secret: Option<&str>) -> Cookie<'static> {
        let name = self.cookie_name();
        let age = if secret.is_some() { Duration::seconds(LONGEST_S.into()) } else { Duration::ZERO };
        Cookie::build(name, secret.unwrap_or_default().to_owned())
            .path("/")
            .secure(name == SECURE_COOKIE)
            .http_only(true)
            .same_site(SameSite::Strict)
            .max_age(age)
            .finish()
    }

    pub(super) fn admins(&self) -> &Admins {
        &self.context.server.admins
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.context.handle
    }

    /// Who asks.
    ///
    /// # Errors
    /// Nobody has to, here.
    pub(super) fn asker(&self) -> Result<&Asker, Problem> {
        self.asker.as_ref().ok_or_else(Problem::no_token)
    }

    /// Who asks, as the audit log names them.
    ///
    /// # Errors
    /// As [`asker`](Self::asker).
    pub(super) fn by(&self) -> Result<By, Problem> {
        let asker = self.asker()?;
        Ok(By::new(&asker.who, asker.role, Some(self.source.address.to_string())))
    }

    /// Whether a page asks that is served here.
    pub(super) fn is_by_cookie(&self) -> bool {
        bearer(&self.request).is_none()
    }

    /// A parameter of the path.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// The fields of the body: none but these.
    ///
    /// # Errors
    /// The body cannot be read, or has others.
    pub(super) fn fields(&self, known: &[&str]) -> Result<Map<String, Value>, Problem> {
        read::of(&self.request, &self.body, &[known])
    }

    /// The fields of the body, and any others, as App Services takes them.
    ///
    /// # Errors
    /// The body cannot be read.
    pub(super) fn loose_fields(&self) -> Result<Map<String, Value>, Problem> {
        Ok(body::fields_of(&self.body)?)
    }

    /// The body, which may be any JSON.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn value(&self) -> Result<Value, Problem> {
        Ok(body::json(&self.body)?)
    }

    /// Does something with an entry in the audit log before it, which then says what became of it. It goes on to its end when the
    /// client has gone, and when it takes longer than a request may.
    ///
    /// # Errors
    /// No entry could be written, and nothing is done. Within: the operation's own; that its outcome is not known in time.
    pub(super) async fn audited<T: 'static, E: Doubt + 'static>(
        &self,
        what: &str,
        whom: &str,
        (before, after): (Option<Value>, Option<Value>),
        operation: impl Future<Output = Result<T, E>> + 'static,
    ) -> Result<Result<T, E>, Problem> {
        let mut entry = self.by()?.did(what, Some(whom), Outcome::Unknown);
        (entry.before, entry.after) = (before, after);
        let context = self.context.clone();
        let doing = actix_web::rt::spawn(async move {
            let (audit, handle) = (&context.server.admins.audit, &context.handle);
            let begun = audit.begin(handle, entry).await?;
            let result = operation.await;
            let outcome = match &result {
                Ok(_) => Outcome::Done,
                Err(error) if error.is_unknown() => return Ok(result),
                Err(_) => Outcome::Refused,
            };
            audit.end(handle, begun, outcome).await;
            Ok::<_, Fault>(result)
        });
        let panicked = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the action ended early");
        // it is a task of its own: what is left of it here is the wait
        let waited = within_time(&self.context, async { Ok::<_, handle::Error>(doing.await) }).await;
        match waited {
            Ok(ended) => Ok(ended.map_err(panicked)??),
            Err(late) => Ok(Err(late.into())),
        }
    }
}

/// Why an action was not done, or may have been.
pub(super) trait Doubt: From<handle::Error> {
    /// Whether it may have been done all the same.
    fn is_unknown(&self) -> bool;
}

impl Doubt for handle::Error {
    fn is_unknown(&self) -> bool {
        *self == Self::OutcomeUnknown
    }
}

/// Characters of a reason.
const LONGEST_REASON: usize = 200;

/// The `reason` in the fields, a text of one line; none if there is none.
///
/// # Errors
/// It is no such text.
pub(super) fn reason(fields: &Map<String, Value>) -> Result<Option<&str>, Problem> {
    let wrong =
        || Problem::bad_field(format!("reason must be a text of one line with at most {LONGEST_REASON} characters"));
    match fields.get("reason") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(reason)) => {
            let reason = reason.trim();
            if reason.chars().count() > LONGEST_REASON || reason.chars().any(char::is_control) {
                return Err(wrong());
            }
            Ok(Some(reason).filter(|reason| !reason.is_empty()))
        }
        Some(_) => Err(wrong()),
    }
}

/// A text in the fields.
///
/// # Errors
/// It is not there, or is none.
pub(super) fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a str, Problem> {
    fields.get(name).and_then(Value::as_str).ok_or_else(|| Problem::missing_field(name))
}

/// A role in the fields.
///
/// # Errors
/// It is none.
pub(super) fn role(value: &Value) -> Result<Role, Problem> {
    let role = value.as_str().and_then(Role::named);
    role.ok_or_else(|| Problem::bad_field("role must be \"read\", \"operate\" or \"owner\""))
}

/// Where a request comes from. What a trusted proxy says; of a command beside it, which says nothing, its own.
fn address_of(request: &HttpRequest, context: &Context) -> IpAddr {
    let told = Forwarded::of(request, &context.server.settings.trusted_proxies).client;
    // what a proxy on this machine passes on is not of this machine
    let own = request.peer_addr().map(|peer| peer.ip().to_canonical());
    let own = own.filter(|address| !address.is_loopback() || is_of_this_machine(request));
    told.or(own).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// Passwords and tokens go over this machine, over TLS, or where the operator says so.
fn is_private(request: &HttpRequest, context: &Context) -> Result<(), Problem> {
    let settings = &context.server.settings;
    let is_secure = Forwarded::of(request, &settings.trusted_proxies).scheme == "https";
    if settings.admin_insecure || is_secure || is_of_this_machine(request) {
        return Ok(());
    }
    let detail = "the admin API is served to this machine, over TLS (admin.tls, or a proxy in trusted_proxies), or with admin_insecure";
    Err(Problem::new(StatusCode::FORBIDDEN, "insecure-listener", detail))
}
