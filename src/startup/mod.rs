//! From settings to a running server, and from a signal to its end.
//!
//! The admin listener answers first; then the store is read; then the public listener accepts. On the way out: `/readyz`
//! 503, the notice, no new connections, the requests that were read, the last group.

mod application;
mod error;
mod folder;
mod note;
mod opening;
mod options;
mod ports;
mod stopped;

pub use self::application::{Application, start_admin};
pub use self::error::{Listener, StartError};
pub use self::folder::{check_folder, must_have_no_users};
pub use self::note::{Note, notes_of_data};
pub use self::options::{algorithm, store_options};
pub use self::ports::Ports;
pub use self::stopped::Stopped;
