//! What of an app can be deployed: what its folder says of providers, origins and custom user data.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::provider::ANON_USER;

/// What of an app can be deployed, in the form of App Services. It names secrets, and holds none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppContent {
    /// Each provider's object by its name, as in `auth/providers.json`: with `name`, `type` and `disabled`.
    pub providers: BTreeMap<String, Value>,
    /// Origins that browsers may call from, in the form they send; empty allows any.
    pub allowed_request_origins: Vec<String>,
    /// How long a session of a lasting account lives, in seconds; none leaves it to `session.lifetime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token_expiration_s: Option<u32>,
    /// `auth/custom_user_data.json`, of which nothing is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_user_data: Option<Map<String, Value>>,
}

impl Default for AppContent {
    /// Without a folder: `anon-user` is enabled, and everything else is off.
    fn default() -> Self {
        let anon_user = json!({ "name": ANON_USER, "type": ANON_USER, "disabled": false });
        Self { providers: [(ANON_USER.to_owned(), anon_user)].into(), ..Self::nothing() }
    }
}

impl AppContent {
    /// Everything is off.
    pub(super) fn nothing() -> Self {
        Self {
            providers: BTreeMap::new(),
            allowed_request_origins: Vec::new(),
            refresh_token_expiration_s: None,
            custom_user_data: None,
        }
    }

    /// Enables or disables a provider, which has no other options if it is not there yet.
    pub fn set_enabled(&mut self, provider: &str, enabled: bool) {
        let new = || json!({ "name": provider, "type": provider });
        self.providers.entry(provider.to_owned()).or_insert_with(new)["disabled"] = Value::Bool(!enabled);
    }

    /// In its one form, which is the same for the same content.
    pub fn to_json(&self) -> String {
        json!(self).to_string()
    }

    /// SHA-256 of that form in hexadecimal: by it a folder is seen to have changed.
    pub fn digest(&self) -> String {
        let bytes = digest(&SHA256, self.to_json().as_bytes());
        bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
