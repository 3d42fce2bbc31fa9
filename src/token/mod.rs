//! Access and refresh tokens: issued, verified, and the keys behind them.

mod cache;
mod claims;
mod cookie;
mod jwt;
mod key_export;
mod key_store;
mod key_watch;
mod keys;

use std::borrow::Cow;
use std::mem;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use parking_lot::RwLock;
use passerby_actors::domain::{DeviceId, SessionId, SessionKind, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use self::cache::Cache;
use self::jwt::{BASE64, MAX_TOKEN, Scratch, Signers, TokenType, encode_prefix};
use self::keys::{MAX_SIGNATURE, PublicKey};

pub use self::claims::{Access, AccessClaims, Refresh, RefreshClaims, TokenError};
pub use self::cookie::{CookieKind, ReaderCookie, is_reader_cookie};
pub use self::key_store::{KeyInfo, KeyStore, key_path};
pub use self::key_watch::KeyWatch;
pub use self::keys::{Algorithm, KeyError, KeyId, KeyRing, KeyState, KeyUse};

/// How long an access token is good (seconds): 30 minutes.
pub const ACCESS_TTL_S: u32 = 1800;

/// `exp` of refresh tokens, 50 years as the original had it: SDKs look at it, the server goes by the record.
const REFRESH_LIFETIME_S: u64 = 1_576_800_000;

/// The same of lasting accounts through App Services, for information alone.
const LASTING_REFRESH_LIFETIME_S: u64 = 60 * 86_400;

/// How long an assertion is good (seconds).
const ASSERTION_TTL_S: u64 = 60;

/// What a token shows of a user's document may have so many bytes: every request carries them.
pub const MAX_USER_DATA: usize = 1024;

/// The type and name of the anonymous identity's provider.
const ANONYMOUS: &str = "anon-user";

/// Issues and verifies tokens. Shared by all workers.
pub struct Tokens {
    signers: RwLock<Signers>,
    cache: Cache,
    issuer: String,
    app_id: String,
    domain_id: String,
    access_ttl_s: u64,
    access_prefix: String,
    refresh_prefix: String,
    assertion_prefix: String,
    /// The anonymous identity from behind its id on, as it stands in refresh tokens.
    identity_end: String,
}

/// The claims that we read back. Their names are never escaped, their values only where configuration gave them.
#[derive(Deserialize)]
struct AccessPayload<'a> {
    typ: &'a str,
    #[serde(borrow)]
    iss: Cow<'a, str>,
    #[serde(borrow)]
    aud: Cow<'a, str>,
    sub: &'a str,
    iat: u64,
    exp: u64,
    sid: &'a str,
    ep: u8,
    k: &'a str,
    baas_device_id: &'a str,
}

#[derive(Deserialize)]
struct RefreshPayload<'a> {
    typ: &'a str,
    sub: &'a str,
    baas_id: &'a str,
    baas_domain_id: &'a str,
    baas_device_id: &'a str,
    sno: u32,
    ctr: u32,
}

impl Tokens {
    /// `cache_entries` bounds the cache of verified tokens; 0 turns it off.
    pub fn new(keys: KeyRing, issuer: String, app_id: String, access_ttl_s: u32, cache_entries: usize) -> Self {
        let domain_id = derived_id(&[b"domain", app_id.as_bytes()]);
        let domain = format!(r#""baas_domain_id":"{domain_id}","stitch_domainId":"{domain_id}""#);
        let (iss, aud) = (json!(issuer), json!(app_id));
        let access = format!(r#"{{"typ":"access","iss":{iss},"aud":{aud},"client_id":{aud},{domain},"#);
        let assertion = format!(r#"{{"typ":"assertion","iss":{iss},"aud":{aud},"#);
        let refresh = format!(r#"{{"typ":"refresh","baas_data":null,"stitch_data":null,{domain},"#);
        let provider = provider_id(&app_id, ANONYMOUS);
        Self {
            signers: RwLock::new(Signers::new(keys)),
            cache: Cache::new(cache_entries),
            access_ttl_s: access_ttl_s.into(),
            access_prefix: encode_prefix(access),
            refresh_prefix: encode_prefix(refresh),
            assertion_prefix: encode_prefix(assertion),
            identity_end: format!(r#"","provider_type":"{ANONYMOUS}","provider_id":"{provider}"}}"#),
            issuer,
            app_id,
            domain_id,
        }
    }

    /// A new access token.
    pub fn access(&self, claims: &AccessClaims) -> String {
        let mut out = String::new();
        self.access_into(claims, None, &mut out);
        out
    }

    /// Writes a new access token behind what `out` holds. `user_data` is a JSON object of at most [`MAX_USER_DATA`] bytes: what
    /// SDKs show as the user's custom data (docs/protocol.md, "Tokens").
    pub fn access_into(&self, claims: &AccessClaims, user_data: Option<&str>, out: &mut String) {
        let (mut hex, mut user) = ([0; 24], [0; 36]);
        let mut rest = Scratch::new();
        rest.text(r#""sub":""#).text(claims.user.encode(&mut user));
        rest.text(r#"","iat":"#).number(claims.issued_at_s);
        rest.text(r#","exp":"#).number(claims.issued_at_s.saturating_add(self.access_ttl_s));
        rest.text(r#","jti":""#).text(DeviceId(claims.jti).encode(&mut hex));
        rest.text(r#"","sid":""#).text(claims.session.encode(&mut hex));
        rest.text(r#"","ep":"#).number(claims.epoch.into());
        rest.text(r#","k":""#).text(kind_name(claims.kind));
        let device = claims.device.encode(&mut hex);
        rest.text(r#"","baas_device_id":""#).text(device).text(r#"","stitch_devId":""#).text(device);
        let signers = self.signers.read();
        match user_data.filter(|data| data.len() <= MAX_USER_DATA) {
            None => {
                rest.text(r#""}"#);
                signers.sign(TokenType::Access, &self.access_prefix, rest.as_bytes(), out);
            }
            Some(data) => {
                rest.text(r#"","user_data":"#);
                let rest = [rest.as_bytes(), data.as_bytes(), b"}"].concat();
                signers.sign(TokenType::Access, &self.access_prefix, &rest, out);
            }
        }
    }

    /// A new refresh token.
    pub fn refresh(&self, claims: &RefreshClaims) -> String {
        let mut out = String::new();
        self.refresh_into(claims, &mut out);
        out
    }

    /// Writes a new refresh token behind what `out` holds.
    pub fn refresh_into(&self, claims: &RefreshClaims, out: &mut String) {
        let lifetime_s = if claims.lasting { LASTING_REFRESH_LIFETIME_S } else { REFRESH_LIFETIME_S };
        let (mut hex, mut user) = ([0; 24], [0; 36]);
        let mut rest = Scratch::new();
        rest.text(r#""sub":""#).text(claims.user.encode(&mut user));
        rest.text(r#"","iat":"#).number(claims.issued_at_s);
        rest.text(r#","exp":"#).number(claims.issued_at_s.saturating_add(lifetime_s));
        rest.text(r#","sno":"#).number(claims.number.into());
        rest.text(r#","ctr":"#).number(claims.counter.into());
        let session = claims.session.encode(&mut hex);
        rest.text(r#","baas_id":""#).text(session).text(r#"","stitch_id":""#).text(session);
        let device = claims.device.encode(&mut hex);
        rest.text(r#"","baas_device_id":""#).text(device).text(r#"","stitch_devId":""#).text(device);
        if claims.lasting {
            rest.text(r#""}"#);
            return self.signers.read().sign(
                TokenType::Refresh(claims.kind),
                &self.refresh_prefix,
                rest.as_bytes(),
                out,
            );
        }
        let identity = claims.user.anonymous_identity();
        rest.text(r#"","baas_identity":{"id":""#).text(&identity).text(&self.identity_end);
        rest.text(r#","stitch_ident":{"id":""#).text(&identity).text(&self.identity_end).text("}");
        self.signers.read().sign(TokenType::Refresh(claims.kind), &self.refresh_prefix, rest.as_bytes(), out);
    }

    /// What a genuine access token says. `now_wall_s` is Unix time in seconds.
    ///
    /// # Errors
    /// Every [`TokenError`].
    pub fn verify_access(&self, token: &str, now_wall_s: u64) -> Result<Access, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let fingerprint = Cache::fingerprint(token);
        if let Some(access) = self.cache.get(&fingerprint) {
            return access.within_its_time(now_wall_s);
        }
        // held until the token is in the cache, so that a key cannot be retired in between
        let signers = self.signers.read();
        let (found, key, payload) = signers.open(token)?;
        if found != TokenType::Access {
            return Err(TokenError::WrongType);
        }
        let access = self.read_access(&payload, key)?.within_its_time(now_wall_s)?;
        self.cache.put(fingerprint, access);
        Ok(access)
    }

    /// The same of a token whose time may be over: for a client that lost the answer to what it did with it.
    ///
    /// # Errors
    /// Every [`TokenError`] but [`TokenError::Expired`].
    pub fn verify_access_at_any_time(&self, token: &str) -> Result<Access, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (found, key, payload) = self.signers.read().open(token)?;
        if found != TokenType::Access {
            return Err(TokenError::WrongType);
        }
        self.read_access(&payload, key)
    }

    /// What a genuine refresh token says. Its `exp` is not consulted: the record decides.
    ///
    /// # Errors
    /// Every [`TokenError`] but [`TokenError::Expired`].
    pub fn verify_refresh(&self, token: &str) -> Result<Refresh, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let (found, _, payload) = self.signers.read().open(token)?;
        match found {
            TokenType::Refresh(kind) => self.read_refresh(&payload, kind),
            TokenType::Access | TokenType::Assertion => Err(TokenError::WrongType),
        }
    }

    /// A token of one minute that says who a visitor is, for a backend behind the proxy that asked: verifiable
    /// with the public keys, and worth nothing here. `now_s` is Unix time in seconds.
    pub fn assertion(&self, user: &UserId, anonymous: bool, now_s: u64) -> String {
        let mut rest = Scratch::new();
        rest.text(r#""sub":""#).text(user.encode(&mut [0; 36]));
        rest.text(r#"","iat":"#).number(now_s);
        rest.text(r#","exp":"#).number(now_s.saturating_add(ASSERTION_TTL_S));
        rest.text(r#","anonymous":"#).text(if anonymous { "true}" } else { "false}" });
        let mut out = String::new();
        self.signers.read().sign(TokenType::Assertion, &self.assertion_prefix, rest.as_bytes(), &mut out);
        out
    }

    /// The text of a reader cookie.
    pub fn cookie(&self, cookie: &ReaderCookie) -> String {
        let (key, tag) = self.cookie_tag(&cookie.content());
        cookie.text(key, &tag)
    }

    /// The reader cookie behind a text, if it is one of ours. Whether its session lives is for the record to say.
    pub fn verify_cookie(&self, text: &str) -> Option<ReaderCookie> {
        let (cookie, key, tag) = ReaderCookie::parse(text)?;
        self.is_cookie_tag(key, &cookie.content(), &tag).then_some(cookie)
    }

    /// The tag of a reader cookie's content, under the cookie key that signs now.
    fn cookie_tag(&self, content: &[u8]) -> (KeyId, [u8; 32]) {
        let signers = self.signers.read();
        let key = signers.keys.signing(KeyUse::Cookie);
        let mut tag = [0; 32];
        tag.copy_from_slice(key.sign(content, &mut [0; MAX_SIGNATURE]));
        (key.id, tag)
    }

    /// Whether the cookie key of this name gave the content this tag.
    fn is_cookie_tag(&self, key: KeyId, content: &[u8], tag: &[u8]) -> bool {
        let signers = self.signers.read();
        let key = signers.keys.find(key).filter(|key| key.purpose == KeyUse::Cookie);
        key.is_some_and(|key| verify_slices_are_equal(key.sign(content, &mut [0; MAX_SIGNATURE]), tag).is_ok())
    }

    /// Works with other keys from now on, after a rotation or a retirement. Tokens of keys that are gone are refused at
    /// once.
    pub fn replace_keys(&self, keys: KeyRing) {
        let kept = keys.clone();
        let before = mem::replace(&mut *self.signers.write(), Signers::new(keys));
        // a thread that verified under the old keys has put the token into the cache by now
        for key in before.keys.all().iter().filter(|key| kept.find(key.id).is_none()) {
            self.cache.retire(key.id);
        }
    }

    /// The public keys that access tokens verify with (RFC 7517, RFC 7518, RFC 8037). HMAC keys never appear.
    pub fn jwks(&self) -> Value {
        let signers = self.signers.read();
        let keys: Vec<Value> = signers
            .keys
            .all()
            .iter()
            .filter_map(|key| {
                let mut jwk = match key.public()? {
                    PublicKey::Ed25519(x) => json!({ "kty": "OKP", "crv": "Ed25519", "x": BASE64.encode(x) }),
                    PublicKey::P256 { x, y } => {
                        json!({ "kty": "EC", "crv": "P-256", "x": BASE64.encode(x), "y": BASE64.encode(y) })
                    }
                };
                jwk["alg"] = key.algorithm.name().into();
                jwk["use"] = "sig".into();
                jwk["kid"] = key.id.to_string().into();
                Some(jwk)
            })
            .collect();
        json!({ "keys": keys })
    }

    /// The application's domain id (`baas_domain_id`): 24 hexadecimal digits, derived from the app id.
    pub fn domain_id(&self) -> &str {
        &self.domain_id
    }

    /// The id of a provider (`provider_id`) in this application: 24 hexadecimal digits, derived from both names.
    pub fn provider_id(&self, provider: &str) -> String {
        provider_id(&self.app_id, provider)
    }

    fn read_access(&self, payload: &[u8], key: KeyId) -> Result<Access, TokenError> {
        let claims: AccessPayload<'_> = serde_json::from_slice(payload).map_err(|_| TokenError::Malformed)?;
        if claims.typ != "access" {
            return Err(TokenError::WrongType);
        }
        if claims.aud != self.app_id || claims.iss != self.issuer {
            return Err(TokenError::WrongAudience);
        }
        Ok(Access {
            user: UserId::parse(claims.sub).map_err(|_| TokenError::Malformed)?,
            session: SessionId::parse(claims.sid).map_err(|_| TokenError::Malformed)?,
            epoch: claims.ep,
            kind: kind_of_name(claims.k).ok_or(TokenError::Malformed)?,
            device: DeviceId::parse(claims.baas_device_id).map_err(|_| TokenError::Malformed)?,
            issued_at_s: claims.iat,
            expires_at_s: claims.exp,
            key,
        })
    }

    fn read_refresh(&self, payload: &[u8], kind: SessionKind) -> Result<Refresh, TokenError> {
        let claims: RefreshPayload<'_> = serde_json::from_slice(payload).map_err(|_| TokenError::Malformed)?;
        if claims.typ != "refresh" {
            return Err(TokenError::WrongType);
        }
        if claims.baas_domain_id != self.domain_id {
            return Err(TokenError::WrongAudience);
        }
        Ok(Refresh {
            user: UserId::parse(claims.sub).map_err(|_| TokenError::Malformed)?,
            session: SessionId::parse(claims.baas_id).map_err(|_| TokenError::Malformed)?,
            number: claims.sno,
            counter: claims.ctr,
            kind,
            device: DeviceId::parse(claims.baas_device_id).map_err(|_| TokenError::Malformed)?,
        })
    }
}

fn kind_name(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::AppServices => "app",
        SessionKind::V1 => "v1",
        SessionKind::Cookie => "cookie",
    }
}

fn kind_of_name(name: &str) -> Option<SessionKind> {
    [SessionKind::AppServices, SessionKind::V1, SessionKind::Cookie].into_iter().find(|kind| kind_name(*kind) == name)
}

fn provider_id(app_id: &str, provider: &str) -> String {
    derived_id(&[b"provider", app_id.as_bytes(), &[0], provider.as_bytes()])
}

/// 24 hexadecimal digits of the SHA-256 of the parts.
fn derived_id(parts: &[&[u8]]) -> String {
    let mut bytes = [0; 12];
    bytes.copy_from_slice(&digest(&SHA256, &parts.concat()).as_ref()[..12]);
    SessionId(bytes).to_string()
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
