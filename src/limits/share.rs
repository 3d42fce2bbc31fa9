//! How much of what has a bound over all each network has taken, so that none has more than a small part (S35).
//!
//! Counted in a sketch of a fixed size, not by a row for each network: every count stands in a cell of each row, others share
//! some of these cells, and the smallest is the nearest. So a network is never counted less than what it added, and more by no
//! more than chance: a two-thousandth of what all added. What was added is forgotten after the window, in slices of it, and with
//! the process.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::network::Network;

const ROWS: usize = 4;
/// Cells of a row.
const WIDTH: usize = 2048;
/// The window lies in one slice less, so that nothing is forgotten too early.
const SLICES: usize = 9;

/// What networks have taken of one thing.
pub struct Share {
    /// How much a network may have; a block, the widest that it is part of, may have twice as much.
    of_network: u64,
    slice_us: u64,
    hashers: [RandomState; ROWS],
    sketch: Mutex<Sketch>,
    refused: AtomicU64,
}

struct Sketch {
    /// By slice and row.
    cells: Box<[[u64; WIDTH]]>,
    /// Which slice it is, counted from the begin.
    slice: u64,
}

impl Share {
    /// Nothing taken yet of `most`, of which a block may have so many percent, and a network half as much; all of it at 100. What is
    /// taken counts for `window_s` seconds.
    pub fn new(most: u64, percent: u32, window_s: u32) -> Self {
        let of_block = if percent >= 100 { u64::MAX } else { most / 100 * u64::from(percent) };
        // where there is little of it, one must have some
        let of_block = of_block.max(most.saturating_mul(u64::from(percent)) / 100).max(2);
        Self {
            of_network: of_block / 2,
            slice_us: (u64::from(window_s) * 1_000_000 / (SLICES as u64 - 1)).max(1),
            hashers: std::array::from_fn(|_| RandomState::new()),
            sketch: Mutex::new(Sketch { cells: vec![[0; WIDTH]; SLICES * ROWS].into(), slice: 0 }),
            refused: AtomicU64::new(0),
        }
    }

    /// Whether a network may take so much more; counted, if it may not.
    pub fn has_room(&self, network: Network, amount: u64, now_us: u64) -> bool {
        let mut sketch = self.sketch.lock();
        sketch.forget_until(now_us / self.slice_us);
        let has_room = [(network, self.of_network), (network.block(), self.of_network.saturating_mul(2))]
            .iter()
            .all(|(network, most)| sketch.count(&self.cells(network)).saturating_add(amount) <= *most);
        if !has_room {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        has_room
    }

    /// A network took so much.
    pub fn add(&self, network: Network, amount: u64, now_us: u64) {
        let mut sketch = self.sketch.lock();
        sketch.forget_until(now_us / self.slice_us);
        for network in [network, network.block()] {
            sketch.add(&self.cells(&network), amount);
        }
    }

    /// It gave so much of it back.
    pub fn give_back(&self, network: Network, amount: u64) {
        let mut sketch = self.sketch.lock();
        for network in [network, network.block()] {
            sketch.take(&self.cells(&network), amount);
        }
    }

    /// How often a network had no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A network's cell in each row.
    fn cells(&self, network: &Network) -> [usize; ROWS] {
        std::array::from_fn(|row| (self.hashers[row].hash_one(network) % WIDTH as u64) as usize)
    }
}

impl Sketch {
    /// A row of a slice: the newest is 0.
    fn row(&mut self, age: usize, row: usize) -> &mut [u64; WIDTH] {
        let slice = (self.slice % SLICES as u64) as usize;
        &mut self.cells[(slice + SLICES - age) % SLICES * ROWS + row]
    }

    /// Begins the slice of now; those that are too old are empty again.
    fn forget_until(&mut self, now: u64) {
        for _ in 0..now.saturating_sub(self.slice).min(SLICES as u64) {
            self.slice += 1;
            (0..ROWS).for_each(|row| self.row(0, row).fill(0));
        }
        self.slice = self.slice.max(now);
    }

    fn count(&mut self, cells: &[usize; ROWS]) -> u64 {
        let of_row = |row: usize| (0..SLICES).map(|age| self.row(age, row)[cells[row]]).fold(0, u64::saturating_add);
        (0..ROWS).map(of_row).min().unwrap_or(0)
    }

    fn add(&mut self, cells: &[usize; ROWS], amount: u64) {
        for (row, cell) in cells.iter().enumerate() {
            let count = &mut self.row(0, row)[*cell];
            *count = count.saturating_add(amount);
        }
    }

    /// Takes it from the newest slices that have some.
    fn take(&mut self, cells: &[usize; ROWS], amount: u64) {
        for (row, cell) in cells.iter().enumerate() {
            let mut left = amount;
            for age in 0..SLICES {
                let count = &mut self.row(age, row)[*cell];
                let taken = left.min(*count);
                (*count, left) = (*count - taken, left - taken);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_US: u64 = 86_400_000_000;
    const DAY_S: u32 = 86_400;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap()).unwrap()
    }

    /// How much this network can take, one by one.
    fn taken(share: &Share, address: &str, now_us: u64) -> u64 {
        let network = network(address);
        (0..10_000).take_while(|_| share.has_room(network, 1, now_us)).map(|_| share.add(network, 1, now_us)).count()
            as u64
    }

    /// S35.
    #[test]
    fn a_network_and_its_block_have_a_small_part_and_no_more() {
        let share = Share::new(1000, 10, 80 * DAY_S);
        assert_eq!(taken(&share, "2001:db8:7:1::1", 0), 50);
        let block: u64 = (2..1000).map(|net| taken(&share, &format!("2001:db8:7:{net:x}::1"), 0)).sum();
        assert_eq!(block, 50, "a /48 has twice as much as one of its networks");
        assert_eq!(taken(&share, "192.0.2.1", 0), 50, "others have their own");
        assert_eq!(share.refused(), 1000);
        share.give_back(network("192.0.2.1"), 7);
        assert_eq!(taken(&share, "192.0.2.1", 0), 7);
        let everything = Share::new(1000, 100, 80 * DAY_S);
        assert_eq!(taken(&everything, "192.0.2.1", 0), 10_000, "at 100 nobody is counted");
    }

    #[test]
    fn what_was_taken_is_forgotten_after_the_window_and_not_before() {
        let share = Share::new(1000, 10, 80 * DAY_S);
        assert_eq!(taken(&share, "192.0.2.1", 9 * DAY_US), 50);
        assert_eq!(taken(&share, "192.0.2.1", 89 * DAY_US), 0);
        assert_eq!(taken(&share, "192.0.2.1", 100 * DAY_US), 50);
        assert_eq!(taken(&share, "192.0.2.1", 100_000 * DAY_US), 50, "after a long time too");
    }

    #[test]
    fn its_size_is_fixed_and_strangers_are_hardly_counted_for_others() {
        let share = Share::new(1_000_000, 5, 80 * DAY_S);
        for number in 0..200_000_u32 {
            share.add(network(&std::net::Ipv4Addr::from(0x0b00_0000 + number * 256).to_string()), 1, 0);
        }
        let seen = share.sketch.lock().count(&share.cells(&network("192.0.2.1")));
        assert!(seen <= 2 * 200_000 / WIDTH as u64 * 2, "{seen}");
        assert_eq!(size_of_val(&*share.sketch.lock().cells), SLICES * ROWS * WIDTH * 8);
    }
}
