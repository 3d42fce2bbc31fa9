//! What a name and a password are kept as, and every change it can go through: registered, confirmed, reset.
//!
//! A registration is not a user yet: the first login creates one (docs/protocol.md, "Names and passwords"). It is stored under its
//! identity and deleted with it. Passwords and the tokens of e-mails are here as hashes alone.

use aws_lc_rs::digest::{SHA256, digest};

use super::bytes::{Reader, Short};
use super::clock::ServiceTime;
use super::extension::IdentityKey;
use super::ids::DeviceId;

/// The provider of names and passwords.
pub const LOCAL_USERPASS: &str = "local-userpass";

/// How long the token of an e-mail is good (seconds; docs/protocol.md, "Limits").
pub const MAIL_TOKEN_S: u32 = 30 * 60;

/// How long a registration waits for its confirmation (seconds): e-mails can be asked for again meanwhile.
pub const PENDING_S: u32 = 30 * 86_400;

/// How long a confirmed registration waits for its first login (seconds).
pub const UNUSED_S: u32 = 365 * 86_400;

const FORMAT: u8 = 1;

mod flag {
    pub(super) const CONFIRMED: u8 = 1;
    pub(super) const RESET_TOKEN: u8 = 2;
}

/// The token of an e-mail, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// From when on it is worth nothing.
    pub expires: ServiceTime,
}

/// A registration that an e-mail can confirm.
#[derive(Clone, PartialEq, Eq)]
pub struct Pending {
    /// What the e-mail holds.
    pub token: MailToken,
    /// The password's hash.
    pub password: Box<str>,
}

/// E-mails of one name that can confirm it at a time.
const MOST_PENDING: usize = 4;

/// A name with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The name: an e-mail address, unless addresses are not confirmed.
    pub name: Box<str>,
    /// The password's hash, a PHC string; while no address is confirmed, that of the newest registration.
    pub password: Box<str>,
    /// When it was registered.
    pub registered: ServiceTime,
    /// Whether its address is confirmed, or none has to be.
    pub confirmed: bool,
    /// What confirms the address, newest last. Each e-mail confirms the password of the registration that sent it, so that a
    /// stranger who registers the address again does not put a password of theirs behind the owner's e-mail.
    pub confirm: Vec<Pending>,
    /// What resets the password.
    pub reset: Option<MailToken>,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("confirmed", &self.confirmed).finish_non_exhaustive()
    }
}

/// The bytes are not a credential that this version can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unreadable credential")]
pub struct UnreadableCredential;

impl From<Short> for UnreadableCredential {
    fn from(_: Short) -> Self {
        Self
    }
}

/// What can be done to a name's credential.
#[derive(Clone, PartialEq, Eq)]
pub enum CredentialChange {
    /// Takes a free name. One that waits for its confirmation can be taken once its token has expired, or
    /// with `over_pending` at once.
    Register {
        /// The name.
        name: Box<str>,
        /// The password's hash.
        password: Box<str>,
        /// What will confirm the address; none if it needs no confirmation.
        confirm: Option<MailToken>,
        /// Whether a registration that waits is replaced.
        over_pending: bool,
    },
    /// Confirms the address by the hash of a token.
    Confirm([u8; 32]),
    /// Replaces the token that confirms the address.
    RenewConfirm(MailToken),
    /// Replaces the token that resets the password.
    BeginReset(MailToken),
    /// Sets a new password, given the hash of a token, which also proves the address.
    Reset {
        /// SHA-256 of the token.
        token: [u8; 32],
        /// The new password's hash.
        password: Box<str>,
    },
    /// Sets a new password in the place of the one that the caller checked.
    SetPassword {
        /// The old password's hash.
        seen: Box<str>,
        /// The new one's.
        password: Box<str>,
    },
}

impl std::fmt::Debug for CredentialChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Register { .. } => "Register(..)",
            Self::Confirm(_) => "Confirm(..)",
            Self::RenewConfirm(_) => "RenewConfirm(..)",
            Self::BeginReset(_) => "BeginReset(..)",
            Self::Reset { .. } => "Reset(..)",
            Self::SetPassword { .. } => "SetPassword(..)",
        })
    }
}

/// Why a credential is not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialRefusal {
    /// The name is taken.
    #[error("the name is taken")]
    Taken,
    /// The name is not known.
    #[error("the name is not known")]
    Unknown,
    /// There is nothing to confirm.
    #[error("the address is confirmed already")]
    AlreadyConfirmed,
    /// The token is not the one that was sent last, or it was used.
    #[error("the token is not valid")]
    BadToken,
    /// The token was sent too long ago.
    #[error("the token has expired")]
    ExpiredToken,
    /// The password has changed meanwhile.
    #[error("the password was changed meanwhile")]
    Changed,
}

impl Credential {
    /// What a name is found by: derived, so that e-mails can name it and identities need not repeat the address.
    pub fn identity(name: &str) -> IdentityKey {
        let mut id = [0; 12];
        id.copy_from_slice(&digest(&SHA256, &[b"local-userpass\0", name.as_bytes()].concat()).as_ref()[..12]);
        IdentityKey { provider: LOCAL_USERPASS.into(), external: DeviceId(id).to_string().into() }
    }

    /// The new credential; none if the name is not known.
    ///
    /// # Errors
    /// A [`CredentialRefusal`], which changes nothing.
    pub fn decide(
        current: Option<Self>,
        change: &CredentialChange,
        now: ServiceTime,
    ) -> Result<Self, CredentialRefusal> {
        use CredentialRefusal as No;
        let Some(current) = current else {
            return match change {
                CredentialChange::Register { name, password, confirm, .. } => {
                    Ok(Self::registered(name, password, *confirm, now))
                }
                CredentialChange::Confirm(_) | CredentialChange::Reset { .. } => Err(No::BadToken),
                _ => Err(No::Unknown),
            };
        };
        match change {
            CredentialChange::Register { name, password, confirm, over_pending } => {
                let mut pending = current.confirm;
                pending.retain(|pending| now < pending.token.expires);
                if current.confirmed || current.name != *name || (!pending.is_empty() && !over_pending) {
                    return Err(No::Taken);
                }
                let mut next = Self::registered(name, password, *confirm, now);
                pending.append(&mut next.confirm);
                let surplus = pending.len().saturating_sub(MOST_PENDING);
                pending.drain(..surplus);
                Ok(Self { confirm: pending, ..next })
            }
            CredentialChange::Confirm(given) => {
                let pending = current.confirm.iter().find(|pending| pending.token.hash == *given);
                let pending = pending.ok_or(No::BadToken)?;
                valid(Some(pending.token), given, now)?;
                let password = pending.password.clone();
                Ok(Self { password, confirmed: true, confirm: Vec::new(), ..current })
            }
            CredentialChange::RenewConfirm(_) if current.confirmed => Err(No::AlreadyConfirmed),
            CredentialChange::RenewConfirm(token) => {
                let mut confirm = current.confirm;
                // only the last e-mail of a registration is good
                confirm.retain(|pending| pending.password != current.password);
                confirm.push(Pending { token: *token, password: current.password.clone() });
                Ok(Self { confirm, ..current })
            }
            CredentialChange::BeginReset(token) => Ok(Self { reset: Some(*token), ..current }),
            CredentialChange::Reset { token, password } => {
                valid(current.reset, token, now)?;
                Ok(Self { password: password.clone(), confirmed: true, confirm: Vec::new(), reset: None, ..current })
            }
            CredentialChange::SetPassword { seen, .. } if *seen != current.password => Err(No::Changed),
            CredentialChange::SetPassword { password, .. } => {
                Ok(Self { password: password.clone(), reset: None, ..current })
            }
        }
    }

    fn registered(name: &str, password: &str, confirm: Option<MailToken>, now: ServiceTime) -> Self {
        let confirmed = confirm.is_none();
        let confirm = confirm.map(|token| Pending { token, password: password.into() }).into_iter().collect();
        Self { name: name.into(), password: password.into(), registered: now, confirmed, confirm, reset: None }
    }

    /// Whether it is abandoned: not confirmed for too long, or not logged in with for much longer.
    pub fn is_given_up(&self, has_user: bool, now: ServiceTime) -> bool {
        let patience_s = if self.confirmed { UNUSED_S } else { PENDING_S };
        !has_user && now >= self.registered.saturating_add(patience_s)
    }

    /// Format u8, flags u8, registered u32, name, password, the reset token if a flag says so, then what confirms it: token and
    /// password each. A token is 32 bytes and expiry u32, a text its length u32 and bytes; all big-endian.
    pub fn encode(&self) -> Box<[u8]> {
        fn put_text(out: &mut Vec<u8>, text: &str) {
            // bounded by what a request may bring
            out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend(text.as_bytes());
        }
        fn put_token(out: &mut Vec<u8>, token: &MailToken) {
            out.extend(token.hash);
            out.extend(token.expires.to_be_bytes());
        }
        let confirmed = if self.confirmed { flag::CONFIRMED } else { 0 };
        let mut out = vec![FORMAT, confirmed | self.reset.map_or(0, |_| flag::RESET_TOKEN)];
        out.extend(self.registered.to_be_bytes());
        put_text(&mut out, &self.name);
        put_text(&mut out, &self.password);
        self.reset.iter().for_each(|token| put_token(&mut out, token));
        for pending in &self.confirm {
            put_token(&mut out, &pending.token);
            put_text(&mut out, &pending.password);
        }
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// An unknown format, or bytes that end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableCredential> {
        fn text(input: &mut Reader<'_>) -> Result<Box<str>, UnreadableCredential> {
            std::str::from_utf8(input.bytes()?).map(Into::into).map_err(|_| UnreadableCredential)
        }
        fn token(input: &mut Reader<'_>) -> Result<MailToken, Short> {
            Ok(MailToken { hash: input.array()?, expires: input.u32()? })
        }
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return Err(UnreadableCredential);
        }
        let (flags, registered) = (input.u8()?, input.u32()?);
        let (name, password) = (text(&mut input)?, text(&mut input)?);
        let reset = if flags & flag::RESET_TOKEN == 0 { None } else { Some(token(&mut input)?) };
        let mut confirm = Vec::new();
        while !input.0.is_empty() {
            confirm.push(Pending { token: token(&mut input)?, password: text(&mut input)? });
        }
        let confirmed = flags & flag::CONFIRMED != 0;
        Ok(Self { name, password, registered, confirmed, confirm, reset })
    }
}

/// The hashes are compared as they come: an attacker who does not know a token of 192 bits cannot steer its hash.
fn valid(token: Option<MailToken>, given: &[u8; 32], now: ServiceTime) -> Result<(), CredentialRefusal> {
    match token {
        Some(token) if token.hash != *given => Err(CredentialRefusal::BadToken),
        Some(token) if now >= token.expires => Err(CredentialRefusal::ExpiredToken),
        Some(_) => Ok(()),
        None => Err(CredentialRefusal::BadToken),
    }
}

#[cfg(test)]
mod tests;
