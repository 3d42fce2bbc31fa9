//! The kinds of values that settings have: how each is read from text, checked and brought into one form.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};

use ::config::{Value, ValueKind};
use actix_web::http::uri::Authority;
use ipnet::IpNet;
use passerby_actors::domain::KeyRule;
use tracing_subscriber::EnvFilter;

use crate::outbound::allowed_origin;

/// What a setting's value may be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Address,
    Path,
    Text,
    Domain,
    PageUrl,
    AppId,
    PublicUrl,
    Origins,
    Networks,
    Reachable,
    Names,
    Hosts,
    KeyRules,
    Choice(&'static [&'static str]),
    Flag,
    Whole {
        min: i64,
        max: i64,
    },
    /// Seconds, as a number or with units.
    Time {
        min: i64,
        max: i64,
    },
    /// Bytes, as a number or with units.
    Size {
        min: i64,
        max: i64,
    },
    Filter,
}

/// Brings an item of a list into its one form, or says in words why it is not valid.
pub(super) type Check = fn(&str) -> Result<String, String>;

/// A unit's names and what it multiplies by.
type Unit = (&'static [&'static str], i64);

const TIMES: [Unit; 5] = [
    (&["s", "sec", "second", "seconds"], 1),
    (&["m", "min", "minute", "minutes"], 60),
    (&["h", "hour", "hours"], 3600),
    (&["d", "day", "days"], 86_400),
    (&["w", "week", "weeks"], 7 * 86_400),
];

const SIZES: [Unit; 7] = [
    (&["b", "byte", "bytes"], 1),
    (&["kb"], 1000),
    (&["mb"], 1_000_000),
    (&["gb"], 1_000_000_000),
    (&["kib"], 1 << 10),
    (&["mib"], 1 << 20),
    (&["gib"], 1 << 30),
];

impl Kind {
    /// The range in words, for `passerby config --explain`.
    pub(super) fn range(self) -> String {
        match self {
            Self::Address => {
                "an IP address or a host name, and a port; a name stands for its first address, IPv4 before IPv6".to_owned()
            }
            Self::Path => "a path, relative to the working directory".to_owned(),
            Self::Text => "a text".to_owned(),
            Self::Domain => "a domain name with a dot in it".to_owned(),
            Self::PageUrl => "an https:// address, or http:// on this machine, without fragment".to_owned(),
            Self::AppId => "1 to 64 of A-Z a-z 0-9 _ -".to_owned(),
            Self::PublicUrl => "http:// or https://, host, port".to_owned(),
            Self::Origins => "a list of scheme://host[:port], with commas in the environment".to_owned(),
            Self::Networks => {
                "a list of CIDR networks or addresses, with commas in the environment and the flag".to_owned()
            }
            Self::Reachable => {
                "a list of https://host[:port], or http://host:port on loopback, with commas in the environment"
                    .to_owned()
            }
            Self::Names => "a list of texts, with commas in the environment".to_owned(),
            Self::Hosts => "a list of host names, without port, with commas in the environment".to_owned(),
            Self::KeyRules => {
                "a list of key=rule, with commas in the environment; a rule is deep, keep_target, keep_source, sum, union or newest"
                    .to_owned()
            }
            Self::Choice(words) => words.join(" or "),
            Self::Flag => "true or false".to_owned(),
            Self::Whole { min, max } | Self::Time { min, max } | Self::Size { min, max } => format!("{min} to {max}"),
            Self::Filter => "tracing filter directives".to_owned(),
        }
    }

    /// What each item of a list has to be, for the kinds that are lists.
    pub(super) fn of_items(self) -> Option<Check> {
        match self {
            Self::Origins => Some(canonical_origin),
            Self::Networks => Some(network),
            Self::Reachable => Some(allowed_origin),
            Self::Names => Some(|text| Ok(text.to_owned())),
            Self::Hosts => Some(host_name),
            Self::KeyRules => Some(key_rule),
            _ => None,
        }
    }

    /// What a text from the environment or a flag stands for; [`Kind::accept`] says whether it will do.
    pub(super) fn typed(self, text: &str) -> ValueKind {
        let text = text.trim();
        let as_is = || ValueKind::String(text.to_owned());
        match self {
            Self::Whole { .. } | Self::Time { .. } | Self::Size { .. } => {
                text.parse().map_or_else(|_| as_is(), ValueKind::I64)
            }
            Self::Flag => text.parse().map_or_else(|_| as_is(), ValueKind::Boolean),
            _ if self.of_items().is_some() => ValueKind::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::new(None, item.to_owned()))
                    .collect(),
            ),
            _ => as_is(),
        }
    }

    /// The value in its one form, or why it is not valid.
    pub(super) fn accept(self, value: &ValueKind) -> Result<ValueKind, String> {
        if let Some(check) = self.of_items() {
            let ValueKind::Array(items) = value else { return Err(self.expected(value)) };
            return each(items, check);
        }
        match (self, value) {
            (Self::Whole { min, max } | Self::Time { min, max } | Self::Size { min, max }, ValueKind::I64(number)) => {
                if (min..=max).contains(number) {
                    Ok(value.clone())
                } else {
                    Err(format!("{number} is not in {min} to {max}"))
                }
            }
            (Self::Time { .. }, ValueKind::String(text)) => match seconds_in(text) {
                Some(seconds) => {
                    self.accept(&ValueKind::I64(seconds)).map_err(|reason| format!("{text:?}: {reason} s"))
                }
                None => Err(self.expected(value)),
            },
            (Self::Size { .. }, ValueKind::String(text)) => match with_units(text, &SIZES) {
                Some(bytes) => {
                    self.accept(&ValueKind::I64(bytes)).map_err(|reason| format!("{text:?}: {reason} bytes"))
                }
                None => Err(self.expected(value)),
            },
            (Self::Flag, ValueKind::Boolean(_)) => Ok(value.clone()),
            (Self::Whole { .. } | Self::Time { .. } | Self::Size { .. } | Self::Flag, _) => Err(self.expected(value)),
            (_, ValueKind::String(text)) => self.accept_text(text).map(ValueKind::String),
            _ => Err(self.expected(value)),
        }
    }

    fn accept_text(self, text: &str) -> Result<String, String> {
        let holds = match self {
            Self::Address => {
                return match address(text) {
                    Ok(Some(address)) => Ok(address.to_string()),
                    Ok(None) => Err(self.expected(&ValueKind::String(text.to_owned()))),
                    Err(reason) => Err(reason),
                };
            }
            Self::Path => !text.is_empty(),
            Self::Text => !text.trim().is_empty(),
            Self::Domain => domain(text),
            Self::PageUrl => page(text),
            Self::AppId => valid_app_id(text),
            // RFC 9864 gives the algorithm a new name
            Self::Choice(words) if text == "Ed25519" && words.contains(&"EdDSA") => return Ok("EdDSA".to_owned()),
            Self::Choice(words) => words.contains(&text),
            Self::Filter => {
                return match EnvFilter::try_new(text) {
                    Ok(_) => Ok(text.to_owned()),
                    Err(error) => Err(format!("{text:?} is not a filter: {error}")),
                };
            }
            Self::PublicUrl => {
                let url = canonical_origin(text)?;
                return if url.starts_with("http://") || url.starts_with("https://") {
                    Ok(url)
                } else {
                    Err(self.expected(&ValueKind::String(text.to_owned())))
                };
            }
            Self::Origins
            | Self::Networks
            | Self::Reachable
            | Self::Names
            | Self::Hosts
            | Self::KeyRules
            | Self::Flag
            | Self::Whole { .. }
            | Self::Time { .. }
            | Self::Size { .. } => false,
        };
        if holds { Ok(text.to_owned()) } else { Err(self.expected(&ValueKind::String(text.to_owned()))) }
    }

    fn expected(self, found: &ValueKind) -> String {
        let expected = match self {
            Self::Whole { .. } => "a whole number".to_owned(),
            Self::Time { .. } => "seconds, or a text such as 90d, 12h, 30m, 45s or 1d12h".to_owned(),
            Self::Size { .. } => "bytes, or a text such as 64KiB, 2MiB or 1GiB".to_owned(),
            Self::Address => "an address and a port such as 127.0.0.1:8080 or localhost:8080".to_owned(),
            Self::Origins | Self::Reachable => "a list of origins".to_owned(),
            Self::Networks => "a list of networks".to_owned(),
            Self::Names => "a list of texts".to_owned(),
            Self::Hosts => "a list of host names".to_owned(),
            Self::KeyRules => "a list of key=rule".to_owned(),
            Self::Path => "a path".to_owned(),
            _ => self.range(),
        };
        format!("expected {expected}, found {}", described(found))
    }
}

/// The seconds that a text stands for: a plain number, or numbers with units (`90d`, `12h`, `1d 12h`).
pub fn seconds_in(text: &str) -> Option<i64> {
    with_units(text, &TIMES)
}

/// The sum of a text's numbers, each times its unit; a number alone is counted in the smallest one.
fn with_units(text: &str, units: &[Unit]) -> Option<i64> {
    let mut rest = text.trim();
    if let Ok(number) = rest.parse() {
        return Some(number);
    }
    let mut sum: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(rest.len());
        let name = rest[..letters].to_ascii_lowercase();
        let (_, factor) = units.iter().find(|(names, _)| names.contains(&name.as_str()))?;
        sum = sum.checked_add(number.checked_mul(*factor)?)?;
        rest = rest[letters..].trim_start();
    }
    (!text.trim().is_empty()).then_some(sum)
}

/// The address that a listener is to have; `None` if the text is none. Of a name's addresses the first IPv4 one is taken, or
/// the first.
fn address(text: &str) -> Result<Option<SocketAddr>, String> {
    if let Ok(address) = text.parse() {
        return Ok(Some(address));
    }
    let Some((host, port)) = text.rsplit_once(':') else { return Ok(None) };
    let named = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    let (true, Ok(port)) = (named, port.parse::<u16>()) else { return Ok(None) };
    let found: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(error) => return Err(format!("the host name {host:?} has no address: {error}")),
    };
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().map(Some).ok_or_else(|| format!("the host name {host:?} has no address"))
}

/// A value as it is named in a message.
pub(super) fn described(value: &ValueKind) -> String {
    match value {
        ValueKind::Nil => "nothing".to_owned(),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Table(_) => "a table".to_owned(),
        ValueKind::Array(_) => "a list".to_owned(),
        other => other.to_string(),
    }
}

/// Whether a text can be an app id: it is a path segment and part of a URN, 1 to 64 of `A-Z a-z 0-9 _ -`.
pub fn valid_app_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// An origin in the form in which browsers send it: lower case, no slash at the end, no default port.
///
/// # Errors
/// What is wrong with it, in words.
pub fn canonical_origin(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not an origin: expected scheme://host[:port] and no more");
    let lower = text.to_ascii_lowercase();
    let (scheme, rest) = lower.split_once("://").ok_or_else(wrong)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let scheme_holds = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let parsed: Authority = authority.parse().map_err(|_| wrong())?;
    let host = parsed.host();
    let host_holds = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[:]".contains(&byte))
        && authority.starts_with(host);
    if !scheme_holds || !host_holds {
        return Err(wrong());
    }
    let port = match &authority[host.len()..] {
        "" => None,
        text => Some(text.strip_prefix(':').and_then(|port| port.parse::<u16>().ok()).ok_or_else(wrong)?),
    };
    Ok(match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

/// A name that a cookie can be set for.
fn domain(text: &str) -> bool {
    let label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.contains('.') && text.split('.').all(label) && text.parse::<IpAddr>().is_err()
}

/// A page to which a link with a code may lead: what is secret in a link must not be read on the way.
fn page(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let safe = url.scheme() == "https" || (local && url.scheme() == "http");
    safe && url.has_host() && url.fragment().is_none() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A network, or a single address as a network of one.
fn network(text: &str) -> Result<String, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map(|network| network.trunc().to_string())
        .map_err(|_| format!("{text:?} is not a network: expected one like 10.0.0.0/8 or fd00::/8"))
}

/// How the values of a key of two documents become one, as `key=rule`.
fn key_rule(text: &str) -> Result<String, String> {
    let wrong = || {
        format!("{text:?} is not key=rule: expected deep, keep_target, keep_source, sum, union or newest as the rule")
    };
    let (key, rule) = text.rsplit_once('=').ok_or_else(wrong)?;
    if key.is_empty() || rule_named(rule).is_none() { Err(wrong()) } else { Ok(text.to_owned()) }
}

/// The rule of this name.
pub(super) fn rule_named(name: &str) -> Option<KeyRule> {
    Some(match name {
        "deep" => KeyRule::Deep,
        "keep_target" => KeyRule::KeepTarget,
        "keep_source" => KeyRule::KeepSource,
        "sum" => KeyRule::Sum,
        "union" => KeyRule::Union,
        "newest" => KeyRule::Newest,
        _ => return None,
    })
}

/// A name that a `Host` header can have, in lower case and without a dot at the end.
fn host_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        (1..=63).contains(&label.len()) && plain
    };
    if name.len() <= 253 && name.split('.').all(label) {
        return Ok(name);
    }
    Err(format!("{text:?} is not a host name: expected one like metrics.internal, without scheme, port and *"))
}

/// An item of a list in its one form.
pub(super) fn item(item: &Value, check: Check) -> Result<String, String> {
    match &item.kind {
        ValueKind::String(text) => check(text),
        other => Err(format!("expected a list of texts, found {} in it", described(other))),
    }
}

fn each(items: &[Value], check: Check) -> Result<ValueKind, String> {
    let texts = items.iter().map(|it| item(it, check).map(|text| Value::new(None, text)));
    texts.collect::<Result<Vec<_>, _>>().map(ValueKind::Array)
}
