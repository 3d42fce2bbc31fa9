//! Arbitrary bytes.

use super::*;

/// Panics of the server's own threads since the first call.
fn server_panics() -> usize {
    static HOOK: Once = Once::new();
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            if ["actix", "store-"].iter().any(|ours| name.starts_with(ours)) {
                PANICS.fetch_add(1, Ordering::SeqCst);
            }
            before(info);
        }));
    });
    PANICS.load(Ordering::SeqCst)
}

/// What a proptest case may put into a request; `tokens` are real ones.
fn requests(tokens: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    // what actix-http itself turns away is its business: most of the noise has to get past it
    let visible = |length| vec(prop_oneof![9 => b'!'..=b'~', 1 => 0x80..=0xffu8], 0..length);
    let raw = |length| vec(any::<u8>(), 0..length);
    let methods = select(vec!["GET", "POST", "DELETE", "PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "CONNECT", "X"]);
    let method =
        prop_oneof![8 => methods.prop_map(|m| m.as_bytes().to_vec()), 1 => "[A-Z]{1,12}".prop_map(String::into_bytes)];
    let words = [
        "api",
        "client",
        "v2.0",
        "app",
        "passerby",
        "location",
        "auth",
        "providers",
        "anon-user",
        "local-userpass",
        "login",
        "profile",
        "session",
        "delete",
        "v1",
        "sessions",
        "refresh",
        "user",
        "identities",
        "api-keys",
        "api_keys",
        "password",
        "register",
        "registrations",
        "password-resets",
        "confirm",
        "transfer",
        "callback",
        ".well-known",
        "jwks.json",
        "openapi.json",
        "..",
        "",
        "%2e%2e",
        "%00",
        "%ff",
        "login?link=true",
        "?",
        "#",
        ";",
    ];
    let segment = prop_oneof![
        6 => select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => "[a-zA-Z0-9%._~!$&'()*+,;=:@-]{0,12}".prop_map(String::into_bytes),
    ];
    let noise = vec(segment, 0..8).prop_map(|segments| [&b"/"[..], &segments.join(&b'/')].concat());
    let routes = [
        LOGIN,
        PROFILE,
        REFRESH,
        LOGOUT,
        DELETE,
        CREATE,
        VIEW,
        ROTATE,
        END,
        DELETE_USER,
        "GET /openapi.json",
        "GET /.well-known/jwks.json",
        "GET /api/client/v2.0/app/passerby/location",
    ];
    let route = select(routes.to_vec());
    let known = route.clone().prop_map(|what| what.split_once(' ').unwrap().1.as_bytes().to_vec());
    let path = prop_oneof![2 => known, 2 => noise];
    let line = prop_oneof![
        2 => route.prop_map(|what| what.as_bytes().to_vec()),
        3 => (method, path).prop_map(|(method, path)| [&method[..], b" ", &path].concat()),
    ];
    let token = prop_oneof![select(tokens).prop_map(String::into_bytes), visible(60), visible(6000),];
    let bearer = token.prop_map(|token| [&b"authorization: Bearer "[..], &token].concat());
    let name = select(vec![
        "host",
        "origin",
        "content-type",
        "content-length",
        "transfer-encoding",
        "expect",
        "upgrade",
        "connection",
        "x-forwarded-for",
        "x-forwarded-host",
        "access-control-request-method",
        "access-control-request-headers",
        "if-none-match",
        "range",
        "cookie",
        "accept-encoding",
        "content-encoding",
        "idempotency-key",
        "authorization",
    ]);
    let value = prop_oneof![
        select(vec![
            "",
            "5",
            "-1",
            "chunked",
            "gzip",
            "100-continue",
            "websocket",
            "close",
            "GET",
            "*",
            "null",
            "a, b"
        ])
        .prop_map(|value| value.as_bytes().to_vec()),
        visible(40),
    ];
    let header = prop_oneof![
        8 => bearer,
        8 => (name, value).prop_map(|(name, value)| [name.as_bytes(), b": ", &value].concat()),
        1 => raw(40),
    ];
    let json = select(vec![
        "",
        "{}",
        "[]",
        "{\"mode\":\"bearer\"}",
        "{\"options\":{\"device\":{}}}",
        "{\"options\":5}",
        "{",
        "null",
        "\u{feff}{}",
    ]);
    let body = prop_oneof![json.prop_map(|json| json.as_bytes().to_vec()), raw(300)];
    let whole = (line, vec(header, 0..3), body, any::<bool>(), proptest::bool::weighted(0.95)).prop_map(
        |(line, headers, body, with_length, with_host)| {
            let mut request = [&line[..], b" HTTP/1.1\r\n"].concat();
            if with_host {
                request.extend_from_slice(b"Host: x\r\n");
            }
            if with_length {
                request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
            }
            for header in headers {
                request.extend_from_slice(&header);
                request.extend_from_slice(b"\r\n");
            }
            [&request[..], b"\r\n", &body].concat()
        },
    );
    prop_oneof![19 => whole, 1 => raw(400)]
}

/// Every status line in what the server sent; there are several when bytes behind a request are a request too.
fn statuses(answer: &[u8]) -> Vec<u8> {
    let starts = answer.windows(10).filter(|window| window.starts_with(b"HTTP/1.1 "));
    starts.map(|window| window[9]).collect()
}

#[actix_web::test]
async fn arbitrary_bytes_never_break_the_server() {
    let panics = server_panics();
    World::new()
        .serve(async |server| {
            let (app, v1) = (server.log_in().await, server.log_in_v1().await);
            // these may be lost: arbitrary requests log out and delete too
            let (other, other_v1) = (server.log_in().await, server.log_in_v1().await);
            let cookie = server.cookie_token(&other_v1);
            let tokens = vec![other.access, other.refresh, other_v1.access, other_v1.refresh, cookie];
            let address = server.address;
            let thrown = web::block(move || {
                let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
                // the same in every run: what one run finds must be found again
                let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
                TestRunner::new_with_rng(config, random).run(&requests(tokens), |request| {
                    let answer = exchange_now(address, &request, true);
                    let statuses = statuses(&answer);
                    if statuses.contains(&b'5') {
                        let answer = String::from_utf8_lossy(&answer).into_owned();
                        return Err(TestCaseError::fail(answer));
                    }
                    Ok(())
                })
            });
            thrown.await.unwrap().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(server_panics(), panics, "a thread of the server panicked");
            is_well(server).await;
            assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 200);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            assert_eq!(server.call(VIEW).bearer(&v1.access).send().await.status, 200);
            assert_eq!(server.call(ROTATE).bearer(&v1.refresh).send().await.status, 200);
            assert_eq!(server.metric("passerby_http_responses_total{class=\"5xx\"}").await, 0);
            let responses = |class: &str| format!("passerby_http_responses_total{{class=\"{class}\"}}");
            let reached = async |class: &str| server.metric(&responses(class)).await;
            let (good, bad) = (reached("2xx").await, reached("4xx").await);
            println!("{good} requests were good, {bad} bad");
            assert!(
                good > u64::from(cases()) / 50 && bad > u64::from(cases()) / 5,
                "{good} {bad}: too few reach a handler"
            );
            assert_eq!(server.metric("passerby_actor_deaths_total").await, 0);
        })
        .await;
}

/// More on demand: `PROPTEST_CASES`.
fn cases() -> u32 {
    Config::default().cases.max(1000)
}
