//! What an issuer publishes about itself (OpenID Connect Discovery): what of it is needed here, and its keys.
//!
//! A field is checked when it is needed and not before, so that an unneeded one may be blank or wrong. One that is
//! needed and wrong is named.

use serde_json::{Map, Value};
use url::Url;

use crate::outbound::Outbound;
use crate::provider::fetched::{FetchError, fetch_json};
use crate::provider::identity::{IdentityError, plain};
use crate::provider::jwt::{PublishedKeys, Token};

/// Where Microsoft's issuers for several tenants have the tenant's id.
const TENANT: &str = "{tenantid}";
/// What stands there in the address of their configuration.
const OF_SEVERAL_TENANTS: [&str; 3] = ["common", "organizations", TENANT];

/// Characters of a stranger's value in an error.
const SHOWN: usize = 120;

/// Whose tokens are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// This issuer's.
    One(String),
    /// Those of each tenant, whose id stands between these.
    OfEachTenant(String, String),
}

impl Name {
    /// The name that the configuration of `configured` has, which must be that very name, or that of all its tenants.
    fn new(configured: &str, published: &str) -> Option<Self> {
        let of_each = published.split_once(TENANT).filter(|(before, after)| {
            OF_SEVERAL_TENANTS.iter().any(|word| configured == format!("{before}{word}{after}"))
        });
        match of_each {
            Some((before, after)) => Some(Self::OfEachTenant(before.to_owned(), after.to_owned())),
            None => (configured == published).then(|| Self::One(published.to_owned())),
        }
    }

    /// The tenant of an issuer's name; empty where there are none.
    fn tenant<'a>(&self, issuer: &'a str) -> Option<&'a str> {
        match self {
            Self::One(name) => (name == issuer).then_some(""),
            Self::OfEachTenant(before, after) => {
                issuer.strip_prefix(before.as_str())?.strip_suffix(after.as_str()).filter(|tenant| is_uuid(tenant))
            }
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let dash = |at: usize| [8, 13, 18, 23].contains(&at);
    text.len() == 36 && text.bytes().enumerate().all(|(at, c)| if dash(at) { c == b'-' } else { c.is_ascii_hexdigit() })
}

/// Where the configuration of the issuer `configured` is.
pub(super) fn configuration_url(configured: &str) -> String {
    let base = configured.replace(TENANT, OF_SEVERAL_TENANTS[0]);
    format!("{}/.well-known/openid-configuration", base.trim_end_matches('/'))
}

/// What is said of a configuration before the field that is wrong in it.
const IN_WHICH: &str = "publishes a configuration in which";

/// The text in this field, or what it is instead.
fn text<'a>(fields: &'a Map<String, Value>, field: &str) -> Result<&'a str, String> {
    match fields.get(field) {
        None | Some(Value::Null) => Err("is missing".to_owned()),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("is no text but {}", plain(&other.to_string(), SHOWN))),
    }
}

/// An issuer's configuration and keys.
pub(super) struct Published {
    configured: String,
    fields: Map<String, Value>,
    name: Name,
    keys: PublishedKeys,
}

impl Published {
    /// Fetches both of the issuer `configured`.
    pub(super) async fn fetch(outbound: &Outbound, configured: &str) -> Result<Self, FetchError> {
        let wrong = |reason: String| FetchError::of(configured, reason);
        let Value::Object(fields) = fetch_json(outbound, &configuration_url(configured)).await? else {
            return Err(wrong("publishes a configuration that is no JSON object".to_owned()));
        };
        let found = text(&fields, "issuer").map_err(|what| wrong(format!("{IN_WHICH} issuer {what}")))?;
        let name = Name::new(configured, found).ok_or_else(|| {
            let found = plain(found, SHOWN);
            wrong(format!("publishes the configuration of another issuer: issuer is {found:?}, not {configured:?}"))
        })?;
        let mut published =
            Self { configured: configured.to_owned(), fields, name, keys: PublishedKeys::read(&Value::Null) };
        let url = published.endpoint("jwks_uri")?;
        published.keys = PublishedKeys::read(&fetch_json(outbound, url.as_str()).await?);
        Ok(published)
    }

    /// Something about the issuer is not as it must be.
    pub(super) fn unusable(&self, reason: impl Into<String>) -> FetchError {
        FetchError::of(&self.configured, reason)
    }

    /// The URL in this field, which must be there.
    pub(super) fn endpoint(&self, field: &'static str) -> Result<Url, FetchError> {
        let wrong = |what: String| self.unusable(format!("{IN_WHICH} {field} {what}"));
        let text = text(&self.fields, field).map_err(wrong)?;
        let absolute = |url: &Url| ["https", "http"].contains(&url.scheme()) && url.has_host();
        let url = Url::parse(text).ok().filter(absolute);
        url.ok_or_else(|| wrong(format!("is no absolute URL but {:?}", plain(text, SHOWN))))
    }

    /// Whether its answers say whose they are (RFC 9207).
    pub(super) fn names_itself_in_answers(&self) -> Result<bool, FetchError> {
        const FIELD: &str = "authorization_response_iss_parameter_supported";
        match self.fields.get(FIELD) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(Value::String(text)) if text.is_empty() || text.eq_ignore_ascii_case("false") => Ok(false),
            Some(other) => {
                let found = plain(&other.to_string(), SHOWN);
                Err(self.unusable(format!("{IN_WHICH} {FIELD} is neither true nor false but {found}")))
            }
        }
    }

    /// Whether a client may show its secret by HTTP Basic, which it may unless the issuer says otherwise.
    pub(super) fn takes_basic(&self) -> bool {
        const BASIC: &str = "client_secret_basic";
        match self.fields.get("token_endpoint_auth_methods_supported") {
            Some(Value::Array(methods)) if !methods.is_empty() => methods.iter().any(|method| method == BASIC),
            Some(Value::String(method)) if !method.is_empty() => method == BASIC,
            _ => true,
        }
    }

    /// Whether an answer that says it is from `issuer` may be from here.
    pub(super) fn is_named(&self, issuer: &str) -> bool {
        self.name.tenant(issuer).is_some()
    }

    /// The claims of a token that one of its keys signed; `None` if newer keys may tell.
    pub(super) fn verify(&self, token: &Token<'_>) -> Option<Result<Map<String, Value>, IdentityError>> {
        if self.keys.is_empty() {
            let reason = "publishes no key at its jwks_uri that can be used: an RSA, P-256 or Ed25519 key";
            return Some(Err(self.unusable(reason).into()));
        }
        self.keys.verify(token)
    }

    /// The issuer in a token's claims, if the token is from here. A tenant's name must be that of the token's `tid`.
    pub(super) fn of_token<'a>(&self, claims: &'a Map<String, Value>) -> Result<&'a str, IdentityError> {
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or(IdentityError::Claim("iss"))?;
        match self.name.tenant(issuer) {
            Some("") => Ok(issuer),
            Some(tenant) if claims.get("tid").is_some_and(|found| found == tenant) => Ok(issuer),
            _ => Err(IdentityError::Issuer),
        }
    }
}
