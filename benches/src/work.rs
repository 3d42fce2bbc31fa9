//! What readers do, as request bytes: prepared as far as can be, since the load generator shares the cores.

use std::collections::VecDeque;
use std::rc::Rc;

use passerby_actors::testkit::Random;

/// What a request was, for the work that sent it and sees its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A new user.
    Login,
    /// A check of a token or a cookie.
    Check,
    /// Of tokens.
    Refresh,
    /// The end of a session.
    Logout,
}

/// Says what to send.
pub trait Work {
    /// The next request, whole.
    fn next(&mut self) -> (Kind, &[u8]);

    /// Sees a 2xx answer.
    fn answered(&mut self, _kind: Kind, _head: &[u8], _body: &[u8]) {}

    /// Access tokens expire: these are new ones for the same number of readers.
    fn renew(&mut self, _checks: &Rc<Requests>) {}
}

/// Where a token or a cookie is checked: `GET`, as a proxy asks.
pub const CHECK: &str = "/verify";
/// A login as App Services have it: `POST`.
pub const LOGIN_APP: &str = "/api/client/v2.0/app/passerby/auth/providers/anon-user/login";
/// A login: `POST`.
pub const LOGIN_V1: &str = "/v1/sessions";
/// A new access token for a refresh token, as App Services have it: `POST`.
pub const REFRESH_APP: &str = "/api/client/v2.0/auth/session";
/// New tokens for a refresh token: `POST`.
pub const REFRESH_V1: &str = "/v1/session/refresh";
/// Where a session ends: `DELETE`.
pub const LOGOUT: &str = "/v1/session";

/// What a site's script sends.
const READER: &str = r#"{"mode":"cookie"}"#;

/// What realm-web sends at a first login.
const DEVICE: &str = r#"{"options":{"device":{"sdkVersion":"2.0.1","platform":"node","platformVersion":"20.20.2"}}}"#;

/// A login as App Services have it.
pub fn login_app() -> Vec<u8> {
    let length = DEVICE.len();
    let head = format!("POST {LOGIN_APP} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n");
    format!("{head}content-length: {length}\r\n\r\n{DEVICE}").into_bytes()
}

/// A login of a reader, who gets a cookie.
pub fn login_reader() -> Vec<u8> {
    let head = format!("POST {LOGIN_V1} HTTP/1.1\r\nhost: bench\r\nsec-fetch-site: same-origin\r\n");
    format!("{head}content-length: {}\r\n\r\n{READER}", READER.len()).into_bytes()
}

/// A login without anything said.
pub fn login(path: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

/// Requests of one shape that carry a token each.
#[derive(Clone)]
pub struct Template {
    before: String,
}

impl Template {
    /// An access or a refresh token.
    pub fn bearer(method: &str, path: &str) -> Self {
        let length = if method == "GET" { "" } else { "content-length: 0\r\n" };
        Self { before: format!("{method} {path} HTTP/1.1\r\nhost: bench\r\n{length}authorization: Bearer ") }
    }

    /// A cookie, with its name.
    pub fn cookie(path: &str) -> Self {
        Self { before: format!("GET {path} HTTP/1.1\r\nhost: bench\r\ncookie: ") }
    }

    /// Adds the request with this token.
    pub fn write(&self, token: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.before.as_bytes());
        out.extend_from_slice(token);
        out.extend_from_slice(b"\r\n\r\n");
    }
}

/// Many whole requests, one behind another in memory.
#[derive(Default)]
pub struct Requests {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Requests {
    /// Adds the request with this token.
    pub fn push(&mut self, template: &Template, token: &[u8]) {
        template.write(token, &mut self.bytes);
        self.ends.push(self.bytes.len());
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn get(&self, index: usize) -> &[u8] {
        let begin = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[begin..self.ends[index]]
    }
}

/// The value of this name in a JSON answer of ours, which escapes nothing in tokens.
pub fn field<'a>(body: &'a [u8], name: &str) -> &'a [u8] {
    let body = std::str::from_utf8(body).unwrap();
    let at = body.find(name).unwrap_or_else(|| panic!("no {name} in {body}")) + name.len() + 3;
    let length = body[at..].find('"').unwrap();
    &body.as_bytes()[at..at + length]
}

/// The first cookie that an answer sets, as it is sent back.
pub fn cookie(head: &[u8]) -> &[u8] {
    let head = std::str::from_utf8(head).unwrap();
    let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    set.split(';').next().unwrap().as_bytes()
}

/// The same request over and over, and what is done with the answers' head and body.
pub struct Same<F> {
    /// Whole.
    pub request: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Sees the head and the body of a 2xx answer.
    pub answered: F,
}

impl<F: FnMut(&[u8], &[u8])> Work for Same<F> {
    fn next(&mut self) -> (Kind, &[u8]) {
        (self.kind, &self.request)
    }

    fn answered(&mut self, _: Kind, head: &[u8], body: &[u8]) {
        (self.answered)(head, body);
    }
}

/// Prepared requests in a given order, or one after another.
pub struct Prepared {
    requests: Rc<Requests>,
    order: Option<Rc<Vec<u32>>>,
    turn: usize,
    kind: Kind,
}

impl Prepared {
    /// In this order, or one after another.
    pub fn new(requests: &Rc<Requests>, order: Option<&Rc<Vec<u32>>>, kind: Kind) -> Self {
        Self { requests: Rc::clone(requests), order: order.cloned(), turn: 0, kind }
    }
}

impl Work for Prepared {
    fn next(&mut self) -> (Kind, &[u8]) {
        let index = match &self.order {
            Some(order) => order[self.turn % order.len()] as usize,
            None => self.turn % self.requests.len(),
        };
        self.turn += 1;
        (self.kind, self.requests.get(index))
    }

    fn renew(&mut self, checks: &Rc<Requests>) {
        if self.kind == Kind::Check {
            self.requests = Rc::clone(checks);
        }
    }
}

/// Refresh tokens that are replaced at every use, each used again when all others had their turn.
pub struct Rotating {
    tokens: VecDeque<Vec<u8>>,
    /// Used ones, whose memory is used again.
    spare: Vec<Vec<u8>>,
    template: Template,
    request: Vec<u8>,
}

impl Rotating {
    /// With these to begin with.
    pub fn new(tokens: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let template = Template::bearer("POST", REFRESH_V1);
        Self { tokens: tokens.into_iter().collect(), spare: Vec::new(), template, request: Vec::new() }
    }
}

impl Work for Rotating {
    fn next(&mut self) -> (Kind, &[u8]) {
        // the token of a request that failed is lost; when all are, used ones show it as failures
        let token = self.tokens.pop_front().or_else(|| self.spare.pop()).unwrap_or_default();
        self.request.clear();
        self.template.write(&token, &mut self.request);
        self.spare.push(token);
        (Kind::Refresh, &self.request)
    }

    fn answered(&mut self, _: Kind, _: &[u8], body: &[u8]) {
        let mut token = self.spare.pop().unwrap_or_default();
        token.clear();
        token.extend_from_slice(field(body, "refresh_token"));
        self.tokens.push_back(token);
    }
}

/// 90 % checks, 8 % logins, 1 % refreshes, 1 % logouts of those who logged in.
pub struct Day {
    checks: Prepared,
    rotating: Rotating,
    login: Vec<u8>,
    newcomers: VecDeque<Vec<u8>>,
    logout: Template,
    request: Vec<u8>,
    random: Random,
}

/// Newcomers who are remembered; others just stay.
const NEWCOMERS: usize = 4096;

impl Day {
    /// With these checks and refreshes.
    pub fn new(checks: Prepared, rotating: Rotating) -> Self {
        let (login, logout) = (login(LOGIN_V1), Template::bearer("DELETE", LOGOUT));
        Self { checks, rotating, login, newcomers: VecDeque::new(), logout, request: Vec::new(), random: Random(2) }
    }
}

impl Work for Day {
    fn next(&mut self) -> (Kind, &[u8]) {
        match self.random.next() % 100 {
            0..90 => self.checks.next(),
            90 => self.rotating.next(),
            91 if !self.newcomers.is_empty() => {
                let token = self.newcomers.pop_front().unwrap();
                self.request.clear();
                self.logout.write(&token, &mut self.request);
                (Kind::Logout, &self.request)
            }
            _ => (Kind::Login, &self.login),
        }
    }

    fn answered(&mut self, kind: Kind, head: &[u8], body: &[u8]) {
        match kind {
            Kind::Login if self.newcomers.len() < NEWCOMERS => {
                self.newcomers.push_back(field(body, "access_token").to_vec());
            }
            Kind::Refresh => self.rotating.answered(kind, head, body),
            Kind::Login | Kind::Check | Kind::Logout => {}
        }
    }

    fn renew(&mut self, checks: &Rc<Requests>) {
        self.checks.renew(checks);
        self.newcomers.clear();
    }
}
