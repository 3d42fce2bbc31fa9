//! Who asks for a page: a person who came to read it, or a machine for whom no reader is made (S39).

use actix_web::HttpRequest;

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

/// What is known of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visitor {
    /// Whether a reader may be made of it.
    pub(crate) may_become_reader: bool,
}

impl Visitor {
    /// By what the request says of itself. Most proxies' check is always a GET: `X-Forwarded-Method` says what the visitor's was.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let method = match header("x-forwarded-method") {
            "" => request.method().as_str(),
            forwarded => forwarded,
        };
        let speculates = |name: &str| {
            let value = header(name);
            value.contains("prefetch") || value.contains("prerender") || value.contains("preview")
        };
        let agent = request.headers().get("user-agent").map(|agent| String::from_utf8_lossy(agent.as_bytes()));
        let agent = agent.unwrap_or_default().to_ascii_lowercase();
        let machine = agent.is_empty() || MACHINES.iter().any(|name| agent.contains(name));
        let speculative = ["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter().any(speculates);
        Self { may_become_reader: method != "HEAD" && method != "OPTIONS" && !speculative && !machine }
    }
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
}
