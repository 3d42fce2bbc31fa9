//! The tables `[provider.…]` of `passerby.toml`. What is in them is for the providers to read; here they are found, explained
//! and shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ::config::{Value as Found, ValueKind};
use serde_json::{Map, Value};

use super::kind::described;
use super::suggest::{nearest, no_such};
use super::{SettingsError, SettingsErrors};

/// The providers that `passerby.toml` configures. Each key is in `EXPLAINED`; no table has an environment variable or
/// a flag.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProviderTables {
    /// The file, for errors.
    pub origin: String,
    /// `provider.NAME`, by name, in the form of the provider's object in `auth/providers.json`; one that is only turned on has
    /// `enabled`, and is not here when it is off.
    single: BTreeMap<&'static str, Map<String, Value>>,
    /// `provider.KIND.NAME`, by kind and name.
    several: BTreeMap<&'static str, BTreeMap<String, Map<String, Value>>>,
}

/// One key of a table of `passerby.toml`: what it does, its range and what holds without it.
pub(super) struct Explained {
    pub(super) key: &'static str,
    pub(super) about: &'static str,
    pub(super) range: &'static str,
    pub(super) default: &'static str,
}

/// A value of a table of `passerby.toml`.
pub(super) struct InTable {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) explained: Option<&'static Explained>,
}

pub(super) const fn key(key: &'static str, range: &'static str, default: &'static str) -> Explained {
    Explained { key, about: "", range, default }
}

impl Explained {
    /// What it does.
    pub(super) const fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// Its part of `passerby config --explain`.
    pub(super) fn text(&self) -> String {
        let Self { key, about, range, default } = self;
        format!("\n{key}\n    {about}\n    range: {range}\n    default: {default}\n    in passerby.toml only\n")
    }
}

/// In the order in which they are explained.
pub(super) const EXPLAINED: &[Explained] = &[
    key("provider.custom_token.config", "a table with audience, requireAnyAudience, signingAlgorithm, useJWKURI and jwkURI, as in auth/providers.json", "none (custom-token is off)")
        .about("What tokens of your own system must be like for the provider custom-token."),
    key("provider.custom_token.secret_config", "a table with signingKeys, a list of 1 to 3 names", "none (jwkURI must say where they are published)")
        .about("The names of the secrets with the keys that sign the tokens, unless they are published."),
    key("provider.custom_token.metadata_fields", "a list of tables with name, field_name and required, as in auth/providers.json", "empty")
        .about("Claims that become data of the user."),
    key("provider.local_userpass.config", "a table with autoConfirm, emailConfirmationUrl, confirmEmailSubject, resetPasswordUrl and resetPasswordSubject, as in auth/providers.json", "none (local-userpass is off)")
        .about("How people register with an e-mail address and a password."),
    key("provider.api_key.enabled", "true or false", "false")
        .about("Whether users of lasting accounts may create API keys."),
    key("provider.oidc.NAME.issuer", "an https URL without query and fragment, or one that outbound.allow names; of Microsoft's for several tenants, with common, organizations or {tenantid} in the tenant's place; NAME is 1 to 32 of a-z 0-9 -", "none (it must be set)")
        .about("An OpenID Connect issuer, exactly as its tokens have it; clients know the provider as oidc-NAME."),
    key("provider.oidc.NAME.client_id", "a text", "none (it must be set)")
        .about("The client that this server is to the issuer; tokens must be for it."),
    key("provider.oidc.NAME.audiences", "a list of texts", "empty")
        .about("Other clients of the issuer, such as an app's, whose ID tokens clients may hand over too."),
    key("provider.oidc.NAME.client_secret", "1 to 64 of A-Z a-z 0-9 _ -", "none (a public client)")
        .about("The name of the secret that holds the client's secret."),
    key("provider.oidc.NAME.redirect_uris", "a list of https URLs, or http on loopback, without fragment", "empty (no login in the browser)")
        .about("Where a login in the browser may end, byte for byte."),
    key("provider.oidc.NAME.scopes", "a list of scopes", "empty").about("What is asked for beside openid."),
    key("provider.oidc.NAME.response_mode", "query or form_post", "form_post for https://appleid.apple.com with scopes; otherwise as the issuer likes")
        .about("How the issuer is to send its answer to a login in the browser."),
    key("provider.oidc.NAME.domain_restrictions", "a list of domains", "empty (any account)")
        .about("Domains of verified e-mail addresses that may log in."),
    key("provider.oidc.NAME.metadata_fields", "a list of tables with name, field_name and required", "empty")
        .about("Claims that become data of the user."),
];

/// The names that a table of `provider` can have, in their order.
fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = EXPLAINED.iter().filter_map(|of| of.key.split('.').nth(1)).collect();
    names.dedup();
    names
}

/// Whether the table `name` holds tables, one for each provider.
fn holds_several(name: &str) -> bool {
    EXPLAINED.iter().any(|of| of.key.starts_with(&format!("provider.{name}.NAME.")))
}

/// What is meant by an unknown name.
fn no_such_provider(name: &str) -> String {
    let issuer = |who: &str, url: &str| {
        format!(
            "there is no such setting: logins with {who} are [provider.oidc.NAME] with issuer = \"{url}\", client_id and client_secret"
        )
    };
    let plain = name.to_ascii_lowercase().replace('-', "_");
    match plain.strip_prefix("oauth2_").unwrap_or(&plain) {
        "google" => issuer("Google", "https://accounts.google.com"),
        "apple" => issuer("Apple", "https://appleid.apple.com"),
        "microsoft" | "azure" | "azuread" | "entra" => {
            issuer("Microsoft", "https://login.microsoftonline.com/TENANT/v2.0")
        }
        "facebook" | "github" | "twitter" => {
            "there is no such setting: it is not an OpenID Connect issuer, and this server has no provider for it"
                .to_owned()
        }
        "anon" | "anon_user" | "anonymous" => {
            "there is no such setting: anonymous users are enabled, unless an app folder disables anon-user".to_owned()
        }
        "email" | "password" | "userpass" => no_such_but("local_userpass"),
        "jwt" | "token" => no_such_but("custom_token"),
        _ => match nearest(name, names()) {
            Some(meant) => no_such_but(meant),
            None => "there is no such setting: an OpenID Connect issuer is [provider.oidc.NAME]; \
                     see `passerby config --explain`"
                .to_owned(),
        },
    }
}

fn no_such_but(meant: &str) -> String {
    format!("there is no such setting: did you mean provider.{meant}?")
}

impl ProviderTables {
    /// The table `provider.NAME`.
    pub fn single(&self, name: &str) -> Option<&Map<String, Value>> {
        self.single.get(name)
    }

    /// The tables `provider.KIND.NAME`, by name.
    pub fn several(&self, kind: &str) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
        self.several.get(kind).into_iter().flatten()
    }

    /// Takes the value of the key `provider` in the file `origin`.
    pub(super) fn read(origin: &str, value: Found, wrong: &mut SettingsErrors) -> Self {
        let mut read = Self { origin: origin.to_owned(), ..Self::default() };
        for (name, value) in read.table("provider", value, wrong) {
            let key = format!("provider.{name}");
            let Some(name) = names().into_iter().find(|known| *known == name) else {
                wrong.push(SettingsError::of_key(origin, key, no_such_provider(&name)));
                continue;
            };
            if holds_several(name) {
                for (one, value) in read.table(&key, value, wrong) {
                    let options = read.options(&format!("{key}.{one}"), &format!("{key}.NAME"), value, wrong);
                    read.several.entry(name).or_default().insert(one, options);
                }
                continue;
            }
            let options = read.options(&key, &key, value, wrong);
            let is_switch = EXPLAINED.iter().any(|of| of.key == format!("{key}.enabled"));
            match options.get("enabled").filter(|_| is_switch) {
                Some(Value::Bool(false)) => {}
                None if is_switch => {}
                None | Some(Value::Bool(true)) => {
                    read.single.insert(name, options);
                }
                Some(other) => {
                    let reason = format!("expected true or false, found {}", toml(other));
                    wrong.push(SettingsError::of_key(origin, format!("{key}.enabled"), reason));
                }
            }
        }
        read
    }

    /// A table in the order of its keys, so that the errors come in the same one every time.
    fn table(&self, key: &str, value: Found, wrong: &mut SettingsErrors) -> BTreeMap<String, Found> {
        match value.kind {
            ValueKind::Table(table) => table.into_iter().collect(),
            other => {
                let reason = format!("expected a table, found {}", described(&other));
                wrong.push(SettingsError::of_key(&self.origin, key, reason));
                BTreeMap::new()
            }
        }
    }

    /// The table `key`, whose options are explained under `explained`.
    fn options(&self, key: &str, explained: &str, value: Found, wrong: &mut SettingsErrors) -> Map<String, Value> {
        let mut options = Map::new();
        for (option, value) in self.table(key, value, wrong) {
            let known = || EXPLAINED.iter().filter_map(|of| of.key.strip_prefix(explained)?.strip_prefix('.'));
            if !known().any(|known| known == option) {
                let keys = known().map(|known| format!("{key}.{known}"));
                let key = format!("{key}.{option}");
                let reason = no_such(&key, keys);
                wrong.push(SettingsError::of_key(&self.origin, key, reason));
                continue;
            }
            let value = value.try_deserialize();
            let unreadable = |error: ::config::ConfigError| {
                SettingsError::of_key(&self.origin, format!("{key}.{option}"), error.to_string())
            };
            let value = value.map_err(unreadable);
            if let Some(value) = wrong.take(value) {
                options.insert(option, value);
            }
        }
        options
    }

    /// The tables as lines of TOML with their source.
    pub(super) fn effective(&self) -> String {
        let mut out = String::new();
        for (_, key, table) in self.tables() {
            self.lines(&key, table, &mut out);
        }
        out
    }

    /// Each option of each table. Of secrets, the tables have the names alone.
    pub(super) fn values(&self) -> Vec<InTable> {
        let of_table = |(explained, key, table): (String, String, &Map<String, Value>)| {
            let of_option = |(option, value): (&String, &Value)| InTable {
                key: format!("{key}.{option}"),
                value: value.clone(),
                explained: EXPLAINED.iter().find(|of| of.key == format!("{explained}.{option}")),
            };
            table.iter().map(of_option).collect::<Vec<_>>()
        };
        self.tables().into_iter().flat_map(of_table).collect()
    }

    /// Each table under what its options are explained under and its key.
    fn tables(&self) -> Vec<(String, String, &Map<String, Value>)> {
        let of_name = |name: &'static str| {
            let key = format!("provider.{name}");
            let single = self.single(name).map(|table| (key.clone(), key.clone(), table));
            let several = self.several(name);
            let several =
                several.map(move |(one, table)| (format!("{key}.NAME"), format!("{key}.{}", bare(one)), table));
            single.into_iter().chain(several)
        };
        names().into_iter().flat_map(of_name).collect()
    }

    fn lines(&self, key: &str, table: &Map<String, Value>, out: &mut String) {
        for (name, value) in table {
            let key = format!("{key}.{}", bare(name));
            match value {
                Value::Object(table) if !table.is_empty() => self.lines(&key, table, out),
                // writing to a text cannot fail
                other => drop(writeln!(out, "{key} = {} # {}", toml(other), self.origin)),
            }
        }
    }
}

/// A key as TOML takes it: in quotes unless it is plain.
fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if plain { key.to_owned() } else { Value::from(key).to_string() }
}

/// JSON's texts, numbers and words are TOML's too.
pub(super) fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let pairs: Vec<_> = table.iter().map(|(key, value)| format!("{} = {}", bare(key), toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}
