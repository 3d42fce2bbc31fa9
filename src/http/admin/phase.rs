//! How far the process is in its life, as the admin listener sees it.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::server::Server;

/// How far the process is in its life.
#[derive(Clone)]
pub(crate) enum Phase {
    /// The store is being read.
    Recovering,
    /// Requests are served.
    Serving(Arc<Server>),
    /// It is going: load balancers should look elsewhere.
    Draining(Arc<Server>),
}

/// The phase, as the admin listener sees it.
pub(super) type SharedPhase = Arc<RwLock<Phase>>;
