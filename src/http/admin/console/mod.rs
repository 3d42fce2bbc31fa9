//! The console: static files, which call the admin API and nothing else. They are served from the first moment, also while recovering.

#[cfg(test)]
mod tests;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse, Route};
use serde_json::json;

use super::phase::{Phase, SharedPhase};
use crate::http::files::{SCRIPT, Served};
use crate::http::index::of_kind;

const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";
const PAGE: &str = "text/html; charset=utf-8";

macro_rules! files {
    ($($kind:ident $name:literal)*) => {
        /// The files below `/console/`: name, content type, content.
        const FILES: &[(&str, &str, &[u8])] = &[$(($name, $kind, include_bytes!($name))),*];
    };
}

files! {
    STYLE "console.css"
    PICTURE "icon.svg"
    SCRIPT "api.js"
    SCRIPT "bulk.js"
    SCRIPT "charts.js"
    SCRIPT "dialogs.js"
    SCRIPT "dom.js"
    SCRIPT "draft.js"
    SCRIPT "feed.js"
    SCRIPT "format.js"
    SCRIPT "icons.js"
    SCRIPT "main.js"
    SCRIPT "session.js"
    SCRIPT "texts.js"
    SCRIPT "theme.js"
    SCRIPT "ui.js"
    SCRIPT "pages/account.js"
    SCRIPT "pages/admins.js"
    SCRIPT "pages/audit.js"
    SCRIPT "pages/authentication.js"
    SCRIPT "pages/deployment.js"
    SCRIPT "pages/deployments.js"
    SCRIPT "pages/keys.js"
    SCRIPT "pages/live.js"
    SCRIPT "pages/login.js"
    SCRIPT "pages/meters.js"
    SCRIPT "pages/networks.js"
    SCRIPT "pages/overview.js"
    SCRIPT "pages/provider.js"
    SCRIPT "pages/settings.js"
    SCRIPT "pages/user.js"
    SCRIPT "pages/users.js"
}

const INDEX: &[u8] = include_bytes!("index.html");

/// The page loads what is served from here and asks this server alone; it shows text and never HTML that it got (Trusted Types);
/// and it is in no frame, where a click could be led astray.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);

/// Adds the routes; `other` answers the methods that they do not have.
pub(super) fn routes(config: &mut web::ServiceConfig, other: impl Fn() -> Route) {
    config.service(web::resource("/").get(index).route(web::head().to(index)).default_service(other()));
    for (name, kind, content) in FILES {
        let served = Served::new(kind, Bytes::from_static(content));
        let answer = move |request: HttpRequest| std::future::ready(dressed(served.answer(&request)));
        let resource = web::resource(format!("/console/{name}")).get(answer.clone());
        config.service(resource.route(web::head().to(answer)).default_service(other()));
    }
}

/// The console for browsers; for programs, what is here.
async fn index(request: HttpRequest, phase: web::Data<SharedPhase>) -> HttpResponse {
    let accepts = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut response = if accepts.contains("text/html") {
        dressed(Served::new(PAGE, Bytes::from_static(INDEX)).answer(&request))
    } else {
        let (now, deployment) = match &*phase.read() {
            Phase::Recovering => ("recovering", None),
            Phase::Serving(server) => ("serving", Some(server.app().number)),
            Phase::Draining(server) => ("draining", Some(server.app().number)),
        };
        let links = json!({
            "status": now,
            "deployment": deployment,
            "health": "/healthz",
            "readiness": "/readyz",
            "metrics": "/metrics",
        });
        of_kind(request.headers(), &links, "", String::new)
    };
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// A browser asks each time whether it is still the same: after an upgrade no old file is beside a new one.
fn dressed(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    response
}
