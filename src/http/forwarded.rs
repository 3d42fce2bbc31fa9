//! The client behind the proxies: the one place that believes `X-Forwarded-*`, and only from trusted proxies (S36).

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::connection::OverTls;

/// Tells a browser to come by TLS again (RFC 6797).
pub const STAY_ON_TLS: (HeaderName, HeaderValue) =
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));

/// Where a request came from and where its client thinks it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The client's address: the first hop from the right that is not a trusted proxy. `None` if a trusted proxy did not say.
    pub client: Option<IpAddr>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host and port as the client named them.
    pub host: Option<String>,
}

impl Forwarded {
    /// Reads a request.
    pub fn of(request: &HttpRequest, trusted: &[IpNet]) -> Self {
        let scheme = if request.conn_data::<OverTls>().is_some() { "https" } else { "http" };
        Self::read(request.peer_addr().map(|peer| peer.ip()), scheme, request.headers(), trusted)
    }

    /// Whether a browser should come by TLS again: on `localhost` that would hold for every other port, too.
    pub fn should_stay_on_tls(&self) -> bool {
        let name = self.host.as_deref().and_then(|host| host.split(':').next());
        self.scheme == "https" && name != Some("localhost")
    }

    fn read(peer: Option<IpAddr>, scheme: &'static str, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        let peer = peer.map(|address| address.to_canonical());
        let direct = Self { client: peer, scheme, host: last(headers, "host") };
        if !peer.as_ref().is_some_and(is_trusted) {
            return direct;
        }
        let hops = hops(headers);
        // from the right, each hop was named by the one behind it: the first that is not ours is as far as trust goes
        let client = hops.into_iter().rev().find(|hop| !hop.as_ref().is_some_and(is_trusted));
        Self {
            client: client.flatten(),
            scheme: match last(headers, "x-forwarded-proto").as_deref() {
                // Traefik calls a WebSocket's scheme so
                Some("https" | "wss") => "https",
                // however the proxy came here
                Some("http" | "ws") => "http",
                _ => direct.scheme,
            },
            host: last(headers, "x-forwarded-host").or(direct.host),
        }
    }
}

/// Whether the client and all that is between are this machine, as far as anybody says: also a proxy that is not trusted, whose word
/// can make a client far, and none near.
pub fn is_of_this_machine(request: &HttpRequest) -> bool {
    is_near(request.peer_addr().map(|peer| peer.ip()), request.headers())
}

fn is_near(peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
    let is_here = |address: Option<IpAddr>| address.is_some_and(|address| address.to_canonical().is_loopback());
    is_here(peer) && hops(headers).into_iter().all(is_here)
}

/// The addresses that are named on the way, the client's first; none where something else stands.
fn hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let values = headers.get_all("x-forwarded-for");
    values.flat_map(|value| value.to_str().unwrap_or_default().split(',')).map(parse_hop).collect()
}

/// An address, with or without a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.parse::<IpAddr>().ok();
    bare.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
        .map(|address| address.to_canonical())
}

/// The last value of a header: the one that the nearest hop set. Only what a host or scheme may hold.
fn last(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get_all(name).last()?.to_str().ok()?.rsplit(',').next()?.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_');
    (!value.is_empty() && value.len() <= 255 && value.chars().all(allowed)).then(|| value.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(peer: &str, headers: &[(&'static str, &'static str)]) -> Forwarded {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        Forwarded::read(Some(peer.parse().unwrap()), "http", &map, &trusted)
    }

    fn client(peer: &str, hops: &[&'static str]) -> Option<String> {
        let headers: Vec<_> = hops.iter().map(|hop| ("x-forwarded-for", *hop)).collect();
        read(peer, &headers).client.map(|address| address.to_string())
    }

    /// S36: a client cannot choose its address, and a missing header names no client rather than all of them.
    #[test]
    fn the_client_is_the_first_hop_from_the_right_that_is_not_ours() {
        let cases: &[(&str, &[&str], Option<&str>)] = &[
            ("192.0.2.1", &["203.0.113.9"], Some("192.0.2.1")),
            ("10.0.0.1", &["203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.2.2.2"], Some("203.0.113.9")),
            ("10.0.0.1", &["1.1.1.1", "203.0.113.9:4711"], Some("203.0.113.9")),
            ("2001:db8::1", &["[2001:4860::8]"], Some("2001:4860::8")),
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["203.0.113.9, nonsense"], None),
            ("10.0.0.1", &["10.0.0.2"], None),
            ("10.0.0.1", &[], None),
        ];
        for (peer, hops, expected) in cases {
            assert_eq!(client(peer, hops).as_deref(), *expected, "{peer} {hops:?}");
        }
    }

    /// S42: whoever says that the client is elsewhere is believed.
    #[test]
    fn a_client_is_near_if_nobody_says_that_it_is_not() {
        let is_near = |peer: &str, hops: &[&'static str]| {
            let mut map = HeaderMap::new();
            for hop in hops {
                map.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(hop));
            }
            is_near(peer.parse().ok(), &map)
        };
        for near in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_near(near, &[]) && is_near(near, &["127.0.0.1", "[::1]:80, ::1"]), "{near}");
            for hop in ["192.0.2.1", "10.0.0.7, 127.0.0.1", "127.0.0.1, 10.0.0.7", "unknown", ""] {
                assert!(!is_near(near, &["127.0.0.1", hop]), "{near} {hop}");
            }
        }
        for far in ["192.0.2.1", "10.0.0.7", "2001:db8::1", "0.0.0.0", "unknown"] {
            assert!(!is_near(far, &[]) && !is_near(far, &["127.0.0.1"]), "{far}");
        }
    }

    #[test]
    fn scheme_and_host_are_believed_from_trusted_proxies_alone() {
        let headers = [("host", "inner:8080"), ("x-forwarded-host", "News.example"), ("x-forwarded-proto", "https")];
        let from_outside = read("192.0.2.1", &headers);
        assert_eq!((from_outside.scheme, from_outside.host.as_deref()), ("http", Some("inner:8080")));
        let from_proxy = read("10.0.0.1", &headers);
        assert_eq!((from_proxy.scheme, from_proxy.host.as_deref()), ("https", Some("news.example")));
        assert_eq!(read("10.0.0.1", &[("host", "a\"b")]).host, None);
    }

    #[test]
    fn over_tls_of_our_own_the_scheme_is_https_unless_a_trusted_proxy_says_that_the_client_came_without() {
        let scheme = |peer: &str, told: Option<&'static str>| {
            let mut map = HeaderMap::new();
            if let Some(told) = told {
                map.append(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static(told));
            }
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            Forwarded::read(Some(peer.parse().unwrap()), "https", &map, &trusted).scheme
        };
        for told in [None, Some("https"), Some("http"), Some("ws")] {
            assert_eq!(scheme("192.0.2.1", told), "https", "{told:?}");
        }
        assert_eq!([None, Some("https"), Some("wss")].map(|told| scheme("10.0.0.1", told)), ["https"; 3]);
        assert_eq!([Some("http"), Some("ws")].map(|told| scheme("10.0.0.1", told)), ["http"; 2]);
    }
}
