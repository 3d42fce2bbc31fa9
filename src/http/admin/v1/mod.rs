//! `/v1/admin`: what App Services never had.

mod admins;
mod audit;
mod keys;
mod own;
mod session;
mod shown;

use super::table::Row;

/// The endpoints.
pub(super) fn rows() -> Vec<Row> {
    [session::rows(), own::rows(), admins::rows(), keys::rows(), audit::rows()].into_iter().flatten().collect()
}
