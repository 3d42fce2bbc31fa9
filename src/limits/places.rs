//! How many sockets or connections are open, of all clients together and of each network, so that one network cannot have them
//! all (S35).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::network::{Network, WORTH};

/// The places of a server for something.
pub struct Places {
    most: u64,
    /// Of a network, in the order of [`WORTH`]. None: networks are not counted.
    most_of_network: Option<[u64; WORTH.len()]>,
    all: AtomicU64,
    refused: AtomicU64,
    by_network: Mutex<HashMap<Network, u64>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// All clients together have as many as they may.
    #[error("the server has as many as it may")]
    Full,
    /// The client's network has, or a wider one that it is part of.
    #[error("too many are open from this network")]
    OfNetwork,
}

/// The place of one socket or connection, free again when it is dropped.
pub struct Place {
    places: Arc<Places>,
    network: Option<Network>,
}

impl Places {
    /// All free. A wider network has as many as a few ([`WORTH`]), but half of all at most. An address that is no network has no bound
    /// but that of all, as with budgets (S36).
    pub fn new(most: u64, most_of_network: Option<u64>) -> Arc<Self> {
        let most_of_network = most_of_network.map(|one| {
            WORTH.map(|worth| if worth == 1 { one } else { one.max((one * u64::from(worth)).min(most / 2)) })
        });
        Arc::new(Self {
            most,
            most_of_network,
            all: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            by_network: Mutex::default(),
        })
    }

    /// How many are taken.
    pub fn count(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// How many there are.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// How often there was none.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many networks have places, wider ones among them.
    pub fn networks(&self) -> usize {
        self.by_network.lock().len()
    }

    /// A place for a client of this network.
    ///
    /// # Errors
    /// There is none.
    pub fn take(self: &Arc<Self>, network: Option<Network>) -> Result<Place, NoPlace> {
        self.try_take(network).inspect_err(|_| {
            self.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    fn try_take(self: &Arc<Self>, network: Option<Network>) -> Result<Place, NoPlace> {
        let place =
            self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| (all < self.most).then_some(all + 1));
        place.map_err(|_| NoPlace::Full)?;
        let mut place = Place { places: Arc::clone(self), network: None };
        if let Some((network, most)) = network.zip(self.most_of_network) {
            let mut by_network = self.by_network.lock();
            let taken = |network: &Network| by_network.get(network).copied().unwrap_or(0);
            if network.and_wider().any(|(width, network)| taken(&network) >= most[width]) {
                return Err(NoPlace::OfNetwork);
            }
            for (_, network) in network.and_wider() {
                *by_network.entry(network).or_default() += 1;
            }
            place.network = Some(network);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.all.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.network else { return };
        let mut by_network = self.places.by_network.lock();
        for (_, network) in network.and_wider() {
            if let Some(taken) = by_network.get_mut(&network) {
                *taken -= 1;
                if *taken == 0 {
                    by_network.remove(&network);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(places: &Arc<Places>, client: &str) -> Result<Place, NoPlace> {
        places.take(Network::of(client.parse().unwrap()))
    }

    /// S35.
    #[test]
    fn a_network_has_so_many_places_and_all_have_so_many() {
        let places = Places::new(4, Some(2));
        let mut held = vec![take(&places, "192.0.2.1").ok(), take(&places, "192.0.2.1").ok()];
        assert_eq!(take(&places, "192.0.2.1").err(), Some(NoPlace::OfNetwork));
        assert_eq!((places.count(), places.refused()), (2, 1), "who is refused holds nothing");
        held.push(take(&places, "2001:db8::1").ok());
        held.push(take(&places, "2001:db8::2").ok());
        assert_eq!(take(&places, "198.51.100.2").err(), Some(NoPlace::Full));
        held.remove(0);
        assert_eq!(take(&places, "2001:db8::3").err(), Some(NoPlace::OfNetwork));
        held.push(take(&places, "192.0.2.1").ok());
        assert!(held.iter().all(Option::is_some));
        held.clear();
        assert_eq!((places.count(), places.networks()), (0, 0), "nothing is left of them");
    }

    /// S35: the owner of a whole /48 or /24 has no more than half of all places.
    #[test]
    fn a_block_has_as_many_places_as_a_few_networks_and_never_more_than_half() {
        let places = Places::new(100, Some(2));
        let open = |addresses: &mut dyn Iterator<Item = String>| -> Vec<Place> {
            addresses.filter_map(|address| take(&places, &address).ok()).collect()
        };
        let block = open(&mut (0..1000).map(|net| format!("2001:db8:7:{net:x}::1")));
        assert_eq!(block.len(), 32, "eight of a /56 each, and sixteen times two of the /48");
        let block = open(&mut (0..256).map(|host| format!("192.0.2.{host}")));
        assert_eq!(block.len(), 32);
        drop(block);
        let places = Places::new(100, Some(10));
        let block: Vec<_> = (0..256).filter_map(|host| take(&places, &format!("192.0.2.{host}")).ok()).collect();
        assert_eq!(block.len(), 50, "half of all");
        assert!(take(&places, "198.51.100.1").is_ok());
    }

    #[test]
    fn this_machine_and_servers_without_limits_have_only_the_bound_of_all() {
        for (places, client) in [(Places::new(3, Some(1)), "127.0.0.1"), (Places::new(3, None), "192.0.2.1")] {
            let held: Vec<_> = (0..3).map_while(|_| take(&places, client).ok()).collect();
            assert_eq!((held.len(), take(&places, client).err()), (3, Some(NoPlace::Full)));
        }
    }
}
