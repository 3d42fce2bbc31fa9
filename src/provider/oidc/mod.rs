//! OpenID Connect: `oauth2-google`, `oauth2-apple` and any other issuer that publishes its configuration.
//!
//! An ID token proves an identity in two ways: the client hands one over ([`Oidc::verify_id_token`]), or the browser is
//! sent to the issuer and comes back with a code ([`Oidc::begin`], [`Oidc::finish`]: authorization-code flow with PKCE).
//! The identity is the issuer and its `sub` together, since a subject is unique only there (OpenID Connect Core §5.7).

mod config;
mod issuer;
mod kinds;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64};
use futures_util::future::LocalBoxFuture;
use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use passerby_actors::domain::Entropy;
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::{self, byte_serialize};

use self::config::Parties;
pub use self::config::{OAUTH2_APPLE, OAUTH2_GOOGLE, OidcConfig, OidcSettings, ResponseMode};
use self::issuer::Published;
pub(super) use self::kinds::{APPLE, GOOGLE, ISSUER};
use super::fetched::{FetchError, Fetched};
use super::identity::{Asked, IdentityError, IdentityProvider, MAX_EXTERNAL, VerifiedIdentity, plain, text};
use super::jwt::{self, LEEWAY_S, Token};
use crate::codes::PendingLogin;
use crate::config::SettingsError;
use crate::outbound::{Failure, Outbound, OutboundError};

/// The longest ID token in characters.
const MAX_ID_TOKEN: usize = 64 * 1024;
/// Characters of an issuer's words in an error.
const SHOWN: usize = 200;

/// One provider of this kind.
pub struct Oidc {
    config: OidcConfig,
    outbound: Outbound,
    /// The issuer's configuration with its keys.
    issuer: Fetched<Published>,
}

impl Oidc {
    /// The provider with this configuration, which fetches through `outbound`.
    ///
    /// # Errors
    /// If the issuer is a URL that `outbound` would refuse; `source` is named as where it comes from.
    pub fn new(config: OidcConfig, outbound: Outbound, source: &str) -> Result<Self, SettingsError> {
        let wrong = |error: OutboundError| {
            let key = match config.provider.strip_prefix(config::OIDC) {
                Some(name) => format!("provider.oidc.{name}.issuer"),
                None => format!("{}.issuer", config.provider),
            };
            SettingsError::of_key(source, key, error.to_string())
        };
        outbound.check(&issuer::configuration_url(&config.issuer)).map_err(wrong)?;
        let issuer = Fetched::new(&config.provider);
        Ok(Self { config, outbound, issuer })
    }

    /// Whether browsers can log in: there is where to send them back to.
    pub fn has_browser_login(&self) -> bool {
        self.config.has_browser_login()
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
        let issuer = self.issuer(now_s).await?;
        let pending = PendingLogin {
            state: random(entropy),
            nonce: random(entropy),
            verifier: random(entropy),
            callback: callback.to_owned(),
            names_issuer: issuer.names_itself_in_answers()?,
        };
        let mut url = issuer.endpoint("authorization_endpoint")?;
        // no browser is sent there for a code that could not be shown to any issuer
        self.token_endpoint(&issuer)?;
        let scopes = std::iter::once("openid").chain(self.config.scopes.iter().map(String::as_str));
        let challenge = BASE64.encode(digest(&SHA256, pending.verifier.as_bytes()));
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", callback)
            .append_pair("scope", &scopes.collect::<Vec<_>>().join(" "))
            .append_pair("state", &pending.state)
            .append_pair("nonce", &pending.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(self.config.response_mode.map(|mode| ("response_mode", mode.name())));
        Ok((url.into(), pending))
    }

    /// Whether an answer to `pending` is from its issuer, as far as its parameter `iss` tells: a different issuer's answer is not
    /// ours, and one that says nothing is not, if the issuer promises to say it (RFC 9207).
    ///
    /// # Errors
    /// [`IdentityError::Issuer`], [`IdentityError::NoIssuer`]; the issuer's configuration cannot be had.
    pub async fn check_answer(
        &self,
        pending: &PendingLogin,
        issuer: Option<&str>,
        now_s: u64,
    ) -> Result<(), IdentityError> {
        match issuer {
            Some(issuer) if self.issuer(now_s).await?.is_named(issuer) => Ok(()),
            Some(_) => Err(IdentityError::Issuer),
            None if pending.names_issuer => Err(IdentityError::NoIssuer),
            None => Ok(()),
        }
    }

    /// The identity behind a code that came back with the state of `pending`. `issuer` is the parameter `iss` of the
    /// return, if it has one: see [`Oidc::check_answer`].
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
        self.check_answer(&pending, issuer, now_s).await?;
        let token = self.exchange(&pending, code, now_s).await?;
        self.verify_for(&token, Some(&pending.nonce), Parties::ClientAlone, now_s).await
    }

    /// Where codes are shown, as far as can be known before one is.
    fn token_endpoint(&self, issuer: &Published) -> Result<Url, FetchError> {
        let endpoint = issuer.endpoint("token_endpoint")?;
        self.outbound.check(endpoint.as_str())?;
        Ok(endpoint)
    }

    /// The ID token for a code (OpenID Connect Core §3.1.3, with the verifier of RFC 7636).
    async fn exchange(&self, pending: &PendingLogin, code: &str, now_s: u64) -> Result<String, IdentityError> {
        let issuer = self.issuer(now_s).await?;
        let endpoint = self.token_endpoint(&issuer)?;
        let unusable = |reason: String| FetchError::of(endpoint.as_str(), format!("the token endpoint {reason}"));
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &pending.callback)
            .append_pair("code_verifier", &pending.verifier);
        let mut request = Request::post(endpoint.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        match &self.config.client_secret {
            Some(secret) if issuer.takes_basic() => {
                // RFC 6749 §2.3.1: both are form-encoded first
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encoded(&self.config.client_id), encoded(secret.expose()));
                request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
            }
            secret => {
                form.append_pair("client_id", &self.config.client_id);
                form.extend_pairs(secret.iter().map(|secret| ("client_secret", secret.expose())));
            }
        }
        let bad_url = |_| OutboundError { origin: endpoint.origin().ascii_serialization(), failure: Failure::BadUrl };
        let request = request.body(form.finish().into_bytes()).map_err(|error| FetchError::from(bad_url(error)))?;
        let answer = self.outbound.send(request).await.map_err(FetchError::from)?;
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let told = |field: &str| body.get(field).and_then(Value::as_str);
        let refusal = |what: &str| {
            let more = told("error_description").map(|text| format!(": {}", plain(text, SHOWN))).unwrap_or_default();
            unusable(format!("{what}{more}")).into()
        };
        match (answer.status().is_success(), told("error"), told("id_token")) {
            (true, None, Some(token)) => Ok(token.to_owned()),
            (true, None, None) if body.is_object() => Err(unusable("gives no ID token".to_owned()).into()),
            (_, Some("invalid_grant"), _) => Err(IdentityError::CodeRefused),
            (_, Some("invalid_client" | "unauthorized_client"), _) => {
                Err(refusal("refuses the client id or its secret"))
            }
            (_, Some(error), _) => Err(refusal(&format!("refuses the token request with {:?}", plain(error, SHOWN)))),
            _ => {
                let status = answer.status().as_u16();
                Err(unusable(format!("gives an answer of status {status} that is not understood")).into())
            }
        }
    }

    async fn verify_for(
        &self,
        text: &str,
        nonce: Option<&str>,
        parties: Parties,
        now_s: u64,
    ) -> Result<VerifiedIdentity, IdentityError> {
        let token = Token::parse(text, MAX_ID_TOKEN)?;
        let known = self.issuer(now_s).await?;
        let (issuer, claims) = match known.verify(&token) {
            Some(outcome) => (known, outcome?),
            None => {
                let newer = self.issuer.newer(known, now_s, self.discover()).await?;
                let outcome = newer.verify(&token).unwrap_or(Err(IdentityError::UnknownKey));
                (newer, outcome?)
            }
        };
        let name = issuer.of_token(&claims)?;
        self.check_audience(&claims, parties)?;
        jwt::check_times(&claims, now_s)?;
        let issued = jwt::time(&claims, "iat")?.ok_or(IdentityError::Claim("iat"))?;
        if issued > now_s as f64 + LEEWAY_S as f64 {
            return Err(IdentityError::IssuedInFuture);
        }
        if nonce.is_some_and(|nonce| claims.get("nonce").is_none_or(|found| found != nonce)) {
            return Err(IdentityError::Nonce);
        }
        self.check_domain(&claims)?;
        let external = match claims.get("sub") {
            Some(Value::String(subject)) if !subject.is_empty() => format!("{name} {subject}"),
            _ => return Err(IdentityError::Claim("sub")),
        };
        if external.len() > MAX_EXTERNAL {
            return Err(IdentityError::Claim("sub"));
        }
        self.config.fields.check_numbers(&token.claims_text())?;
        let data = self.config.fields.extract(&claims)?;
        Ok(VerifiedIdentity::of(&self.config.provider, external, data))
    }

    /// Whom the token is for (OpenID Connect Core §3.1.3.7, 3 to 5): us, or one of the `audiences`. Where others may use it
    /// too, `azp` names one of us, or all of them are in `audiences`.
    fn check_audience(&self, claims: &Map<String, Value>, parties: Parties) -> Result<(), IdentityError> {
        let (config, found) = (&self.config, jwt::audiences(claims)?);
        let other = |client: &str| config.audiences.iter().any(|audience| audience == client);
        let ours = |client: &str| client == config.client_id || (parties != Parties::ClientAlone && other(client));
        let party = match claims.get("azp") {
            None => found.iter().all(|audience| *audience == config.client_id || other(audience)),
            Some(Value::String(party)) => ours(party) || (parties == Parties::AppsOfTheClient && found.len() == 1),
            Some(_) => false,
        };
        if party && found.iter().any(|audience| ours(audience)) { Ok(()) } else { Err(IdentityError::Audience) }
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
        // Google vouches for addresses of its own and of organizations it hosts; a private account may have been created
        // with an address that its owner has lost since
        let vouched = self.config.provider != OAUTH2_GOOGLE
            || domain == "gmail.com"
            || claims.get("hd").is_some_and(Value::is_string);
        if verified && vouched && self.config.domains.contains(&domain) { Ok(()) } else { Err(IdentityError::Domain) }
    }

    /// What the issuer publishes.
    async fn issuer(&self, now_s: u64) -> Result<Arc<Published>, FetchError> {
        self.issuer.current(now_s, self.discover()).await
    }

    async fn discover(&self) -> Result<Published, FetchError> {
        Published::fetch(&self.outbound, &self.config.issuer).await
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
            // the other forms that SDKs send (docs/protocol.md, "Logging in")
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
