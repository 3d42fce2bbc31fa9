//! Snapshots: every record of one generation, written once into a fresh sled database, in order, and read once. The only
//! room for sled.
//!
//! The records are one stream, cut into pages of at most 7 KiB (sled moves larger leaves into files that it never syncs).
//! sled 0.34 may panic on what it cannot read, so it is opened under `catch_unwind`; and it is open only while a snapshot
//! is written or read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use parking_lot::Mutex;

use super::codec;
use super::error::OpenError;
use super::files::Files;
use crate::domain::bytes::Reader;
use crate::domain::{Clock, ServiceTime};
use crate::registry::{Item, Registry};

const PAGE_BYTES: usize = 7 * 1024;
const META_KEY: &[u8] = b"meta";
const FORMAT: u8 = 1;
const CACHE_BYTES: u64 = 1 << 20;
/// Loading: records are put by at most so many threads, in chunks of so many bytes.
const MAX_LOADERS: usize = 8;
const CHUNK_BYTES: usize = 256 * 1024;
/// How often progress is reported to a waiting operator (microseconds).
pub(super) const SAY_EVERY_US: u64 = 2_000_000;
/// Enough to free everything: each moves time on a little and frees some of what is old.
const EPOCHS: usize = 4096;
/// Writing: after so many pages (512 KiB) what was written is synced, and then the disk is left to the journal for a moment.
/// One sync of everything at the end would hold up every group behind it: 90 ms at 10 M users.
const PAGES_AT_ONCE: u32 = 73;

/// What a snapshot says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meta {
    /// The first sequence number of the generation's journal.
    pub(super) first_seq: u64,
    pub(super) service: ServiceTime,
    pub(super) wall_ms: u64,
    pub(super) pages: u32,
    pub(super) users: u64,
}

/// Something about the database itself, in one sentence.
fn unreadable(path: &Path, why: impl std::fmt::Display) -> OpenError {
    OpenError::Damaged { what: path.to_owned(), why: format!("the snapshot cannot be read: {why}") }
}

/// sled answers in errors, and where it cannot, in panics.
fn guarded<R>(act: impl FnOnce() -> Result<R, String>) -> Result<R, String> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err("the database engine gave up on it".to_owned()))
}

fn open(path: &Path) -> Result<sled::Db, String> {
    let config = sled::Config::new()
        .path(path)
        .flush_every_ms(None)
        .cache_capacity(CACHE_BYTES)
        .mode(sled::Mode::HighThroughput);
    guarded(|| {
        let mut tries = 0;
        loop {
            match config.open() {
                // sled gives its lock back a moment after a database is dropped (#1234)
                Err(sled::Error::Io(error)) if error.to_string().contains(LOCKED) && tries < OPEN_TRIES => {
                    tries += 1;
                    std::thread::park_timeout(OPEN_RETRY);
                }
                other => return other.map_err(|error| error.to_string()),
            }
        }
    })
}

/// How sled 0.34 says that a different process has the database open.
const LOCKED: &str = "could not acquire lock";
const OPEN_TRIES: u32 = 1000;
const OPEN_RETRY: std::time::Duration = std::time::Duration::from_millis(5);

/// Writes the registry, page by page, and makes it durable. `next_seq` is the first sequence number of the journal that
/// goes with it. Returns the number of bytes of the records in it.
pub(super) fn write(
    files: &dyn Files,
    path: &Path,
    registry: &Registry,
    meta: Meta,
    pause: Duration,
    mut held: impl FnMut(&mut dyn FnMut() -> Vec<Item>) -> Vec<Item>,
) -> Result<u64, String> {
    let io = |error: std::io::Error| error.to_string();
    files.create_dir(path).map_err(io)?;
    let db = open(path)?;
    let (written, bytes) = guarded(move || {
        let mut written = Meta { pages: 0, users: 0, ..meta };
        let mut bytes = 0u64;
        let mut stream = Vec::new();
        let mut put = |page: &[u8], number: &mut u32| {
            let mut value = crc32c::crc32c(page).to_be_bytes().to_vec();
            value.extend(page);
            bytes += value.len() as u64;
            let key = number.to_be_bytes();
            *number += 1;
            db.insert(key, value).map_err(|error| error.to_string())?;
            if number.is_multiple_of(PAGES_AT_ONCE) {
                db.flush().map_err(|error| error.to_string())?;
                if !pause.is_zero() {
                    std::thread::park_timeout(pause);
                }
            }
            Ok::<_, String>(())
        };
        for page in 0..registry.pages() {
            for item in held(&mut || registry.page(page)) {
                written.users += u64::from(matches!(item, Item::User(..)));
                codec::put_item(&mut stream, &item);
            }
            let whole = stream.len() / PAGE_BYTES * PAGE_BYTES;
            for chunk in stream[..whole].chunks(PAGE_BYTES) {
                put(chunk, &mut written.pages)?;
            }
            stream.drain(..whole);
        }
        if !stream.is_empty() {
            put(&stream, &mut written.pages)?;
        }
        db.insert(META_KEY, encode_meta(&written)).map_err(|error| error.to_string())?;
        db.flush().map_err(|error| error.to_string())?;
        Ok((written, bytes))
    })?;
    sync_tree(files, path).map_err(io)?;
    let read = verify(files, path).map_err(|error| error.to_string())?;
    if read != written {
        return Err("the snapshot reads back otherwise than it was written".to_owned());
    }
    // opening it may have rewritten files of sled's own
    sync_tree(files, path).map_err(io)?;
    free_what_sled_left();
    Ok(bytes)
}

/// Frees what sled has let go of: it does so through crossbeam-epoch, whose time stands still once the database is closed.
/// At 10 million users that is a tenth of what they take.
fn free_what_sled_left() {
    for _ in 0..EPOCHS {
        crossbeam_epoch::pin().flush();
    }
}

/// Counts and checks every page.
fn verify(files: &dyn Files, path: &Path) -> Result<Meta, OpenError> {
    read(files, path, |_| {}, |_| Ok(()))
}

/// Reads a snapshot into a registry laid out for `max_users`. With a clock, it says every two seconds how far it is.
pub(super) fn load(
    files: &dyn Files,
    path: &Path,
    max_users: usize,
    clock: Option<&dyn Clock>,
) -> Result<(Meta, Registry), OpenError> {
    let registry = OnceLock::new();
    let put_all = |chunk: &[u8]| registry.get().map_or(Ok(0), |registry| put_all(chunk, registry));
    let mut last_said_us = clock.map_or(0, Clock::monotonic_us);
    let users = AtomicU64::new(0);
    let wrong: Mutex<Option<String>> = Mutex::new(None);
    // one thread reads the pages, the others put their records: these touch other users each, so their order is free
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_LOADERS));
    let (chunks, taken) = sync_channel::<Vec<u8>>(2 * threads);
    let taken = Mutex::new(taken);
    let (meta, left) = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    // in a statement of its own, so that the next thread may take one meanwhile
                    let chunk = taken.lock().recv();
                    let Ok(chunk) = chunk else { return };
                    match put_all(&chunk) {
                        Ok(count) => drop(users.fetch_add(count, Ordering::Relaxed)),
                        Err(why) => *wrong.lock() = Some(why),
                    }
                }
            });
        }
        let mut stream = Vec::with_capacity(CHUNK_BYTES + PAGE_BYTES);
        let begin = |meta: &Meta| {
            let users = usize::try_from(meta.users).unwrap_or(0);
            drop(registry.set(Registry::with_room(max_users, users)));
        };
        let meta = read(files, path, begin, |page| {
            stream.extend_from_slice(page);
            if stream.len() >= CHUNK_BYTES {
                let whole = codec::whole_items(&stream);
                let left = stream.split_off(whole);
                // they end when `chunks` is dropped, and not before
                drop(chunks.send(std::mem::replace(&mut stream, left)));
                let now_us = clock.map_or(0, Clock::monotonic_us);
                if now_us.saturating_sub(last_said_us) >= SAY_EVERY_US {
                    last_said_us = now_us;
                    tracing::info!(users = users.load(Ordering::Relaxed), "reading the snapshot");
                }
            }
            Ok(())
        });
        let left = stream.split_off(codec::whole_items(&stream));
        drop(chunks.send(stream));
        drop(chunks);
        (meta, left)
    });
    let meta = meta?;
    free_what_sled_left();
    if let Some(why) = wrong.into_inner() {
        return Err(unreadable(path, why));
    }
    match registry.into_inner() {
        Some(registry) if left.is_empty() && users.into_inner() == meta.users => Ok((meta, registry)),
        _ => Err(unreadable(path, "its records are not as many as it says")),
    }
}

/// Puts whole records and answers how many were users.
fn put_all(chunk: &[u8], registry: &Registry) -> Result<u64, String> {
    let mut users = 0;
    codec::take_items(chunk, |item| match item {
        Item::User(id, record) => {
            users += 1;
            registry.put_user(id, record, || {});
        }
        Item::Extension(id, bytes) => registry.put_extension(id, bytes),
        Item::Value(key, value) => registry.put_value(key, value),
    })
    .map_err(|error| error.to_string())?;
    Ok(users)
}

fn read(
    files: &dyn Files,
    path: &Path,
    begin: impl FnOnce(&Meta),
    mut see: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<Meta, OpenError> {
    remove_sled_state(files, path, |name| name.ends_with(".generating"))?;
    // sled can rebuild the rest of its state from its log, which the checksums below vouch for
    let db = open(path).or_else(|_| {
        remove_sled_state(files, path, |_| true).map_err(|error| error.to_string())?;
        open(path)
    });
    db.and_then(|db| {
        guarded(move || {
            let meta = db.get(META_KEY).map_err(|error| error.to_string())?;
            let meta = meta.as_deref().and_then(decode_meta).ok_or("it is not complete")?;
            begin(&meta);
            for number in 0..meta.pages {
                let value = db.get(number.to_be_bytes()).map_err(|error| error.to_string())?;
                let value = value.ok_or_else(|| format!("page {number} is missing"))?;
                let (crc, page) = value.split_at_checked(4).ok_or_else(|| format!("page {number} is cut"))?;
                if crc != crc32c::crc32c(page).to_be_bytes() {
                    return Err(format!("page {number} is damaged"));
                }
                see(page)?;
            }
            Ok(meta)
        })
    })
    .map_err(|why| unreadable(path, why))
}

/// Removes state that sled can rebuild from its log and, when it is cut, would not open with.
fn remove_sled_state(files: &dyn Files, path: &Path, which: impl Fn(&str) -> bool) -> Result<(), OpenError> {
    let names = files.list(path).map_err(|error| unreadable(path, error))?;
    for name in names.iter().filter(|name| name.starts_with("snap.") && which(name)) {
        files.remove(&path.join(name)).map_err(|error| unreadable(path, error))?;
    }
    Ok(())
}

/// Syncs every file and folder under `path`.
pub(super) fn sync_tree(files: &dyn Files, path: &Path) -> std::io::Result<()> {
    for name in files.list(path)? {
        let child = path.join(name);
        if child.is_dir() {
            sync_tree(files, &child)?;
        } else {
            files.sync_file(&child)?;
        }
    }
    files.sync_dir(path)
}

fn encode_meta(meta: &Meta) -> Vec<u8> {
    let mut out = vec![FORMAT];
    out.extend(meta.first_seq.to_be_bytes());
    out.extend(meta.service.to_be_bytes());
    out.extend(meta.wall_ms.to_be_bytes());
    out.extend(meta.pages.to_be_bytes());
    out.extend(meta.users.to_be_bytes());
    let crc = crc32c::crc32c(&out);
    out.extend(crc.to_be_bytes());
    out
}

fn decode_meta(bytes: &[u8]) -> Option<Meta> {
    let (body, crc) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
    let mut input = Reader(body);
    if crc != crc32c::crc32c(body).to_be_bytes() || input.u8() != Ok(FORMAT) {
        return None;
    }
    Some(Meta {
        first_seq: input.u64().ok()?,
        service: input.u32().ok()?,
        wall_ms: input.u64().ok()?,
        pages: input.u32().ok()?,
        users: input.u64().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_snapshot_says_of_itself_is_as_it_always_was() {
        let meta = Meta { first_seq: 1, service: 2, wall_ms: 3, pages: 4, users: 5 };
        let bytes = encode_meta(&meta);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "0100000000000000010000000200000000000000030000000400000000000000054f0fda11");
        assert_eq!(decode_meta(&bytes), Some(meta));
        assert_eq!(decode_meta(&bytes[1..]), None);
    }
}
