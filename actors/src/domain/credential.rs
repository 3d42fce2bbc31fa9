//! What a name and a password are kept as, and every change it can go through: registered, confirmed, reset.
//!
//! A registration is no user yet: the first login makes one (wire-protocol §1.13). It is kept under its identity and goes
//! with it. Passwords and the tokens of mails are here as hashes alone.

use aws_lc_rs::digest::{SHA256, digest};

use super::clock::ServiceTime;
use super::extension::IdentityKey;
use super::ids::DeviceId;
use super::reader::{Reader, Short};

/// The provider of names and passwords.
pub const LOCAL_USERPASS: &str = "local-userpass";

/// How long the token of a mail is good (seconds; wire-protocol §7.4).
pub const MAIL_TOKEN_S: u32 = 30 * 60;

/// How long a registration waits for its confirmation (seconds): mails can be asked for again meanwhile.
pub const PENDING_S: u32 = 30 * 86_400;

const FORMAT: u8 = 1;

mod flag {
    pub(super) const CONFIRMED: u8 = 1;
    pub(super) const CONFIRM_TOKEN: u8 = 2;
    pub(super) const RESET_TOKEN: u8 = 4;
}

/// The token of a mail, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// From when on it is worth nothing.
    pub expires: ServiceTime,
}

/// A name with its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The name: a mail address, unless addresses are not confirmed.
    pub name: Box<str>,
    /// The password's hash, a PHC string.
    pub password: Box<str>,
    /// When it was registered.
    pub registered: ServiceTime,
    /// Whether its address is confirmed, or none has to be.
    pub confirmed: bool,
    /// What confirms the address.
    pub confirm: Option<MailToken>,
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
    /// Takes a name that nobody has. One that waits for its confirmation can be taken once its token has expired, or
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
    /// Sets another password by the hash of a token, which also shows whose address it is.
    Reset {
        /// SHA-256 of the token.
        token: [u8; 32],
        /// The new password's hash.
        password: Box<str>,
    },
    /// Sets another password in the place of the one that the caller checked.
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
    /// Somebody has the name.
    #[error("the name is taken")]
    Taken,
    /// Nobody has the name.
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
    /// The password is another one by now.
    #[error("the password was changed meanwhile")]
    Changed,
}

impl Credential {
    /// What a name is found by: derived, so that mails can name it and identities need not repeat the address.
    pub fn identity(name: &str) -> IdentityKey {
        let mut id = [0; 12];
        id.copy_from_slice(&digest(&SHA256, &[b"local-userpass\0", name.as_bytes()].concat()).as_ref()[..12]);
        IdentityKey { provider: LOCAL_USERPASS.into(), external: DeviceId(id).to_string().into() }
    }

    /// What becomes of the credential, which is none if nobody has the name.
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
                let waits = current.confirm.is_some_and(|token| now < token.expires);
                if current.confirmed || current.name != *name || (waits && !over_pending) {
                    return Err(No::Taken);
                }
                Ok(Self::registered(name, password, *confirm, now))
            }
            CredentialChange::Confirm(given) => {
                valid(current.confirm, given, now)?;
                Ok(Self { confirmed: true, confirm: None, ..current })
            }
            CredentialChange::RenewConfirm(_) if current.confirmed => Err(No::AlreadyConfirmed),
            CredentialChange::RenewConfirm(token) => Ok(Self { confirm: Some(*token), ..current }),
            CredentialChange::BeginReset(token) => Ok(Self { reset: Some(*token), ..current }),
            CredentialChange::Reset { token, password } => {
                valid(current.reset, token, now)?;
                Ok(Self { password: password.clone(), confirmed: true, confirm: None, reset: None, ..current })
            }
            CredentialChange::SetPassword { seen, .. } if *seen != current.password => Err(No::Changed),
            CredentialChange::SetPassword { password, .. } => {
                Ok(Self { password: password.clone(), reset: None, ..current })
            }
        }
    }

    fn registered(name: &str, password: &str, confirm: Option<MailToken>, now: ServiceTime) -> Self {
        let confirmed = confirm.is_none();
        Self { name: name.into(), password: password.into(), registered: now, confirmed, confirm, reset: None }
    }

    /// Whether nobody has confirmed it for too long.
    pub fn is_given_up(&self, now: ServiceTime) -> bool {
        !self.confirmed && now >= self.registered.saturating_add(PENDING_S)
    }

    /// Format u8, flags u8, registered u32, name, password (each a length u32 and bytes), then the tokens that the flags
    /// name, each 32 bytes and expiry u32; all big-endian.
    pub fn encode(&self) -> Box<[u8]> {
        let mut flags = 0;
        let tokens = [(flag::CONFIRM_TOKEN, self.confirm), (flag::RESET_TOKEN, self.reset)];
        flags |= if self.confirmed { flag::CONFIRMED } else { 0 };
        flags |= tokens.iter().filter(|(_, token)| token.is_some()).fold(0, |flags, (flag, _)| flags | flag);
        let mut out = vec![FORMAT, flags];
        out.extend(self.registered.to_be_bytes());
        for text in [&self.name, &self.password] {
            // both are bounded by what a request may bring
            out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            out.extend(text.as_bytes());
        }
        for token in tokens.iter().filter_map(|(_, token)| token.as_ref()) {
            out.extend(token.hash);
            out.extend(token.expires.to_be_bytes());
        }
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Another format, or bytes that end too early or too late.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableCredential> {
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return Err(UnreadableCredential);
        }
        let (flags, registered) = (input.u8()?, input.u32()?);
        let mut text = || -> Result<Box<str>, UnreadableCredential> {
            std::str::from_utf8(input.bytes()?).map(Into::into).map_err(|_| UnreadableCredential)
        };
        let (name, password) = (text()?, text()?);
        let mut token = |flag: u8| -> Result<Option<MailToken>, Short> {
            if flags & flag == 0 {
                return Ok(None);
            }
            Ok(Some(MailToken { hash: input.array()?, expires: input.u32()? }))
        };
        let (confirm, reset) = (token(flag::CONFIRM_TOKEN)?, token(flag::RESET_TOKEN)?);
        let confirmed = flags & flag::CONFIRMED != 0;
        if !input.0.is_empty() {
            return Err(UnreadableCredential);
        }
        Ok(Self { name, password, registered, confirmed, confirm, reset })
    }
}

/// The hashes are compared as they come: who does not know a token of 192 bits cannot steer its hash.
fn valid(token: Option<MailToken>, given: &[u8; 32], now: ServiceTime) -> Result<(), CredentialRefusal> {
    match token {
        Some(token) if token.hash != *given => Err(CredentialRefusal::BadToken),
        Some(token) if now >= token.expires => Err(CredentialRefusal::ExpiredToken),
        Some(_) => Ok(()),
        None => Err(CredentialRefusal::BadToken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: MailToken = MailToken { hash: [3; 32], expires: 200 };

    fn register(confirm: Option<MailToken>, over_pending: bool) -> CredentialChange {
        CredentialChange::Register { name: "a@b".into(), password: "h".into(), confirm, over_pending }
    }

    fn pending() -> Credential {
        Credential::decide(None, &register(Some(TOKEN), false), 100).unwrap()
    }

    #[test]
    fn the_bytes_are_as_they_always_were() {
        let credential = Credential { reset: Some(MailToken { hash: [4; 32], expires: 300 }), ..pending() };
        let mut golden = vec![1, 6, 0, 0, 0, 100, 0, 0, 0, 3, b'a', b'@', b'b', 0, 0, 0, 1, b'h'];
        golden.extend([3; 32]);
        golden.extend([0, 0, 0, 200]);
        golden.extend([4; 32]);
        golden.extend([0, 0, 1, 44]);
        assert_eq!(&*credential.encode(), golden);
        assert_eq!(Credential::decode(&golden), Ok(credential));
        for n in 0..golden.len() {
            assert_eq!(Credential::decode(&golden[..n]), Err(UnreadableCredential), "{n}");
        }
        golden.push(0);
        assert_eq!(Credential::decode(&golden), Err(UnreadableCredential));
        assert_eq!(&*Credential::identity("a@b").external, "de804001578e4f1ab31f4179");
    }

    #[test]
    fn a_token_works_once_within_its_time_and_only_the_last_one_counts() {
        let confirm = CredentialChange::Confirm(TOKEN.hash);
        let decide = |current: &Credential, change: &CredentialChange, now| {
            Credential::decide(Some(current.clone()), change, now)
        };
        assert_eq!(decide(&pending(), &confirm, 200), Err(CredentialRefusal::ExpiredToken));
        let confirmed = decide(&pending(), &confirm, 199).unwrap();
        assert!(confirmed.confirmed);
        assert_eq!(decide(&confirmed, &confirm, 199), Err(CredentialRefusal::BadToken));
        let newer = MailToken { hash: [9; 32], expires: 500 };
        let renewed = decide(&pending(), &CredentialChange::RenewConfirm(newer), 199).unwrap();
        assert_eq!(decide(&renewed, &confirm, 199), Err(CredentialRefusal::BadToken));
        assert_eq!(
            decide(&confirmed, &CredentialChange::RenewConfirm(newer), 199),
            Err(CredentialRefusal::AlreadyConfirmed)
        );

        let reset = |token| CredentialChange::Reset { token, password: "new".into() };
        assert_eq!(decide(&confirmed, &reset([0; 32]), 199), Err(CredentialRefusal::BadToken));
        let asked = decide(&pending(), &CredentialChange::BeginReset(newer), 199).unwrap();
        let done = decide(&asked, &reset(newer.hash), 499).unwrap();
        assert!(done.confirmed && &*done.password == "new", "whoever has the mail has the address");
        assert_eq!(decide(&done, &reset(newer.hash), 499), Err(CredentialRefusal::BadToken));
        assert_eq!(decide(&done, &confirm, 199), Err(CredentialRefusal::BadToken));
        let set = CredentialChange::SetPassword { seen: "h".into(), password: "x".into() };
        assert_eq!(decide(&done, &set, 499), Err(CredentialRefusal::Changed));
        let changed = decide(&asked, &set, 300).unwrap();
        assert_eq!(changed.reset, None, "a mail from before is worth nothing");
    }

    #[test]
    fn a_name_is_taken_until_its_registration_lapses() {
        let again = |over, now| Credential::decide(Some(pending()), &register(Some(TOKEN), over), now);
        assert_eq!(again(false, 199), Err(CredentialRefusal::Taken));
        assert!(again(true, 199).is_ok());
        assert!(again(false, 200).is_ok());
        let confirmed = Credential { confirmed: true, ..pending() };
        let over = Credential::decide(Some(confirmed.clone()), &register(None, true), 999);
        assert_eq!(over, Err(CredentialRefusal::Taken));
        assert!(pending().is_given_up(100 + PENDING_S) && !pending().is_given_up(99 + PENDING_S));
        assert!(!confirmed.is_given_up(u32::MAX));
        let unknown = Credential::decide(None, &CredentialChange::BeginReset(TOKEN), 1);
        assert_eq!(unknown, Err(CredentialRefusal::Unknown));
    }

    #[test]
    fn neither_password_nor_token_is_shown() {
        assert_eq!(format!("{:?}", pending()), "Credential { confirmed: false, .. }");
        assert_eq!(format!("{:?}", register(None, false)), "Register(..)");
    }
}
