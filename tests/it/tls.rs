//! TLS of the listeners, by clients that speak it.

use std::sync::Arc;
use std::time::Duration;

use passerby_actors::testkit::until;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::World;

/// A certificate for `localhost` in a folder.
pub(crate) struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let certificate = Self { folder: tempfile::tempdir().unwrap() };
        certificate.renew();
        certificate
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// As those do it who renew certificates: a new file takes the place of the old one.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path("new"), text).unwrap();
        std::fs::rename(self.path("new"), self.path(name)).unwrap();
    }

    /// Another pair in the same files. Returns the certificate.
    pub(crate) fn renew(&self) -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        self.write("cert.pem", &made.cert.pem());
        self.write("key.pem", &made.signing_key.serialize_pem());
        made.cert.der().clone()
    }

    fn serve(&self, world: World, section: &str) -> World {
        world
            .set(&format!("{section}.cert"), &self.path("cert.pem"))
            .set(&format!("{section}.key"), &self.path("key.pem"))
    }
}

/// A client that trusts this certificate alone, offers these protocols and speaks these versions.
fn connector(
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

pub(crate) async fn connect(
    address: impl tokio::net::ToSocketAddrs,
    trusted: &CertificateDer<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    connector(trusted, &[], rustls::ALL_VERSIONS).connect(name, stream).await
}

/// One request and the whole answer to it, on a connection that goes on.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, head: &str, body: &str) -> String {
    let request = format!("{head}\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "it ended: {}", String::from_utf8_lossy(&bytes));
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return text.into_owned();
        }
    }
}

#[actix_web::test]
async fn both_listeners_speak_tls_1_2_and_1_3_and_http_1_1_alone() {
    let (public, admin) = (Certificate::new(), Certificate::new());
    let (of_public, of_admin) = (public.renew(), admin.renew());
    let world =
        admin.serve(public.serve(World::new(), "tls"), "admin.tls").set("public_url", "https://id.news.example");
    let server = world.start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (address, trusted) in [(server.address, &of_public), (server.admin, &of_admin)] {
            let name = || ServerName::try_from("localhost").unwrap();
            let h2_first = connector(trusted, &["h2", "http/1.1"], &[version]);
            let mut stream = h2_first.connect(name(), TcpStream::connect(address).await.unwrap()).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
            assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
            for _ in 0..2 {
                let answer = exchange(&mut stream, "GET /nowhere HTTP/1.1", "").await;
                assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
            }
            let h2_alone = connector(trusted, &["h2"], &[version]);
            assert!(h2_alone.connect(name(), TcpStream::connect(address).await.unwrap()).await.is_err());
        }
        assert!(connect(server.admin, &of_public).await.is_err(), "each has a certificate of its own");
    }
    // without TLS there is no answer
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    // the server may reset the connection
    drop(plain.read_to_end(&mut bytes).await);
    assert!(!bytes.starts_with(b"HTTP/"), "{bytes:?}");
    server.stop().await;
}

#[actix_web::test]
async fn what_comes_over_tls_is_https_for_cookies_locations_and_browsers() {
    let certificate = Certificate::new();
    let trusted = certificate.renew();
    let world = certificate.serve(World::new(), "tls");
    let server = world.start().await;
    let mut stream = connect(server.address, &trusted).await.unwrap();
    let location = exchange(&mut stream, "GET /api/client/v2.0/app/passerby/location HTTP/1.1", "").await;
    assert!(location.contains("\"https://localhost\"") && location.contains("\"wss://localhost\""), "{location}");
    let checked = exchange(
        &mut stream,
        "GET /verify?create=auto HTTP/1.1\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/128.0",
        "",
    )
    .await;
    assert!(checked.contains("set-cookie: __Host-passerby=") && checked.contains("; Secure"), "{checked}");
    assert!(!checked.contains("strict-transport-security"), "no address says that it is to be https: {checked}");
    server.stop().await;

    for (url, is_told) in [("https://id.news.example", true), ("https://localhost:8443", false)] {
        let world = certificate.serve(World::new(), "tls").set("public_url", url);
        let server = world.start().await;
        let mut stream = connect(server.address, &trusted).await.unwrap();
        let answer = exchange(&mut stream, "GET /v1/session HTTP/1.1", "").await;
        assert_eq!(answer.contains("strict-transport-security: max-age=31536000\r\n"), is_told, "{url}: {answer}");
        server.stop().await;
    }
}

/// S42.
#[actix_web::test]
async fn the_admin_api_is_private_over_tls_of_its_own_and_a_proxy_that_came_without_is_not() {
    let certificate = Certificate::new();
    let trusted = certificate.renew();
    let world = certificate.serve(World::new(), "admin.tls").set("trusted_proxies", "127.0.0.0/8");
    let server = world.start().await;
    crate::admin::create(&server, "ada", passerby::admin::Role::Owner).await;
    let mut stream = connect(server.admin, &trusted).await.unwrap();
    let body = json!({ "name": "ada", "password": crate::admin::PASSWORD, "cookie": true }).to_string();
    let login = |headers: &str| format!("POST /v1/admin/login HTTP/1.1\r\nx-forwarded-for: 192.0.2.1{headers}");
    let from_page = "\r\nsec-fetch-site: same-origin\r\nx-passerby-admin: 1";
    let answer = exchange(&mut stream, &login(from_page), &body).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("set-cookie: __Host-passerby-admin=") && answer.contains("; Secure"), "{answer}");
    let answer = exchange(&mut stream, &login(&format!("{from_page}\r\nx-forwarded-proto: http")), &body).await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("insecure-listener"), "{answer}");
    server.stop().await;
}

#[actix_web::test]
async fn a_socket_is_opened_over_tls_and_hears() {
    let certificate = Certificate::new();
    let trusted = certificate.renew();
    let world = certificate.serve(World::new(), "tls");
    let server = world.start().await;
    let mut stream = connect(server.address, &trusted).await.unwrap();
    let created = exchange(&mut stream, "POST /v1/sessions HTTP/1.1", "").await;
    let token = created.split("\"access_token\":\"").nth(1).unwrap_or_else(|| panic!("{created}"));
    let token = token.split('"').next().unwrap();
    let opened = format!(
        "GET /v1/socket HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: passerby.v1\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(opened.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut bytes = Vec::new();
    let hears = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("\"type\":\"hello\"");
    while !hears(&bytes) {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "{}", String::from_utf8_lossy(&bytes));
    }
    assert!(bytes.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&bytes));
    server.stop().await;
}

/// A client that does not come to the end of a handshake, or reads nothing, is cut off as one without TLS.
#[actix_web::test]
async fn a_slow_handshake_and_an_answer_that_is_not_read_end_the_connection() {
    let certificate = Certificate::new();
    let trusted = certificate.renew();
    let world = certificate.serve(certificate.serve(World::new(), "tls"), "admin.tls");
    let world = world.set("http.client_timeout", "1").set("http.request_timeout", "1").set("http.keep_alive", "600");
    let server = world.start().await;
    // the beginning of a ClientHello, whose record says that more comes
    for begun in [b"".as_slice(), &[22], &[22, 3, 1, 2, 0, 1, 0, 1, 252]] {
        for address in [server.address, server.admin] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begun).await.unwrap();
            let mut bytes = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut bytes)).await;
            assert!(ended.is_ok(), "{address} waits for ever behind {begun:?}");
            assert!(bytes.is_empty(), "{bytes:?}");
        }
    }
    until("no connection has a place", || server.server.connections.count() == 0).await;

    let mut stream = connect(server.address, &trusted).await.unwrap();
    let many = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000);
    let refused = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            if let Err(error) = stream.write_all(many.as_bytes()).await {
                return error;
            }
        }
    });
    assert!(refused.await.is_ok(), "it may ask for ever without reading");
    server.stop().await;
}
