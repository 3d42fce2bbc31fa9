//! What differs between two apps, in sentences.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::provider::app_folder::AppContent;

/// Characters of a value that are shown.
const LONGEST_SHOWN: usize = 80;

/// A sentence for each change: `anon-user: enabled → disabled`.
pub fn sentences(before: &AppContent, after: &AppContent) -> Vec<String> {
    let mut found = Vec::new();
    let names: BTreeSet<&String> = before.providers.keys().chain(after.providers.keys()).collect();
    for name in names {
        match (before.providers.get(name), after.providers.get(name)) {
            (None, Some(new)) => found.push(format!("{name}: added, {}", state(new))),
            (Some(_), None) => found.push(format!("{name}: removed")),
            (Some(old), Some(new)) => {
                if state(old) != state(new) {
                    found.push(format!("{name}: {} → {}", state(old), state(new)));
                }
                options(name, old, new, &mut found);
            }
            (None, None) => {}
        }
    }
    let (old, new) = (&before.allowed_request_origins, &after.allowed_request_origins);
    let lists = [("added", new, old), ("removed", old, new)];
    for (what, these, those) in lists {
        let only = these.iter().filter(|origin| !those.contains(origin));
        found.extend(only.map(|origin| format!("allowed_request_origins: {origin} {what}")));
    }
    let custom = |app: &AppContent| app.custom_user_data.clone().map_or(Value::Null, Value::Object);
    options("custom_user_data", &custom(before), &custom(after), &mut found);
    found
}

fn state(provider: &Value) -> &'static str {
    if provider.get("disabled") == Some(&Value::Bool(true)) { "disabled" } else { "enabled" }
}

/// The values that differ, by the path that leads to them.
fn options(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let nothing = Map::new();
    let (old_members, new_members) = match (old, new) {
        (Value::Object(old), Value::Object(new)) => (old, new),
        (Value::Object(old), Value::Null) => (old, &nothing),
        (Value::Null, Value::Object(new)) => (&nothing, new),
        _ if old == new => return,
        _ => return found.push(format!("{path}: {} → {}", shown(old), shown(new))),
    };
    let keys: BTreeSet<&String> = old_members.keys().chain(new_members.keys()).collect();
    // that one is said in words
    for key in keys.into_iter().filter(|key| *key != "disabled") {
        let of = |members: &Map<String, Value>| members.get(key).cloned().unwrap_or_default();
        options(&format!("{path}.{key}"), &of(old_members), &of(new_members), found);
    }
}

fn shown(value: &Value) -> String {
    let text = if value.is_null() { "none".to_owned() } else { value.to_string() };
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_change_is_a_sentence_and_what_is_the_same_is_none() {
        let app = |value: Value| serde_json::from_value::<AppContent>(value).unwrap();
        let before = app(json!({
            "providers": {
                "anon-user": { "name": "anon-user", "type": "anon-user", "disabled": false },
                "api-key": { "name": "api-key", "type": "api-key", "disabled": true },
                "local-userpass": { "disabled": false, "config": { "autoConfirm": true, "resetPasswordUrl": "https://a.example" } },
            },
            "allowed_request_origins": ["https://a.example", "https://b.example"],
        }));
        let after = app(json!({
            "providers": {
                "anon-user": { "name": "anon-user", "type": "anon-user", "disabled": true },
                "custom-token": { "disabled": false },
                "local-userpass": { "disabled": false, "config": { "autoConfirm": false, "emailConfirmationUrl": "x".repeat(100) } },
            },
            "allowed_request_origins": ["https://b.example", "https://c.example"],
            "custom_user_data": { "enabled": false },
        }));
        let long = format!("\"{}…", "x".repeat(79));
        assert_eq!(
            sentences(&before, &after),
            [
                "anon-user: enabled → disabled",
                "api-key: removed",
                "custom-token: added, enabled",
                "local-userpass.config.autoConfirm: true → false",
                &format!("local-userpass.config.emailConfirmationUrl: none → {long}"),
                "local-userpass.config.resetPasswordUrl: \"https://a.example\" → none",
                "allowed_request_origins: https://c.example added",
                "allowed_request_origins: https://a.example removed",
                "custom_user_data.enabled: none → false",
            ]
        );
        assert!(sentences(&after, &after).is_empty());
    }
}
