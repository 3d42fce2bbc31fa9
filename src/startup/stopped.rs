//! The data of a server that is stopped, for a command that looks after its admins.

use std::sync::Arc;

use actix_web::web;
use passerby_actors::actor::{Core, Limits, LinkerHandle};
use passerby_actors::handle::Handle;
use passerby_actors::store::Store;

use super::error::StartError;
use super::opening::open_store;
use super::options::policy;
use super::ports::Ports;
use crate::admin::Admins;
use crate::config::Settings;
use crate::provider::password::Cost;

/// The data of a server that is stopped.
pub struct Stopped {
    /// The way to it.
    pub handle: Handle,
    /// Its admins.
    pub admins: Admins,
    store: Arc<dyn Store>,
}

impl Stopped {
    /// Opens it, which no server may have done.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(settings: &Settings, ports: Ports) -> Result<Self, StartError> {
        let store = open_store(settings, &ports).await?;
        let entropy = ports.entropy;
        let core = Core::new(Arc::clone(&store), policy(settings), Limits::default(), Arc::clone(&entropy), None);
        let linker = Arc::new(LinkerHandle::new(Arc::clone(&core)));
        let admins = Admins::new(&settings.admin, Cost::default(), &settings.keys_dir, None, entropy)?;
        Ok(Self { handle: Handle::new(core, linker), admins, store })
    }

    /// Closes it, which waits for its writer. Meanwhile the actors of the handle end, which need the runtime for that.
    pub async fn close(self) {
        let Self { handle, admins, store } = self;
        drop((handle, admins));
        if web::block(move || store.stop()).await.is_err() {
            tracing::error!("the store's end could not be waited for");
        }
    }
}
