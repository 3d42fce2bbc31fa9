//! The API keys of a user.

use super::{Decision, UserState};
use crate::domain::change_set::Cause;
use crate::domain::extension::ApiKey;
use crate::domain::ids::DeviceId;
use crate::domain::operation::{Refusal, Reply};
use crate::domain::policy::MAX_API_KEYS;
use crate::domain::session::LoginMethod;

impl UserState {
    /// The API keys, in the order in which they were created.
    pub fn api_keys(&self) -> &[ApiKey] {
        self.extension.as_ref().map_or(&[], |extension| &extension.api_keys)
    }

    pub(super) fn create_key(&self, key: &ApiKey) -> Result<Decision, Refusal> {
        let keys = self.api_keys();
        if self.record.is_anonymous() {
            return Err(Refusal::Anonymous);
        }
        if keys.iter().any(|known| known.name == key.name) {
            return Err(Refusal::KeyNameTaken);
        }
        if keys.len() >= MAX_API_KEYS {
            return Err(Refusal::TooManyKeys);
        }
        let mut keys = keys.to_vec();
        keys.push(key.clone());
        Ok(self.with_keys(keys, Cause::KeyMade, None))
    }

    pub(super) fn set_key(&self, id: DeviceId, disabled: bool) -> Result<Decision, Refusal> {
        let mut keys = self.api_keys().to_vec();
        let key = keys.iter_mut().find(|key| key.id == id).ok_or(Refusal::NoSuchKey)?;
        if key.disabled == disabled {
            return Ok(Decision::Keep(Reply::Done));
        }
        key.disabled = disabled;
        Ok(self.with_keys(keys, Cause::KeyChanged, disabled.then_some(id)))
    }

    pub(super) fn remove_key(&self, id: DeviceId) -> Result<Decision, Refusal> {
        let mut keys = self.api_keys().to_vec();
        let at = keys.iter().position(|key| key.id == id).ok_or(Refusal::NoSuchKey)?;
        keys.remove(at);
        Ok(self.with_keys(keys, Cause::KeyRemoved, Some(id)))
    }

    /// With these keys, and without the sessions of the one that is good no more.
    fn with_keys(&self, keys: Vec<ApiKey>, cause: Cause, ended: Option<DeviceId>) -> Decision {
        let mut next = self.clone();
        let extension = next.extension.get_or_insert_default();
        extension.api_keys = keys;
        if let (Some(ended), Some(sessions)) = (ended, &mut extension.sessions) {
            sessions.list.retain(|session| session.method != LoginMethod::ApiKey(ended));
        }
        Decision::Replace { next, cause, reply: Reply::Done }
    }
}
