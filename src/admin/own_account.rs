//! What admins do about their own account: another password, a second factor.

use passerby_actors::domain::{Family, ValueKey};
use passerby_actors::handle::Handle;
use serde_json::json;

use super::admins::{Admins, Asker, Seen, Source, is_current, load, now, retried, wall_ms};
use super::audit::By;
use super::fault::Fault;
use super::record::{Account, Outcome, Totp, Who};
use super::secret::new_epoch;
use super::sessions::{COUNTED_AS, ending_others};
use super::totp::TotpSecret;
use crate::limits::network::Network;
use crate::provider::password::{Password, Verdict};

/// What the audit log calls a change of the second factor.
const TOTP: &str = "admin.totp";

/// Whose own account it is.
///
/// # Errors
/// `NotAnAdmin`: a key or the token of the data folder asks.
fn name_of(asker: &Asker) -> Result<&str, Fault> {
    if let Who::Admin(name) = &asker.who { Ok(name) } else { Err(Fault::NotAnAdmin) }
}

fn key_of(name: &str) -> ValueKey {
    ValueKey::own(Family::ADMIN, name.as_bytes())
}

impl Admins {
    /// The account of the admin who asks, who shows that they are at the keyboard.
    async fn proved(
        &self,
        handle: &Handle,
        name: &str,
        password: Password,
        source: &Source,
        (what, by): (&str, &By),
    ) -> Result<Seen<Account>, Fault> {
        let attempt = self.throttle.admit(Some((COUNTED_AS, name)), source.address, now(handle))?;
        let seen = load::<Account>(handle, Family::ADMIN, name.as_bytes())?.ok_or(Fault::Ended)?;
        let stored = Some(seen.value.password.as_str().into());
        match self.passwords.verify(password, stored, Network::of(source.address)).await {
            Ok(Verdict::Right { .. }) => {
                self.throttle.succeeded(attempt, now(handle));
                Ok(seen)
            }
            Ok(Verdict::Wrong) => {
                self.note_refusal(handle, name, (what, by), "a wrong password").await?;
                Err(Fault::Password)
            }
            Err(error) => {
                self.throttle.withdraw(attempt);
                Err(error.into())
            }
        }
    }

    async fn note_refusal(&self, handle: &Handle, name: &str, (what, by): (&str, &By), why: &str) -> Result<(), Fault> {
        let mut entry = by.did(what, Some(name), Outcome::Refused);
        entry.reason = Some(why.to_owned());
        self.audit.write(handle, &entry).await
    }

    /// Sets another password, given the current one. Every other session of theirs ends.
    ///
    /// # Errors
    /// `NotAnAdmin`, `Password`, `Changed`, `Weak`, `Throttled`, `Passwords`.
    pub async fn set_own_password(
        &self,
        handle: &Handle,
        asker: &Asker,
        (current, next): (Password, Password),
        source: &Source,
        by: &By,
    ) -> Result<(), Fault> {
        let name = name_of(asker)?;
        let seen = self.proved(handle, name, current, source, ("admin.password", by)).await?;
        let (password, password_ms) = (self.hashed(next).await?, wall_ms(handle));
        let epoch = new_epoch(&*self.entropy);
        let account = Account { password, password_ms, epoch, ..seen.value.clone() };
        let mut entry = by.did("admin.password", Some(name), Outcome::Done);
        entry.reason = Some("a new password".to_owned());
        retried(async || {
            let change = seen.replaced(key_of(name), &account)?;
            if !is_current(handle, &change) {
                return Err(Fault::Changed);
            }
            let mut changes = vec![change];
            changes.extend(ending_others(handle, asker, epoch)?);
            self.audit.commit(handle, &changes, &entry).await
        })
        .await
    }

    /// A secret for an authenticator app; nothing is stored before [`set_totp`](Self::set_totp) has it with a code.
    ///
    /// # Errors
    /// `NotAnAdmin`.
    pub fn new_totp(&self, asker: &Asker) -> Result<TotpSecret, Fault> {
        name_of(asker).map(|_| TotpSecret::new(&*self.entropy))
    }

    /// Whether the admin who asks has a second factor; `None` of a key and of the token of the data folder.
    ///
    /// # Errors
    /// `Ended`: the account is gone.
    pub fn has_totp(&self, handle: &Handle, asker: &Asker) -> Result<Option<bool>, Fault> {
        let Who::Admin(name) = &asker.who else { return Ok(None) };
        let seen = load::<Account>(handle, Family::ADMIN, name.as_bytes())?.ok_or(Fault::Ended)?;
        Ok(Some(seen.value.totp.is_some()))
    }

    /// Asks for a code at each login from now on, given the password, the secret and a code of it.
    ///
    /// # Errors
    /// `NotAnAdmin`, `Password`, `Changed`, `Code`, `Seal`, `Throttled`, `Passwords`.
    pub async fn set_totp(
        &self,
        handle: &Handle,
        asker: &Asker,
        password: Password,
        (secret, code): (&str, &str),
        source: &Source,
        by: &By,
    ) -> Result<(), Fault> {
        let name = name_of(asker)?;
        let seen = self.proved(handle, name, password, source, (TOTP, by)).await?;
        let secret = TotpSecret::parse(secret).ok_or(Fault::Code)?;
        let Some(used) = secret.step_of(code, wall_ms(handle) / 1000, 0) else {
            self.note_refusal(handle, name, (TOTP, by), "a wrong code").await?;
            return Err(Fault::Code);
        };
        let sealed = self.seal.close(name, &secret, &*self.entropy)?;
        let totp = Some(Totp { sealed, used });
        self.change_totp(handle, name, &seen, totp, by).await
    }

    /// Asks for no code any more, given the password.
    ///
    /// # Errors
    /// `NotAnAdmin`, `Password`, `Changed`, `Throttled`, `Passwords`.
    pub async fn remove_totp(
        &self,
        handle: &Handle,
        asker: &Asker,
        password: Password,
        source: &Source,
        by: &By,
    ) -> Result<(), Fault> {
        let name = name_of(asker)?;
        let seen = self.proved(handle, name, password, source, (TOTP, by)).await?;
        self.change_totp(handle, name, &seen, None, by).await
    }

    async fn change_totp(
        &self,
        handle: &Handle,
        name: &str,
        seen: &Seen<Account>,
        totp: Option<Totp>,
        by: &By,
    ) -> Result<(), Fault> {
        let mut entry = by.did(TOTP, Some(name), Outcome::Done);
        let short = |totp: &Option<Totp>| Some(json!({ "totp": totp.is_some() }));
        (entry.before, entry.after) = (short(&seen.value.totp), short(&totp));
        let next = Account { totp, ..seen.value.clone() };
        let change = seen.replaced(key_of(name), &next)?;
        retried(async || {
            if !is_current(handle, &change) {
                return Err(Fault::Changed);
            }
            self.audit.commit(handle, std::slice::from_ref(&change), &entry).await
        })
        .await
    }
}
