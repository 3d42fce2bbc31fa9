//! Signing keys on disk: one small file each, in a folder apart from the store and its backups (S2).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use passerby_actors::domain::Entropy;
use serde::{Deserialize, Serialize};

use super::jwt::BASE64;
use super::key_export;
use super::keys::{Algorithm, Key, KeyError, KeyId, KeyRing, KeyState, KeyUse};

const SUFFIX: &str = ".json";
const UNFINISHED: &str = ".tmp";

/// A key as people see it: no secret in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub id: KeyId,
    /// What it signs.
    pub purpose: KeyUse,
    /// How it signs.
    pub algorithm: Algorithm,
    /// When it was created, Unix time in seconds.
    pub created_s: u64,
    /// Whether it still signs.
    pub state: KeyState,
}

/// The folder of key files, and what is in it.
#[derive(Debug)]
pub struct KeyStore {
    dir: PathBuf,
    /// In order of age.
    keys: Vec<(Arc<Key>, KeyState)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    id: String,
    #[serde(rename = "use")]
    purpose: KeyUse,
    alg: Algorithm,
    created_s: u64,
    state: KeyState,
    secret: String,
}

impl KeyStore {
    /// Reads the folder, which may be empty or missing. Creates nothing.
    ///
    /// # Errors
    /// A file that cannot be read, that others can read, or that holds no good key.
    pub fn load(dir: &Path) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for path in key_files(dir)? {
            keys.push(read(&path)?);
        }
        let mut store = Self { dir: dir.to_owned(), keys };
        store.settle();
        Ok(store)
    }

    /// Reads the folder at start, and creates the keys that are missing. A signing access key of an algorithm other than
    /// the wanted one goes on verifying, and a new one signs. `must_exist`: there are users already, whose tokens the
    /// missing keys have signed, so nothing is created in their place.
    ///
    /// # Errors
    /// As [`load`](Self::load); a missing key that must exist; a folder that cannot be written.
    pub fn open_or_create(
        dir: &Path,
        access: Algorithm,
        must_exist: bool,
        entropy: &dyn Entropy,
        now_s: u64,
    ) -> Result<Self, KeyError> {
        let mut store = Self::load(dir)?;
        store.remove_unfinished()?;
        for purpose in KeyUse::ALL {
            let wanted = if purpose == KeyUse::Access { access } else { Algorithm::HS256 };
            match store.signing(purpose) {
                Some(key) if key.algorithm == wanted => {}
                None if must_exist => return Err(KeyError::Missing { purpose, dir: dir.to_owned() }),
                _ => {
                    store.add_signing(purpose, wanted, entropy, now_s)?;
                }
            }
        }
        Ok(store)
    }

    /// Whether [`open_or_create`](Self::open_or_create) would create a key, so that the folder has to be written.
    pub fn lacks_any(&self, access: Algorithm) -> bool {
        KeyUse::ALL.into_iter().any(|purpose| {
            let wanted = if purpose == KeyUse::Access { access } else { Algorithm::HS256 };
            self.signing(purpose).is_none_or(|key| key.algorithm != wanted)
        })
    }

    /// The keys to work with.
    ///
    /// # Errors
    /// A use without a signing key, or one secret in two keys.
    pub fn ring(&self) -> Result<KeyRing, KeyError> {
        KeyRing::new(&self.keys)
    }

    /// All keys, oldest first.
    pub fn list(&self) -> Vec<KeyInfo> {
        self.keys.iter().map(|(key, state)| info(key, *state)).collect()
    }

    /// Lets the published key of this use sign from now on, or a new one if there is none; the old one still verifies.
    ///
    /// # Errors
    /// No key of this use to take over from, or a folder that cannot be written.
    pub fn rotate(&mut self, purpose: KeyUse, entropy: &dyn Entropy, now_s: u64) -> Result<KeyInfo, KeyError> {
        let algorithm = self.signing(purpose).ok_or(KeyError::NoneSigns(purpose))?.algorithm;
        let Some(next) = self.published(purpose) else {
            return self.add_signing(purpose, algorithm, entropy, now_s);
        };
        let key = Arc::clone(&self.keys[next].0);
        self.write(&key, KeyState::Signing)?;
        self.keys[next].1 = KeyState::Signing;
        self.write_settled()?;
        Ok(info(&key, KeyState::Signing))
    }

    /// Creates the next key of this use, which verifies from now on and signs after the next rotation.
    ///
    /// # Errors
    /// There is one already, no key of this use to take over from, or a folder that cannot be written.
    pub fn publish(&mut self, purpose: KeyUse, entropy: &dyn Entropy, now_s: u64) -> Result<KeyInfo, KeyError> {
        let algorithm = self.signing(purpose).ok_or(KeyError::NoneSigns(purpose))?.algorithm;
        if let Some(next) = self.published(purpose) {
            return Err(KeyError::AlreadyPublished(self.keys[next].0.id));
        }
        self.add(purpose, algorithm, KeyState::Published, entropy, now_s)
    }

    /// Takes a key away: what it signed is no longer good.
    ///
    /// # Errors
    /// No such key, the one that signs, or a folder that cannot be written.
    pub fn retire(&mut self, id: KeyId) -> Result<(), KeyError> {
        let at = self.keys.iter().position(|(key, _)| key.id == id).ok_or(KeyError::Unknown(id))?;
        if self.keys[at].1 == KeyState::Signing {
            return Err(KeyError::StillSigns(id));
        }
        let path = self.path(id);
        fs::remove_file(&path).map_err(at_path(&path))?;
        self.sync_dir()?;
        self.keys.remove(at);
        Ok(())
    }

    /// All keys, encrypted under the passphrase.
    ///
    /// # Errors
    /// An empty passphrase.
    pub fn export(&self, passphrase: &str, entropy: &dyn Entropy) -> Result<Vec<u8>, KeyError> {
        let files: Vec<KeyFile> = self.keys.iter().map(|(key, state)| to_file(key, *state)).collect();
        let text = serde_json::to_vec(&files).map_err(|_| KeyError::NotAnExport)?;
        key_export::seal(&text, passphrase, entropy)
    }

    /// Adds the keys of an export; of each use the newest key signs. Returns how many were new.
    ///
    /// # Errors
    /// Not an export of ours, the wrong passphrase, or a key of the same name but with other content: then nothing is
    /// imported. A folder that cannot be written: what was written stays, and the import can be repeated.
    pub fn import(&mut self, bytes: &[u8], passphrase: &str) -> Result<usize, KeyError> {
        let text = key_export::open(bytes, passphrase)?;
        let files: Vec<KeyFile> = serde_json::from_slice(&text).map_err(|_| KeyError::NotAnExport)?;
        let mut new: Vec<(Arc<Key>, KeyState)> = Vec::new();
        for file in files {
            let (key, state) = from_file(file).map_err(|reason| match reason {
                FileError::Key(error) => error,
                FileError::Text(_) => KeyError::NotAnExport,
            })?;
            match self.keys.iter().chain(&new).find(|(other, _)| other.id == key.id) {
                Some((other, _)) if is_same(other, &key) => {}
                Some(_) => return Err(KeyError::Clash(key.id)),
                None => new.push((Arc::new(key), state)),
            }
        }
        self.make_dir()?;
        for (key, state) in &new {
            self.write(key, *state)?;
        }
        let added = new.len();
        self.keys.extend(new);
        self.write_settled()?;
        Ok(added)
    }

    /// Removes what a crash left half written: it may hold a secret, in a file that no one looks after.
    fn remove_unfinished(&self) -> Result<(), KeyError> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(at_path(&self.dir))?,
        };
        for entry in entries {
            let path = entry.map_err(at_path(&self.dir))?.path();
            if path.as_os_str().to_string_lossy().ends_with(UNFINISHED) {
                fs::remove_file(&path).map_err(at_path(&path))?;
            }
        }
        Ok(())
    }

    fn signing(&self, purpose: KeyUse) -> Option<&Key> {
        let signs = |(key, state): &&(Arc<Key>, KeyState)| key.purpose == purpose && *state == KeyState::Signing;
        self.keys.iter().find(signs).map(|(key, _)| &**key)
    }

    /// The place of the key of this use that signs after the next rotation.
    fn published(&self, purpose: KeyUse) -> Option<usize> {
        self.keys.iter().rposition(|(key, state)| key.purpose == purpose && *state == KeyState::Published)
    }

    fn add_signing(
        &mut self,
        purpose: KeyUse,
        algorithm: Algorithm,
        entropy: &dyn Entropy,
        now_s: u64,
    ) -> Result<KeyInfo, KeyError> {
        self.add(purpose, algorithm, KeyState::Signing, entropy, now_s)
    }

    fn add(
        &mut self,
        purpose: KeyUse,
        algorithm: Algorithm,
        state: KeyState,
        entropy: &dyn Entropy,
        now_s: u64,
    ) -> Result<KeyInfo, KeyError> {
        // younger than those before, even if the wall clock went back: the newest signs
        let newest_s = self.keys.iter().filter(|(key, _)| key.purpose == purpose).map(|(key, _)| key.created_s).max();
        let created_s = newest_s.map_or(now_s, |newest_s| now_s.max(newest_s + 1));
        let key = Arc::new(Key::generate(purpose, algorithm, entropy, created_s)?);
        let created = info(&key, state);
        self.make_dir()?;
        // the new key first: a crash in between leaves two that sign, and the newer one is taken
        self.write(&key, state)?;
        self.keys.push((key, state));
        self.write_settled()?;
        Ok(created)
    }

    fn write_settled(&mut self) -> Result<(), KeyError> {
        self.settle().iter().try_for_each(|(key, state)| self.write(key, *state))
    }

    /// Leaves one signing key for each use, the newest; those that are younger and do not sign are published. Returns those whose
    /// state now differs from their file.
    fn settle(&mut self) -> Vec<(Arc<Key>, KeyState)> {
        self.keys.sort_by_key(|(key, _)| (key.created_s, key.id));
        let mut changed = Vec::new();
        for purpose in KeyUse::ALL {
            let signing = self.keys.iter_mut().rev().filter(|(key, _)| key.purpose == purpose);
            for (key, state) in signing.filter(|(_, state)| *state == KeyState::Signing).skip(1) {
                *state = KeyState::Verifying;
                changed.push((Arc::clone(key), *state));
            }
            let signs = |(key, state): &(Arc<Key>, KeyState)| key.purpose == purpose && *state == KeyState::Signing;
            let signing = self.keys.iter().position(signs).unwrap_or(self.keys.len());
            for (place, (_, state)) in self.keys.iter_mut().enumerate().filter(|(_, (key, _))| key.purpose == purpose) {
                if *state != KeyState::Signing {
                    *state = if place > signing { KeyState::Published } else { KeyState::Verifying };
                }
            }
        }
        changed
    }

    fn path(&self, id: KeyId) -> PathBuf {
        key_path(&self.dir, id)
    }

    /// Creates the folder, and makes every new entry on its path durable: without its keys a store's users are lost.
    fn make_dir(&self) -> Result<(), KeyError> {
        let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let new: Vec<&Path> = self.dir.ancestors().take_while(is_new).collect();
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(at_path(&self.dir))?;
        for path in new {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(parent).and_then(|dir| dir.sync_all()).map_err(at_path(parent))?;
        }
        Ok(())
    }

    /// Whole or not at all, and on the disk when it returns.
    fn write(&self, key: &Key, state: KeyState) -> Result<(), KeyError> {
        let path = self.path(key.id);
        let unfinished = self.dir.join(format!("{}{UNFINISHED}", key.id));
        let mut text =
            serde_json::to_vec_pretty(&to_file(key, state)).map_err(|error| at_path(&path)(io::Error::other(error)))?;
        text.push(b'\n');
        let write = || {
            // what a crash left there would keep its mode, so the file is always a new one
            fs::remove_file(&unfinished).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)
        };
        write().map_err(at_path(&path))?;
        self.sync_dir()
    }

    fn sync_dir(&self) -> Result<(), KeyError> {
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(at_path(&self.dir))
    }
}

/// The file of a key in the folder `dir`.
pub fn key_path(dir: &Path, id: KeyId) -> PathBuf {
    dir.join(format!("{id}{SUFFIX}"))
}

/// Why a [`KeyFile`] is not a key.
enum FileError {
    Text(&'static str),
    Key(KeyError),
}

fn key_files(dir: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at_path(dir))?,
    };
    let mode = fs::metadata(dir).map_err(at_path(dir))?.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        return Err(KeyError::WritableFolder { path: dir.to_owned(), mode });
    }
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(at_path(dir))?.path();
        if path.as_os_str().to_string_lossy().ends_with(SUFFIX) {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn read(path: &Path) -> Result<(Arc<Key>, KeyState), KeyError> {
    let unreadable = |reason: String| KeyError::Unreadable { path: path.to_owned(), reason };
    let mode = fs::metadata(path).map_err(at_path(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let text = fs::read(path).map_err(at_path(path))?;
    // serde's own message may quote the text, and the text is a secret
    let file: KeyFile = serde_json::from_slice(&text)
        .map_err(|error| unreadable(format!("line {}, column {}", error.line(), error.column())))?;
    let (key, state) = from_file(file).map_err(|error| match error {
        FileError::Text(reason) => unreadable(reason.to_owned()),
        FileError::Key(error) => unreadable(error.to_string()),
    })?;
    if path.file_name().is_none_or(|name| name.to_string_lossy() != format!("{}{SUFFIX}", key.id)) {
        return Err(unreadable(format!("it holds key {}, which has a different file name", key.id)));
    }
    Ok((Arc::new(key), state))
}

fn from_file(file: KeyFile) -> Result<(Key, KeyState), FileError> {
    let id = KeyId::parse(&file.id).ok_or(FileError::Text("its id is not 16 hexadecimal digits"))?;
    let secret = BASE64.decode(file.secret).map_err(|_| FileError::Text("its secret is not base64url"))?;
    let key = Key::from_secret(id, file.purpose, file.alg, file.created_s, secret).map_err(FileError::Key)?;
    Ok((key, file.state))
}

fn to_file(key: &Key, state: KeyState) -> KeyFile {
    KeyFile {
        id: key.id.to_string(),
        purpose: key.purpose,
        alg: key.algorithm,
        created_s: key.created_s,
        state,
        secret: BASE64.encode(&key.secret),
    }
}

fn info(key: &Key, state: KeyState) -> KeyInfo {
    KeyInfo { id: key.id, purpose: key.purpose, algorithm: key.algorithm, created_s: key.created_s, state }
}

fn is_same(one: &Key, other: &Key) -> bool {
    (one.purpose, one.algorithm, &one.secret) == (other.purpose, other.algorithm, &other.secret)
}

fn at_path(path: &Path) -> impl Fn(io::Error) -> KeyError {
    move |source| KeyError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
