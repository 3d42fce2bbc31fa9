//! Keys on disk: made, rotated, retired, and refused.

use super::*;
use crate::token::testing::Repeatable;

const NOW: u64 = 1_700_000_000;

struct Folder {
    root: tempfile::TempDir,
    entropy: Repeatable,
}

impl Folder {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), entropy: Repeatable::default() }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("keys")
    }

    fn open(&self, access: Algorithm, must_exist: bool) -> Result<KeyStore, KeyError> {
        KeyStore::open_or_create(&self.dir(), access, must_exist, &self.entropy, NOW)
    }

    /// Changes the text of the file of the key that signs for `purpose`.
    fn edit(&self, purpose: KeyUse, change: impl Fn(KeyFile) -> KeyFile) {
        let store = KeyStore::load(&self.dir()).unwrap();
        let path = store.path(store.signing(purpose).unwrap().id);
        let file = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        fs::write(&path, serde_json::to_vec(&change(file)).unwrap()).unwrap();
    }
}

fn states(store: &KeyStore, purpose: KeyUse) -> Vec<(Algorithm, KeyState)> {
    let of_use = store.list().into_iter().filter(|key| key.purpose == purpose);
    of_use.map(|key| (key.algorithm, key.state)).collect()
}

#[test]
fn the_first_start_makes_one_key_for_each_use_and_the_second_none() {
    let folder = Folder::new();
    let made = folder.open(Algorithm::EdDSA, false).unwrap();
    assert_eq!(states(&made, KeyUse::Access), [(Algorithm::EdDSA, KeyState::Signing)]);
    assert_eq!(states(&made, KeyUse::Refresh), [(Algorithm::HS256, KeyState::Signing)]);
    assert_eq!(states(&made, KeyUse::Cookie), [(Algorithm::HS256, KeyState::Signing)]);
    made.ring().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.dir()), 0o700);
    assert!(key_files(&folder.dir()).unwrap().iter().all(|path| mode(path) == 0o600));
    assert_eq!(fs::read_dir(folder.dir()).unwrap().count(), 3);
    assert_eq!(folder.open(Algorithm::EdDSA, true).unwrap().list(), made.list());
}

/// S2: keys that users depend on are never replaced in silence.
#[test]
fn missing_keys_of_existing_users_are_an_error() {
    let folder = Folder::new();
    assert!(matches!(folder.open(Algorithm::EdDSA, true), Err(KeyError::Missing { .. })));
    assert!(!folder.dir().exists());
    let store = folder.open(Algorithm::EdDSA, false).unwrap();
    fs::remove_file(store.path(store.signing(KeyUse::Refresh).unwrap().id)).unwrap();
    let lost = folder.open(Algorithm::EdDSA, true).unwrap_err();
    assert!(matches!(&lost, KeyError::Missing { purpose: KeyUse::Refresh, .. }));
    assert!(matches!(KeyStore::load(&folder.dir()).unwrap().ring(), Err(KeyError::NoneSigns(KeyUse::Refresh))));
}

#[test]
fn a_different_access_algorithm_adds_a_key_and_keeps_the_old_one() {
    let folder = Folder::new();
    folder.open(Algorithm::EdDSA, false).unwrap();
    let changed = folder.open(Algorithm::HS256, true).unwrap();
    let wanted = [(Algorithm::EdDSA, KeyState::Verifying), (Algorithm::HS256, KeyState::Signing)];
    assert_eq!(states(&changed, KeyUse::Access), wanted);
    assert_eq!(folder.open(Algorithm::HS256, true).unwrap().list(), changed.list());
    let changed = folder.open(Algorithm::ES256, true).unwrap();
    assert_eq!(states(&changed, KeyUse::Access)[2], (Algorithm::ES256, KeyState::Signing));
    assert_eq!(folder.open(Algorithm::ES256, true).unwrap().list(), changed.list());
}

/// S29: a new key signs, the old one stays until it is retired; the one that signs cannot be.
#[test]
fn rotation_and_retirement_survive_a_restart() {
    let folder = Folder::new();
    let mut store = folder.open(Algorithm::EdDSA, false).unwrap();
    let old = store.signing(KeyUse::Access).unwrap().id;
    // the wall clock has gone back
    let new = store.rotate(KeyUse::Access, &folder.entropy, NOW - 100).unwrap().id;
    assert_eq!(KeyStore::load(&folder.dir()).unwrap().list(), store.list());
    assert_eq!(store.signing(KeyUse::Access).unwrap().id, new);
    assert!(matches!(store.retire(new), Err(KeyError::StillSigns(_))));
    store.retire(old).unwrap();
    assert!(matches!(store.retire(old), Err(KeyError::Unknown(_))));
    assert_eq!(KeyStore::load(&folder.dir()).unwrap().list(), store.list());
    assert_eq!(store.list().len(), 3);
}

/// S29: others can know a key before it signs. What an earlier version reads in its file is a key that verifies.
#[test]
fn a_published_key_verifies_and_signs_after_the_next_rotation() {
    let folder = Folder::new();
    let mut store = folder.open(Algorithm::EdDSA, false).unwrap();
    let old = store.signing(KeyUse::Access).unwrap().id;
    // the wall clock has gone back
    let next = store.publish(KeyUse::Access, &folder.entropy, NOW - 100).unwrap();
    assert_eq!((next.state, next.algorithm), (KeyState::Published, Algorithm::EdDSA));
    let again = store.publish(KeyUse::Access, &folder.entropy, NOW);
    assert!(matches!(again, Err(KeyError::AlreadyPublished(id)) if id == next.id));
    let file = fs::read_to_string(store.path(next.id)).unwrap();
    assert!(file.contains("\"state\": \"verifying\""), "{file}");
    let mut store = folder.open(Algorithm::EdDSA, true).unwrap();
    assert_eq!(store.signing(KeyUse::Access).unwrap().id, old);
    let of = |state| (Algorithm::EdDSA, state);
    assert_eq!(states(&store, KeyUse::Access), [KeyState::Signing, KeyState::Published].map(of));
    assert_eq!(store.rotate(KeyUse::Access, &folder.entropy, NOW).unwrap().id, next.id);
    let opened = folder.open(Algorithm::EdDSA, true).unwrap();
    assert_eq!(states(&opened, KeyUse::Access), [KeyState::Verifying, KeyState::Signing].map(of));
    // one that was published is not the next any more once a younger one signs
    store.publish(KeyUse::Access, &folder.entropy, NOW).unwrap();
    let changed = folder.open(Algorithm::ES256, true).unwrap();
    assert!(states(&changed, KeyUse::Access)[..3].iter().all(|(_, state)| *state == KeyState::Verifying));
    assert_eq!(KeyStore::load(&folder.dir()).unwrap().list(), changed.list());
}

#[test]
fn of_two_signing_keys_the_newer_signs() {
    let folder = Folder::new();
    let mut store = folder.open(Algorithm::EdDSA, false).unwrap();
    let old = Arc::clone(&store.keys.iter().find(|(key, _)| key.purpose == KeyUse::Refresh).unwrap().0);
    let new = store.rotate(KeyUse::Refresh, &folder.entropy, NOW).unwrap().id;
    // as a crash within the rotation leaves it
    store.write(&old, KeyState::Signing).unwrap();
    let after = KeyStore::load(&folder.dir()).unwrap();
    assert_eq!(after.signing(KeyUse::Refresh).unwrap().id, new);
    assert_eq!(after.list(), store.list());
}

#[test]
fn what_a_crash_left_half_written_is_written_anew() {
    let folder = Folder::new();
    let store = folder.open(Algorithm::EdDSA, false).unwrap();
    let (key, state) = &store.keys[0];
    let unfinished = folder.dir().join(format!("{}{UNFINISHED}", key.id));
    fs::write(&unfinished, "{").unwrap();
    fs::set_permissions(&unfinished, PermissionsExt::from_mode(0o644)).unwrap();
    assert_eq!(KeyStore::load(&folder.dir()).unwrap().list(), store.list());
    store.write(key, *state).unwrap();
    assert!(!unfinished.exists());
    assert_eq!(KeyStore::load(&folder.dir()).unwrap().list(), store.list());
    // also one of a key that was never created
    let other = folder.dir().join(format!("anything{UNFINISHED}"));
    fs::write(&other, "{\"secret\": \"").unwrap();
    assert_eq!(folder.open(Algorithm::EdDSA, true).unwrap().list(), store.list());
    assert!(!other.exists());
}

#[test]
fn a_folder_of_keys_that_others_may_write_is_refused() {
    let folder = Folder::new();
    folder.open(Algorithm::EdDSA, false).unwrap();
    for mode in [0o770, 0o702, 0o777, 0o720] {
        fs::set_permissions(folder.dir(), PermissionsExt::from_mode(mode)).unwrap();
        let error = KeyStore::load(&folder.dir()).unwrap_err();
        assert!(matches!(error, KeyError::WritableFolder { .. }), "{mode:o}");
        assert!(error.to_string().contains(&format!("mode {mode:03o} lets others write")), "{error}");
    }
    fs::set_permissions(folder.dir(), PermissionsExt::from_mode(0o755)).unwrap();
    assert!(KeyStore::load(&folder.dir()).is_ok(), "reading names tells nothing");
    fs::set_permissions(folder.dir(), PermissionsExt::from_mode(0o700)).unwrap();
}

/// S28: start is refused, in one sentence, when a key file is open to others or holds a weak secret.
#[test]
fn exposed_and_weak_key_files_are_refused() {
    let folder = Folder::new();
    let store = folder.open(Algorithm::HS256, false).unwrap();
    let path = store.path(store.list()[0].id);
    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let error = KeyStore::load(&folder.dir()).unwrap_err();
        assert!(matches!(error, KeyError::Exposed { .. }), "{mode:o}");
        assert!(error.to_string().contains(&format!("{mode:03o}")), "{error}");
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    for secret in [BASE64.encode([7; 32]), BASE64.encode("defaultencryptionkey"), "=".to_owned()] {
        let folder = Folder::new();
        folder.open(Algorithm::HS256, false).unwrap();
        folder.edit(KeyUse::Cookie, |file| KeyFile { secret: secret.clone(), ..file });
        let error = KeyStore::load(&folder.dir()).unwrap_err();
        assert!(matches!(error, KeyError::Unreadable { .. }), "{error}");
        assert!(!error.to_string().contains(&secret) || secret == "=", "{error}");
    }
}

#[test]
fn a_file_that_is_no_key_is_named_and_its_text_is_not() {
    let folder = Folder::new();
    folder.open(Algorithm::EdDSA, false).unwrap();
    let path = folder.dir().join("stray.json");
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
    file.write_all(br#"{"secret":"hunter2hunter2", "id": 5}"#).unwrap();
    let error = KeyStore::load(&folder.dir()).unwrap_err().to_string();
    assert!(error.contains("stray.json") && !error.contains("hunter2"), "{error}");
}

#[test]
fn an_export_brings_every_key_to_a_new_folder() {
    let (from, to) = (Folder::new(), Folder::new());
    let mut store = from.open(Algorithm::EdDSA, false).unwrap();
    store.rotate(KeyUse::Refresh, &from.entropy, NOW + 1).unwrap();
    let mut store = KeyStore::open_or_create(&from.dir(), Algorithm::ES256, true, &from.entropy, NOW + 2).unwrap();
    store.rotate(KeyUse::Access, &from.entropy, NOW + 3).unwrap();
    let bytes = store.export("passphrase", &from.entropy).unwrap();
    for (key, _) in &store.keys {
        let secret = BASE64.encode(&key.secret);
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }

    let mut copy = KeyStore::load(&to.dir()).unwrap();
    assert!(matches!(copy.import(&bytes, "wrong"), Err(KeyError::WrongPassphrase)));
    assert!(!to.dir().exists());
    assert_eq!(copy.import(&bytes, "passphrase").unwrap(), 6);
    assert_eq!(copy.import(&bytes, "passphrase").unwrap(), 0, "again");
    assert_eq!(to.open(Algorithm::ES256, true).unwrap().list(), store.list());

    to.edit(KeyUse::Cookie, |file| KeyFile { secret: BASE64.encode((0..32).collect::<Vec<u8>>()), ..file });
    let mut other = KeyStore::load(&to.dir()).unwrap();
    assert!(matches!(other.import(&bytes, "passphrase"), Err(KeyError::Clash(_))));
}

#[test]
fn imported_keys_verify_beside_newer_ones_that_sign() {
    let (from, to) = (Folder::new(), Folder::new());
    to.entropy.fill(&mut [0; 32]);
    let bytes = from.open(Algorithm::EdDSA, false).unwrap().export("p", &from.entropy).unwrap();
    let mut store = KeyStore::open_or_create(&to.dir(), Algorithm::EdDSA, false, &to.entropy, NOW + 50).unwrap();
    let signing = store.signing(KeyUse::Refresh).unwrap().id;
    store.import(&bytes, "p").unwrap();
    assert_eq!(store.signing(KeyUse::Refresh).unwrap().id, signing);
    assert_eq!(store.list().len(), 6);
    assert_eq!(KeyStore::load(&to.dir()).unwrap().list(), store.list());
    store.ring().unwrap();
}

#[test]
fn debug_shows_no_secret() {
    let folder = Folder::new();
    let store = folder.open(Algorithm::EdDSA, false).unwrap();
    let text = format!("{store:?} {:?} {:?}", store.ring().unwrap(), store.list());
    for (key, _) in &store.keys {
        assert!(!text.contains(&BASE64.encode(&key.secret)));
        assert!(!text.contains(&format!("{:?}", key.secret)));
    }
}
