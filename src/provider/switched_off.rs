//! What a provider that is switched off may say: whatever App Services exported, complete or not, but no secret.

use serde_json::{Map, Value};

use super::app_folder::AppContent;
use super::options::SECRET_CONFIG;
use crate::config::secrets::Secrets;

/// Why a text does not stand there.
pub(super) const REASON: &str = "expected the name of a secret (PASSERBY_SECRET_NAME, or in the secrets file), and never the secret \
                                 itself: leave it out as long as the provider is off";

/// Where in a provider's object something stands in the place of a secret's name that names none.
pub(super) fn literals(provider: &Map<String, Value>, secrets: &Secrets) -> Vec<String> {
    let mut found = Vec::new();
    let mut provider = provider.clone();
    take_of(&mut provider, "", secrets, &mut found);
    found
}

/// An app without what may be a secret in its switched-off providers: an earlier version may have stored it, and nobody is to see it.
/// `secrets` reads those that there are.
pub fn without_literals(mut app: AppContent, secrets: impl FnOnce() -> Secrets) -> AppContent {
    let is_off = |provider: &Value| provider["disabled"] == true;
    let nothing = Secrets::default();
    let may_have =
        |provider: &Value| provider.as_object().is_some_and(|provider| !literals(provider, &nothing).is_empty());
    if !app.providers.values().any(|provider| is_off(provider) && may_have(provider)) {
        return app;
    }
    let secrets = secrets();
    for provider in app.providers.values_mut().filter(|provider| is_off(provider)) {
        if let Value::Object(provider) = provider {
            take_of(provider, "", &secrets, &mut Vec::new());
        }
    }
    app
}

/// Takes it out of an object that is in no place for secrets.
fn take_of(object: &mut Map<String, Value>, path: &str, secrets: &Secrets, found: &mut Vec<String>) {
    object.retain(|name, value| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if name == SECRET_CONFIG || is_for_secrets(name) {
            return stays(value, &path, secrets, found);
        }
        match value {
            Value::Object(inside) => take_of(inside, &path, secrets, found),
            Value::Array(items) => {
                for (at, item) in items.iter_mut().enumerate() {
                    if let Value::Object(inside) = item {
                        take_of(inside, &format!("{path}[{at}]"), secrets, found);
                    }
                }
            }
            _ => {}
        }
        true
    });
}

/// Whether an option is one for secrets by its name, also where this server knows no such option.
fn is_for_secrets(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("secret") || name.ends_with("key") || name.ends_with("keys")
}

/// Whether it stays in a place for secrets: a name, or nothing.
fn stays(value: &mut Value, path: &str, secrets: &Secrets, found: &mut Vec<String>) -> bool {
    let stays = match value {
        Value::Null | Value::Bool(_) => true,
        Value::String(text) => text.is_empty() || secrets.may_name(text),
        Value::Number(_) => false,
        Value::Array(items) => {
            let mut at = 0;
            items.retain_mut(|item| {
                at += 1;
                stays(item, &format!("{path}[{}]", at - 1), secrets, found)
            });
            return true;
        }
        Value::Object(inside) => {
            inside.retain(|name, value| stays(value, &format!("{path}.{name}"), secrets, found));
            return true;
        }
    };
    if !stays {
        found.push(path.to_owned());
    }
    stays
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::secrets::Pipes;

    fn secrets() -> Secrets {
        let environment = [("PASSERBY_SECRET_GOOGLE".to_owned(), "hidden".to_owned())];
        Secrets::load(&environment, None, None, &Pipes::default()).unwrap()
    }

    fn object(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands_and_a_name_or_nothing_is_none() {
        for good in [
            json!({}),
            json!({ "config": 7, "metadata_fields": [{ "name": "secret", "required": true }] }),
            json!({ "config": { "clientId": "c", "resetPasswordUrl": "https://app.example" } }),
            json!({ "secret_config": {} }),
            json!({ "secret_config": { "clientSecret": "" } }),
            json!({ "secret_config": { "clientSecret": "google" } }),
            // of a secret that stayed where the app was exported
            json!({ "secret_config": { "clientSecret": "googleClientSecret" } }),
            json!({ "secret_config": { "signingKeys": ["jwt-key2", "OTHER_KEY"] } }),
            json!({ "secret_config": { "signingKeys": [""] } }),
            json!({ "secret_config": null, "config": { "useSecret": true } }),
        ] {
            assert_eq!(literals(&object(good.clone()), &secrets()), Vec::<String>::new(), "{good}");
        }
        for (bad, path) in [
            (json!({ "secret_config": { "clientSecret": "GOCSPX-1" } }), "secret_config.clientSecret"),
            (json!({ "secret_config": { "signingKeys": ["google", "0therKey"] } }), "secret_config.signingKeys[1]"),
            (json!({ "secret_config": { "a": { "b": ["x1y2"] } } }), "secret_config.a.b[0]"),
            (json!({ "secret_config": "x1y2" }), "secret_config"),
            (json!({ "secret_config": { "pin": 1234 } }), "secret_config.pin"),
            (json!({ "config": { "client_secret": "x1y2" } }), "config.client_secret"),
            (json!({ "config": { "apps": [{ "privateKey": "x1y2" }] } }), "config.apps[0].privateKey"),
        ] {
            assert_eq!(literals(&object(bad.clone()), &secrets()), [path], "{bad}");
        }
    }

    #[test]
    fn an_app_is_seen_without_the_literals_of_what_is_off() {
        let app = |provider: Value| {
            let providers = json!({ "providers": { "oauth2-google": provider }, "allowed_request_origins": [] });
            serde_json::from_value::<AppContent>(providers).unwrap()
        };
        let provider = |disabled: bool, secret: Value| json!({ "disabled": disabled, "config": { "clientId": "c" }, "secret_config": secret });
        let seen = |provider: Value| without_literals(app(provider), secrets);
        assert_eq!(seen(provider(true, json!({ "clientSecret": "GOCSPX-1" }))), app(provider(true, json!({}))));
        for kept in
            [provider(true, json!({ "clientSecret": "google" })), provider(false, json!({ "clientSecret": "gone" }))]
        {
            assert_eq!(seen(kept.clone()), app(kept));
        }
    }
}
