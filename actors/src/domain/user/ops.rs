//! What carries a decision out, and the state afterwards.

use std::sync::Arc;

use super::{Decision, UserState};
use crate::domain::change_set::{Cause, ChangeSet, Op, Rewrite, ValueKey};
use crate::domain::clock::ServiceTime;
use crate::domain::document::Edited;
use crate::domain::extension::{Extension, IdentityKey};
use crate::domain::note::{Continued, DocumentEdit, Note, Reason};
use crate::domain::operation::{Operation, Reply};

impl UserState {
    /// The set that carries out what was decided on an operation, seen from this state; `None` if nothing changes.
    pub fn change(&self, operation: &Operation, decision: &Decision, at: ServiceTime) -> Option<ChangeSet> {
        let (cause, ops) = self.ops(decision)?;
        let set = ChangeSet::new(cause, at, ops);
        Some(match note(operation, decision) {
            Some(note) => set.noting(note),
            None => set,
        })
    }

    /// The operations that carry a decision out, seen from this state; `None` if nothing changes.
    pub fn ops(&self, decision: &Decision) -> Option<(Cause, Vec<Op>)> {
        match decision {
            Decision::Keep(_) => None,
            Decision::Replace { next, cause, reply } => {
                let extension = if next.extension == self.extension {
                    Rewrite::Keep
                } else {
                    next.extension.as_ref().map_or(Rewrite::Remove, |e| Rewrite::Put(e.encode()))
                };
                let claims = |user: &Self| user.extension.as_ref().map(Extension::claims).unwrap_or_default();
                let mut new = claims(next);
                if !new.is_empty() {
                    let old = claims(self);
                    new.retain(|claim| !old.contains(claim));
                }
                let claim = |identity: IdentityKey| Op::Claim { identity, user: self.id };
                let mut ops: Vec<Op> = new.into_iter().map(claim).collect();
                if cause.is_of_the_record() {
                    ops.push(Op::Update { id: self.id, seen: self.record.version, record: next.record, extension });
                } else {
                    ops.push(Op::Demand { id: self.id });
                }
                if next.meters != self.meters {
                    let change = next.meters.as_deref().map_or(Rewrite::Remove, |bytes| Rewrite::Put(bytes.into()));
                    ops.push(Op::Value { key: ValueKey::meters(&self.id), seen: self.meters.clone(), change });
                }
                if next.document != self.document {
                    let change = match (&next.document, reply) {
                        (Some(next), Reply::Edited(Edited { delta: Some(delta), .. })) => {
                            Rewrite::Edit { delta: delta.encode().into(), next: Arc::clone(next) }
                        }
                        (Some(next), _) => Rewrite::Put(next[..].into()),
                        (None, _) => Rewrite::Remove,
                    };
                    ops.push(Op::Value { key: ValueKey::document(&self.id), seen: self.document.clone(), change });
                }
                Some((*cause, ops))
            }
            Decision::Remove { cause, .. } => {
                Some((*cause, vec![Op::Remove { id: self.id, seen: self.record.version }]))
            }
        }
    }

    /// The state once a decision is carried out, none if the user is then gone; and the answer.
    pub fn after(self, decision: Decision) -> (Option<Self>, Reply) {
        match decision {
            Decision::Keep(reply) => (Some(self), reply),
            Decision::Replace { mut next, reply, cause } => {
                if cause.is_of_the_record() {
                    next.record.version = self.record.version.wrapping_add(1);
                }
                (Some(next), reply)
            }
            Decision::Remove { reply, .. } => (None, reply),
        }
    }
}

impl Decision {
    /// The answer, once it is carried out.
    pub fn into_reply(self) -> Reply {
        match self {
            Self::Keep(reply) | Self::Replace { reply, .. } | Self::Remove { reply, .. } => reply,
        }
    }

    fn reply(&self) -> &Reply {
        match self {
            Self::Keep(reply) | Self::Replace { reply, .. } | Self::Remove { reply, .. } => reply,
        }
    }
}

/// What readers are told of an operation that is done.
fn note(operation: &Operation, decision: &Decision) -> Option<Note> {
    let because = |reason| Some(Note { reason: Some(reason), ..Note::default() });
    match (operation, decision.reply()) {
        (Operation::Link { identity, .. }, Reply::Linked { session, was }) => Some(Note {
            provider: Some(identity.provider.clone()),
            continued: Some(Continued { old: *was, new: session.number }),
            ..Note::default()
        }),
        (Operation::LogIn { identity, .. } | Operation::Unlink { identity }, _) => {
            Some(Note { provider: Some(identity.provider.clone()), ..Note::default() })
        }
        (Operation::Edit(edit), Reply::Edited(Edited { delta: Some(delta), .. })) => {
            let edit = DocumentEdit { delta: Arc::clone(delta), origin: edit.origin };
            Some(Note { edit: Some(edit), ..Note::default() })
        }
        (Operation::EndSession { cause: Cause::SessionEnded, .. }, _) => because(Reason::Administrator),
        (Operation::EndAll, _) => because(Reason::EndedAll),
        (Operation::EndOthers { .. }, _) => because(Reason::OtherSession),
        (Operation::Recover, _) => because(Reason::Recovered),
        (Operation::Lift { .. }, _) => because(Reason::SuspensionOver),
        _ => None,
    }
}
