//! Which visitors are people, and which are machines.

use actix_web::test::TestRequest;

use super::*;

const FIREFOX: (&str, &str) = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");

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
