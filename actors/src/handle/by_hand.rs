//! Users whom an operator creates: some together or none, under ids that may be given.

use serde_json::{Map, Value};

use super::Handle;
use crate::actor::{Error, LoggedIn, Settled};
use crate::domain::{
    Cause, Change, ChangeSet, Credential, CredentialChange, CredentialRefusal, DeviceId, Edit, Expected, Extension,
    IdForm, LoginMethod, Op, Opening, Operation, Record, Refusal, Rewrite, Session, SessionKind, UserId, UserState,
    ValueKey,
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
    /// The id, which no user has or had.
    pub id: UserId,
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
}

impl Handle {
    /// An id for a user who is created by hand.
    pub fn new_user_id(&self, form: IdForm) -> UserId {
        self.core().new_id(form)
    }

    /// Creates all of these users or none, each with a session of `/v1` if it has one. Durable when answered.
    ///
    /// # Errors
    /// `Refused`: `UserExists`, also if one had the id; a name is `Taken`; a document is too large. `Capacity`.
    pub async fn create_by_hand(&self, users: Vec<NewUser>) -> Result<Vec<LoggedIn>, Error> {
        let core = self.core();
        core.writable()?;
        core.room_for_users(users.len())?;
        let permit = core.permit()?;
        let now = core.store.clock().now();
        let (mut ops, mut about, mut created) = (Vec::new(), Vec::new(), Vec::new());
        for new in users {
            let id = new.id;
            if core.store.survivor(&id).is_some() {
                return Err(Error::Refused(Refusal::UserExists));
            }
            let mut of_user = vec![Op::Value { key: ValueKey::ended_lazy(&id), seen: None, change: Rewrite::Keep }];
            let (user, session) = self.state_of(new, &mut of_user)?;
            about.resize(ops.len() + of_user.len(), About::Name);
            about[ops.len()] = About::Id;
            ops.append(&mut of_user);
            let extension = user.extension.as_ref().map(Extension::encode);
            ops.push(Op::Create { id, record: user.record, extension });
            about.push(About::Id);
            if let Some(document) = &user.document {
                let change = Rewrite::Put(document[..].into());
                ops.push(Op::Value { key: ValueKey::document(&id), seen: None, change });
                about.push(About::Id);
            }
            created.push(LoggedIn::new(id, &session));
        }
        let set = ChangeSet::new(Cause::Created, now, ops);
        match self.worker.router.proposer().once(set, permit).await? {
            Settled::Done => Ok(created),
            Settled::Conflict { op } if about.get(op) == Some(&About::Name) => {
                Err(Error::Refused(Refusal::Credential(CredentialRefusal::Taken)))
            }
            Settled::Conflict { .. } => Err(Error::Refused(Refusal::UserExists)),
        }
    }

    /// A user as it begins, and what else has to hold and be stored for its name.
    fn state_of(&self, new: NewUser, ops: &mut Vec<Op>) -> Result<(UserState, Session), Error> {
        let core = self.core();
        let (now, policy) = (core.store.clock().now(), &core.policy());
        let NewUser { id, name, data, opens } = new;
        let kind = SessionKind::V1;
        let is_account = name.is_some();
        let mut user = match name {
            None => {
                let record = Record::new(now, kind);
                UserState { id, record, extension: None, meters: None, document: None }
            }
            Some(NewName { name, password, data }) => {
                core.room_for_name()?;
                let identity = Credential::identity(&name);
                let change = CredentialChange::Register { name, password, confirm: None, over_pending: false };
                let credential = Credential::decide(None, &change, now).map_err(Refusal::Credential)?;
                let key = ValueKey::credential(&identity);
                ops.push(Op::Value { key, seen: None, change: Rewrite::Put(credential.encode()) });
                ops.push(Op::Claim { identity: identity.clone(), user: id });
                let opening = Opening::new(kind, DeviceId::default(), LoginMethod::Unknown);
                UserState::lasting(id, identity, data, opening, now).0
            }
        };
        let first = user.sessions().into_iter().next().ok_or(Error::Internal)?;
        if let Some(data) = data {
            let may_grow = core.store.document_bytes() < policy.documents_bytes;
            let (change, expected) = (Change::Put(data), Expected::Anything);
            let edit = Operation::Edit(Edit { change, expected, operation: None, origin: None, may_grow });
            let decision = user.decide(&edit, now, policy)?;
            user = user.after(decision).0.ok_or(Error::Internal)?;
        }
        if is_account && !opens {
            let decision = user.decide(&Operation::EndAll, now, policy)?;
            user = user.after(decision).0.ok_or(Error::Internal)?;
        }
        Ok((user, first))
    }
}
