//! The rules of an anonymous user and the shapes they are kept in. Pure: no clock, no randomness, no input or output.

pub mod change;
pub mod clock;
pub mod extension;
pub mod ids;
pub(crate) mod reader;
pub mod record;
pub mod user;

pub use change::{Cause, ChangeSet, ExtensionChange, Family, Op, Outcome};
pub use clock::{Clock, Entropy, ServiceClock, ServiceTime};
pub use extension::{Extension, Identity, IdentityKey, Session, Sessions};
pub use ids::{DeviceId, SessionId, UserId};
pub use record::{Flags, Record, SessionKind};
pub use user::{Decision, MAX_IDENTITIES, Operation, Policy, Refusal, Reply, UserState};
