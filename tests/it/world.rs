//! A server for each test: on ports of its own, over a folder of its own, with time and randomness under control.

use std::net::SocketAddr;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use passerby::config::{self, ConfigFile, Settings};
use passerby::deployment::Recipe;
use passerby::http::admin::AdminListener;
use passerby::provider::app_folder::AppContent;
use passerby::server::Server;
use passerby::startup::{self, Application, Ports, StartError};
use passerby_actors::domain::{SessionId, SessionKind, UserId};
use passerby_actors::handle::Handle;
use passerby_actors::store::Health;
use passerby_actors::testkit::faulty::Faulty;
use passerby_actors::testkit::{ManualClock, SeededEntropy, until};
use serde_json::Value;
use tokio::sync::oneshot;

/// The app id of every test server.
pub(crate) const APP: &str = "passerby";
pub(crate) const LOGIN: &str = "POST /api/client/v2.0/app/passerby/auth/providers/anon-user/login";
pub(crate) const LINK: &str = "POST /api/client/v2.0/app/passerby/auth/providers/anon-user/login?link=true";
pub(crate) const PROFILE: &str = "GET /api/client/v2.0/auth/profile";
pub(crate) const REFRESH: &str = "POST /api/client/v2.0/auth/session";
pub(crate) const LOGOUT: &str = "DELETE /api/client/v2.0/auth/session";
pub(crate) const DELETE: &str = "DELETE /api/client/v2.0/auth/delete";
pub(crate) const LOCATION: &str = "GET /api/client/v2.0/app/passerby/location";
pub(crate) const CREATE: &str = "POST /v1/sessions";
pub(crate) const VIEW: &str = "GET /v1/session";
pub(crate) const ROTATE: &str = "POST /v1/session/refresh";
pub(crate) const END: &str = "DELETE /v1/session";
pub(crate) const DELETE_USER: &str = "DELETE /v1/user";
pub(crate) const JWKS: &str = "GET /.well-known/jwks.json";

/// What a server is started with.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    /// The disk.
    pub(crate) disk: Arc<Faulty>,
    entropy: Arc<SeededEntropy>,
    settings: Vec<(String, String)>,
    /// The app folder, if there is one.
    pub(crate) app: Option<AppContent>,
    folder: tempfile::TempDir,
}

impl World {
    /// Randomness is seeded by the place of the call: the same in every run, and a different one in every test.
    #[track_caller]
    pub(crate) fn new() -> Self {
        let place = Location::caller();
        let seed =
            place.file().bytes().fold(u64::from(place.line()), |seed, byte| seed.rotate_left(7) ^ u64::from(byte));
        let (folder, disk) = (tempfile::tempdir().unwrap(), Faulty::new());
        let world = Self {
            clock: ManualClock::new(),
            disk,
            entropy: SeededEntropy::new(seed),
            settings: Vec::new(),
            app: None,
            folder,
        };
        let data_dir = world.data_dir().display().to_string();
        world
            .set("listen", "127.0.0.1:0")
            .set("admin_listen", "127.0.0.1:0")
            .set("data_dir", &data_dir)
            .set("workers", "2")
            .set("max_users", "10000")
            .set("drain.timeout", "1")
            // a slow disk is not a broken server
            .set("http.request_timeout", "300")
    }

    /// With a setting, by its key.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((format!("PASSERBY_{}", key.replace('.', "_").to_uppercase()), value.to_owned()));
        self
    }

    /// With the anonymous provider switched off.
    pub(crate) fn without_anonymous_logins(mut self) -> Self {
        self.app.get_or_insert_default().set_enabled("anon-user", false);
        self
    }

    /// With a secret for providers; `name` as in the environment variable.
    pub(crate) fn secret(mut self, name: &str, text: &str) -> Self {
        self.settings.push((format!("PASSERBY_SECRET_{name}"), text.to_owned()));
        self
    }

    /// With this text as `passerby.toml`.
    pub(crate) fn file(self, text: &str) -> Self {
        std::fs::write(self.folder.path().join("passerby.toml"), text).unwrap();
        self
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn settings(&self) -> config::Settings {
        self.loaded().settings().clone()
    }

    fn loaded(&self) -> config::Loaded {
        let file = ConfigFile::IfPresent(self.folder.path().join("passerby.toml"));
        config::load(&file, &self.settings, &[]).unwrap()
    }

    pub(crate) fn ports(&self) -> Ports {
        let (clock, entropy, files) = (self.clock.clone(), self.entropy.clone(), self.disk.clone());
        Ports { clock, entropy, files }
    }

    /// Starts a server, tests it and drains it.
    pub(crate) async fn serve(&self, test: impl AsyncFnOnce(&TestServer)) {
        let server = self.start().await;
        let release = Release(Arc::clone(&server.disk));
        test(&server).await;
        drop(release);
        server.stop().await;
    }

    pub(crate) async fn build(&self, settings: Settings, admin: AdminListener) -> Result<Application, StartError> {
        let (recipe, _) = Recipe::read(&self.loaded(), None, &self.settings, &Arc::default()).unwrap();
        Application::build(settings, recipe, self.app.as_ref(), self.ports(), admin).await
    }

    pub(crate) async fn start(&self) -> TestServer {
        let settings = self.settings();
        let admin = startup::start_admin(&settings, None).unwrap();
        let application = self.build(settings, admin).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        TestServer {
            address: application.address(),
            admin: application.admin_address(),
            server: Arc::clone(application.server()),
            clock: Arc::clone(&self.clock),
            disk: Arc::clone(&self.disk),
            client: client(),
            stop,
            running: actix_web::rt::spawn(application.run_until(async { drop(stopped.await) })),
        }
    }
}

/// A test that fails while it holds the disk up would otherwise wait for ever for the server to stop.
struct Release(Arc<Faulty>);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.let_pass(None);
    }
}

/// A client that waits long: a slow machine is not a broken server. A redirect is an answer.
pub(crate) fn client() -> awc::Client {
    awc::Client::builder().timeout(Duration::from_secs(60)).disable_redirects().finish()
}

/// A server at work.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) server: Arc<Server>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) disk: Arc<Faulty>,
    client: awc::Client,
    stop: oneshot::Sender<()>,
    running: actix_web::rt::task::JoinHandle<std::io::Result<()>>,
}

/// The tokens of a session.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) user: String,
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl TestServer {
    /// A request to the public listener; `what` is a method and a path.
    pub(crate) fn call(&self, what: &str) -> Call {
        Call { described: Some(what.to_owned()), ..call(&self.client, self.address, what) }
    }

    /// A request to the admin listener.
    pub(crate) async fn ask_admin(&self, what: &str) -> Answer {
        call(&self.client, self.admin, what).send().await
    }

    /// A new user of the App Services API.
    pub(crate) async fn log_in(&self) -> Tokens {
        let answer = self.call(LOGIN).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.tokens()
    }

    /// A new user of `/v1`.
    pub(crate) async fn log_in_v1(&self) -> Tokens {
        let answer = self.call(CREATE).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.tokens()
    }

    pub(crate) fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.server.core), Arc::clone(&self.server.linker))
    }

    /// A refresh token of the reader's cookie, for a session that exists.
    pub(crate) fn cookie_token(&self, tokens: &Tokens) -> String {
        let (user, number) = (UserId::parse(&tokens.user).unwrap(), 1);
        self.server.tokens.refresh(&passerby::token::RefreshClaims {
            session: SessionId::derive(&user, number),
            kind: SessionKind::Cookie,
            device: Default::default(),
            issued_at_s: self.server.wall_s(),
            counter: 0,
            lasting: false,
            user,
            number,
        })
    }

    /// Whether there is a record, whatever its deadline.
    pub(crate) fn has_record(&self, user: &str) -> bool {
        self.server.store.record(&UserId::parse(user).unwrap()).is_some()
    }

    /// The value of a metric.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let text = self.ask_admin("GET /metrics").await.text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("there is no {name} in {text}")).parse().unwrap()
    }

    /// Lets the store write again.
    pub(crate) async fn heal(&self) {
        self.disk.set(passerby_actors::testkit::faulty::Mode::Works);
        until("it is healed", || {
            self.clock.advance_s(1);
            self.server.store.nudge();
            self.server.store.health() == Health::Writable
        })
        .await;
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        drop(self.stop);
        self.running.await.unwrap().unwrap();
    }
}

/// A request in the making.
pub(crate) struct Call {
    /// What is asked, if the answer must be one that the API's description has.
    described: Option<String>,
    request: awc::ClientRequest,
    body: Vec<u8>,
}

pub(crate) fn call(client: &awc::Client, address: SocketAddr, what: &str) -> Call {
    let (method, path) = what.split_once(' ').unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Call { described: None, request: client.request(method, format!("http://{address}{path}")), body: Vec::new() }
}

impl Call {
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        // a header may hold other bytes than ASCII, and browsers send them
        self.request = self.request.insert_header((name, HeaderValue::from_bytes(value.as_bytes()).unwrap()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let mut response = self.request.send_body(self.body).await.unwrap();
        let body = response.body().limit(1 << 24).await.unwrap();
        let answer = Answer { status: response.status().as_u16(), headers: response.headers().clone(), body };
        if let Some(what) = self.described {
            crate::openapi::assert_described(&what, &answer);
        }
        answer
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// The body, which must have exactly this content type.
    pub(crate) fn json_as(&self, content_type: &str) -> Value {
        assert_eq!(self.header("content-type"), Some(content_type), "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn json(&self) -> Value {
        self.json_as("application/json")
    }

    /// A header's only value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name);
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} stands there twice: {self:?}");
        value
    }

    pub(crate) fn tokens(&self) -> Tokens {
        let body = self.json();
        let text = |key: &str| body[key].as_str().unwrap_or_else(|| panic!("{key}: {body}")).to_owned();
        Tokens { user: text("user_id"), access: text("access_token"), refresh: text("refresh_token") }
    }

    /// An error of the App Services API with this status, text and code, in its exact shape.
    #[track_caller]
    pub(crate) fn assert_client_error(&self, status: u16, code: Option<&str>, text: &str) {
        let body = self.json();
        assert_eq!((self.status, body["error"].as_str()), (status, Some(text)), "{self:?}");
        assert_eq!(body.get("error_code").map(|code| code.as_str().unwrap()), code, "{self:?}");
        let id = self.header("x-appservices-request-id").unwrap();
        assert!(id.len() == 24 && id.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        let link = body["link"].as_str().unwrap();
        assert!(link.starts_with("http") && link.contains(&format!("/apps/{APP}/logs?co_id={id}")), "{link}");
        assert_eq!(body.as_object().unwrap().len(), 2 + usize::from(code.is_some()), "{body}");
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
    }

    /// An error of `/v1` with this status and code, in its exact shape (RFC 9457).
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        self.assert_problem_with(status, code, &[]);
    }

    /// The same with these members besides.
    #[track_caller]
    pub(crate) fn assert_problem_with(&self, status: u16, code: &str, more: &[&str]) {
        let body = self.json_as("application/problem+json");
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(body["type"], format!("urn:passerby:problem:{code}"));
        assert_eq!(body["status"], status);
        assert_eq!(body["title"].as_str(), StatusCode::from_u16(status).unwrap().canonical_reason());
        assert!(!body["detail"].as_str().unwrap().is_empty());
        assert!(more.iter().all(|member| !body[member].is_null()), "{body}");
        assert_eq!(body.as_object().unwrap().len(), 5 + more.len(), "{body}");
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        let challenge = match (status, code) {
            (401, "no-token" | "no-reader") => Some("Bearer"),
            (401, _) => Some(r#"Bearer error="invalid_token""#),
            _ => None,
        };
        assert_eq!(self.header("www-authenticate"), challenge);
    }

    /// 503 with a time to come again: a minute at capacity, else one to three seconds.
    #[track_caller]
    pub(crate) fn assert_come_again(&self, seconds: std::ops::RangeInclusive<u16>) {
        assert_eq!(self.status, 503, "{self:?}");
        let after = self.header("retry-after").unwrap().parse().unwrap();
        assert!(seconds.contains(&after), "{after}");
    }
}
