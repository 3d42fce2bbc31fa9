//! The configuration of OpenID Connect providers: App Services' own, and any other issuer.

use serde::Deserialize;
use serde_json::{Map, Value};
use url::{Host, Url};

use crate::config::secrets::{Secret, Secrets};
use crate::config::{SettingsError, SettingsErrors};
use crate::provider::metadata::{FieldSettings, MetadataFields};
use crate::provider::options::{Options, Told, all};

/// The type and name of the provider for Google accounts.
pub const OAUTH2_GOOGLE: &str = "oauth2-google";
/// The type and name of the provider for Apple accounts.
pub const OAUTH2_APPLE: &str = "oauth2-apple";
/// What the names of the providers of other issuers begin with.
pub(super) const OIDC: &str = "oidc-";

const GOOGLE: &str = "https://accounts.google.com";
const APPLE: &str = "https://appleid.apple.com";

/// What App Services calls the fields of a Google account, and the claims that hold them.
const GOOGLE_FIELDS: [(&str, &str); 5] = [
    ("name", "name"),
    ("first_name", "given_name"),
    ("last_name", "family_name"),
    ("picture", "picture"),
    ("email", "email"),
];

/// The clients that may have asked for a token that is handed over (`azp`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parties {
    /// The client of the configuration.
    ClientAlone,
    /// Also the other clients that the configuration names.
    NamedClients,
    /// Also others, as long as the client is the only audience: Google gives an Android app a token whose `aud` is the
    /// web client and whose `azp` is the app, and tells servers to check `aud`.
    AppsOfTheClient,
}

/// One provider's configuration, checked.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    pub(super) provider: String,
    pub(super) issuer: String,
    pub(super) client_id: String,
    /// Other clients of the issuer whose tokens are taken too.
    pub(super) audiences: Vec<String>,
    pub(super) client_secret: Option<Secret>,
    pub(super) redirect_uris: Vec<String>,
    /// Beside `openid`.
    pub(super) scopes: Vec<String>,
    /// How the issuer is asked to send its answer; it decides where nothing is asked.
    pub(super) response_mode: Option<ResponseMode>,
    /// In lower case; empty allows any account.
    pub(super) domains: Vec<String>,
    pub(super) fields: MetadataFields,
    pub(super) parties: Parties,
}

/// How an issuer sends its answer through the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResponseMode {
    /// In the address.
    Query,
    /// By a form that the browser posts (OAuth 2.0 Form Post Response Mode).
    FormPost,
}

impl ResponseMode {
    /// The name in requests.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::FormPost => "form_post",
        }
    }
}

/// Any issuer, as `passerby.toml` names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcSettings {
    /// The issuer's URL, exactly as its tokens have it; of Microsoft's for several tenants, with `common`, `organizations`
    /// or `{tenantid}` in the tenant's place.
    pub issuer: String,
    /// The client that this server is to the issuer.
    pub client_id: String,
    /// Other clients of the issuer, such as an app's, whose tokens clients may hand over too.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// The name of the secret that holds the client's secret. None: a public client.
    pub client_secret: Option<String>,
    /// Where a login in the browser may end, byte for byte; empty: there is no such login.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// What is asked for beside `openid`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// How the issuer shall send its answer. None: by a form from Apple with scopes, which takes nothing else then;
    /// otherwise as the issuer likes, which is in the address.
    pub response_mode: Option<ResponseMode>,
    /// Domains of verified e-mail addresses that may log in; empty allows any account.
    #[serde(default)]
    pub domain_restrictions: Vec<String>,
    /// Claims that become data of the user.
    #[serde(default)]
    pub metadata_fields: Vec<FieldSettings>,
}

impl OidcSettings {
    /// The table `provider.oidc.NAME` of the file `source`, whose options all exist. What is missing, or wrong and told, is
    /// something that does not show.
    pub fn read(source: &str, name: &str, content: &Map<String, Value>, wrong: &mut SettingsErrors) -> Self {
        let table = Options::new(source, &format!("provider.oidc.{name}"), content);
        let text = |key: &str| table.value::<String>(key, "a text").unwrap_or_default();
        let needed = |key: &str, otherwise: &str| match table.value::<String>(key, "a text") {
            Ok(Some(text)) => text,
            Ok(None) => {
                table.missing(key, "is missing");
                otherwise.to_owned()
            }
            Err(Told) => otherwise.to_owned(),
        };
        let texts = |key: &str| table.value::<Vec<String>>(key, "a list of texts").ok().flatten().unwrap_or_default();
        let fields = table.sections("metadata_fields", &["name", "field_name", "required"]).unwrap_or_default();
        let fields = all(fields.into_iter().map(|field| {
            let field = field?;
            let name = field
                .value::<String>("name", "a text")
                .and_then(|name| name.ok_or_else(|| field.missing("name", "is missing")));
            let (field_name, required) = (field.value("field_name", "a text"), field.flag("required"));
            Ok(FieldSettings { name: name?, field_name: field_name?, required: required? })
        }));
        let settings = Self {
            issuer: needed("issuer", "https://issuer.invalid"),
            client_id: needed("client_id", "-"),
            audiences: texts("audiences"),
            client_secret: text("client_secret"),
            redirect_uris: texts("redirect_uris"),
            scopes: texts("scopes"),
            response_mode: table.value("response_mode", "query or form_post").ok().flatten(),
            domain_restrictions: texts("domain_restrictions"),
            metadata_fields: fields.unwrap_or_default(),
        };
        wrong.take(table.finish(Ok(())));
        settings
    }
}

impl OidcConfig {
    /// Whether browsers can log in: there is where to send them back to.
    pub(super) fn has_browser_login(&self) -> bool {
        !self.redirect_uris.is_empty()
    }

    /// Reads the object `oauth2-google` of the app folder's file `file`.
    ///
    /// # Errors
    /// Names file, key and reason of whatever is wrong or would have to be ignored.
    pub fn google(file: &str, content: &Map<String, Value>, secrets: &Secrets) -> Result<Self, SettingsErrors> {
        let provider = Options::new(file, OAUTH2_GOOGLE, content);
        provider.finish(Self::of_google(&provider, secrets))
    }

    fn of_google(provider: &Options<'_>, secrets: &Secrets) -> Result<Self, Told> {
        let known = ["name", "type", "disabled", "config", "secret_config", "metadata_fields", "redirect_uris"];
        provider.only(&[known.as_slice(), &["domain_restrictions"]].concat());
        let config = provider.section("config", &["clientId", "openId"]);
        if let Ok(config) = &config
            && config.flag("openId") == Ok(false)
        {
            config.wrong("openId", "must be true: Google accounts log in by OpenID Connect alone");
        }
        let fields = MetadataFields::read_known(provider, &GOOGLE_FIELDS);
        let domains = provider.texts("domain_restrictions");
        let domains = domains.and_then(|domains| checked(provider, "domain_restrictions", &domains, checked_domain));
        let base = Self::app_services(provider, config, OAUTH2_GOOGLE, GOOGLE, secrets);
        let (fields, domains, base) = (fields?, domains?, base?);
        let mut scopes = Vec::new();
        if fields.use_any(&["email"]) || !domains.is_empty() {
            scopes.push("email".to_owned());
        }
        if fields.use_any(&["name", "given_name", "family_name", "picture"]) {
            scopes.push("profile".to_owned());
        }
        Ok(Self { scopes, domains, fields, parties: Parties::AppsOfTheClient, ..base })
    }

    /// Reads the object `oauth2-apple` of the app folder's file `file`. Name and address are not asked for: App Services
    /// knew no fields of Apple accounts.
    ///
    /// # Errors
    /// Names file, key and reason of whatever is wrong or would have to be ignored.
    pub fn apple(file: &str, content: &Map<String, Value>, secrets: &Secrets) -> Result<Self, SettingsErrors> {
        let provider = Options::new(file, OAUTH2_APPLE, content);
        provider.only(&["name", "type", "disabled", "config", "secret_config", "redirect_uris"]);
        let config = provider.section("config", &["clientId"]);
        provider.finish(Self::app_services(&provider, config, OAUTH2_APPLE, APPLE, secrets))
    }

    fn app_services(
        provider: &Options<'_>,
        config: Result<Options<'_>, Told>,
        name: &str,
        issuer: &str,
        secrets: &Secrets,
    ) -> Result<Self, Told> {
        let secret = provider.section("secret_config", &["clientSecret"]).and_then(|secret_config| {
            let secret = secret_config.required("clientSecret")?;
            secrets.get(secret).cloned().map_err(|reason| secret_config.wrong("clientSecret", reason))
        });
        let client_id = config.and_then(|config| config.required("clientId").map(str::to_owned));
        let redirect_uris = provider.texts("redirect_uris");
        let redirect_uris = redirect_uris.and_then(|uris| checked(provider, "redirect_uris", &uris, checked_redirect));
        let issuer = checked_issuer(issuer).map_err(|reason| provider.wrong("issuer", reason));
        Ok(Self {
            provider: name.to_owned(),
            issuer: issuer?,
            client_id: client_id?,
            audiences: Vec::new(),
            client_secret: Some(secret?),
            redirect_uris: redirect_uris?,
            scopes: Vec::new(),
            response_mode: None,
            domains: Vec::new(),
            fields: MetadataFields::default(),
            parties: Parties::ClientAlone,
        })
    }

    /// The issuer `name` (1 to 32 of `a-z 0-9 -`) as `source` configures it under `provider.oidc.NAME`; clients know the
    /// provider as `oidc-NAME`.
    ///
    /// # Errors
    /// Names source, key and reason of whatever is wrong.
    pub fn issuer(source: &str, name: &str, settings: OidcSettings, secrets: &Secrets) -> Result<Self, SettingsErrors> {
        let mut all_wrong = SettingsErrors::default();
        let mut wrong = |key: &str, reason: String| {
            let key = format!("provider.oidc.{name}{}{key}", if key.is_empty() { "" } else { "." });
            all_wrong.push(SettingsError::of_key(source, key, reason));
        };
        let named = (1..=32).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !named {
            wrong("", "expected a name of 1 to 32 of a-z 0-9 -".to_owned());
        }
        let issuer = checked_issuer(&settings.issuer);
        if let Err(reason) = &issuer {
            wrong("issuer", reason.clone());
        }
        if settings.client_id.is_empty() {
            wrong("client_id", "is empty".to_owned());
        }
        if settings.audiences.iter().any(String::is_empty) {
            wrong("audiences", "has an empty text in it".to_owned());
        }
        let plain = |scope: &&String| !scope.is_empty() && scope.bytes().all(|byte| byte.is_ascii_graphic());
        for (at, scope) in settings.scopes.iter().enumerate().filter(|(_, scope)| !plain(scope)) {
            wrong(&format!("scopes[{at}]"), format!("{scope:?} is not a scope"));
        }
        let secret = settings.client_secret.as_deref().map(|name| secrets.get(name).cloned()).transpose();
        let secret = secret.map_err(|reason| wrong("client_secret", reason)).unwrap_or_default();
        let mut each = |key: &str, texts: &[String], check: fn(&str) -> Result<String, String>| {
            let mut good = Vec::new();
            for (at, text) in texts.iter().enumerate() {
                match check(text) {
                    Ok(text) => good.push(text),
                    Err(reason) => wrong(&format!("{key}[{at}]"), reason),
                }
            }
            good
        };
        let redirect_uris = each("redirect_uris", &settings.redirect_uris, checked_redirect);
        let domains = each("domain_restrictions", &settings.domain_restrictions, checked_domain);
        let fields = MetadataFields::new(settings.metadata_fields).unwrap_or_else(|reasons| {
            reasons.into_iter().for_each(|reason| wrong("metadata_fields", reason));
            MetadataFields::default()
        });
        let scopes: Vec<String> = settings.scopes.into_iter().filter(|scope| scope != "openid").collect();
        let apple_needs_form = settings.issuer == APPLE && !scopes.is_empty();
        all_wrong.or(Self {
            provider: format!("oidc-{name}"),
            issuer: settings.issuer,
            client_id: settings.client_id,
            audiences: settings.audiences,
            client_secret: secret,
            redirect_uris,
            scopes,
            response_mode: settings.response_mode.or(apple_needs_form.then_some(ResponseMode::FormPost)),
            domains,
            fields,
            parties: Parties::NamedClients,
        })
    }
}

/// Each of the texts under `key`, checked.
fn checked(
    provider: &Options<'_>,
    key: &str,
    texts: &[&str],
    check: fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, Told> {
    all(texts.iter().map(|text| check(text).map_err(|reason| provider.wrong(key, reason))))
}

/// OpenID Connect Core §2: scheme, host, port and path. What `outbound` allows is checked when the provider is created.
fn checked_issuer(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['?', '#', '@']);
    if plain && Url::parse(text).is_ok() {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is not an issuer: expected a URL without query and fragment"))
    }
}

/// https, or http on loopback for development; no fragment (RFC 6749 §3.1.2) and no user name.
fn checked_redirect(text: &str) -> Result<String, String> {
    let secure = |url: &Url| match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    };
    let plain = |url: &Url| url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    match Url::parse(text) {
        Ok(url) if secure(&url) && plain(&url) => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not a redirect URI: expected https, or http on loopback, and no fragment")),
    }
}

fn checked_domain(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    if text.bytes().all(plain) && !text.is_empty() && !text.starts_with('.') && !text.ends_with('.') {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("{text:?} is not a domain"))
    }
}
