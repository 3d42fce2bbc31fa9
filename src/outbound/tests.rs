//! What the client asks for, what it may reach, and how it fails.

use std::future::pending;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE};

use super::testing::{Answer, Script, Server, answer, client, closed_port, json};
use super::*;

fn get(url: &str) -> Request<Vec<u8>> {
    Request::get(url).body(Vec::new()).unwrap()
}

async fn failure(client: &Outbound, url: &str) -> Failure {
    client.send(get(url)).await.unwrap_err().failure
}

#[tokio::test]
async fn a_named_loopback_server_is_reached() {
    let server = Server::start(|request| json(&format!("{:?}", request.path()))).await;
    let response = server.client().send(get(&server.url("/a/b?c=d%20e"))).await.unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_slice()), (200, b"\"/a/b?c=d%20e\"".as_slice()));
    let [request] = server.received().try_into().unwrap();
    assert_eq!(request.header("host"), server.origin.strip_prefix("http://"));
    assert_eq!(request.header("user-agent"), AGENT.to_str().ok());
}

#[tokio::test]
async fn a_post_carries_its_headers_and_body() {
    let server = Server::start(|_| answer("204 No Content", "", "")).await;
    let request = Request::post(server.url("/hook"))
        .header(CONTENT_TYPE, "application/json")
        .header(AUTHORIZATION, "Bearer secret")
        .header(HOST, "elsewhere.example")
        .body(br#"{"a":1}"#.to_vec())
        .unwrap();
    assert_eq!(server.client().send(request).await.unwrap().status(), 204);
    let [request] = server.received().try_into().unwrap();
    assert!(request.head.starts_with("POST /hook HTTP/1.1\r\n"), "{}", request.head);
    assert_eq!(request.header("authorization"), Some("Bearer secret"));
    assert_eq!(request.header("host"), server.origin.strip_prefix("http://"));
    assert_eq!(request.body, r#"{"a":1}"#);
}

#[tokio::test]
async fn an_error_status_is_an_answer() {
    let server = Server::start(|_| answer("400 Bad Request", "", "no")).await;
    let response = server.client().send(get(&server.url("/"))).await.unwrap();
    assert_eq!((response.status().as_u16(), response.body().as_slice()), (400, b"no".as_slice()));
}

/// S30.
#[tokio::test]
async fn what_is_not_named_is_not_reached() {
    let server = Server::start(|_| json("{}")).await;
    let other = format!("http://127.0.0.1:{}", closed_port().await);
    for allowed in [vec![], vec![other.as_str()], vec!["https://127.0.0.1"]] {
        let client = client(&allowed, Script::default());
        assert_eq!(failure(&client, &server.origin).await, Failure::NotHttps);
        assert_eq!(client.check(&server.origin).unwrap_err().failure, Failure::NotHttps);
        let https = format!("https://127.0.0.1:{}", server.port);
        assert_eq!(failure(&client, &https).await, Failure::Forbidden);
        assert_eq!(client.check(&https).unwrap_err().failure, Failure::Forbidden);
    }
    // naming the https origin lifts nothing for http, nor one name for another
    let named = format!("https://127.0.0.1:{}", server.port);
    assert_eq!(failure(&client(&[&named], Script::default()), &server.origin).await, Failure::NotHttps);
    let by_name = format!("http://localhost:{}", server.port);
    assert_eq!(failure(&client(&[&server.origin], Script::default()), &by_name).await, Failure::NotHttps);
    assert!(server.received().is_empty());
}

/// S30: every way of writing an address comes down to the same one.
#[tokio::test]
async fn addresses_that_are_not_public_are_refused_however_they_are_written() {
    let client = client(&[], Script::default());
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fd00:ec2::254]",
    ];
    for host in hosts {
        assert_eq!(failure(&client, &format!("https://{host}/")).await, Failure::Forbidden, "{host}");
        assert_eq!(client.check(&format!("https://{host}/")).unwrap_err().failure, Failure::Forbidden, "{host}");
    }
}

/// S30.
#[tokio::test]
async fn a_name_is_judged_by_every_address_it_has() {
    let closed = ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "fe80::1", "::ffff:192.168.0.1"];
    for address in closed {
        for found in [vec![address], vec!["8.8.8.8", address], vec![address, "8.8.8.8"]] {
            let client = client(&[], Script::new([&found]));
            assert_eq!(failure(&client, "https://name.example/").await, Failure::Forbidden, "{found:?}");
        }
    }
    let named = client(&["http://localhost:80"], Script::new([&["8.8.8.8"]]));
    assert_eq!(failure(&named, "http://localhost/").await, Failure::Forbidden, "http goes to loopback alone");
    assert_eq!(failure(&client(&[], Script::new([&[]])), "https://name.example/").await, Failure::Unresolved);
    assert_eq!(failure(&client(&[], Script::default()), "https://name.example/").await, Failure::Unresolved);
}

/// S30, DNS rebinding: what is connected to is what was judged, and each exchange judges again.
#[tokio::test]
async fn a_name_is_resolved_once_for_each_exchange() {
    let server = Server::start(|_| json("{}")).await;
    let origin = format!("http://localhost:{}", server.port);
    let script = Script::new([&["127.0.0.1"], &["10.0.0.1"]]);
    let client_of_script = client(&[&origin], script.clone());
    client_of_script.send(get(&origin)).await.unwrap();
    assert_eq!((server.received().len(), script.left()), (1, 1));
    assert_eq!(failure(&client_of_script, &origin).await, Failure::Forbidden);
    assert_eq!((server.received().len(), script.left()), (1, 0));

    // public first, private then
    let script = Script::new([&["8.8.8.8"], &["127.0.0.1"]]);
    let rebound = client(&[], script.clone());
    let url = rebound.check("https://name.example:8443/").unwrap();
    assert_eq!(rebound.addresses(&url).await, Ok(vec!["8.8.8.8:8443".parse().unwrap()]));
    assert_eq!(script.left(), 1);
    assert_eq!(rebound.addresses(&url).await, Err(Failure::Forbidden));
}

#[tokio::test]
async fn the_next_address_is_tried_if_one_does_not_answer() {
    let server = Server::start(|_| json("{}")).await;
    let origin = format!("http://localhost:{}", server.port);
    // the server listens on 127.0.0.1 alone
    let client_of_two = client(&[&origin], Script::new([&["::1", "127.0.0.1"]]));
    client_of_two.send(get(&origin)).await.unwrap();
    let nobody = format!("http://127.0.0.1:{}", closed_port().await);
    assert_eq!(failure(&client(&[&nobody], Script::default()), &nobody).await, Failure::Unreachable);
}

/// S30.
#[tokio::test]
async fn redirects_are_not_followed() {
    let server = Server::start(|request| match request.path() {
        "/end" => json("{}"),
        status => answer(&format!("{} Moved", &status[1..]), "Location: /end\r\n", ""),
    })
    .await;
    for status in [300, 301, 302, 303, 307, 308] {
        assert_eq!(failure(&server.client(), &server.url(&format!("/{status}"))).await, Failure::Redirect);
    }
    assert!(server.received().iter().all(|request| request.path() != "/end"));
}

/// S30.
#[tokio::test]
async fn an_answer_has_at_most_so_many_bytes() {
    let chunked = |length: usize| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{length:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(length)).into_bytes()
    };
    let server = Server::start(move |request| match request.path() {
        "/most" => json(&"x".repeat(MAX_BODY)),
        "/more" => json(&"x".repeat(MAX_BODY + 1)),
        "/chunked/most" => Answer { bytes: chunked(MAX_BODY), hold: false },
        "/chunked/more" => Answer { bytes: chunked(MAX_BODY + 1), hold: false },
        _ => answer("200 OK", &format!("X: {}\r\n", "x".repeat(2 * MAX_HEAD)), ""),
    })
    .await;
    for path in ["/most", "/chunked/most"] {
        assert_eq!(server.client().send(get(&server.url(path))).await.unwrap().body().len(), MAX_BODY);
    }
    for path in ["/more", "/chunked/more"] {
        assert_eq!(failure(&server.client(), &server.url(path)).await, Failure::TooLarge, "{path}");
    }
    assert_eq!(failure(&server.client(), &server.url("/head")).await, Failure::Broken);
}

/// S30.
#[tokio::test]
async fn an_answer_that_does_not_end_is_given_up() {
    let server = Server::start(|request| match request.path() {
        "/silent" => Answer { bytes: Vec::new(), hold: true },
        "/head" => Answer { bytes: b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(), hold: true },
        "/cut" => Answer { bytes: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec(), hold: false },
        _ => Answer { bytes: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_vec(), hold: true },
    })
    .await;
    let mut hasty = server.client();
    hasty.max_time = Duration::from_millis(200);
    for path in ["/silent", "/head", "/body"] {
        assert_eq!(failure(&hasty, &server.url(path)).await, Failure::TimedOut, "{path}");
    }
    assert_eq!(failure(&server.client(), &server.url("/cut")).await, Failure::Broken);
    assert_eq!(server.received().len(), 4);
}

/// S30: the time runs from the look-up on.
#[tokio::test(start_paused = true)]
async fn a_resolver_that_does_not_answer_is_given_up_after_five_seconds() {
    struct Silent;
    impl Resolver for Silent {
        fn resolve<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            Box::pin(pending())
        }
    }
    let start = tokio::time::Instant::now();
    assert_eq!(failure(&client(&[], Silent), "https://name.example/").await, Failure::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn a_certificate_must_be_trusted_for_the_name() {
    let (server, roots) = Server::start_tls("localhost", |_| json("{}")).await;
    let with = |roots: RootCertStore, origin: &str| {
        let allowed = Allowed::parse(&[origin]).unwrap();
        Outbound::new(allowed, Arc::new(Script::new([&["127.0.0.1"]])), roots).unwrap()
    };
    let trusting = with(roots.clone(), &server.origin);
    assert_eq!(trusting.send(get(&server.url("/x"))).await.unwrap().body().as_slice(), b"{}");
    assert_eq!(failure(&with(RootCertStore::empty(), &server.origin), &server.origin).await, Failure::Untrusted);
    for other in [format!("https://other.example:{}", server.port), format!("https://127.0.0.1:{}", server.port)] {
        assert_eq!(failure(&with(roots.clone(), &other), &other).await, Failure::Untrusted, "{other}");
    }
    // trusted, but not named
    let unnamed = Outbound::new(Allowed::default(), Arc::new(Script::new([&["127.0.0.1"]])), roots).unwrap();
    assert_eq!(failure(&unnamed, &server.origin).await, Failure::Forbidden);
    assert_eq!(server.received().len(), 1);
}

#[test]
fn an_entry_is_an_origin_and_http_names_loopback() {
    for good in [
        "https://idp.internal:8443",
        "https://idp.internal",
        "https://10.0.0.1:443/",
        "http://localhost:3000",
        "http://127.0.0.1:3000",
        "http://127.8.0.1:80",
        "http://[::1]:3000",
        "HTTPS://IDP.Internal:8443",
    ] {
        assert!(Allowed::parse(&[good]).is_ok(), "{good}");
    }
    for bad in [
        "",
        "idp.internal",
        "idp.internal:443",
        "*",
        "https://",
        "https://idp.internal/path",
        "https://idp.internal?x",
        "https://idp.internal#x",
        "https://user@idp.internal",
        "https://:pass@idp.internal",
        "ftp://idp.internal",
        "http://idp.internal:3000",
        "http://10.0.0.1:3000",
        "http://0.0.0.0:3000",
        "http://localhost.example:3000",
    ] {
        assert!(Allowed::parse(&["https://good.example", bad]).is_err(), "{bad}");
    }
}

/// S19: neither path, query nor credentials of a URL get into a message.
#[tokio::test]
async fn errors_name_the_origin_alone() {
    let client = client(&[], Script::default());
    for url in ["https://name.example:8443/secret?secret=secret#secret", "http://name.example:8443/secret"] {
        let error = client.send(get(url)).await.unwrap_err();
        assert!(error.origin.ends_with("://name.example:8443"), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
    for url in ["https://user:secret@name.example/", "https://secret@name.example/"] {
        let error = client.check(url).unwrap_err();
        assert_eq!(error.failure, Failure::BadUrl);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
    for url in ["", "secret", "file:///secret", "https:///secret path", "data:secret"] {
        let error = client.check(url).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    }
}
