//! Reads the layers, each checked by itself so that an error names its source, and puts them on top of each other.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ::config::builder::DefaultState;
use ::config::{Config, ConfigBuilder, File, FileFormat, Map, Value, ValueKind};

use super::kind::described;
use super::table::{Fallback, Setting, TABLE};
use super::tables::ProviderTables;
use super::{MeterRule, Settings, SettingsError, meters};

/// The file that is read if it exists and no other is named.
pub const DEFAULT_FILE: &str = "passerby.toml";
/// Holds the passphrase of `keys export` and `keys import`; with [`SECRET_ENV_PREFIX`] the `PASSERBY_` variables that are no
/// settings.
pub const PASSPHRASE_ENV: &str = "PASSERBY_PASSPHRASE";
/// Begins the variables that hold secrets of providers: `my-key` is read from `PASSERBY_SECRET_MY_KEY`.
pub const SECRET_ENV_PREFIX: &str = "PASSERBY_SECRET_";

/// Meters by name.
type Meters = std::collections::BTreeMap<String, MeterRule>;

type Layers = ConfigBuilder<DefaultState>;

/// Which file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigFile {
    /// This one; it must exist.
    Named(PathBuf),
    /// This one, if it exists.
    IfPresent(PathBuf),
}

/// The settings and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    layers: Layers,
    merged: Value,
    settings: Settings,
    provider_tables: ProviderTables,
    meters: Meters,
}

impl Loaded {
    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The providers that `passerby.toml` configures.
    pub fn provider_tables(&self) -> &ProviderTables {
        &self.provider_tables
    }

    /// Takes app id and origins of an app folder (`origin` names it) where nothing else sets them.
    ///
    /// # Errors
    /// If one of them is not acceptable as a setting.
    pub fn adopt(self, origin: &str, app_id: Option<&str>, origins: &[String]) -> Result<Self, SettingsError> {
        let mut layers = self.layers;
        if let Some(app_id) = app_id {
            layers = put(layers, Layer::Lowest, origin, "app_id", &ValueKind::from(app_id))?;
        }
        if !origins.is_empty() {
            layers = put(layers, Layer::Lowest, origin, "allowed_origins", &ValueKind::from(origins.to_vec()))?;
        }
        resolve(layers, self.provider_tables, self.meters)
    }

    /// The settings in force, as lines of TOML with the source of each.
    pub fn effective(&self) -> String {
        let settings = TABLE.iter().map(|setting| match (find(&self.merged, setting.key), setting.default) {
            (Some(value), _) => {
                format!("{} = {} # {}\n", setting.key, toml(&value.kind), value.origin().unwrap_or("default"))
            }
            (None, Fallback::Unset(meaning) | Fallback::Value(meaning)) => {
                format!("# {} is not set: {meaning}\n", setting.key)
            }
        });
        settings.chain([self.provider_tables.effective()]).chain(self.meters.iter().map(meters::effective)).collect()
    }
}

/// The variables of the environment that concern us, from `std::env::vars_os()` or a test's list.
///
/// # Errors
/// If the value of one of them is not UTF-8.
pub fn environment<N, V>(variables: impl IntoIterator<Item = (N, V)>) -> Result<Vec<(String, String)>, SettingsError>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into().into_string().ok()?, value.into())))
        .filter(|(name, _)| name.starts_with("PASSERBY_"))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(SettingsError::of_source(variable(&name), "is not valid UTF-8")),
        })
        .collect()
}

/// Reads all layers: defaults, file, environment (of [`environment`]), flags (by key).
///
/// # Errors
/// The first unknown name or wrong value, whichever layer it is in, even if a higher one overrides it.
pub fn load(
    file: &ConfigFile,
    environment: &[(String, String)],
    flags: &[(&'static str, String)],
) -> Result<Loaded, SettingsError> {
    let (mut layers, provider_tables, meters) = add_file(built_in()?, file)?;
    let is_setting = |name: &str| name != PASSPHRASE_ENV && !name.starts_with(SECRET_ENV_PREFIX);
    for (name, text) in environment.iter().filter(|(name, _)| is_setting(name)) {
        match TABLE.iter().find(|setting| setting.env() == *name) {
            Some(setting) => {
                layers = put(layers, Layer::Higher, &variable(name), setting.key, &setting.kind.typed(text))?;
            }
            None if is_service_link(name) => {}
            None => return Err(SettingsError::of_source(variable(name), NO_SUCH)),
        }
    }
    for (key, text) in flags {
        let setting = Setting::by_key(key).filter(|setting| setting.has_flag);
        let (Some(setting), flag) = (setting, format!("flag --{}", key.replace('_', "-"))) else {
            return Err(SettingsError::of_key("flags", *key, NO_SUCH));
        };
        layers = put(layers, Layer::Higher, &flag, key, &setting.kind.typed(text))?;
    }
    resolve(layers, provider_tables, meters)
}

pub(super) const NO_SUCH: &str = "there is no such setting, see `passerby config --explain`";

fn variable(name: &str) -> String {
    format!("environment variable {name}")
}

/// Kubernetes sets such variables in every pod beside a service whose name begins with `passerby`.
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.split("_PORT_").skip(1).any(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn add_file(layers: Layers, file: &ConfigFile) -> Result<(Layers, ProviderTables, Meters), SettingsError> {
    let (mut providers, mut meters) = (ProviderTables::default(), Meters::new());
    let (ConfigFile::Named(path) | ConfigFile::IfPresent(path)) = file;
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && matches!(file, ConfigFile::IfPresent(_)) => {
            return Ok((layers, providers, meters));
        }
        Err(error) => return Err(SettingsError::of_source(name, format!("cannot be read: {error}"))),
    };
    let parsed = Config::builder()
        .add_source(File::from_str(text.trim_start_matches('\u{feff}'), FileFormat::Toml))
        .build()
        .map_err(|error| SettingsError::of_source(&name, syntax_error(&error.to_string())))?;
    let ValueKind::Table(mut table) = parsed.cache.kind else { return Ok((layers, providers, meters)) };
    if let Some(value) = table.remove("provider") {
        providers = ProviderTables::read(&name, value)?;
    }
    if let Some(value) = table.remove("meter") {
        meters = meters::read(&name, value)?;
    }
    Ok((add_table(layers, &name, "", &table)?, providers, meters))
}

/// The TOML parser draws the line with a marker under it, which is more than one line: its first and last say it all.
fn syntax_error(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        [first, .., last] => format!("{first}: {last}"),
        _ => text.to_owned(),
    }
}

fn add_table(
    mut layers: Layers,
    origin: &str,
    section: &str,
    table: &Map<String, Value>,
) -> Result<Layers, SettingsError> {
    // a map has no order of its own, and the first error should be the same every time
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    for (key, value) in entries {
        let key = format!("{section}{key}");
        let inside = format!("{key}.");
        layers = match &value.kind {
            _ if Setting::by_key(&key).is_some() => put(layers, Layer::Higher, origin, &key, &value.kind)?,
            _ if !TABLE.iter().any(|setting| setting.key.starts_with(&inside)) => {
                return Err(SettingsError::of_key(origin, key, NO_SUCH));
            }
            ValueKind::Table(table) => add_table(layers, origin, &inside, table)?,
            other => {
                let reason = format!("expected a table of settings, found {}", described(other));
                return Err(SettingsError::of_key(origin, key, reason));
            }
        };
    }
    Ok(layers)
}

/// Where a value goes.
#[derive(Clone, Copy)]
enum Layer {
    /// In place of the built-in default.
    Lowest,
    /// Above what is there.
    Higher,
}

fn put(layers: Layers, layer: Layer, origin: &str, key: &str, value: &ValueKind) -> Result<Layers, SettingsError> {
    let fail = |reason: String| SettingsError::of_key(origin, key, reason);
    let setting = Setting::by_key(key).ok_or_else(|| fail(NO_SUCH.to_owned()))?;
    let value = Value::new(Some(&origin.to_owned()), setting.kind.accept(value).map_err(fail)?);
    match layer {
        Layer::Lowest => layers.set_default(key, value),
        Layer::Higher => layers.set_override(key, value),
    }
    .map_err(|error| fail(error.to_string()))
}

/// What the layers amount to, checked where more than one setting is concerned.
fn resolve(layers: Layers, provider_tables: ProviderTables, meters: Meters) -> Result<Loaded, SettingsError> {
    let mut merged = layers.build_cloned().map_err(internal)?.cache;
    if let (None, Some(data_dir)) = (find(&merged, "keys_dir"), find(&merged, "data_dir")) {
        let data_dir = data_dir.clone().into_string().map_err(internal)?;
        let keys_dir = Path::new(&data_dir).join("keys").to_string_lossy().into_owned();
        merged = layers.clone().set_default("keys_dir", keys_dir).and_then(Layers::build).map_err(internal)?.cache;
    }
    let mut settings: Settings = merged.clone().try_deserialize().map_err(internal)?;
    settings.meters.clone_from(&meters);
    check_together(&settings, &merged)?;
    Ok(Loaded { layers, merged, settings, provider_tables, meters })
}

fn built_in() -> Result<Layers, SettingsError> {
    TABLE.iter().try_fold(Config::builder(), |layers, setting| match setting.default {
        Fallback::Value(text) => layers.set_default(setting.key, setting.kind.typed(text)).map_err(internal),
        Fallback::Unset(_) => Ok(layers),
    })
}

/// Each value was accepted by the table before; what fails after that is a fault of the table.
fn internal(error: ::config::ConfigError) -> SettingsError {
    SettingsError::of_source("settings", error.to_string())
}

fn check_together(settings: &Settings, merged: &Value) -> Result<(), SettingsError> {
    let set_by = |key: &str| find(merged, key).and_then(Value::origin).map(str::to_owned);
    // of two settings that do not go together, the one that somebody set is to blame
    let blame = |key: &str, other: &str, reason: String| {
        let origin = set_by(key).or_else(|| set_by(other)).unwrap_or_else(|| "defaults".to_owned());
        Err(SettingsError::of_key(origin, key, reason))
    };
    let expiry = &settings.expiry;
    let most = expiry.window_s / 24;
    if expiry.touch_granularity_s > most {
        let reason = format!(
            "{} s is more than 1/24 of expiry.window ({} s): at most {most} s",
            expiry.touch_granularity_s, expiry.window_s
        );
        return blame("expiry.touch_granularity", "expiry.window", reason);
    }
    if settings.admin_listen == settings.listen && settings.listen.port() != 0 {
        return blame("admin_listen", "listen", format!("{} is the public listener's address", settings.listen));
    }
    Ok(())
}

fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(value, |value, part| match &value.kind {
        ValueKind::Table(table) => table.get(part),
        _ => None,
    })
}

fn toml(value: &ValueKind) -> String {
    match value {
        ValueKind::Array(items) => {
            format!("[{}]", items.iter().map(|item| toml(&item.kind)).collect::<Vec<_>>().join(", "))
        }
        // JSON's escapes are TOML's too
        ValueKind::String(text) => serde_json::Value::from(text.as_str()).to_string(),
        other => described(other),
    }
}
