//! What counts as one network: an IPv4 address, or the /64 of an IPv6 one, in which everyone has as many
//! addresses as they like (S35). And what such a network is part of: the owner of one /64 may have a whole /48.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// An IPv4 address or an IPv6 /64; or a wider one that it is part of, an IPv4 /24, an IPv6 /56 or /48.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network([u8; 9]);

/// First bytes: which kind of network it is.
const V4: u8 = 4;
const V6: u8 = 6;
const V4_24: u8 = 24;
const V6_56: u8 = 56;
const V6_48: u8 = 48;

/// How many single networks a wider one may do as much as: 1 of them alone, a /56, a /24 or /48. Many people share these, and
/// few of them come at once.
pub const WORTH: [u32; 3] = [1, 4, 16];

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
                bytes[0] = V4;
                bytes[1..5].copy_from_slice(&address.octets());
            }
            IpAddr::V6(address) => {
                bytes[0] = V6;
                bytes[1..].copy_from_slice(&address.octets()[..8]);
            }
        }
        Some(Self(bytes))
    }

    /// The same and the wider ones that it is part of, the narrowest first, each with its place in [`WORTH`].
    pub fn and_wider(self) -> impl Iterator<Item = (usize, Self)> {
        let wider = |kind, kept: usize| {
            let mut bytes = self.0;
            bytes[0] = kind;
            bytes[1 + kept..].fill(0);
            Self(bytes)
        };
        let (middle, block) = match self.0[0] {
            V4 => (None, Some((2, wider(V4_24, 3)))),
            V6 => (Some((1, wider(V6_56, 7))), Some((2, wider(V6_48, 6)))),
            _ => (None, None),
        };
        [Some((0, self)), middle, block].into_iter().flatten()
    }

    /// The widest that it is part of: an IPv4 /24, an IPv6 /48.
    pub fn block(self) -> Self {
        self.and_wider().last().map_or(self, |(_, block)| block)
    }

    /// Its place in [`WORTH`].
    pub fn place(self) -> usize {
        match self.0[0] {
            V6_56 => 1,
            V4_24 | V6_48 => 2,
            _ => 0,
        }
    }

    /// The addresses that it has.
    pub fn prefix(self) -> IpNet {
        let [kind, bytes @ ..] = self.0;
        let length = match kind {
            V4 => 32,
            V4_24 => 24,
            V6_56 => 56,
            V6_48 => 48,
            _ => 64,
        };
        let address = if matches!(kind, V4 | V4_24) {
            let [a, b, c, d, ..] = bytes;
            IpAddr::from(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::from(Ipv6Addr::from(u128::from(u64::from_be_bytes(bytes)) << 64))
        };
        IpNet::new(address, length).unwrap_or_else(|_| address.into())
    }

    /// Kind and address or prefix.
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
        let block = |address| of(address).map(Network::block);
        for (a, b) in [("192.0.2.1", "192.0.2.255"), ("2001:db8:1:2::1", "2001:db8:1:ffff::1")] {
            assert_eq!(block(a), block(b));
            assert_ne!(block(a), of(a), "an address is not its block");
        }
        for (a, b) in [("192.0.2.1", "192.0.3.1"), ("2001:db8:1::", "2001:db8:2::"), ("24.0.0.0", "0:1::")] {
            assert_ne!(block(a), block(b));
        }
        let middle = |address| of(address).and_then(|network| network.and_wider().find(|(place, _)| *place == 1));
        assert_eq!(middle("192.0.2.1"), None);
        assert_eq!(middle("2001:db8:1:200::"), middle("2001:db8:1:2ff::"));
        assert_ne!(middle("2001:db8:1:200::"), middle("2001:db8:1:300::"));
        for (address, prefixes) in [
            ("192.0.2.7", &["192.0.2.7/32", "192.0.2.0/24"][..]),
            ("2001:db8:1:203:4::5", &["2001:db8:1:203::/64", "2001:db8:1:200::/56", "2001:db8:1::/48"]),
        ] {
            let wider: Vec<_> = of(address).unwrap().and_wider().collect();
            assert_eq!(wider.iter().map(|(_, network)| network.prefix().to_string()).collect::<Vec<_>>(), prefixes);
            assert!(wider.iter().all(|(place, network)| network.place() == *place));
        }
        for nameless in ["0.0.0.0", "::", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::ffff:0.0.0.0"] {
            assert_eq!(of(nameless), None, "{nameless}");
        }
    }
}
