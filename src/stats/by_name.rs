//! Counters by names that stand in the code.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// More names than there are.
const PLACES: usize = 256;

/// A counter for each name that was ever counted. Counting takes no lock.
pub struct ByName(Box<[(OnceLock<&'static str>, AtomicU64)]>);

impl Default for ByName {
    fn default() -> Self {
        Self((0..PLACES).map(|_| <(OnceLock<_>, AtomicU64)>::default()).collect())
    }
}

impl ByName {
    /// Counts one of this name.
    pub fn count(&self, name: &'static str) {
        // FNV-1a; of names that fall together the later ones stand behind
        let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
            as usize;
        let mut places = (0..PLACES).map(|step| &self.0[(hash + step) % PLACES]);
        if let Some((_, count)) = places.find(|(known, _)| *known.get_or_init(|| name) == name) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often each was counted.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let known = self.0.iter().filter_map(|(name, count)| Some(((*name.get()?).to_owned(), count)));
        known.map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_counted_for_itself() {
        let names: Vec<&'static str> = (0..PLACES + 7).map(|number| &*format!("name-{number}").leak()).collect();
        let counts = ByName::default();
        for (number, name) in names.iter().enumerate() {
            (0..=number % 3).for_each(|_| counts.count(name));
        }
        let counted = counts.counts();
        assert_eq!(counted.len(), PLACES, "what has no place is not counted");
        for (number, name) in names[..PLACES].iter().enumerate() {
            assert_eq!(counted[*name], number as u64 % 3 + 1, "{name}");
        }
    }
}
