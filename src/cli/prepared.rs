//! The configuration as far as a command needs it, and what an operator should know of it.

use std::sync::Arc;

use passerby_actors::domain::API_KEY;

use super::line::SettingsArgs;
use crate::config::secrets::Pipes;
use crate::config::{Loaded, SETTINGS, Settings, SettingsError, SettingsErrors};
use crate::deployment::{DeployError, MOST_BYTES, Recipe};
use crate::http::reader::is_plain;
use crate::provider::app_folder::{self, AppFolder};
use crate::provider::{ANON_USER, Configured};
use crate::startup::Note;
use crate::tls;

/// How much of the configuration a command needs: the others do without the app folder, or without the secrets of providers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Parts {
    Settings,
    Folder,
    All,
}

/// A configuration, as far as it is needed.
pub(super) struct Prepared {
    pub(super) loaded: Loaded,
    /// Those of `loaded`, and what the command line adds.
    pub(super) settings: Settings,
    /// The app folder, if there is one.
    pub(super) folder: Option<AppFolder>,
    /// With [`Parts::All`]: what providers are configured by, and those of the folder.
    pub(super) providers: Option<(Recipe, Configured)>,
}

/// Reads the configuration. What is wrong with any part of it is said at once.
pub(super) fn prepare(
    settings: &SettingsArgs,
    variables: &[(String, String)],
    parts: Parts,
    pipes: &Arc<Pipes>,
) -> Result<Prepared, SettingsErrors> {
    let mut wrong = SettingsErrors::default();
    let Some(mut loaded) = settings.read(variables, &mut wrong) else { return Err(wrong) };
    let mut folder = None;
    if parts != Parts::Settings
        && let Some(dir) = loaded.settings().app_dir.clone()
    {
        if let Some(reason) = app_folder::why_none(&dir) {
            let error = SettingsError::of_key(SETTINGS, "app_dir", format!("{} {reason}", dir.display()));
            wrong.extend(loaded.locate(error.into()));
        } else if let Some(read) = app_folder::read(&dir, &mut wrong) {
            let (origin, origins) = (dir.display().to_string(), &read.content.allowed_request_origins);
            let bytes = read.content.to_json().len();
            if bytes > MOST_BYTES {
                wrong.push(SettingsError::of_source(&origin, DeployError::TooLarge(bytes).to_string()));
            }
            let Some(adopted) = loaded.adopt(&origin, read.app_id(), origins, &mut wrong) else {
                return Err(wrong);
            };
            (loaded, folder) = (adopted, Some(read));
        }
    }
    let mut providers = None;
    // where these are wrong, what would be said of providers would not be their fault
    let rests_on = ["secrets_file", "outbound", "public_url", "mail"];
    if parts == Parts::All && !wrong.concern(&rests_on) {
        providers = wrong.take(Recipe::read(&loaded, folder.as_ref(), variables, pipes));
    }
    let settings = loaded.settings().clone();
    wrong.or(Prepared { loaded, settings, folder, providers })
}

pub(super) const FOR_TESTS: &str = "this server is for tests: its passwords protect nothing, and whoever reaches the admin listener moves its \
                         clock (POST /test/clock)";

/// What an operator should know of the enabled providers.
pub(super) fn notes_of_providers(enabled: &[&str]) -> Option<Note> {
    // accounts create API keys, so that these alone log nobody in
    if enabled.iter().all(|name| *name == API_KEY) {
        return Some(Note::warning(
            "no provider is enabled, so no user can log in or be created: enable anon-user in the app folder's \
             auth/providers.json, or another provider (passerby config --explain, provider.*)",
        ));
    }
    let is_anonymous = enabled.contains(&ANON_USER);
    (!is_anonymous).then(|| Note::info("anon-user is off: /verify?create=auto creates no user, as create=never"))
}

/// What an operator should know of a configuration that is not wrong.
pub(super) fn notes(settings: &Settings) -> Vec<Note> {
    let mut notes = Vec::new();
    if settings.test {
        notes.push(Note::warning(format!("--test: {FOR_TESTS}")));
    }
    if settings.public_url.is_none() && !settings.listen.ip().is_loopback() {
        let how = if settings.tls.is_on() { "" } else { ", over plain HTTP" };
        notes.push(Note::warning(format!("without public_url, clients are told the Host that they asked for{how}")));
    }
    for key in tls::open_keys(settings) {
        let text = format!("{} is the key of a certificate, and every user of this machine may read it", key.display());
        notes.push(Note::warning(text));
    }
    match settings.public_url.as_deref() {
        Some(url) if url.starts_with("http://") && settings.tls.is_on() => {
            notes.push(Note::warning("public_url is not https, and tls.cert makes the public listener https"));
        }
        Some(url) if is_plain(url) => {
            notes.push(Note::info("readers' cookies are for plain HTTP on this machine: without Secure and __Host-"));
        }
        Some(url) if url.starts_with("http://") => {
            notes.push(Note::warning("public_url is not https, and browsers keep no readers' cookies without it"));
        }
        _ => {}
    }
    notes
}
