//! Which addresses belong to the public internet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

/// IPv4 networks that are not the public internet (IANA special-purpose registry, RFC 6890), and one address of it that
/// serves metadata to the machines of a cloud.
const CLOSED_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    // link-local, with the metadata address that most clouds use
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    // protocol assignments, with Oracle's metadata address
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    // reserved, with the broadcast address
    v4(240, 0, 0, 0, 4),
    // Azure's metadata and DNS
    v4(168, 63, 129, 16, 32),
];

/// All that IANA gives out for use on the internet.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);
/// What in it is not ordinary: protocol assignments (Teredo among them), documentation, 6to4, documentation again.
const CLOSED_V6: [Ipv6Net; 4] =
    [v6(0x2001, 0, 0, 23), v6(0x2001, 0xdb8, 0, 32), v6(0x2002, 0, 0, 16), v6(0x3fff, 0, 0, 20)];
/// IPv4 behind a network's own translator (RFC 6052): as public as the address in its last four bytes.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Whether the address is one of the public internet: not loopback, private, link-local, shared (CGNAT), multicast,
/// unspecified, reserved, for documentation, or known to serve metadata, in any of the forms in which IPv6 carries IPv4.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !CLOSED_V6.iter().any(|network| network.contains(&address))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !CLOSED_V4.iter().any(|network| network.contains(&address))
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

#[cfg(test)]
mod tests;
