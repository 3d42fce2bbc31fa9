//! Tokens, ids, paths and methods.

use super::*;

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
