//! What happened in the last hour by the minute, and in the last 30 days by the day, for operators.
//!
//! Nothing of it is counted twice: the figures that there are anyway are looked at every few seconds, and what they grew by is that
//! minute's and that day's. Days are those of UTC; they are kept in the store, written every few minutes and at the end, so that a
//! process that is killed loses those of its last minutes.

mod by_name;
mod recent;
mod tally;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use passerby_actors::domain::{Family, Listing, Rewrite, ValueKey};
use passerby_actors::handle::{Changes, Error, Handle, OwnChange};

pub use self::by_name::ByName;
use self::recent::Recent;
pub use self::recent::{DAYS, MINUTES};
pub use self::tally::{NAMES, Numbers, Tally};

const FORMAT: u8 = 1;

/// What happened lately, and the counters of it that nothing else has.
pub struct Stats {
    /// Refusals on the public listener, by the code that was answered.
    pub refusals: ByName,
    walls: BTreeMap<String, AtomicU64>,
    recent: Mutex<Recent>,
}

/// Where a day is kept: the days since 1970.
fn key_of(day: u32) -> ValueKey {
    ValueKey::own(Family::STATS, day.to_be_bytes())
}

fn encode(tally: &Tally) -> Option<Box<[u8]>> {
    let mut bytes = vec![FORMAT];
    serde_json::to_writer(&mut bytes, tally).ok()?;
    Some(bytes.into())
}

fn decode(bytes: &[u8]) -> Option<Tally> {
    let (format, json) = bytes.split_first()?;
    (*format == FORMAT).then(|| serde_json::from_slice(json).ok()).flatten()
}

impl Stats {
    /// Goes on with the days that are stored. A day that a later version has written is left as it is, and not shown.
    pub fn start<'a>(handle: &Handle, meters: impl Iterator<Item = &'a String>) -> Self {
        let mut recent = Recent::default();
        let listing = Listing { family: Family::STATS, after: None, last_first: false, most: usize::MAX };
        for (key, bytes) in handle.own_values(&listing) {
            let Ok(day) = <[u8; 4]>::try_from(&*key.key).map(u32::from_be_bytes) else { continue };
            match decode(&bytes) {
                Some(tally) => recent.restore(day, tally),
                None => {
                    tracing::warn!(day, "the statistics of a day are of a later version, and are left as they are");
                    recent.leave(day);
                }
            }
        }
        let walls = meters.map(|meter| (meter.clone(), AtomicU64::new(0))).collect();
        Self { refusals: ByName::default(), walls, recent: Mutex::new(recent) }
    }

    /// A use was beyond the allowance of this meter.
    pub fn hit_wall(&self, meter: &str) {
        if let Some(count) = self.walls.get(meter) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each meter was used beyond its allowance, since the start.
    pub fn walls(&self) -> Numbers {
        let counts = self.walls.iter().map(|(meter, count)| (meter.clone(), count.load(Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Takes the figures since the start as they are at `now_s` (Unix time): as minutes and as days count them.
    pub fn look(&self, now_s: u64, of_minutes: Tally, of_days: Tally) {
        self.recent.lock().look(now_s, of_minutes, of_days);
    }

    /// The last minutes, the oldest first; the last one is under way. As [`look`](Self::look) saw it last.
    pub fn minutes(&self) -> Vec<Tally> {
        self.recent.lock().minutes()
    }

    /// The last days, the same.
    pub fn days(&self) -> Vec<Tally> {
        self.recent.lock().days()
    }

    /// Stores the days that have changed, and drops those that are too old.
    ///
    /// # Errors
    /// The core's; nothing is lost by it, and the next time tries again.
    pub async fn save(&self, handle: &Handle) -> Result<(), Error> {
        let (changed, oldest) = {
            let mut recent = self.recent.lock();
            (recent.take_changed(), recent.oldest())
        };
        if changed.is_empty() {
            return Ok(());
        }
        let stored = |day: u32| handle.own_value(Family::STATS, &day.to_be_bytes());
        let put = changed.iter().filter_map(|(day, tally)| {
            Some(OwnChange { key: key_of(*day), seen: stored(*day), change: Rewrite::Put(encode(tally)?) })
        });
        let listing = Listing { family: Family::STATS, after: None, last_first: false, most: DAYS };
        let old = handle.own_values(&listing).into_iter().filter(|(key, _)| *key.key < oldest.to_be_bytes()[..]);
        let gone = old.map(|(key, seen)| OwnChange { key, seen: Some(seen), change: Rewrite::Remove });
        let changes: Vec<_> = put.chain(gone).collect();
        let saved = handle.change_own(changes).await;
        if !matches!(saved, Ok(Changes::Done)) {
            self.recent.lock().mark_changed(changed.into_keys());
        }
        // of a value that has changed meanwhile, the next time sees the new one
        saved.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_day_are_as_they_always_were() {
        let numbers = |name: &str, number| Numbers::from([(name.to_owned(), number)]);
        let tally =
            Tally { kinds: numbers("new", 7), refusals: numbers("over-budget", 2), walls: numbers("articles", 1) };
        let bytes = encode(&tally).unwrap();
        let json = br#"{"kinds":{"new":7},"refusals":{"over-budget":2},"walls":{"articles":1}}"#;
        assert_eq!(*bytes, [&[1], &json[..]].concat());
        assert_eq!(decode(&bytes), Some(tally));
        assert_eq!(decode(b"\x01{}"), Some(Tally::default()));
        for other in [&b"\x02{}"[..], b"", b"\x01{", b"\x01{\"other\":{}}"] {
            assert_eq!(decode(other), None, "{other:?}");
        }
    }
}
