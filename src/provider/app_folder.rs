//! Reads an App Services app folder: `root_config.json` (or `realm_config.json`) and `auth/providers.json`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::{Map, Value};

use crate::config::{SettingsError, canonical_origin, valid_app_id};
use crate::provider::{ANON_USER, IDENTITY_PROVIDERS, NOT_BUILT};

const ANON_USER_OPTIONS: [&str; 3] = ["name", "type", "disabled"];

/// What an app folder says. Its providers are checked when they are made.
#[derive(Debug, Clone, PartialEq)]
pub struct AppFolder {
    /// Whether anonymous logins are taken.
    pub anon_user_enabled: bool,
    /// Origins that browsers may call from, in the form they send; empty allows any.
    pub allowed_request_origins: Vec<String>,
    /// The app id that clients were built with, where the folder tells it.
    pub app_id: Option<String>,
    /// The file with the providers, for errors.
    pub providers_file: String,
    /// The objects of the enabled [`IDENTITY_PROVIDERS`] there, by name.
    pub identity: BTreeMap<String, Map<String, Value>>,
}

impl Default for AppFolder {
    /// No folder: `anon-user` is enabled.
    fn default() -> Self {
        Self {
            anon_user_enabled: true,
            allowed_request_origins: Vec::new(),
            app_id: None,
            providers_file: String::new(),
            identity: BTreeMap::new(),
        }
    }
}

/// Reads the app folder `folder`.
///
/// # Errors
/// Names file, key and reason: a file that is missing or broken, an option that would have to be ignored, a provider
/// that is enabled there and not built here.
pub fn read(folder: &Path) -> Result<AppFolder, SettingsError> {
    if !folder.is_dir() {
        return Err(SettingsError::of_source(folder.display().to_string(), "is not a folder"));
    }
    let (mut app_id, allowed_request_origins) = read_root(folder)?;
    if let Some(meta) = Document::read(folder, ".mdb/meta.json")? {
        app_id = meta.app_id("client_app_id")?.or(app_id);
    }
    let providers = Document::read(folder, "auth/providers.json")?.ok_or_else(|| {
        SettingsError::of_source(folder.join("auth/providers.json").display().to_string(), "is missing")
    })?;
    let (anon_user_enabled, identity) = enabled(&providers)?;
    Ok(AppFolder { anon_user_enabled, allowed_request_origins, app_id, providers_file: providers.file, identity })
}

/// App id and origins; the newer of the two files counts if both are there.
fn read_root(folder: &Path) -> Result<(Option<String>, Vec<String>), SettingsError> {
    let root = match Document::read(folder, "root_config.json")? {
        Some(root) => Some(root),
        None => Document::read(folder, "realm_config.json")?,
    };
    root.map_or(Ok((None, Vec::new())), |root| Ok((root.app_id("app_id")?, root.origins()?)))
}

/// The enabled providers and their objects.
type Enabled = (bool, BTreeMap<String, Map<String, Value>>);

/// Looks at every provider: whether `anon-user` is on, and those that prove identities. One that is not in the file is off.
fn enabled(providers: &Document) -> Result<Enabled, SettingsError> {
    let (mut anon_user, mut identity) = (false, BTreeMap::new());
    for (key, value) in &providers.content {
        let proves = IDENTITY_PROVIDERS.contains(&key.as_str());
        if key != ANON_USER && !proves && !NOT_BUILT.contains(&key.as_str()) {
            return Err(providers.wrong(key, "there is no such provider"));
        }
        let Value::Object(options) = value else {
            return Err(providers.wrong(key, format!("expected an object, found {value}")));
        };
        for label in ["type", "name"] {
            match options.get(label) {
                Some(value) if value != key.as_str() => {
                    let reason = format!("expected {key:?} as in the provider's key, found {value}");
                    return Err(providers.wrong(&format!("{key}.{label}"), reason));
                }
                _ => {}
            }
        }
        let disabled = match options.get("disabled") {
            None => false,
            Some(Value::Bool(disabled)) => *disabled,
            Some(other) => {
                let reason = format!("expected true or false, found {other}");
                return Err(providers.wrong(&format!("{key}.disabled"), reason));
            }
        };
        if key == ANON_USER {
            if let Some(option) = options.keys().find(|option| !ANON_USER_OPTIONS.contains(&option.as_str())) {
                let reason = "there is no such option, anon-user has only name, type and disabled";
                return Err(providers.wrong(&format!("{key}.{option}"), reason));
            }
            anon_user = !disabled;
        } else if proves && !disabled {
            identity.insert(key.clone(), options.clone());
        } else if !disabled {
            let reason = "is enabled, but this server does not have that provider: set \"disabled\" to true";
            return Err(providers.wrong(key, reason));
        }
    }
    Ok((anon_user, identity))
}

/// One JSON object of the folder.
struct Document {
    file: String,
    content: Map<String, Value>,
}

impl Document {
    /// `None` if there is no such file.
    fn read(folder: &Path, name: &str) -> Result<Option<Self>, SettingsError> {
        let path = folder.join(name);
        let file = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(SettingsError::of_source(file, format!("cannot be read: {error}"))),
        };
        match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
            Ok(Value::Object(content)) => Ok(Some(Self { file, content })),
            Ok(_) => Err(SettingsError::of_source(file, "expected a JSON object")),
            Err(error) => Err(SettingsError::of_source(file, format!("is not valid JSON: {error}"))),
        }
    }

    fn wrong(&self, key: &str, reason: impl Into<String>) -> SettingsError {
        SettingsError::of_key(&self.file, key, reason)
    }

    fn app_id(&self, key: &str) -> Result<Option<String>, SettingsError> {
        match self.content.get(key) {
            None | Some(Value::Null) => Ok(None),
            // a template of an app that was never deployed has none yet
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) if valid_app_id(text) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(key, format!("expected 1 to 64 of A-Z a-z 0-9 _ -, found {other}"))),
        }
    }

    fn origins(&self) -> Result<Vec<String>, SettingsError> {
        const KEY: &str = "allowed_request_origins";
        let items = match self.content.get(KEY) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(self.wrong(KEY, format!("expected a list of origins, found {other}"))),
        };
        items
            .iter()
            .map(|item| match item {
                Value::String(text) => canonical_origin(text).map_err(|reason| self.wrong(KEY, reason)),
                other => Err(self.wrong(KEY, format!("expected a list of origins, found {other} in it"))),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file's name and text.
    type Named<'a> = (&'a str, &'a str);
    /// A folder's files; whether `anon-user` is on; origins; app id.
    type Case<'a> = (&'a [Named<'a>], bool, &'a [&'a str], Option<&'a str>);

    fn folder(files: &[Named]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn without_a_folder_only_anonymous_logins_are_on() {
        let none = AppFolder::default();
        assert!(none.anon_user_enabled && none.identity.is_empty() && none.app_id.is_none());
    }

    #[test]
    fn a_folder_says_what_is_on() {
        const ON: Named =
            ("auth/providers.json", r#"{"anon-user":{"name":"anon-user","type":"anon-user","disabled":false}}"#);
        let off = r#"{"anon-user":{"name":"anon-user","type":"anon-user","disabled":true}}"#;
        let others_off = r#"{"api-key":{"name":"api-key","type":"api-key","disabled":true},
            "local-userpass":{"name":"local-userpass","type":"local-userpass","config":{},"disabled":true}}"#;
        let cases: &[Case] = &[
            (&[ON], true, &[], None),
            (&[("auth/providers.json", off)], false, &[], None),
            (&[("auth/providers.json", r#"{"anon-user":{}}"#)], true, &[], None),
            (&[("auth/providers.json", "{}")], false, &[], None),
            (&[("auth/providers.json", others_off)], false, &[], None),
            (
                &[ON, ("root_config.json", r#"{"name":"x","allowed_request_origins":["https://A.example:443/"]}"#)],
                true,
                &["https://a.example"],
                None,
            ),
            (
                &[ON, ("realm_config.json", r#"{"config_version":20210101,"app_id":"todo-abcde"}"#)],
                true,
                &[],
                Some("todo-abcde"),
            ),
            (
                &[
                    ON,
                    ("root_config.json", r#"{"name":"x"}"#),
                    ("realm_config.json", r#"{"app_id":"old-abcde"}"#),
                    (".mdb/meta.json", r#"{"config_version":20230101,"app_id":"0","client_app_id":"new-abcde"}"#),
                ],
                true,
                &[],
                Some("new-abcde"),
            ),
        ];
        for (files, enabled, origins, app_id) in cases {
            let providers = read(folder(files).path()).unwrap();
            assert_eq!(providers.anon_user_enabled, *enabled, "{files:?}");
            assert_eq!(providers.allowed_request_origins, *origins, "{files:?}");
            assert_eq!(providers.app_id.as_deref(), *app_id, "{files:?}");
        }
    }

    #[test]
    fn providers_that_prove_identities_are_found_if_they_are_enabled() {
        let text = r#"{"custom-token":{"name":"custom-token","type":"custom-token","disabled":false,"config":{}},
            "oauth2-google":{"disabled":true,"config":7},"oauth2-apple":{}}"#;
        let folder = folder(&[("auth/providers.json", text)]);
        let read = read(folder.path()).unwrap();
        assert_eq!(read.identity.keys().collect::<Vec<_>>(), ["custom-token", "oauth2-apple"]);
        assert!(read.identity["custom-token"].contains_key("config"));
        assert_eq!(read.providers_file, folder.path().join("auth/providers.json").display().to_string());
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_file_key_and_reason() {
        let cases = [
            (
                r#"{"anon-user":{"name":"anon-user","type":"anon-user","disabled":false,"config":{}}}"#,
                "anon-user.config: there is no such option, anon-user has only name, type and disabled",
            ),
            (
                r#"{"anon-user":{"name":"guest","type":"anon-user","disabled":false}}"#,
                r#"anon-user.name: expected "anon-user" as in the provider's key, found "guest""#,
            ),
            (
                r#"{"anon-user":{"name":"anon-user","type":"api-key","disabled":false}}"#,
                r#"anon-user.type: expected "anon-user" as in the provider's key, found "api-key""#,
            ),
            (r#"{"anon-user":{"disabled":"yes"}}"#, r#"anon-user.disabled: expected true or false, found "yes""#),
            (r#"{"anon-user":true}"#, "anon-user: expected an object, found true"),
            (r#"{"anon_user":{}}"#, "anon_user: there is no such provider"),
            (
                r#"{"custom-function":{"name":"custom-function","type":"custom-function","disabled":false}}"#,
                r#"custom-function: is enabled, but this server does not have that provider: set "disabled" to true"#,
            ),
            (
                r#"{"oauth2-facebook":{"name":"oauth2-facebook","type":"oauth2-facebook"}}"#,
                r#"oauth2-facebook: is enabled, but this server does not have that provider: set "disabled" to true"#,
            ),
            (r#"{"anon-user":{"disabled":true}"#, "is not valid JSON: EOF while parsing an object at line 1 column 30"),
            ("[]", "expected a JSON object"),
        ];
        for (text, expected) in cases {
            let folder = folder(&[("auth/providers.json", text)]);
            let file = folder.path().join("auth/providers.json");
            assert_eq!(read(folder.path()).unwrap_err().to_string(), format!("{}: {expected}", file.display()));
        }
        for provider in NOT_BUILT {
            let folder = folder(&[("auth/providers.json", &format!(r#"{{"{provider}":{{"disabled":false}}}}"#))]);
            assert!(read(folder.path()).unwrap_err().to_string().contains(&format!(": {provider}: is enabled")));
        }
    }

    #[test]
    fn the_other_files_are_checked_too() {
        const OFF: Named = ("auth/providers.json", "{}");
        let cases = [
            (("root_config.json", "{"), "is not valid JSON: EOF while parsing an object at line 1 column 1"),
            (
                ("root_config.json", r#"{"allowed_request_origins":"*"}"#),
                r#"allowed_request_origins: expected a list of origins, found "*""#,
            ),
            (
                ("realm_config.json", r#"{"allowed_request_origins":["https://a.example/path"]}"#),
                "allowed_request_origins: \"https://a.example/path\" is not an origin: expected scheme://host[:port] \
                 and no more",
            ),
            (
                ("realm_config.json", r#"{"allowed_request_origins":[1]}"#),
                "allowed_request_origins: expected a list of origins, found 1 in it",
            ),
            (
                ("realm_config.json", r#"{"app_id":"a b"}"#),
                "app_id: expected 1 to 64 of A-Z a-z 0-9 _ -, found \"a b\"",
            ),
            (
                (".mdb/meta.json", r#"{"client_app_id":7}"#),
                "client_app_id: expected 1 to 64 of A-Z a-z 0-9 _ -, found 7",
            ),
        ];
        for (file, expected) in cases {
            let folder = folder(&[OFF, file]);
            let path = folder.path().join(file.0);
            assert_eq!(read(folder.path()).unwrap_err().to_string(), format!("{}: {expected}", path.display()));
        }
    }

    #[test]
    fn a_folder_without_its_files_is_refused() {
        let empty = folder(&[]);
        let file = empty.path().join("auth/providers.json");
        assert_eq!(read(empty.path()).unwrap_err().to_string(), format!("{}: is missing", file.display()));
        let nowhere = empty.path().join("nowhere");
        assert_eq!(read(&nowhere).unwrap_err().to_string(), format!("{}: is not a folder", nowhere.display()));
    }
}
