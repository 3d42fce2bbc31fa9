//! An app folder as one JSON document, as `realm-cli` sends one: what of it can be deployed, and what of it is not served.

use serde_json::{Map, Value, json};

use super::AppContent;
use super::document::Document;
use crate::config::{SettingsError, SettingsErrors};

/// What stands for the document in errors.
const APP: &str = "app";

/// What is not served, where it stands in the layouts of 2021 and before, and what to do.
const UNSERVED: [(&str, &str); 15] = [
    ("/auth/custom_user_data/enabled", CUSTOM_USER_DATA),
    ("/custom_user_data_config/enabled", CUSTOM_USER_DATA),
    ("/functions", "functions are not run: move what they do to a server of yours"),
    ("/triggers", "no trigger runs here: take the log's lines of the target passerby::events, or leave it to Atlas"),
    ("/data_sources", DATA),
    ("/services", DATA),
    ("/sync", "Device Sync is not served: clients that open a synced realm fail"),
    ("/http_endpoints", ENDPOINTS),
    ("/endpoints/config", ENDPOINTS),
    ("/graphql/custom_resolvers", "GraphQL is not served: serve it from a server of yours"),
    ("/hosting/enabled", "no files are hosted here: host them elsewhere"),
    ("/log_forwarders", "logs are not forwarded: collect the lines of standard error"),
    ("/values", VALUES),
    ("/environments", VALUES),
    ("/secrets", "secrets are not read: set PASSERBY_SECRET_NAME or secrets_file where the server is started"),
];
const CUSTOM_USER_DATA: &str =
    "custom user data is not read from MongoDB: user.customData is what data.token_fields shows of the user's document";
const DATA: &str = "clients do not reach MongoDB or services through this server: call them from a server of yours";
const ENDPOINTS: &str = "HTTPS endpoints are not served: point their callers at a server of yours";
const VALUES: &str = "values are not read: write them where they are used";

/// What of an app can be deployed, and a line for each thing in it that is not served. How long sessions live is not in such a
/// document, and stays as it was `before`.
///
/// # Errors
/// Names what is wrong with its providers or origins.
pub fn imported(fields: &Map<String, Value>, before: &AppContent) -> Result<(AppContent, Vec<String>), SettingsErrors> {
    let mut wrong = SettingsErrors::default();
    let document = Document { file: APP.to_owned(), content: fields.clone() };
    let whole = json!(fields);
    let custom_user_data = ["/auth/custom_user_data", "/custom_user_data_config"].into_iter();
    let custom_user_data = custom_user_data.filter_map(|path| whole.pointer(path)?.as_object()).next().cloned();
    let content = AppContent {
        providers: wrong.take(providers(&whole)).unwrap_or_default(),
        allowed_request_origins: document.origins(&mut wrong),
        refresh_token_expiration_s: before.refresh_token_expiration_s,
        custom_user_data,
    };
    let unserved = UNSERVED.into_iter().filter(|(path, _)| whole.pointer(path).is_some_and(is_something));
    let unserved = unserved.map(|(path, what)| format!("{}: {what}", path[1..].replace('/', ".")));
    wrong.or((content, unserved.collect()))
}

/// By their names: an object of them, or in the older layouts a list.
fn providers(app: &Value) -> Result<std::collections::BTreeMap<String, Value>, SettingsError> {
    let wrong = |reason: &str| SettingsError::of_key(APP, "auth.providers", reason);
    match (app.pointer("/auth/providers"), app.get("auth_providers")) {
        (Some(Value::Object(named)), _) => Ok(named.clone().into_iter().collect()),
        (None | Some(Value::Null), Some(Value::Array(list))) => {
            let name = |provider: &Value| provider.get("name").or(provider.get("type"))?.as_str().map(str::to_owned);
            let named = list.iter().map(|provider| Some((name(provider)?, provider.clone())));
            named.collect::<Option<_>>().ok_or_else(|| wrong("each provider needs its name"))
        }
        (None | Some(Value::Null), None | Some(Value::Null)) => Err(wrong("is missing: nobody could log in")),
        _ => Err(wrong("expected the providers by their names")),
    }
}

/// Whether it configures something that is on.
fn is_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => {
            items.iter().any(|item| is_something(item) && item.get("disabled") != Some(&Value::Bool(true)))
        }
        Value::Object(members) => members.values().any(is_something),
        Value::String(text) => !text.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}
