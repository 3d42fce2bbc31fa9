//! `/api/admin/v3.0`: as the admin API of App Services had it, so that its scripts go on.

mod apps;
mod auth;
mod registrations;
mod users;

use super::table::Row;

/// The endpoints.
pub(super) fn rows() -> Vec<Row> {
    [auth::rows(), apps::rows(), users::rows(), registrations::rows()].into_iter().flatten().collect()
}
