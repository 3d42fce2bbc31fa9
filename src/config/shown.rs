//! The settings in force, one by one: the value of each, where it comes from, and what it may be.

use ::config::{Value as Found, ValueKind};
use serde::Serialize;
use serde_json::Value;

use super::load::{Loaded, find};
use super::meters;
use super::table::{Fallback, Setting, TABLE};

/// Settings whose value may hold a key: that they are set is all that is shown.
const MAY_HOLD_A_KEY: &[&str] = &["mail.webhook"];

/// What kind of source set a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SetBy {
    /// Nothing: what holds then does.
    Default,
    /// `passerby.toml`.
    File,
    /// The app folder of the start.
    AppFolder,
    /// The app in force.
    Deployment,
    /// A variable of the environment.
    Environment,
    /// The command line.
    Flag,
}

/// A setting in force. No secret is in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// Its key in `passerby.toml`.
    pub name: String,
    /// The value in its one form, times in seconds and sizes in bytes; null if nothing is set; `"set"` of what may hold a key.
    pub value: Value,
    /// What set it.
    pub origin: SetBy,
    /// Where that is: a file with the line, a variable, a flag, the number of a deployment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What holds where nothing is set, in words.
    pub default: String,
    /// What a number counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<&'static str>,
    /// What it may be, in words.
    pub range: String,
    /// What it does, in one sentence.
    pub help: &'static str,
}

impl Loaded {
    /// Every setting, then what `passerby.toml` says of providers and meters.
    pub fn shown(&self) -> Vec<Shown> {
        let mut shown: Vec<_> = TABLE.iter().map(|setting| self.of_setting(setting)).collect();
        let of_tables = self.provider_tables.values().into_iter().chain(self.meters.iter().flat_map(meters::values));
        shown.extend(of_tables.map(|of_table| {
            let super::tables::InTable { key, value, explained } = of_table;
            let (origin, place) = match &self.source {
                Some(source) => (SetBy::File, Some(source.name_of(&key))),
                None => (SetBy::Default, None),
            };
            let (range, default, help) = explained.map_or(("", "", ""), |of| (of.range, of.default, of.about));
            Shown { name: key, value, origin, place, default: default.into(), unit: None, range: range.into(), help }
        }));
        shown
    }

    fn of_setting(&self, setting: &Setting) -> Shown {
        let found = find(&self.merged, setting.key);
        let value = match found {
            Some(_) if MAY_HOLD_A_KEY.contains(&setting.key) => Value::from("set"),
            Some(found) => json(found),
            None => Value::Null,
        };
        let (origin, place) = self.set_by(setting.key, found.and_then(Found::origin));
        Shown {
            name: setting.key.to_owned(),
            value,
            origin,
            place,
            default: match setting.default {
                Fallback::Value(text) | Fallback::Unset(text) => text.to_owned(),
            },
            unit: setting.unit,
            range: setting.kind.range(),
            help: setting.about,
        }
    }

    fn set_by(&self, key: &str, origin: Option<&str>) -> (SetBy, Option<String>) {
        let Some(origin) = origin else { return (SetBy::Default, None) };
        if let Some(source) = self.source.as_ref().filter(|source| source.name == origin) {
            return (SetBy::File, Some(source.name_of(key)));
        }
        if self.adopted.as_deref() == Some(origin) {
            return (SetBy::AppFolder, Some(origin.to_owned()));
        }
        match (origin.strip_prefix("environment variable "), origin.strip_prefix("flag ")) {
            (Some(variable), _) => (SetBy::Environment, Some(variable.to_owned())),
            (_, Some(flag)) => (SetBy::Flag, Some(flag.to_owned())),
            _ => (SetBy::Default, None),
        }
    }
}

fn json(value: &Found) -> Value {
    match &value.kind {
        ValueKind::Nil => Value::Null,
        ValueKind::Boolean(on) => Value::from(*on),
        ValueKind::I64(number) => Value::from(*number),
        ValueKind::U64(number) => Value::from(*number),
        ValueKind::Float(number) => Value::from(*number),
        ValueKind::Array(items) => items.iter().map(json).collect(),
        // no setting is any of these
        ValueKind::I128(_) | ValueKind::U128(_) | ValueKind::Table(_) => Value::Null,
        ValueKind::String(text) => Value::from(text.as_str()),
    }
}
