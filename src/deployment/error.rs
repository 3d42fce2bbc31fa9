//! Why an app is not deployed.

use passerby_actors::handle;

use crate::config::SettingsErrors;
use crate::provider::password::PasswordError;

/// The largest app in bytes of JSON.
pub const MOST_BYTES: usize = 256 * 1024;

/// A deployment of the store that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A later version wrote it.
    #[error("a deployment in the data folder has the format {0}, which a later version wrote: start that")]
    Format(u8),
    /// It is damaged.
    #[error("a deployment in the data folder cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

/// Why an app is not deployed. What was in force stays in force.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// This is wrong with it, a line for each fault.
    #[error(transparent)]
    Wrong(#[from] SettingsErrors),
    /// It is longer than a deployment may be.
    #[error("the app takes {0} bytes of JSON, and {MOST_BYTES} are allowed")]
    TooLarge(usize),
    /// Somebody else has deployed since this was begun.
    #[error("somebody else has deployed meanwhile: look at what is in force now, and deploy again")]
    Moved,
    /// What the store has cannot be read.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// There are no threads to hash passwords.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The store.
    #[error(transparent)]
    Core(#[from] handle::Error),
}
