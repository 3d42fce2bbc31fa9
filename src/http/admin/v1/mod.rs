//! `/v1/admin`: what App Services never had.

mod admins;
mod audit;
mod bulk;
mod keys;
mod own;
mod session;
mod shown;
mod user_filter;
mod users;

use super::table::Row;

/// The endpoints.
pub(super) fn rows() -> Vec<Row> {
    let groups =
        [session::rows(), own::rows(), admins::rows(), keys::rows(), audit::rows(), users::rows(), bulk::rows()];
    groups.into_iter().flatten().collect()
}
