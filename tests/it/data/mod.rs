//! Users' documents over HTTP: what is kept, in which order, how much of it, what a repeat answers, and that it ends with its user.

mod bounds;
mod changes;
mod exact;
mod lives;
mod sockets;

use std::time::{Duration, Instant};

use awc::error::{WsClientError, WsProtocolError};
use awc::ws;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use futures_util::{Sink, SinkExt as _, Stream, StreamExt as _};
use passerby::limits::data_work::Whose;
use passerby_actors::domain::UserId;
use passerby_actors::testkit::{until, values};
use serde_json::{Value, json};

use crate::world::{Answer, CREATE, Call, DELETE_USER, END, ROTATE, TestServer, World, client};

const GET: &str = "GET /v1/data";
const PUT: &str = "PUT /v1/data";
const PATCH: &str = "PATCH /v1/data";
const DELETE: &str = "DELETE /v1/data";
const INCREMENT: &str = "POST /v1/data/increment";

/// A new user's access token.
async fn someone(server: &TestServer) -> String {
    server.call(CREATE).send().await.tokens().access
}

fn call(server: &TestServer, token: &str, what: &str, body: &Value) -> Call {
    server.call(what).bearer(token).body(body.to_string())
}

async fn send(server: &TestServer, token: &str, what: &str, body: Value) -> Answer {
    call(server, token, what, &body).send().await
}

async fn data(server: &TestServer, token: &str) -> Value {
    let answer = server.call(GET).bearer(token).send().await;
    if answer.status == 404 {
        answer.assert_problem(404, "no-data");
        return Value::Null;
    }
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

#[track_caller]
fn changed(answer: &Answer, version: u64) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("etag"), Some(format!("\"{version}\"").as_str()), "{answer:?}");
    let body = answer.json();
    assert_eq!(body["version"], version);
    body["value"].clone()
}

/// An open socket's both directions.
pub(crate) trait Live:
    Sink<ws::Message, Error = WsProtocolError> + Stream<Item = Result<ws::Frame, WsProtocolError>> + Unpin
{
}
impl<S: Sink<ws::Message, Error = WsProtocolError> + Stream<Item = Result<ws::Frame, WsProtocolError>> + Unpin> Live
    for S
{
}

pub(crate) async fn open(server: &TestServer, token: &str) -> impl Live {
    let url = format!("http://{}/v1/socket", server.address);
    let socket = client().ws(url).protocols(["passerby.v1"]).header("authorization", format!("Bearer {token}"));
    let (_, mut socket) = socket.connect().await.unwrap();
    assert_eq!(hears(&mut socket).await["type"], "hello");
    socket
}

pub(crate) async fn says(socket: &mut impl Live, frame: impl ToString) {
    socket.send(ws::Message::Text(frame.to_string().into())).await.unwrap();
}

/// The next text.
pub(crate) async fn hears(socket: &mut impl Live) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            ws::Frame::Text(text) => return serde_json::from_slice(&text).unwrap(),
            ws::Frame::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}
