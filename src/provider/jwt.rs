//! JWTs that other systems signed: which header is taken, which key may have signed, and the times at which a token is good.
//!
//! The key decides the algorithm, never the token (security rows S24, S25): each key is for one algorithm, a published one
//! for that of its type, and a published key is never a shared secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::identity::{IdentityError, plain};

/// Seconds by which the clock of the other system may differ from ours.
pub(super) const LEEWAY_S: u64 = 60;

/// Keys that are tried for a token that names none.
const MOST_TRIED: usize = 8;

/// The algorithms that are taken, by name. EdDSA with Ed25519 has two (RFC 8037, RFC 9864).
const ALGORITHMS: [(&str, Algorithm); 5] = [
    ("HS256", Algorithm::HS256),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
    ("Ed25519", Algorithm::EdDSA),
];

/// The algorithm of this name, if it is one that is taken.
pub(super) fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<Value>,
}

/// A token in its compact form, whose signature has not been verified yet.
pub(super) struct Token<'a> {
    header: Header,
    signed: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Token<'a> {
    /// Splits a text of at most `longest` characters.
    pub(super) fn parse(text: &'a str, longest: usize) -> Result<Self, IdentityError> {
        let parts = |text: &'a str| {
            let (signed, signature) = text.rsplit_once('.')?;
            let (header, payload) = signed.split_once('.')?;
            Some(Self { header: json(header)?, signed, payload, signature })
        };
        let token = parts(text).filter(|_| text.len() <= longest).ok_or(IdentityError::Malformed)?;
        // what is critical in a header must be understood (RFC 7515 §4.1.11); another type is another kind of token (S27)
        let kind = token.header.typ.as_deref().unwrap_or("JWT");
        if token.header.crit.is_some() || !kind.eq_ignore_ascii_case("JWT") {
            return Err(IdentityError::Malformed);
        }
        Ok(token)
    }

    /// The key that it names.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// The error for an algorithm that is not taken, which names it.
    pub(super) fn other_algorithm(&self) -> IdentityError {
        IdentityError::Algorithm(plain(&self.header.alg, 32))
    }

    /// Whether its header says this algorithm, under any of its names.
    pub(super) fn is_of(&self, expected: Algorithm) -> bool {
        algorithm(&self.header.alg) == Some(expected)
    }

    /// Its claims as they are written.
    pub(super) fn claims_text(&self) -> String {
        // of what was signed it is known that it can be read
        BASE64.decode(self.payload).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Its claims, if this key signed it with this algorithm. They are not checked.
    pub(super) fn signed_by(
        &self,
        expected: Algorithm,
        key: &DecodingKey,
    ) -> Result<Map<String, Value>, IdentityError> {
        if !self.is_of(expected) {
            return Err(self.other_algorithm());
        }
        match crypto::verify(self.signature, self.signed.as_bytes(), key, expected) {
            Ok(true) => json(self.payload).ok_or(IdentityError::Malformed),
            _ => Err(IdentityError::BadSignature),
        }
    }
}

fn json<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64.decode(part).ok()?).ok()
}

/// A key of a JWKS that can be used here.
struct PublishedKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// The keys that an issuer publishes.
pub(super) struct PublishedKeys(Vec<PublishedKey>);

impl PublishedKeys {
    /// The usable keys of a JWKS, or of a single JWK. A key that is not understood does not spoil the others, and what is not
    /// needed of a key is not looked at.
    pub(super) fn read(json: &Value) -> Self {
        let keys = match json.get("keys") {
            Some(Value::Array(keys)) => keys.as_slice(),
            Some(_) => &[],
            None => std::slice::from_ref(json),
        };
        Self(keys.iter().filter_map(published_key).collect())
    }

    /// Whether none can be used.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The token's claims, if one of these keys signed it. `None` if the key that it names is not among them, or it names
    /// none and none is of its algorithm: newer keys may tell.
    pub(super) fn verify(&self, token: &Token<'_>) -> Option<Result<Map<String, Value>, IdentityError>> {
        let public = algorithm(&token.header.alg).is_some_and(|found| found != Algorithm::HS256);
        if !public {
            return Some(Err(token.other_algorithm()));
        }
        let named = |key: &&PublishedKey| token.key_id().is_none_or(|id| key.id.as_deref() == Some(id));
        let found = |key: &&PublishedKey| named(key) && token.is_of(key.algorithm);
        let mut outcome = None;
        for key in self.0.iter().filter(found).take(MOST_TRIED) {
            let verified = token.signed_by(key.algorithm, &key.key);
            if verified.is_ok() {
                return Some(verified);
            }
            outcome = Some(verified);
        }
        let of_another = token.key_id().is_some() && self.0.iter().any(|key| named(&key));
        outcome.or_else(|| of_another.then(|| Err(token.other_algorithm())))
    }
}

/// A key for signatures, which says so or leaves it open (RFC 7517 §4.2 to §4.4).
fn published_key(jwk: &Value) -> Option<PublishedKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let bytes = |name: &str| text(name).and_then(|text| BASE64.decode(text).ok()).map_or(0, |bytes| bytes.len());
    let (of_type, key) = match (text("kty")?, text("crv")) {
        ("RSA", _) => (Algorithm::RS256, DecodingKey::from_rsa_components(text("n")?, text("e")?)),
        ("EC", Some("P-256")) if (bytes("x"), bytes("y")) == (32, 32) => {
            (Algorithm::ES256, DecodingKey::from_ec_components(text("x")?, text("y")?))
        }
        ("OKP", Some("Ed25519")) if bytes("x") == 32 => (Algorithm::EdDSA, DecodingKey::from_ed_components(text("x")?)),
        _ => return None,
    };
    let named = text("alg").is_none_or(|name| algorithm(name) == Some(of_type));
    let signs = text("use").is_none_or(|purpose| purpose == "sig")
        && jwk
            .get("key_ops")
            .and_then(Value::as_array)
            .is_none_or(|operations| operations.is_empty() || operations.iter().any(|operation| operation == "verify"));
    let id = text("kid").map(str::to_owned);
    (named && signs).then_some(PublishedKey { id, algorithm: of_type, key: key.ok()? })
}

/// A time among the claims (Unix seconds; RFC 7519 §2 allows fractions).
pub(super) fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, IdentityError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or(IdentityError::Claim(name)),
    }
}

/// Checks `exp`, which must be there, and `nbf` at `now_s` (Unix seconds), each with [`LEEWAY_S`].
pub(super) fn check_times(claims: &Map<String, Value>, now_s: u64) -> Result<(), IdentityError> {
    let (now, leeway) = (now_s as f64, LEEWAY_S as f64);
    let expires = time(claims, "exp")?.ok_or(IdentityError::Claim("exp"))?;
    if now >= expires + leeway {
        return Err(IdentityError::Expired);
    }
    if time(claims, "nbf")?.is_some_and(|begins| now + leeway < begins) {
        return Err(IdentityError::NotYetValid);
    }
    Ok(())
}

/// The audiences of a token.
pub(super) fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, IdentityError> {
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(many)) => Ok(many.iter().filter_map(Value::as_str).collect()),
        _ => Err(IdentityError::Claim("aud")),
    }
}
