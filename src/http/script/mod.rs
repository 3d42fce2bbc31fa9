//! `/passerby.js`: what a page needs to know its reader where there is no proxy in front of it; `/passerby-live.js`, what it needs for the
//! reader's document, live; and the types of both.

use actix_web::web;

use super::files::{File, SCRIPT, file};

/// Browsers and editors do not look at it.
const TYPES: &str = "text/plain; charset=utf-8";

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for (path, content_type, text) in [
        ("/passerby.js", SCRIPT, include_str!("passerby.js")),
        ("/passerby.d.ts", TYPES, include_str!("passerby.d.ts")),
        ("/passerby-live.js", SCRIPT, include_str!("live.js")),
        ("/passerby-live.d.ts", TYPES, include_str!("live.d.ts")),
    ] {
        file(config, File { path, content_type, text: web::Bytes::from_static(text.as_bytes()) });
    }
}
