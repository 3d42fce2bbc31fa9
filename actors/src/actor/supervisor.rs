//! The supervisor: one per worker. Creates users, and passivates its worker's idle session actors.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::prelude::*;
use smallvec::smallvec;

use super::session::{Notice, Rest, Session};
use super::{Core, Error};
use crate::domain::{Cause, ChangeSet, IdForm, Op, Record, SessionKind, UserId};
use crate::registry::Lease;
use crate::store::{Applied, Completions, Health, ReplyTo};

/// How often idle actors are looked for, as a part of the idle time.
const LOOKS_PER_IDLE_TIME: u64 = 4;
/// Beyond `max_live`, this part of it is let go at once, so that the search for the longest idle is seldom.
const LET_GO_PART: usize = 16;
/// And never more than this, since a caller waits for it.
const LET_GO_MOST: usize = 1024;

/// Creates a user, who exists once the commit behind `reply` is done.
#[derive(Message)]
#[rtype(result = "Result<(UserId, Record), Error>")]
pub(crate) struct Login {
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

/// Passivates unused actors.
fn rest<'a>(core: &Core, ids: impl Iterator<Item = &'a UserId>, idle_since_ms: u64) {
    for address in ids.filter_map(|id| core.directory.retire(id, idle_since_ms)) {
        notify(&address, Rest);
        core.stats.passivations.fetch_add(1, Ordering::Relaxed);
    }
}

/// The user's address on lease, activating the user on this worker if it rests.
pub(crate) fn activate(
    core: &Arc<Core>,
    worker: usize,
    completions: &Rc<Completions>,
    id: &UserId,
) -> Lease<Addr<Session>> {
    let now_ms = core.store.clock().monotonic_ms();
    if core.directory.len() >= core.limits.max_live {
        let surplus = core.directory.len() - core.limits.max_live;
        let lot = core.limits.max_live.div_ceil(LET_GO_PART).min(LET_GO_MOST);
        rest(core, core.directory.longest_idle(surplus + lot).iter(), now_ms);
    }
    let incarnation = core.next_incarnation();
    core.directory.lease_or_activate(id, now_ms, worker, incarnation, || {
        core.stats.activations.fetch_add(1, Ordering::Relaxed);
        Session::new(Arc::clone(core), Rc::clone(completions), *id, incarnation).start()
    })
}

/// Passivates the actor of a user who is gone, if no one else is using it.
pub(crate) fn rest_if_gone(core: &Core, id: &UserId) {
    if core.store.registry().record(id).is_none() {
        rest(core, std::iter::once(id), u64::MAX);
    }
}

/// Passes a notice on to its user's actor, if it is still live.
pub(crate) fn pass_on(core: &Core, applied: Applied) {
    if let Some((address, _)) = core.directory.peek(&applied.id) {
        notify(&address, Notice(applied));
    }
}

#[expect(clippy::disallowed_methods, reason = "notices: one pending per change, and changes are bounded by permits")]
fn notify<M>(address: &Addr<Session>, message: M)
where
    M: Message<Result = ()> + Send + 'static,
    Session: Handler<M>,
{
    address.do_send(message);
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let every = Duration::from_millis((self.core.limits.idle_ms / LOOKS_PER_IDLE_TIME).max(1));
        context.run_interval(every, |supervisor, _| supervisor.look_for_idle());
    }
}

impl Handler<Login> for Supervisor {
    type Result = Result<(UserId, Record), Error>;

    fn handle(&mut self, login: Login, _: &mut Self::Context) -> Self::Result {
        let store = &self.core.store;
        if store.registry().len() >= self.core.limits.max_users {
            return Err(Error::Capacity);
        }
        if store.health() != Health::Writable {
            return Err(Error::NotWritable);
        }
        let id = self.core.new_id(login.form);
        let now = store.clock().now();
        let record = Record::new(now, login.kind);
        let ops = vec![Op::Create { id, record, extension: None }];
        store.commit(smallvec![ChangeSet { cause: Cause::Created, at: now, ops }], login.reply);
        Ok((id, record))
    }
}
