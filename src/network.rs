//! Who counts as one at the network: an IPv4 address, or the /64 of an IPv6 one, in which everyone has as many
//! addresses as they like (S35).

use std::net::IpAddr;

/// An IPv4 address or an IPv6 /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network([u8; 9]);

impl Network {
    /// Where an address belongs; an IPv4 address in IPv6 clothes is the IPv4 address. `None` for an address of this
    /// machine: a proxy that does not say who is behind it is no network, and its clients must not share what one may
    /// do (S36).
    pub fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        if address.is_loopback() || address.is_unspecified() {
            return None;
        }
        let mut bytes = [0; 9];
        match address {
            IpAddr::V4(address) => {
                bytes[0] = 4;
                bytes[1..5].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                bytes[0] = 6;
                bytes[1..].copy_from_slice(&address.octets()[..8]);
            }
        }
        Some(Self(bytes))
    }

    /// Family and address or prefix.
    pub fn as_bytes(&self) -> &[u8; 9] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<Network> {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn who_counts_as_one_at_the_network() {
        for (a, b) in [("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff")] {
            assert!(of(a).is_some() && of(a) == of(b), "{a} {b}");
        }
        for (a, b) in [("192.0.2.1", "192.0.2.2"), ("2001:db8:1:2::1", "2001:db8:1:3::1"), ("4.0.0.0", "400::")] {
            assert_ne!(of(a), of(b));
        }
        for nameless in ["0.0.0.0", "::", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
            assert_eq!(of(nameless), None, "{nameless}");
        }
    }
}
