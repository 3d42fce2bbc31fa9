//! The actors: a supervisor per worker, a session actor per live user, the janitor, the linker. What they share is the [`Core`].

mod bounds;
mod bulk;
mod core;
mod error;
pub(crate) mod event;
mod janitor;
mod job;
mod linker;
mod logged_in;
mod messages;
mod propose;
mod session;
mod sockets;
mod supervisor;

pub use self::core::{ActorStats, BeforeOperation, Core, Limits};
pub use bounds::{Bound, CREDENTIAL_COSTS, Fullness, USERS_PER_ENDED};
pub use error::Error;
pub use janitor::{JanitorHandle, SweepStats, Swept};
pub use job::{Bulk, BulkAction, BulkEnd, BulkJob, BulkTally, BulkUnderWay};
pub use linker::{Ends, Joined, LinkStats, LinkerHandle, Preview, Proof, REPEAT_S, Witness};
pub use logged_in::LoggedIn;
pub(crate) use propose::{Proposer, Settled};
pub use sockets::{Hello, Inbox, MOST_SOCKETS, Missed, OUTBOX, OUTBOX_DOCUMENTS, Push};
pub(crate) use supervisor::{KeptLive, ProposeUser, Router, Supervisor, pass_on};
