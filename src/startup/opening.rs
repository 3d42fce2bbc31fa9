//! Opens the store of a data folder that is the settings' own.

use std::sync::Arc;

use actix_web::web;
use passerby_actors::store::{self, Store};

use super::error::StartError;
use super::folder::{check_folder, claim_folder, must_have_no_users};
use super::note::{Note, notes_of_data};
use super::options::storage;
use super::ports::Ports;
use crate::config::{Settings, Storage};

/// Opens the store, and writes down whose the folder is if it is new.
///
/// # Errors
/// [`StartError`]: it cannot be opened, or is a different app's.
pub(super) async fn open_store(settings: &Settings, ports: &Ports) -> Result<Arc<dyn Store>, StartError> {
    let is_claimed = check_folder(settings, &*ports.files)?;
    let (config, clock) = (storage(settings, ports), Arc::clone(&ports.clock));
    let opening = web::block(move || store::open(config, clock)).await;
    let store = opening.map_err(std::io::Error::other)??;
    let opened = store.opened();
    tracing::info!(users = opened.users, groups = opened.groups, torn_bytes = opened.torn_bytes, "the store is open");
    notes_of_data(settings, opened).iter().for_each(Note::log);
    // what is in memory claims no folder
    if !is_claimed && settings.storage == Storage::Disk {
        must_have_no_users(settings, opened.users)?;
        claim_folder(settings, &*ports.files)?;
    }
    Ok(store)
}
