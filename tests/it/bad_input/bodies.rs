//! Bodies: too long, without end, no JSON, and those behind an upgrade.

use super::*;

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
            let login = "POST /v1/admin/login";
            let of_admins = [
                (login, "x", long.as_str(), 413),
                (login, "x", "5\r\n{", 408),
                (login, "x.example", "5\r\n{", 421),
                ("GET /v1/admin/me", "x", "5\r\n{", 401),
                ("PUT /v1/admin/me", "x", "5\r\n{", 405),
                ("POST /v1/admin/nowhere", "x", "5\r\n{", 404),
                ("POST /nowhere", "x", "5\r\n{", 404),
                ("POST /healthz", "x", "5\r\n{", 405),
                ("GET /healthz", "x", "5\r\n{", 200),
            ];
            // at the same time: the server waits a moment for each client to close
            join_all(of_admins.map(|(what, host, body, status)| async move {
                let head = head(what, "Transfer-Encoding: chunked").replace("Host: x", &format!("Host: {host}"));
                let answer = exchange(server.admin, (head + body).into_bytes(), false).await;
                assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what} {answer}");
            }))
            .await;
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
