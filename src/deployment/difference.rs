//! What differs between two apps: in sentences, and line by line.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::provider::app_folder::AppContent;

/// Characters of a value that are shown.
const LONGEST_SHOWN: usize = 80;
/// Characters of a sentence: names in an app may be long, too.
const LONGEST_SENTENCE: usize = 400;

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
                // whether it is disabled was said in words
                let of = |provider: &Value| match provider {
                    Value::Object(all) => {
                        let rest = all.iter().filter(|(key, _)| *key != "disabled");
                        Value::Object(rest.map(|(key, value)| (key.clone(), value.clone())).collect())
                    }
                    other => other.clone(),
                };
                options(name, &of(old), &of(new), &mut found);
            }
            (None, None) => {}
        }
    }
    let (old, new) = (&before.allowed_request_origins, &after.allowed_request_origins);
    let before_origins = found.len();
    let lists = [("added", new, old), ("removed", old, new)];
    for (what, these, those) in lists {
        let only = these.iter().filter(|origin| !those.contains(origin));
        found.extend(only.map(|origin| format!("allowed_request_origins: {origin} {what}")));
    }
    // of the same origins in another order
    if found.len() == before_origins && old != new {
        found.push("allowed_request_origins: in another order".to_owned());
    }
    let expiration = |app: &AppContent| json!(app.refresh_token_expiration_s);
    options("refresh_token_expiration_s", &expiration(before), &expiration(after), &mut found);
    let custom = |app: &AppContent| app.custom_user_data.clone().map_or(Value::Null, Value::Object);
    options("custom_user_data", &custom(before), &custom(after), &mut found);
    if found.is_empty() && before != after {
        found.push("the same values, written in another way".to_owned());
    }
    for sentence in &mut found {
        if let Some((end, _)) = sentence.char_indices().nth(LONGEST_SENTENCE) {
            sentence.truncate(end);
            sentence.push('…');
        }
    }
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
    for key in keys {
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

/// A line of an app's JSON, and whether it is in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it is.
    pub of: Side,
    /// Without its end.
    pub text: String,
}

/// In which of two apps a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In the one before alone.
    Before,
    /// In both.
    Both,
    /// In the one after alone.
    After,
}

/// Beyond so many pairs of lines that may be the same, none are looked for.
const MOST_PAIRS: usize = 4_000_000;

/// Both apps' JSON line by line: what is gone stands before what is new in its place.
pub fn lines(before: &AppContent, after: &AppContent) -> Vec<Line> {
    let pretty = |app: &AppContent| format!("{:#}", json!(app));
    let (old, new) = (pretty(before), pretty(after));
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let begin = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let (old_rest, new_rest) = (&old[begin..], &new[begin..]);
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old_middle, new_middle) = (&old_rest[..old_rest.len() - end], &new_rest[..new_rest.len() - end]);
    let mut found = Vec::new();
    let mut add = |of, texts: &[&str]| {
        found.extend(texts.iter().map(|text| Line { of, text: (*text).to_owned() }));
    };
    add(Side::Both, &old[..begin]);
    middle(old_middle, new_middle, &mut add);
    add(Side::Both, &old_rest[old_middle.len()..]);
    found
}

/// By a longest common subsequence of lines.
fn middle(old: &[&str], new: &[&str], add: &mut impl FnMut(Side, &[&str])) {
    let width = new.len() + 1;
    if (old.len() + 1).saturating_mul(width) > MOST_PAIRS {
        add(Side::Before, old);
        return add(Side::After, new);
    }
    // how long it is from each pair of places on
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i * width + j] = if old[i] == new[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            add(Side::Both, &old[i..=i]);
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            add(Side::Before, &old[i..=i]);
            i += 1;
        } else {
            add(Side::After, &new[j..=j]);
            j += 1;
        }
    }
    add(Side::Before, &old[i..]);
    add(Side::After, &new[j..]);
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
            "refresh_token_expiration_s": 3600,
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
                "refresh_token_expiration_s: none → 3600",
                "custom_user_data.enabled: none → false",
            ]
        );
        assert!(sentences(&after, &after).is_empty());
    }

    #[test]
    fn no_difference_is_without_a_sentence_and_no_sentence_is_without_an_end() {
        let app = |config: Value, origins: &[&str]| {
            let providers = json!({ "providers": { "custom-function": { "disabled": true, "config": config } }, "allowed_request_origins": origins });
            serde_json::from_value::<AppContent>(providers).unwrap()
        };
        let (a, b) = ("https://a.example", "https://b.example");
        for (before, after, expected) in [
            (app(json!({}), &[a, b]), app(json!({}), &[b, a]), "allowed_request_origins: in another order"),
            (
                app(json!({ "disabled": true }), &[]),
                app(json!({ "disabled": false }), &[]),
                "custom-function.config.disabled: true → false",
            ),
            (app(json!({}), &[]), app(Value::Null, &[]), "the same values, written in another way"),
        ] {
            assert_eq!(sentences(&before, &after), [expected]);
        }
        let long = app(json!({ "x".repeat(100_000): 1 }), &[]);
        assert_eq!(sentences(&app(json!({}), &[]), &long)[0].chars().count(), LONGEST_SENTENCE + 1);
    }

    #[test]
    fn lines_say_what_is_gone_and_what_is_new_and_keep_the_order_of_both() {
        let (before, mut after) = (AppContent::default(), AppContent::default());
        after.set_enabled("anon-user", false);
        after.set_enabled("api-key", true);
        let found = lines(&before, &after);
        let of = |sides: [Side; 2]| {
            let texts = found.iter().filter(|line| sides.contains(&line.of)).map(|line| format!("{}\n", line.text));
            serde_json::from_str::<AppContent>(&texts.collect::<String>()).unwrap()
        };
        assert_eq!(of([Side::Before, Side::Both]), before);
        assert_eq!(of([Side::After, Side::Both]), after);
        let gone: Vec<_> = found.iter().filter(|line| line.of == Side::Before).map(|line| line.text.trim()).collect();
        assert_eq!(gone, ["\"disabled\": false,"]);
        assert!(lines(&after, &after).iter().all(|line| line.of == Side::Both));
        // too much to compare: all of it is said
        let many = |letter: &str| {
            let origins = (0..3000).map(|at| format!("https://{letter}{at}.example"));
            AppContent { allowed_request_origins: origins.collect(), ..AppContent::default() }
        };
        let found = lines(&many("a"), &many("b"));
        assert_eq!(found.iter().filter(|line| line.of == Side::After).count(), 3000);
    }
}
