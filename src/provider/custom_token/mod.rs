//! `custom-token`: JWTs of another system, as App Services takes them. An existing identity provider is attached this way.
//!
//! The key decides the algorithm, never the token (security rows S24, S25): each configured key is for one algorithm, a
//! published one for that of its type, and a published key is never a shared secret.

#[cfg(test)]
mod tests;

use futures_util::future::LocalBoxFuture;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use super::fetched::{FetchError, Fetched, fetch_json};
use super::identity::{Asked, IdentityError, IdentityProvider, MAX_EXTERNAL, VerifiedIdentity, text};
use super::metadata::MetadataFields;
use super::options::Options;
use super::secrets::Secrets;
use crate::config::SettingsError;
use crate::outbound::Outbound;

/// The provider's type and name.
pub const CUSTOM_TOKEN: &str = "custom-token";
/// The longest token in characters (wire-protocol §7.4).
pub const MAX_TOKEN: usize = 1_000_000;
/// Seconds by which the clock of the other system may differ from ours.
pub const LEEWAY_S: u64 = 60;

/// The most signing keys that can be configured, and how long a shared one is in bytes (wire-protocol §6; RFC 8725 §3.5
/// wants 32 too).
const MAX_KEYS: usize = 3;
const SHARED_KEY_LENGTH: std::ops::RangeInclusive<usize> = 32..=512;

/// The algorithms by the names that `signingAlgorithm` has for them.
const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("HS256", Algorithm::HS256),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
];

/// The provider's configuration, checked.
#[derive(Clone)]
pub struct CustomTokenConfig {
    /// Where it stands in its file.
    path: String,
    audiences: Vec<String>,
    /// Whether one of the audiences is enough; otherwise a token needs all of them.
    any_audience: bool,
    source: Source,
    fields: MetadataFields,
}

#[derive(Clone)]
enum Source {
    /// These keys, all for one algorithm.
    Signing(Algorithm, Vec<DecodingKey>),
    /// The keys published there; of one algorithm if that is configured too.
    Published { url: String, algorithm: Option<Algorithm> },
}

impl CustomTokenConfig {
    /// Reads the object under `path` in `file`: `custom-token` of an app folder, or `provider.custom_token` of `passerby.toml`.
    /// Without `audience` tokens must be for `app_id`.
    ///
    /// # Errors
    /// Names file, key and reason of whatever is wrong or would have to be ignored.
    pub fn read(
        file: &str,
        path: &str,
        content: &Map<String, Value>,
        app_id: &str,
        secrets: &Secrets,
    ) -> Result<Self, SettingsError> {
        let provider = Options::new(file, path, content);
        provider.only(&["name", "type", "disabled", "config", "secret_config", "metadata_fields"])?;
        let known = ["audience", "requireAnyAudience", "signingAlgorithm", "useJWKURI", "jwkURI"];
        let config = provider.section("config", &known)?;
        let secret_config = provider.section("secret_config", &["signingKeys"])?;
        let mut audiences: Vec<String> = config.text_or_texts("audience")?.into_iter().map(str::to_owned).collect();
        if audiences.is_empty() {
            audiences.push(app_id.to_owned());
        }
        Ok(Self {
            path: path.to_owned(),
            audiences,
            any_audience: config.flag("requireAnyAudience")?,
            source: source(&config, &secret_config, secrets)?,
            fields: MetadataFields::read(&provider)?,
        })
    }
}

fn source(config: &Options<'_>, secret_config: &Options<'_>, secrets: &Secrets) -> Result<Source, SettingsError> {
    let algorithm = match config.text("signingAlgorithm")? {
        None => None,
        Some(name) => match ALGORITHMS.iter().find(|(known, _)| *known == name) {
            Some((_, algorithm)) => Some(*algorithm),
            None => {
                let reason = format!("expected HS256, RS256, ES256 or EdDSA, found {name:?}");
                return Err(config.wrong("signingAlgorithm", reason));
            }
        },
    };
    let names = secret_config.texts("signingKeys")?;
    if config.flag("useJWKURI")? {
        if !names.is_empty() {
            return Err(secret_config.wrong("signingKeys", "has no effect with useJWKURI"));
        }
        if algorithm == Some(Algorithm::HS256) {
            return Err(config.wrong("signingAlgorithm", "HS256 needs a shared secret, which is never published"));
        }
        return Ok(Source::Published { url: config.required("jwkURI")?.to_owned(), algorithm });
    }
    if config.text("jwkURI")?.is_some() {
        return Err(config.wrong("jwkURI", "has no effect without useJWKURI"));
    }
    let algorithm = algorithm.ok_or_else(|| config.wrong("signingAlgorithm", "is missing"))?;
    if !(1..=MAX_KEYS).contains(&names.len()) {
        let reason = format!("expected the names of 1 to {MAX_KEYS} secrets, found {}", names.len());
        return Err(secret_config.wrong("signingKeys", reason));
    }
    let keys = names.into_iter().map(|name| {
        let secret = secrets.get(name)?;
        signing_key(algorithm, secret.expose()).map_err(|reason| format!("secret {name:?}: {reason}"))
    });
    let keys: Result<_, String> = keys.collect();
    Ok(Source::Signing(algorithm, keys.map_err(|reason| secret_config.wrong("signingKeys", reason))?))
}

fn signing_key(algorithm: Algorithm, text: &str) -> Result<DecodingKey, String> {
    let pem = text.contains("-----BEGIN ");
    if algorithm == Algorithm::HS256 {
        // a public key that is taken for a shared secret lets everybody sign
        if pem {
            return Err("is a PEM, and HS256 needs a shared secret".to_owned());
        }
        return if SHARED_KEY_LENGTH.contains(&text.len()) {
            Ok(DecodingKey::from_secret(text.as_bytes()))
        } else {
            let (least, most) = SHARED_KEY_LENGTH.into_inner();
            Err(format!("expected {least} to {most} bytes"))
        };
    }
    let (parsed, length) = match algorithm {
        Algorithm::RS256 => (DecodingKey::from_rsa_pem(text.as_bytes()), None),
        // an uncompressed point of P-256
        Algorithm::ES256 => (DecodingKey::from_ec_pem(text.as_bytes()), Some(65)),
        _ => (DecodingKey::from_ed_pem(text.as_bytes()), Some(32)),
    };
    parsed
        .ok()
        .filter(|_| !text.contains("PRIVATE KEY"))
        .filter(|key| length.is_none() || key.try_get_as_bytes().is_ok_and(|bytes| Some(bytes.len()) == length))
        .ok_or_else(|| format!("expected a public key for {algorithm:?} in PEM"))
}

/// The provider.
pub struct CustomToken {
    config: CustomTokenConfig,
    outbound: Outbound,
    published: Fetched<Vec<PublishedKey>>,
}

/// A key of a JWKS that can be used here.
struct PublishedKey {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl CustomToken {
    /// The provider with this configuration, which fetches through `outbound`.
    ///
    /// # Errors
    /// If `jwkURI` is a URL that `outbound` would refuse; `file` is named as its source.
    pub fn new(config: CustomTokenConfig, outbound: Outbound, file: &str) -> Result<Self, SettingsError> {
        if let Source::Published { url, .. } = &config.source {
            let wrong = |error: crate::outbound::OutboundError| {
                SettingsError::of_key(file, format!("{}.config.jwkURI", config.path), error.to_string())
            };
            outbound.check(url).map_err(wrong)?;
        }
        Ok(Self { config, outbound, published: Fetched::new() })
    }

    /// The identity that a token proves at `now_s` (Unix seconds): its `sub`.
    ///
    /// # Errors
    /// Says why it proves nothing.
    pub async fn verify_token(&self, token: &str, now_s: u64) -> Result<VerifiedIdentity, IdentityError> {
        if token.len() > MAX_TOKEN {
            return Err(IdentityError::Malformed);
        }
        let header = decode_header(token).map_err(|_| IdentityError::Malformed)?;
        // what is critical in a header must be understood (RFC 7515 §4.1.11); another type is another kind of token (S27)
        let kind = header.typ.as_deref().unwrap_or("JWT");
        if header.crit.is_some() || !kind.eq_ignore_ascii_case("JWT") {
            return Err(IdentityError::Malformed);
        }
        let claims = match &self.config.source {
            Source::Signing(algorithm, keys) => signed_by_any(token, *algorithm, keys)?,
            Source::Published { url, algorithm } => {
                let id = header.kid.as_deref().ok_or(IdentityError::UnknownKey)?;
                if algorithm.is_some_and(|algorithm| algorithm != header.alg) {
                    return Err(IdentityError::Algorithm);
                }
                self.signed_by_published(token, id, url, now_s).await?
            }
        };
        self.check_times(&claims, now_s)?;
        self.check_audience(&claims)?;
        let external = match claims.get("sub") {
            Some(Value::String(subject)) if (1..=MAX_EXTERNAL).contains(&subject.len()) => subject.clone(),
            _ => return Err(IdentityError::Claim("sub")),
        };
        let data = self.config.fields.extract(&claims)?;
        Ok(VerifiedIdentity::of(CUSTOM_TOKEN, external, data))
    }

    async fn signed_by_published(
        &self,
        token: &str,
        id: &str,
        url: &str,
        now_s: u64,
    ) -> Result<Map<String, Value>, IdentityError> {
        let find = |keys: &[PublishedKey]| {
            keys.iter().find(|key| key.id == id).map(|key| signed_by(token, key.algorithm, &key.key))
        };
        let known = self.published.current(now_s, self.fetch(url)).await?;
        if let Some(outcome) = find(&known) {
            return outcome;
        }
        let newer = self.published.newer(known, now_s, self.fetch(url)).await;
        find(&newer).unwrap_or(Err(IdentityError::UnknownKey))
    }

    async fn fetch(&self, url: &str) -> Result<Vec<PublishedKey>, FetchError> {
        let keys = published_keys(fetch_json(&self.outbound, url).await?);
        if keys.is_empty() {
            let origin = url::Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
            return Err(FetchError::Answer { origin, reason: "publishes no key that can be used".to_owned() });
        }
        Ok(keys)
    }

    fn check_times(&self, claims: &Map<String, Value>, now_s: u64) -> Result<(), IdentityError> {
        // RFC 7519 allows fractions of a second
        let time = |name: &'static str| match claims.get(name) {
            None => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or(IdentityError::Claim(name)),
        };
        let (now, leeway) = (now_s as f64, LEEWAY_S as f64);
        let expires = time("exp")?.ok_or(IdentityError::Claim("exp"))?;
        if now >= expires + leeway {
            return Err(IdentityError::Expired);
        }
        if time("nbf")?.is_some_and(|begins| now + leeway < begins) {
            return Err(IdentityError::NotYetValid);
        }
        Ok(())
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), IdentityError> {
        let found: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => return Err(IdentityError::Claim("aud")),
        };
        let mut expected = self.config.audiences.iter().map(|audience| found.contains(&audience.as_str()));
        let holds = if self.config.any_audience { expected.any(|is| is) } else { expected.all(|is| is) };
        if holds { Ok(()) } else { Err(IdentityError::Audience) }
    }
}

impl IdentityProvider for CustomToken {
    fn name(&self) -> &str {
        CUSTOM_TOKEN
    }

    fn fields(&self, _: &Map<String, Value>) -> &'static [&'static str] {
        &["token"]
    }

    fn verify<'a>(
        &'a self,
        credentials: &'a Map<String, Value>,
        asked: Asked,
    ) -> LocalBoxFuture<'a, Result<VerifiedIdentity, IdentityError>> {
        Box::pin(async move { self.verify_token(text(credentials, "token")?, asked.now_s).await })
    }
}

fn signed_by_any(token: &str, algorithm: Algorithm, keys: &[DecodingKey]) -> Result<Map<String, Value>, IdentityError> {
    let mut outcome = Err(IdentityError::BadSignature);
    for key in keys {
        outcome = signed_by(token, algorithm, key);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// The claims of a token that this key signed with this algorithm. They are not checked.
fn signed_by(token: &str, algorithm: Algorithm, key: &DecodingKey) -> Result<Map<String, Value>, IdentityError> {
    // the library would ask the machine's clock, and knows only one of the two audience rules
    let mut signature_alone = Validation::new(algorithm);
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_nbf = false;
    signature_alone.validate_aud = false;
    decode(token, key, &signature_alone).map(|data| data.claims).map_err(|error| match error.kind() {
        ErrorKind::InvalidSignature => IdentityError::BadSignature,
        ErrorKind::InvalidAlgorithm => IdentityError::Algorithm,
        _ => IdentityError::Malformed,
    })
}

/// The usable keys of a JWKS, or of a single JWK. A key that is not understood does not spoil the others.
fn published_keys(json: Value) -> Vec<PublishedKey> {
    let keys = match json {
        Value::Object(mut set) if set.contains_key("keys") => match set.remove("keys") {
            Some(Value::Array(keys)) => keys,
            _ => Vec::new(),
        },
        single => vec![single],
    };
    keys.into_iter().filter_map(|key| serde_json::from_value(key).ok().and_then(published_key)).collect()
}

fn published_key(jwk: Jwk) -> Option<PublishedKey> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let named = common.key_algorithm.is_none_or(|named| named == name);
    let signs = common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (named && signs).then_some(PublishedKey { id: jwk.common.key_id?, algorithm, key })
}
