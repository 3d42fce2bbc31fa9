//! Whatever comes over the wire: the right 4xx with a JSON body in the form of its API, no panic, nothing lost.

mod arbitrary;
mod bodies;
mod requests;
mod slow;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web;
use futures_util::future::join_all;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::world::{
    Answer, CREATE, DELETE, DELETE_USER, END, LOGIN, LOGOUT, PROFILE, REFRESH, ROTATE, TestServer, VIEW, World,
};

/// An error in the form of the API that the path belongs to.
#[track_caller]
fn assert_error(answer: &Answer, path: &str, status: u16) {
    assert_eq!(answer.status, status, "{path} {answer:?}");
    if path.contains("/api/") {
        let body = answer.json();
        assert!(body["error"].is_string() && body["link"].is_string(), "{path} {body}");
        assert!(answer.header("x-appservices-request-id").is_some());
    } else {
        let body = answer.json_as("application/problem+json");
        assert_eq!(body["status"], status, "{path} {body}");
        assert!(body["code"].is_string() && body["type"].is_string() && body["title"].is_string(), "{path} {body}");
    }
}

const WITH_BODY: [&str; 8] = [LOGIN, REFRESH, LOGOUT, DELETE, CREATE, ROTATE, END, DELETE_USER];

/// Sends bytes and reads until the server closes. With `half`, our side of the connection is closed first.
async fn exchange(address: SocketAddr, bytes: Vec<u8>, half: bool) -> String {
    let exchanged = web::block(move || exchange_now(address, &bytes, half)).await.unwrap();
    String::from_utf8_lossy(&exchanged).into_owned()
}

fn exchange_now(address: SocketAddr, bytes: &[u8], half: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // a server that has answered may close before everything is written
    let written = stream.write_all(bytes);
    if half && written.is_ok() {
        drop(stream.shutdown(Shutdown::Write));
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the connection stays open ({error}) after {}", String::from_utf8_lossy(&answer)),
    }
    answer
}

async fn is_well(server: &TestServer) {
    let answer = server.ask_admin("GET /healthz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(server.ask_admin("GET /readyz").await.status, 200);
}
