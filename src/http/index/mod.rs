//! What is at `/`, for those who open the printed address in a browser: what runs here, a try of it, and what to do next.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Value, json};

use super::context::{Context, JSON, NO_STORE, origin};
use super::endpoint::at;
use super::files::{File, SCRIPT, escaped, file, page, page_policy};
use super::problem::Answer;

/// What the page may beside its style: run its script and `/passerby.js`, ask this server, and do proofs of work in a worker.
const TRY: &str = " script-src 'self'; connect-src 'self'; worker-src blob:;";

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config.service(at("/").on(Method::GET, index));
    let text = web::Bytes::from_static(include_bytes!("try.js"));
    file(config, File { path: "/index.js", content_type: SCRIPT, text });
}

async fn index(request: HttpRequest, context: web::Data<Context>) -> Answer {
    let origin = origin(&request, &context, "http");
    let links = json!({
        "name": "Passerby",
        "about": "anonymous authentication and sessions",
        "api": "/openapi.html",
        "openapi": "/openapi.json",
        "asyncapi": "/asyncapi.json",
    });
    let html = || page("Passerby", &include_str!("page.html").replace("{origin}", &escaped(&origin)));
    let mut response = of_kind(request.headers(), &links, TRY, html);
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept, Host"));
    Ok(response)
}

/// A page for clients that accept HTML, which may do `more` than be looked at, and JSON for all others.
pub(super) fn of_kind(
    headers: &HeaderMap,
    json: &Value,
    more: &'static str,
    html: impl FnOnce() -> String,
) -> HttpResponse {
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let mut response = HttpResponse::Ok();
    response.insert_header(NO_STORE);
    if accepts.contains("text/html") {
        response.insert_header((header::CONTENT_SECURITY_POLICY, page_policy(more)));
        return response.content_type("text/html; charset=utf-8").body(html());
    }
    response.insert_header((header::CONTENT_TYPE, JSON)).body(json.to_string())
}
