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
    #[error("a deployment or draft in the data folder has the format {0}, which a later version wrote: start that")]
    Format(u8),
    /// It is damaged.
    #[error("a deployment or draft in the data folder cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

/// A change of the draft, or a deployment, that was made meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The draft's revision, or the number of the deployment.
    pub number: u64,
    /// Who.
    pub by: String,
    /// When: Unix time in milliseconds.
    pub at_ms: u64,
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
    /// Somebody else has deployed since this was begun: the last deployment, where it is known.
    #[error("{} meanwhile: look at the difference from what is in force now, and deploy again", deployed(.0.as_ref()))]
    Moved(Option<Change>),
    /// Something else was deployed since the draft began, or since its difference was looked at.
    #[error(
        "{} meanwhile: look at the draft's difference from what is in force now, and deploy it with \"seen\", the deployment in force",
        deployed(Some(.0))
    )]
    DraftBehind(Change),
    /// The draft is not the one that was looked at: its last change; none if it is gone.
    #[error("the draft is not as you saw it: {}", moved(.0.as_ref()))]
    DraftMoved(Option<Change>),
    /// No such deployment is kept.
    #[error("there is no deployment {0}")]
    NoSuch(u64),
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

fn deployed(last: Option<&Change>) -> String {
    match last {
        Some(last) => format!("{} has deployed {}", last.by, last.number),
        None => "somebody else has deployed".to_owned(),
    }
}

fn moved(change: Option<&Change>) -> String {
    match change {
        Some(change) => format!("{} has changed it since", change.by),
        None => "it has been deployed or thrown away".to_owned(),
    }
}
