//! The authentication providers and where their configuration comes from.

pub mod api_key;
pub mod app_folder;
pub mod custom_token;
pub mod fetched;
pub mod identity;
mod jwt;
pub mod local_userpass;
pub mod metadata;
mod names;
pub mod oidc;
mod options;
pub mod password;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod typed;
pub mod userpass_config;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use passerby_actors::domain::{API_KEY, LOCAL_USERPASS};
use serde_json::{Map, Value};

use self::app_folder::AppFolder;
use self::custom_token::{CustomToken, CustomTokenConfig};
use self::identity::IdentityProvider;
pub use self::names::{ANON_USER, IDENTITY_PROVIDERS, NOT_BUILT};
use self::names::{CUSTOM_TOKEN, OAUTH2_APPLE, OAUTH2_GOOGLE};
use self::oidc::{Oidc, OidcConfig, OidcSettings};
use self::options::Options;
use self::userpass_config::UserpassConfig;
use crate::config::secrets::Secrets;
use crate::config::{ProviderTables, SettingsError, SettingsErrors};
use crate::mail::AnyTransport;
use crate::outbound::Outbound;

/// Which providers take logins. Cheap to clone.
#[derive(Clone)]
pub struct Providers {
    /// Whether anonymous logins are taken.
    pub anon_user_enabled: bool,
    /// How people register, if they can.
    pub userpass: Option<UserpassConfig>,
    /// Whether users may have keys.
    pub api_keys: bool,
    /// What sends e-mails, if anything does.
    pub mail: Option<Arc<AnyTransport>>,
    identity: BTreeMap<String, Arc<dyn IdentityProvider>>,
    oidc: BTreeMap<String, Arc<Oidc>>,
}

impl Default for Providers {
    /// Without any configuration: `anon-user` is enabled and everything else is off.
    fn default() -> Self {
        Self {
            anon_user_enabled: true,
            userpass: None,
            api_keys: false,
            mail: None,
            identity: BTreeMap::new(),
            oidc: BTreeMap::new(),
        }
    }
}

impl Providers {
    /// The enabled providers of the app folder and of `passerby.toml`. They fetch through `outbound`; `app_id` is the one in
    /// force.
    ///
    /// # Errors
    /// Names file, key and reason of everything that is wrong, and a provider that both configure.
    pub fn new(
        folder: &AppFolder,
        tables: &ProviderTables,
        app_id: &str,
        secrets: &Secrets,
        outbound: &Outbound,
    ) -> Result<Self, SettingsErrors> {
        let mut made = Self { anon_user_enabled: folder.anon_user_enabled, ..Self::default() };
        let mut wrong = SettingsErrors::default();
        let custom_token = |file: &str, path: &str, content: &Map<String, Value>| {
            let config = CustomTokenConfig::read(file, path, content, app_id, secrets)?;
            Ok::<_, SettingsErrors>(
                Arc::new(CustomToken::new(config, outbound.clone(), file)?) as Arc<dyn IdentityProvider>
            )
        };
        let origin = tables.origin.as_str();
        for (name, content) in &folder.identity {
            let file = folder.file_of(name);
            let oidc = |config: Result<OidcConfig, SettingsErrors>| {
                Ok::<_, SettingsErrors>(Oidc::new(config?, outbound.clone(), file)?)
            };
            match name.as_str() {
                CUSTOM_TOKEN => wrong.take(custom_token(file, name, content)).into_iter().for_each(|it| made.add(it)),
                OAUTH2_GOOGLE => {
                    let provider = wrong.take(oidc(OidcConfig::google(file, content, secrets)));
                    provider.into_iter().for_each(|provider| made.add_oidc(provider));
                }
                OAUTH2_APPLE => {
                    let provider = wrong.take(oidc(OidcConfig::apple(file, content, secrets)));
                    provider.into_iter().for_each(|provider| made.add_oidc(provider));
                }
                LOCAL_USERPASS => made.userpass = wrong.take(UserpassConfig::read(file, name, content)),
                API_KEY => {
                    let options = Options::new(file, name, content);
                    options.only(&["name", "type", "disabled"]);
                    made.api_keys = wrong.take(options.finish(Ok(()))).is_some();
                }
                _ => wrong.push(SettingsError::of_key(file, name, "there is no such provider")),
            }
        }
        let twice = |key: &str, provider: &str| {
            let file = folder.file_of(provider);
            let error = SettingsError::of_key(origin, key, format!("{file} configures {provider} too"));
            if folder.identity.contains_key(provider) { Err(SettingsErrors::from(error)) } else { Ok(()) }
        };
        if let Some(content) = &tables.custom_token {
            const KEY: &str = "provider.custom_token";
            let provider = twice(KEY, CUSTOM_TOKEN).and_then(|()| custom_token(origin, KEY, content));
            wrong.take(provider).into_iter().for_each(|provider| made.add(provider));
        }
        if let Some(content) = &tables.local_userpass {
            const KEY: &str = "provider.local_userpass";
            let config = twice(KEY, LOCAL_USERPASS).and_then(|()| UserpassConfig::read(origin, KEY, content));
            made.userpass = wrong.take(config);
        }
        made.api_keys |= tables.api_keys;
        for (name, content) in &tables.oidc {
            let mut of_issuer = SettingsErrors::default();
            let settings = OidcSettings::read(origin, name, content, &mut of_issuer);
            let config = of_issuer.take(OidcConfig::issuer(origin, name, settings, secrets));
            if let Some(config) = config.filter(|_| of_issuer.is_empty()) {
                let provider = of_issuer.take(Oidc::new(config, outbound.clone(), origin));
                provider.into_iter().for_each(|provider| made.add_oidc(provider));
            }
            wrong.extend(of_issuer);
        }
        wrong.or(made)
    }

    /// Takes a provider that proves identities.
    pub fn add(&mut self, provider: Arc<dyn IdentityProvider>) {
        self.identity.insert(provider.name().to_owned(), provider);
    }

    fn add_oidc(&mut self, provider: Oidc) {
        let provider = Arc::new(provider);
        self.oidc.insert(provider.name().to_owned(), Arc::clone(&provider));
        self.add(provider);
    }

    /// The enabled OpenID Connect provider of this name.
    pub fn oidc(&self, name: &str) -> Option<&Arc<Oidc>> {
        self.oidc.get(name)
    }

    /// Whether `passerby.toml` asks for logins in browsers. An app folder's redirect URIs are of the flow that App Services
    /// had, so they may be there without that being wanted.
    pub fn wants_browser_logins(&self) -> bool {
        self.oidc.iter().any(|(name, provider)| name.starts_with("oidc-") && provider.has_browser_login())
    }

    /// The names of the enabled OpenID Connect providers, in their order.
    pub fn oidc_names(&self) -> impl Iterator<Item = &str> {
        self.oidc.keys().map(String::as_str)
    }

    /// The enabled provider of this name, if it proves identities.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn IdentityProvider>> {
        self.identity.get(name)
    }

    /// Whether no provider is enabled that creates users or logs them in: API keys alone do not, since accounts create them.
    pub fn nobody_can_come(&self) -> bool {
        !self.anon_user_enabled && self.names().all(|name| name == API_KEY)
    }

    /// The names of the enabled providers that prove identities, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let of_the_server = [(LOCAL_USERPASS, self.userpass.is_some()), (API_KEY, self.api_keys)];
        let of_the_server = of_the_server.into_iter().filter(|(_, on)| *on).map(|(name, _)| name);
        let names: BTreeSet<&str> = self.identity.keys().map(String::as_str).chain(of_the_server).collect();
        names.into_iter()
    }

    /// Whether there is a provider of this name: enabled here, or known to App Services and off or not built.
    pub fn knows(&self, name: &str) -> bool {
        name == ANON_USER || IDENTITY_PROVIDERS.contains(&name) || NOT_BUILT.contains(&name) || self.get(name).is_some()
    }
}
