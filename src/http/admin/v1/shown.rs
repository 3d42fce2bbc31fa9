//! What several answers have in common.

use actix_web::HttpResponse;

use crate::http::rfc3339;

pub(super) fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// Unix time in milliseconds as RFC 3339 has it.
pub(super) fn time(ms: u64) -> String {
    rfc3339(i64::try_from(ms / 1000).unwrap_or(i64::MAX))
}
