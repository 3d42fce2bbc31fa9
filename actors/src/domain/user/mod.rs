//! A user's state and every change it can go through, as pure functions: the session actor and the direct path both use them.

mod identities;
mod keys;
mod ops;
mod sessions;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use super::change_set::Cause;
use super::clock::ServiceTime;
use super::extension::Extension;
use super::ids::UserId;
use super::operation::{Operation, Refusal, Reply};
use super::policy::Policy;
use super::record::{Flags, Record};
use super::session::Sessions;
use super::suspension::Suspension;

/// A user as loaded from the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserState {
    /// Who.
    pub id: UserId,
    /// The compact record.
    pub record: Record,
    /// The extension record, if there is one.
    pub extension: Option<Extension>,
    /// The meters ([`Meters`](super::meter::Meters)), if there are any, as they are stored.
    pub meters: Option<Arc<[u8]>>,
    /// The document ([`Document`](super::document::Document)), if there ever was one, as it is stored.
    pub document: Option<Arc<[u8]>>,
}

/// What follows from an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "it is created, taken apart at once, and never kept")]
pub enum Decision {
    /// Nothing changes.
    Keep(Reply),
    /// The user changes.
    Replace {
        /// The state afterwards; the store sets the version.
        next: UserState,
        /// Why.
        cause: Cause,
        /// The answer once it is durable.
        reply: Reply,
    },
    /// The user is gone.
    Remove {
        /// Why.
        cause: Cause,
        /// The answer once it is durable.
        reply: Reply,
    },
}

impl UserState {
    /// What `operation` does at `now`.
    ///
    /// # Errors
    /// A [`Refusal`], which changes nothing.
    pub fn decide(&self, operation: &Operation, now: ServiceTime, policy: &Policy) -> Result<Decision, Refusal> {
        if self.record.is_expired(now, policy.window_s) {
            return Err(Refusal::Gone);
        }
        match operation {
            Operation::Rotate { session, counter } => self.rotate(*session, *counter, now, policy),
            Operation::EndSession { session, cause } => self.end_session(*session, *cause, now, policy),
            Operation::EndAll => Ok(self.without(|_| false, Cause::SessionEnded, Reply::Done)),
            Operation::EndOthers { session } => self.end_others(*session, now, policy),
            Operation::Recover => Ok(self.recovered()),
            Operation::Seen { session } => self.seen(*session, now, policy),
            Operation::Delete { cause } => Ok(Decision::Remove { cause: *cause, reply: Reply::Done }),
            Operation::Disable(suspension) => Ok(self.disabled(Some(suspension))),
            Operation::Enable => Ok(self.disabled(None)),
            Operation::Lift { wall_ms } if self.is_disabled(*wall_ms) => Ok(Decision::Keep(Reply::Done)),
            Operation::Lift { .. } => Ok(self.disabled(None)),
            Operation::OpenSession { kind, device, beside } => self.open(*kind, *device, *beside, now, policy),
            Operation::LogIn { identity, data, method, kind, device } => {
                self.log_in(identity, data, *method, (*kind, *device), now, policy)
            }
            Operation::Link { identity, data, session } => self.link(identity, data, *session, now, policy),
            Operation::Unlink { identity } => self.unlink(identity),
            Operation::Count(count) => self.count(count),
            Operation::Grant(count) => Ok(self.adjusted(self.meters().granted(count))),
            Operation::Reset(count) => Ok(self.adjusted(self.meters().reset(count))),
            Operation::Edit(edit) => self.edit(edit, now, policy),
            Operation::CreateKey { key } => self.create_key(key),
            Operation::SetKey { id, disabled } => self.set_key(*id, *disabled),
            Operation::RemoveKey { id } => self.remove_key(*id),
        }
    }

    /// Whether the user is suspended at this Unix time in milliseconds: not if the time of the suspension has passed.
    pub fn is_disabled(&self, wall_ms: u64) -> bool {
        self.record.flags.has(Flags::DISABLED) && !self.suspension().is_some_and(|said| said.is_over(wall_ms))
    }

    /// What was said when the user was suspended, if something was.
    pub fn suspension(&self) -> Option<&Suspension> {
        self.extension.as_ref().and_then(|extension| extension.suspension.as_ref())
    }

    /// The user at this Unix time in milliseconds: without a suspension whose time has passed.
    pub fn at(self, wall_ms: u64) -> Self {
        match self.disabled(None) {
            Decision::Replace { next, .. } if !self.is_disabled(wall_ms) => next,
            _ => self,
        }
    }

    fn disabled(&self, suspension: Option<&Suspension>) -> Decision {
        let said = suspension.filter(|said| **said != Suspension::default());
        let on = suspension.is_some();
        if self.record.flags.has(Flags::DISABLED) == on && self.suspension() == said {
            return Decision::Keep(Reply::Done);
        }
        let mut next = self.clone();
        if said.is_some() && next.extension.is_none() {
            next = self.with_sessions(Sessions { highest: self.highest_session(), list: self.sessions() });
        }
        if let Some(extension) = &mut next.extension {
            extension.suspension = said.cloned();
        }
        next.record.flags = next.record.flags.with(Flags::DISABLED, on);
        Decision::Replace { next, cause: if on { Cause::Disabled } else { Cause::Enabled }, reply: Reply::Done }
    }
}
