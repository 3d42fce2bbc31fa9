//! A server over a world's folder, and a client that keeps its connection to the admin listener.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use passerby::admin::local::{self, LocalDoor};
use passerby::config::{self, ConfigFile};
use passerby::deployment::Recipe;
use passerby::server::Server;
use passerby::startup::{self, Application, Ports};
use passerby::token::AccessClaims;
use passerby_actors::domain::{Clock, DeviceId, SessionId, SessionKind, UserId};
use passerby_actors::handle::{Handle, UserFilter, UserQuery};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::oneshot;

use crate::world::Numbered;

/// Of the worlds' providers, the one that the server has.
const PROVIDER: &str = "\
[provider.custom_token]
config = { signingAlgorithm = \"HS256\" }
secret_config = { signingKeys = [\"jwt-key\"] }
";

/// A server that runs in this process.
pub(crate) struct Served {
    pub(crate) users: Numbered,
    pub(crate) handle: Handle,
    server: Arc<Server>,
    door: LocalDoor,
    connection: Option<TcpStream>,
    stop: oneshot::Sender<()>,
    running: actix_rt::task::JoinHandle<std::io::Result<()>>,
}

/// What came, and in how many microseconds.
pub(crate) struct Answer {
    pub(crate) us: u64,
    pub(crate) body: Value,
}

impl Served {
    /// Over the folder of a world, or a new one.
    pub(crate) async fn start(folder: &Path, users: u64) -> Self {
        let file = folder.with_extension("toml");
        std::fs::write(&file, PROVIDER).unwrap();
        let set = |key: &str, value: &str| (format!("PASSERBY_{key}"), value.to_owned());
        let environment = [
            set("LISTEN", "127.0.0.1:0"),
            set("ADMIN_LISTEN", "127.0.0.1:0"),
            set("DATA_DIR", &folder.display().to_string()),
            set("MAX_USERS", &(2 * users).to_string()),
            set("SECRET_JWT_KEY", "0123456789abcdef0123456789abcdef"),
        ];
        let loaded = config::load(&ConfigFile::IfPresent(file), &environment, &[]).unwrap();
        let (recipe, _) = Recipe::read(&loaded, None, &environment, &Arc::default()).unwrap();
        let settings = loaded.settings().clone();
        let admin = startup::start_admin(&settings, None).unwrap();
        let application = Application::build(settings, recipe, None, Ports::system(), admin).await.unwrap();
        let door = local::read(folder).unwrap();
        let (stop, stopped) = oneshot::channel();
        Self {
            users: Numbered(users),
            handle: application.handle().clone(),
            server: Arc::clone(application.server()),
            door,
            connection: None,
            stop,
            running: actix_rt::spawn(application.run_until(async { drop(stopped.await) })),
        }
    }

    pub(crate) async fn end(self) {
        let Self { stop, running, .. } = self;
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
    }

    /// The connection on which all is asked: the server closes one on which nothing comes for long.
    pub(crate) fn connect(&mut self) {
        let connection = TcpStream::connect(self.door.address).unwrap();
        connection.set_nodelay(true).unwrap();
        self.connection = Some(connection);
    }

    /// The query that asks for this page.
    pub(crate) fn query(&self, query: &UserQuery) -> String {
        let UserQuery { filter, newest_first, after, limit } = query;
        let UserFilter { anonymous, disabled, unused, document, provider, created, seen } = filter;
        let time = |unix_ms: u64| {
            let time = OffsetDateTime::from_unix_timestamp(i64::try_from(unix_ms / 1000).unwrap());
            // a time that is never, and one that no calendar has
            time.map_or("9999-12-31T23:59:59Z".to_owned(), |time| time.format(&Rfc3339).unwrap())
        };
        let wall_ms = |second: u32| u64::try_from(self.server.clock().to_wall_s(second).max(0)).unwrap() * 1000;
        let mut said = format!("order={}&limit={limit}", if *newest_first { "newest" } else { "oldest" });
        let mut say = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                said += &format!("&{name}={value}");
            }
        };
        say("anonymous", anonymous.map(|on| on.to_string()));
        say("disabled", disabled.map(|on| on.to_string()));
        say("never_came_back", unused.map(|on| on.to_string()));
        say("has_document", document.map(|on| on.to_string()));
        say("provider", provider.as_deref().map(str::to_owned));
        say("created_from", created.as_ref().map(|created| time(created.start)));
        say("created_until", created.as_ref().map(|created| time(created.end)));
        say("seen_from", seen.as_ref().map(|seen| time(wall_ms(seen.start))));
        say("seen_until", seen.as_ref().map(|seen| time(wall_ms(seen.end))));
        say("after", after.map(|after: UserId| after.to_string()));
        said
    }

    /// An access token of the user's first session.
    pub(crate) fn access_token(&self, user: UserId) -> String {
        let session = SessionId::derive(&user, 1);
        let (device, issued_at_s, jti) = (DeviceId::default(), self.server.wall_s(), self.server.random_id());
        let claims = AccessClaims { user, session, epoch: 0, device, kind: SessionKind::V1, issued_at_s, jti };
        let mut token = String::new();
        self.server.tokens.access_into(&claims, None, &mut token);
        token
    }

    /// A search for this text.
    pub(crate) fn find(&mut self, clock: &impl Clock, text: &str) -> Answer {
        self.ask(clock, "POST /v1/admin/users/find", &json!({ "text": text }).to_string())
    }

    /// One request and its answer, which has to be good. The client reads it as JSON when the time has been taken.
    pub(crate) fn ask(&mut self, clock: &impl Clock, what: &str, body: &str) -> Answer {
        let (token, connection) = (&self.door.token, self.connection.as_mut().unwrap());
        let length = body.len();
        let request = format!(
            "{what} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut received = Vec::with_capacity(64 * 1024);
        let mut buffer = [0; 64 * 1024];
        let began_us = clock.monotonic_us();
        connection.write_all(request.as_bytes()).unwrap();
        let from = loop {
            let read = connection.read(&mut buffer).unwrap();
            assert!(read > 0, "the server closed the connection");
            received.extend_from_slice(&buffer[..read]);
            if let Some(from) = whole(&received) {
                break from;
            }
        };
        let us = clock.monotonic_us() - began_us;
        assert!(received.starts_with(b"HTTP/1.1 200"), "{what}: {}", String::from_utf8_lossy(&received));
        Answer { us, body: serde_json::from_slice(&received[from..]).unwrap() }
    }
}

/// Where the body begins, once all of the answer is there.
fn whole(received: &[u8]) -> Option<usize> {
    let head = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&received[..head]).unwrap().to_ascii_lowercase();
    let length = text.split_once("content-length: ").unwrap().1;
    let length: usize = length.split_once("\r\n").unwrap().0.parse().unwrap();
    (received.len() >= head + length).then_some(head)
}
