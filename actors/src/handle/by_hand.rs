//! Users whom an operator creates: some together or none, under ids that may be given.

use serde_json::{Map, Value};

use super::Handle;
use crate::actor::{Error, LoggedIn, Settled};
use crate::domain::{
    Cause, Change, ChangeSet, Credential, CredentialChange, CredentialRefusal, DeviceId, Edit, Expected, Extension,
    Flags, IdForm, LoginMethod, Op, Opening, Operation, Record, Refusal, Rewrite, Session, SessionKind, UserId,
    UserState, ValueKey, ended_sessions, first_apart,
};

/// A name with which an account logs in.
#[derive(Debug, Clone)]
pub struct NewName {
    /// The name, as it is stored.
    pub name: Box<str>,
    /// Its password's hash, a PHC string.
    pub password: Box<str>,
    /// What its provider tells of it: a JSON object.
    pub data: Box<str>,
}

/// A user who is to be created.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// The id, which no user has.
    pub id: UserId,
    /// Whether somebody chose the id, so that an earlier user may have had it.
    pub is_given: bool,
    /// Of an account; without it the user is anonymous.
    pub name: Option<NewName>,
    /// The document, if there is to be one.
    pub data: Option<Map<String, Value>>,
    /// Whether an account begins with a session; an anonymous user always does, or it could never come back.
    pub opens: bool,
}

/// What an operation of the set is about, besides the user.
#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Id,
    Name,
    /// The highest session number of all who are gone, above which users with given ids begin.
    Ended,
}

/// How often it is tried again when users ended meanwhile whose numbers were higher.
const TRIES: usize = 8;

impl Handle {
    /// An id for a user who is created by hand.
    pub fn new_user_id(&self, form: IdForm) -> UserId {
        self.core().new_id(form)
    }

    /// Creates all of these users or none, each with a session of `/v1` if it has one. Durable when answered. The sessions of a user
    /// whose id is given have numbers that no session of an earlier user of this id had: nothing that is left of that one is of use.
    ///
    /// # Errors
    /// `Refused`: `UserExists`, also if the id is that of a user who became part of another, or of a reader who ended while a cookie
    /// may still name it; a name is `Taken`; a document is too large. `Capacity`. `Busy`.
    pub async fn create_by_hand(&self, users: Vec<NewUser>) -> Result<Vec<LoggedIn>, Error> {
        let core = self.core();
        core.writable()?;
        core.room_for_users(users.len())?;
        for _ in 0..TRIES {
            let permit = core.permit()?;
            let Proposed { set, about, created } = self.proposed(&users)?;
            match self.worker.router.proposer().once(set, permit).await? {
                Settled::Done => return Ok(created),
                Settled::Conflict { op } => match about.get(op) {
                    Some(About::Ended) => {}
                    Some(About::Name) => return Err(Error::Refused(Refusal::Credential(CredentialRefusal::Taken))),
                    Some(About::Id) | None => return Err(Error::Refused(Refusal::UserExists)),
                },
            }
        }
        Err(Error::Busy)
    }

    fn proposed(&self, users: &[NewUser]) -> Result<Proposed, Error> {
        let core = self.core();
        core.room_for_names(users.iter().filter(|user| user.name.is_some()).count())?;
        let mut document_bytes = core.store.document_bytes();
        let now = core.store.clock().now();
        let (mut ops, mut about, mut created) = (Vec::new(), Vec::new(), Vec::new());
        let ended = core.store.value(&ValueKey::ended_sessions());
        let first = first_apart(ended_sessions(ended.as_deref()), core.store.clock().wall_ms() / 1000);
        if users.iter().any(|user| user.is_given) {
            ops.push(Op::Value { key: ValueKey::ended_sessions(), seen: ended, change: Rewrite::Keep });
            about.push(About::Ended);
        }
        for new in users {
            let id = new.id;
            // a change of one who is just going may be under way, and would be one of the new user
            if core.store.survivor(&id).is_some() || core.store.record(&id).is_some() {
                return Err(Error::Refused(Refusal::UserExists));
            }
            let mut of_user = vec![Op::Value { key: ValueKey::ended_lazy(&id), seen: None, change: Rewrite::Keep }];
            let first = if new.is_given { Some(first.ok_or(Refusal::SessionsUsedUp)?) } else { None };
            let (user, session) = self.state_of(new, first, document_bytes, &mut of_user)?;
            about.resize(ops.len() + of_user.len(), About::Name);
            about[ops.len()] = About::Id;
            ops.append(&mut of_user);
            let extension = user.extension.as_ref().map(Extension::encode);
            ops.push(Op::Create { id, record: user.record, extension });
            about.push(About::Id);
            if let Some(document) = &user.document {
                document_bytes += document.len();
                let change = Rewrite::Put(document[..].into());
                ops.push(Op::Value { key: ValueKey::document(&id), seen: None, change });
                about.push(About::Id);
            }
            created.push(LoggedIn::new(id, &session));
        }
        Ok(Proposed { set: ChangeSet::new(Cause::Created, now, ops), about, created })
    }

    /// A user as it begins, and what else has to hold and be stored for its name. `first` is the number of its session, if not
    /// that of every user's first; `document_bytes` are those of all users before it.
    fn state_of(
        &self,
        new: &NewUser,
        first: Option<u32>,
        document_bytes: usize,
        ops: &mut Vec<Op>,
    ) -> Result<(UserState, Session), Error> {
        let core = self.core();
        let (now, policy) = (core.store.clock().now(), &core.policy());
        let (id, kind) = (new.id, SessionKind::V1);
        let mut user = match &new.name {
            None => {
                let record = Record::new(now, kind);
                UserState { id, record, extension: None, meters: None, document: None }
            }
            Some(NewName { name, password, data }) => {
                let identity = Credential::identity(name);
                let (name, password) = (name.clone(), password.clone());
                let change = CredentialChange::Register { name, password, confirm: None, over_pending: false };
                let credential = Credential::decide(None, &change, now).map_err(Refusal::Credential)?;
                let key = ValueKey::credential(&identity);
                ops.push(Op::Value { key, seen: None, change: Rewrite::Put(credential.encode()) });
                ops.push(Op::Claim { identity: identity.clone(), user: id });
                let opening = Opening::new(kind, DeviceId::default(), LoginMethod::Unknown);
                UserState::lasting(id, identity, data.clone(), opening, now).0
            }
        };
        if let Some(first) = first {
            user = user.numbered(first);
            if id.created_ms() == 0 {
                user.extension.get_or_insert_default().created_ms = Some(core.store.clock().wall_ms());
            }
        }
        user.record.flags = user.record.flags.with(Flags::BY_HAND, true);
        let first = user.sessions().into_iter().next().ok_or(Error::Internal)?;
        if let Some(data) = &new.data {
            let may_grow = document_bytes < policy.documents_bytes;
            let (change, expected) = (Change::Put(data.clone()), Expected::Anything);
            let edit = Operation::Edit(Edit { change, expected, operation: None, origin: None, may_grow });
            let decision = user.decide(&edit, now, policy)?;
            user = user.after(decision).0.ok_or(Error::Internal)?;
        }
        if new.name.is_some() && !new.opens {
            let decision = user.decide(&Operation::EndAll, now, policy)?;
            user = user.after(decision).0.ok_or(Error::Internal)?;
        }
        Ok((user, first))
    }
}

/// What creates users.
struct Proposed {
    set: ChangeSet,
    /// of each operation of the set
    about: Vec<About>,
    created: Vec<LoggedIn>,
}
