//! What the server is measured against, each as a process of its own: bare handlers that answer the same bytes, the same
//! with the server's two signatures, and actix-session over Redis.

use std::hint::black_box;
use std::io::Read;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use actix_session::storage::RedisSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::dev::Server;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use serde::{Deserialize, Serialize};

const WORKERS: usize = 2;

/// An answer of the server's, to be given by a peer.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u16,
    /// But for those that every actix-web server adds itself.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// What the server signs at a login.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Signatures {
    pub(crate) is_ed25519: bool,
    /// Bytes that are signed.
    pub(crate) access: usize,
    pub(crate) refresh: usize,
}

/// What a bare peer does.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Script {
    pub(crate) answers: Vec<Answer>,
    pub(crate) signatures: Option<Signatures>,
}

/// `bare SCRIPT` or `session REDIS_URL`. Runs until standard input ends.
pub(crate) fn main(arguments: &[String]) -> std::io::Result<()> {
    std::thread::spawn(|| {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        std::process::exit(0);
    });
    actix_web::rt::System::new().block_on(async {
        match arguments {
            [kind, script] if kind == "bare" => bare(serde_json::from_str(&std::fs::read_to_string(script)?)?)?.await,
            [kind, url] if kind == "session" => session(url).await?.await,
            _ => panic!("no such peer: {arguments:?}"),
        }
    })
}

/// An answer that costs a handler as little as can be.
struct Prepared {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: web::Bytes,
    signer: Option<Signer>,
}

enum Access {
    Ed25519(Ed25519KeyPair),
    // boxed: it is far larger than the other
    Hmac(Box<hmac::Key>),
}

struct Signer {
    access: Access,
    refresh: hmac::Key,
    access_text: Vec<u8>,
    refresh_text: Vec<u8>,
}

impl Signer {
    fn new(signatures: Signatures) -> Self {
        let secret: [u8; 32] = std::array::from_fn(|index| index as u8);
        let access = if signatures.is_ed25519 {
            Access::Ed25519(Ed25519KeyPair::from_seed_unchecked(&secret).unwrap())
        } else {
            Access::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
        };
        let refresh = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        Self {
            access,
            refresh,
            access_text: vec![b'a'; signatures.access],
            refresh_text: vec![b'r'; signatures.refresh],
        }
    }

    fn sign(&self) {
        match &self.access {
            Access::Ed25519(pair) => {
                black_box(pair.sign(black_box(&self.access_text)));
            }
            Access::Hmac(key) => {
                black_box(hmac::sign(key, black_box(&self.access_text)));
            }
        }
        black_box(hmac::sign(&self.refresh, black_box(&self.refresh_text)));
    }
}

impl Prepared {
    fn new(answer: &Answer, signer: Option<Signer>) -> Self {
        let header = |(name, value): &(String, String)| {
            (HeaderName::from_str(name).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        Self {
            status: StatusCode::from_u16(answer.status).unwrap(),
            headers: answer.headers.iter().map(header).collect(),
            body: web::Bytes::from(answer.body.clone()),
            signer,
        }
    }

    fn respond(&self) -> HttpResponse {
        if let Some(signer) = &self.signer {
            signer.sign();
        }
        let mut response = HttpResponse::build(self.status);
        for header in &self.headers {
            response.insert_header(header.clone());
        }
        if self.body.is_empty() { response.finish() } else { response.body(self.body.clone()) }
    }
}

fn bare(script: Script) -> std::io::Result<Server> {
    let app = move || {
        script.answers.iter().fold(App::new(), |app, answer| {
            let prepared = Prepared::new(answer, script.signatures.map(Signer::new));
            let method = Method::from_str(&answer.method).unwrap();
            let route = web::route().method(method.clone());
            let prepared = web::Data::new(prepared);
            let route = if method == Method::GET {
                route.to(move || std::future::ready(prepared.respond()))
            } else {
                // always takes the body: actix-web closes the connection otherwise
                route.to(move |_: web::Bytes| std::future::ready(prepared.respond()))
            };
            app.route(&answer.path, route)
        })
    };
    let server = HttpServer::new(app).workers(WORKERS).bind("127.0.0.1:0")?;
    announce(&server.addrs());
    Ok(server.run())
}

/// Where the session peer logs in and reads.
pub(crate) const LOGIN: &str = "/login";
pub(crate) const READ: &str = "/session";

async fn session(url: &str) -> std::io::Result<Server> {
    let store = RedisSessionStore::new(url).await.map_err(std::io::Error::other)?;
    let app = move || {
        let sessions = SessionMiddleware::builder(store.clone(), Key::from(&[7; 64])).cookie_secure(false).build();
        App::new().wrap(sessions).route(LOGIN, web::post().to(login)).route(READ, web::get().to(read))
    };
    let server = HttpServer::new(app).workers(WORKERS).bind("127.0.0.1:0")?;
    announce(&server.addrs());
    Ok(server.run())
}

async fn login(session: Session, _: web::Bytes) -> actix_web::Result<HttpResponse> {
    static USERS: AtomicU64 = AtomicU64::new(0);
    let user = format!("{:024x}", USERS.fetch_add(1, Ordering::Relaxed));
    session.insert("user", &user)?;
    Ok(user_json(&user))
}

async fn read(session: Session) -> actix_web::Result<HttpResponse> {
    let user = session.get::<String>("user")?;
    Ok(user.map_or_else(|| HttpResponse::Unauthorized().finish(), |user| user_json(&user)))
}

fn user_json(user: &str) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(format!(r#"{{"user_id":"{user}"}}"#))
}

fn announce(addresses: &[SocketAddr]) {
    println!("listening on http://{}", addresses[0]);
}
