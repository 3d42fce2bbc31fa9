//! Sessions of admins and of their keys: how they begin, what shows them, how they end.

use std::sync::atomic::Ordering;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use passerby_actors::domain::{Family, ValueKey};
use passerby_actors::handle::{Handle, OwnChange};

use super::admins::{Admins, Asker, Seen, Source, all, is_current, load, moment, now, put, retried, wall_ms};
use super::audit::By;
use super::fault::Fault;
use super::record::{Account, AdminKey, AdminSession, Moment, Outcome, Role, Totp, Who};
use super::secret::{ACCESS, ID, KEY, LOCAL, SESSION, SecretText, sha256};
use crate::limits::network::Network;
use crate::provider::password::{Password, Verdict};

/// How long a session lives that is not used (seconds).
pub const IDLE_S: u32 = 12 * 3600;
/// How long a session lives, however much it is used (seconds).
pub const LONGEST_S: u32 = 7 * 86_400;
/// Sessions that an admin or a key may have; one more ends the oldest.
const MOST_OF_ONE: usize = 50;
/// How old the time of the last use may be that is written down (seconds).
const USED_GRANULARITY_S: u32 = 600;
/// Who tried to log in by a name or a key that is not there; no admin can be named so.
const UNKNOWN: &str = "(unknown)";

/// What the throttle counts attempts under.
pub(super) const COUNTED_AS: &str = "admin";

fn key_of(hash: &[u8; 32]) -> ValueKey {
    ValueKey::own(Family::ADMIN_SESSION, *hash)
}

pub(super) fn is_live(session: &AdminSession, now: Moment) -> bool {
    session.began.is_within(LONGEST_S, now) && session.used.is_within(IDLE_S, now)
}

/// What ends all sessions of someone.
pub(super) fn ending(handle: &Handle, of: &Who) -> Result<Vec<OwnChange>, Fault> {
    let sessions = all::<AdminSession>(handle, Family::ADMIN_SESSION)?;
    Ok(sessions.into_iter().filter(|(_, seen)| seen.value.of == *of).map(|(key, seen)| seen.removed(key)).collect())
}

/// What ends the other sessions of whoever asks, and takes theirs into another epoch.
pub(super) fn ending_others(handle: &Handle, asker: &Asker, epoch: u64) -> Result<Vec<OwnChange>, Fault> {
    let own = asker.session.map(|hash| key_of(&hash));
    let sessions = all::<AdminSession>(handle, Family::ADMIN_SESSION)?;
    let theirs = sessions.into_iter().filter(|(_, seen)| seen.value.of == asker.who);
    let change = |(key, seen): (ValueKey, Seen<AdminSession>)| {
        if Some(&key) == own.as_ref() {
            let session = AdminSession { epoch, ..seen.value.clone() };
            seen.replaced(key, &session)
        } else {
            Ok(seen.removed(key))
        }
    };
    theirs.map(change).collect()
}

impl Admins {
    /// Who shows this text, and whether it is good. The token of the data folder is taken from this machine alone. `is_use`: whether
    /// the session is used by it.
    ///
    /// # Errors
    /// `Ended`: it is nothing that is good here.
    pub async fn asker(&self, handle: &Handle, token: &str, from: &Source, is_use: bool) -> Result<Asker, Fault> {
        let asker = self.whose(handle, token, from, is_use).await;
        if asker == Err(Fault::Ended) {
            self.tokens_refused.fetch_add(1, Ordering::Relaxed);
        }
        asker
    }

    /// How many texts were shown that were not good.
    pub fn tokens_refused(&self) -> u64 {
        self.tokens_refused.load(Ordering::Relaxed)
    }

    async fn whose(&self, handle: &Handle, token: &str, from: &Source, is_use: bool) -> Result<Asker, Fault> {
        if token.starts_with(LOCAL) {
            let is_ours = |hash: [u8; 32]| verify_slices_are_equal(&hash, &sha256(token)).is_ok();
            let is_local = from.address.to_canonical().is_loopback() && self.local.is_some_and(is_ours);
            return if is_local {
                Ok(Asker { who: Who::Local, role: Role::Owner, session: None })
            } else {
                Err(Fault::Ended)
            };
        }
        if token.starts_with(KEY) {
            let (id, private) = key_parts(token).ok_or(Fault::Ended)?;
            let role = key_role(handle, id, Some(private))?.ok_or(Fault::Ended)?;
            return Ok(Asker { who: Who::Key(id.to_owned()), role, session: None });
        }
        let hash = if token.starts_with(ACCESS) {
            let (session, ends) = self.access.session(token).ok_or(Fault::Ended)?;
            if now(handle) >= ends {
                return Err(Fault::Ended);
            }
            session
        } else if token.starts_with(SESSION) {
            sha256(token)
        } else {
            return Err(Fault::Ended);
        };
        self.of_session(handle, hash, is_use).await
    }

    /// Whether someone who asked may still do so, without this being a use of the session.
    pub fn is_still(&self, handle: &Handle, asker: &Asker) -> bool {
        match (&asker.session, &asker.who) {
            (Some(hash), _) => session_role(handle, hash, moment(handle)).is_ok(),
            (None, Who::Key(id)) => matches!(key_role(handle, id, None), Ok(Some(_))),
            (None, Who::Local) => true,
            (None, Who::Admin(_)) => false,
        }
    }

    async fn of_session(&self, handle: &Handle, hash: [u8; 32], is_use: bool) -> Result<Asker, Fault> {
        let now = moment(handle);
        let (seen, role) = session_role(handle, &hash, now)?;
        let asker = Asker { who: seen.value.of.clone(), role, session: Some(hash) };
        if is_use && !seen.value.used.is_within(USED_GRANULARITY_S, now) {
            let used = AdminSession { used: now, ..seen.value.clone() };
            if let Err(error) = handle.change_own(vec![seen.replaced(key_of(&hash), &used)?]).await {
                tracing::debug!(%error, "the use of an admin's session is not written down: the next use tries again");
            }
        }
        Ok(asker)
    }

    /// A short-lived token for a session.
    pub fn access_token(&self, handle: &Handle, session: &[u8; 32]) -> String {
        self.access.of(session, now(handle))
    }

    /// Begins a session by a name and its password, and a code where the admin has a second factor.
    ///
    /// # Errors
    /// `Credentials`, also of someone who is disabled, or of a wrong code; `CodeNeeded`; `Throttled`; `Passwords`; `Seal`.
    pub async fn log_in(
        &self,
        handle: &Handle,
        name: &str,
        password: Password,
        code: Option<&str>,
        from: &Source,
    ) -> Result<(SecretText, Asker), Fault> {
        let name = name.to_lowercase();
        let attempt = self.throttle.admit(Some((COUNTED_AS, &name)), from.address, now(handle))?;
        let seen = load::<Account>(handle, Family::ADMIN, name.as_bytes())?;
        let stored = seen.as_ref().map(|seen| seen.value.password.as_str().into());
        let is_known = seen.is_some();
        // a name that is not known takes as long
        let verdict = match self.passwords.verify(password, stored, Network::of(from.address)).await {
            Ok(verdict) => verdict,
            Err(error) => {
                self.throttle.withdraw(attempt);
                return Err(error.into());
            }
        };
        let seen = seen.filter(|seen| matches!(verdict, Verdict::Right { .. }) && !seen.value.disabled);
        let Some(seen) = seen else {
            self.refused(handle, is_known.then_some(Who::Admin(name)), None, from).await?;
            return Err(Fault::Credentials);
        };
        let key = ValueKey::own(Family::ADMIN, name.as_bytes());
        let of = match (&seen.value.totp, code) {
            (None, _) => seen.kept(key),
            (Some(_), None) => {
                self.throttle.withdraw(attempt);
                let why = Some("a right password without a code");
                self.refused(handle, Some(Who::Admin(name)), why, from).await?;
                return Err(Fault::CodeNeeded);
            }
            (Some(totp), Some(code)) => {
                let secret = self.seal.open(&name, &totp.sealed)?;
                let Some(used) = secret.step_of(code, wall_ms(handle) / 1000, totp.used) else {
                    self.refused(handle, Some(Who::Admin(name)), Some("a right password with a wrong code"), from)
                        .await?;
                    return Err(Fault::Credentials);
                };
                let totp = Some(Totp { used, ..totp.clone() });
                seen.replaced(key, &Account { totp, ..seen.value.clone() })?
            }
        };
        self.throttle.succeeded(attempt, now(handle));
        self.begin(handle, Who::Admin(name), (seen.value.role, seen.value.epoch), of, from).await
    }

    /// Begins a session by an API key. A right one is never held back; wrong ones are counted together, whatever their id.
    ///
    /// # Errors
    /// `Credentials`; `Throttled`.
    pub async fn log_in_by_key(
        &self,
        handle: &Handle,
        id: &str,
        private: &str,
        from: &Source,
    ) -> Result<(SecretText, Asker), Fault> {
        let Some(role) = key_role(handle, id, Some(private))? else {
            self.count_refusal(handle, "a key", from)?;
            let is_known = handle.own_value(Family::ADMIN_KEY, id.as_bytes()).is_some();
            self.refused(handle, is_known.then(|| Who::Key(id.to_owned())), None, from).await?;
            return Err(Fault::Credentials);
        };
        let seen = load::<AdminKey>(handle, Family::ADMIN_KEY, id.as_bytes())?.ok_or(Fault::Credentials)?;
        let of = seen.kept(ValueKey::own(Family::ADMIN_KEY, id.as_bytes()));
        self.begin(handle, Who::Key(id.to_owned()), (role, 0), of, from).await
    }

    /// What was typed as a name that nobody has is not written down: it can be a password.
    async fn refused(&self, handle: &Handle, who: Option<Who>, why: Option<&str>, from: &Source) -> Result<(), Fault> {
        let who = who.map_or_else(|| UNKNOWN.to_owned(), |who| who.to_string());
        let by = By { who, role: None, address: Some(from.address.to_string()) };
        let mut entry = by.did("login", None, Outcome::Refused);
        entry.reason = why.map(str::to_owned);
        self.audit.write(handle, &entry).await
    }

    /// `of`: demands that the account or key is still as it was when it was checked.
    async fn begin(
        &self,
        handle: &Handle,
        who: Who,
        (role, epoch): (Role, u64),
        of: OwnChange,
        from: &Source,
    ) -> Result<(SecretText, Asker), Fault> {
        let secret = SecretText::new(SESSION, &*self.entropy);
        let (hash, began) = (secret.hash(), moment(handle));
        let address = Some(from.address.to_string());
        let session = AdminSession { of: who.clone(), epoch, began, used: began, address };
        let entry = By::new(&who, role, Some(from.address.to_string())).did("login", None, Outcome::Done);
        let begun = retried(async || {
            if !is_current(handle, &of) {
                return Err(Fault::Credentials);
            }
            let mut changes = vec![of.clone(), put(key_of(&hash), &session)?];
            let mut own = Vec::new();
            for (key, seen) in all::<AdminSession>(handle, Family::ADMIN_SESSION)? {
                if !is_live(&seen.value, began) {
                    changes.push(seen.removed(key));
                } else if seen.value.of == who {
                    own.push((key, seen));
                }
            }
            own.sort_by_key(|(_, seen)| seen.value.began.service);
            let surplus = (own.len() + 1).saturating_sub(MOST_OF_ONE);
            changes.extend(own.drain(..surplus).map(|(key, seen)| seen.removed(key)));
            self.audit.commit(handle, &changes, &entry).await
        });
        let begun = begun.await;
        if begun == Err(Fault::Credentials) {
            self.refused(handle, Some(who.clone()), Some("it was changed meanwhile"), from).await?;
        }
        begun?;
        Ok((secret, Asker { who, role, session: Some(hash) }))
    }

    /// Ends the session that asks.
    ///
    /// # Errors
    /// `Ended`: it is none.
    pub async fn log_out(&self, handle: &Handle, asker: &Asker, by: &By) -> Result<(), Fault> {
        let hash = asker.session.ok_or(Fault::Ended)?;
        let entry = by.did("logout", None, Outcome::Done);
        retried(async || {
            let seen = load::<AdminSession>(handle, Family::ADMIN_SESSION, &hash)?.ok_or(Fault::Ended)?;
            self.audit.commit(handle, &[seen.removed(key_of(&hash))], &entry).await
        })
        .await
    }
}

/// A session that lives, and what it may do.
fn session_role(handle: &Handle, hash: &[u8; 32], now: Moment) -> Result<(Seen<AdminSession>, Role), Fault> {
    let seen = load::<AdminSession>(handle, Family::ADMIN_SESSION, hash)?.ok_or(Fault::Ended)?;
    if !is_live(&seen.value, now) {
        return Err(Fault::Ended);
    }
    let role = match &seen.value.of {
        Who::Admin(name) => {
            let account = load::<Account>(handle, Family::ADMIN, name.as_bytes())?;
            let is_good = |account: &Account| !account.disabled && account.epoch == seen.value.epoch;
            account.filter(|account| is_good(&account.value)).map(|seen| seen.value.role)
        }
        Who::Key(id) => key_role(handle, id, None)?,
        Who::Local => None,
    };
    Ok((seen, role.ok_or(Fault::Ended)?))
}

/// The id and the private part of a key's text.
fn key_parts(token: &str) -> Option<(&str, &str)> {
    let (id, rest) = token.strip_prefix(KEY)?.split_at_checked(ID)?;
    Some((id, rest.strip_prefix('_')?))
}

/// What a key may do that is good, and whose private part this is.
fn key_role(handle: &Handle, id: &str, private: Option<&str>) -> Result<Option<Role>, Fault> {
    let Some(seen) = load::<AdminKey>(handle, Family::ADMIN_KEY, id.as_bytes())? else { return Ok(None) };
    let key = seen.value;
    let is_right = private.is_none_or(|text| verify_slices_are_equal(&key.hash, &sha256(text)).is_ok());
    let has_ended = key.ends_ms.is_some_and(|ends_ms| wall_ms(handle) >= ends_ms);
    Ok((is_right && !has_ended).then_some(key.role))
}
