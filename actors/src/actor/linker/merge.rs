//! Making a user part of the account that has an identity.

use std::sync::atomic::Ordering;

use tokio::sync::OwnedSemaphorePermit;

use super::left_out::REPEAT_S;
use super::proof::{Proof, demand};
use super::{Ask, LinkerHandle, Work};
use crate::actor::error::Error;
use crate::actor::logged_in::LoggedIn;
use crate::domain::{
    Cause, ChangeSet, Conflicts, Decision, DeviceId, LoginMethod, MergePolicy, Merged, Note, Op, Opening, Operation,
    Predecessor, Refusal, Reply, Rewrite, ServiceTime, SessionKind, UserId, UserState, ValueKey,
};

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

/// Adds an identity, or makes the user part of its owner.
struct Merge {
    user: UserId,
    session: u32,
    proof: Proof,
    opens: (SessionKind, DeviceId),
    policy: MergePolicy,
}

impl Ask for Merge {
    type Answer = Joined;

    async fn done(self, work: &Work, permit: OwnedSemaphorePermit) -> Result<Joined, Error> {
        let Self { user, session, proof, opens, policy } = self;
        let operation = Operation::Link { identity: proof.identity.clone(), data: proof.data.clone(), session };
        let (mut seen_owner, mut new, mut before) = (None, false, None);
        let propose = || {
            let store = &work.core().store;
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
                before = store.record(&user);
                let (set, reply) = work.proposal_by(&proof, &user, &operation)?;
                new = set.is_some();
                let Reply::Linked { session, .. } = reply else { return Err(Error::of_another("link")) };
                return Ok((set, Joined::Linked(LoggedIn::new(user, &session))));
            };
            let demand = demand(work.core(), &proof)?;
            let now = store.clock().now();
            let source = store.load(&user).ok_or(Refusal::Gone)?;
            before = Some(source.record);
            source.session(session, now, &work.core().policy()).ok_or(Refusal::SessionEnded)?;
            let target = store.load(&owner).ok_or(Error::Busy)?;
            let opening = merging(&user, session, opens, now);
            let merged = policy.merge(&source, &target, opening, now, store.clock().wall_s(), &work.core().policy())?;
            let (set, logged_in, conflicts) = merged_set(&proof, demand, &source, &target, merged, now);
            Ok((Some(set), Joined::Merged(logged_in, conflicts)))
        };
        let joined = work.until_done(permit, propose).await?;
        match &joined {
            Joined::Linked(_) if new => work.count_link(before.as_ref()),
            Joined::Linked(_) => {}
            Joined::Merged(_, conflicts) => {
                work.left_out.borrow_mut().add(user, work.core().store.clock().now(), conflicts);
                work.stats.merges.fetch_add(1, Ordering::Relaxed);
                work.count_converted(before.as_ref());
            }
        }
        Ok(joined)
    }
}

/// Answers a merge again.
struct RepeatMerge {
    source: UserId,
    proof: Proof,
    opens: (SessionKind, DeviceId),
}

impl Ask for RepeatMerge {
    type Answer = (LoggedIn, Conflicts);

    async fn done(self, work: &Work, permit: OwnedSemaphorePermit) -> Result<(LoggedIn, Conflicts), Error> {
        let Self { source, proof, opens: (kind, device) } = self;
        let (identity, data, method) = (proof.identity.clone(), proof.data.clone(), proof.method);
        let operation = Operation::LogIn { identity, data, method, kind, device };
        let propose = || {
            let store = &work.core().store;
            let owner = store.resolve(&proof.identity).ok_or(Refusal::Gone)?;
            let survivor = store.survivor(&source).ok_or(Refusal::Gone)?;
            let state = store.load(&survivor).ok_or(Refusal::Gone)?;
            let alias = state.aliases().iter().find(|alias| alias.id == source).ok_or(Refusal::Gone)?;
            if owner != survivor || store.clock().now() >= alias.merged.saturating_add(REPEAT_S) {
                return Err(Error::Refused(Refusal::Gone));
            }
            let (set, reply) = work.proposal_by(&proof, &owner, &operation)?;
            let Reply::Opened(session) = reply else { return Err(Error::of_another("log in")) };
            Ok((set, LoggedIn::new(owner, &session)))
        };
        let logged_in = work.until_done(permit, propose).await?;
        work.stats.repeats.fetch_add(1, Ordering::Relaxed);
        Ok((logged_in, work.left_out.borrow().of(&source)))
    }
}

/// The account's new session after a merge, which a session of the user who becomes part of it asked for.
fn merging(source: &UserId, session: u32, (kind, device): (SessionKind, DeviceId), now: ServiceTime) -> Opening {
    let replaces = Some(Predecessor { user: *source, number: session, at: now });
    Opening { replaces, ..Opening::new(kind, device, LoginMethod::Merge) }
}

/// The one set of a merge, and what it answers.
fn merged_set(
    proof: &Proof,
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
    let provider = Some(proof.identity.provider.clone());
    let note = Note { about: Some(source.id), into: Some(target.id), provider, ..Note::default() };
    (ChangeSet::new(Cause::MergedInto, now, ops).noting(note), logged_in, conflicts)
}

impl LinkerHandle {
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
        let merge = Merge { user, session, proof, opens, policy };
        self.ask(merge).await
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
        let repeat = RepeatMerge { source, proof, opens };
        self.ask(repeat).await
    }

    /// What linking or merging would do now. Changes nothing.
    ///
    /// # Errors
    /// `Refused`, as the link itself.
    pub fn preview(&self, user: &UserId, session: u32, proof: &Proof, policy: &MergePolicy) -> Result<Preview, Error> {
        let (store, rules) = (&self.core.store, &self.core.policy());
        let (now, wall_ms) = (store.clock().now(), store.clock().wall_ms());
        let state = store.load(user).ok_or(Refusal::Gone)?.at(wall_ms);
        match store.resolve(&proof.identity).filter(|owner| owner != user) {
            None => {
                let (identity, data) = (proof.identity.clone(), proof.data.clone());
                let decision = state.decide(&Operation::Link { identity, data, session }, now, rules)?;
                Ok(if matches!(decision, Decision::Keep(_)) { Preview::Unchanged } else { Preview::Linked })
            }
            Some(owner) => {
                let target = store.load(&owner).ok_or(Error::Busy)?.at(wall_ms);
                let opening = merging(user, session, (SessionKind::V1, DeviceId::default()), now);
                let merged = policy.merge(&state, &target, opening, now, store.clock().wall_s(), rules);
                Ok(Preview::Owned { owner, merged: merged.map(Box::new) })
            }
        }
    }
}
