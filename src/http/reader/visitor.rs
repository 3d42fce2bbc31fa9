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
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const FIREFOX: (&str, &str) =
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");

    fn reads(headers: &[(&'static str, &'static str)]) -> bool {
        let request = headers.iter().fold(TestRequest::get(), |request, header| request.insert_header(*header));
        Visitor::of(&request.to_http_request()).may_become_reader
    }

    /// S39.
    #[test]
    fn prefetch_prerender_head_and_machines_never_become_readers() {
        assert!(reads(&[FIREFOX]));
        assert!(reads(&[FIREFOX, ("x-forwarded-method", "POST")]));
        for speculative in [
            ("sec-purpose", "prefetch;prerender"),
            ("sec-purpose", "prefetch"),
            ("purpose", "prefetch"),
            ("x-moz", "prefetch"),
            ("x-purpose", "preview"),
            ("x-forwarded-method", "HEAD"),
        ] {
            assert!(!reads(&[FIREFOX, speculative]), "{speculative:?}");
        }
        for machine in [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0)",
            "facebookexternalhit/1.1",
            "UptimeRobot/2.0",
            "curl/8.5.0",
            "Mozilla/5.0 (X11) HeadlessChrome/140.0",
            "",
        ] {
            assert!(!reads(&[("user-agent", machine)]), "{machine}");
        }
        assert!(!reads(&[]), "browsers name themselves");
    }

    /// S39: people whose phones have names that sound like machines.
    #[test]
    fn a_phone_is_a_person_whatever_it_is_called() {
        for phone in [
            "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 11; CUBOT KING KONG 5 Pro Build/RP1A.200720.011; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/109.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/400.0;FBDV/CUBOT KING KONG 5 Pro;]",
            "Mozilla/5.0 (Linux; Android 7.0; M bot 60 Build/NRD90M) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0.3987.99 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; Android 8.1.0; XBot Senior) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/91.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; U; Android 10; en-us; Spider 8 Build/QP1A) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Linux; U; Android 4.0.4; de-de; htc_botdugls Build/IMM76D) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
            "Mozilla/5.0 (Linux; Android 8.1.0; Moto G (5) Plus; CUBOT) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/96.0 Mobile Safari/537.36",
            "Mozilla/5.0 (Android 9; Mobile; CUBOT; rv:140.0) Gecko/140.0 Firefox/140.0",
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
        ] {
            assert!(reads(&[("user-agent", phone)]), "{phone}");
        }
        for machine in [
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (Linux; Android 7.0;) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; PetalBot;+https://webmaster.petalsearch.com/site/petalbot)",
            "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)",
            "Mozilla/5.0 (Linux; Android 8.0; compatible; SomeBot/1.0; +https://bot.example/) AppleWebKit/537.36",
            "Mozilla/5.0 (Linux; Android 8.0; SomeBot; info@bot.example) AppleWebKit/537.36",
            "SomeBot/1.0 (Android 9; CUBOT)",
            "Spider 8 (no phone)",
            "bot) (android",
            "(((android; bot",
        ] {
            assert!(!reads(&[("user-agent", machine)]), "{machine}");
        }
    }
}
