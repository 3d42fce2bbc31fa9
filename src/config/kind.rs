//! The kinds of values that settings have: how each is read from text, checked and brought into one form.

use std::net::{IpAddr, SocketAddr};

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
    KeyRules,
    Choice(&'static [&'static str]),
    Flag,
    Whole { min: i64, max: i64 },
    Filter,
}

impl Kind {
    /// The range in words, for `passerby config --explain`.
    pub(super) fn range(self) -> String {
        match self {
            Self::Address => "an IP address and a port".to_owned(),
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
            Self::KeyRules => {
                "a list of key=rule, with commas in the environment; a rule is deep, keep_target, keep_source, sum, union or newest"
                    .to_owned()
            }
            Self::Choice(words) => words.join(" or "),
            Self::Flag => "true or false".to_owned(),
            Self::Whole { min, max } => format!("{min} to {max}"),
            Self::Filter => "tracing filter directives".to_owned(),
        }
    }

    /// What a text from the environment or a flag stands for; [`Kind::accept`] says whether it will do.
    pub(super) fn typed(self, text: &str) -> ValueKind {
        let text = text.trim();
        let as_is = || ValueKind::String(text.to_owned());
        match self {
            Self::Whole { .. } => text.parse().map_or_else(|_| as_is(), ValueKind::I64),
            Self::Flag => text.parse().map_or_else(|_| as_is(), ValueKind::Boolean),
            Self::Origins | Self::Networks | Self::Reachable | Self::Names | Self::KeyRules => ValueKind::Array(
                text.split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(|item| Value::new(None, item.to_owned()))
                    .collect(),
            ),
            _ => as_is(),
        }
    }

    /// The value in its one form, or why it is none.
    pub(super) fn accept(self, value: &ValueKind) -> Result<ValueKind, String> {
        match (self, value) {
            (Self::Whole { min, max }, ValueKind::I64(number)) if (min..=max).contains(number) => Ok(value.clone()),
            (Self::Whole { min, max }, ValueKind::I64(number)) => Err(format!("{number} is not in {min} to {max}")),
            (Self::Flag, ValueKind::Boolean(_)) => Ok(value.clone()),
            (Self::Origins, ValueKind::Array(items)) => each(items, canonical_origin),
            (Self::Networks, ValueKind::Array(items)) => each(items, network),
            (Self::Reachable, ValueKind::Array(items)) => each(items, allowed_origin),
            (Self::Names, ValueKind::Array(items)) => each(items, |text| Ok(text.to_owned())),
            (Self::KeyRules, ValueKind::Array(items)) => each(items, key_rule),
            (
                Self::Origins
                | Self::Networks
                | Self::Reachable
                | Self::Names
                | Self::KeyRules
                | Self::Whole { .. }
                | Self::Flag,
                _,
            ) => Err(self.expected(value)),
            (_, ValueKind::String(text)) => self.accept_text(text).map(ValueKind::String),
            _ => Err(self.expected(value)),
        }
    }

    fn accept_text(self, text: &str) -> Result<String, String> {
        let holds = match self {
            Self::Address => text.parse::<SocketAddr>().is_ok(),
            Self::Path => !text.is_empty(),
            Self::Text => !text.trim().is_empty(),
            Self::Domain => domain(text),
            Self::PageUrl => page(text),
            Self::AppId => valid_app_id(text),
            // RFC 9864 gives the algorithm another name
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
            | Self::KeyRules
            | Self::Flag
            | Self::Whole { .. } => false,
        };
        if holds { Ok(text.to_owned()) } else { Err(self.expected(&ValueKind::String(text.to_owned()))) }
    }

    fn expected(self, found: &ValueKind) -> String {
        let expected = match self {
            Self::Whole { .. } => "a whole number".to_owned(),
            Self::Origins | Self::Reachable => "a list of origins".to_owned(),
            Self::Networks => "a list of networks".to_owned(),
            Self::Names => "a list of texts".to_owned(),
            Self::KeyRules => "a list of key=rule".to_owned(),
            Self::Path => "a path".to_owned(),
            _ => self.range(),
        };
        format!("expected {expected}, found {}", described(found))
    }
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

fn each(items: &[Value], check: impl Fn(&str) -> Result<String, String>) -> Result<ValueKind, String> {
    items
        .iter()
        .map(|item| match &item.kind {
            ValueKind::String(text) => check(text).map(|text| Value::new(None, text)),
            other => Err(format!("expected a list of texts, found {} in it", described(other))),
        })
        .collect::<Result<Vec<_>, _>>()
        .map(ValueKind::Array)
}
