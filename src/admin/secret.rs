//! The texts that admins and their programs show: the secrets of sessions and keys, and short-lived access tokens.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use passerby_actors::domain::{Entropy, ServiceTime};
use zeroize::Zeroizing;

/// How long an access token is good (seconds).
pub const ACCESS_S: u32 = 30 * 60;

/// Each kind has a beginning of its own, which scanners for secrets find.
pub const ACCESS: &str = "pba_";
/// What a session's token begins with.
pub const SESSION: &str = "pbs_";
pub(super) const KEY: &str = "pbk_";
pub(super) const LOCAL: &str = "pbl_";

/// Whether a text has the form of one of them, genuine or not.
pub fn is_admin_token(text: &str) -> bool {
    [ACCESS, SESSION, KEY, LOCAL].iter().any(|beginning| text.starts_with(beginning)) && !text.contains('@')
}

/// Letters of a key's public id.
pub(super) const ID: usize = 8;

/// 256 random bits as a text. Wiped when dropped; never shown.
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    pub(super) fn new(prefix: &str, entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut());
        Self(Zeroizing::new(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(*bytes))))
    }

    /// The text, for its owner.
    pub fn text(&self) -> &str {
        &self.0
    }

    pub(super) fn hash(&self) -> [u8; 32] {
        sha256(&self.0)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(..)")
    }
}

pub(super) fn sha256(text: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    hash
}

/// A new public id of a key.
pub(super) fn new_id(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; ID];
    entropy.fill(&mut bytes);
    // not quite evenly: it is a name, and no secret
    bytes.iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// Another epoch of an account.
pub(super) fn new_epoch(entropy: &dyn Entropy) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

/// Signs access tokens. They end with the process, or with their session.
pub(super) struct AccessTokens(hmac::Key);

impl AccessTokens {
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(key.as_mut());
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// A token for a session, good for [`ACCESS_S`]: the session's hash, when it ends, and a signature.
    pub(super) fn of(&self, session: &[u8; 32], now: ServiceTime) -> String {
        let mut bytes = [&session[..], &now.saturating_add(ACCESS_S).to_be_bytes()].concat();
        bytes.extend(hmac::sign(&self.0, &bytes).as_ref());
        format!("{ACCESS}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The session that a token is of, and when it ends.
    pub(super) fn session(&self, token: &str) -> Option<([u8; 32], ServiceTime)> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(ACCESS)?).ok()?;
        let (said, signature) = bytes.split_at_checked(36)?;
        hmac::verify(&self.0, said, signature).ok()?;
        let (session, ends) = said.split_first_chunk()?;
        Some((*session, ServiceTime::from_be_bytes(ends.try_into().ok()?)))
    }
}

#[cfg(test)]
mod tests {
    use passerby_actors::testkit::SeededEntropy;

    use super::*;

    #[test]
    fn an_access_token_says_of_which_session_it_is_and_is_signed() {
        let entropy = SeededEntropy::new(1);
        let (tokens, others) = (AccessTokens::new(&*entropy), AccessTokens::new(&*entropy));
        let token = tokens.of(&[7; 32], 100);
        assert_eq!(tokens.session(&token), Some(([7; 32], 100 + ACCESS_S)));
        assert_eq!(others.session(&token), None);
        for at in ACCESS.len()..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(tokens.session(&changed).is_none(), "{at}");
        }
        assert_eq!(tokens.session(ACCESS), None);
    }

    #[test]
    fn a_secret_is_shown_by_nothing_but_its_text() {
        let secret = SecretText::new(SESSION, &*SeededEntropy::new(1));
        assert_eq!(format!("{secret:?}"), "SecretText(..)");
        assert_eq!((secret.text().len(), secret.hash()), (47, sha256(secret.text())));
    }
}
