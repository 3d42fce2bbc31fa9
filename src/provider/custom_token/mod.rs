//! `custom-token`: JWTs of your own system, as App Services accepted them. An existing identity provider is attached this way.

#[cfg(test)]
mod tests;

use futures_util::future::LocalBoxFuture;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::fetched::{FetchError, Fetched, fetch_json};
use super::identity::{Asked, IdentityError, IdentityProvider, MAX_EXTERNAL, VerifiedIdentity, text};
use super::jwt::{self, PublishedKeys, Token};
use super::kind::{Given, Kind, Plan, Rules};
use super::metadata::MetadataFields;
use super::options::{Options, Told, all};
use crate::config::secrets::Secrets;
use crate::config::{SettingsError, SettingsErrors};
use crate::outbound::Outbound;

/// The provider's type and name.
pub const CUSTOM_TOKEN: &str = "custom-token";

pub(super) const KIND: Kind = Kind {
    name: CUSTOM_TOKEN,
    is_of_app_services: true,
    read: Some(read),
    table: Some("custom_token"),
    rules: Rules::PLAIN,
};

fn read(given: &Given<'_>) -> Result<Plan, SettingsErrors> {
    let Given { file, path, content, app_id, secrets, .. } = *given;
    let config = CustomTokenConfig::read(file, path, content, app_id, secrets)?;
    Ok(Plan::done(CustomToken::new(config, given.outbound.clone(), file)?))
}

/// The longest token in characters (docs/protocol.md, "Limits").
pub const MAX_TOKEN: usize = 1_000_000;
/// The most signing keys that can be configured, and how long a shared one is in bytes (docs/protocol.md, "Limits"; RFC 8725 §3.5
/// wants 32 too).
const MAX_KEYS: usize = 3;
const SHARED_KEY_LENGTH: std::ops::RangeInclusive<usize> = 32..=512;

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
    ) -> Result<Self, SettingsErrors> {
        let provider = Options::new(file, path, content);
        provider.finish(Self::from_options(&provider, path, app_id, secrets))
    }

    fn from_options(provider: &Options<'_>, path: &str, app_id: &str, secrets: &Secrets) -> Result<Self, Told> {
        provider.only(&["name", "type", "disabled", "config", "secret_config", "metadata_fields"]);
        let known = ["audience", "requireAnyAudience", "signingAlgorithm", "useJWKURI", "jwkURI"];
        let config = provider.section("config", &known);
        let secret_config = provider.section("secret_config", &["signingKeys"]);
        let fields = MetadataFields::read(provider);
        let config = config?;
        let (audiences, any_audience) = (config.text_or_texts("audience"), config.flag("requireAnyAudience"));
        let source = source(&config, &secret_config?, secrets);
        let mut audiences: Vec<String> = audiences?.into_iter().map(str::to_owned).collect();
        if audiences.is_empty() {
            audiences.push(app_id.to_owned());
        }
        let (any_audience, source, fields) = (any_audience?, source?, fields?);
        Ok(Self { path: path.to_owned(), audiences, any_audience, source, fields })
    }
}

fn source(config: &Options<'_>, secret_config: &Options<'_>, secrets: &Secrets) -> Result<Source, Told> {
    let algorithm = config.text("signingAlgorithm").and_then(|name| match name {
        None => Ok(None),
        Some(name) => jwt::algorithm(name).map(Some).ok_or_else(|| {
            let reason = format!("expected HS256, RS256, ES256 or EdDSA, found {name:?}");
            config.wrong("signingAlgorithm", reason)
        }),
    });
    let (names, is_published) = (secret_config.texts("signingKeys"), config.flag("useJWKURI"));
    let (algorithm, names, is_published) = (algorithm?, names?, is_published?);
    if is_published {
        if !names.is_empty() {
            secret_config.wrong("signingKeys", "has no effect with useJWKURI");
        }
        if algorithm == Some(Algorithm::HS256) {
            config.wrong("signingAlgorithm", "HS256 needs a shared secret, which is never published");
        }
        return Ok(Source::Published { url: config.required("jwkURI")?.to_owned(), algorithm });
    }
    if let Ok(Some(_)) = config.text("jwkURI") {
        config.wrong("jwkURI", "has no effect without useJWKURI");
    }
    let algorithm = algorithm.ok_or_else(|| config.missing("signingAlgorithm", "is missing"))?;
    if !(1..=MAX_KEYS).contains(&names.len()) {
        let reason = format!("expected the names of 1 to {MAX_KEYS} secrets, found {}", names.len());
        return Err(secret_config.wrong("signingKeys", reason));
    }
    let keys = all(names.into_iter().map(|name| {
        let key = secrets.get(name).and_then(|secret| {
            signing_key(algorithm, secret.expose()).map_err(|reason| format!("secret {name:?}: {reason}"))
        });
        key.map_err(|reason| secret_config.wrong("signingKeys", reason))
    }));
    Ok(Source::Signing(algorithm, keys?))
}

fn signing_key(algorithm: Algorithm, text: &str) -> Result<DecodingKey, String> {
    let pem = text.contains("-----BEGIN ");
    if algorithm == Algorithm::HS256 {
        // a public key that is mistaken for a shared secret lets anyone sign
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
    published: Fetched<PublishedKeys>,
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
        Ok(Self { config, outbound, published: Fetched::new(CUSTOM_TOKEN) })
    }

    /// The identity that a token proves at `now_s` (Unix seconds): its `sub`.
    ///
    /// # Errors
    /// Says why it proves nothing.
    pub async fn verify_token(&self, token: &str, now_s: u64) -> Result<VerifiedIdentity, IdentityError> {
        let token = Token::parse(token, MAX_TOKEN)?;
        let claims = match &self.config.source {
            Source::Signing(algorithm, keys) => signed_by_any(&token, *algorithm, keys)?,
            Source::Published { url, algorithm } => {
                if algorithm.is_some_and(|algorithm| !token.is_of(algorithm)) {
                    return Err(token.other_algorithm());
                }
                if token.key_id().is_none() {
                    return Err(IdentityError::UnknownKey);
                }
                self.signed_by_published(&token, url, now_s).await?
            }
        };
        jwt::check_times(&claims, now_s)?;
        self.check_audience(&claims)?;
        let external = match claims.get("sub") {
            Some(Value::String(subject)) if (1..=MAX_EXTERNAL).contains(&subject.len()) => subject.clone(),
            _ => return Err(IdentityError::Claim("sub")),
        };
        self.config.fields.check_numbers(&token.claims_text())?;
        let data = self.config.fields.extract(&claims)?;
        Ok(VerifiedIdentity::of(CUSTOM_TOKEN, external, data))
    }

    async fn signed_by_published(
        &self,
        token: &Token<'_>,
        url: &str,
        now_s: u64,
    ) -> Result<Map<String, Value>, IdentityError> {
        let known = self.published.current(now_s, self.fetch(url)).await?;
        if let Some(outcome) = known.verify(token) {
            return outcome;
        }
        let newer = self.published.newer(known, now_s, self.fetch(url)).await?;
        newer.verify(token).unwrap_or(Err(IdentityError::UnknownKey))
    }

    async fn fetch(&self, url: &str) -> Result<PublishedKeys, FetchError> {
        let keys = PublishedKeys::read(&fetch_json(&self.outbound, url).await?);
        if keys.is_empty() {
            return Err(FetchError::of(url, "publishes no key that can be used: an RSA, P-256 or Ed25519 key"));
        }
        Ok(keys)
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), IdentityError> {
        let found = jwt::audiences(claims)?;
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

fn signed_by_any(
    token: &Token<'_>,
    algorithm: Algorithm,
    keys: &[DecodingKey],
) -> Result<Map<String, Value>, IdentityError> {
    let mut outcome = Err(IdentityError::BadSignature);
    for key in keys {
        outcome = token.signed_by(algorithm, key);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
