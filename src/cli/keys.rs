//! `passerby keys`: looks after the signing keys.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;

use passerby_actors::store::embedded::{self, OpenError};

use super::line::{KeyFile, KeyUse, KeysCommand};
use super::outcome::{Failure, print};
use crate::config::secrets::read_private;
use crate::config::{PASSPHRASE_ENV, Settings};
use crate::startup::{self, Ports};
use crate::token::{KeyError, KeyId, KeyState, KeyStore};

/// Characters that a passphrase for keys has at least, unless `--weak` is said.
const PASSPHRASE_LENGTH: usize = 12;

pub(super) fn keys(
    settings: &Settings,
    command: &KeysCommand,
    environment: &[(OsString, OsString)],
) -> Result<(), Failure> {
    let ports = Ports::system();
    let now_s = ports.clock.wall_ms() / 1000;
    let folder = settings.keys_dir.display();
    let mut store = KeyStore::load(&settings.keys_dir).map_err(Failure::other)?;
    if store.list().is_empty() && !matches!(command, KeysCommand::Import(_)) {
        let what = if settings.keys_dir.is_dir() { "there are no keys in it" } else { "there is no such folder" };
        return Err(Failure::usage(format!("{folder}: {what}; the first start creates the keys")));
    }
    match command {
        KeysCommand::List => {
            for key in store.list() {
                let (id, purpose, algorithm) = (key.id, key.purpose.name(), key.algorithm.name());
                let state = key.state.name();
                let created = readable(key.created_s);
                print(&format!("{id}  {purpose:<8} {algorithm:<6} {state:<10} created {created}\n"));
            }
        }
        KeysCommand::Publish { usage } => {
            let key = store.publish(of(*usage), &*ports.entropy, now_s).map_err(Failure::other)?;
            print(&format!("{} verifies from the next start on, and signs after the next `keys rotate`\n", key.id));
        }
        KeysCommand::Rotate { usage } => {
            let key = store.rotate(of(*usage), &*ports.entropy, now_s).map_err(Failure::other)?;
            print(&format!("{} signs from the next start on; the one before verifies until it is retired\n", key.id));
        }
        KeysCommand::Retire { id, yes } => {
            let id = KeyId::parse(id).ok_or_else(|| Failure::usage(format!("{id}: not a key id")))?;
            retire(settings, &mut store, id, *yes)?;
        }
        KeysCommand::Export { file: KeyFile { file, passphrase_file }, weak } => {
            let passphrase = passphrase(passphrase_file.as_deref(), environment)?;
            let length = passphrase.trim().chars().count();
            if length < PASSPHRASE_LENGTH && !weak {
                return Err(Failure::usage(format!(
                    "the passphrase has {length} characters, and anyone who gets the file can try them all: take at least \
                     {PASSPHRASE_LENGTH}, or say --weak"
                )));
            }
            // an export of nothing would be found out when the keys are needed
            store.ring().map_err(Failure::other)?;
            let bytes = store.export(&passphrase, &*ports.entropy).map_err(Failure::other)?;
            write_private(file, &bytes).map_err(|error| Failure::other(format!("{}: {error}", file.display())))?;
            print(&format!("{} keys are in {}\n", store.list().len(), file.display()));
        }
        KeysCommand::Import(KeyFile { file, passphrase_file }) => {
            let passphrase = passphrase(passphrase_file.as_deref(), environment)?;
            let bytes = std::fs::read(file).map_err(|error| Failure::other(format!("{}: {error}", file.display())))?;
            let new = store.import(&bytes, &passphrase).map_err(Failure::other)?;
            print(&format!("{new} new keys; they are in force from the next start on\n"));
        }
    }
    Ok(())
}

fn of(usage: KeyUse) -> crate::token::KeyUse {
    match usage {
        KeyUse::Access => crate::token::KeyUse::Access,
        KeyUse::Refresh => crate::token::KeyUse::Refresh,
        KeyUse::Cookie => crate::token::KeyUse::Cookie,
    }
}

/// Says what rests on a key before it goes. Which session a refresh token was signed under is not recorded, so every
/// session that may have been is counted.
fn retire(settings: &Settings, store: &mut KeyStore, id: KeyId, yes: bool) -> Result<(), Failure> {
    let key = store.list().into_iter().find(|key| key.id == id);
    let key = key.ok_or_else(|| Failure::usage(format!("{id}: there is no such key")))?;
    if key.state == KeyState::Signing {
        return Err(Failure::other(KeyError::StillSigns(id)));
    }
    if !yes {
        let loss = match key.purpose {
            _ if key.state == KeyState::Published => "no session ends; it has signed nothing".to_owned(),
            crate::token::KeyUse::Access => {
                "no session ends; access tokens under it are refreshed by their clients".to_owned()
            }
            crate::token::KeyUse::Refresh | crate::token::KeyUse::Cookie => {
                let options = startup::store_options(settings);
                let inspect = || embedded::inspect(&settings.data_dir, &options, &*Ports::system().files);
                let users = match settings.data_dir.is_dir().then(inspect).transpose() {
                    Ok(found) => format!("up to {}", found.map_or(0, |found| found.users)),
                    Err(OpenError::InUse(_)) => {
                        "any number of (a running server has the data, so they are not counted)".to_owned()
                    }
                    Err(error) => return Err(error.into()),
                };
                format!(
                    "the sessions of {users} users end, of whom the anonymous ones cannot come back: \
                     all whose {} was made under it",
                    if key.purpose == crate::token::KeyUse::Cookie { "cookie" } else { "refresh token" }
                )
            }
        };
        print(&format!("{id}: {loss}\nnothing was done; say --yes to retire it\n"));
        return Ok(());
    }
    if key.purpose != crate::token::KeyUse::Access && settings.data_dir.is_dir() {
        let options = startup::store_options(settings);
        if let Err(OpenError::InUse(_)) = embedded::inspect(&settings.data_dir, &options, &*Ports::system().files) {
            let why = "a running server may still sign with it, and those sessions would end too: stop it first";
            return Err(Failure::other(format!("{id}: {why}")));
        }
    }
    store.retire(id).map_err(Failure::other)?;
    print(&format!("{id} is retired from the next start on\n"));
    Ok(())
}

/// A time as people read it: RFC 3339, in UTC.
fn readable(unix_s: u64) -> String {
    let time = i64::try_from(unix_s).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("at Unix time {unix_s}"), |time| time.to_string())
}

fn passphrase(file: Option<&Path>, environment: &[(OsString, OsString)]) -> Result<String, Failure> {
    if let Some(file) = file {
        let text = read_private(file);
        let text = text.map_err(|reason| Failure::usage(format!("{}: {reason}", file.display())))?;
        return Ok(text.lines().next().unwrap_or_default().to_owned());
    }
    let found = environment.iter().find(|(name, _)| name == PASSPHRASE_ENV).and_then(|(_, value)| value.to_str());
    let missing = || Failure::usage(format!("a passphrase is needed, in {PASSPHRASE_ENV} or --passphrase-file"));
    found.map(str::to_owned).ok_or_else(missing)
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
