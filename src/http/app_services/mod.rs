//! The App Services client API, as its SDKs speak it (docs/protocol.md).

use actix_web::http::Method;
use actix_web::web;

pub(crate) mod api_keys;
mod auth;
mod error;
pub(crate) mod location;
pub(crate) mod login;
pub(crate) mod profile;
pub(crate) mod session;
pub(crate) mod userpass;

pub(super) use self::error::{ErrorBody, REQUEST_ID, bad_preflight, not_found};
use super::at;

/// Whether a path is of this API.
pub(super) fn serves(path: &str) -> bool {
    path.starts_with("/api/")
}

/// Adds the routes. Those without a parameter first: they are found by comparing text.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let profile = at("/auth/profile").on(Method::GET, profile::profile);
    let session = at("/auth/session").on(Method::POST, session::refresh).on(Method::DELETE, session::logout);
    let delete = at("/auth/delete").on(Method::DELETE, session::delete);
    let login = at("/app/{app}/auth/providers/{provider}/login").on(Method::POST, login::login);
    let location = at("/app/{app}/location").on(Method::GET, location::location);
    let scope = web::scope("/api/client/v2.0")
        .service(session)
        .service(profile)
        .service(delete)
        .service(login)
        .service(location);
    config.service(api_keys::routes(userpass::routes(scope)));
}
