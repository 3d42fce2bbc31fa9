//! `/v1/admin`: what App Services never had.

mod admins;
mod app;
mod audit;
mod bulk;
mod configuration;
mod deployed;
mod deployments;
mod draft;
mod events;
mod keys;
mod networks;
mod new_users;
mod one_user;
mod overview;
mod own;
mod provider_options;
mod providers;
mod session;
mod sessions;
mod shown;
mod signing_keys;
mod store;
mod user_actions;
mod user_filter;
mod user_meters;
mod users;

use super::table::Row;

/// The endpoints.
pub(super) fn rows() -> Vec<Row> {
    let groups = [
        session::rows(),
        sessions::rows(),
        own::rows(),
        admins::rows(),
        keys::rows(),
        audit::rows(),
        users::rows(),
        new_users::rows(),
        one_user::rows(),
        user_actions::rows(),
        user_meters::rows(),
        bulk::rows(),
        overview::rows(),
        events::rows(),
        configuration::rows(),
        store::rows(),
        signing_keys::rows(),
        networks::rows(),
        app::rows(),
        draft::rows(),
        deployments::rows(),
    ];
    groups.into_iter().flatten().collect()
}
