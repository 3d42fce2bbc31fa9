//! The signing keys of a running server: looks whether they are still where its next start would look for them, and changes them
//! there and in the server together.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Tokens;
use super::key_store::{KeyInfo, KeyStore, key_path};
use super::keys::{KeyError, KeyState, KeyUse};

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

/// The keys of a running server, and whether some of them are gone.
#[derive(Debug)]
pub struct KeyWatch {
    dir: PathBuf,
    held: Mutex<Vec<KeyInfo>>,
    missing: AtomicBool,
}

impl KeyWatch {
    /// Begins to look after the keys in `dir`, on a thread that ends with what is returned.
    ///
    /// # Errors
    /// There is no thread.
    pub fn start(dir: &Path, keys: &KeyStore) -> std::io::Result<Arc<Self>> {
        let watch =
            Arc::new(Self { dir: dir.to_owned(), held: Mutex::new(keys.list()), missing: AtomicBool::new(false) });
        let watched = Arc::downgrade(&watch);
        std::thread::Builder::new().name("key-watch".to_owned()).spawn(move || {
            while let Some(watch) = watched.upgrade() {
                watch.look();
                drop(watch);
                std::thread::park_timeout(EVERY);
            }
        })?;
        Ok(watch)
    }

    /// Whether a start would not find what this server works with.
    pub fn is_missing(&self) -> bool {
        self.missing.load(Ordering::Relaxed)
    }

    /// Whether the next start will find other keys than this one did, or none that it takes.
    pub fn has_changed(&self) -> bool {
        !KeyStore::load(&self.dir).is_ok_and(|found| found.list() == *self.held.lock())
    }

    /// All that this server works with, oldest first.
    pub fn keys(&self) -> Vec<KeyInfo> {
        self.held.lock().clone()
    }

    /// Changes the keys in their folder, and then those that `tokens` works with.
    ///
    /// # Errors
    /// `Moved`: the folder has others than this server. What `change` or reading the folder says; the server then goes on with the
    /// keys that it had.
    pub fn change<T>(
        &self,
        tokens: &Tokens,
        change: impl FnOnce(&mut KeyStore) -> Result<T, KeyError>,
    ) -> Result<T, KeyError> {
        let mut held = self.held.lock();
        let mut store = KeyStore::load(&self.dir)?;
        if store.list() != *held {
            return Err(KeyError::Moved);
        }
        let changed = change(&mut store)?;
        tokens.replace_keys(store.ring()?);
        *held = store.list();
        Ok(changed)
    }

    /// Says once that keys are gone, and once that they are back.
    fn look(&self) {
        let why = self.why_missing();
        match (self.missing.swap(why.is_some(), Ordering::Relaxed), why) {
            (false, Some(why)) => tracing::error!(
                folder = %self.dir.display(),
                "{why}: this server goes on with the keys in its memory, and the next start cannot; put the key files back before \
                 this one ends (or `passerby keys import`), since without them every anonymous user is lost"
            ),
            (true, None) => tracing::info!(folder = %self.dir.display(), "the signing keys are in their place again"),
            _ => {}
        }
    }

    /// In words, what a start would not find.
    fn why_missing(&self) -> Option<String> {
        let is_there = |key: &KeyInfo| match std::fs::symlink_metadata(key_path(&self.dir, key.id)) {
            Ok(_) => true,
            // a file system that does not answer has not said no
            Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
        };
        // one of access tokens may be retired while the server runs: clients refresh them
        let matters = |key: &&KeyInfo| key.purpose != KeyUse::Access || key.state == KeyState::Signing;
        let held = self.held.lock();
        if held.iter().filter(matters).all(is_there) {
            return None;
        }
        let found = match KeyStore::load(&self.dir) {
            Ok(found) => found.list(),
            Err(error) => return Some(format!("the signing keys cannot be read any more ({error})")),
        };
        let is_gone = |key: &&KeyInfo| key.purpose != KeyUse::Access && found.iter().all(|found| found.id != key.id);
        if let Some(key) = held.iter().find(is_gone) {
            return Some(format!(
                "the signing key {} ({}) was removed under the running server",
                key.id,
                key.purpose.name()
            ));
        }
        let signs = |key: &KeyInfo| key.purpose == KeyUse::Access && key.state == KeyState::Signing;
        (!found.iter().any(signs)).then(|| "no key is left that signs access tokens".to_owned())
    }
}
