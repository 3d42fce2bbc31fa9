//! The session actor: gives a live user's operations their order, and holds the user's state while they are decided.
//!
//! Safety does not rest on it: every change is checked by the store. At most one batch of change sets is in flight;
//! operations that arrive meanwhile are folded, in order, into the next.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::core::Core;
use super::error::Error;
use super::messages::{Answer, Attach, Attached, Notice, Perform, Progress, Rest};
use super::propose::Proposer;
use super::sockets::{Push, Sockets};
use crate::domain::{Cause, Edited, Flags, Operation, Outcome, Refusal, Reply, UserId, UserState};
use crate::store::{Committed, Sets};

/// Changes of a user's document that may wait for their answers.
const MOST_EDITS: usize = 128;
/// Bytes of documents that are changed in one go: others on this thread wait meanwhile. What is left is decided in the next.
const MOST_CHANGED_BYTES: usize = 128 * 1024;

struct Waiting {
    _permit: Option<OwnedSemaphorePermit>,
    operation: Operation,
    progress: Progress,
    conflicts: u8,
    answer: oneshot::Sender<Answer>,
}

/// An operation whose fate is known once its set's is: which set, if it changes anything, and what to answer then.
struct Decided {
    waiting: Waiting,
    set: Option<usize>,
    verdict: Result<Reply, Refusal>,
}

/// One live user.
pub(crate) struct Session {
    core: Arc<Core>,
    proposer: Proposer,
    id: UserId,
    incarnation: u64,
    waiting: VecDeque<Waiting>,
    /// Sockets that come while something is in flight: they begin at what it leaves.
    attaching: Vec<(Attach, oneshot::Sender<Attached>)>,
    in_flight: bool,
    /// Of which so many change the document.
    edits_in_flight: usize,
    resting: bool,
    /// Set while an operation is being decided: still set when dropped, it died there.
    deciding: bool,
    /// Whether there was a foreign change, which the sockets are told of once what is in flight is settled.
    behind: bool,
    /// None before the first socket.
    sockets: Option<Box<Sockets>>,
}

impl Session {
    pub(crate) fn new(proposer: Proposer, id: UserId, incarnation: u64) -> Self {
        Self {
            core: Arc::clone(proposer.core()),
            proposer,
            id,
            incarnation,
            waiting: VecDeque::new(),
            attaching: Vec::new(),
            in_flight: false,
            edits_in_flight: 0,
            resting: false,
            deciding: false,
            behind: false,
            sockets: None,
        }
    }

    /// The user's sockets, which know the document as it is now.
    fn sockets(&mut self, user: &UserState) -> &mut Sockets {
        self.sockets.get_or_insert_with(|| {
            let mut sockets = Box::<Sockets>::default();
            sockets.begin_at(user);
            sockets
        })
    }

    /// Tells the sockets of a change that is durable, and ends those whose session is over.
    fn tell(&mut self, change: &Committed) {
        let Some(mut sockets) = self.sockets.take() else { return };
        if let Some(edit) = change.edit() {
            self.behind |= !sockets.changed(&edit.delta, edit.origin);
        } else if !sockets.is_empty() {
            self.tell_of_record(&mut sockets, change);
        }
        self.sockets = Some(sockets);
        if self.edits_in_flight == 0 {
            self.catch_up();
        }
    }

    fn tell_of_record(&mut self, sockets: &mut Sockets, change: &Committed) {
        let cause = change.cause;
        match self.current() {
            None => {
                if let Some(survivor) = self.core.store.survivor(&self.id) {
                    sockets.tell_all(Push::Merged { survivor, merged: self.id });
                }
                sockets.end_all(cause);
            }
            Some(user) => {
                let (now, policy) = (self.core.store.clock().now(), &self.core.policy());
                sockets.tell_merged(&user);
                // the sockets are told first of what is in flight, change by change
                self.behind |= self.edits_in_flight > 0;
                if !self.behind {
                    sockets.catch_up(&user);
                }
                if let Some(continued) = change.note.as_ref().and_then(|note| note.continued) {
                    sockets.continued(continued);
                }
                if user.record.flags.has(Flags::DISABLED) {
                    sockets.end_all(Cause::Disabled);
                } else {
                    sockets.end_dead(&user, cause, now, policy);
                }
            }
        }
    }

    /// Tells the sockets of what could not be told change by change, once nothing is in flight.
    fn catch_up(&mut self) {
        if !std::mem::take(&mut self.behind) {
            return;
        }
        let Some(user) = self.current() else { return };
        if let Some(sockets) = &mut self.sockets {
            sockets.catch_up(&user);
        }
    }

    /// The user as the store shows them. A merge that is just being applied may show in one part and not yet in the next; what is
    /// decided on that conflicts, and is decided again.
    fn current(&self) -> Option<UserState> {
        self.core.store.load(&self.id)
    }

    fn attach(&mut self, attach: &Attach) -> Attached {
        let user = self.current().ok_or(Refusal::Gone)?;
        let (now, policy) = (self.core.store.clock().now(), self.core.policy());
        if user.record.flags.has(Flags::DISABLED) {
            return Err(Refusal::Disabled.into());
        }
        user.session(attach.session, now, &policy).ok_or(Refusal::SessionEnded)?;
        let attached =
            self.sockets(&user).attach(attach.socket, attach.session, attach.since, &user, policy.document_bytes);
        attached.ok_or(Error::TooManySockets)
    }

    fn pump(&mut self, context: &mut Context<Self>) {
        if self.in_flight {
            return;
        }
        if self.waiting.is_empty() {
            if self.resting {
                context.stop();
            }
            return;
        }
        self.deciding = true;
        let (now, core) = (self.core.store.clock().now(), Arc::clone(&self.core));
        let mut state = self.current();
        // what was changed elsewhere is told before what is decided upon it
        if let (Some(sockets), Some(user)) = (&mut self.sockets, &state) {
            sockets.catch_up(user);
        }
        let (mut sets, mut batch) = (Sets::new(), Vec::new());
        let mut changed_bytes = 0;
        while changed_bytes < MOST_CHANGED_BYTES
            && let Some(waiting) = self.waiting.pop_front()
        {
            if matches!(waiting.operation, Operation::Edit(_)) {
                let document = state.as_ref().and_then(|user| user.document.as_ref());
                changed_bytes += document.map_or(0, |bytes| bytes.len());
            }
            waiting.progress.set(Progress::DECIDING);
            if let Some(before) = &core.before_operation {
                before(&self.id, &waiting.operation);
            }
            let mut set = None;
            let verdict = match state.take() {
                None => Err(Refusal::Gone),
                Some(user) => match user.decide(&waiting.operation, now, &core.policy()) {
                    Err(refusal) => {
                        state = Some(user);
                        Err(refusal)
                    }
                    Ok(decision) => {
                        if let Some(change) = user.change(&waiting.operation, &decision, now) {
                            set = Some(sets.len());
                            sets.push(change);
                        }
                        let (next, reply) = user.after(decision);
                        state = next;
                        Ok(reply)
                    }
                },
            };
            waiting.progress.set(Progress::SUBMITTED);
            batch.push(Decided { waiting, set, verdict });
        }
        self.deciding = false;
        if sets.is_empty() {
            self.settle(batch, &[]);
            if changed_bytes < MOST_CHANGED_BYTES {
                return self.pump(context);
            }
            // others first, also where all of it was refused
            let others_first = tokio::task::yield_now().into_actor(self).map(|(), actor, context| actor.pump(context));
            context.spawn(others_first);
            return;
        }
        self.in_flight = true;
        let is_edit = |decided: &&Decided| matches!(decided.waiting.operation, Operation::Edit(_));
        self.edits_in_flight = batch.iter().filter(is_edit).count();
        let settled = self.proposer.all(sets).into_actor(self).map(move |outcomes, actor, context| {
            (actor.in_flight, actor.edits_in_flight) = (false, 0);
            actor.settle(batch, &outcomes);
            actor.catch_up();
            for (attach, answer) in std::mem::take(&mut actor.attaching) {
                // the socket that asked may be gone, and its place in the list goes with the next that comes
                drop(answer.send(actor.attach(&attach)));
            }
            actor.pump(context);
        });
        context.spawn(settled);
    }

    /// Answers a batch. What comes after a conflict was decided on a state that never was: it goes back to the front.
    fn settle(&mut self, batch: Vec<Decided>, outcomes: &[Outcome]) {
        let mut again = VecDeque::new();
        let (mut failed, mut conflicted) = (false, false);
        for mut decided in batch {
            if conflicted {
                again.push_back(decided.waiting);
                continue;
            }
            let outcome =
                decided.set.map_or(Outcome::Done, |set| outcomes.get(set).copied().unwrap_or(Outcome::Failed));
            failed |= outcome == Outcome::Failed;
            conflicted |= matches!(outcome, Outcome::Conflict { .. });
            let mut answer = match (outcome, decided.verdict) {
                _ if failed => Err(Error::OutcomeUnknown),
                (Outcome::Conflict { .. }, _) if decided.waiting.conflicts == 0 => {
                    decided.waiting.conflicts += 1;
                    again.push_back(decided.waiting);
                    continue;
                }
                (Outcome::Conflict { .. }, _) => Err(Error::Busy),
                (_, Ok(reply)) => Ok(reply),
                (_, Err(refusal)) => Err(Error::Refused(refusal)),
            };
            // The feed came before the outcome (mailboxes are emptied before what waits is polled): the sockets know of it, and of
            // all before it. One that does not is told of the whole.
            if let Ok(Reply::Edited(Edited { delta: Some(_), version, told, .. })) = &mut answer
                && let Some(sockets) = &self.sockets
            {
                *told = sockets.len();
                self.behind |= !sockets.know(*version);
            }
            // the asker may have gone away; what was done stays done
            drop(decided.waiting.answer.send(answer));
        }
        again.extend(self.waiting.drain(..));
        self.waiting = again;
    }
}

impl Actor for Session {
    type Context = Context<Self>;
}

impl Handler<Perform> for Session {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, Perform(operation, progress, _permit): Perform, context: &mut Self::Context) -> Self::Result {
        let is_edit = |operation: &Operation| matches!(operation, Operation::Edit(_));
        let edits = self.waiting.iter().filter(|waiting| is_edit(&waiting.operation)).count() + self.edits_in_flight;
        if is_edit(&operation) && edits >= MOST_EDITS {
            return Box::pin(std::future::ready(Err(Error::TooMany)));
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.push_back(Waiting { _permit, operation, progress, conflicts: 0, answer });
        self.pump(context);
        Box::pin(async move { answered.await.unwrap_or(Err(Error::OutcomeUnknown)) })
    }
}

impl Handler<Attach> for Session {
    type Result = ResponseFuture<Attached>;

    fn handle(&mut self, attach: Attach, _: &mut Self::Context) -> Self::Result {
        if !self.in_flight {
            return Box::pin(std::future::ready(self.attach(&attach)));
        }
        let (answer, answered) = oneshot::channel();
        self.attaching.push((attach, answer));
        Box::pin(async move { answered.await.unwrap_or(Err(Error::Busy)) })
    }
}

impl Handler<Notice> for Session {
    type Result = ();

    fn handle(&mut self, Notice(change): Notice, context: &mut Self::Context) {
        self.tell(&change);
        if self.core.store.record(&self.id).is_none() {
            tracing::debug!(user = %self.id, cause = change.cause.name(), "the user is gone, and its actor ends");
            // the holder of a lease passivates the actor when it gives it back
            self.resting |= self.core.directory.retire(&self.id, u64::MAX).is_some();
            self.pump(context);
        }
    }
}

impl Handler<Rest> for Session {
    type Result = ();

    fn handle(&mut self, _: Rest, context: &mut Self::Context) {
        self.resting = true;
        self.pump(context);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.deciding {
            self.core.bury(&self.id, self.incarnation);
        }
    }
}
