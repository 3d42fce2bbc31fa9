//! The sites of `passerby demo`, to look at.

mod news;
mod trial;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, web};

use super::{NO_STORE, other_method};
use crate::config::Demo;

/// What a page may load: its own, and proofs of work in a worker.
const PAGE_POLICY: (HeaderName, HeaderValue) = (
    header::CONTENT_SECURITY_POLICY,
    HeaderValue::from_static(
        "default-src 'self'; img-src 'self' data: blob:; worker-src blob:; frame-ancestors 'none'",
    ),
);

/// Adds the pages.
pub(super) fn routes(config: &mut web::ServiceConfig, demo: Demo) {
    match demo {
        Demo::News => news::routes(config),
        Demo::Trial => trial::routes(config),
    }
}

/// Adds files that pages load, with their content types.
fn assets<const N: usize>(config: &mut web::ServiceConfig, files: [(&'static str, &'static str, &'static str); N]) {
    for (path, content_type, text) in files {
        let serve = move || async move {
            let mut response = HttpResponse::Ok();
            response.insert_header(NO_STORE).content_type(format!("{content_type}; charset=utf-8")).body(text)
        };
        config.service(web::resource(path).get(serve).default_service(other_method("GET")));
    }
}
