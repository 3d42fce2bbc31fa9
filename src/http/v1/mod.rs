//! Passerby's own API under `/v1`; errors are RFC 9457 problem details. And the public keys.

use actix_web::web::ServiceConfig;

pub(crate) mod api_keys;
pub(crate) mod browser_login;
pub(crate) mod challenge;
mod credential;
pub(crate) mod data;
pub(crate) mod export;
pub(crate) mod identities;
pub(crate) mod jwks;
pub(crate) mod login;
pub(crate) mod meters;
pub(crate) mod session;
mod tokens;
pub(crate) mod user_sessions;
pub(crate) mod userpass;

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .configure(login::routes)
        .configure(session::routes)
        .configure(jwks::routes)
        .configure(identities::routes)
        .configure(user_sessions::routes)
        .configure(userpass::routes)
        .configure(api_keys::routes)
        .configure(browser_login::routes)
        .configure(challenge::routes)
        .configure(data::routes)
        .configure(export::routes)
        .configure(meters::routes);
}
