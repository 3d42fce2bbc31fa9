//! The sites of `passerby demo`, to look at.

mod news;
mod page;
mod trial;

use actix_web::web;

use crate::config::Demo;

/// Adds the pages.
pub(super) fn routes(config: &mut web::ServiceConfig, demo: Demo) {
    match demo {
        Demo::News => news::routes(config),
        Demo::Trial => trial::routes(config),
    }
}
