//! `passerby demo`: settings and a folder of its own.

use super::line::SettingsArgs;
use super::outcome::Failure;
use super::prepared::Prepared;
use crate::config::{self, Demo};
use crate::startup::Listener;

/// What `passerby demo` runs with.
const DEMO_SETTINGS: &str = include_str!("demo.toml");

/// The demo's settings with the flags over them, and the folder in which they and its data are, which ends with the demo.
pub(super) fn settings(settings: SettingsArgs) -> Result<(SettingsArgs, tempfile::TempDir), Failure> {
    let folder = tempfile::Builder::new().prefix("passerby-demo-").tempdir().map_err(Failure::other)?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path(config::DEFAULT_FILE), DEMO_SETTINGS).map_err(Failure::other)?;
    // as flags they take precedence over the environment of a server that runs beside it
    let settings = settings
        .with("config", path(config::DEFAULT_FILE))
        .with("data_dir", path("data"))
        .with("keys_dir", path("data/keys"));
    Ok((settings, folder))
}

/// What was read, as a demo has it.
pub(super) fn of(mut prepared: Prepared, trial: bool) -> Result<Prepared, Failure> {
    if !prepared.settings.listen.ip().is_loopback() {
        return Err(Failure::usage("the demo is for this machine alone: listen on a loopback address"));
    }
    // its own ports are free ones if others have the usual ones; given ones are taken at their word
    if prepared.loaded.origin("listen").is_none() && Listener::Public.probe(&prepared.settings).is_err() {
        prepared.settings.listen.set_port(0);
    }
    prepared.settings.demo = Some(if trial { Demo::Trial } else { Demo::News });
    Ok(prepared)
}
