//! API keys: their format, their hash, their names.
//!
//! `psb_`, 54 random characters of `0-9 A-Z a-z` (321 bits), 6 characters of checksum: 64 in all, as App Services keys
//! have (docs/protocol.md, "API keys"). `psb_[0-9A-Za-z]{60}` finds them in what should not hold them, and the checksum (the
//! first four bytes of the SHA-256 of all that precedes it, in base 62) tells a scanner without asking us that it found
//! a key.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::LocalBoxFuture;
use passerby_actors::domain::{API_KEY, ApiKey as Stored, Entropy};
use passerby_actors::store::Store;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::identity::{Asked, IdentityError, IdentityProvider, VerifiedIdentity, text};
use super::kind::{Given, Kind, Plan, Rules};
use super::options::Options;
use crate::config::SettingsErrors;

pub(super) const KIND: Kind = Kind {
    name: API_KEY,
    is_of_app_services: true,
    read: Some(read),
    table: Some("api_key"),
    rules: Rules { proves_known_user: true, ..Rules::PLAIN },
};

fn read(given: &Given<'_>) -> Result<Plan, SettingsErrors> {
    let options = Options::new(given.file, given.path, given.content);
    options.only(&["name", "type", "disabled"]);
    options.finish(Ok(Plan::with(|parts| Ok(Arc::new(ApiKeys::new(Arc::clone(&parts.store)))))))
}

/// What every key begins with.
pub const PREFIX: &str = "psb_";
/// Characters of a key's name; App Services tells no limit.
pub const LONGEST_NAME: usize = 64;

const SECRET: usize = 54;
const CHECKSUM: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new key, seen by its owner once. Wiped when dropped; shown only by [`ApiKey::text`].
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// A new key.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + SECRET + CHECKSUM));
        text.push_str(PREFIX);
        let mut bytes = Zeroizing::new([0_u8; SECRET]);
        while text.len() < PREFIX.len() + SECRET {
            entropy.fill(bytes.as_mut());
            // of a byte's 256 values the first 4 × 62 are used, so that every character is equally likely
            let characters = bytes.iter().filter(|byte| **byte < 248).map(|byte| DIGITS[usize::from(byte % 62)]);
            let missing = PREFIX.len() + SECRET - text.len();
            text.extend(characters.take(missing).map(char::from));
        }
        let checksum = checksum(&text);
        text.extend(checksum.map(char::from));
        Self(text)
    }

    /// The key in clear, for its owner.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What to store.
    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash::of(&self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// SHA-256 of a key: what is stored, and by what it is found (S2). Looking it up gives nothing away by its time: an attacker who
/// varies a key cannot foresee how its hash varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApiKeyHash([u8; 32]);

impl ApiKeyHash {
    /// Of a text that claims to be a key; `None` if it has not the form of one, which needs no look at the store.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(PREFIX)?;
        if body.len() != SECRET + CHECKSUM || !body.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let (secret, given) = text.split_at(PREFIX.len() + SECRET);
        (given.as_bytes() == checksum(secret)).then(|| Self::of(text))
    }

    /// As it was stored.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// To be stored.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(hash)
    }
}

/// The provider: a key proves its owner, who exists already.
pub struct ApiKeys {
    store: Arc<dyn Store>,
}

impl ApiKeys {
    /// Looks keys up here.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

impl IdentityProvider for ApiKeys {
    fn name(&self) -> &str {
        API_KEY
    }

    fn fields(&self, _: &Map<String, Value>) -> &'static [&'static str] {
        &["key"]
    }

    fn verify<'a>(
        &'a self,
        credentials: &'a Map<String, Value>,
        _: Asked,
    ) -> LocalBoxFuture<'a, Result<VerifiedIdentity, IdentityError>> {
        Box::pin(async move {
            let hash = ApiKeyHash::parse(text(credentials, "key")?).ok_or(IdentityError::Key)?;
            let identity = Stored::identity(hash.as_bytes());
            let owner = self.store.resolve(&identity).and_then(|owner| self.store.load(&owner));
            let owner = owner.ok_or(IdentityError::Key)?;
            let key = owner.api_keys().iter().find(|key| key.hash == *hash.as_bytes() && !key.disabled);
            key.ok_or(IdentityError::Key)?;
            let proved = VerifiedIdentity::of(API_KEY, identity.external.into(), Map::new());
            Ok(VerifiedIdentity { of_known_user: KIND.rules.proves_known_user, ..proved })
        })
    }
}

/// The name does not meet [`check_name`]; the text is that of App Services (docs/protocol.md, "Errors").
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("can only contain ASCII letters, numbers, underscores, and hyphens")]
pub struct NameError;

/// Whether a key may have this name: 1 to [`LONGEST_NAME`] of `A-Z a-z 0-9 _ -` (docs/protocol.md, "API keys").
///
/// # Errors
/// [`NameError`] if not.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let holds = (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if holds { Ok(()) } else { Err(NameError) }
}

fn checksum(text: &str) -> [u8; CHECKSUM] {
    let digest = digest(&SHA256, text.as_bytes());
    let mut number = digest.as_ref().iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    let mut checksum = [0; CHECKSUM];
    for character in checksum.iter_mut().rev() {
        *character = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    checksum
}

#[cfg(test)]
mod tests;
