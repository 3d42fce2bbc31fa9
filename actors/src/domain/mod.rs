//! The rules of an anonymous user and the shapes they are kept in. Pure: no clock, no randomness, no input or output.

pub(crate) mod bytes;
pub mod change_set;
pub mod clock;
pub mod credential;
pub mod document;
pub mod extension;
pub mod ids;
pub mod merge;
pub mod meter;
pub mod note;
pub mod operation;
pub mod policy;
pub mod record;
pub mod session;
pub mod suspension;
pub mod user;

pub use change_set::{Cause, ChangeSet, Family, Listing, Op, Outcome, Rewrite, ValueKey};
pub use clock::{Clock, Entropy, ServiceClock, ServiceTime};
pub use credential::{Credential, CredentialChange, CredentialRefusal, LOCAL_USERPASS, MAIL_TOKEN_S, MailToken};
pub use document::{
    Change, Conflict, Conflicts, Delta, Document, DocumentRefusal, Edit, Edited, Expected, KeyRule, Losses, NoPatch,
    OperationId, Patch, Shape, has_more_members, inexact_number, losses, merge_patch,
};
pub use extension::{API_KEY, Alias, ApiKey, Extension, Identity, IdentityKey};
pub use ids::{DeviceId, IdForm, SessionId, UserId};
pub use merge::{MergePolicy, Merged};
pub use meter::{Count, MAX_ITEMS, MAX_METERS, MeterMerge, MeterOperation, Meters, Period, Reading};
pub use note::{Continued, DocumentEdit, Note, Reason};
pub use operation::{Operation, Refusal, Reply};
pub use policy::{MAX_ANONYMOUS_SESSIONS, MAX_API_KEYS, MAX_IDENTITIES, Policy};
pub use record::{Flags, LAZY_S, Record, SessionKind, Touched};
pub use session::{FIRST_APART, LoginMethod, Opening, Predecessor, Session, Sessions, ended_sessions, first_apart};
pub use suspension::Suspension;
pub use user::{Decision, UserState};
