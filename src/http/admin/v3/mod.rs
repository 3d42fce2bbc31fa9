//! `/api/admin/v3.0`: as the admin API of App Services had it, so that its scripts go on.

mod apps;
mod auth;
mod auth_providers;
mod configuration;
mod drafts;
mod elsewhere;
mod import;
mod registrations;
mod users;

use super::table::Row;

/// The endpoints.
pub(super) fn rows() -> Vec<Row> {
    let of_users = [auth::rows(), apps::rows(), users::rows(), registrations::rows()];
    let of_the_app = [auth_providers::rows(), drafts::rows(), import::rows(), elsewhere::rows()];
    of_users.into_iter().chain(of_the_app).flatten().collect()
}
