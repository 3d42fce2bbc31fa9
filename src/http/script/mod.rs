//! `/passerby.js`: what a page needs to know its reader where there is no proxy in front of it; and `/passerby-live.js`, what it needs
//! for the reader's document, live.

use actix_web::http::header::{self, EntityTag, Header as _, HeaderValue, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, web};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::other_method;

/// Browsers ask again after an hour, and then whether it is still the same.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for (path, script) in
        [("/passerby.js", include_str!("passerby.js")), ("/passerby-live.js", include_str!("live.js"))]
    {
        let tag = EntityTag::new_strong(URL_SAFE_NO_PAD.encode(digest(&SHA256, script.as_bytes())));
        let serve = move |request: HttpRequest| {
            let response = answer(&request, script, &tag);
            async move { response }
        };
        config.service(web::resource(path).get(serve).default_service(other_method("GET")));
    }
}

fn answer(request: &HttpRequest, script: &'static str, tag: &EntityTag) -> HttpResponse {
    let same = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    };
    let mut response = if same { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header(header::ETag(tag.clone())).insert_header((header::CACHE_CONTROL, CACHED));
    // the policy of a page that embeds nothing of others by itself does not concern it; CORS does
    response.insert_header(("cross-origin-resource-policy", "cross-origin"));
    if same {
        return response.finish();
    }
    response.content_type("text/javascript; charset=utf-8").body(script)
}
