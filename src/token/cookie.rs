//! Reader cookies: what is in them. They are not JWTs: only we read them, and every request carries one.

use base64::Engine as _;
use passerby_actors::domain::{ServiceTime, UserId};

use super::jwt::BASE64;
use super::keys::KeyId;

/// Kind u8, user, session u32, issued u32.
const CONTENT: usize = 1 + 16 + 4 + 4;
/// Content, key id, HMAC-SHA256.
const BYTES: usize = CONTENT + 8 + 32;
/// In base64url.
const CHARS: usize = (BYTES * 4).div_ceil(3);
/// Before the content under the HMAC, so that no tag of a different kind of text is one of a cookie.
const CONTEXT: &[u8] = b"passerby reader cookie\0";

/// What a cookie is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookieKind {
    /// A session of a user who exists.
    Session,
    /// A user who is created when the reader comes back with it.
    Lazy,
}

/// A genuine reader cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaderCookie {
    /// What it is good for.
    pub kind: CookieKind,
    /// The reader.
    pub user: UserId,
    /// The number of the session; of a lazy cookie for how many seconds it is good, 0 where a version before did not say.
    pub session: u32,
    /// When it was issued, by the service clock.
    pub issued: ServiceTime,
}

/// Whether a text has the form of a reader's cookie, genuine or not.
pub fn is_reader_cookie(text: &str) -> bool {
    ReaderCookie::parse(text).is_some()
}

impl ReaderCookie {
    /// What is under the HMAC.
    pub(super) fn content(&self) -> [u8; CONTEXT.len() + CONTENT] {
        let mut content = [0; CONTEXT.len() + CONTENT];
        content[..CONTEXT.len()].copy_from_slice(CONTEXT);
        let own = &mut content[CONTEXT.len()..];
        own[0] = match self.kind {
            CookieKind::Session => 1,
            CookieKind::Lazy => 2,
        };
        own[1..17].copy_from_slice(self.user.as_bytes());
        own[17..21].copy_from_slice(&self.session.to_be_bytes());
        own[21..].copy_from_slice(&self.issued.to_be_bytes());
        content
    }

    pub(super) fn text(&self, key: KeyId, tag: &[u8; 32]) -> String {
        let mut bytes = [0; BYTES];
        bytes[..CONTENT].copy_from_slice(&self.content()[CONTEXT.len()..]);
        bytes[CONTENT..CONTENT + 8].copy_from_slice(&key.to_bytes());
        bytes[CONTENT + 8..].copy_from_slice(tag);
        BASE64.encode(bytes)
    }

    /// What a text says, with the key and the tag that would prove it.
    pub(super) fn parse(text: &str) -> Option<(Self, KeyId, [u8; 32])> {
        if text.len() != CHARS {
            return None;
        }
        let mut bytes = [0; BYTES];
        // one that is shorter than its characters tell is not canonical
        let length = BASE64.decode_slice(text, &mut bytes).ok()?;
        let bytes = (length == BYTES).then_some(bytes)?;
        let four = |at: usize| bytes[at..at + 4].try_into().map(u32::from_be_bytes).ok();
        let kind = match bytes[0] {
            1 => CookieKind::Session,
            2 => CookieKind::Lazy,
            _ => return None,
        };
        let user = UserId::from_bytes(bytes[1..17].try_into().ok()?);
        let cookie = Self { kind, user, session: four(17)?, issued: four(21)? };
        let key = KeyId::from_bytes(bytes[CONTENT..CONTENT + 8].try_into().ok()?);
        Some((cookie, key, bytes[CONTENT + 8..].try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_as_it_always_was_and_has_one_spelling() {
        let cookie = ReaderCookie {
            kind: CookieKind::Lazy,
            user: UserId::from_bytes([7; 16]),
            session: 0x0102_0304,
            issued: 0x0506_0708,
        };
        let text = cookie.text(KeyId::from_bytes([9; 8]), &[11; 32]);
        assert_eq!(text, "AgcHBwcHBwcHBwcHBwcHBwcBAgMEBQYHCAkJCQkJCQkJCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCwsLCws");
        assert_eq!(ReaderCookie::parse(&text), Some((cookie, KeyId::from_bytes([9; 8]), [11; 32])));
        for n in 0..text.len() {
            assert_eq!(ReaderCookie::parse(&text[..n]), None);
        }
        for other in [format!("{text}A"), format!("{text}="), format!("{}x", &text[..text.len() - 1])] {
            assert_eq!(ReaderCookie::parse(&other), None, "{other}");
        }
    }
}
