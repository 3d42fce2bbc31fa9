//! What a server takes from outside.

use std::sync::Arc;

use passerby_actors::domain::{Clock, Entropy};
use passerby_actors::store::embedded::files::Files;

/// Where time, randomness and files come from: the machine's own, or a test's.
#[derive(Clone)]
pub struct Ports {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Files.
    pub files: Arc<dyn Files>,
}

impl Ports {
    /// The machine's own.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(passerby_actors::system::SystemClock::default()),
            entropy: Arc::new(passerby_actors::system::SystemEntropy::default()),
            files: Arc::new(passerby_actors::store::embedded::files::Disk),
        }
    }
}
