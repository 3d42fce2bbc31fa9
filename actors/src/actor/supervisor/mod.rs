//! The supervisor: one per worker. Creates users, routes operations to their users' actors (`route.rs`), and passivates its worker's
//! idle session actors.

mod route;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

pub(crate) use self::route::{KeptLive, Router, pass_on};

use self::route::rest;
use super::core::Core;
use super::error::Error;
use super::propose::submit;
use crate::domain::{Cause, ChangeSet, IdForm, Op, Record, SessionKind, UserId};
use crate::store::ReplyTo;

/// How often idle actors are looked for, as a part of the idle time.
const LOOKS_PER_IDLE_TIME: u64 = 4;

/// Proposes a user, who exists once the commit behind `reply` is done.
#[derive(Message)]
#[rtype(result = "Result<(UserId, Record), Error>")]
pub(crate) struct ProposeUser {
    pub(crate) kind: SessionKind,
    pub(crate) form: IdForm,
    pub(crate) reply: ReplyTo,
}

pub(crate) struct Supervisor {
    core: Arc<Core>,
    worker: usize,
}

impl Supervisor {
    pub(crate) fn new(core: Arc<Core>, worker: usize) -> Self {
        Self { core, worker }
    }

    fn look_for_idle(&self) {
        let clock = self.core.store.clock();
        let now_ms = clock.monotonic_ms();
        let since_ms = now_ms.saturating_sub(self.core.limits.idle_ms);
        let idle = self.core.directory.idle(self.worker, since_ms);
        rest(&self.core, idle.iter().map(|(id, _)| id), since_ms);
        self.core.directory.forget_old_deaths(now_ms);
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let every = Duration::from_millis((self.core.limits.idle_ms / LOOKS_PER_IDLE_TIME).max(1));
        context.run_interval(every, |supervisor, context| {
            // the interval alone would keep the supervisor of a worker who is gone
            if context.connected() {
                supervisor.look_for_idle();
            } else {
                context.stop();
            }
        });
    }
}

impl Handler<ProposeUser> for Supervisor {
    type Result = Result<(UserId, Record), Error>;

    fn handle(&mut self, propose: ProposeUser, _: &mut Self::Context) -> Self::Result {
        self.core.room_for_user()?;
        self.core.writable()?;
        let id = self.core.new_id(propose.form);
        let now = self.core.store.clock().now();
        let record = Record::new(now, propose.kind);
        let ops = vec![Op::Create { id, record, extension: None }];
        submit(&self.core, ChangeSet::new(Cause::Created, now, ops), propose.reply);
        Ok((id, record))
    }
}
