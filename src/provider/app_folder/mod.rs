//! Reads an App Services app folder, in any of its layouts: the app's own file, its id, and the providers. What else is in it
//! is found by `unserved`.
//!
//! | layout | the app's own file | providers |
//! |---|---|---|
//! | 2023 | `root_config.json`, with the id in `.mdb/meta.json` | `auth/providers.json` |
//! | 20210101 | `realm_config.json` | `auth/providers.json` |
//! | 20200603 | `config.json` | `auth_providers/NAME.json` |
//! | 20180301 (Stitch) | `stitch.json` | `auth_providers/NAME.json` |

mod content;
mod document;
mod imported;
mod state;
#[cfg(test)]
mod tests;
mod unique;
mod unserved;
mod write;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

pub use self::content::AppContent;
use self::document::{Document, OLD_PROVIDERS, PROVIDERS, ROOTS, SINGLE_FILE, names};
pub use self::imported::imported;
pub use self::state::{FolderState, state};
pub use self::write::{WriteError, write};
use crate::config::{FolderAppId, SettingsError, SettingsErrors, canonical_origin, did_you_mean};
use crate::provider::anon_user::{self, ANON_USER};
use crate::provider::kinds::{is_of_app_services, kind_of, names_of_app_services};

/// How long a session of a lasting account may live, in seconds: half an hour to 180 days, as App Services allowed.
const EXPIRATION_S: RangeInclusive<u32> = 1800..=15_552_000;
/// Where it stands in the app's own file; exports of App Services do not have it.
const EXPIRATION: &str = "refresh_token_expiration_s";

/// What an app folder says. Its providers are checked when they are created.
#[derive(Debug, Clone, PartialEq)]
pub struct AppFolder {
    /// What of it can be deployed.
    pub content: AppContent,
    /// Whether anonymous logins are taken.
    pub anon_user_enabled: bool,
    /// The app id that clients were built with, where the folder tells it.
    pub app_id: Option<String>,
    /// The objects of the enabled providers that prove identities, by name.
    pub identity: BTreeMap<String, Map<String, Value>>,
    /// What is in the folder and not served: a line each, with the file and what to do.
    pub unserved: Vec<String>,
    /// The file of each provider, for errors.
    files: BTreeMap<String, String>,
    /// Whether a file that may tell the app id is wrong.
    is_unreadable: bool,
}

impl Default for AppFolder {
    /// No folder: `anon-user` is enabled.
    fn default() -> Self {
        Self { content: AppContent::default(), anon_user_enabled: true, ..Self::empty() }
    }
}

impl AppFolder {
    fn empty() -> Self {
        Self {
            content: AppContent::nothing(),
            anon_user_enabled: false,
            app_id: None,
            identity: BTreeMap::new(),
            unserved: Vec::new(),
            files: BTreeMap::new(),
            is_unreadable: false,
        }
    }

    /// A folder with this content. `origin` names where the content comes from.
    ///
    /// # Errors
    /// Names the key and the reason of whatever would be wrong in a folder.
    pub fn of(content: &AppContent, origin: &str) -> Result<Self, SettingsErrors> {
        let (mut read, mut wrong) = (Self::empty(), SettingsErrors::default());
        for (key, value) in &content.providers {
            read.add(key, value, origin, &mut wrong);
        }
        for text in &content.allowed_request_origins {
            let found = canonical_origin(text)
                .map_err(|reason| SettingsError::of_key(origin, "allowed_request_origins", reason));
            read.content.allowed_request_origins.extend(wrong.take(found));
        }
        read.content.refresh_token_expiration_s =
            wrong.take(checked_expiration(content.refresh_token_expiration_s, origin)).flatten();
        read.content.custom_user_data.clone_from(&content.custom_user_data);
        wrong.or(read)
    }

    /// What it says of its app id.
    pub fn app_id(&self) -> FolderAppId<'_> {
        match &self.app_id {
            Some(app_id) => FolderAppId::Told(app_id),
            None if self.is_unreadable => FolderAppId::Unreadable,
            None => FolderAppId::Untold,
        }
    }

    /// The file that configures a provider, for errors.
    pub fn file_of(&self, provider: &str) -> &str {
        self.files.get(provider).map_or("", String::as_str)
    }

    /// Takes one provider's object. One that is in no file is off.
    fn add(&mut self, key: &str, value: &Value, file: &str, faults: &mut SettingsErrors) {
        let mut wrong = |key: &str, reason: String| faults.push(SettingsError::of_key(file, key, reason));
        let Some(kind) = kind_of(key).filter(|_| is_of_app_services(key)) else {
            return wrong(key, format!("there is no such provider{}", did_you_mean(key, names_of_app_services())));
        };
        let proves = kind.read.is_some();
        let Value::Object(options) = value else {
            return wrong(key, format!("expected an object, found {value}"));
        };
        for label in ["type", "name"] {
            if let Some(value) = options.get(label).filter(|value| *value != key) {
                let reason = format!("expected {key:?} as in the provider's key, found {value}");
                wrong(&format!("{key}.{label}"), reason);
            }
        }
        let disabled = match options.get("disabled") {
            None => false,
            Some(Value::Bool(disabled)) => *disabled,
            Some(other) => {
                wrong(&format!("{key}.disabled"), format!("expected true or false, found {other}"));
                true
            }
        };
        // exports of the older layouts have the object's id in it
        let mut options: Map<_, _> =
            options.clone().into_iter().filter(|(option, _)| !matches!(option.as_str(), "id" | "_id")).collect();
        for (label, value) in [("name", key.into()), ("type", key.into()), ("disabled", Value::Bool(disabled))] {
            options.entry(label).or_insert(value);
        }
        self.content.providers.insert(key.to_owned(), Value::Object(options.clone()));
        self.files.insert(key.to_owned(), file.to_owned());
        if key == ANON_USER {
            for option in options.keys().filter(|option| !anon_user::OPTIONS.contains(&option.as_str())) {
                let reason = "there is no such option, anon-user has only name, type and disabled";
                wrong(&format!("{key}.{option}"), reason.to_owned());
            }
            self.anon_user_enabled = !disabled;
        } else if proves && !disabled {
            self.identity.insert(key.to_owned(), options);
        } else if !disabled {
            let reason = "is enabled, but this server does not have that provider: set \"disabled\" to true";
            wrong(key, reason.to_owned());
        }
    }
}

/// How long a session of a lasting account lives, if it may be so long.
fn checked_expiration(seconds: Option<u32>, origin: &str) -> Result<Option<u32>, SettingsError> {
    match seconds {
        Some(other) if !EXPIRATION_S.contains(&other) => {
            let reason = format!("expected {} to {} seconds, found {other}", EXPIRATION_S.start(), EXPIRATION_S.end());
            Err(SettingsError::of_key(origin, EXPIRATION, reason))
        }
        seconds => Ok(seconds),
    }
}

/// Why it is not an app folder at all, if it is not.
pub fn why_none(folder: &Path) -> Option<String> {
    if folder.is_dir() {
        None
    } else if folder.is_file() {
        Some(format!("is a file, and not a folder: {SINGLE_FILE}"))
    } else {
        Some("is not a folder".to_owned())
    }
}

/// Reads the app folder `folder`. Whatever is wrong is added to `wrong`, with file, key and reason: a file that is missing or
/// broken, an option that would have to be ignored, a provider that is enabled there and not built here. `None` if it is no
/// folder.
pub fn read(folder: &Path, wrong: &mut SettingsErrors) -> Option<AppFolder> {
    if let Some(reason) = why_none(folder) {
        wrong.push(SettingsError::of_source(folder.display().to_string(), reason));
        return None;
    }
    let mut read = AppFolder::empty();
    let mut of_app = SettingsErrors::default();
    let mut document = |name: &str| of_app.take(Document::read(folder, name)).flatten();
    let root = ROOTS.iter().find_map(|name| document(name));
    let meta = document(".mdb/meta.json");
    if let Some(root) = &root {
        read.app_id = of_app.take(root.app_id("app_id")).flatten();
    }
    if let Some(meta) = &meta {
        read.app_id = of_app.take(meta.app_id("client_app_id")).flatten().or(read.app_id);
    }
    read.is_unreadable = !of_app.is_empty();
    wrong.extend(of_app);
    if let Some(root) = &root {
        read.content.allowed_request_origins = root.origins(wrong);
        let seconds = root.content.get(EXPIRATION).map(|value| {
            let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
            let reason = || format!("expected a number of seconds, found {value}");
            seconds.ok_or_else(|| SettingsError::of_key(&root.file, EXPIRATION, reason()))
        });
        let seconds = wrong.take(seconds.transpose()).flatten();
        read.content.refresh_token_expiration_s = wrong.take(checked_expiration(seconds, &root.file)).flatten();
        if let Some(reason) = root.is_single_file() {
            wrong.push(SettingsError::of_source(&root.file, reason));
            return Some(read);
        }
    }
    match wrong.take(Document::read(folder, PROVIDERS)) {
        Some(Some(providers)) => {
            for (key, value) in &providers.content {
                read.add(key, value, &providers.file, wrong);
            }
        }
        Some(None) => read_old_providers(folder, &mut read, wrong),
        None => {}
    }
    read.content.custom_user_data = unserved::custom_user_data(folder, root.as_ref());
    read.unserved = unserved::find(folder, root.as_ref());
    Some(read)
}

/// The older layouts' folder with a file for each provider.
fn read_old_providers(folder: &Path, read: &mut AppFolder, wrong: &mut SettingsErrors) {
    let names = names(&folder.join(OLD_PROVIDERS));
    let files: Vec<_> = names.iter().filter(|name| name.ends_with(".json")).collect();
    if files.is_empty() {
        wrong.push(SettingsError::of_source(folder.join(PROVIDERS).display().to_string(), "is missing"));
    }
    for name in files {
        let Some(Some(file)) = wrong.take(Document::read(folder, &format!("{OLD_PROVIDERS}/{name}"))) else { continue };
        let key = name.trim_end_matches(".json").to_owned();
        let key = file.content.get("name").and_then(Value::as_str).map_or(key, str::to_owned);
        read.add(&key, &Value::Object(file.content), &file.file, wrong);
    }
}
