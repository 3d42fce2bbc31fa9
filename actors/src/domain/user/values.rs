//! The meters and the document of a user.

use std::sync::Arc;

use super::{Decision, UserState};
use crate::domain::change_set::Cause;
use crate::domain::clock::ServiceTime;
use crate::domain::document::{Document, Edit};
use crate::domain::meter::{Count, Meters, Reading};
use crate::domain::operation::{Refusal, Reply};
use crate::domain::policy::Policy;
use crate::domain::record::Flags;

impl UserState {
    /// The meters.
    pub fn meters(&self) -> Meters {
        // what the store keeps is readable: the codec refuses the rest at recovery
        self.meters.as_deref().and_then(|bytes| Meters::decode(bytes).ok()).unwrap_or_default()
    }

    /// The document; an empty one of version 0 if there never was one.
    pub fn document(&self) -> Document {
        // readable, as meters are
        self.document.as_deref().and_then(|bytes| Document::decode(bytes).ok()).unwrap_or_default()
    }

    pub(super) fn count(&self, count: &Count) -> Result<Decision, Refusal> {
        if self.record.flags.has(Flags::DISABLED) {
            return Err(Refusal::Disabled);
        }
        Ok(match self.meters().count(count)? {
            (None, reading) => Decision::Keep(Reply::Counted(reading)),
            (Some(meters), reading) => {
                let next = Self { meters: Some(Arc::from(meters.encode())), ..self.clone() };
                Decision::Replace { next, cause: Cause::Counted, reply: Reply::Counted(reading) }
            }
        })
    }

    /// With meters that an administrator changed.
    pub(super) fn adjusted(&self, (meters, reading): (Meters, Reading)) -> Decision {
        let reply = Reply::Counted(reading);
        if meters == self.meters() {
            return Decision::Keep(reply);
        }
        let meters = (!meters.is_empty()).then(|| Arc::from(meters.encode()));
        Decision::Replace { next: Self { meters, ..self.clone() }, cause: Cause::MeterAdjusted, reply }
    }

    pub(super) fn edit(&self, edit: &Edit, now: ServiceTime, policy: &Policy) -> Result<Decision, Refusal> {
        if self.record.flags.has(Flags::DISABLED) {
            return Err(Refusal::Disabled);
        }
        Ok(match self.document().edited(edit, now, policy.document_bytes)? {
            (None, edited) => Decision::Keep(Reply::Edited(edited)),
            (Some(document), edited) => {
                let next = Self { document: Some(Arc::from(document.encode())), ..self.clone() };
                Decision::Replace { next, cause: Cause::Edited, reply: Reply::Edited(edited) }
            }
        })
    }
}
