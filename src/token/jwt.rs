//! The compact form of our own tokens. Headers are written once for each key and compared as text: a header that is
//! not letter for letter one of ours is never looked at, so nothing in it (`alg`, `jku`, `x5u`, `jwk`) can steer us.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, URL_SAFE_NO_PAD};
use passerby_actors::domain::SessionKind;
use serde::Deserialize;

use super::claims::TokenError;
use super::keys::{Key, KeyId, KeyRing, KeyUse, MAX_SIGNATURE};

/// Canonical base64url alone: no padding, no stray bits.
pub(super) const BASE64: GeneralPurpose = URL_SAFE_NO_PAD;

/// A longer text is no token of ours.
pub(super) const MAX_TOKEN: usize = 4096;

/// [`MAX_SIGNATURE`] bytes in base64url.
const MAX_SIGNATURE_TEXT: usize = (MAX_SIGNATURE * 4).div_ceil(3);

/// What the header's `typ` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenType {
    Access,
    Refresh(SessionKind),
    /// Tells a backend behind a proxy who a visitor is; not accepted here.
    Assertion,
}

impl TokenType {
    const ALL: [Self; 5] = [
        Self::Access,
        Self::Refresh(SessionKind::AppServices),
        Self::Refresh(SessionKind::V1),
        Self::Refresh(SessionKind::Cookie),
        Self::Assertion,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh(SessionKind::AppServices) => "appservices-refresh+jwt",
            Self::Refresh(SessionKind::V1) => "v1-refresh+jwt",
            Self::Refresh(SessionKind::Cookie) => "cookie-refresh+jwt",
            Self::Assertion => "reader-assertion+jwt",
        }
    }

    fn key_use(self) -> KeyUse {
        match self {
            Self::Access | Self::Assertion => KeyUse::Access,
            Self::Refresh(_) => KeyUse::Refresh,
        }
    }
}

/// A header as it stands in tokens, with the key that it names.
struct Header {
    token: TokenType,
    text: String,
    key: Arc<Key>,
}

impl Header {
    fn new(token: TokenType, key: &Arc<Key>) -> Self {
        let json = format!(r#"{{"alg":"{}","kid":"{}","typ":"{}"}}"#, key.algorithm.name(), key.id, token.name());
        Self { token, text: BASE64.encode(json), key: Arc::clone(key) }
    }
}

/// A key ring, and every header that a token of ours can have with it.
pub(super) struct Signers {
    pub(super) keys: KeyRing,
    signing: [Header; TokenType::ALL.len()],
    known: Vec<Header>,
}

impl Signers {
    pub(super) fn new(keys: KeyRing) -> Self {
        let signing = TokenType::ALL.map(|token| Header::new(token, keys.signing(token.key_use())));
        let pairs = keys.all().iter().flat_map(|key| TokenType::ALL.map(|token| (token, key)));
        let known = pairs
            .filter(|(token, key)| token.key_use() == key.purpose)
            .map(|(token, key)| Header::new(token, key))
            .collect();
        Self { keys, signing, known }
    }

    /// Writes the finished token behind what `out` holds. `prefix` is [`encode_prefix`]'s, `rest` the remainder of the
    /// payload.
    pub(super) fn sign(&self, token: TokenType, prefix: &str, rest: &[u8], out: &mut String) {
        let [access, app, v1, cookie, assertion] = &self.signing;
        let header = match token {
            TokenType::Access => access,
            TokenType::Refresh(SessionKind::AppServices) => app,
            TokenType::Refresh(SessionKind::V1) => v1,
            TokenType::Refresh(SessionKind::Cookie) => cookie,
            TokenType::Assertion => assertion,
        };
        let length = header.text.len() + prefix.len() + (rest.len() * 4).div_ceil(3) + MAX_SIGNATURE_TEXT + 2;
        out.reserve(length);
        let start = out.len();
        out.push_str(&header.text);
        out.push('.');
        out.push_str(prefix);
        BASE64.encode_string(rest, out);
        let mut signature = [0; MAX_SIGNATURE];
        let signature = header.key.sign(&out.as_bytes()[start..], &mut signature);
        out.push('.');
        BASE64.encode_string(signature, out);
    }

    /// The type, key and payload of a token that one of our keys signed.
    pub(super) fn open(&self, token: &str) -> Result<(TokenType, KeyId, Vec<u8>), TokenError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let Some(known) = self.known.iter().find(|known| known.text == header) else {
            return Err(self.foreign(header));
        };
        // canonical base64url alone, so that a signature has one spelling
        let mut bytes = [0; MAX_SIGNATURE];
        let length = BASE64.decode_slice(signature, &mut bytes).map_err(|_| TokenError::BadSignature)?;
        if !known.key.verify(signed.as_bytes(), &bytes[..length]) {
            return Err(TokenError::BadSignature);
        }
        let payload = BASE64.decode(payload).map_err(|_| TokenError::Malformed)?;
        Ok((known.token, known.key.id, payload))
    }

    /// Why a header that is not ours is refused: the key may have been retired, all else is not worth telling apart.
    fn foreign(&self, header: &str) -> TokenError {
        #[derive(Deserialize)]
        struct Foreign<'a> {
            kid: &'a str,
        }
        let json = BASE64.decode(header).unwrap_or_default();
        let kid = serde_json::from_slice::<Foreign<'_>>(&json).ok().and_then(|header| KeyId::parse(header.kid));
        match kid {
            Some(id) if self.keys.find(id).is_none() => TokenError::UnknownKey,
            _ => TokenError::Malformed,
        }
    }
}

/// The unchanging beginning of a payload, encoded once. JSON allows spaces, so it is filled up to whole groups of three
/// bytes and any rest can be encoded behind it.
pub(super) fn encode_prefix(mut json: String) -> String {
    while !json.len().is_multiple_of(3) {
        json.push(' ');
    }
    BASE64.encode(json)
}

/// Where the changing part of a payload is put together, on the stack. Everything written here is of bounded length.
pub(super) struct Scratch {
    bytes: [u8; 768],
    length: usize,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { bytes: [0; 768], length: 0 }
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let end = self.length + text.len();
        self.bytes[self.length..end].copy_from_slice(text.as_bytes());
        self.length = end;
        self
    }

    pub(super) fn number(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] += (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.text(str::from_utf8(&digits[at..]).unwrap_or_default())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_json_has_them() {
        for number in [0, 7, 10, 1_700_000_000, u64::MAX] {
            assert_eq!(Scratch::new().number(number).as_bytes(), number.to_string().as_bytes());
        }
    }

    #[test]
    fn any_rest_fits_behind_a_prefix() {
        for length in 0..6 {
            let json = format!(r#"{{"a":"{}","#, "x".repeat(length));
            for rest in [r#""b":1}"#, r#""b":12}"#, r#""b":123}"#] {
                let text = encode_prefix(json.clone()) + &BASE64.encode(rest);
                let value: serde_json::Value = serde_json::from_slice(&BASE64.decode(text).unwrap()).unwrap();
                assert_eq!(value["a"].as_str().map(str::len), Some(length));
            }
        }
    }
}
