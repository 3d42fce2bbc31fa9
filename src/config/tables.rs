//! The tables `[provider.…]` of `passerby.toml`. What is in them is for the providers to read; here they are found, explained
//! and shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ::config::{Value as Found, ValueKind};
use serde_json::{Map, Value};

use super::SettingsError;
use super::kind::described;
use super::load::NO_SUCH;

/// The providers that `passerby.toml` configures. Each key is in `EXPLAINED`; no table has an environment variable or
/// a flag.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProviderTables {
    /// The file, for errors.
    pub origin: String,
    /// `provider.custom_token`: `config`, `secret_config` and `metadata_fields` as in `auth/providers.json`.
    pub custom_token: Option<Map<String, Value>>,
    /// `provider.local_userpass`, in the form of the object `local-userpass` of `auth/providers.json`.
    pub local_userpass: Option<Map<String, Value>>,
    /// `provider.api_key.enabled`.
    pub api_keys: bool,
    /// `provider.oidc.NAME`, by name.
    pub oidc: BTreeMap<String, Map<String, Value>>,
}

/// One key of the tables: what it does, its range and what holds without it.
pub(super) struct Explained {
    pub(super) key: &'static str,
    about: &'static str,
    range: &'static str,
    default: &'static str,
}

const fn key(key: &'static str, about: &'static str, range: &'static str, default: &'static str) -> Explained {
    Explained { key, about, range, default }
}

/// In the order in which they are explained.
pub(super) const EXPLAINED: &[Explained] = &[
    key(
        "provider.custom_token.config",
        "What tokens of another system must be like for the provider custom-token.",
        "a table with audience, requireAnyAudience, signingAlgorithm, useJWKURI and jwkURI, as in auth/providers.json",
        "none (custom-token is off)",
    ),
    key(
        "provider.custom_token.secret_config",
        "The names of the secrets with the keys that sign the tokens, unless they are published.",
        "a table with signingKeys, a list of 1 to 3 names",
        "none (jwkURI must say where they are published)",
    ),
    key(
        "provider.custom_token.metadata_fields",
        "Claims that become data of the user.",
        "a list of tables with name, field_name and required, as in auth/providers.json",
        "empty",
    ),
    key(
        "provider.local_userpass.config",
        "How people register with a mail address and a password.",
        "a table with autoConfirm, emailConfirmationUrl, confirmEmailSubject, resetPasswordUrl and resetPasswordSubject, as in auth/providers.json",
        "none (local-userpass is off)",
    ),
    key("provider.api_key.enabled", "Whether users of lasting accounts may make API keys.", "true or false", "false"),
    key(
        "provider.oidc.NAME.issuer",
        "An OpenID Connect issuer, exactly as its tokens have it; clients know the provider as oidc-NAME.",
        "an https URL without query and fragment, or one that outbound.allow names; of Microsoft's for several tenants, with common, organizations or {tenantid} in the tenant's place; NAME is 1 to 32 of a-z 0-9 -",
        "none (it must be set)",
    ),
    key(
        "provider.oidc.NAME.client_id",
        "The client that this server is to the issuer; tokens must be for it.",
        "a text",
        "none (it must be set)",
    ),
    key(
        "provider.oidc.NAME.audiences",
        "Other clients of the issuer, such as an app's, whose ID tokens clients may hand over too.",
        "a list of texts",
        "empty",
    ),
    key(
        "provider.oidc.NAME.client_secret",
        "The name of the secret that holds the client's secret.",
        "1 to 64 of A-Z a-z 0-9 _ -",
        "none (a public client)",
    ),
    key(
        "provider.oidc.NAME.redirect_uris",
        "Where a login in the browser may end, byte for byte.",
        "a list of https URLs, or http on loopback, without fragment",
        "empty (no login in the browser)",
    ),
    key("provider.oidc.NAME.scopes", "What is asked for beside openid.", "a list of scopes", "empty"),
    key(
        "provider.oidc.NAME.response_mode",
        "How the issuer shall send its answer to a login in the browser.",
        "query or form_post",
        "form_post for https://appleid.apple.com with scopes; otherwise as the issuer likes",
    ),
    key(
        "provider.oidc.NAME.domain_restrictions",
        "Domains of verified e-mail addresses that may log in.",
        "a list of domains",
        "empty (any account)",
    ),
    key(
        "provider.oidc.NAME.metadata_fields",
        "Claims that become data of the user.",
        "a list of tables with name, field_name and required",
        "empty",
    ),
];

/// The tables' part of `passerby config --explain`.
pub(super) fn explain() -> impl Iterator<Item = String> {
    EXPLAINED.iter().map(|Explained { key, about, range, default }| {
        format!("\n{key}\n    {about}\n    range: {range}\n    default: {default}\n    in passerby.toml only\n")
    })
}

impl ProviderTables {
    /// Takes the value of the key `provider` in the file `origin`.
    pub(super) fn read(origin: &str, value: Found) -> Result<Self, SettingsError> {
        let mut read = Self { origin: origin.to_owned(), ..Self::default() };
        for (name, value) in read.table("provider", value)? {
            let key = format!("provider.{name}");
            match name.as_str() {
                "custom_token" => {
                    let table = read.table(&key, value)?;
                    let known = |option: &String| EXPLAINED.iter().any(|of| of.key == format!("{key}.{option}"));
                    if let Some(option) = table.keys().find(|option| !known(option)) {
                        return Err(SettingsError::of_key(origin, format!("{key}.{option}"), NO_SUCH));
                    }
                    read.custom_token = Some(read.json(&key, table)?);
                }
                "local_userpass" => {
                    let table = read.table(&key, value)?;
                    if let Some(option) = table.keys().find(|option| *option != "config") {
                        return Err(SettingsError::of_key(origin, format!("{key}.{option}"), NO_SUCH));
                    }
                    read.local_userpass = Some(read.json(&key, table)?);
                }
                "api_key" => {
                    for (option, value) in read.table(&key, value)? {
                        let key = format!("{key}.{option}");
                        match (option.as_str(), &value.kind) {
                            ("enabled", ValueKind::Boolean(on)) => read.api_keys = *on,
                            ("enabled", other) => {
                                let reason = format!("expected true or false, found {}", described(other));
                                return Err(SettingsError::of_key(origin, key, reason));
                            }
                            _ => return Err(SettingsError::of_key(origin, key, NO_SUCH)),
                        }
                    }
                }
                "oidc" => {
                    for (name, value) in read.table(&key, value)? {
                        let key = format!("{key}.{name}");
                        let table = read.table(&key, value)?;
                        let table = read.json(&key, table)?;
                        read.oidc.insert(name, table);
                    }
                }
                _ => return Err(SettingsError::of_key(origin, key, NO_SUCH)),
            }
        }
        Ok(read)
    }

    /// A table in the order of its keys, so that the first error is the same every time.
    fn table(&self, key: &str, value: Found) -> Result<BTreeMap<String, Found>, SettingsError> {
        match value.kind {
            ValueKind::Table(table) => Ok(table.into_iter().collect()),
            other => {
                let reason = format!("expected a table, found {}", described(&other));
                Err(SettingsError::of_key(&self.origin, key, reason))
            }
        }
    }

    fn json(&self, key: &str, table: BTreeMap<String, Found>) -> Result<Map<String, Value>, SettingsError> {
        let wrong = |error: ::config::ConfigError| SettingsError::of_key(&self.origin, key, error.to_string());
        table.into_iter().map(|(name, value)| Ok((name, value.try_deserialize().map_err(wrong)?))).collect()
    }

    /// The tables as lines of TOML with their source.
    pub(super) fn effective(&self) -> String {
        let mut out = String::new();
        if let Some(table) = &self.custom_token {
            self.lines("provider.custom_token", table, &mut out);
        }
        if let Some(table) = &self.local_userpass {
            self.lines("provider.local_userpass", table, &mut out);
        }
        if self.api_keys {
            out.push_str(&format!("provider.api_key.enabled = true # {}\n", self.origin));
        }
        for (name, table) in &self.oidc {
            self.lines(&format!("provider.oidc.{}", bare(name)), table, &mut out);
        }
        out
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
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let pairs: Vec<_> = table.iter().map(|(key, value)| format!("{} = {}", bare(key), toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}
