//! Whatever comes over the wire: the right 4xx with a JSON body in the form of its API, no panic, nothing lost.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web;
use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::world::{
    Answer, CREATE, DELETE, DELETE_USER, END, LOGIN, LOGOUT, PROFILE, REFRESH, ROTATE, TestServer, VIEW, World,
};

/// An error in the form of the API that the path belongs to.
#[track_caller]
fn assert_error(answer: &Answer, path: &str, status: u16) {
    assert_eq!(answer.status, status, "{path} {answer:?}");
    if path.contains("/api/") {
        let body = answer.json();
        assert!(body["error"].is_string() && body["link"].is_string(), "{path} {body}");
        assert!(answer.header("x-appservices-request-id").is_some());
    } else {
        let body = answer.json_as("application/problem+json");
        assert_eq!(body["status"], status, "{path} {body}");
        assert!(body["code"].is_string() && body["type"].is_string() && body["title"].is_string(), "{path} {body}");
    }
}

const WITH_BODY: [&str; 8] = [LOGIN, REFRESH, LOGOUT, DELETE, CREATE, ROTATE, END, DELETE_USER];

#[actix_web::test]
async fn a_body_that_is_too_long_is_refused_and_one_that_just_fits_is_not() {
    World::new()
        .serve(async |server| {
            let mut fitting = b"{}".to_vec();
            fitting.resize(65_536, b' ');
            for what in WITH_BODY {
                let (path, long) = (what.split_once(' ').unwrap().1, [&fitting[..], b" "].concat());
                // a body is looked at before the token: it has to be read anyway
                let answer = server.call(what).body(long).send().await;
                assert_error(&answer, path, 413);
                let answer = server.call(what).body(fitting.clone()).send().await;
                assert!(matches!(answer.status, 200 | 201 | 401), "{what} {answer:?}");
            }
            // a length that is only announced
            let announced = head(LOGIN, "Content-Length: 1000000000") + &"x".repeat(70_000);
            let answer = exchange(server.address, announced.into_bytes(), false).await;
            assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
            assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        })
        .await;
}

fn head(what: &str, length: &str) -> String {
    format!("{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n\r\n")
}

/// A chunked body that never ends must not hold its connection: neither one too long, nor one too slow, nor one that is not read.
#[actix_web::test]
async fn a_chunked_body_without_end_is_cut_off() {
    let long = format!("11171\r\n{}\r\n", "x".repeat(0x11171));
    World::new()
        .set("http.client_timeout", "1")
        .serve(async |server| {
            for (what, body, status) in [
                (LOGIN, long.as_str(), 413),
                (CREATE, long.as_str(), 413),
                (LOGIN, "5\r\n{", 408),
                (PROFILE, "5\r\n{", 401),
                ("POST /nowhere", "5\r\n{", 404),
            ] {
                let bytes = head(what, "Transfer-Encoding: chunked") + body;
                let answer = exchange(server.address, bytes.into_bytes(), false).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what} {answer}");
                assert!(answer.contains("json\r\n"), "{what} {answer}");
            }
        })
        .await;
}

#[actix_web::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let bodies: [&[u8]; 12] = [
        b"[]",
        b"5",
        b"nul",
        b"\"x\"",
        b"{",
        b"{\"a\":}",
        b"{} {}",
        b"nonsense",
        b"\xff\xfe",
        b"{\"a\":\"\xc3\x28\"}",
        b"\0",
        b"options=5",
    ];
    let deep = [b"{\"a\":".repeat(10_000), b"1".to_vec(), b"}".repeat(10_000)].concat();
    World::new()
        .set("http.max_body", "100000")
        .serve(async |server| {
            for what in [LOGIN, CREATE] {
                for body in bodies.into_iter().chain([&deep[..]]) {
                    for content_type in ["application/json", "text/plain", "multipart/form-data; boundary=x", "\"", ""]
                    {
                        let answer = server.call(what).header("content-type", content_type).body(body).send().await;
                        assert_error(&answer, what, 400);
                    }
                }
            }
            assert_eq!(server.metric("passerby_users").await, 0);
            // where the body does not matter, anything is taken
            let tokens = server.log_in().await;
            let answer = server.call(REFRESH).bearer(&tokens.refresh).body(&b"\xff["[..]).send().await;
            assert_eq!(answer.status, 201);
        })
        .await;
}

#[actix_web::test]
async fn a_slow_client_is_cut_off() {
    World::new()
        .set("http.client_timeout", "1")
        .serve(async |server| {
            for what in [LOGIN, CREATE] {
                // the head says ten bytes, and one comes
                let bytes = format!("{what} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{").into_bytes();
                let answer = exchange(server.address, bytes, false).await;
                assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
                assert!(answer.contains("json\r\n"), "{answer}");
                assert!(answer.contains("did not arrive in time"), "{answer}");
            }
            // a head that never ends is cut off too, by actix-http
            let answer = exchange(server.address, b"GET /v1/session HTTP/1.1\r\nHost".to_vec(), false).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
            assert_eq!(server.metric("passerby_users").await, 0);
        })
        .await;
}

/// What actix-http does not time: a later head, and answers that no one reads.
#[actix_web::test]
async fn a_client_that_stalls_behind_its_first_request_is_cut_off() {
    World::new()
        .set("http.client_timeout", "1")
        .set("http.request_timeout", "1")
        .set("http.keep_alive", "12")
        .serve(async |server| {
            let address = server.address;
            let whole = "GET /v1/session HTTP/1.1\r\nHost: x\r\n\r\n";
            // in one piece with what came before, it is timed like a rest between requests
            let answer = exchange(address, format!("{whole}{whole}GET /v1/se").into_bytes(), false).await;
            assert_eq!(answer.matches("HTTP/1.1 401 ").count(), 2, "{answer}");

            let refused = web::block(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                stream.write_all(whole.as_bytes()).unwrap();
                let mut answer = [0; 4096];
                assert!(stream.read(&mut answer).unwrap() > 0);
                stream.write_all(b"G").unwrap();
                stream.read(&mut answer)
            });
            assert!(refused.await.unwrap().is_ok_and(|length| length == 0));

            let refused = web::block(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
                let many = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
                loop {
                    if let Err(error) = stream.write_all(many.as_bytes()) {
                        return error.kind();
                    }
                }
            });
            let refused = refused.await.unwrap();
            assert!(matches!(refused, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{refused}");
        })
        .await;
}

/// S25: tokens are strangers' texts: their length and content steer nothing.
#[actix_web::test]
async fn tokens_that_are_none_are_refused_whatever_they_are() {
    let tokens = [
        "x".repeat(100_000),
        "a.".repeat(50_000),
        format!("{}.{}.{}", "A".repeat(30_000), "B".repeat(30_000), "C".repeat(30_000)),
        "eyJhbGciOiJIUzI1NiIsImtpZCI6Ii4uLy4uL2V0Yy9wYXNzd2QifQ.e30.AAAA".to_owned(),
        "eyJhbGciOiJub25lIiwidHlwIjoiYXQrand0In0.e30.".to_owned(),
        "eyJqd2siOnsia3R5Ijoib2N0In0sImprdSI6Imh0dHA6Ly8xMjcuMC4wLjEifQ.e30.AAAA".to_owned(),
        "..".to_owned(),
        "\u{e9}\u{20ac}".to_owned(),
        "' OR 1=1 --".to_owned(),
    ];
    World::new()
        .serve(async |server| {
            for token in &tokens {
                for what in [PROFILE, REFRESH, LOGOUT, DELETE, VIEW, ROTATE, END, DELETE_USER] {
                    let answer = server.call(what).bearer(token).send().await;
                    assert_error(&answer, what, 401);
                }
            }
            let bytes = [
                &b"GET /v1/session HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \xff\xfe\r\n\r\n"
                    [..],
            ];
            let answer = exchange(server.address, bytes.concat(), false).await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        })
        .await;
}

#[actix_web::test]
async fn ids_that_are_no_ids_are_not_found_or_refused() {
    let ids = ["..", "%00", "%ff%fe", "%2e%2e%2f", "a%2fb", "passerby%0d%0aX-Evil:1", "💥", "\"><script>", "PASSERBY"];
    World::new()
        .serve(async |server| {
            for id in ids {
                let id: String = id
                    .bytes()
                    .map(|b| match b {
                        b if b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>') => char::from(b).to_string(),
                        b => format!("%{b:02x}"),
                    })
                    .collect();
                for (method, path) in [
                    ("GET", format!("/api/client/v2.0/app/{id}/location")),
                    ("POST", format!("/api/client/v2.0/app/{id}/auth/providers/anon-user/login")),
                    ("POST", format!("/api/client/v2.0/app/passerby/auth/providers/{id}/login")),
                ] {
                    let bytes = format!(
                        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                    );
                    let answer = exchange(server.address, bytes.into_bytes(), false).await;
                    assert!(
                        answer.starts_with("HTTP/1.1 404 ") && answer.contains("application/json\r\n"),
                        "{path} {answer}"
                    );
                    assert!(!answer.contains("\r\nX-Evil"), "{answer}");
                }
                let device =
                    format!(r#"{{"options":{{"device":{{"deviceId":{{"$oid":{}}}}}}}}}"#, serde_json::json!(id));
                let answer = server.call(LOGIN).body(device).send().await;
                assert_eq!(answer.status, 200, "a device id that is none is replaced: {answer:?}");
                assert_eq!(answer.json()["device_id"].as_str().unwrap().len(), 24);
            }
        })
        .await;
}

#[actix_web::test]
async fn unknown_routes_and_methods_are_answered_in_the_form_of_their_api() {
    let routes = [
        ("/api/client/v2.0/app/passerby/location", "GET"),
        ("/api/client/v2.0/app/passerby/auth/providers/anon-user/login", "POST"),
        ("/api/client/v2.0/auth/profile", "GET"),
        ("/api/client/v2.0/auth/session", "POST DELETE"),
        ("/api/client/v2.0/auth/delete", "DELETE"),
        ("/v1/sessions", "POST"),
        ("/v1/session", "GET DELETE"),
        ("/v1/session/refresh", "POST"),
        ("/v1/user", "DELETE"),
        ("/v1/user/identities", "GET POST"),
        ("/v1/user/identities/a/b", "DELETE"),
        ("/v1/user/sessions", "GET DELETE"),
        ("/v1/user/sessions/a", "DELETE"),
        ("/v1/user/api-keys", "GET POST"),
        ("/v1/user/api-keys/a", "PATCH DELETE"),
        ("/v1/user/password", "PUT"),
        ("/v1/session/transfer", "POST"),
        ("/v1/registrations", "POST"),
        ("/v1/registrations/confirm", "POST"),
        ("/v1/registrations/resend", "POST"),
        ("/v1/password-resets", "POST"),
        ("/v1/password-resets/confirm", "POST"),
        ("/v1/meters", "GET"),
        ("/v1/meters/a", "POST"),
        ("/v1/providers/callback", "GET POST"),
        ("/v1/providers/a/callback", "GET POST"),
        ("/v1/providers/a/login", "GET"),
        ("/api/client/v2.0/auth/api_keys", "GET POST"),
        ("/api/client/v2.0/auth/api_keys/a", "GET DELETE"),
        ("/api/client/v2.0/auth/api_keys/a/enable", "PUT"),
        ("/api/client/v2.0/app/passerby/auth/providers/local-userpass/register", "POST"),
        ("/api/client/v2.0/app/passerby/auth/providers/local-userpass/reset/send", "POST"),
        ("/.well-known/jwks.json", "GET"),
        ("/openapi.json", "GET"),
    ];
    let unknown = [
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/session/",
        "/v1/sessions/1",
        "/v2/session",
        "/api",
        "/api/",
        "/API/client",
        "/api/client/v2.0",
        "/api/client/v2.0/",
        "/api/client/v1.0/auth/profile",
        "/api/client/v2.0/auth/profile/x",
        "/api/client/v2.0/app/passerby/functions/call",
        "/api/client/v2.0/auth/api_keys/a/b",
        "/api/admin/v3.0/auth/profile",
        "/api/client/v2.0/app/passerby/auth/providers/oauth2-google/callback",
        "/favicon.ico",
        "/.env",
        "/metrics",
    ];
    World::new()
        .serve(async |server| {
            for (path, known) in routes {
                for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "BREW"] {
                    if known.split(' ').any(|known| known == method) {
                        continue;
                    }
                    let answer = server.call(&format!("{method} {path}")).send().await;
                    assert_error(&answer, path, 405);
                    let allow = known.replace(' ', ", ").replace("GET", "GET, HEAD") + ", OPTIONS";
                    assert_eq!(answer.header("allow"), Some(allow.as_str()), "{path}");
                    let options = server.call(&format!("OPTIONS {path}")).send().await;
                    assert_eq!((options.status, options.header("allow")), (204, Some(allow.as_str())), "{path}");
                }
            }
            for path in unknown {
                for method in ["GET", "POST", "DELETE", "BREW"] {
                    let answer = server.call(&format!("{method} {path}")).body("{}").send().await;
                    assert_error(&answer, path, 404);
                }
            }
            assert_eq!(
                server.call("GET /openapi.json").send().await.json()["openapi"].as_str().map(|v| &v[..2]),
                Some("3.")
            );
        })
        .await;
}

/// RFC 9110 §9.3.2: as the GET, with its length and without its body; on a connection that goes on, also among others.
#[actix_web::test]
async fn head_is_answered_as_get_without_a_body() {
    fn head_of(answer: &str) -> Vec<String> {
        let head = answer.split("\r\n\r\n").next().unwrap();
        let varies = ["date:", "x-appservices-request-id:"];
        let mut lines: Vec<String> = head.lines().map(str::to_owned).collect();
        lines.retain(|line| !varies.iter().any(|name| line.starts_with(name)));
        // a list that stands in no order
        for line in lines.iter_mut().filter(|line| line.starts_with("access-control-expose-headers: ")) {
            let mut names: Vec<&str> = line.split([' ', ',']).collect();
            names.sort_unstable();
            *line = names.join(" ");
        }
        lines.sort_unstable();
        lines
    }
    World::new()
        .serve(async |server| {
            let tokens = server.log_in_v1().await;
            let put = server.call("PUT /v1/data").bearer(&tokens.access).body(r#"{"a":1}"#).send().await;
            assert_eq!(put.status, 200);
            let public = [
                ("/v1/session", 200),
                ("/v1/data", 200),
                ("/v1/user/export", 200),
                ("/v1/user/sessions", 200),
                ("/v1/meters", 200),
                ("/api/client/v2.0/auth/profile", 200),
                ("/api/client/v2.0/app/passerby/location", 200),
                ("/.well-known/jwks.json", 200),
                ("/passerby.js", 200),
                ("/passerby-live.js", 200),
                ("/openapi.json", 200),
                ("/asyncapi.json", 200),
                ("/v1/socket", 400),
                ("/v1/sessions", 405),
                ("/api/client/v2.0/auth/session", 405),
                ("/nowhere", 404),
            ];
            let admin = [("/healthz", 200), ("/readyz", 200), ("/nowhere", 404)];
            let all = public.map(|what| (server.address, what)).into_iter().chain(admin.map(|what| (server.admin, what)));
            for (address, (path, status)) in all {
                let ask = |method: &str, close: &str| {
                    let authorization = format!("Authorization: Bearer {}\r\n", tokens.access);
                    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}{close}\r\n").into_bytes()
                };
                let get = exchange(address, ask("GET", "Connection: close\r\n"), false).await;
                let head = exchange(address, ask("HEAD", "Connection: close\r\n"), false).await;
                assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {head}");
                assert!(head.ends_with("\r\n\r\n"), "{path} {head}");
                if path.contains("/auth/session") {
                    // its body names the request
                    continue;
                }
                assert_eq!(head_of(&head), head_of(&get), "{path}");
                assert!(get.ends_with("\r\n\r\n") || !get.contains("content-length: 0"), "{path}");
            }
            // several at once: each answer is told from the next by its own rules
            let several = "HEAD /v1/session HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/session HTTP/1.1\r\nHost: x\r\n\r\n\
                           HEAD /openapi.json HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
            let answers = exchange(server.address, several.as_bytes().to_vec(), false).await;
            let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
            assert_eq!(statuses, ["401", "401", "200", "404"], "{answers}");
            let bodies: Vec<bool> =
                answers.split("HTTP/1.1 ").skip(1).map(|answer| !answer.split_once("\r\n\r\n").unwrap().1.is_empty()).collect();
            assert_eq!(bodies, [false, true, false, true]);
        })
        .await;
}

/// Clients that keep connections for later, as proxies do, would otherwise send the next request into one that has ended.
#[actix_web::test]
async fn an_upgrade_that_comes_to_nothing_ends_the_connection_and_says_so() {
    World::new()
        .serve(async |server| {
            for upgrade in ["Connection: Upgrade", "Connection: keep-alive, Upgrade\r\nUpgrade: other"] {
                for (what, status) in [
                    (CREATE, 201),
                    (LOGIN, 200),
                    ("GET /v1/session", 401),
                    ("GET /v1/socket", 400),
                    ("PUT /v1/socket", 405),
                    ("GET /passerby.js", 200),
                    ("GET /verify?create=auto", 204),
                    ("GET /nowhere", 404),
                ] {
                    let bytes = format!("{what} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\nContent-Length: 0\r\n\r\n");
                    let answer = exchange(server.address, bytes.into_bytes(), false).await;
                    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what} {answer}");
                    assert!(answer.contains("\r\nconnection: close\r\n"), "{what} {answer}");
                }
            }
        })
        .await;
}

/// The library takes all that follows a request for a WebSocket as its body, whatever its length says: such a request would wait for
/// bytes that never come.
#[actix_web::test]
async fn a_request_that_names_websockets_and_opens_none_has_the_body_that_its_length_says() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in_v1().await;
            let authorization = format!("Authorization: Bearer {}\r\n", tokens.access);
            let mut asked = Vec::new();
            for upgrade in [
                "Upgrade: websocket",
                "Connection: Upgrade\r\nUpgrade: WebSocket",
                "Connection: keep-alive\r\nUpgrade: websocket",
            ] {
                for (what, body, status) in [
                    (CREATE, "", 201),
                    (CREATE, r#"{"mode":"none"}"#, 400),
                    (LOGIN, "{}", 200),
                    ("PUT /v1/data", r#"{"a":1}"#, 200),
                    ("DELETE /v1/data", "", 200),
                    ("POST /v1/socket", "", 405),
                    ("POST /v1/socket-ticket", "", 201),
                    ("POST /nowhere", "x", 404),
                    ("GET /v1/session", "", 200),
                    ("GET /v1/socket", "", 400),
                    ("GET /passerby.js", "", 200),
                    ("POST /verify", "", 204),
                ] {
                    for length in [format!("Content-Length: {}\r\n", body.len()), String::new()] {
                        if length.is_empty() && !body.is_empty() {
                            continue;
                        }
                        let head = format!("{what} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n{authorization}{length}\r\n");
                        // and more than that is no part of it
                        let bytes = (head + body + "{} and more").into_bytes();
                        asked.push(async move {
                            let answer = exchange(server.address, bytes, false).await;
                            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what} {upgrade} {answer}");
                            assert!(answer.contains("\r\nconnection: close\r\n"), "{what} {upgrade} {answer}");
                        });
                    }
                }
            }
            // at the same time: the server waits a moment for each client to close
            join_all(asked).await;
            // a body that never becomes whole
            let half = format!("{CREATE} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nContent-Length: 9\r\n\r\n{{}}");
            let answer = exchange(server.address, half.into_bytes(), true).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
        })
        .await;
}

/// Sends bytes and reads until the server closes. With `half`, our side of the connection is closed first.
async fn exchange(address: SocketAddr, bytes: Vec<u8>, half: bool) -> String {
    let exchanged = web::block(move || exchange_now(address, &bytes, half)).await.unwrap();
    String::from_utf8_lossy(&exchanged).into_owned()
}

fn exchange_now(address: SocketAddr, bytes: &[u8], half: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // a server that has answered may close before everything is written
    let written = stream.write_all(bytes);
    if half && written.is_ok() {
        drop(stream.shutdown(Shutdown::Write));
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection stays open ({error}) after {}", String::from_utf8_lossy(&answer)),
    }
    answer
}

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

async fn is_well(server: &TestServer) {
    let answer = server.ask_admin("GET /healthz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.ask_admin("GET /readyz").await.status, 200);
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
