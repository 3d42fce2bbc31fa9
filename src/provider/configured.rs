//! Which providers an app folder and `passerby.toml` enable, before there is a server that has them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::anon_user::ANON_USER;
use super::app_folder::AppFolder;
use super::kind::{Given, Kind, Plan};
use super::kinds::{KINDS, kind_of};
use super::switched_off;
use crate::config::secrets::Secrets;
use crate::config::{ProviderTables, SettingsError, SettingsErrors};
use crate::outbound::Outbound;

/// An enabled provider, whose settings are good.
#[derive(Clone)]
pub(super) struct Planned {
    kind: &'static Kind,
    pub(super) plan: Plan,
    /// What it was read from.
    pub(super) content: Map<String, Value>,
}

/// The enabled providers, whose settings are good. Cheap to clone.
#[derive(Clone)]
pub struct Configured {
    /// Whether anonymous logins are taken.
    pub anon_user_enabled: bool,
    pub(super) plans: BTreeMap<String, Planned>,
    /// Those of them that `passerby.toml` enables, whether or not the app does too.
    of_settings: BTreeSet<String>,
}

impl Default for Configured {
    /// Without any configuration: `anon-user` is enabled and everything else is off.
    fn default() -> Self {
        Self { anon_user_enabled: true, plans: BTreeMap::new(), of_settings: BTreeSet::new() }
    }
}

impl Configured {
    /// The enabled providers of the app folder and of `passerby.toml`. They fetch through `outbound`; `app_id` is the one in
    /// force.
    ///
    /// # Errors
    /// Names file, key and reason of everything that is wrong, and a provider that both configure.
    pub fn read(
        folder: &AppFolder,
        tables: &ProviderTables,
        app_id: &str,
        secrets: &Secrets,
        outbound: &Outbound,
    ) -> Result<Self, SettingsErrors> {
        let mut read = Self { anon_user_enabled: folder.anon_user_enabled, ..Self::default() };
        let mut wrong = SettingsErrors::default();
        for (name, content) in &folder.identity {
            let file = folder.file_of(name);
            match kind_of(name) {
                Some(kind) => {
                    let given = Given { name, file, path: name, content, app_id, secrets, outbound };
                    read.add(kind, &given, &mut wrong);
                }
                None => wrong.push(SettingsError::of_key(file, name, "there is no such provider")),
            }
        }
        let off = folder.content.providers.iter().filter(|(name, _)| !folder.identity.contains_key(*name));
        for (name, provider) in off.filter_map(|(name, provider)| Some((name, provider.as_object()?))) {
            for path in switched_off::literals(provider, secrets) {
                let key = format!("{name}.{path}");
                wrong.push(SettingsError::of_key(folder.file_of(name), key, switched_off::REASON));
            }
        }
        let file = tables.origin.as_str();
        for (kind, table) in KINDS.iter().filter_map(|kind| Some((kind, kind.table?))) {
            for (one, content) in tables.several(table).filter(|_| kind.is_of_several()) {
                let (name, path) = (format!("{}{one}", kind.name), format!("provider.{table}.{one}"));
                read.add(
                    kind,
                    &Given { name: &name, file, path: &path, content, app_id, secrets, outbound },
                    &mut wrong,
                );
                read.of_settings.insert(name);
            }
            let Some(content) = tables.single(table) else { continue };
            let (name, path) = (kind.name, format!("provider.{table}"));
            // what is only turned on may be so twice
            let (is_switch, nothing) = (content.contains_key("enabled"), Map::new());
            if folder.identity.contains_key(name) && !is_switch {
                let reason = format!("{} configures {name} too", folder.file_of(name));
                wrong.push(SettingsError::of_key(file, path, reason));
                continue;
            }
            let content = if is_switch { &nothing } else { content };
            read.add(kind, &Given { name, file, path: &path, content, app_id, secrets, outbound }, &mut wrong);
            read.of_settings.insert(name.to_owned());
        }
        wrong.or(read)
    }

    fn add(&mut self, kind: &'static Kind, given: &Given<'_>, wrong: &mut SettingsErrors) {
        let plan = kind.read.and_then(|read| wrong.take(read(given)));
        let planned = plan.map(|plan| Planned { kind, plan, content: given.content.clone() });
        self.plans.extend(planned.map(|planned| (given.name.to_owned(), planned)));
    }

    /// The names of the enabled providers that prove identities, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.plans.keys().map(String::as_str)
    }

    /// The names of those of them that `passerby.toml` enables, whether or not the app does too.
    pub fn of_settings(&self) -> impl Iterator<Item = &str> {
        self.of_settings.iter().map(String::as_str)
    }

    /// The names of all enabled providers.
    pub fn enabled(&self) -> impl Iterator<Item = &str> {
        self.anon_user_enabled.then_some(ANON_USER).into_iter().chain(self.names())
    }

    /// The names of those of them that have an issuer.
    pub fn names_with_issuer(&self) -> impl Iterator<Item = &str> {
        let with_issuer = self.plans.iter().filter(|(_, planned)| planned.kind.rules.has_issuer);
        with_issuer.map(|(name, _)| name.as_str())
    }

    /// Whether one of them sends mails.
    pub fn needs_mail(&self) -> bool {
        self.plans.values().any(|planned| planned.plan.needs.mail)
    }

    /// Whether one of them sends browsers away that are to come back.
    pub fn needs_public_url(&self) -> bool {
        self.plans.values().any(|planned| planned.plan.needs.public_url)
    }
}
