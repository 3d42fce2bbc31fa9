//! What a provider other than `anon-user` proves: that the caller is this person there.

use std::any::Any;
use std::net::IpAddr;

use futures_util::future::LocalBoxFuture;
use passerby_actors::actor::{Proof, Witness};
use passerby_actors::domain::IdentityKey;
use serde_json::{Map, Value};

use super::fetched::FetchError;
use super::password::PasswordError;
use crate::limits::throttle::Throttled;

/// The longest external id in bytes; OpenID Connect allows a subject 255.
pub const MAX_EXTERNAL: usize = 1024;

/// The circumstances of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Unix time in seconds.
    pub now_s: u64,
    /// Where the request came from, as far as trusted proxies tell.
    pub client: IpAddr,
}

/// A provider whose credentials prove an identity there.
pub trait IdentityProvider: Any + Send + Sync {
    /// The name under which clients log in; it is also the type of its identities.
    fn name(&self) -> &str;

    /// Which fields a credential that has these ones may have; on `/v1` any other is refused.
    fn fields(&self, credentials: &Map<String, Value>) -> &'static [&'static str];

    /// The identity that the credentials (the fields of a login's body; those that are not the provider's are none of its
    /// business) prove now. The future stays on its thread, as requests do.
    ///
    /// # Errors
    /// Says why they prove nothing.
    fn verify<'a>(
        &'a self,
        credentials: &'a Map<String, Value>,
        asked: Asked,
    ) -> LocalBoxFuture<'a, Result<VerifiedIdentity, IdentityError>>;
}

/// The text in a field of the credentials that must be there.
pub(super) fn text<'a>(credentials: &'a Map<String, Value>, field: &'static str) -> Result<&'a str, IdentityError> {
    credentials.get(field).and_then(Value::as_str).ok_or(IdentityError::Field(field))
}

/// An identity that its provider has vouched for.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedIdentity {
    /// The provider's type as clients know it: `custom-token`, `oauth2-google`, …
    pub provider: String,
    /// Who it is there, unique within the provider: 1 to [`MAX_EXTERNAL`] bytes.
    pub external: String,
    /// What the provider tells about the person, as far as the configuration asks for it.
    pub data: Map<String, Value>,
    /// What is kept here that it rests on, as it was looked at.
    pub rests_on: Option<Witness>,
    /// Whether it proves a user who exists already: no login creates one.
    pub of_known_user: bool,
}

impl VerifiedIdentity {
    /// An identity that rests on nothing that is kept here.
    pub fn of(provider: &str, external: String, data: Map<String, Value>) -> Self {
        Self { provider: provider.to_owned(), external, data, rests_on: None, of_known_user: false }
    }
}

/// What the linker takes.
impl From<VerifiedIdentity> for Proof {
    fn from(verified: VerifiedIdentity) -> Self {
        let VerifiedIdentity { provider, external, data, rests_on, of_known_user } = verified;
        let data = if data.is_empty() { String::new() } else { Value::Object(data).to_string() };
        let identity = IdentityKey { provider: provider.into(), external: external.into() };
        Self { rests_on, of_known_user, ..Self::new(identity, data.into()) }
    }
}

/// Why a credential proves nothing. Holds nothing of the credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The credentials lack this field, or it is not a text.
    #[error("the credentials need the text {0:?}")]
    Field(&'static str),
    /// The credentials are of a kind that the provider does not accept; this field shows it.
    #[error("credentials with {0:?} are not taken here, only an ID token in \"id_token\"")]
    OtherKind(&'static str),
    /// Not a token of the kind that is taken here.
    #[error("the token is malformed")]
    Malformed,
    /// Signed with this algorithm, which is not one that is taken, or not at all.
    #[error("the token's algorithm {0:?} is not accepted")]
    Algorithm(String),
    /// The token names a key that its issuer does not publish.
    #[error("the token's key is unknown")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the token's signature is invalid")]
    BadSignature,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is still to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is still to come.
    #[error("the token was issued in the future: the clocks of its issuer and of this server differ")]
    IssuedInFuture,
    /// A claim that every token needs is missing or not of its type.
    #[error("the token's claim {0} is missing or wrong")]
    Claim(&'static str),
    /// The token is for a different audience.
    #[error("the token's audience is not accepted")]
    Audience,
    /// The token, or the answer, comes from a different issuer.
    #[error("the token's issuer is not accepted")]
    Issuer,
    /// The answer does not say whose it is, and its issuer's do (RFC 9207).
    #[error("the answer lacks iss, which the issuer promises")]
    NoIssuer,
    /// The token belongs to a different login.
    #[error("the token's nonce is not the one of this login")]
    Nonce,
    /// A required metadata field is missing.
    #[error("the token has no value for the required field {0:?}")]
    MissingField(String),
    /// A metadata field's value is too long.
    #[error("the token's value for the field {0:?} is too long")]
    FieldTooLong(String),
    /// A metadata field's value holds a number that would be rounded.
    #[error("the token's value for the field {0:?} holds a number that cannot be kept exactly: write it as a text")]
    FieldInexact(String),
    /// No e-mail address that is verified and in one of the domains.
    #[error("the account is not of an accepted domain")]
    Domain,
    /// The redirect URI is not in the provider's list.
    #[error("the redirect URI is not one of the provider's")]
    RedirectUri,
    /// The issuer does not take the authorization code.
    #[error("the issuer refuses the authorization code")]
    CodeRefused,
    /// Not the name's password, or there is no such name.
    #[error("the name or the password is wrong")]
    Password,
    /// The right password, but the address has not been confirmed.
    #[error("the address is not confirmed")]
    NotConfirmed,
    /// Not a key, or one that is disabled or gone.
    #[error("the key is not accepted")]
    Key,
    /// Not a code that can still be used, or not by this browser.
    #[error("the code is not accepted")]
    Code,
    /// Too many attempts.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The password cannot be checked now; it may be right.
    #[error(transparent)]
    Passwords(#[from] PasswordError),
    /// The issuer cannot be asked now; the credential may be good. Why is for the log: it names addresses.
    #[error("the provider cannot be asked now")]
    Unavailable(#[from] FetchError),
}

impl IdentityError {
    /// Whether the request is wrong (400) rather than what it would prove.
    pub fn is_bad_request(&self) -> bool {
        matches!(self, Self::Field(_) | Self::OtherKind(_))
    }
}

/// A stranger's text as it may stand in a log or an error: at most `longest` characters, nothing that steers a terminal.
pub(crate) fn plain(text: &str, longest: usize) -> String {
    let shown = |c: char| if c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let mut out: String = text.chars().take(longest).map(shown).collect();
    if text.chars().nth(longest).is_some() {
        out.push('…');
    }
    out
}
