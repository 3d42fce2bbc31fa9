//! The authentication providers and where their configuration comes from.

pub mod api_key;
pub mod app_folder;
pub mod codes;
pub mod custom_token;
pub mod fetched;
pub mod identity;
pub mod metadata;
pub mod oidc;
mod options;
pub mod password;
pub mod secrets;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
pub mod throttle;
pub mod userpass_config;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use self::app_folder::AppFolder;
use self::custom_token::{CUSTOM_TOKEN, CustomToken, CustomTokenConfig};
use self::identity::IdentityProvider;
use self::oidc::{OAUTH2_APPLE, OAUTH2_GOOGLE, Oidc, OidcConfig, OidcSettings};
use self::secrets::Secrets;
use crate::config::{ProviderTables, SettingsError};
use crate::outbound::Outbound;

/// The provider of anonymous users; its name equals its type.
pub const ANON_USER: &str = "anon-user";
/// Providers of an app folder that prove an identity here.
pub const IDENTITY_PROVIDERS: [&str; 3] = [CUSTOM_TOKEN, OAUTH2_GOOGLE, OAUTH2_APPLE];
/// Providers that App Services knows and this server does not have. With [`ANON_USER`] and [`IDENTITY_PROVIDERS`] they are
/// every name that SDKs know; one of them crashes on any other (wire-protocol §4).
pub const NOT_BUILT: [&str; 4] = ["local-userpass", "api-key", "custom-function", "oauth2-facebook"];

/// Which providers take logins. Cheap to clone.
#[derive(Clone)]
pub struct Providers {
    /// Whether anonymous logins are taken.
    pub anon_user_enabled: bool,
    identity: Arc<BTreeMap<String, Arc<dyn IdentityProvider>>>,
}

impl Default for Providers {
    /// Without any configuration: `anon-user` is enabled and everything else is off.
    fn default() -> Self {
        Self { anon_user_enabled: true, identity: Arc::default() }
    }
}

impl Providers {
    /// The enabled providers of the app folder and of `passerby.toml`. They fetch through `outbound`; `app_id` is the one in
    /// force.
    ///
    /// # Errors
    /// Names file, key and reason of whatever is wrong, and a provider that both configure.
    pub fn new(
        folder: &AppFolder,
        tables: &ProviderTables,
        app_id: &str,
        secrets: &Secrets,
        outbound: &Outbound,
    ) -> Result<Self, SettingsError> {
        let mut identity: Vec<Arc<dyn IdentityProvider>> = Vec::new();
        let custom_token = |file: &str, path: &str, content: &Map<String, Value>| {
            let config = CustomTokenConfig::read(file, path, content, app_id, secrets)?;
            Ok::<_, SettingsError>(Arc::new(CustomToken::new(config, outbound.clone(), file)?))
        };
        let file = folder.providers_file.as_str();
        for (name, content) in &folder.identity {
            identity.push(match name.as_str() {
                CUSTOM_TOKEN => custom_token(file, name, content)?,
                OAUTH2_GOOGLE => {
                    Arc::new(Oidc::new(OidcConfig::google(file, content, secrets)?, outbound.clone(), file)?)
                }
                OAUTH2_APPLE => {
                    Arc::new(Oidc::new(OidcConfig::apple(file, content, secrets)?, outbound.clone(), file)?)
                }
                _ => return Err(SettingsError::of_key(file, name, "there is no such provider")),
            });
        }
        let origin = tables.origin.as_str();
        if let Some(content) = &tables.custom_token {
            const KEY: &str = "provider.custom_token";
            if folder.identity.contains_key(CUSTOM_TOKEN) {
                return Err(SettingsError::of_key(origin, KEY, format!("{file} configures {CUSTOM_TOKEN} too")));
            }
            identity.push(custom_token(origin, KEY, content)?);
        }
        for (name, content) in &tables.oidc {
            let wrong = |error: serde_json::Error| {
                SettingsError::of_key(origin, format!("provider.oidc.{name}"), error.to_string())
            };
            let settings: OidcSettings = serde_json::from_value(Value::Object(content.clone())).map_err(wrong)?;
            let config = OidcConfig::issuer(origin, name, settings, secrets)?;
            identity.push(Arc::new(Oidc::new(config, outbound.clone(), origin)?));
        }
        let identity = identity.into_iter().map(|provider| (provider.name().to_owned(), provider)).collect();
        Ok(Self { anon_user_enabled: folder.anon_user_enabled, identity: Arc::new(identity) })
    }

    /// The enabled provider of this name, if it proves identities.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn IdentityProvider>> {
        self.identity.get(name)
    }

    /// The names of the enabled providers that prove identities, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.identity.keys().map(String::as_str)
    }

    /// Whether there is a provider of this name: enabled here, or known to App Services and off or not built.
    pub fn knows(&self, name: &str) -> bool {
        name == ANON_USER || IDENTITY_PROVIDERS.contains(&name) || NOT_BUILT.contains(&name) || self.get(name).is_some()
    }
}
