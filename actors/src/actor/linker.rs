//! The linker: turns proofs of identity into accounts. It adds identities to users, takes them off, logs in by them, merges
//! an anonymous user into an account, and keeps the credentials that identities rest on.
//!
//! It only proposes, as all others do: that an identity has one owner is the store's `claim`, and that a user is as it was
//! looked at is its version. After a conflict it looks again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::prelude::*;
use smallvec::smallvec;
use tokio::sync::OwnedSemaphorePermit;

use super::{CREDENTIAL_COSTS, Core, Error, IdForm, event};
use crate::domain::{
    Cause, ChangeSet, Conflicts, Credential, CredentialChange, Decision, DeviceId, Family, IdentityKey, LoginMethod,
    MergePolicy, Merged, Op, Opening, Operation, Outcome, Predecessor, Refusal, Reply, Rewrite, ServiceTime, Session,
    SessionId, SessionKind, UserId, UserState, ValueKey,
};
use crate::store::{Completions, Health};

/// How often the linker tries again when others were faster. Of those that change one user at once, one is done in each group:
/// so many tabs may log in by one identity at the same moment.
const TRIES: usize = 64;

/// How long the answer to a link or a merge can be had again (seconds).
pub const REPEAT_S: u32 = 600;
/// How much memory may hold what merges left out, which is repeated with the answer (bytes).
const LEFT_OUT_BYTES: usize = 8 << 20;

/// An identity that its provider has vouched for, and what the provider tells about the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The identity.
    pub identity: IdentityKey,
    /// A JSON object, or nothing.
    pub data: Box<str>,
    /// What was looked at to prove it; if that has changed by the time of the commit, nothing is proved.
    pub rests_on: Option<Witness>,
    /// Whether it proves a user who exists already, as an API key does: no login creates one.
    pub of_known_user: bool,
    /// How it was proved: a session that it begins remembers that.
    pub method: LoginMethod,
}

/// A stored value as it was looked at.
#[derive(Clone, PartialEq, Eq)]
pub struct Witness {
    /// Where it is.
    pub key: ValueKey,
    /// What it was.
    pub value: Arc<[u8]>,
}

impl std::fmt::Debug for Witness {
    /// What the value is is not shown: it may hold a password's hash.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("family", &self.key.family).finish_non_exhaustive()
    }
}

impl Proof {
    /// A proof that rests on nothing that is kept here.
    pub fn new(identity: IdentityKey, data: Box<str>) -> Self {
        let method = LoginMethod::of_provider(&identity.provider);
        Self { identity, data, rests_on: None, of_known_user: false, method }
    }
}

/// What became of the wish to have an identity, merging if it is an account's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// No other user had it: linked, under the same id.
    Linked(LoggedIn),
    /// The user became part of the account; this is a new session of that, and what its document does not hold of the user's.
    Merged(LoggedIn, Conflicts),
}

/// What a link would do, looked at without doing it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preview {
    /// The user has the identity already.
    Unchanged,
    /// No user has it: it would be linked.
    Linked,
    /// It is this user's, and the result of a merge with that one.
    Owned {
        /// The user who has it.
        owner: UserId,
        /// The account after a merge, or why there would be none.
        merged: Result<Box<Merged>, Refusal>,
    },
}

/// Whose sessions a change of a password ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// None.
    Nothing,
    /// All of the owner's; and API keys are disabled: a password reset by e-mail may be how an owner takes the account back.
    All,
    /// All of the owner's but the one with this number.
    Others(u32),
}

/// A user with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoggedIn {
    /// The user.
    pub user: UserId,
    /// The session's number.
    pub number: u32,
    /// The session's public id.
    pub session: SessionId,
    /// Its epoch.
    pub epoch: u8,
}

impl LoggedIn {
    /// The user with this session of theirs.
    pub fn new(user: UserId, session: &Session) -> Self {
        let session_id = SessionId::derive(&user, session.number);
        Self { user, number: session.number, session: session_id, epoch: session.epoch }
    }
}

/// Figures of the linker, for metrics.
#[derive(Debug, Default)]
pub struct LinkStats {
    /// Identities linked.
    pub links: AtomicU64,
    /// Links refused because the identity has a different owner.
    pub conflicts: AtomicU64,
    /// Identities unlinked.
    pub unlinks: AtomicU64,
    /// Logins by an identity.
    pub logins: AtomicU64,
    /// Anonymous users who became part of an account.
    pub merges: AtomicU64,
    /// Links and merges whose answer was given again.
    pub repeats: AtomicU64,
    /// Changes of credentials: registrations, confirmations, requested e-mails, passwords.
    pub credentials: AtomicU64,
}

struct Linker {
    work: Rc<Work>,
}

/// What the linker works with.
struct Work {
    core: Arc<Core>,
    completions: Rc<Completions>,
    stats: Arc<LinkStats>,
    left_out: RefCell<LeftOut>,
}

/// What the merges of the last minutes left out, by the user who became part of an account: the oldest first.
#[derive(Default)]
struct LeftOut {
    merges: VecDeque<(UserId, ServiceTime, Conflicts)>,
    bytes: usize,
}

impl LeftOut {
    fn add(&mut self, user: UserId, now: ServiceTime, conflicts: &Conflicts) {
        if !conflicts.is_empty() {
            self.bytes += conflicts.size();
            self.merges.push_back((user, now, conflicts.clone()));
        }
        while let Some((_, merged, _)) = self.merges.front()
            && (self.bytes > LEFT_OUT_BYTES || now >= merged.saturating_add(REPEAT_S))
        {
            let forgotten = self.merges.pop_front();
            self.bytes -= forgotten.map_or(0, |(_, _, conflicts)| conflicts.size());
        }
    }

    fn of(&self, user: &UserId) -> Conflicts {
        let merge = self.merges.iter().rev().find(|(merged, ..)| merged == user);
        merge.map(|(_, _, conflicts)| conflicts.clone()).unwrap_or_default()
    }
}

impl Work {
    /// Proposes a set until it is done or `propose` returns something else. Each attempt reads the state again.
    async fn until_done<T>(
        &self,
        mut permit: Option<OwnedSemaphorePermit>,
        mut propose: impl FnMut() -> Result<(Option<ChangeSet>, T), Error>,
    ) -> Result<T, Error> {
        for _ in 0..TRIES {
            if self.core.store.health() != Health::Writable {
                return Err(Error::NotWritable);
            }
            let (set, answer) = propose()?;
            let Some(set) = set else { return Ok(answer) };
            let (mut reply, outcome) = self.completions.register(1);
            if let Some(permit) = permit.take() {
                reply = reply.holding(permit);
            }
            self.core.store.commit(smallvec![set], reply);
            match outcome.within(self.core.limits.commit_timeout).await.first() {
                Some(Outcome::Done) => return Ok(answer),
                Some(Outcome::Conflict { .. }) => {}
                Some(Outcome::Failed) | None => return Err(Error::OutcomeUnknown),
            }
        }
        Err(Error::Busy)
    }

    /// What an operation on a user proposes, and what it answers once that is done.
    fn proposal(&self, user: &UserId, operation: &Operation) -> Result<(Option<ChangeSet>, Reply), Error> {
        let store = &self.core.store;
        let (now, policy) = (store.clock().now(), &self.core.policy);
        let state = store.load(user).ok_or(Refusal::Gone)?;
        let decision = state.decide(operation, now, policy)?;
        let set = state.ops(&decision).map(|(cause, ops)| ChangeSet { cause, at: now, ops });
        Ok((set, state.after(decision).1))
    }

    async fn perform(
        &self,
        user: &UserId,
        operation: &Operation,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Reply, Error> {
        let reply = self.until_done(permit, || self.proposal(user, operation)).await?;
        event::changed(user, event::cause_of(operation));
        Ok(reply)
    }

    /// The same for an operation that rests on a proof: the set demands that the proof still holds.
    fn proposal_by(
        &self,
        proof: &Proof,
        user: &UserId,
        operation: &Operation,
    ) -> Result<(Option<ChangeSet>, Reply), Error> {
        let demand = demand(&self.core, proof)?;
        let (mut set, reply) = self.proposal(user, operation)?;
        if let Some(set) = &mut set {
            set.ops.splice(..0, demand);
        }
        Ok((set, reply))
    }

    async fn link(&self, link: Link) -> Result<LoggedIn, Error> {
        let Link { user, session, proof, permit } = link;
        let operation = Operation::Link { identity: proof.identity.clone(), data: proof.data.clone(), session };
        let mut new = false;
        let propose = || match self.core.store.resolve(&proof.identity) {
            Some(owner) if owner != user => Err(Error::Refused(Refusal::IdentityInUse)),
            _ => self.proposal_by(&proof, &user, &operation).inspect(|(set, _)| new = set.is_some()),
        };
        let reply = self.until_done(permit, propose).await.inspect_err(|error| {
            if *error == Error::Refused(Refusal::IdentityInUse) {
                self.stats.conflicts.fetch_add(1, Ordering::Relaxed);
            }
        })?;
        let Reply::Linked { session, .. } = reply else { return Err(Error::Busy) };
        if new {
            self.stats.links.fetch_add(1, Ordering::Relaxed);
            event::changed(&user, Cause::Linked);
        }
        Ok(LoggedIn::new(user, &session))
    }

    /// Links, or makes the user part of the identity's owner.
    async fn merge(&self, merge: Merge) -> Result<Joined, Error> {
        let Merge { user, session, proof, opens, policy, permit } = merge;
        let operation = Operation::Link { identity: proof.identity.clone(), data: proof.data.clone(), session };
        let (mut seen_owner, mut new) = (None, false);
        let propose = || {
            let store = &self.core.store;
            let owner = store.resolve(&proof.identity).filter(|owner| *owner != user);
            // an account that vanishes under a merge is not replaced by a link: the caller did not ask for one
            if seen_owner.is_some() && owner != seen_owner {
                return Err(Error::Busy);
            }
            seen_owner = owner;
            // a key is a program's: it proves its owner, and is no reason to become part of them
            if owner.is_some() && proof.of_known_user {
                return Err(Error::Refused(Refusal::IdentityInUse));
            }
            let Some(owner) = owner else {
                let (set, reply) = self.proposal_by(&proof, &user, &operation)?;
                new = set.is_some();
                let Reply::Linked { session, .. } = reply else { return Err(Error::Busy) };
                return Ok((set, Joined::Linked(LoggedIn::new(user, &session))));
            };
            let demand = demand(&self.core, &proof)?;
            let now = store.clock().now();
            let source = store.load(&user).ok_or(Refusal::Gone)?;
            source.session(session, now, &self.core.policy).ok_or(Refusal::SessionEnded)?;
            let target = store.load(&owner).ok_or(Error::Busy)?;
            let opening = merging(&user, session, opens, now);
            let merged = policy.merge(&source, &target, opening, now, store.clock().wall_s(), &self.core.policy)?;
            let (set, logged_in, conflicts) = merged_set(demand, &source, &target, merged, now);
            Ok((Some(set), Joined::Merged(logged_in, conflicts)))
        };
        let joined = self.until_done(permit, propose).await?;
        match &joined {
            Joined::Linked(_) if new => {
                self.stats.links.fetch_add(1, Ordering::Relaxed);
                event::changed(&user, Cause::Linked);
            }
            Joined::Linked(_) => {}
            Joined::Merged(into, conflicts) => {
                self.left_out.borrow_mut().add(user, self.core.store.clock().now(), conflicts);
                self.stats.merges.fetch_add(1, Ordering::Relaxed);
                event::merged(&user, &into.user);
            }
        }
        Ok(joined)
    }

    /// The answer to a merge once more, for a client that lost it: with one more new session.
    async fn repeat_merge(&self, repeat: RepeatMerge) -> Result<(LoggedIn, Conflicts), Error> {
        let RepeatMerge { source, proof, opens: (kind, device), permit } = repeat;
        let (identity, data, method) = (proof.identity.clone(), proof.data.clone(), proof.method);
        let operation = Operation::LogIn { identity, data, method, kind, device };
        let propose = || {
            let store = &self.core.store;
            let owner = store.resolve(&proof.identity).ok_or(Refusal::Gone)?;
            let survivor = store.registry().survivor(&source).ok_or(Refusal::Gone)?;
            let state = store.load(&survivor).ok_or(Refusal::Gone)?;
            let alias = state.aliases().iter().find(|alias| alias.id == source).ok_or(Refusal::Gone)?;
            if owner != survivor || store.clock().now() >= alias.merged.saturating_add(REPEAT_S) {
                return Err(Error::Refused(Refusal::Gone));
            }
            let (set, reply) = self.proposal_by(&proof, &owner, &operation)?;
            let Reply::Opened(session) = reply else { return Err(Error::Busy) };
            Ok((set, LoggedIn::new(owner, &session)))
        };
        let logged_in = self.until_done(permit, propose).await?;
        self.stats.repeats.fetch_add(1, Ordering::Relaxed);
        event::changed(&logged_in.user, Cause::SessionOpened);
        Ok((logged_in, self.left_out.borrow().of(&source)))
    }

    /// Changes what an identity rests on, and ends sessions of its owner if that is asked for.
    async fn change_credential(&self, message: ChangeCredential) -> Result<Credential, Error> {
        let ChangeCredential { identity, change, ends, permit } = message;
        let key = ValueKey::credential(&identity);
        let (cause, mut owner) = (cause_of(&change), None);
        let propose = || {
            let store = &self.core.store;
            let now = store.clock().now();
            let seen = store.registry().value(&key);
            let current = seen.as_deref().map(Credential::decode).transpose().map_err(|error| {
                tracing::error!(%error, "a credential is left as it is");
                Error::Busy
            })?;
            if seen.is_none() && !has_room(&self.core) {
                return Err(Error::Capacity);
            }
            let next = Credential::decide(current, &change, now).map_err(Refusal::Credential)?;
            let mut ops = vec![Op::Value { key: key.clone(), seen, change: Rewrite::Put(next.encode()) }];
            owner = store.resolve(&identity);
            let ending = match ends {
                Ends::Nothing => None,
                Ends::All => Some(Operation::Recover),
                Ends::Others(session) => Some(Operation::EndOthers { session }),
            };
            if let (Some(owner), Some(ending)) = (owner, ending) {
                let (set, _) = self.proposal(&owner, &ending)?;
                ops.extend(set.into_iter().flat_map(|set| set.ops));
            } else if ends != Ends::Nothing {
                // a user who logs in for the first time meanwhile is found at the next attempt
                ops.push(Op::Unclaimed { identity: identity.clone() });
            }
            Ok((Some(ChangeSet { cause, at: now, ops }), next))
        };
        let next = self.until_done(permit, propose).await?;
        self.stats.credentials.fetch_add(1, Ordering::Relaxed);
        event::credential(owner.as_ref(), cause);
        Ok(next)
    }

    async fn unlink(&self, unlink: Unlink) -> Result<(), Error> {
        let Unlink { user, identity, permit } = unlink;
        self.perform(&user, &Operation::Unlink { identity }, permit).await?;
        self.stats.unlinks.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// The identity's owner with a new session; if there is none, a user is created.
    async fn log_in(&self, log_in: LogIn) -> Result<LoggedIn, Error> {
        let LogIn { proof, kind, device, form, permit } = log_in;
        let Proof { identity, data, method, .. } = &proof;
        let opening = Opening::new(kind, device, *method);
        let mut made = false;
        let propose = || {
            let now = self.core.store.clock().now();
            if let Some(owner) = self.core.store.resolve(identity) {
                made = false;
                let (identity, data, method) = (identity.clone(), data.clone(), *method);
                let operation = Operation::LogIn { identity, data, method, kind, device };
                let (set, reply) = self.proposal_by(&proof, &owner, &operation)?;
                let Reply::Opened(session) = reply else { return Err(Error::Busy) };
                return Ok((set, LoggedIn::new(owner, &session)));
            }
            if proof.of_known_user {
                return Err(Error::Refused(Refusal::StaleProof));
            }
            let demand = demand(&self.core, &proof)?;
            if self.core.store.registry().len() >= self.core.limits.max_users {
                return Err(Error::Capacity);
            }
            made = true;
            let id = self.core.new_id(form);
            let (user, session) = UserState::lasting(id, identity.clone(), data.clone(), opening, now);
            let extension = user.extension.as_ref().map(crate::domain::Extension::encode);
            let mut ops: Vec<Op> = demand.into_iter().collect();
            ops.push(Op::Claim { identity: identity.clone(), user: id });
            ops.push(Op::Create { id, record: user.record, extension });
            Ok((Some(ChangeSet { cause: Cause::Created, at: now, ops }), LoggedIn::new(id, &session)))
        };
        let logged_in = self.until_done(permit, propose).await?;
        self.stats.logins.fetch_add(1, Ordering::Relaxed);
        event::changed(&logged_in.user, if made { Cause::Created } else { Cause::SessionOpened });
        Ok(logged_in)
    }
}

/// What a set must demand so that the proof holds when it is done.
fn demand(core: &Core, proof: &Proof) -> Result<Option<Op>, Error> {
    let Some(Witness { key, value }) = &proof.rests_on else { return Ok(None) };
    let current = core.store.registry().value(key).ok_or(Refusal::StaleProof)?;
    if current != *value && !is_same_password(&current, value) {
        return Err(Error::Refused(Refusal::StaleProof));
    }
    Ok(Some(Op::Value { key: key.clone(), seen: Some(current), change: Rewrite::Keep }))
}

/// Whether there is room for one more credential.
fn has_room(core: &Core) -> bool {
    let registry = core.store.registry();
    let names = registry.keys(Family::CREDENTIAL).saturating_mul(CREDENTIAL_COSTS);
    registry.len().saturating_add(names) < core.limits.max_users
}

/// Whether two values of a credential differ only in the e-mails that were asked for: strangers can ask for those.
fn is_same_password(one: &[u8], other: &[u8]) -> bool {
    match (Credential::decode(one), Credential::decode(other)) {
        (Ok(one), Ok(other)) => one.password == other.password && one.confirmed == other.confirmed,
        _ => false,
    }
}

/// The account's new session after a merge, which a session of the user who becomes part of it asked for.
fn merging(source: &UserId, session: u32, (kind, device): (SessionKind, DeviceId), now: ServiceTime) -> Opening {
    let replaces = Some(Predecessor { user: *source, number: session, at: now });
    Opening { replaces, ..Opening::new(kind, device, LoginMethod::Merge) }
}

/// The one set of a merge, and what it answers.
fn merged_set(
    demand: Option<Op>,
    source: &UserState,
    target: &UserState,
    merged: Merged,
    now: u32,
) -> (ChangeSet, LoggedIn, Conflicts) {
    let Merged { survivor, session, conflicts } = merged;
    let logged_in = LoggedIn::new(target.id, &session);
    let replace = Decision::Replace { next: survivor, cause: Cause::MergedInto, reply: Reply::Opened(session) };
    let mut ops: Vec<Op> = demand.into_iter().collect();
    // what is counted or written meanwhile is not lost
    for (key, seen) in ValueKey::of_user(&source.id).into_iter().zip([&source.meters, &source.document]) {
        ops.push(Op::Value { key, seen: seen.clone(), change: Rewrite::Keep });
    }
    // the alias exists before its user is gone, so that a reader meanwhile finds one of them
    ops.extend(target.ops(&replace).into_iter().flat_map(|(_, ops)| ops));
    ops.push(Op::Remove { id: source.id, seen: source.record.version });
    (ChangeSet { cause: Cause::MergedInto, at: now, ops }, logged_in, conflicts)
}

fn cause_of(change: &CredentialChange) -> Cause {
    match change {
        CredentialChange::Register { .. } => Cause::Registered,
        CredentialChange::Confirm(_) => Cause::Confirmed,
        CredentialChange::RenewConfirm(_) | CredentialChange::BeginReset(_) => Cause::MailAsked,
        CredentialChange::Reset { .. } | CredentialChange::SetPassword { .. } => Cause::PasswordChanged,
    }
}

impl Actor for Linker {
    type Context = Context<Self>;
}

/// Adds an identity to a user.
#[derive(Message)]
#[rtype(result = "Result<LoggedIn, Error>")]
struct Link {
    user: UserId,
    session: u32,
    proof: Proof,
    permit: Option<OwnedSemaphorePermit>,
}

/// Adds an identity, or makes the user part of its owner.
#[derive(Message)]
#[rtype(result = "Result<Joined, Error>")]
struct Merge {
    user: UserId,
    session: u32,
    proof: Proof,
    opens: (SessionKind, DeviceId),
    policy: MergePolicy,
    permit: Option<OwnedSemaphorePermit>,
}

/// Answers a merge again.
#[derive(Message)]
#[rtype(result = "Result<(LoggedIn, Conflicts), Error>")]
struct RepeatMerge {
    source: UserId,
    proof: Proof,
    opens: (SessionKind, DeviceId),
    permit: Option<OwnedSemaphorePermit>,
}

/// Changes what an identity rests on.
#[derive(Message)]
#[rtype(result = "Result<Credential, Error>")]
struct ChangeCredential {
    identity: IdentityKey,
    change: CredentialChange,
    ends: Ends,
    permit: Option<OwnedSemaphorePermit>,
}

/// Takes one off.
#[derive(Message)]
#[rtype(result = "Result<(), Error>")]
struct Unlink {
    user: UserId,
    identity: IdentityKey,
    permit: Option<OwnedSemaphorePermit>,
}

/// Logs in by one.
#[derive(Message)]
#[rtype(result = "Result<LoggedIn, Error>")]
struct LogIn {
    proof: Proof,
    kind: SessionKind,
    device: DeviceId,
    form: IdForm,
    permit: Option<OwnedSemaphorePermit>,
}

macro_rules! handles {
    ($($message:ident by $method:ident),*) => {
        $(impl Handler<$message> for Linker {
            type Result = ResponseFuture<<$message as Message>::Result>;

            fn handle(&mut self, message: $message, _: &mut Self::Context) -> Self::Result {
                let work = Rc::clone(&self.work);
                Box::pin(async move { work.$method(message).await })
            }
        })*
    };
}

handles!(
    Link by link,
    Unlink by unlink,
    LogIn by log_in,
    Merge by merge,
    RepeatMerge by repeat_merge,
    ChangeCredential by change_credential
);

/// The linker of a core, on a thread of its own. Ends when dropped.
pub struct LinkerHandle {
    core: Arc<Core>,
    arbiter: Arbiter,
    address: Addr<Linker>,
    stats: Arc<LinkStats>,
}

impl LinkerHandle {
    /// Starts the linker. Needs a running actix system.
    ///
    /// # Errors
    /// Its thread ended at once.
    pub async fn start(core: Arc<Core>) -> Result<Self, Error> {
        let (arbiter, stats) = (Arbiter::new(), Arc::new(LinkStats::default()));
        let (started, address) = tokio::sync::oneshot::channel();
        let (for_linker, for_work) = (Arc::clone(&core), Arc::clone(&stats));
        arbiter.spawn_fn(move || {
            let completions = Rc::<Completions>::default();
            actix_rt::spawn(Rc::clone(&completions).run(|_| {}));
            let work = Rc::new(Work { core: for_linker, completions, stats: for_work, left_out: RefCell::default() });
            drop(started.send(Linker { work }.start()));
        });
        let address = address.await.map_err(|_| Error::Stopping)?;
        Ok(Self { core, arbiter, address, stats })
    }

    /// Figures.
    pub fn stats(&self) -> &Arc<LinkStats> {
        &self.stats
    }

    /// Adds an identity to a user on the request of one of its sessions, which goes on under a new number or epoch. Done
    /// already, it changes nothing. Durable when answered.
    ///
    /// # Errors
    /// `Refused`: the identity belongs to a different user, the session or the user is gone or disabled.
    pub async fn link(&self, user: UserId, session: u32, proof: Proof) -> Result<LoggedIn, Error> {
        let permit = Some(self.core.permit()?);
        self.address.send(Link { user, session, proof, permit }).await.map_err(|_| Error::Stopping)?
    }

    /// Does the same, but makes the user part of the identity's owner if there is one: one change set, after which the
    /// user's id is an alias of the owner's, its sessions are over, and a new session of the owner is answered.
    ///
    /// # Errors
    /// `Refused`: the user is no anonymous one, the session or the user is gone or disabled, or the owner is disabled.
    /// `Busy`: the owner vanished meanwhile; nothing was changed.
    pub async fn merge(
        &self,
        user: UserId,
        session: u32,
        proof: Proof,
        opens: (SessionKind, DeviceId),
        policy: MergePolicy,
    ) -> Result<Joined, Error> {
        let permit = Some(self.core.permit()?);
        let merge = Merge { user, session, proof, opens, policy, permit };
        self.address.send(merge).await.map_err(|_| Error::Stopping)?
    }

    /// Answers a merge again, within 10 minutes: `source` is an alias of the user that the proof proves. After a restart it
    /// is not known any more what the merge left out.
    ///
    /// # Errors
    /// `Refused(Gone)` if it is not.
    pub async fn repeat_merge(
        &self,
        source: UserId,
        proof: Proof,
        opens: (SessionKind, DeviceId),
    ) -> Result<(LoggedIn, Conflicts), Error> {
        let permit = Some(self.core.permit()?);
        let repeat = RepeatMerge { source, proof, opens, permit };
        self.address.send(repeat).await.map_err(|_| Error::Stopping)?
    }

    /// The answer to a link again, within 10 minutes, for a client that lost it: the session that took the place of the user's
    /// session `ended`. The proof must be of the very identity that was linked then. Changes nothing.
    ///
    /// # Errors
    /// `Refused(Gone)` if there is no such session, `Refused(StaleProof)` if the proof does not hold any more.
    pub fn repeat_link(&self, user: &UserId, ended: &SessionId, proof: &Proof) -> Result<Session, Error> {
        let store = &self.core.store;
        let now = store.clock().now();
        let state = store.load(user).ok_or(Refusal::Gone)?;
        let session = state.successor(user, ended, now, REPEAT_S, &self.core.policy).ok_or(Refusal::Gone)?;
        let linked = session.replaces.map(|replaced| replaced.at);
        let mut identities = state.identities().iter();
        if !identities.any(|known| known.key == proof.identity && Some(known.linked) == linked) {
            return Err(Error::Refused(Refusal::Gone));
        }
        demand(&self.core, proof)?;
        self.stats.repeats.fetch_add(1, Ordering::Relaxed);
        Ok(session)
    }

    /// What linking or merging would do now. Changes nothing.
    ///
    /// # Errors
    /// `Refused`, as the link itself.
    pub fn preview(&self, user: &UserId, session: u32, proof: &Proof, policy: &MergePolicy) -> Result<Preview, Error> {
        let (store, rules) = (&self.core.store, &self.core.policy);
        let now = store.clock().now();
        let state = store.load(user).ok_or(Refusal::Gone)?;
        match store.resolve(&proof.identity).filter(|owner| owner != user) {
            None => {
                let (identity, data) = (proof.identity.clone(), proof.data.clone());
                let decision = state.decide(&Operation::Link { identity, data, session }, now, rules)?;
                Ok(if matches!(decision, Decision::Keep(_)) { Preview::Unchanged } else { Preview::Linked })
            }
            Some(owner) => {
                let target = store.load(&owner).ok_or(Error::Busy)?;
                let opening = merging(user, session, (SessionKind::V1, DeviceId::default()), now);
                let merged = policy.merge(&state, &target, opening, now, store.clock().wall_s(), rules);
                Ok(Preview::Owned { owner, merged: merged.map(Box::new) })
            }
        }
    }

    /// Whether one more name can be registered.
    pub fn has_room(&self) -> bool {
        has_room(&self.core)
    }

    /// Changes the credential of a name, and ends sessions of its owner. Answers the credential as it is then. Durable
    /// when answered.
    ///
    /// # Errors
    /// `Refused`: see [`crate::domain::CredentialRefusal`]. `Capacity`.
    pub async fn change_credential(
        &self,
        identity: IdentityKey,
        change: CredentialChange,
        ends: Ends,
    ) -> Result<Credential, Error> {
        let permit = Some(self.core.permit()?);
        let message = ChangeCredential { identity, change, ends, permit };
        self.address.send(message).await.map_err(|_| Error::Stopping)?
    }

    /// Takes an identity off a user.
    ///
    /// # Errors
    /// `Refused`: it is not there, it is the last one, or the user is gone.
    pub async fn unlink(&self, user: UserId, identity: IdentityKey) -> Result<(), Error> {
        let permit = Some(self.core.permit()?);
        self.address.send(Unlink { user, identity, permit }).await.map_err(|_| Error::Stopping)?
    }

    /// Begins a session of the user who has the identity; if there is none, a lasting account is created.
    ///
    /// # Errors
    /// `Refused`: the user is disabled. `Capacity`.
    pub async fn log_in(
        &self,
        proof: Proof,
        kind: SessionKind,
        device: DeviceId,
        form: IdForm,
    ) -> Result<LoggedIn, Error> {
        let permit = Some(self.core.permit()?);
        self.address.send(LogIn { proof, kind, device, form, permit }).await.map_err(|_| Error::Stopping)?
    }
}

impl Drop for LinkerHandle {
    fn drop(&mut self) {
        self.arbiter.stop();
    }
}
