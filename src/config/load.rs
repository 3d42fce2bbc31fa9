//! Reads the layers, each checked on its own so that an error names its source, and puts them on top of each other.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use ::config::builder::DefaultState;
use ::config::{Config, ConfigBuilder, File, FileFormat, Map, Value, ValueKind};
use toml::de::DeTable;

use super::kind::{self, described};
use super::place::Source;
use super::suggest::no_such;
use super::table::{Fallback, Setting, TABLE};
use super::tables::ProviderTables;
use super::{MeterRule, Settings, SettingsError, SettingsErrors, meters};

/// The source of an error about a setting until [`Loaded::locate`] finds what set it.
pub const SETTINGS: &str = "settings";

/// The file that is read if it exists and no other is named.
pub const DEFAULT_FILE: &str = "passerby.toml";
/// Names the settings file, as the flag `--config` does, which goes before it. With [`PASSPHRASE_ENV`], [`ADMIN_TOKEN_ENV`] and
/// those of [`SECRET_ENV_PREFIX`] these are the `PASSERBY_` variables that are no settings.
pub const CONFIG_ENV: &str = "PASSERBY_CONFIG";
/// Holds the passphrase of `keys export` and `keys import`.
pub const PASSPHRASE_ENV: &str = "PASSERBY_PASSPHRASE";
/// Holds the token by which commands ask the admin API of another machine.
pub const ADMIN_TOKEN_ENV: &str = "PASSERBY_ADMIN_TOKEN";
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

/// What an app folder says of its app id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderAppId<'a> {
    /// It is this one.
    Told(&'a str),
    /// Nothing.
    Untold,
    /// The file that would say it is wrong.
    Unreadable,
}

/// The settings and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    layers: Layers,
    pub(super) merged: Value,
    settings: Settings,
    pub(super) provider_tables: ProviderTables,
    pub(super) meters: Meters,
    pub(super) source: Option<Source>,
    /// The app folder of which something was adopted.
    pub(super) adopted: Option<String>,
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

    /// Where a setting's value comes from; `None` if it is the built-in default, or not set.
    pub fn origin(&self, key: &str) -> Option<&str> {
        find(&self.merged, key).and_then(Value::origin)
    }

    /// Whether anything but an app folder sets a value.
    pub fn is_fixed(&self, key: &str) -> bool {
        self.origin(key).is_some_and(|origin| self.adopted.as_deref() != Some(origin))
    }

    /// The settings that differ when loaded again, by their keys. Providers and meters are one each.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let kind = |loaded: &Self, key: &str| find(&loaded.merged, key).map(|value| value.kind.clone());
        let of_table = TABLE.iter().map(|setting| setting.key).filter(|key| kind(self, key) != kind(other, key));
        let of_tables =
            [("provider", self.provider_tables != other.provider_tables), ("meter", self.meters != other.meters)];
        of_table.chain(of_tables.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key)).collect()
    }

    /// Says of each error about a setting what set it, or others of its section, and where in the file its key stands.
    pub fn locate(&self, mut errors: SettingsErrors) -> SettingsErrors {
        for error in errors.iter_mut().filter(|error| error.origin == SETTINGS) {
            let Some(key) = &error.key else { continue };
            let beside = |setting: &Setting| {
                let section = |key: &'_ str| key.rsplit_once('.').map(|(section, _)| section.to_owned());
                section(key).is_some() && section(setting.key) == section(key)
            };
            let by_others = || TABLE.iter().filter(|setting| beside(setting)).find_map(|other| self.origin(other.key));
            if let Some(origin) = self.origin(key).or_else(by_others) {
                error.origin = origin.to_owned();
            }
        }
        if let Some(source) = &self.source {
            source.locate(&mut errors);
        }
        errors
    }

    /// Takes app id and origins of an app folder (`origin` names it) where nothing else sets them. What is wrong is added to
    /// `wrong`: a value that is not acceptable as a setting, an app id that neither the folder nor anything else tells. Of a file
    /// that is wrong something is said already.
    pub fn adopt(
        mut self,
        origin: &str,
        app_id: FolderAppId<'_>,
        origins: &[String],
        wrong: &mut SettingsErrors,
    ) -> Option<Self> {
        let mut reading = Reading { layers: std::mem::take(&mut self.layers), wrong };
        match app_id {
            FolderAppId::Told(app_id) => reading.put(Layer::Lowest, origin, "app_id", &ValueKind::from(app_id)),
            FolderAppId::Untold if self.origin("app_id").is_none() => {
                let reason = "tells no app id, and clients only find the one that they are built with: set app_id (--app-id), \
                              or put the folder's .mdb/meta.json back";
                reading.wrong.push(SettingsError::of_source(origin, reason));
            }
            FolderAppId::Untold | FolderAppId::Unreadable => {}
        }
        if !origins.is_empty() {
            reading.put(Layer::Lowest, origin, "allowed_origins", &ValueKind::from(origins.to_vec()));
        }
        let adopted = reading.resolve(self.provider_tables, self.meters, self.source)?;
        Some(Self { adopted: Some(origin.to_owned()), ..adopted })
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
/// Every unknown name and wrong value, whichever layer it is in, even if a higher one overrides it.
pub fn load(
    file: &ConfigFile,
    environment: &[(String, String)],
    flags: &[(&'static str, String)],
) -> Result<Loaded, SettingsErrors> {
    let mut wrong = SettingsErrors::default();
    match read(file, environment, flags, &mut wrong) {
        Some(loaded) => wrong.or(loaded),
        None => Err(wrong),
    }
}

/// Like [`load`], but adds what is wrong to `wrong` and goes on as if it were not there, so that all else can be checked too.
/// `None` only if the defaults themselves cannot be read.
pub fn read(
    file: &ConfigFile,
    environment: &[(String, String)],
    flags: &[(&'static str, String)],
    wrong: &mut SettingsErrors,
) -> Option<Loaded> {
    let mut reading = Reading { layers: Layers::default(), wrong };
    reading.add_built_in();
    let (provider_tables, meters, source) = reading.add_file(file);
    const OTHERS: [&str; 3] = [PASSPHRASE_ENV, CONFIG_ENV, ADMIN_TOKEN_ENV];
    let is_setting = |name: &str| !OTHERS.contains(&name) && !name.starts_with(SECRET_ENV_PREFIX);
    for (name, text) in environment.iter().filter(|(name, _)| is_setting(name)) {
        match TABLE.iter().find(|setting| setting.env() == *name) {
            Some(setting) => {
                reading.put(Layer::Higher, &variable(name), setting.key, &setting.kind.typed(text));
            }
            None if is_service_link(name) => {}
            None => {
                let reason = no_such(name, TABLE.iter().map(Setting::env));
                reading.wrong.push(SettingsError::of_source(variable(name), reason));
            }
        }
    }
    for (key, text) in flags {
        let flag = format!("flag --{}", key.replace('_', "-"));
        match Setting::by_key(key).filter(|setting| setting.flag.is_some()) {
            Some(setting) => reading.put(Layer::Higher, &flag, key, &setting.kind.typed(text)),
            None => reading.wrong.push(SettingsError::of_key("flags", *key, no_such(key, []))),
        }
    }
    reading.resolve(provider_tables, meters, source)
}

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

/// Where a value goes.
#[derive(Clone, Copy)]
enum Layer {
    /// In place of the built-in default.
    Lowest,
    /// Above the layers so far.
    Higher,
}

/// The layers as far as they are read, and what was wrong so far.
struct Reading<'a> {
    layers: Layers,
    wrong: &'a mut SettingsErrors,
}

impl Reading<'_> {
    fn add_built_in(&mut self) {
        for setting in TABLE {
            if let Fallback::Value(text) = setting.default {
                let layers = std::mem::take(&mut self.layers).set_default(setting.key, setting.kind.typed(text));
                self.layers = self.wrong.take(layers.map_err(internal)).unwrap_or_default();
            }
        }
    }

    /// Adds the file's settings; answers what is in its other tables, and its text.
    fn add_file(&mut self, file: &ConfigFile) -> (ProviderTables, Meters, Option<Source>) {
        let nothing = |source| (ProviderTables::default(), Meters::new(), source);
        let (ConfigFile::Named(path) | ConfigFile::IfPresent(path)) = file;
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound && matches!(file, ConfigFile::IfPresent(_)) => {
                return nothing(None);
            }
            Err(error) => {
                self.wrong.push(SettingsError::of_source(name, format!("cannot be read: {error}")));
                return nothing(None);
            }
        };
        let source = Source { name: name.clone(), text };
        // the parser that knows where things are goes first: its errors say it
        if let Err(error) = DeTable::parse(&source.text) {
            let place = error.span().map(|span| source.place(span.start));
            let reason = format!("is not TOML: {}", error.message());
            self.wrong.push(SettingsError { place, ..SettingsError::of_source(name, reason) });
            return nothing(Some(source));
        }
        let too_large = source.too_large();
        let text = source.without(&too_large);
        let parsed = Config::builder().add_source(File::from_str(&text, FileFormat::Toml)).build();
        let parsed = parsed.map_err(|error| SettingsError::of_source(&name, error.to_string()));
        let Some(Config { cache: Value { kind: ValueKind::Table(mut table), .. }, .. }) = self.wrong.take(parsed)
        else {
            return nothing(Some(source));
        };
        let mut wrong = SettingsErrors::default();
        let providers = table.remove("provider").map(|value| ProviderTables::read(&name, value, &mut wrong));
        let meters = table.remove("meter").map(|value| meters::read(&name, value, &mut wrong));
        self.add_table(&name, "", &table, &mut wrong);
        source.locate(&mut wrong);
        // what is said of the noughts in their places is not true
        let is_of_number = |key: &str| too_large.iter().any(|number| number.key.starts_with(key));
        wrong.retain(|error| !error.key.as_deref().is_some_and(is_of_number));
        too_large.iter().for_each(|number| wrong.push(source.fault(number)));
        self.wrong.extend(wrong);
        (providers.unwrap_or_default(), meters.unwrap_or_default(), Some(source))
    }

    fn add_table(&mut self, origin: &str, section: &str, table: &Map<String, Value>, wrong: &mut SettingsErrors) {
        // a map has no order of its own, and the errors should come in the same one every time
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        for (key, value) in entries {
            let key = format!("{section}{key}");
            let inside = format!("{key}.");
            match &value.kind {
                _ if Setting::by_key(&key).is_some() => {
                    wrong.take(accepted(origin, &key, &value.kind)).into_iter().for_each(|value| {
                        self.set(Layer::Higher, &key, value);
                    });
                }
                _ if !TABLE.iter().any(|setting| setting.key.starts_with(&inside)) => {
                    let reason = no_such(&key, keys_and_sections());
                    wrong.push(SettingsError::of_key(origin, key, reason));
                }
                ValueKind::Table(table) => self.add_table(origin, &inside, table, wrong),
                other => {
                    let reason = format!("expected a table of settings, found {}", described(other));
                    wrong.push(SettingsError::of_key(origin, key, reason));
                }
            }
        }
    }

    fn put(&mut self, layer: Layer, origin: &str, key: &str, value: &ValueKind) {
        if let Some(value) = self.wrong.take(accepted(origin, key, value)) {
            self.set(layer, key, value);
        }
    }

    fn set(&mut self, layer: Layer, key: &str, value: Value) {
        let layers = std::mem::take(&mut self.layers);
        let layers = match layer {
            Layer::Lowest => layers.set_default(key, value),
            Layer::Higher => layers.set_override(key, value),
        };
        self.layers = self.wrong.take(layers.map_err(internal)).unwrap_or_default();
    }

    /// What the layers amount to, checked where more than one setting is concerned.
    fn resolve(self, provider_tables: ProviderTables, meters: Meters, source: Option<Source>) -> Option<Loaded> {
        let Self { layers, wrong } = self;
        let mut merged = wrong.take(layers.build_cloned().map_err(internal))?.cache;
        if let (None, Some(data_dir)) = (find(&merged, "keys_dir"), find(&merged, "data_dir")) {
            let data_dir = wrong.take(data_dir.clone().into_string().map_err(internal))?;
            let keys_dir = Path::new(&data_dir).join("keys").to_string_lossy().into_owned();
            let with_keys = layers.clone().set_default("keys_dir", keys_dir).and_then(Layers::build);
            merged = wrong.take(with_keys.map_err(internal))?.cache;
        }
        let mut settings: Settings = wrong.take(merged.clone().try_deserialize().map_err(internal))?;
        settings.meters.clone_from(&meters);
        // what a wrong setting stands for is not known, so nothing can be said of it beside others
        if wrong.is_empty() {
            check_together(&settings, &merged, wrong);
        }
        Some(Loaded { layers, merged, settings, provider_tables, meters, source, adopted: None })
    }
}

/// A value in its one form, with its origin.
fn accepted(origin: &str, key: &str, value: &ValueKind) -> Result<Value, SettingsErrors> {
    let fail = |reason: String| SettingsError::of_key(origin, key, reason);
    let setting = Setting::by_key(key).ok_or_else(|| fail(no_such(key, keys_and_sections())))?;
    if let (Some(check), ValueKind::Array(items)) = (setting.kind.of_items(), value) {
        let mut wrong = SettingsErrors::default();
        for (at, reason) in items.iter().enumerate().filter_map(|(at, item)| Some((at, kind::item(item, check).err()?)))
        {
            wrong.push(SettingsError::of_key(origin, format!("{key}[{at}]"), reason));
        }
        wrong.or(())?;
    }
    Ok(Value::new(Some(&origin.to_owned()), setting.kind.accept(value).map_err(fail)?))
}

/// Every name that can stand in the file, for what is meant by one that cannot.
fn keys_and_sections() -> impl Iterator<Item = String> {
    let sections = TABLE.iter().filter_map(|setting| setting.key.split_once('.')).map(|(section, _)| section);
    let sections: std::collections::BTreeSet<&str> = sections.chain(["provider", "meter"]).collect();
    TABLE.iter().map(|setting| setting.key.to_owned()).chain(sections.into_iter().map(str::to_owned))
}

/// Each value was accepted by the table before; what fails after that is a fault of the table.
fn internal(error: ::config::ConfigError) -> SettingsError {
    SettingsError::of_source("settings", error.to_string())
}

fn check_together(settings: &Settings, merged: &Value, wrong: &mut SettingsErrors) {
    let set_by = |key: &str| find(merged, key).and_then(Value::origin).map(str::to_owned);
    // of two settings that do not go together, the one that was set is to blame
    let mut blame = |key: &str, other: &str, reason: String| {
        let origin = set_by(key).or_else(|| set_by(other)).unwrap_or_else(|| "defaults".to_owned());
        wrong.push(SettingsError::of_key(origin, key, reason));
    };
    let expiry = &settings.expiry;
    let most = expiry.window_s / 24;
    if expiry.touch_granularity_s > most {
        let reason = format!(
            "{} s is more than 1/24 of expiry.window ({} s): at most {most} s",
            expiry.touch_granularity_s, expiry.window_s
        );
        blame("expiry.touch_granularity", "expiry.window", reason);
    }
    for (files, [cert, key]) in
        [(&settings.tls, ["tls.cert", "tls.key"]), (&settings.admin.tls, ["admin.tls.cert", "admin.tls.key"])]
    {
        match (&files.cert, &files.key) {
            (Some(_), None) => blame(key, cert, format!("is needed with {cert}")),
            (None, Some(_)) => blame(cert, key, format!("is needed with {key}")),
            _ => {}
        }
    }
    if settings.admin_listen == settings.listen && settings.listen.port() != 0 {
        blame("admin_listen", "listen", format!("{} is the public listener's address", settings.listen));
    } else if overlap(settings.admin_listen, settings.listen) {
        let reason = format!(
            "{} and the public listener's {} have the same port on the same addresses: take another port",
            settings.admin_listen, settings.listen
        );
        blame("admin_listen", "listen", reason);
    }
}

/// Whether two listeners cannot both be had: one is for every address, and the other for one of them. `[::]` has those of IPv4 too.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let has_all_of = |one: IpAddr, other: IpAddr| one.is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    let (a, b) = (one.ip(), other.ip());
    one.port() == other.port() && one.port() != 0 && (a == b || has_all_of(a, b) || has_all_of(b, a))
}

pub(super) fn find<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
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
