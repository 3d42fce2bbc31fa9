//! How many sockets are open, of all clients together and of each network, so that one network cannot have them all (S35).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::network::Network;

/// The sockets of a server.
pub struct OpenSockets {
    most: u64,
    /// None: networks are not counted.
    most_of_network: Option<u32>,
    all: AtomicU64,
    by_network: Mutex<HashMap<Network, u32>>,
}

/// Why there is no place for a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// All clients together have as many as they may.
    #[error("the server has as many sockets as it may")]
    Full,
    /// The client's network has.
    #[error("too many sockets are open from this network")]
    OfNetwork,
}

/// The place of one socket, free again when it is dropped.
pub struct Place {
    sockets: Arc<OpenSockets>,
    network: Option<Network>,
}

impl OpenSockets {
    /// None yet. An address of this machine has no bound of its own, as with budgets (S36).
    pub fn new(most: u64, most_of_network: Option<u32>) -> Arc<Self> {
        Arc::new(Self { most, most_of_network, all: AtomicU64::new(0), by_network: Mutex::default() })
    }

    /// How many are open.
    pub fn count(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// A place for a socket of a client at this address.
    ///
    /// # Errors
    /// There is none.
    pub fn take(self: &Arc<Self>, client: IpAddr) -> Result<Place, NoPlace> {
        let place =
            self.all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| (all < self.most).then_some(all + 1));
        place.map_err(|_| NoPlace::Full)?;
        let mut place = Place { sockets: Arc::clone(self), network: None };
        if let Some((network, most)) = Network::of(client).zip(self.most_of_network) {
            let mut by_network = self.by_network.lock();
            let open = by_network.entry(network).or_default();
            if *open >= most {
                // of which there is at least one, so nothing is left behind
                return Err(NoPlace::OfNetwork);
            }
            *open += 1;
            place.network = Some(network);
        }
        Ok(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.sockets.all.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.network else { return };
        let mut by_network = self.sockets.by_network.lock();
        if let Some(open) = by_network.get_mut(&network) {
            *open -= 1;
            if *open == 0 {
                by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(sockets: &Arc<OpenSockets>, client: &str) -> Result<Place, NoPlace> {
        sockets.take(client.parse().unwrap())
    }

    /// S35.
    #[test]
    fn a_network_has_so_many_places_and_all_have_so_many() {
        let sockets = OpenSockets::new(4, Some(2));
        let mut held = vec![take(&sockets, "192.0.2.1").ok(), take(&sockets, "192.0.2.1").ok()];
        assert_eq!(take(&sockets, "192.0.2.1").err(), Some(NoPlace::OfNetwork));
        assert_eq!(sockets.count(), 2, "who is refused holds nothing");
        held.push(take(&sockets, "2001:db8::1").ok());
        held.push(take(&sockets, "2001:db8::2").ok());
        assert_eq!(take(&sockets, "192.0.2.2").err(), Some(NoPlace::Full));
        held.remove(0);
        assert_eq!(take(&sockets, "2001:db8::3").err(), Some(NoPlace::OfNetwork));
        held.push(take(&sockets, "192.0.2.1").ok());
        assert!(held.iter().all(Option::is_some));
        held.clear();
        assert_eq!((sockets.count(), sockets.by_network.lock().len()), (0, 0), "nothing is left of them");
    }

    #[test]
    fn this_machine_and_who_counts_no_networks_have_only_the_bound_of_all() {
        for (sockets, client) in [(OpenSockets::new(3, Some(1)), "127.0.0.1"), (OpenSockets::new(3, None), "192.0.2.1")]
        {
            let held: Vec<_> = (0..3).map_while(|_| take(&sockets, client).ok()).collect();
            assert_eq!((held.len(), take(&sockets, client).err()), (3, Some(NoPlace::Full)));
        }
    }
}
