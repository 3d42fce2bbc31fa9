//! The App Services client API, as its SDKs speak it (docs/protocol.md).

use actix_web::web;

pub(crate) mod api_keys;
mod auth;
mod error;
pub(crate) mod location;
pub(crate) mod login;
pub(crate) mod profile;
pub(crate) mod session;
pub(crate) mod userpass;

use self::error::other_method;
pub(super) use self::error::{ErrorBody, REQUEST_ID, bad_preflight, not_found};

/// Whether a path is of this API.
pub(super) fn serves(path: &str) -> bool {
    path.starts_with("/api/")
}

/// Adds the routes. Those without a parameter first: they are found by comparing text.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let profile = web::resource("/auth/profile").get(profile::profile).default_service(other_method("GET"));
    let session = web::resource("/auth/session").post(session::refresh).delete(session::logout);
    let delete = web::resource("/auth/delete").delete(session::delete).default_service(other_method("DELETE"));
    let login = web::resource("/app/{app}/auth/providers/{provider}/login").post(login::login);
    let location = web::resource("/app/{app}/location").get(location::location).default_service(other_method("GET"));
    let scope = web::scope("/api/client/v2.0")
        .service(session.default_service(other_method("POST, DELETE")))
        .service(profile)
        .service(delete)
        .service(login.default_service(other_method("POST")))
        .service(location);
    config.service(api_keys::routes(userpass::routes(scope)));
}
