//! Admins: created, given a role or a password, disabled, deleted.

use passerby_actors::domain::{Family, ValueKey};
use passerby_actors::handle::{Handle, OwnChange};
use serde_json::{Value, json};

use super::admins::{Admins, all, load, put, retried, wall_ms};
use super::audit::By;
use super::fault::{Fault, MOST_ADMINS, PASSWORD_LENGTH};
use super::record::{Account, Outcome, Role, Who};
use super::secret::new_epoch;
use super::sessions::ending;
use crate::provider::password::Password;

/// What is to change of an admin.
#[derive(Debug, Default)]
pub struct Change {
    /// Another role.
    pub role: Option<Role>,
    /// Whether they are refused. Their sessions end.
    pub disabled: Option<bool>,
    /// Another password. Their sessions end.
    pub password: Option<Password>,
    /// Whether their second factor is taken away.
    pub without_totp: bool,
}

fn key_of(name: &str) -> ValueKey {
    ValueKey::own(Family::ADMIN, name.as_bytes())
}

/// A name as it is stored.
///
/// # Errors
/// `Name`.
fn named(name: &str) -> Result<String, Fault> {
    let name = name.to_ascii_lowercase();
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
    let holds = (1..=64).contains(&name.len()) && name.bytes().all(is_fine) && name != Who::Local.to_string();
    if holds { Ok(name) } else { Err(Fault::Name) }
}

fn short(account: &Account) -> Value {
    json!({ "role": account.role, "disabled": account.disabled, "totp": account.totp.is_some() })
}

impl Admins {
    /// Every admin by name, in order.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn list(&self, handle: &Handle) -> Result<Vec<(String, Account)>, Fault> {
        let admins = all::<Account>(handle, Family::ADMIN)?.into_iter();
        Ok(admins.map(|(key, seen)| (String::from_utf8_lossy(&key.key).into_owned(), seen.value)).collect())
    }

    pub(super) async fn hashed(&self, password: Password) -> Result<String, Fault> {
        if !PASSWORD_LENGTH.contains(&password.length()) {
            return Err(Fault::Weak);
        }
        Ok(self.passwords.hash(password, None).await?)
    }

    /// Creates an admin, and answers the name as it is stored.
    ///
    /// # Errors
    /// `Name`, `Weak`, `Taken`, `TooMany`, `Passwords`.
    pub async fn create(
        &self,
        handle: &Handle,
        name: &str,
        password: Password,
        role: Role,
        by: &By,
    ) -> Result<String, Fault> {
        let name = named(name)?;
        let password = self.hashed(password).await?;
        let now_ms = wall_ms(handle);
        let account = Account {
            role,
            password,
            created_ms: now_ms,
            password_ms: now_ms,
            disabled: false,
            epoch: new_epoch(&*self.entropy),
            totp: None,
        };
        let mut entry = by.did("admin.create", Some(&name), Outcome::Done);
        entry.after = Some(short(&account));
        retried(async || {
            if handle.own_value(Family::ADMIN, name.as_bytes()).is_some() {
                return Err(Fault::Taken);
            }
            if handle.own_count(Family::ADMIN) >= MOST_ADMINS {
                return Err(Fault::TooMany);
            }
            self.audit.commit(handle, &[put(key_of(&name), &account)?], &entry).await
        })
        .await?;
        Ok(name)
    }

    /// Changes an admin. The own password and second factor are changed with the current password, and not here.
    ///
    /// # Errors
    /// `OwnAccount`, `NoAdmin`, `Weak`, `LastOwner`, `Passwords`.
    pub async fn change(&self, handle: &Handle, name: &str, change: Change, by: &By) -> Result<(), Fault> {
        let name = name.to_ascii_lowercase();
        let Change { role, disabled, password, without_totp } = change;
        if by.who == name && (password.is_some() || without_totp) {
            return Err(Fault::OwnAccount);
        }
        let password = match password {
            Some(password) => Some(self.hashed(password).await?),
            None => None,
        };
        retried(async || {
            let seen = load::<Account>(handle, Family::ADMIN, name.as_bytes())?.ok_or(Fault::NoAdmin)?;
            let mut next = seen.value.clone();
            next.role = role.unwrap_or(next.role);
            next.disabled = disabled.unwrap_or(next.disabled);
            if let Some(password) = &password {
                (next.password, next.password_ms) = (password.clone(), wall_ms(handle));
            }
            if without_totp {
                next.totp = None;
            }
            let is_ending = next.disabled || password.is_some();
            if is_ending {
                next.epoch = new_epoch(&*self.entropy);
            }
            let mut changes = vec![seen.replaced(key_of(&name), &next)?];
            if next.disabled || next.role != Role::Owner {
                changes.extend(another_owner(handle, &name, &seen.value)?);
            }
            if is_ending {
                changes.extend(ending(handle, &Who::Admin(name.clone()))?);
            }
            let mut entry = by.did("admin.change", Some(&name), Outcome::Done);
            (entry.before, entry.after) = (Some(short(&seen.value)), Some(short(&next)));
            if password.is_some() {
                entry.reason = Some("a new password".to_owned());
            }
            self.audit.commit(handle, &changes, &entry).await
        })
        .await
    }

    /// Deletes an admin, with every session.
    ///
    /// # Errors
    /// `NoAdmin`, `LastOwner`.
    pub async fn delete(&self, handle: &Handle, name: &str, by: &By) -> Result<(), Fault> {
        let name = name.to_ascii_lowercase();
        retried(async || {
            let seen = load::<Account>(handle, Family::ADMIN, name.as_bytes())?.ok_or(Fault::NoAdmin)?;
            let mut changes = vec![seen.removed(key_of(&name))];
            changes.extend(another_owner(handle, &name, &seen.value)?);
            changes.extend(ending(handle, &Who::Admin(name.clone()))?);
            let mut entry = by.did("admin.delete", Some(&name), Outcome::Done);
            entry.before = Some(short(&seen.value));
            self.audit.commit(handle, &changes, &entry).await
        })
        .await
    }
}

/// If this is an owner who is enabled: demands that another one stays.
///
/// # Errors
/// `LastOwner`: there is none.
fn another_owner(handle: &Handle, name: &str, account: &Account) -> Result<Option<OwnChange>, Fault> {
    let is_owner = |account: &Account| account.role == Role::Owner && !account.disabled;
    if !is_owner(account) {
        return Ok(None);
    }
    let others = all::<Account>(handle, Family::ADMIN)?.into_iter();
    let mut others = others.filter(|(key, seen)| *key.key != *name.as_bytes() && is_owner(&seen.value));
    let (key, seen) = others.next().ok_or(Fault::LastOwner)?;
    Ok(Some(seen.kept(key)))
}
