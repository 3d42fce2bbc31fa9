//! What asks for a page: a person who reads it, or a machine that never becomes a reader (S39).

use actix_web::{HttpMessage as _, HttpRequest};

use crate::http::context::WasHead;

/// Parts of the names by which crawlers, monitors and tools call themselves, in lower case.
const MACHINES: [&str; 28] = [
    "bot",
    "crawl",
    "spider",
    "slurp",
    "facebookexternalhit",
    "embedly",
    "preview",
    "monitor",
    "uptime",
    "pingdom",
    "statuscake",
    "nagios",
    "zabbix",
    "lighthouse",
    "pagespeed",
    "headlesschrome",
    "phantomjs",
    "curl/",
    "wget/",
    "python-requests",
    "python-urllib",
    "go-http-client",
    "java/",
    "okhttp",
    "axios/",
    "node-fetch",
    "libwww",
    "scrapy",
];

/// What is known of the visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// Whether the visitor may become a reader.
    pub(crate) may_become_reader: bool,
}

impl Visitor {
    /// By what the request says of itself. Most proxies' check is always a GET: `X-Forwarded-Method` says what the visitor's was.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let method = match header("x-forwarded-method") {
            "" if request.extensions().contains::<WasHead>() => "HEAD",
            "" => request.method().as_str(),
            forwarded => forwarded,
        };
        let speculates = |name: &str| {
            let value = header(name);
            value.contains("prefetch") || value.contains("prerender") || value.contains("preview")
        };
        let agent = request.headers().get("user-agent").map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let agent = agent.unwrap_or_default().to_ascii_lowercase();
        let says = without_model(&agent);
        let machine = agent.is_empty() || MACHINES.iter().any(|name| says.contains(name));
        let speculative = ["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter().any(speculates);
        Self { may_become_reader: method != "HEAD" && method != "OPTIONS" && !speculative && !machine }
    }
}

/// An agent's name, in lower case, without the model of an Android device, which people carry: there are phones called CUBOT and
/// Spider. The model stands behind the version in the first brackets, and in `FBDV` of apps that name it again. Crawlers that pretend to
/// be a phone say who they are elsewhere, or give an address there.
fn without_model(agent: &str) -> String {
    let mut depth = 0;
    let closes = agent.char_indices().find_map(|(at, c)| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        (c == ')' && depth == 0).then_some(at)
    });
    let model = agent.find('(').zip(closes).and_then(|(open, close)| {
        let device = agent.get(open..close)?;
        let speaks_for_itself = ["compatible", "http", "@", "+"].iter().any(|sign| device.contains(sign));
        let version = device.find("android").filter(|_| !speaks_for_itself)?;
        Some((open + version, close))
    });
    let mut rest = match model {
        Some((from, to)) => [&agent[..from], &agent[to..]].concat(),
        None => agent.to_owned(),
    };
    if let (Some(_), Some(from)) = (model, rest.find("fbdv/")) {
        let to = rest[from..].find([';', ']']).map_or(rest.len(), |length| from + length);
        rest.replace_range(from..to, "");
    }
    rest
}

#[cfg(test)]
mod tests;
