//! What of the app is in force, and how it changes: providers and origins are deployed as App Services did it. Each deployment is
//! kept in the store; a start takes the newest, and one that takes its place does so without a restart.

mod app;
mod deployments;
mod difference;
mod draft;
mod error;
mod recipe;
mod stored;

pub use self::app::App;
pub use self::deployments::{Deployments, How};
pub use self::difference::{Line, Side, lines, sentences};
pub use self::draft::Draft;
pub use self::error::{Change, DeployError, MOST_BYTES, Unreadable};
pub use self::recipe::Recipe;
pub use self::stored::{Deployment, MOST_KEPT, Origin};
