//! Readers by cookie: `/verify`, lazy ids, sliding, the site's own calls, and what is never adopted.

mod checks;
mod creating;
mod leaving;
mod replaced;
mod sites;

use std::cell::{Cell, RefCell};

use futures_util::future::{join, join_all};
use passerby_actors::testkit::faulty::Mode;
use passerby_actors::testkit::{DAY_S, until, values};
use serde_json::json;

use crate::accounts::{self, jwt};
use crate::world::{Answer, Call, TestServer, World};

pub(crate) const AUTO: &str = "GET /verify?create=auto";
pub(crate) const NEVER: &str = "GET /verify";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// What a browser keeps.
#[derive(Default)]
pub(crate) struct Jar(pub(crate) Option<String>);

impl Jar {
    /// Of a stored reader.
    pub(crate) async fn of_reader(server: &TestServer) -> Self {
        let mut jar = Self::default();
        for _ in 0..2 {
            passed(&jar.visit(server, AUTO).await);
        }
        jar
    }

    pub(crate) fn sent(&self, call: Call) -> Call {
        let call = call.header("user-agent", FIREFOX);
        match &self.0 {
            Some(cookie) => call.header("cookie", &format!("other=1; {cookie}; passerbyx=2")),
            None => call,
        }
    }

    /// Keeps what an answer sets; answers whether it did.
    pub(crate) fn keep(&mut self, answer: &Answer) -> bool {
        let Some(set) = answer.header("set-cookie") else { return false };
        let pair = set.split(';').next().unwrap();
        self.0 = (!set.contains("Max-Age=0")).then(|| pair.to_owned());
        true
    }

    pub(crate) async fn visit(&mut self, server: &TestServer, what: &str) -> Answer {
        let answer = self.sent(server.call(what)).send().await;
        self.keep(&answer);
        answer
    }
}

#[track_caller]
pub(crate) fn passed(answer: &Answer) -> String {
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    answer.header("x-passerby-user").unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

pub(crate) fn users(server: &TestServer) -> usize {
    server.server.store.users()
}

pub(crate) fn from(call: Call, client: &str) -> Call {
    call.header("x-forwarded-for", client)
}
