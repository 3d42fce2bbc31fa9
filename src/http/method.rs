//! What is answered for a known path with another method than those it has.

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::{HttpRequest, HttpResponse, Route, web};

use super::body;
use super::context::{Context, allow, options};

/// For a known path with another method than these (RFC 9110 §15.5.6), in the form of its API; `OPTIONS` asks which they are.
pub(crate) fn other_than(methods: &'static str, refusal: fn(&HttpRequest, &Context) -> HttpResponse) -> Route {
    web::to(move |request: HttpRequest, context: web::Data<Context>, payload: web::Payload| {
        body::leave(&request, payload);
        if *request.method() == Method::OPTIONS {
            return std::future::ready(options(methods));
        }
        let mut response = refusal(&request, &context);
        let (name, value) = allow(methods);
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
        std::future::ready(response)
    })
}
