//! Networks from which nobody may become a user or log in.
//!
//! Looked up at each such request without a lock: the table is replaced as a whole, and where it is empty that is all that is seen.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks that may be blocked.
pub const MOST_BLOCKS: usize = 10_000;
/// The widest that may be blocked: of IPv4, of IPv6.
const WIDEST: [u8; 2] = [8, 16];
/// What counts as one network of IPv6, in which everyone has as many addresses as they like.
const ONE_V6: u8 = 64;
/// The length of the prefix of IPv4 addresses that are written as IPv6 (RFC 4291, section 2.5.5.2).
const MAPPED: u8 = 96;

/// The networks, each with when its block ends (Unix time in milliseconds); none is never.
type Table = HashMap<IpNet, Option<u64>>;

#[derive(Default)]
struct Lookup {
    table: Table,
    /// The lengths of prefixes that are there: of IPv4, of IPv6.
    lengths: [Vec<u8>; 2],
}

/// The networks that are blocked.
#[derive(Default)]
pub struct Blocks {
    lookup: ArcSwap<Lookup>,
    refused: AtomicU64,
}

impl Blocks {
    /// These are blocked, and no others.
    pub fn put(&self, table: impl IntoIterator<Item = (IpNet, Option<u64>)>) {
        let table: Table = table.into_iter().collect();
        let mut lengths = [Vec::new(), Vec::new()];
        for net in table.keys() {
            lengths[usize::from(net.addr().is_ipv6())].push(net.prefix_len());
        }
        lengths.iter_mut().for_each(|lengths| {
            lengths.sort_unstable();
            lengths.dedup();
        });
        self.lookup.store(Lookup { table, lengths }.into());
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether this address is of one that is blocked at `now_ms`; counted, if it is.
    pub fn refuse(&self, address: IpAddr, now_ms: impl FnOnce() -> u64) -> bool {
        if self.lookup.load().table.is_empty() {
            return false;
        }
        let refuses = self.covering(one(address), now_ms()).is_some();
        self.refused.fetch_add(u64::from(refuses), Ordering::Relaxed);
        refuses
    }

    /// The widest network that is blocked at `now_ms` and has all of this one.
    pub fn covering(&self, net: IpNet, now_ms: u64) -> Option<IpNet> {
        let lookup = self.lookup.load();
        let lengths = lookup.lengths[usize::from(net.addr().is_ipv6())].iter();
        let wider = lengths.take_while(|length| **length <= net.prefix_len());
        let mut wider = wider.filter_map(|length| Some(IpNet::new(net.addr(), *length).ok()?.trunc()));
        wider.find(|net| lookup.table.get(net).is_some_and(|ends| ends.is_none_or(|ends_ms| now_ms < ends_ms)))
    }
}

/// The network of one address.
pub fn one(address: IpAddr) -> IpNet {
    let address = address.to_canonical();
    let whole = IpNet::from(address);
    if address.is_ipv6() { IpNet::new(address, ONE_V6).unwrap_or(whole).trunc() } else { whole }
}

/// The network that a text means: an address, or a prefix.
///
/// # Errors
/// In words: it is neither, too wide, or of this machine.
pub fn parse(text: &str) -> Result<IpNet, String> {
    let net = match (text.parse::<IpNet>(), text.parse::<IpAddr>()) {
        (_, Ok(address)) => one(address),
        (Ok(IpNet::V4(net)), _) => Ipv4Net::new(net.addr(), net.prefix_len()).unwrap_or(net).trunc().into(),
        (Ok(IpNet::V6(net)), _) if net.prefix_len() >= MAPPED && net.addr().to_ipv4_mapped().is_some() => {
            let address = net.addr().to_canonical();
            IpNet::new(address, net.prefix_len() - MAPPED).unwrap_or(address.into()).trunc()
        }
        (Ok(IpNet::V6(net)), _) => Ipv6Net::new(net.addr(), net.prefix_len().min(ONE_V6)).unwrap_or(net).trunc().into(),
        _ => return Err("network must be an address or a prefix, such as 192.0.2.0/24".to_owned()),
    };
    let widest = WIDEST[usize::from(net.addr().is_ipv6())];
    if net.prefix_len() < widest {
        return Err(format!("network must be /{widest} or narrower: a wider one would shut out everybody"));
    }
    let has = |address: &str| address.parse().is_ok_and(|address: IpAddr| net.contains(&address));
    if ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:0:0"].into_iter().any(has) {
        return Err("network must not be of this machine: whoever comes from there is behind a proxy".to_owned());
    }
    Ok(net)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_refused_by_each_prefix_that_has_it_until_its_end() {
        let blocks = Blocks::default();
        let refuses = |address: &str, now_ms| blocks.refuse(address.parse().unwrap(), || now_ms);
        assert!(!blocks.refuse([192, 0, 2, 1].into(), || panic!("an empty table does not ask for the time")));
        blocks.put([
            (net("192.0.2.0/24"), None),
            (net("198.51.100.7/32"), Some(1000)),
            (net("2001:db8:1::/48"), None),
            (net("2001:db8:2:3::/64"), None),
        ]);
        for (address, refused) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("192.0.3.0", false),
            ("::ffff:192.0.2.9", true),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("2001:db8:1:ffff::9", true),
            ("2001:db8:2:3:4:5:6:7", true),
            ("2001:db8:2:4::1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(refuses(address, 999), refused, "{address}");
        }
        assert!(!refuses("198.51.100.7", 1000), "it is over");
        assert_eq!(blocks.refused(), 6);
        assert_eq!(blocks.covering(net("2001:db8:1:2::/64"), 0), Some(net("2001:db8:1::/48")));
        assert_eq!(blocks.covering(net("2001:db8::/32"), 0), None, "only a part of it");
        blocks.put([]);
        assert!(!refuses("192.0.2.1", 0));
    }

    #[test]
    fn what_a_text_means_and_what_cannot_be_blocked() {
        for (text, meant) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7/128", "192.0.2.7/32"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:3::/80", "2001:db8:1:2::/64"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            assert_eq!(parse(text), Ok(net(meant)), "{text}");
        }
        for bad in [
            "",
            "here",
            "192.0.2",
            "192.0.2.0/33",
            "0.0.0.0/0",
            "11.0.0.0/7",
            "2000::/3",
            "127.0.0.1",
            "::1",
            "0.0.0.0",
            "127.0.0.0/8",
            "::/64",
            "::ffff:0:0/96",
            "::ffff:127.0.0.0/104",
            "::ffff:192.0.2.0/95",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
