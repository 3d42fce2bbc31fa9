//! Creating users by hand: what both faces of the API share.

use std::sync::Arc;

use actix_web::http::StatusCode;
use passerby_actors::actor::LoggedIn;
use passerby_actors::domain::{CredentialRefusal, LOCAL_USERPASS, Refusal, UserId, UserState};
use passerby_actors::handle::{self, NewName, NewUser};
use serde_json::Value;

use super::asked::Asked;
use super::whom;
use crate::admin::IDS;
use crate::http::problem::Problem;
use crate::provider::local_userpass::{LocalUserpass, UserpassError};
use crate::provider::password::Password;

fn name_taken() -> Problem {
    Problem::new(StatusCode::CONFLICT, "account-name-in-use", "name already in use")
}

/// What keeps names and passwords.
///
/// # Errors
/// It is switched off.
pub(super) fn userpass(asked: &Asked) -> Result<Arc<LocalUserpass>, Problem> {
    let off = || Problem::new(StatusCode::CONFLICT, "provider-disabled", "local-userpass is switched off");
    asked.context.server.app().providers.userpass().cloned().ok_or_else(off)
}

/// A name with its password, as it can be stored.
///
/// # Errors
/// Nobody logs in by name and password here; one of them will not do, or the name is taken.
pub(super) async fn name(asked: &Asked, name: &str, password: Password) -> Result<NewName, Problem> {
    userpass(asked)?.by_hand(name, password).await.map_err(|error| match error {
        UserpassError::Core(handle::Error::Refused(Refusal::Credential(CredentialRefusal::Taken))) => name_taken(),
        other => other.into(),
    })
}

/// Gives a user's name and password another name, with an entry in the audit log.
///
/// # Errors
/// Nobody logs in by name and password here; the name will not do, or is taken; the user has none, or is gone.
pub(super) async fn rename(asked: &Asked, user: &UserState, name: &str) -> Result<(), Problem> {
    let (name, data) = userpass(asked)?.another_name(name)?;
    let nameless = || Problem::new(StatusCode::BAD_REQUEST, "invalid-parameter", "the user has no name and password");
    let before = user.identities().iter().find(|known| *known.key.provider == *LOCAL_USERPASS).ok_or_else(nameless)?;
    let told = |data: &str| serde_json::from_str::<Value>(data).ok();
    let told = (told(&before.data), told(&data));
    let (handle, id) = (asked.handle().clone(), user.id);
    let renaming = async move { handle.rename(&id, &name, &data).await };
    match asked.audited("user.rename", &user.id.to_string(), told, renaming).await? {
        Err(handle::Error::Refused(Refusal::Credential(CredentialRefusal::Taken))) => Err(name_taken()),
        Err(handle::Error::Refused(Refusal::NoSuchIdentity)) => Err(nameless()),
        Err(handle::Error::Refused(Refusal::Gone)) => Err(whom::not_found()),
        other => {
            other?;
            Ok(())
        }
    }
}

/// Creates all of these users or none, with an entry in the audit log.
///
/// # Errors
/// An id or a name is taken; the core's.
pub(super) async fn create(asked: &Asked, users: Vec<NewUser>, mut told: Value) -> Result<Vec<LoggedIn>, Problem> {
    let ids: Vec<UserId> = users.iter().map(|user| user.id).collect();
    let whom = ids.first().map(UserId::to_string).unwrap_or_default();
    if ids.len() > 1 {
        told[IDS] = ids.iter().map(UserId::to_string).collect();
    }
    let handle = asked.handle().clone();
    let operation = async move { handle.create_by_hand(users).await };
    match asked.audited("user.create", &whom, (None, Some(told)), operation).await? {
        Err(handle::Error::Refused(Refusal::UserExists)) => {
            let handle = asked.handle();
            // the last: a reader who ended, while a cookie may still name it
            let is_taken = |id: &UserId| handle.exists(id) || handle.survivor(id).is_some() || handle.lazy(id).is_err();
            let taken = ids.iter().find(|id| is_taken(id));
            let which = taken.map_or_else(|| "an id".to_owned(), |id| format!("the id {id}"));
            let detail = format!(
                "{which} is that of a user, of one who became part of another, or of a reader who ended and whose cookie may \
                 still be good; no user was created"
            );
            Err(Problem::new(StatusCode::CONFLICT, "user-exists", detail))
        }
        Err(handle::Error::Refused(Refusal::Credential(CredentialRefusal::Taken))) => Err(name_taken()),
        other => Ok(other?),
    }
}
