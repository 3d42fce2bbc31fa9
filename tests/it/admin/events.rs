//! Events as they happen, by the admin API.

use std::time::Duration;

use actix_web::web::Bytes;
use awc::error::PayloadError;
use futures_util::{Stream, StreamExt as _};
use passerby::admin::Role;
use passerby_actors::domain::{Cause, UserId};
use passerby_actors::testkit::until;
use serde_json::{Value, json};

use super::{ask, token};
use crate::world::{LOGOUT, TestServer, World};

/// A stream of events, as far as it is read.
struct Events<S> {
    body: S,
    text: String,
}

async fn open(
    server: &TestServer,
    token: &str,
    query: &str,
) -> Events<impl Stream<Item = Result<Bytes, PayloadError>> + Unpin + use<>> {
    let client = awc::Client::builder().timeout(Duration::from_secs(60)).finish();
    let request = client.get(format!("http://{}/v1/admin/events{query}", server.admin));
    let response = request.insert_header(("authorization", format!("Bearer {token}"))).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers().get("content-type").unwrap(), "text/event-stream");
    assert_eq!(response.headers().get("cache-control").unwrap(), "no-store");
    let mut events = Events { body: response, text: String::new() };
    assert_eq!(events.next().await.unwrap(), ": what is committed from now on");
    events
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Events<S> {
    /// The next event; none at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(event);
            }
            let more = self.body.next().await?.unwrap();
            self.text += std::str::from_utf8(&more).unwrap();
        }
    }

    /// The data of the next event, whose type stands beside it, too.
    async fn data(&mut self) -> Value {
        let event = self.next().await.unwrap();
        let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
        let data: Value = serde_json::from_str(&line("data: ")).unwrap();
        assert_eq!(line("event: "), data["type"].as_str().unwrap());
        assert!(line("id: ").contains('-'));
        data
    }
}

#[actix_web::test]
async fn what_is_committed_is_told_with_filters() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Read).await;
            let before = server.log_in().await;
            let mut all = open(server, &ada, "").await;
            let mut of_user = open(server, &ada, &format!("?user={}", before.user)).await;
            let mut of_type = open(server, &ada, "?type=logged-out,disabled").await;
            let user = server.log_in().await;
            server.handle().disable(&UserId::parse(&before.user).unwrap()).await.unwrap();
            assert_eq!(server.call(LOGOUT).bearer(&user.refresh).send().await.status, 204);
            let told = async |events: &mut Events<_>| {
                let data = events.data().await;
                (data["type"].as_str().unwrap().to_owned(), data["user_id"].as_str().unwrap().to_owned())
            };
            let event = |cause: Cause, user: &str| (cause.name().to_owned(), user.to_owned());
            assert_eq!(told(&mut all).await, event(Cause::Created, &user.user));
            assert_eq!(told(&mut all).await, event(Cause::Disabled, &before.user));
            let last = all.data().await;
            assert_eq!((&last["type"], &last["gone"]), (&json!("logged-out"), &json!(true)), "{last}");
            assert!(last["at"].as_str().unwrap().ends_with('Z'));
            assert_eq!(told(&mut of_user).await, event(Cause::Disabled, &before.user));
            assert_eq!(told(&mut of_type).await, event(Cause::Disabled, &before.user));
            assert_eq!(told(&mut of_type).await, event(Cause::LoggedOut, &user.user));
            for bad in ["type=administered", "type=created,x", "user=x", "cause=created"] {
                let answer = ask(server, &format!("GET /v1/admin/events?{bad}")).bearer(&ada).send().await;
                answer.assert_problem(400, "bad-query");
            }
        })
        .await;
}

#[actix_web::test]
async fn each_user_of_a_batch_has_an_event_of_its_own() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let ids = [1, 2, 3].map(|n| format!("018bcfe5-6800-7000-8000-00000000000{n}"));
            let mut all = open(server, &ada, "?type=created").await;
            let mut of_second = open(server, &ada, &format!("?user={}", ids[1])).await;
            let mut of_disabled = open(server, &ada, "?type=disabled").await;
            let users: Vec<_> = ids.iter().map(|id| json!({ "user_id": id })).collect();
            let body = json!({ "users": users }).to_string();
            let created = ask(server, "POST /v1/admin/users/batch").bearer(&ada).body(body).send().await;
            assert_eq!(created.status, 201, "{created:?}");
            for id in &ids {
                assert_eq!(all.data().await["user_id"], **id);
            }
            server.handle().disable(&UserId::parse(&ids[1]).unwrap()).await.unwrap();
            for cause in [Cause::Created, Cause::Disabled] {
                let data = of_second.data().await;
                assert_eq!((&data["type"], &data["user_id"]), (&json!(cause.name()), &json!(ids[1])));
            }
            assert_eq!(of_disabled.data().await["user_id"], *ids[1]);
        })
        .await;
}

#[actix_web::test]
async fn a_stream_ends_with_the_session_and_there_are_so_many() {
    let world = World::new();
    let server = world.start().await;
    let (ada, bob) = (token(&server, "ada", Role::Read).await, token(&server, "bob", Role::Owner).await);
    let mut events = open(&server, &ada, "").await;
    assert_eq!(ask(&server, "POST /v1/admin/logout").bearer(&ada).send().await.status, 204);
    server.log_in().await;
    assert_eq!(events.next().await, None, "not one more");
    drop(events);

    let free = || server.server.event_streams.available_permits();
    until("it has let go of its place", || free() == 16).await;
    let mut open_ones = Vec::new();
    for _ in 0..16 {
        open_ones.push(open(&server, &bob, "").await);
    }
    ask(&server, "GET /v1/admin/events").bearer(&bob).send().await.assert_problem(429, "too-many-streams");
    assert_eq!(ask(&server, "HEAD /v1/admin/events").bearer(&bob).send().await.status, 200, "it opens no stream");
    let mut last = open_ones.pop().unwrap();
    drop(open_ones);
    until("a client that has gone has no place", || free() == 15).await;
    server.log_in().await;
    assert!(last.next().await.unwrap().contains("event: created"), "that was noticed before anything was to be told");
    server.stop().await;
    assert_eq!(last.next().await, None, "the server has stopped");
}
