//! The providers of the app as they are listed: what is in force, what the draft makes of it, and what can be changed.

use serde_json::{Map, Value, json};

use super::provider_options::{Choice, KNOWN};
use crate::deployment::{App, Draft};
use crate::http::admin::deploying::SET_BY_FILE;
use crate::provider::app_folder::AppContent;
use crate::provider::is_of_app_services;

/// The members of a provider's object that are told by themselves.
const OWN: [&str; 5] = ["name", "type", "disabled", "config", "secret_config"];

/// Each of them: those of App Services in its order, also where they are not configured, then those that only the settings have.
pub(super) fn shown(app: &App, draft: Option<&Draft>) -> Vec<Value> {
    let of_settings: Vec<&str> = app.of_the_settings().collect();
    let known = KNOWN.iter().map(|known| {
        let why = if of_settings.contains(&known.name) {
            Some(format!("{} {SET_BY_FILE}", known.name))
        } else {
            known.not_served.map(str::to_owned)
        };
        provider(app, draft, (known.name, known.title), known.options, why)
    });
    let others = of_settings.iter().filter(|name| KNOWN.iter().all(|known| known.name != **name));
    let others = others.map(|name| provider(app, draft, (name, name), &[], Some(format!("{name} {SET_BY_FILE}"))));
    known.chain(others).collect()
}

fn provider(
    app: &App,
    draft: Option<&Draft>,
    (name, title): (&str, &str),
    options: &[Choice],
    locked_because: Option<String>,
) -> Value {
    let is_of_settings = app.of_the_settings().any(|of_settings| of_settings == name);
    let in_force = if is_of_settings { app.providers.settings_of(name) } else { object(&app.content, name) };
    let mut shown = state(in_force, is_of_settings && !is_of_app_services(name));
    shown.insert("name".to_owned(), json!(name));
    shown.insert("type".to_owned(), json!(name));
    shown.insert("title".to_owned(), json!(title));
    shown.insert("origin".to_owned(), json!(if is_of_settings { "settings" } else { "app" }));
    shown.insert("editable".to_owned(), json!(locked_because.is_none()));
    shown.extend(locked_because.map(|why| ("locked_because".to_owned(), json!(why))));
    shown.insert("options".to_owned(), options.iter().map(Choice::shown).collect());
    let drafted = draft.and_then(|draft| object(&draft.app, name));
    if draft.is_some() && !is_of_settings && drafted != in_force {
        shown.insert("draft".to_owned(), Value::Object(state(drafted, false)));
    }
    Value::Object(shown)
}

fn object<'a>(app: &'a AppContent, name: &str) -> Option<&'a Map<String, Value>> {
    app.providers.get(name).and_then(Value::as_object)
}

/// Whether it is enabled, and how it is configured. An issuer of the settings has its members beside each other there; those that App
/// Services knew have the form of its app folders.
fn state(provider: Option<&Map<String, Value>>, is_issuer: bool) -> Map<String, Value> {
    let get = |name: &str| provider.and_then(|provider| provider.get(name)).cloned();
    let object = |name: &str| get(name).unwrap_or_else(|| json!({}));
    let mut state = Map::new();
    if is_issuer {
        let (secrets, config): (Map<_, _>, Map<_, _>) =
            provider.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).partition(is_secret);
        state.insert("enabled".to_owned(), Value::Bool(true));
        state.insert("config".to_owned(), Value::Object(config));
        state.insert("secret_config".to_owned(), Value::Object(secrets));
        return state;
    }
    let enabled = provider.is_some() && get("disabled") != Some(Value::Bool(true));
    state.insert("enabled".to_owned(), Value::Bool(enabled));
    state.insert("config".to_owned(), object("config"));
    state.insert("secret_config".to_owned(), object("secret_config"));
    let others = provider.into_iter().flatten().filter(|(name, _)| !OWN.contains(&name.as_str()));
    state.extend(others.map(|(name, value)| (name.clone(), value.clone())));
    state.entry("metadata_fields").or_insert_with(|| json!([]));
    state
}

/// The members of the settings' tables that name secrets.
fn is_secret((name, _): &(String, Value)) -> bool {
    name.contains("secret") || name.contains("signing")
}
