//! The messages of a live user's actor, and its address.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use actix::dev::ToEnvelope;
use actix::prelude::*;
use tokio::sync::OwnedSemaphorePermit;

use super::error::Error;
use super::sockets::{Hello, Inbox};
use crate::domain::{Operation, Reply};
use crate::store::Committed;

/// The answer to an operation.
pub(crate) type Answer = Result<Reply, Error>;

/// The answer to a socket.
pub(crate) type Attached = Result<(Hello, Inbox), Error>;

/// Performs an operation on the actor's user. The permit is held until it is answered, whether or not the caller still waits.
#[derive(Message)]
#[rtype(result = "Result<Reply, Error>")]
pub(crate) struct Perform(pub(crate) Operation, pub(crate) Progress, pub(crate) Option<OwnedSemaphorePermit>);

/// A change of the actor's user is durable.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Notice(pub(crate) Committed);

/// A socket of one of the user's sessions comes; `since` is the version of the document that it knows.
#[derive(Message)]
#[rtype(result = "Attached")]
pub(crate) struct Attach {
    pub(crate) socket: u64,
    pub(crate) session: u32,
    pub(crate) since: Option<u64>,
}

/// Lets the actor rest.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Rest;

/// How far an operation came: what its asker needs to know when the actor is gone before it answered.
#[derive(Clone, Default)]
pub(crate) struct Progress(Arc<AtomicU8>);

impl Progress {
    pub(super) const DECIDING: u8 = 1;
    pub(super) const SUBMITTED: u8 = 2;

    pub(super) fn set(&self, step: u8) {
        self.0.store(step, Ordering::Release);
    }

    /// The actor died over this very operation.
    pub(crate) fn died(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::DECIDING
    }

    /// It went to the store, which may have done it.
    pub(crate) fn was_submitted(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::SUBMITTED
    }
}

/// Where a live user's actor takes its messages. It names no type of actor, so that what keeps addresses does not depend on one.
#[derive(Clone)]
pub(crate) struct Address(Arc<Recipients>);

struct Recipients {
    perform: Recipient<Perform>,
    attach: Recipient<Attach>,
    notice: Recipient<Notice>,
    rest: Recipient<Rest>,
}

impl Address {
    /// The address of an actor.
    pub(crate) fn of<A>(actor: Addr<A>) -> Self
    where
        A: Handler<Perform> + Handler<Attach> + Handler<Notice> + Handler<Rest>,
        A::Context: ToEnvelope<A, Perform> + ToEnvelope<A, Attach> + ToEnvelope<A, Notice> + ToEnvelope<A, Rest>,
    {
        let (perform, attach, notice) =
            (actor.clone().recipient(), actor.clone().recipient(), actor.clone().recipient());
        Self(Arc::new(Recipients { perform, attach, notice, rest: actor.recipient() }))
    }

    /// Performs an operation.
    ///
    /// # Errors
    /// The actor is gone.
    pub(crate) async fn perform(&self, perform: Perform) -> Result<Answer, MailboxError> {
        self.0.perform.send(perform).await
    }

    /// Attaches a socket.
    ///
    /// # Errors
    /// The actor is gone.
    pub(crate) async fn attach(&self, attach: Attach) -> Result<Attached, MailboxError> {
        self.0.attach.send(attach).await
    }

    /// Notifies the actor of a change, and does not wait.
    #[expect(clippy::disallowed_methods, reason = "one pending per change, and changes are bounded by permits")]
    pub(crate) fn notice(&self, change: Committed) {
        self.0.notice.do_send(Notice(change));
    }

    /// Passivates the actor, and does not wait.
    #[expect(clippy::disallowed_methods, reason = "one for each life of an actor")]
    pub(crate) fn rest(&self) {
        self.0.rest.do_send(Rest);
    }
}
