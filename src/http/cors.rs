//! What pages of other origins may ask (Fetch Standard, "CORS protocol"), by the app that is in force when a request comes.

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::app_services;
use super::context::Context;
use super::problem::Problem;
use crate::deployment::App;

const METHODS: [Method; 6] = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS];
const METHODS_TEXT: HeaderValue = HeaderValue::from_static("GET, POST, PUT, DELETE, PATCH, OPTIONS");
/// What scripts may read of an answer beside its body.
const EXPOSED: HeaderValue = HeaderValue::from_static("x-appservices-request-id, accept-patch, etag, retry-after");
/// For how long a browser need not ask again (seconds).
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");
const VARIES_BY: &str = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What the answer to a request may tell. Browsers may call from anywhere unless origins are listed, and only pages of listed ones
/// with a reader's cookie: no origin that is not listed is ever reflected (S22).
pub(super) struct Permission {
    origin: Option<HeaderValue>,
    with_cookies: bool,
}

impl Permission {
    pub(super) fn of(request: &ServiceRequest, app: &App) -> Self {
        let origin = request.headers().get(header::ORIGIN);
        let with_cookies = !app.allowed_origins.is_empty();
        let is_listed = |origin: &&HeaderValue| app.allowed_origins.iter().any(|allowed| *allowed == **origin);
        let origin = if with_cookies { origin.filter(is_listed).cloned() } else { origin.map(|_| ANY) };
        Self { origin, with_cookies }
    }

    /// Writes it into an answer.
    pub(super) fn put(self, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        self.put_origin(headers);
    }

    fn put_origin(self, headers: &mut HeaderMap) {
        if let Some(origin) = self.origin {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
        if self.with_cookies {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
        let before: Vec<_> = headers.get_all(header::VARY).map(HeaderValue::as_bytes).collect();
        let varies = [before.as_slice(), &[VARIES_BY.as_bytes()]].concat().join(&b", "[..]);
        if let Ok(varies) = HeaderValue::from_bytes(&varies) {
            headers.insert(header::VARY, varies);
        }
    }

    /// The answer to a request by which a browser asks before it sends one.
    pub(super) fn preflight(mut self, request: &HttpRequest, method: &Method, context: &Context) -> HttpResponse {
        if !self.with_cookies {
            self.origin = Some(ANY);
        }
        if self.origin.is_none() || !METHODS.contains(method) {
            return if app_services::serves(request.path()) {
                app_services::bad_preflight(request, context)
            } else {
                Problem::bad_preflight().respond(context)
            };
        }
        let mut response = HttpResponse::Ok().finish();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS_TEXT);
        if let Some(asked) = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        self.put_origin(headers);
        response
    }
}

/// The method that a browser asks for before it sends a request, if this is such a question.
pub(super) fn asks_for(request: &ServiceRequest) -> Option<Method> {
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD);
    let asked = asked.filter(|_| *request.method() == Method::OPTIONS);
    Method::from_bytes(asked?.as_bytes()).ok()
}
