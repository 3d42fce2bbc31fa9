//! `/api/admin/v3.0`: as the admin API of App Services had it, so that its scripts go on.

mod apps;
mod auth;
mod auth_providers;
mod configuration;
mod drafts;
mod registrations;
mod users;

use super::table::Row;

/// The endpoints.
pub(super) fn rows() -> Vec<Row> {
    [auth::rows(), apps::rows(), users::rows(), registrations::rows(), auth_providers::rows(), drafts::rows()]
        .into_iter()
        .flatten()
        .collect()
}
