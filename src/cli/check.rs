//! `passerby check`: answers as `serve` would, and changes nothing.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use passerby_actors::store::Opened;
use passerby_actors::store::embedded::{self, OpenError};
use tracing::Level;

use super::outcome::{EXIT_DATA, EXIT_USAGE, Failure, print};
use super::prepared::{Prepared, notes, notes_of_providers};
use crate::config::{Settings, Storage};
use crate::deployment::Deployment;
use crate::provider::app_folder::AppFolder;
use crate::startup::{self, Listener, Note, Ports, StartError};
use crate::tls;
use crate::token::{KeyError, KeyStore};

/// What was found wrong.
#[derive(Default)]
struct Faults(Vec<Failure>);

impl Faults {
    fn add(&mut self, fault: impl Into<Failure>) {
        self.0.push(fault.into());
    }

    /// All of it as one failure, with the code of the worst.
    fn outcome(self) -> Result<(), Failure> {
        let worst = [EXIT_USAGE, EXIT_DATA, 1].into_iter().find(|code| self.0.iter().any(|fault| fault.code == *code));
        let Some(code) = worst else { return Ok(()) };
        let lines: Vec<_> = self.0.into_iter().map(|fault| fault.text).collect();
        Err(Failure { code, text: lines.join("\n") })
    }
}

/// Checks everything that a start needs, says what it found, and fails with everything that is wrong.
pub(super) fn check(prepared: &Prepared) -> Result<(), Failure> {
    let Prepared { settings, folder, .. } = prepared;
    let unserved = folder.iter().flat_map(|folder| &folder.unserved);
    let mut faults = Faults::default();
    print("settings and app folder: good\n");
    unserved.for_each(|line| print(&format!("not served: {line}\n")));
    notes(settings).iter().for_each(say);
    tls::faults(settings).into_iter().for_each(|fault| faults.add(StartError::Tls(fault)));
    let found = look_at_data(settings, &mut faults);
    look_at_app(prepared, &found, &mut faults);
    look_at_keys(settings, &found, &mut faults);
    look_at_listeners(settings, &found, &mut faults);
    faults.outcome()
}

/// The state of the data folder.
enum Data {
    /// It has not been begun.
    New,
    /// It has so many users, and this is its last deployment.
    Users(usize, Option<Arc<[u8]>>),
    /// A running server has it.
    InUse,
    /// It cannot be read.
    Unknown,
}

fn look_at_data(settings: &Settings, faults: &mut Faults) -> Data {
    let (folder, Ports { files, clock, .. }) = (&settings.data_dir, Ports::system());
    let is_claimed = match startup::check_folder(settings, &*files) {
        Ok(is_claimed) => is_claimed,
        Err(error) => {
            faults.add(error);
            return Data::Unknown;
        }
    };
    if settings.storage == Storage::Memory {
        print("data: in memory alone\n");
        startup::notes_of_data(settings, &Opened::default()).iter().for_each(say);
        return Data::New;
    }
    if let Err(why) = try_writing(folder) {
        faults.add(Failure::other(format!("data: {why}")));
        return Data::Unknown;
    }
    // looking into a folder takes its lock, whose file would then belong to the user who checks
    if !folder.join("LOCK").exists() && !folder.join("CURRENT").exists() {
        print("data: none yet; the first start creates it\n");
        return Data::New;
    }
    for generation in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let is_generation = generation.file_name().is_some_and(|name| name.to_string_lossy().starts_with("gen-"));
        if is_generation && let Err(why) = try_writing(&generation) {
            faults.add(Failure::other(format!("data: {why}")));
        }
    }
    let options = startup::store_options(settings);
    let (found, newest) = match embedded::look(folder, &options, &*files, &*clock, &Deployment::NEWEST) {
        // settings are checked beside a running server before it is restarted with them
        Err(OpenError::InUse(_)) => {
            print("data: in use by a running server, so not looked at\n");
            return Data::InUse;
        }
        Err(error) => {
            faults.add(error);
            return Data::Unknown;
        }
        Ok(found) => found,
    };
    if !is_claimed && let Err(error) = startup::must_have_no_users(settings, found.users) {
        faults.add(error);
        return Data::Unknown;
    }
    print(&format!("data: good, {} users\n", found.users));
    startup::notes_of_data(settings, &found).iter().for_each(say);
    Data::Users(found.users, newest.into_iter().next())
}

/// The app that a start would serve: the folder, unless it is deployed already. What cannot be known is not judged.
fn look_at_app(prepared: &Prepared, data: &Data, faults: &mut Faults) {
    let Some((recipe, of_folder)) = &prepared.providers else { return };
    let folder = prepared.folder.as_ref();
    let newest = match data {
        Data::Users(_, Some(bytes)) => match Deployment::of_bytes(bytes, recipe) {
            Ok(newest) => Some(newest),
            Err(error) => return faults.add(StartError::Deployment(error.into())),
        },
        _ => None,
    };
    let newest = newest.filter(|newest| newest.stays(folder.map(|folder| &folder.content)));
    let configured = match (&newest, folder, data) {
        (Some(newest), ..) => {
            AppFolder::of(&newest.app, &newest.label()).and_then(|app| recipe.configure(&app)).map(Some)
        }
        (None, None, Data::New | Data::Users(..)) => recipe.configure(&AppFolder::default()).map(Some),
        (None, None, Data::InUse | Data::Unknown) => return print("providers: those of the newest deployment\n"),
        (None, Some(_), _) => Ok(None),
    };
    let configured = match configured {
        Ok(configured) => configured,
        Err(wrong) => return faults.add(StartError::Deployment(wrong.into())),
    };
    let enabled: Vec<_> = configured.as_ref().unwrap_or(of_folder).enabled().collect();
    if let Some(newest) = &newest {
        print(&format!("app: {}\n", newest.label()));
    }
    print(&format!(
        "providers: {}\n",
        if enabled.is_empty() { "none is enabled, so no one can log in".to_owned() } else { enabled.join(", ") }
    ));
    notes_of_providers(&enabled).iter().for_each(say);
}

/// What `serve` would write into its log.
fn say(note: &Note) {
    let kind = if note.level == Level::INFO { "note" } else { "warning" };
    print(&format!("{kind}: {}\n", note.text));
}

fn look_at_keys(settings: &Settings, data: &Data, faults: &mut Faults) {
    let folder = &settings.keys_dir;
    let keys = match KeyStore::load(folder) {
        Ok(keys) => keys,
        Err(error) => return faults.add(Failure::other(error)),
    };
    let count = keys.list().len();
    match keys.ring() {
        // the first start creates them, but not once users' tokens were signed by them
        Err(KeyError::NoneSigns(_)) if !matches!(data, Data::InUse | Data::Users(1.., _)) => {}
        Err(error) => return faults.add(Failure::other(format!("{}: {error}", folder.display()))),
        Ok(_) => {}
    }
    if keys.lacks_any(startup::algorithm(settings.access_alg)) {
        if let Err(why) = try_writing(folder) {
            return faults.add(Failure::other(format!("keys: {why}")));
        }
        print(&format!("keys: {count} in {}; the next start creates what is missing\n", folder.display()));
    } else {
        print(&format!("keys: {count} in {}\n", folder.display()));
    }
}

fn look_at_listeners(settings: &Settings, data: &Data, faults: &mut Faults) {
    for listener in [Listener::Public, Listener::Admin] {
        let (name, address) = (listener.name(), listener.address(settings));
        match (listener.probe(settings), data) {
            (Ok(()), _) => print(&format!("{name} listener: {address} is free\n")),
            (Err(error), Data::InUse) => print(&format!("{error} (as a running server may)\n")),
            (Err(error), _) => faults.add(error),
        }
    }
}

/// Whether files can be created in a folder, or in its nearest existing parent: tried with one that is removed at once.
fn try_writing(folder: &Path) -> Result<(), String> {
    let here = Path::new(".");
    for place in folder.ancestors() {
        let place = if place.as_os_str().is_empty() { here } else { place };
        match std::fs::metadata(place) {
            Ok(found) if found.is_dir() => {
                let tried = tempfile::tempfile_in(place);
                return tried.map(drop).map_err(|error| match place == folder {
                    true => format!("{} cannot be written: {error}", folder.display()),
                    false => format!("{} cannot be created in {}: {error}", folder.display(), place.display()),
                });
            }
            Ok(_) => return Err(format!("{} cannot be created: {} is no folder", folder.display(), place.display())),
            // a file is in the way, or nothing exists yet: the parent decides
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                if place.is_symlink() {
                    return Err(format!("{} is a link to nothing", place.display()));
                }
            }
            Err(error) => return Err(format!("{} cannot be looked at: {error}", place.display())),
        }
    }
    Err(format!("{} cannot be created: there is no working directory", folder.display()))
}
