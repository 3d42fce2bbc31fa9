//! The files of an app folder, one JSON object each.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value};

use super::unique;
use crate::config::{SettingsError, SettingsErrors, canonical_origin, valid_app_id};
use crate::provider::options::is_template;

/// The app's own file, the newest layout first.
pub(super) const ROOTS: [&str; 4] = ["root_config.json", "realm_config.json", "config.json", "stitch.json"];
pub(super) const PROVIDERS: &str = "auth/providers.json";
pub(super) const OLD_PROVIDERS: &str = "auth_providers";

pub(super) const SINGLE_FILE: &str = "the first exports of Stitch (2017) had a whole app in one file, which is not read: export the app anew, or write \
                           its providers into auth/providers.json";

/// The names in a folder, in their order; none if it is not there.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    names
}

/// One JSON object of the folder.
pub(super) struct Document {
    pub(super) file: String,
    pub(super) content: Map<String, Value>,
}

impl Document {
    /// `None` if there is no such file.
    pub(super) fn read(folder: &Path, name: &str) -> Result<Option<Self>, SettingsError> {
        let path = folder.join(name);
        let file = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SettingsError::of_source(file, format!("cannot be read: {error}"))),
        };
        match unique::from_str(text.trim_start_matches('\u{feff}')) {
            Ok(Value::Object(content)) => Ok(Some(Self { file, content })),
            Ok(_) => Err(SettingsError::of_source(file, "expected a JSON object")),
            Err(error) => {
                let (line, column) = (error.line(), error.column());
                let words = error.to_string().replace(&format!(" at line {line} column {column}"), "");
                let reason = if error.is_data() { words } else { format!("is not valid JSON: {words}") };
                Err(SettingsError { place: Some((line, column)), ..SettingsError::of_source(file, reason) })
            }
        }
    }

    fn wrong(&self, key: &str, reason: impl Into<String>) -> SettingsError {
        SettingsError::of_key(&self.file, key, reason)
    }

    pub(super) fn app_id(&self, key: &str) -> Result<Option<String>, SettingsError> {
        match self.content.get(key) {
            None | Some(Value::Null) => Ok(None),
            // a template of an app that was never deployed has none yet
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if valid_app_id(text) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(key, format!("expected 1 to 64 of A-Z a-z 0-9 _ -, found {other}"))),
        }
    }

    /// Whether the app's own file has all of the app in it, and what to do then.
    pub(super) fn is_single_file(&self) -> Option<&'static str> {
        let lists = ["services", "auth_providers", "authProviders", "pipelines"];
        lists.iter().any(|name| matches!(self.content.get(*name), Some(Value::Array(_)))).then_some(SINGLE_FILE)
    }

    /// The origins, which older layouts, and App Services' own importer, keep under `security`.
    pub(super) fn origins(&self, wrong: &mut SettingsErrors) -> Vec<String> {
        const KEY: &str = "allowed_request_origins";
        let security = match self.content.get("security") {
            None | Some(Value::Null) => None,
            Some(Value::Object(security)) => Some(security),
            Some(other) => {
                wrong.push(self.wrong("security", format!("expected an object, found {other}")));
                None
            }
        };
        let of_security = |key: &str| (format!("security.{key}"), security.and_then(|security| security.get(key)));
        let mut origins = Vec::new();
        for (key, found) in [(KEY.to_owned(), self.content.get(KEY)), of_security(KEY), of_security("allowed_origins")]
        {
            let items = match found {
                None | Some(Value::Null) => continue,
                Some(list) if is_template(list) => continue,
                Some(Value::Array(items)) => items,
                Some(other) => {
                    wrong.push(self.wrong(&key, format!("expected a list of origins, found {other}")));
                    continue;
                }
            };
            for item in items {
                let text = item.as_str().ok_or_else(|| format!("expected a list of origins, found {item} in it"));
                match text.and_then(canonical_origin) {
                    Ok(origin) if origins.contains(&origin) => {}
                    Ok(origin) => origins.push(origin),
                    Err(reason) => wrong.push(self.wrong(&key, reason)),
                }
            }
        }
        origins
    }
}
