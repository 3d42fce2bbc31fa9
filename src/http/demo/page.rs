//! What the pages of both sites load, and may load.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, web};

use crate::http::{Problem, at};

/// What a page may load: its own, and proofs of work in a worker.
pub(super) const PAGE_POLICY: (HeaderName, HeaderValue) = (
    header::CONTENT_SECURITY_POLICY,
    HeaderValue::from_static(
        "default-src 'self'; img-src 'self' data: blob:; worker-src blob:; frame-ancestors 'none'",
    ),
);

/// Adds files that pages load, with their content types.
pub(super) fn assets<const N: usize>(
    config: &mut web::ServiceConfig,
    files: [(&'static str, &'static str, &'static str); N],
) {
    for (path, content_type, text) in files {
        let serve = move || async move {
            let content_type = format!("{content_type}; charset=utf-8");
            Ok::<_, Problem>(HttpResponse::Ok().content_type(content_type).body(text))
        };
        config.service(at(path).on(Method::GET, serve));
    }
}
