//! A file layer that records what is durable, fails when told to, and can show what a loss of power might leave.
//!
//! Every file has the content of its last sync, every folder the entries of its last sync. On a loss, whatever is newer is
//! kept, dropped, emptied or torn, each by chance. sled's files do not pass this layer: what is under `snapshot/` counts as
//! unwritten until we sync each file and folder.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::Random;
use crate::store::embedded::files::{AppendFile, Disk, Files};

/// How the disk behaves from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// As it should.
    #[default]
    Works,
    /// Syncs fail; writes seem to work.
    SyncsFail,
    /// Writes stop half-way with "no space left".
    Full,
    /// Every operation fails: the power is gone.
    Dead,
}

#[derive(Default)]
struct State {
    mode: Mode,
    /// the content that each path's file had when it was last synced
    synced: BTreeMap<PathBuf, Vec<u8>>,
    /// the entries that each folder had when it was last synced, with the durable content of the file behind each
    durable: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// durable entries that were removed or replaced since: what was behind them
    replaced: BTreeMap<PathBuf, Option<Vec<u8>>>,
    syncs: u64,
    /// the power goes with this many more appends, after the write and before its sync
    appends_left: Option<u64>,
    fail_snapshots: bool,
    /// the disk is like this from that many more syncs on
    turns_at_sync: Option<(u64, Mode)>,
    /// done once, when the next generation is about to be named
    before_naming: Option<Box<dyn FnOnce() + Send>>,
}

/// Where appends wait while the disk is held.
#[derive(Default)]
struct Gate {
    place: Mutex<Place>,
    opened: Condvar,
}

#[derive(Default)]
struct Place {
    /// so many may still pass; none: the disk is not held
    may_pass: Option<u64>,
    /// how many have come to wait so far
    came: u64,
    /// the length of the last of them
    bytes: usize,
}

impl Gate {
    fn pass(&self, bytes: usize) {
        let mut place = self.place.lock();
        if place.may_pass == Some(0) {
            (place.came, place.bytes) = (place.came + 1, bytes);
        }
        self.opened.wait_while(&mut place, |place| place.may_pass == Some(0));
        if let Some(left) = &mut place.may_pass {
            *left -= 1;
        }
    }
}

/// The file layer.
pub struct Faulty {
    state: Arc<Mutex<State>>,
    gate: Arc<Gate>,
}

impl Faulty {
    /// One that works.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { state: Arc::default(), gate: Arc::default() })
    }

    /// Lets so many appends pass from now on and holds up the next one, whatever waits now among them. None: holds up nothing.
    pub fn let_pass(&self, appends: Option<u64>) {
        self.gate.place.lock().may_pass = appends;
        self.gate.opened.notify_all();
    }

    /// How many appends have been held up so far.
    pub fn held_up(&self) -> u64 {
        self.gate.place.lock().came
    }

    /// How long the last append is that was held up.
    pub fn held_up_bytes(&self) -> usize {
        self.gate.place.lock().bytes
    }

    /// The disk is like this from now on.
    pub fn set(&self, mode: Mode) {
        self.state.lock().mode = mode;
    }

    /// Lets the power go between an append and its sync, `n` appends from now.
    pub fn die_at_append(&self, n: u64) {
        self.state.lock().appends_left = Some(n);
    }

    /// Lets the disk turn into this at a sync, `n` syncs from now.
    pub fn turn_at_sync(&self, n: u64, mode: Mode) {
        self.state.lock().turns_at_sync = Some((n, mode));
    }

    /// Lets syncs under `snapshot/` fail, and nothing else.
    pub fn fail_snapshots(&self, on: bool) {
        self.state.lock().fail_snapshots = on;
    }

    /// Does this once, when a generation is written and `CURRENT` does not name it yet.
    pub fn before_naming(&self, act: impl FnOnce() + Send + 'static) {
        self.state.lock().before_naming = Some(Box::new(act));
    }

    /// Whether the power is gone.
    pub fn is_dead(&self) -> bool {
        self.state.lock().mode == Mode::Dead
    }

    /// How many syncs there were, of files and of folders.
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// The power goes. Writes to `image` what a machine might find under `root` when it is back.
    pub fn lose_power(&self, root: &Path, image: &Path, random: &mut Random) {
        let state = &mut *self.state.lock();
        state.mode = Mode::Dead;
        std::fs::create_dir_all(image).unwrap();
        leave_folder(state, root, image, random);
    }

    /// Everything under a folder is durable, as after a reboot.
    pub fn trust(&self, root: &Path) {
        fn walk(state: &mut State, folder: &Path) {
            let entries = entries(folder);
            for path in &entries {
                if path.is_dir() {
                    walk(state, path);
                } else {
                    state.synced.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
            state.durable.insert(folder.to_owned(), entries);
        }
        walk(&mut self.state.lock(), root);
    }
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    std::fs::read_dir(folder).map(|found| found.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default()
}

fn leave_folder(state: &State, folder: &Path, image: &Path, random: &mut Random) {
    let now = entries(folder);
    let nothing = BTreeSet::new();
    let durable = state.durable.get(folder).unwrap_or(&nothing);
    for path in now.union(durable) {
        let target = image.join(path.file_name().unwrap());
        let (is_now, was_durable) = (now.contains(path), durable.contains(path));
        if was_durable
            && let Some(before) = state.replaced.get(path)
            && (!is_now || random.one_in(2))
        {
            // a removal or replacement that was never made durable
            if is_now || random.one_in(2) {
                match before {
                    Some(content) => std::fs::write(&target, content).unwrap(),
                    None => std::fs::create_dir_all(&target).unwrap(),
                }
            }
        } else if is_now && (was_durable || random.one_in(2)) {
            if path.is_dir() {
                std::fs::create_dir_all(&target).unwrap();
                leave_folder(state, path, &target, random);
            } else if let Ok(content) = std::fs::read(path) {
                std::fs::write(&target, leave_content(state.synced.get(path), content, random)).unwrap();
            }
        }
    }
}

fn leave_content(synced: Option<&Vec<u8>>, written: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let nothing = Vec::new();
    let synced = synced.unwrap_or(&nothing);
    if *synced == written {
        return written;
    }
    let common = if written.starts_with(synced) { synced.len() } else { 0 };
    match random.below(4) {
        0 => synced.clone(),
        1 => written,
        2 => written[..common + random.below(written.len() - common + 1)].to_vec(),
        _ => {
            let mut torn = written;
            let from = common + random.below(torn.len() - common + 1);
            torn[from..].iter_mut().for_each(|byte| *byte = if random.one_in(2) { 0 } else { *byte });
            torn
        }
    }
}

impl State {
    fn may_write(&self) -> io::Result<()> {
        match self.mode {
            Mode::Dead => Err(io::Error::other("the power is gone")),
            Mode::Full => Err(io::ErrorKind::StorageFull.into()),
            Mode::Works | Mode::SyncsFail => Ok(()),
        }
    }

    fn may_sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if let Some((left, mode)) = self.turns_at_sync.take() {
            match left.checked_sub(1) {
                Some(less) => self.turns_at_sync = Some((less, mode)),
                None => self.mode = mode,
            }
        }
        match self.mode {
            Mode::Dead => Err(io::Error::other("the power is gone")),
            Mode::SyncsFail => Err(io::Error::other("input/output error")),
            Mode::Works | Mode::Full => Ok(()),
        }
    }

    /// Remembers what a durable entry led to before it is removed or replaced.
    fn remember(&mut self, path: &Path) {
        let is_durable = path.parent().and_then(|parent| self.durable.get(parent)).is_some_and(|d| d.contains(path));
        if is_durable && !self.replaced.contains_key(path) {
            let content = self.synced.get(path).cloned();
            self.replaced.insert(path.to_owned(), if path.is_dir() { None } else { Some(content.unwrap_or_default()) });
        }
    }
}

impl Files for Faulty {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.state.lock().may_write()?;
        Disk.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state.lock();
        state.may_sync()?;
        state.durable.insert(path.to_owned(), entries(path));
        state.replaced.retain(|replaced, _| replaced.parent() != Some(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        Disk.list(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        Disk.read(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *self.state.lock();
        if let Err(error) = state.may_write() {
            if state.mode == Mode::Full {
                Disk.write(path, &bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        Disk.write(path, bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state.lock();
        state.may_sync()?;
        if state.fail_snapshots && path.components().any(|part| part.as_os_str() == "snapshot") {
            return Err(io::Error::other("input/output error"));
        }
        state.synced.insert(path.to_owned(), std::fs::read(path)?);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.state.lock();
        state.may_write()?;
        if let Some(act) = state.before_naming.take() {
            act();
        }
        state.remember(to);
        state.remember(from);
        Disk.rename(from, to)?;
        if let Some(content) = state.synced.remove(from) {
            state.synced.insert(to.to_owned(), content);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state.lock();
        if state.mode == Mode::Dead {
            return Err(io::Error::other("the power is gone"));
        }
        state.remember(path);
        Disk.remove(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn AppendFile>> {
        let file = Disk.open_append(path)?;
        let (state, gate) = (Arc::clone(&self.state), Arc::clone(&self.gate));
        Ok(Box::new(FaultyAppend { state, gate, path: path.to_owned(), file }))
    }
}

struct FaultyAppend {
    state: Arc<Mutex<State>>,
    gate: Arc<Gate>,
    path: PathBuf,
    file: Box<dyn AppendFile>,
}

impl AppendFile for FaultyAppend {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.gate.pass(bytes.len());
        let mut state = self.state.lock();
        if let Err(error) = state.may_write() {
            if state.mode == Mode::Full {
                self.file.append(&bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        if let Some(left) = &mut state.appends_left {
            match left.checked_sub(1) {
                Some(less) => *left = less,
                None => state.mode = Mode::Dead,
            }
        }
        self.file.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let state = &mut *self.state.lock();
        state.may_sync()?;
        state.synced.insert(self.path.clone(), std::fs::read(&self.path)?);
        Ok(())
    }
}
