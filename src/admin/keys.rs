//! API keys of the admin API: what programs log in with.

use passerby_actors::domain::{Family, ValueKey};
use passerby_actors::handle::Handle;
use serde_json::json;

use super::admins::{Admins, all, load, put, retried, wall_ms};
use super::audit::By;
use super::fault::{Fault, MOST_KEYS};
use super::record::{AdminKey, Outcome, Role, Who};
use super::secret::{KEY, SecretText, new_id};
use super::sessions::ending;

/// A key that was just created.
pub struct NewKey {
    /// Its public id: the user name of an App Services script.
    pub id: String,
    /// Its private part, which is shown once.
    pub private: SecretText,
}

impl NewKey {
    /// Both in one text, for a Bearer token.
    pub fn token(&self) -> String {
        format!("{KEY}{}_{}", self.id, self.private.text())
    }
}

fn key_of(id: &str) -> ValueKey {
    ValueKey::own(Family::ADMIN_KEY, id.as_bytes())
}

impl Admins {
    /// Every key by its public id.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn keys(&self, handle: &Handle) -> Result<Vec<(String, AdminKey)>, Fault> {
        let keys = all::<AdminKey>(handle, Family::ADMIN_KEY)?.into_iter();
        Ok(keys.map(|(key, seen)| (String::from_utf8_lossy(&key.key).into_owned(), seen.value)).collect())
    }

    /// Creates a key that is good until `ends_ms` (Unix time in milliseconds), or until it is deleted.
    ///
    /// # Errors
    /// `KeyName`, `PastEnd`, `TooMany`.
    pub async fn create_key(
        &self,
        handle: &Handle,
        name: &str,
        role: Role,
        ends_ms: Option<u64>,
        by: &By,
    ) -> Result<NewKey, Fault> {
        if !(1..=64).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(Fault::KeyName);
        }
        let created_ms = wall_ms(handle);
        if ends_ms.is_some_and(|ends_ms| ends_ms <= created_ms) {
            return Err(Fault::PastEnd);
        }
        let private = SecretText::new("", &*self.entropy);
        let (hash, created_by) = (private.hash(), by.who.clone());
        let key = AdminKey { name: name.to_owned(), role, hash, created_ms, created_by, ends_ms };
        let id = retried(async || {
            if handle.own_count(Family::ADMIN_KEY) >= MOST_KEYS {
                return Err(Fault::TooMany);
            }
            let id = new_id(&*self.entropy);
            let mut entry = by.did("key.create", Some(&id), Outcome::Done);
            entry.after = Some(json!({ "name": name, "role": role, "ends_ms": ends_ms }));
            self.audit.commit(handle, &[put(key_of(&id), &key)?], &entry).await?;
            Ok(id)
        });
        Ok(NewKey { id: id.await?, private })
    }

    /// Deletes a key, with every session that it began.
    ///
    /// # Errors
    /// `NoKey`.
    pub async fn delete_key(&self, handle: &Handle, id: &str, by: &By) -> Result<(), Fault> {
        retried(async || {
            let seen = load::<AdminKey>(handle, Family::ADMIN_KEY, id.as_bytes())?.ok_or(Fault::NoKey)?;
            let mut changes = vec![seen.removed(key_of(id))];
            changes.extend(ending(handle, &Who::Key(id.to_owned()))?);
            let mut entry = by.did("key.delete", Some(id), Outcome::Done);
            entry.before = Some(json!({ "name": seen.value.name, "role": seen.value.role }));
            self.audit.commit(handle, &changes, &entry).await
        })
        .await
    }
}
