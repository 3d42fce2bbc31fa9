//! Files that are served as they are, to pages of every origin, and asked for again only when they have changed.

use actix_web::http::Method;
use actix_web::http::header::{self, EntityTag, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::endpoint::at;
use super::preconditions::Tags;
use super::problem::Problem;

/// Browsers ask again after an hour, and then whether it is still the same.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The content type of scripts.
pub(super) const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What all HTML pages of the server's own look like.
pub(super) const STYLE: &str = include_str!("style.css");

/// A file.
pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) text: web::Bytes,
}

/// Adds a file.
pub(super) fn file(config: &mut web::ServiceConfig, file: File) {
    let File { path, content_type, text } = file;
    let served = Served::new(content_type, text);
    let serve = move |request: HttpRequest| {
        let response = served.answer(&request);
        async move { Ok::<_, Problem>(response) }
    };
    config.service(at(path).on(Method::GET, serve));
}

/// A file that is ready to be answered.
#[derive(Clone)]
pub(super) struct Served {
    content_type: &'static str,
    text: web::Bytes,
    tag: EntityTag,
}

impl Served {
    pub(super) fn new(content_type: &'static str, text: web::Bytes) -> Self {
        let tag = EntityTag::new_strong(URL_SAFE_NO_PAD.encode(digest(&SHA256, &text)));
        Self { content_type, text, tag }
    }

    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let same = match Tags::of(request, &header::IF_NONE_MATCH) {
            Some(Ok(Tags::Any)) => true,
            Some(Ok(Tags::Of(known))) => known.iter().any(|known| known.weak_eq(&self.tag)),
            Some(Err(_)) | None => false,
        };
        let mut response = if same { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        response.insert_header(header::ETag(self.tag.clone())).insert_header((header::CACHE_CONTROL, CACHED));
        // the policy of a page that embeds nothing foreign does not concern it; CORS does
        response.insert_header(("cross-origin-resource-policy", "cross-origin"));
        if same {
            return response.finish();
        }
        if self.content_type.starts_with("text/html") {
            response.insert_header((header::CONTENT_SECURITY_POLICY, page_policy("")));
        }
        response.insert_header((header::CONTENT_TYPE, self.content_type)).body(self.text.clone())
    }
}

/// Of a page with [`STYLE`] in it: nothing else is loaded, run or sent, but for what the directives `more` allow.
pub(super) fn page_policy(more: &str) -> String {
    let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:;{more} base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// A whole page.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n\
         <body>\n{body}</body>\n</html>\n"
    )
}

/// Text as it stands in HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
