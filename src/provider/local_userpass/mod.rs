//! `local-userpass`: a name, which is an e-mail address wherever e-mails are sent, and a password (docs/protocol.md, "Names and
//! passwords").
//!
//! Registering creates no user: the first login does. On `/v1`, and with `auth.hide_accounts` on the App Services path too,
//! answers are *uniform*: neither their content nor their time tells whether a name is known. What a uniform request
//! does is therefore done after it was answered, unless nothing is mailed (then logging in would tell anyway).

mod by_hand;
mod config;
mod kind;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use futures_util::future::LocalBoxFuture;
use passerby_actors::actor::{Ends, Error, LinkerHandle, Witness};
use passerby_actors::domain::{
    Credential, CredentialChange, CredentialRefusal, DeviceId, Entropy, IdentityKey, LOCAL_USERPASS, MAIL_TOKEN_S,
    MailToken, Refusal, ServiceTime, UserId,
};
use passerby_actors::store::{Health, Store};
use serde_json::{Map, Value};

use self::config::{Confirmation, MailLink, UserpassConfig};
pub(super) use self::kind::KIND;
use super::identity::{Asked, IdentityError, IdentityProvider, VerifiedIdentity, text};
use super::kind::Parts;
use super::password::{Password, PasswordError, Passwords, PolicyError, Verdict};
use super::password_work::PasswordWork;
use super::typed;
use crate::codes::{Code, CodeHash, CodeKind};
use crate::limits::network::Network;
use crate::limits::throttle::Throttled;
use crate::mail::{Mail, MailAddress, MailKind, Mailer, QueueFull};

/// Characters of a name that is not an e-mail address.
const LONGEST_NAME: usize = 128;

/// Why something about a name was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserpassError {
    /// Nothing that can be a name here.
    #[error("the name must be an e-mail address that e-mail can be sent to")]
    Name,
    /// The password is too short or too long.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// There is nothing to confirm in this configuration.
    #[error("automatic confirmation is enabled")]
    NoConfirmation,
    /// Resets are off in this configuration.
    #[error("passwords cannot be reset by e-mail here")]
    NoReset,
    /// The current password is wrong.
    #[error("the current password is wrong")]
    Password,
    /// The user has no password.
    #[error("the user has no password")]
    NoPassword,
    /// Too many attempts.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// Too many passwords are being hashed.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// Too many e-mails are waiting.
    #[error(transparent)]
    Mail(#[from] QueueFull),
    /// The name's credential does not allow it, or it could not be stored.
    #[error(transparent)]
    Core(#[from] Error),
}

impl UserpassError {
    /// Whether something may have been stored all the same: an e-mail comes after it.
    pub const fn may_have_stored(&self) -> bool {
        matches!(self, Self::Mail(_) | Self::Core(Error::OutcomeUnknown))
    }
}

impl From<CredentialRefusal> for UserpassError {
    fn from(refusal: CredentialRefusal) -> Self {
        Self::Core(Error::Refused(Refusal::Credential(refusal)))
    }
}

/// Whether an answer may tell which names are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It tells.
    Documented,
    /// It does not.
    Uniform,
}

/// The provider with all that it needs.
pub struct LocalUserpass {
    config: UserpassConfig,
    work: Arc<PasswordWork>,
    mailer: Option<Mailer>,
    linker: Arc<LinkerHandle>,
    store: Arc<dyn Store>,
    entropy: Arc<dyn Entropy>,
}

impl LocalUserpass {
    /// The provider with this configuration.
    ///
    /// # Errors
    /// There are no threads to hash passwords.
    pub fn new(config: UserpassConfig, parts: &Parts) -> Result<Arc<Self>, PasswordError> {
        let Parts { mailer, linker, store, entropy, cost, password_work } = parts;
        let work = match password_work.get() {
            Some(work) => Arc::clone(work),
            None => {
                let work = Arc::new(PasswordWork::start(*cost, entropy)?);
                Arc::clone(password_work.get_or_init(|| work))
            }
        };
        let (mailer, linker) = (mailer.clone(), Arc::clone(linker));
        let (store, entropy) = (Arc::clone(store), Arc::clone(entropy));
        Ok(Arc::new(Self { config, work, mailer, linker, store, entropy }))
    }

    /// What hashes and checks passwords.
    pub fn passwords(&self) -> &Passwords {
        &self.work.passwords
    }

    fn now(&self) -> ServiceTime {
        self.store.clock().now()
    }

    /// A name's credential and what it is stored as.
    fn known(&self, identity: &IdentityKey) -> Option<(Credential, Witness)> {
        self.linker.credential(identity)
    }

    /// The name as it is stored: in NFC, however it was typed (RFC 6532 §3.1), unless it was registered in a different form when
    /// names were kept as they were typed.
    fn kept<'a>(&self, typed: &'a str) -> Cow<'a, str> {
        match typed::composed(typed) {
            Cow::Owned(composed) if composed != typed && self.known(&Credential::identity(typed)).is_none() => {
                Cow::Owned(composed)
            }
            _ => Cow::Borrowed(typed),
        }
    }

    /// Counts an e-mail that is asked for, whether or not one will be sent: that must not show. Registering, asking again and
    /// resetting have counts of their own, so that none can be used to keep the others from an address; and an address has
    /// one however it is spelled.
    fn admit_mail(&self, kind: MailKind, name: &str, client: IpAddr) -> Result<(), Throttled> {
        let mailbox = name.to_ascii_lowercase();
        let _stays_counted = self.work.mails.admit(Some((kind.name(), &mailbox)), client, self.now())?;
        Ok(())
    }

    /// A client that proved the name from there may ask for its e-mails from there, whatever others have asked for.
    fn at_home(&self, name: &str, client: IpAddr) {
        let mailbox = name.to_ascii_lowercase();
        for kind in [MailKind::Confirm, MailKind::Reset] {
            self.work.mails.vouch((kind.name(), &mailbox), client, self.now());
        }
    }

    fn writable(&self) -> Result<(), UserpassError> {
        if self.store.health() == Health::Writable { Ok(()) } else { Err(Error::NotWritable.into()) }
    }

    fn token(&self, kind: CodeKind) -> (Code, MailToken) {
        let (code, hash) = Code::new(kind, &*self.entropy);
        (code, MailToken { hash: *hash.as_bytes(), expires: self.now().saturating_add(MAIL_TOKEN_S) })
    }

    fn send(&self, kind: MailKind, name: &str, link: &MailLink, code: &Code) -> Result<(), UserpassError> {
        let to = MailAddress::parse(name).map_err(|_| UserpassError::Name)?;
        let token_id = Credential::identity(name).external;
        let mail = Mail::new(kind, to, &link.subject, &link.page, code.text(), &token_id);
        let mailer = self.mailer.as_ref().ok_or(QueueFull)?;
        Ok(mailer.send(mail)?)
    }

    async fn change(&self, name: &str, change: CredentialChange, ends: Ends) -> Result<Credential, UserpassError> {
        Ok(self.linker.change_credential(Credential::identity(name), change, ends).await?)
    }

    /// Whether it can be a name here.
    fn check_name(&self, name: &str) -> Result<(), UserpassError> {
        if !self.confirms_automatically() {
            return MailAddress::parse(name).map(drop).map_err(|_| UserpassError::Name);
        }
        let plain = name.trim() == name && !name.chars().any(char::is_control);
        let fits = !name.is_empty() && name.chars().count() <= LONGEST_NAME && plain;
        if fits { Ok(()) } else { Err(UserpassError::Name) }
    }

    /// Registers a name with a password; an e-mail to confirm the address follows where addresses are confirmed. Returns whether that may
    /// have stored something: not for a name that is taken, where the answer may not tell.
    ///
    /// # Errors
    /// Names and passwords that will not do; too many attempts; `Taken` if the answer may tell.
    pub async fn register(
        self: &Arc<Self>,
        name: &str,
        password: Password,
        client: IpAddr,
        answer: Answer,
    ) -> Result<bool, UserpassError> {
        password.check()?;
        let name = &*self.kept(name);
        self.check_name(name)?;
        let Confirmation::Mail(link) = &self.config.confirmation else {
            let password = self.work.passwords.hash(password, Network::of(client)).await?.into();
            let change = CredentialChange::Register { name: name.into(), password, confirm: None, over_pending: false };
            return match self.change(name, change, Ends::Nothing).await {
                Err(error) if error == CredentialRefusal::Taken.into() && answer == Answer::Uniform => Ok(false),
                other => other.map(|_| true),
            };
        };
        self.admit_mail(MailKind::Known, name, client)?;
        let password = self.work.passwords.hash(password, Network::of(client)).await?.into();
        let (code, token) = self.token(CodeKind::Confirm);
        let over_pending = answer == Answer::Uniform;
        let change = CredentialChange::Register { name: name.into(), password, confirm: Some(token), over_pending };
        if answer == Answer::Documented {
            self.change(name, change, Ends::Nothing).await?;
            return self.send(MailKind::Confirm, name, link, &code).map(|()| true);
        }
        if !self.linker.has_room() {
            return Err(Error::Capacity.into());
        }
        let (link, name) = (link.clone(), name.to_owned());
        self.later(move |this| async move {
            match this.change(&name, change, Ends::Nothing).await {
                Ok(_) => this.send(MailKind::Confirm, &name, &link, &code),
                Err(error) if error == CredentialRefusal::Taken.into() => this.mail_reset(&name, MailKind::Known).await,
                Err(error) => Err(error),
            }
        })
        .map(|()| true)
    }

    /// Whether an address is confirmed as soon as it is registered.
    pub fn confirms_automatically(&self) -> bool {
        self.config.confirmation == Confirmation::Automatic
    }

    /// Sends a new token for confirming the address.
    ///
    /// # Errors
    /// Too many attempts; `Unknown` or `AlreadyConfirmed` if the answer may tell; otherwise `NoConfirmation` where addresses are
    /// confirmed automatically.
    pub async fn resend_confirmation(
        self: &Arc<Self>,
        name: &str,
        client: IpAddr,
        answer: Answer,
    ) -> Result<(), UserpassError> {
        let name = &*self.kept(name);
        let Confirmation::Mail(link) = &self.config.confirmation else {
            let known = || self.known(&Credential::identity(name)).is_some_and(|(known, _)| *known.name == *name);
            return Err(match answer {
                Answer::Uniform => UserpassError::NoConfirmation,
                Answer::Documented if known() => CredentialRefusal::AlreadyConfirmed.into(),
                Answer::Documented => CredentialRefusal::Unknown.into(),
            });
        };
        self.admit_mail(MailKind::Confirm, name, client)?;
        let (link, name) = (link.clone(), name.to_owned());
        self.told_or_later(answer, move |this| async move {
            let (code, token) = this.token(CodeKind::Confirm);
            this.change(&name, CredentialChange::RenewConfirm(token), Ends::Nothing).await?;
            this.send(MailKind::Confirm, &name, &link, &code)
        })
        .await
    }

    /// Sends a token for choosing a new password.
    ///
    /// # Errors
    /// `NoReset`; too many attempts; `Unknown` if the answer may tell.
    pub async fn ask_for_reset(
        self: &Arc<Self>,
        name: &str,
        client: IpAddr,
        answer: Answer,
    ) -> Result<(), UserpassError> {
        if self.config.reset.is_none() {
            return Err(UserpassError::NoReset);
        }
        let name = &*self.kept(name);
        self.admit_mail(MailKind::Reset, name, client)?;
        let name = name.to_owned();
        self.told_or_later(answer, move |this| async move { this.mail_reset(&name, MailKind::Reset).await }).await
    }

    async fn mail_reset(&self, name: &str, kind: MailKind) -> Result<(), UserpassError> {
        let link = self.config.reset.as_ref().ok_or(UserpassError::NoReset)?;
        let (code, token) = self.token(CodeKind::Reset);
        self.change(name, CredentialChange::BeginReset(token), Ends::Nothing).await?;
        self.send(kind, name, link, &code)
    }

    async fn told_or_later<W: Future<Output = Result<(), UserpassError>> + 'static>(
        self: &Arc<Self>,
        answer: Answer,
        work: impl FnOnce(Arc<Self>) -> W,
    ) -> Result<(), UserpassError> {
        match answer {
            Answer::Documented => work(Arc::clone(self)).await,
            Answer::Uniform => self.later(work),
        }
    }

    /// Does it after the answer. That a name is not known, or known already, is no failure.
    fn later<W: Future<Output = Result<(), UserpassError>> + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(Arc<Self>) -> W,
    ) -> Result<(), UserpassError> {
        self.writable()?;
        let work = work(Arc::clone(self));
        actix_web::rt::spawn(async move {
            match work.await {
                Ok(()) | Err(UserpassError::NoReset | UserpassError::Core(Error::Refused(_))) => {}
                Err(error) => tracing::warn!(%error, "a promised registration or e-mail failed"),
            }
        });
        Ok(())
    }

    /// Confirms the address that the token was sent to.
    ///
    /// # Errors
    /// `BadToken`, `ExpiredToken`; too many attempts.
    pub async fn confirm(&self, token_id: &str, token: &str, client: IpAddr) -> Result<(), UserpassError> {
        let (identity, hash) = self.mailed(CodeKind::Confirm, token_id, token)?;
        let attempt = self.work.guesses.admit(None, client, self.now())?;
        let change = CredentialChange::Confirm(*hash.as_bytes());
        let confirmed = self.linker.change_credential(identity, change, Ends::Nothing).await?;
        self.work.guesses.succeeded(attempt, self.now());
        self.work.guesses.vouch((LOCAL_USERPASS, &confirmed.name), client, self.now());
        self.at_home(&confirmed.name, client);
        Ok(())
    }

    /// Sets a new password, given a token that was sent by e-mail; every session of its user ends.
    ///
    /// # Errors
    /// `BadToken`, `ExpiredToken`; a password that will not do; too many attempts.
    pub async fn reset(
        &self,
        token_id: &str,
        token: &str,
        password: Password,
        client: IpAddr,
    ) -> Result<(), UserpassError> {
        password.check()?;
        let (identity, hash) = self.mailed(CodeKind::Reset, token_id, token)?;
        let attempt = self.work.guesses.admit(None, client, self.now())?;
        let reset = |password: &str| CredentialChange::Reset { token: *hash.as_bytes(), password: password.into() };
        // a wrong token costs no hashing
        let current = self.known(&identity).map(|(credential, _)| credential);
        Credential::decide(current, &reset(""), self.now())?;
        let password = self.work.passwords.hash(password, Network::of(client)).await?;
        let changed = self.linker.change_credential(identity, reset(&password), Ends::All).await?;
        self.work.guesses.succeeded(attempt, self.now());
        self.work.guesses.vouch((LOCAL_USERPASS, &changed.name), client, self.now());
        self.at_home(&changed.name, client);
        Ok(())
    }

    fn mailed(
        &self,
        kind: CodeKind,
        token_id: &str,
        token: &str,
    ) -> Result<(IdentityKey, CodeHash), CredentialRefusal> {
        let id = DeviceId::parse(token_id).map_err(|_| CredentialRefusal::BadToken)?;
        let hash = CodeHash::parse(kind, token).ok_or(CredentialRefusal::BadToken)?;
        Ok((IdentityKey { provider: LOCAL_USERPASS.into(), external: id.to_string().into() }, hash))
    }

    /// Sets a new password, given the current one (S40); every other session of the user ends.
    ///
    /// # Errors
    /// `NoPassword`, `Password`; a password that will not do; too many attempts.
    pub async fn change_password(
        &self,
        (user, session): (UserId, u32),
        current: Password,
        password: Password,
        client: IpAddr,
    ) -> Result<(), UserpassError> {
        password.check()?;
        let user = self.store.load(&user).ok_or(Error::Refused(Refusal::Gone))?;
        let identity = user.identities().iter().find(|identity| *identity.key.provider == *LOCAL_USERPASS);
        let identity = identity.ok_or(UserpassError::NoPassword)?.key.clone();
        let (credential, _) = self.known(&identity).ok_or(UserpassError::NoPassword)?;
        let seen =
            self.checked(&credential.name, current, Some(&credential), client).await.map_err(|error| match error {
                IdentityError::Throttled(throttled) => UserpassError::Throttled(throttled),
                IdentityError::Passwords(error) => UserpassError::Passwords(error),
                _ => UserpassError::Password,
            });
        seen?;
        let password = self.work.passwords.hash(password, Network::of(client)).await?.into();
        let change = CredentialChange::SetPassword { seen: credential.password, password };
        self.linker.change_credential(identity, change, Ends::Others(session)).await?;
        Ok(())
    }

    /// Checks a password, counting the attempt. Returns whether it should be hashed again.
    async fn checked(
        &self,
        name: &str,
        password: Password,
        known: Option<&Credential>,
        client: IpAddr,
    ) -> Result<bool, IdentityError> {
        let attempt = self.work.guesses.admit(Some((LOCAL_USERPASS, name)), client, self.now())?;
        // two names with one id cannot be found, and would not be one person
        let stored = known.filter(|known| *known.name == *name).map(|known| Arc::from(&*known.password));
        match self.work.passwords.verify(password, stored, Network::of(client)).await {
            // counted like a wrong one: otherwise the count would tell whether the name is taken
            Ok(Verdict::Right { .. }) if known.is_some_and(|known| !known.confirmed) => {
                Err(IdentityError::NotConfirmed)
            }
            Ok(Verdict::Right { rehash }) => {
                self.work.guesses.succeeded(attempt, self.now());
                self.at_home(name, client);
                Ok(rehash)
            }
            Ok(Verdict::Wrong) => Err(IdentityError::Password),
            Err(error) => {
                self.work.guesses.withdraw(attempt);
                Err(error.into())
            }
        }
    }

    async fn verified(
        &self,
        name: &str,
        password: Password,
        client: IpAddr,
    ) -> Result<VerifiedIdentity, IdentityError> {
        let name = &*self.kept(name);
        let identity = Credential::identity(name);
        let known = self.known(&identity);
        let credential = known.as_ref().map(|(credential, _)| credential);
        let rehash = self.checked(name, password.clone(), credential, client).await?;
        let (credential, mut witness) = known.ok_or(IdentityError::Password)?;
        if rehash && let Ok(hash) = self.work.passwords.hash(password, Network::of(client)).await {
            let change = CredentialChange::SetPassword { seen: credential.password, password: hash.into() };
            if let Ok(newer) = self.linker.change_credential(identity.clone(), change, Ends::Nothing).await {
                witness.value = newer.encode().into();
            }
        }
        let data = Map::from_iter([("email".to_owned(), Value::from(name))]);
        let proved = VerifiedIdentity::of(LOCAL_USERPASS, identity.external.into(), data);
        Ok(VerifiedIdentity { rests_on: Some(witness), ..proved })
    }
}

impl IdentityProvider for LocalUserpass {
    fn name(&self) -> &str {
        LOCAL_USERPASS
    }

    fn fields(&self, credentials: &Map<String, Value>) -> &'static [&'static str] {
        if credentials.contains_key("email") { &["email", "password"] } else { &["email", "username", "password"] }
    }

    /// Takes `username` (as SDKs send it) or `email`, and `password`.
    fn verify<'a>(
        &'a self,
        credentials: &'a Map<String, Value>,
        asked: Asked,
    ) -> LocalBoxFuture<'a, Result<VerifiedIdentity, IdentityError>> {
        Box::pin(async move {
            let field = if credentials.contains_key("email") { "email" } else { "username" };
            let (name, password) = (text(credentials, field)?, text(credentials, "password")?);
            self.verified(name, Password::new(password.to_owned()), asked.client).await
        })
    }
}
