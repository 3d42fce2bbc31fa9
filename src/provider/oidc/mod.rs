//! OpenID Connect: `oauth2-google`, `oauth2-apple` and any other issuer that publishes its configuration.
//!
//! An ID token proves an identity in two ways: the client hands one over ([`Oidc::verify_id_token`]), or the browser is
//! sent to the issuer and comes back with a code ([`Oidc::begin`], [`Oidc::finish`]: authorization-code flow with PKCE).
//! The identity is the issuer and its `sub` together, since a subject is unique only there (OpenID Connect Core §5.7).

mod config;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Utc};
use futures_util::future::LocalBoxFuture;
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreErrorResponseType, CoreIdToken,
    CoreJwsSigningAlgorithm, CoreProviderMetadata,
};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken, DiscoveryError,
    HttpRequest, HttpResponse, IdTokenVerifier, Nonce, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl,
    RequestTokenError, Scope, SignatureVerificationError, TokenResponse as _,
};
use passerby_actors::domain::Entropy;
use serde_json::{Map, Value};

use self::config::Parties;
pub use self::config::{OidcConfig, OidcSettings};
use super::fetched::{FetchError, Fetched};
use super::identity::{Asked, IdentityError, IdentityProvider, MAX_EXTERNAL, VerifiedIdentity, text};
use crate::config::SettingsError;
use crate::outbound::{Outbound, OutboundError};

/// The type and name of the provider for Google accounts.
pub const OAUTH2_GOOGLE: &str = "oauth2-google";
/// The type and name of the provider for Apple accounts.
pub const OAUTH2_APPLE: &str = "oauth2-apple";

/// The longest ID token in characters.
const MAX_ID_TOKEN: usize = 64 * 1024;
/// Seconds by which a token may come from our future: the clocks of two machines.
const LEEWAY_S: i64 = 60;

/// A login that has been sent to the issuer and is to come back. Keep it where only that browser's return finds it, and
/// use it once.
pub struct PendingLogin {
    state: String,
    nonce: String,
    verifier: String,
    callback: String,
}

impl PendingLogin {
    /// What the issuer gives back with the code: 256 bit of randomness, in base64url.
    pub fn state(&self) -> &str {
        &self.state
    }
}

impl fmt::Debug for PendingLogin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PendingLogin(…)")
    }
}

/// One provider of this kind.
pub struct Oidc {
    config: OidcConfig,
    outbound: Outbound,
    /// The issuer's configuration with its keys.
    issuer: Fetched<CoreProviderMetadata>,
}

impl Oidc {
    /// The provider with this configuration, which fetches through `outbound`.
    ///
    /// # Errors
    /// If the issuer is a URL that `outbound` would refuse; `source` is named as where it comes from.
    pub fn new(config: OidcConfig, outbound: Outbound, source: &str) -> Result<Self, SettingsError> {
        let wrong = |error: OutboundError| {
            let key = match config.provider.strip_prefix("oidc-") {
                Some(name) => format!("provider.oidc.{name}.issuer"),
                None => format!("{}.issuer", config.provider),
            };
            SettingsError::of_key(source, key, error.to_string())
        };
        outbound.check(&config.issuer).map_err(wrong)?;
        Ok(Self { config, outbound, issuer: Fetched::new() })
    }

    /// Whether browsers can log in: there is where to send them back to.
    pub fn has_browser_login(&self) -> bool {
        !self.config.redirect_uris.is_empty()
    }

    /// The redirect URI that was asked for, if it is byte for byte one of the provider's list. Without a question, the
    /// only one of the list.
    ///
    /// # Errors
    /// [`IdentityError::RedirectUri`] otherwise.
    pub fn redirect_uri(&self, asked: Option<&str>) -> Result<&str, IdentityError> {
        let uris = &self.config.redirect_uris;
        let found = match (asked, uris.as_slice()) {
            (Some(asked), _) => uris.iter().find(|uri| *uri == asked),
            (None, [only]) => Some(only),
            (None, _) => None,
        };
        found.map(String::as_str).ok_or(IdentityError::RedirectUri)
    }

    /// The identity that an ID token proves at `now_s` (Unix seconds). If the client says with which nonce it asked for
    /// the token, the token must hold it.
    ///
    /// # Errors
    /// Says why it proves nothing.
    pub async fn verify_id_token(
        &self,
        token: &str,
        nonce: Option<&str>,
        now_s: u64,
    ) -> Result<VerifiedIdentity, IdentityError> {
        self.verify_for(token, nonce, self.config.parties, now_s).await
    }

    /// Where to send the browser, and what is needed when it comes back. `callback` is the redirect URI that the issuer
    /// knows.
    ///
    /// # Errors
    /// If the issuer's configuration cannot be had, or `callback` is no URL.
    pub async fn begin(
        &self,
        callback: &str,
        entropy: &dyn Entropy,
        now_s: u64,
    ) -> Result<(String, PendingLogin), IdentityError> {
        let pending = PendingLogin {
            state: random(entropy),
            nonce: random(entropy),
            verifier: random(entropy),
            callback: callback.to_owned(),
        };
        let issuer = self.issuer.current(now_s, self.discover()).await?;
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(pending.verifier.clone()));
        let client = CoreClient::from_provider_metadata((*issuer).clone(), self.client_id(), None)
            .set_redirect_uri(redirect_url(callback)?);
        let (state, nonce) = (CsrfToken::new(pending.state.clone()), Nonce::new(pending.nonce.clone()));
        let (url, _, _) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .add_scopes(self.config.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge)
            .url();
        Ok((url.into(), pending))
    }

    /// The identity behind a code that came back with the state of `pending`. `issuer` is the parameter `iss` of the
    /// return, if it has one (RFC 9207: an answer of another issuer is not ours).
    ///
    /// # Errors
    /// Says why it proves nothing. The login is used up in any case.
    pub async fn finish(
        &self,
        pending: PendingLogin,
        code: &str,
        issuer: Option<&str>,
        now_s: u64,
    ) -> Result<VerifiedIdentity, IdentityError> {
        if issuer.is_some_and(|issuer| issuer != *self.config.issuer) {
            return Err(IdentityError::Issuer);
        }
        let metadata = self.issuer.current(now_s, self.discover()).await?;
        let secret = self.config.client_secret.as_ref().map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let authentication = authentication(&metadata, secret.is_some());
        let client = CoreClient::from_provider_metadata((*metadata).clone(), self.client_id(), secret)
            .set_redirect_uri(redirect_url(&pending.callback)?)
            .set_auth_type(authentication);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|_| self.unusable("names no token endpoint"))?
            .set_pkce_verifier(PkceCodeVerifier::new(pending.verifier));
        let fetch = |request: HttpRequest| self.outbound.send(request);
        let answer = request.request_async(&fetch).await.map_err(|error| match error {
            RequestTokenError::Request(error) => FetchError::from(error).into(),
            RequestTokenError::ServerResponse(answer) => match answer.error() {
                CoreErrorResponseType::InvalidGrant => IdentityError::CodeRefused,
                CoreErrorResponseType::InvalidClient | CoreErrorResponseType::UnauthorizedClient => {
                    self.unusable("refuses the client id or its secret").into()
                }
                _ => self.unusable("refuses the token request").into(),
            },
            _ => self.unusable("the answer of the token endpoint is not understood").into(),
        })?;
        let token = answer.id_token().ok_or_else(|| self.unusable("gives no ID token"))?.to_string();
        self.verify_for(&token, Some(&pending.nonce), Parties::ClientAlone, now_s).await
    }

    async fn verify_for(
        &self,
        text: &str,
        nonce: Option<&str>,
        parties: Parties,
        now_s: u64,
    ) -> Result<VerifiedIdentity, IdentityError> {
        if text.len() > MAX_ID_TOKEN {
            return Err(IdentityError::Malformed);
        }
        let token = CoreIdToken::from_str(text).map_err(|_| IdentityError::Malformed)?;
        let known = self.issuer.current(now_s, self.discover()).await?;
        let mut outcome = self.check(&token, &known, nonce, now_s);
        if outcome == Err(IdentityError::UnknownKey) {
            let newer = self.issuer.newer(known, now_s, self.discover()).await;
            outcome = self.check(&token, &newer, nonce, now_s);
        }
        let subject = outcome?;
        // the very bytes whose signature has been verified
        let payload = text.split('.').nth(1).and_then(|payload| BASE64.decode(payload).ok());
        let claims: Map<String, Value> =
            payload.and_then(|payload| serde_json::from_slice(&payload).ok()).ok_or(IdentityError::Malformed)?;
        self.check_party(&claims, parties)?;
        self.check_domain(&claims)?;
        let external = format!("{} {subject}", *self.config.issuer);
        if subject.is_empty() || external.len() > MAX_EXTERNAL {
            return Err(IdentityError::Claim("sub"));
        }
        let data = self.config.fields.extract(&claims)?;
        Ok(VerifiedIdentity::of(&self.config.provider, external, data))
    }

    /// The subject of a token with the right signature, issuer, audience, times and nonce.
    fn check(
        &self,
        token: &CoreIdToken,
        issuer: &CoreProviderMetadata,
        nonce: Option<&str>,
        now_s: u64,
    ) -> Result<String, IdentityError> {
        let time =
            |seconds: u64| i64::try_from(seconds).ok().and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
        let now = time(now_s).unwrap_or(DateTime::<Utc>::MAX_UTC);
        // as a client without a secret, which rules shared-secret algorithms out: public keys are the only proof here
        let verifier =
            IdTokenVerifier::new_public_client(self.client_id(), self.config.issuer.clone(), issuer.jwks().clone())
                .set_allowed_algs([
                    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
                    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
                    CoreJwsSigningAlgorithm::EdDsa,
                ])
                .set_time_fn(move || now)
                .set_issue_time_verifier_fn(move |issued| {
                    let ahead = issued.signed_duration_since(now).num_seconds();
                    if ahead > LEEWAY_S { Err("issued in the future".to_owned()) } else { Ok(()) }
                });
        let expected = nonce.map(|nonce| Nonce::new(nonce.to_owned()));
        let verified = match &expected {
            Some(nonce) => token.claims(&verifier, nonce),
            None => token.claims(&verifier, |_: Option<&Nonce>| Ok(())),
        };
        verified.map(|claims| claims.subject().as_str().to_owned()).map_err(|error| match error {
            ClaimsVerificationError::Expired(_) => IdentityError::Expired,
            ClaimsVerificationError::InvalidAudience(_) => IdentityError::Audience,
            ClaimsVerificationError::InvalidIssuer(_) => IdentityError::Issuer,
            ClaimsVerificationError::InvalidNonce(_) => IdentityError::Nonce,
            ClaimsVerificationError::SignatureVerification(error) => match error {
                SignatureVerificationError::NoMatchingKey => IdentityError::UnknownKey,
                SignatureVerificationError::DisallowedAlg(_)
                | SignatureVerificationError::UnsupportedAlg(_)
                | SignatureVerificationError::NoSignature => IdentityError::Algorithm,
                _ => IdentityError::BadSignature,
            },
            _ => IdentityError::Malformed,
        })
    }

    /// OpenID Connect Core §3.1.3.7, 4 and 5: whom the token was made for, which the library leaves to its caller.
    fn check_party(&self, claims: &Map<String, Value>, parties: Parties) -> Result<(), IdentityError> {
        let several = claims.get("aud").and_then(Value::as_array).is_some_and(|audiences| audiences.len() > 1);
        let holds = match claims.get("azp") {
            None => !several,
            Some(Value::String(party)) => {
                *party == self.config.client_id || (parties == Parties::AppsOfTheClient && !several)
            }
            Some(_) => false,
        };
        if holds { Ok(()) } else { Err(IdentityError::Audience) }
    }

    fn check_domain(&self, claims: &Map<String, Value>) -> Result<(), IdentityError> {
        if self.config.domains.is_empty() {
            return Ok(());
        }
        let verified = match claims.get("email_verified") {
            Some(Value::Bool(verified)) => *verified,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        let email = claims.get("email").and_then(Value::as_str).unwrap_or_default();
        let domain = email.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase()).unwrap_or_default();
        // Google vouches for addresses of its own and of organizations it hosts; a private account may have been made
        // with an address that its owner has lost since
        let vouched = self.config.provider != OAUTH2_GOOGLE
            || domain == "gmail.com"
            || claims.get("hd").is_some_and(Value::is_string);
        if verified && vouched && self.config.domains.contains(&domain) { Ok(()) } else { Err(IdentityError::Domain) }
    }

    /// The issuer's configuration (OpenID Connect Discovery), which must be of that very issuer, and its keys.
    async fn discover(&self) -> Result<CoreProviderMetadata, FetchError> {
        let fetch =
            async |request: HttpRequest| -> Result<HttpResponse, OutboundError> { self.outbound.send(request).await };
        let outcome = CoreProviderMetadata::discover_async(self.config.issuer.clone(), &fetch).await;
        outcome.map_err(|error| match error {
            DiscoveryError::Request(error) => error.into(),
            DiscoveryError::Response(status, ..) => {
                self.unusable(&format!("answers with status {} to discovery", status.as_u16()))
            }
            DiscoveryError::Validation(_) => self.unusable("publishes the configuration of another issuer"),
            _ => self.unusable("publishes a configuration that is not understood"),
        })
    }

    fn client_id(&self) -> ClientId {
        ClientId::new(self.config.client_id.clone())
    }

    fn unusable(&self, reason: &str) -> FetchError {
        let origin = self.config.issuer.url().origin().ascii_serialization();
        FetchError::Answer { origin, reason: reason.to_owned() }
    }
}

impl IdentityProvider for Oidc {
    fn name(&self) -> &str {
        &self.config.provider
    }

    /// Takes `id_token`, and with it `nonce` from a client that asked the issuer with one. A code is for the browser's way.
    fn fields(&self, credentials: &Map<String, Value>) -> &'static [&'static str] {
        // of a login in the browser, or of an ID token that the client has already
        if credentials.contains_key("code") { &["code", "code_verifier"] } else { &["id_token", "nonce"] }
    }

    fn verify<'a>(
        &'a self,
        credentials: &'a Map<String, Value>,
        asked: Asked,
    ) -> LocalBoxFuture<'a, Result<VerifiedIdentity, IdentityError>> {
        Box::pin(async move {
            // what else SDKs send (wire-protocol §1.7)
            if let Some(field) =
                ["authCode", "redirectUrl", "accessToken"].into_iter().find(|key| credentials.contains_key(*key))
            {
                return Err(IdentityError::OtherKind(field));
            }
            let nonce = credentials.contains_key("nonce").then(|| text(credentials, "nonce")).transpose()?;
            self.verify_id_token(text(credentials, "id_token")?, nonce, asked.now_s).await
        })
    }
}

/// 256 bit in base64url: 43 characters, which is also what a PKCE verifier needs (RFC 7636 §4.1).
fn random(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes);
    BASE64.encode(bytes)
}

fn redirect_url(text: &str) -> Result<RedirectUrl, IdentityError> {
    RedirectUrl::new(text.to_owned()).map_err(|_| IdentityError::RedirectUri)
}

/// How the client proves to the token endpoint who it is; HTTP Basic unless the issuer says that it takes it otherwise.
fn authentication(issuer: &CoreProviderMetadata, has_secret: bool) -> AuthType {
    let basic = issuer
        .token_endpoint_auth_methods_supported()
        .is_none_or(|methods| methods.contains(&CoreClientAuthMethod::ClientSecretBasic));
    if basic && has_secret { AuthType::BasicAuth } else { AuthType::RequestBody }
}
