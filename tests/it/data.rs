//! Users' documents over HTTP: what is kept, in which order, how much of it, what a repeat answers, and that it ends with its user.

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

#[actix_web::test]
async fn a_document_is_put_patched_counted_read_and_taken_away() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            assert_eq!(data(server, &token).await, json!(null));
            changed(&send(server, &token, PUT, json!({"todo": ["milk"], "done": 0})).await, 1);
            changed(&send(server, &token, PATCH, json!({"todo": ["milk", "bread"], "name": "list"})).await, 2);
            let patch =
                json!([{"op": "test", "path": "/todo/0", "value": "milk"}, {"op": "remove", "path": "/todo/0"}]);
            let patched = call(server, &token, PATCH, &patch).header("content-type", "application/json-patch+json");
            changed(&patched.send().await, 3);
            assert_eq!(changed(&send(server, &token, INCREMENT, json!({"path": "/done"})).await, 4), 1);
            assert_eq!(changed(&send(server, &token, INCREMENT, json!({"path": "/done", "by": -3})).await, 5), -2);
            let now = json!({"todo": ["bread"], "done": -2, "name": "list"});
            assert_eq!(data(server, &token).await, now);
            let again = server.call(GET).bearer(&token).header("if-none-match", "\"5\"").send().await;
            assert_eq!((again.status, again.header("etag")), (304, Some("\"5\"")));

            changed(&send(server, &token, DELETE, json!({})).await, 6);
            assert_eq!(data(server, &token).await, json!(null));
            changed(&send(server, &token, PATCH, json!({"a": 1})).await, 7);
            assert_eq!(data(server, &someone(server).await).await, json!(null), "everybody has their own");
        })
        .await;
}

/// S44: all that is stored, of an account that a user has become part of; also by a meter that is no longer configured.
#[actix_web::test]
async fn everybody_can_take_along_what_is_held_about_them() {
    const ACCOUNTS: &str = "[provider.local_userpass.config]\nautoConfirm = true\n[provider.api_key]\nenabled = true\n";
    let world =
        World::new().file(&format!("{ACCOUNTS}[meter.gone]\nlimit = 9\nwindow = \"rolling\"\nrolling = 1000\n"));
    let server = world.start().await;
    let account = json!({"provider": "local-userpass", "email": "a@example.test", "password": "a password"});
    assert_eq!(server.call("POST /v1/registrations").body(account.to_string()).send().await.status, 202);
    let first = server.log_in_v1().await;
    let linked = send(&server, &first.access, "POST /v1/user/identities", account.clone()).await.tokens();
    let guest = server.log_in_v1().await;
    let meter = "POST /v1/meters/gone";
    assert_eq!(send(&server, &linked.access, meter, json!({"item": "x", "amount": 2})).await.json()["used"], 2);
    server.clock.advance_s(500);
    assert_eq!(send(&server, &guest.access, meter, json!({"item": "y"})).await.json()["used"], 1);
    changed(&send(&server, &guest.access, PUT, json!({"kept": [1]})).await, 1);
    let mut merge = account;
    merge["on_conflict"] = json!("merge");
    let merged = send(&server, &guest.access, "POST /v1/user/identities", merge).await;
    assert_eq!(merged.status, 200, "{merged:?}");
    let access = merged.tokens().access;
    let key = send(&server, &access, "POST /v1/user/api-keys", json!({"name": "a-key"})).await;
    assert_eq!(key.status, 201, "{key:?}");
    server.stop().await;

    let world = world.file(ACCOUNTS);
    let server = world.start().await;
    let export = server.call("GET /v1/user/export").bearer(&access).send().await.json();
    assert_eq!((&export["user_id"], &export["anonymous"]), (&json!(first.user), &json!(false)));
    assert_eq!(export["identities"][0]["provider"], "local-userpass");
    assert_eq!(export["sessions"].as_array().map(Vec::len), Some(2));
    assert_eq!(export["api_keys"][0]["name"], "a-key");
    assert_eq!(export["aliases"][0]["id"], guest.user);
    assert!(export["aliases"][0]["merged"].as_str().is_some_and(|time| time.starts_with("2023-")), "{export}");
    let held = &export["meters"][0];
    assert_eq!((&held["name"], &held["used"], &held["items"]), (&json!("gone"), &json!(3), &json!(2)));
    assert_eq!(held["until"], "2023-11-14T22:38:20Z", "when the later of the two ends");
    assert_eq!((&export["data"], &export["data_version"]), (&json!({"kept": [1]}), &json!(2)));
    server.stop().await;
}

/// S23.
#[actix_web::test]
async fn a_ticket_for_a_socket_is_good_for_half_a_minute() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            let open = async |after_s, stands_still_s| {
                let ticket = server.call("POST /v1/socket-ticket").bearer(&token).send().await.json();
                assert_eq!(ticket["expires_in"], 30);
                server.clock.stand_still_s(stands_still_s);
                server.clock.advance_s(after_s);
                let offer = format!("ticket.{}", ticket["ticket"].as_str().unwrap());
                let url = format!("http://{}/v1/socket", server.address);
                match client().ws(url).protocols(["passerby.v1", &offer]).connect().await {
                    Ok((response, _)) => response.status().as_u16(),
                    Err(WsClientError::InvalidResponseStatus(status)) => status.as_u16(),
                    Err(other) => panic!("{other}"),
                }
            };
            assert_eq!((open(0, 0).await, open(29, 0).await, open(30, 0).await), (101, 101, 401));
            assert_eq!((open(29, 40).await, open(30, 40).await), (101, 401), "a stall of ours does not count");
        })
        .await;
}

/// Never a lost update: a change that names its version is refused when the version differs.
#[actix_web::test]
async fn a_lost_race_is_told() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            let with = async |what: &str, header: (&str, &str), body: Value| {
                call(server, &token, what, &body).header(header.0, header.1).send().await
            };
            let refused = with(PUT, ("if-match", "*"), json!({})).await;
            refused.assert_problem(412, "version-mismatch");
            changed(&with(PUT, ("if-none-match", "*"), json!({"n": 1})).await, 1);
            with(PUT, ("if-none-match", "*"), json!({})).await.assert_problem(412, "version-mismatch");
            for body in [json!({"a": 1}), json!({"b": 1})] {
                let answer = with(PATCH, ("if-match", "\"1\""), body.clone()).await;
                if body.get("a").is_some() {
                    changed(&answer, 2);
                } else {
                    answer.assert_problem(412, "version-mismatch");
                    assert_eq!(answer.header("etag"), Some("\"2\""), "what is there now");
                }
            }
            for tag in ["W/\"1\"", "\"x\"", "\"18446744073709551616\"", "\"02\"", "\"2-x\"", "\"1\", \"3\""] {
                with(DELETE, ("if-match", tag), json!({})).await.assert_problem(412, "version-mismatch");
            }
            for (header, tag) in [
                ("if-match", "2"),
                ("if-match", ""),
                ("if-none-match", "2"),
                // either a star or a list, and all of it counts (RFC 9110 §13.1.1)
                ("if-match", "*, \"2\""),
                ("if-match", "\"2\", *"),
                ("if-match", "\"2\", 3"),
                ("if-none-match", "*, \"1\""),
                ("if-none-match", "\"1\", 3"),
            ] {
                with(PUT, (header, tag), json!({})).await.assert_problem(400, "bad-precondition");
            }
            let read = server.call(GET).bearer(&token).header("if-none-match", "*, \"2\"").send().await;
            assert_eq!(read.status, 200, "a condition that cannot be read keeps nobody from the whole");
            let both = call(server, &token, PUT, &json!({})).header("if-match", "\"2\"").header("if-none-match", "*");
            both.send().await.assert_problem(400, "bad-precondition");
            for tags in ["\"2\"", "W/\"2\"", "\"1\", W/\"2-gzip\""] {
                with(PUT, ("if-none-match", tags), json!({})).await.assert_problem(412, "version-mismatch");
            }
            let failing = json!([{"op": "test", "path": "/n", "value": 2}, {"op": "remove", "path": "/n"}]);
            let answer = with(PATCH, ("content-type", "application/json-patch+json"), failing).await;
            answer.assert_problem(409, "patch-conflict");
            assert_eq!(data(server, &token).await, json!({"n": 1, "a": 1}));
        })
        .await;
}

/// A proxy that compresses an answer weakens its tag (nginx) or adds to it (Apache, Caddy): clients behind one can save all the same.
#[actix_web::test]
async fn a_tag_that_a_compressing_proxy_changed_names_its_version() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            changed(&send(server, &token, PUT, json!({"n": 0})).await, 1);
            let tags: [fn(u64) -> String; 7] = [
                |version| format!("\"{version}\""),
                |version| format!("W/\"{version}\""),
                |version| format!("\"{version}-gzip\""),
                |version| format!("W/\"{version}-br\""),
                |version| format!("\"{version};gzip\""),
                |version| format!("\"x\", W/\"{version}\", \"y,z\""),
                |_| "*".to_owned(),
            ];
            for (version, tag) in (1..).zip(tags) {
                let tag = tag(version);
                let answer = call(server, &token, PATCH, &json!({"n": version})).header("if-match", &tag).send().await;
                changed(&answer, version + 1);
                let known = tag.replace(&version.to_string(), &(version + 1).to_string());
                let read = server.call(GET).bearer(&token).header("if-none-match", &known).send().await;
                assert_eq!(read.status, 304, "{known}");
            }
        })
        .await;
}

/// Nothing is rounded: what cannot be kept as it is written is refused, and where it stands is said.
#[actix_web::test]
async fn a_number_that_would_be_rounded_is_refused_by_name() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            let exact = r#"{"big":18446744073709551615,"d":0.30000000000000004,"n":-9223372036854775808}"#;
            changed(&server.call(PUT).bearer(&token).body(exact).send().await, 1);
            let patch = "application/json-patch+json";
            for (what, content_type, body, pointer) in [
                (PUT, "application/json", r#"{"a":{"b/c":[1,18446744073709551616]}}"#, "/a/b~1c/1"),
                (PUT, "application/json", r#"{"a":0.1234567890123456789}"#, "/a"),
                (PUT, "application/json", r#"{"a":1e400}"#, "/a"),
                (PATCH, "application/json", r#"{"n":-9223372036854775809}"#, "/n"),
                (PATCH, patch, r#"[{"op":"add","path":"/x","value":[3.14159265358979323846]}]"#, "/0/value/0"),
                (PATCH, patch, r#"[{"op":"test","path":"/big","value":18446744073709551616}]"#, "/0/value"),
                (INCREMENT, "application/json", r#"{"path":"/n","by":99999999999999999999}"#, "/by"),
            ] {
                let call = server.call(what).bearer(&token).header("content-type", content_type).body(body);
                let answer = call.send().await;
                answer.assert_problem(422, "inexact-number");
                let detail = answer.json_as("application/problem+json")["detail"].to_string();
                assert!(detail.contains(&format!("\\\"{pointer}\\\" ")), "{detail}");
            }
            let by = server.call(INCREMENT).bearer(&token).body(r#"{"path":"/big","by":0.5}"#).send().await;
            by.assert_problem(422, "inexact-number");
            let kept = server.call(GET).bearer(&token).send().await;
            assert_eq!(String::from_utf8_lossy(&kept.body), exact);
            let export = server.call("GET /v1/user/export").bearer(&token).send().await;
            assert!(String::from_utf8_lossy(&export.body).contains(exact));
        })
        .await;
}

/// Nothing is lost without a word: of members with the same name only one could be kept, so they are refused at every depth.
#[actix_web::test]
async fn a_member_that_is_there_twice_is_refused_by_name_at_every_depth() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            let kept = json!({"a": {"b": 1}, "n": 1});
            changed(&send(server, &token, PUT, kept.clone()).await, 1);
            let (merge, patch) = ("application/merge-patch+json", "application/json-patch+json");
            for (what, content_type, body, pointer) in [
                (PUT, "application/json", r#"{"a":1,"a":2}"#, "/a"),
                (PUT, "application/json", r#"{"a":1,"\u0061":1}"#, "/a"),
                (PUT, "text/plain", r#"{"x":[0,{"y/":{"z":null,"z":null}}]}"#, "/x/1/y~1/z"),
                (PATCH, merge, r#"{"n":2,"n":null}"#, "/n"),
                (PATCH, merge, r#"{"a":{"b":2,"c":3,"b":4}}"#, "/a/b"),
                (PATCH, patch, r#"[{"op":"add","path":"/x","value":{"k":1,"k":1}}]"#, "/0/value/k"),
                (PATCH, patch, r#"[{"op":"remove","path":"/n"},{"op":"remove","path":"/n","path":"/a"}]"#, "/1/path"),
                (PATCH, patch, r#"[{"op":"test","path":"/a","value":{"b":1,"b":1}}]"#, "/0/value/b"),
                (INCREMENT, "application/json", r#"{"path":"/n","by":1,"by":2}"#, "/by"),
            ] {
                let call = server.call(what).bearer(&token).header("content-type", content_type).body(body);
                let answer = call.send().await;
                answer.assert_problem(422, "duplicate-field");
                let detail = answer.json_as("application/problem+json")["detail"].to_string();
                assert!(detail.contains(&format!("\\\"{pointer}\\\" ")), "{detail}");
            }
            let read = server.call(GET).bearer(&token).send().await;
            assert_eq!((read.header("etag"), read.json()), (Some("\"1\""), kept), "nothing was changed");
        })
        .await;
}

/// What waits for its turn asks for it a moment before: the session may have ended in between.
#[actix_web::test]
async fn a_change_that_had_to_wait_is_not_made_by_a_session_that_ended_meanwhile() {
    // how long it waits, as the rest of what may be done at once; the wait itself is in real time
    const WAIT: Duration = Duration::from_millis(900);
    World::new()
        .set("data.work", "64")
        .set("data.work_burst", "64")
        .serve(async |server| {
            // on a slow machine the logout may take longer than the change waits
            for _ in 0..20 {
                let one = server.log_in_v1().await;
                let code = server.call("POST /v1/session/transfer").bearer(&one.access).send().await.json();
                let code = json!({"provider": "transfer", "code": code["code"]});
                let other = server.call(CREATE).body(code.to_string()).send().await.tokens();
                assert_eq!(other.user, one.user);
                let whose = Whose::of(server.address.ip(), UserId::parse(&one.user).unwrap());
                let free = 4096;
                // a burst of a second, and as much ahead as the change then waits
                for bytes in [64 * 1024, 64 * 1024 * 9 / 10] {
                    assert_eq!(server.server.data_work.spend(whose, free + bytes).unwrap(), Duration::ZERO);
                }
                let (begun, waited) = (Instant::now(), server.server.data_work.waited());
                let change = send(server, &one.access, PUT, json!({"text": "x".repeat(4200)}));
                let logout = async {
                    until("it waits", || server.server.data_work.waited() > waited).await;
                    assert_eq!(server.call(END).bearer(&one.access).send().await.status, 204);
                    begun.elapsed() < WAIT
                };
                let (answer, in_time) = futures_util::future::join(change, logout).await;
                if in_time {
                    answer.assert_problem(401, "session-ended");
                    assert_eq!(data(server, &other.access).await, json!(null), "nothing was changed");
                    return;
                }
            }
            panic!("no logout was done while a change waited");
        })
        .await;
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

async fn open(server: &TestServer, token: &str) -> impl Live {
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

/// Reading a frame is work as well: a client that asks for too much is not read for a while.
#[actix_web::test]
async fn a_socket_that_asks_for_too_much_work_is_not_read_on_for_a_while() {
    World::new()
        .set("data.work", "64")
        .set("data.work_burst", "64")
        .serve(async |server| {
            let tokens = server.log_in_v1().await;
            let mut socket = open(server, &tokens.access).await;
            let whose = Whose::of(server.address.ip(), UserId::parse(&tokens.user).unwrap());
            server.server.data_work.owe(whose, 1024 * 1024);
            let begun = Instant::now();
            says(&mut socket, json!({"type": "put", "id": "1234567890123456", "data": {"t": "x".repeat(5000)}})).await;
            says(&mut socket, json!({"type": "get", "id": "a-look-at-the-data"})).await;
            let refused = hears(&mut socket).await;
            assert_eq!((&refused["code"], &refused["id"]), (&json!("over-budget"), &json!("1234567890123456")));
            assert_eq!(hears(&mut socket).await["id"], "a-look-at-the-data");
            // never sooner, however slow the machine is
            assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
            // what is small is free, and nothing keeps it waiting
            says(&mut socket, json!({"type": "put", "id": "1234567890123457", "data": {}})).await;
            assert_eq!(hears(&mut socket).await["version"], 1);
        })
        .await;
}

/// As over HTTP: a change that waited for its turn is made only if its session still lives.
#[actix_web::test]
async fn a_change_that_a_socket_has_to_wait_with_is_not_made_by_a_session_that_ended_meanwhile() {
    const WAIT: Duration = Duration::from_millis(900);
    World::new()
        .set("data.work", "64")
        .set("data.work_burst", "64")
        .serve(async |server| {
            for _ in 0..20 {
                let one = server.log_in_v1().await;
                let code = server.call("POST /v1/session/transfer").bearer(&one.access).send().await.json();
                let code = json!({"provider": "transfer", "code": code["code"]});
                let other = server.call(CREATE).body(code.to_string()).send().await.tokens();
                let mut socket = open(server, &one.access).await;
                let whose = Whose::of(server.address.ip(), UserId::parse(&one.user).unwrap());
                for bytes in [64 * 1024, 64 * 1024 * 9 / 10] {
                    assert_eq!(server.server.data_work.spend(whose, 4096 + bytes).unwrap(), Duration::ZERO);
                }
                let (begun, waited) = (Instant::now(), server.server.data_work.waited());
                let put = json!({"type": "put", "id": "1234567890123456", "data": {"t": "x".repeat(4200)}});
                says(&mut socket, put).await;
                until("it waits", || server.server.data_work.waited() > waited).await;
                assert_eq!(server.call(END).bearer(&one.access).send().await.status, 204);
                let in_time = begun.elapsed() < WAIT;
                let told = hears(&mut socket).await;
                if in_time {
                    assert_eq!(told["type"], "session.ended", "{told}");
                    assert_eq!(data(server, &other.access).await, json!(null), "nothing was changed");
                    return;
                }
            }
            panic!("no logout was done while a change waited");
        })
        .await;
}

/// Duplicate members are refused on a socket as over HTTP, named from the frame.
#[actix_web::test]
async fn a_socket_refuses_a_member_that_is_there_twice_at_every_depth() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in_v1().await;
            let mut socket = open(server, &tokens.access).await;
            let id = r#""id":"1234567890123456""#;
            for (frame, code, pointer) in [
                (format!(r#"{{"type":"put",{id},"data":{{"a":1,"a":2}}}}"#), "duplicate-field", "/data/a"),
                (format!(r#"{{"type":"put",{id},"data":{{}},"data":{{}}}}"#), "duplicate-field", "/data"),
                (
                    format!(r#"{{"type":"patch",{id},"patch":{{"a":[{{"b":1,"\u0062":1}}]}}}}"#),
                    "duplicate-field",
                    "/patch/a/0/b",
                ),
                (
                    format!(r#"{{"type":"patch",{id},"patch":[{{"op":"remove","path":"/a","path":"/b"}}]}}"#),
                    "duplicate-field",
                    "/patch/0/path",
                ),
                (format!(r#"{{"type":"meter",{id},"name":"m","amount":1e400}}"#), "inexact-number", "/amount"),
            ] {
                says(&mut socket, &frame).await;
                let error = hears(&mut socket).await;
                assert_eq!((&error["status"], &error["code"]), (&json!(422), &json!(code)), "{frame}");
                assert!(error["detail"].as_str().unwrap().contains(&format!("\"{pointer}\" ")), "{error}");
            }
            assert_eq!(data(server, &tokens.access).await, json!(null), "nothing was changed");
        })
        .await;
}

/// Reading many members takes longer than all else that a change does.
#[actix_web::test]
async fn a_change_names_no_more_members_than_a_document_has_room_for() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in_v1().await;
            let token = &tokens.access;
            // five bytes of the 16 KiB for each
            const MOST: usize = 3276;
            let members = |count: usize, value: Value| -> Value {
                Value::Object((0..count).map(|n| (format!("{n:x}"), value.clone())).collect())
            };
            changed(&send(server, token, PUT, json!({"a": 1})).await, 1);
            let in_array = json!({"t": vec![json!({"a": null}); MOST]});
            let (merge, patch) = ("application/merge-patch+json", "application/json-patch+json");
            let operation = |value: Value| json!([{"op": "add", "path": "/t", "value": value}]);
            for (what, content_type, body) in [
                (PUT, merge, members(MOST + 1, json!(1))),
                (PATCH, merge, members(MOST + 1, Value::Null)),
                (PATCH, merge, in_array),
                (PATCH, patch, operation(members(MOST + 1, json!(1)))),
            ] {
                let call = server.call(what).bearer(token).header("content-type", content_type).body(body.to_string());
                call.send().await.assert_problem(422, "patch-too-costly");
            }
            let fewer = send(server, token, PATCH, members(MOST, Value::Null)).await;
            assert_eq!(changed(&fewer, 2), Value::Null, "as many may be named");

            let mut socket = open(server, token).await;
            let id = r#""id":"1234567890123456""#;
            for frame in [
                format!(r#"{{"type":"put",{id},"data":{}}}"#, members(MOST + 1, json!(1))),
                format!(r#"{{"type":"patch",{id},"patch":{}}}"#, members(MOST + 1, Value::Null)),
                format!(r#"{{"type":"patch",{id},"patch":{}}}"#, operation(members(MOST + 1, json!(1)))),
                format!(r#"{{"type":"put",{id},"data":{},"data":{{}}}}"#, members(MOST + 1, json!(1))),
                format!(r#"{{"type":"get",{id},"else":{}}}"#, members(MOST + 1, json!(1))),
            ] {
                says(&mut socket, &frame).await;
                let error = hears(&mut socket).await;
                assert_eq!((&error["status"], &error["code"]), (&json!(422), &json!("patch-too-costly")));
            }
        })
        .await;
}

/// One request's work is bounded, and so is that of a client that sends without pause; small changes are free.
#[actix_web::test]
async fn large_changes_are_bounded_in_what_they_touch_and_in_how_many_there_are() {
    World::new()
        .set("data.work", "64")
        .set("data.work_burst", "64")
        .serve(async |server| {
            let token = someone(server).await;
            let list = vec![0; 3000];
            changed(&send(server, &token, PUT, json!({"l": list, "s": {}})).await, 1);
            let moves: Vec<_> = (0..500)
                .flat_map(|_| {
                    let (there, back) = (("/l", "/s/l"), ("/s/l", "/l"));
                    [there, back].map(|(from, path)| json!({"op": "move", "from": from, "path": path}))
                })
                .collect();
            let patch =
                call(server, &token, PATCH, &json!(moves)).header("content-type", "application/json-patch+json");
            let costly = patch.send().await;
            costly.assert_problem(422, "patch-too-costly");
            assert_eq!(data(server, &token).await, json!({"l": list, "s": {}}));

            let mut refused = None;
            for _ in 0..100 {
                let answer = send(server, &token, PUT, json!({"l": vec![0; 6000]})).await;
                if answer.status == 429 {
                    refused = Some(answer);
                    break;
                }
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            let refused = refused.expect("it is over its budget");
            refused.assert_problem(429, "over-budget");
            assert!(refused.header("retry-after").is_some_and(|seconds| seconds != "0"));
            assert!(server.metric("passerby_data_refused_total").await >= 1);
            let other = someone(server).await;
            for n in 0..200 {
                changed(&send(server, &other, PUT, json!({"n": n})).await, n + 1);
            }
            server.clock.advance_s(60);
            assert_eq!(send(server, &token, PUT, json!({"l": [1]})).await.status, 200);
        })
        .await;
}

#[actix_web::test]
async fn what_is_too_large_or_no_document_is_refused_and_loses_nothing() {
    World::new()
        .set("data.max_document", "1024")
        .serve(async |server| {
            let token = someone(server).await;
            changed(&send(server, &token, PUT, json!({"text": "x".repeat(1000)})).await, 1);
            let large = send(server, &token, PATCH, json!({"more": "y".repeat(100)})).await;
            large.assert_problem(413, "data-too-large");
            let detail = large.json_as("application/problem+json")["detail"].as_str().unwrap().to_owned();
            assert_eq!(detail, "the document would have at least 1121 bytes, and may have 1024");
            for (what, content_type, body, status, code) in [
                (PUT, "application/json", "[]", 400, "not-an-object"),
                (PUT, "application/json", "{", 400, "bad-body"),
                (PUT, "application/json", "", 400, "bad-body"),
                (PATCH, "application/json", "3", 400, "not-an-object"),
                (PATCH, "application/json-patch+json", "{}", 400, "bad-patch"),
                (PATCH, "application/json-patch+json", r#"[{"op":"grow"}]"#, 400, "bad-patch"),
                (PATCH, "application/xml", "{}", 415, "unknown-patch"),
                (INCREMENT, "application/json", "{}", 400, "bad-field"),
                (INCREMENT, "application/json", r#"{"path":"/n","by":"1"}"#, 400, "bad-field"),
                (INCREMENT, "application/json", r#"{"path":"/text"}"#, 409, "not-a-number"),
                (INCREMENT, "application/json", r#"{"path":"/no/where"}"#, 409, "not-a-number"),
            ] {
                let answer =
                    server.call(what).bearer(&token).header("content-type", content_type).body(body).send().await;
                answer.assert_problem(status, code);
                if status == 415 {
                    assert!(answer.header("accept-patch").is_some_and(|types| types.contains("merge-patch+json")));
                }
            }
            let deep = format!("{{\"a\":{}1{}}}", "[".repeat(32), "]".repeat(32));
            server.call(PUT).bearer(&token).body(deep).send().await.assert_problem(400, "data-too-deep");
            let deeper = format!("{{\"a\":{}1{}}}", "[".repeat(400), "]".repeat(400));
            server.call(PUT).bearer(&token).body(deeper).send().await.assert_problem(400, "bad-body");
            for what in [GET, PUT, PATCH, DELETE, INCREMENT, "GET /v1/user/export"] {
                server.call(what).body("{}").send().await.assert_problem(401, "no-token");
            }
            assert_eq!(data(server, &token).await, json!({"text": "x".repeat(1000)}));
        })
        .await;
}

/// A repeat after a lost answer gives the first result, also after a restart.
#[actix_web::test]
async fn a_repeated_request_is_done_once() {
    let world = World::new();
    let mut token = String::new();
    world
        .serve(async |server| {
            token = someone(server).await;
            let once = async || {
                let body = json!({"path": "/n", "by": 5});
                call(server, &token, INCREMENT, &body).header("idempotency-key", "abc").send().await
            };
            assert_eq!(changed(&once().await, 1), 5);
            changed(&send(server, &token, INCREMENT, json!({"path": "/n"})).await, 2);
            assert_eq!(changed(&once().await, 1), 5, "the answer that was lost");
        })
        .await;
    world
        .serve(async |server| {
            let body = json!({"path": "/n", "by": 5});
            let answer = call(server, &token, INCREMENT, &body).header("idempotency-key", "abc").send().await;
            assert_eq!(changed(&answer, 1), 5);
            for path in ["n", "/a~2b", "/a~"] {
                send(server, &token, INCREMENT, json!({"path": path})).await.assert_problem(400, "bad-field");
            }
            let nameless = call(server, &token, PUT, &json!({})).header("idempotency-key", "").send().await;
            nameless.assert_problem(400, "bad-idempotency-key");
            let other = call(server, &token, PUT, &json!({})).header("idempotency-key", "abc").send().await;
            other.assert_problem(422, "idempotency-key-reused");
            assert_eq!(data(server, &token).await, json!({"n": 6}));
        })
        .await;
}

/// 100 clients that count at once: the exact sum, and a refused one is told.
#[actix_web::test]
async fn concurrent_increments_all_count() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            let client = async |_| {
                for _ in 0..50 {
                    let answer = send(server, &token, INCREMENT, json!({"path": "/n"})).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            };
            join_all((0..100).map(client)).await;
            assert_eq!(data(server, &token).await, json!({"n": 5000}));
        })
        .await;
}

#[actix_web::test]
async fn all_documents_together_are_bounded() {
    World::new()
        .set("data.max_bytes", "3000")
        .serve(async |server| {
            let (one, other) = (someone(server).await, someone(server).await);
            changed(&send(server, &one, PUT, json!({"text": "x".repeat(4000)})).await, 1);
            assert!(server.metric("passerby_data_bytes").await > 4000);
            send(server, &other, PUT, json!({"a": 1})).await.assert_problem(507, "data-full");
            send(server, &one, INCREMENT, json!({"path": "/n"})).await.assert_problem(507, "data-full");
            changed(&send(server, &one, DELETE, json!({})).await, 2);
            changed(&send(server, &other, PUT, json!({"a": 1})).await, 1);
            assert_eq!(server.server.store.document_bytes(), 21 + 21 + r#"{"a":1}"#.len());
        })
        .await;
}

/// S44: what is deleted, logged out or expired is gone from memory at once, and from the disk with the next generation.
#[actix_web::test]
async fn data_goes_with_its_user_and_leaves_the_disk() {
    const SECRET: &str = "the-secret-of-a-diary";
    let world = World::new();
    let folder = world.data_dir();
    world
        .serve(async |server| {
            let diary = json!({"diary": SECRET});
            let kept = someone(server).await;
            changed(&send(server, &kept, PUT, json!({"kept": true})).await, 1);
            let before = server.server.store.document_bytes();
            for end in [END, DELETE_USER] {
                let token = someone(server).await;
                changed(&send(server, &token, PUT, diary.clone()).await, 1);
                changed(&send(server, &token, PATCH, json!({"diary": format!("{SECRET}, page 2")})).await, 2);
                assert_eq!(server.call(end).bearer(&token).send().await.status, 204);
                server.call(GET).bearer(&token).send().await.assert_problem(401, "session-ended");
                assert_eq!(server.server.store.document_bytes(), before);
            }
            let expiring = someone(server).await;
            changed(&send(server, &expiring, PUT, diary).await, 1);
            assert!(holds(&folder, SECRET), "the journal holds it: otherwise the rest says nothing");
            let tokens = server.call(CREATE).send().await.tokens();
            server.clock.advance_s(80 * 86_400);
            let kept = server.call(ROTATE).bearer(&tokens.refresh).send().await.tokens();
            changed(&send(server, &kept.access, PUT, json!({"also": "kept"})).await, 1);
            server.clock.advance_s(11 * 86_400);
            server.server.janitor.sweep(server.server.core.store().pages()).await.unwrap();
            let left = 21 + r#"{"also":"kept"}"#.len();
            assert_eq!(server.server.store.document_bytes(), left, "who expired took it along");
            server.clock.advance_s(86_401);
            until("a generation without it", || {
                server.clock.advance_s(1);
                server.server.store.nudge();
                !holds(&folder, SECRET)
            })
            .await;
            assert!(holds(&folder, "\"also\""));
        })
        .await;
}

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn holds(folder: &std::path::Path, text: &str) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        if entry.path().is_dir() {
            return holds(&entry.path(), text);
        }
        // a file may go while it is looked at
        let bytes = std::fs::read(entry.path()).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

/// Data stays under the same id when its user becomes an account, and joins the account's by the rules when it becomes part of one.
#[actix_web::test]
async fn linking_keeps_the_document_and_merging_joins_it() {
    World::new()
        .file("[data]\nmerge_keys = [\"cart=union\", \"visits=sum\"]\n[provider.local_userpass.config]\nautoConfirm = true\n")
        .serve(async |server| {
            let account = json!({"provider": "local-userpass", "email": "a@example.test", "password": "a password"});
            assert_eq!(server.call("POST /v1/registrations").body(account.to_string()).send().await.status, 202);
            let first = someone(server).await;
            let data_of_first = json!({"cart": ["tea"], "visits": 2, "name": "first"});
            changed(&send(server, &first, PUT, data_of_first.clone()).await, 1);
            let linked = send(server, &first, "POST /v1/user/identities", account.clone()).await;
            assert_eq!(linked.status, 200, "{linked:?}");
            let first = linked.tokens().access;
            assert_eq!(data(server, &first).await, data_of_first);

            let second = someone(server).await;
            changed(&send(server, &second, PUT, json!({"cart": ["milk"], "visits": 3, "name": "second", "own": 1})).await, 1);
            let mut merge = account.clone();
            merge["on_conflict"] = json!("merge");
            let merged = send(server, &second, "POST /v1/user/identities", merge).await;
            assert_eq!(merged.status, 200, "{merged:?}");
            let joined = json!({"cart": ["tea", "milk"], "visits": 5, "name": "first", "own": 1});
            assert_eq!(data(server, &merged.tokens().access).await, joined);
            assert_eq!(data(server, &first).await, joined);
            assert_eq!(values(&*server.server.store), 2, "the credential and one document");
        })
        .await;
}

/// By default both sides are kept: what cannot be joined is in the answer, in the one that is given again, and in what is asked before.
#[actix_web::test]
async fn merging_loses_nothing_of_the_visitors_without_a_word() {
    World::new()
        .file("[provider.local_userpass.config]\nautoConfirm = true\n")
        .serve(async |server| {
            const LINK: &str = "POST /v1/user/identities";
            let account = json!({"provider": "local-userpass", "email": "a@example.test", "password": "a password"});
            assert_eq!(server.call("POST /v1/registrations").body(account.to_string()).send().await.status, 202);
            let first = someone(server).await;
            changed(&send(server, &first, PUT, json!({"todos": {"a": 1, "same": [1]}, "theme": "dark"})).await, 1);
            let first = send(server, &first, LINK, account.clone()).await.tokens().access;

            let visitor = server.call(CREATE).send().await.tokens();
            changed(
                &send(server, &visitor.access, PUT, json!({"todos": {"b": 1, "same": [1]}, "theme": "light"})).await,
                1,
            );
            let mut merge = account.clone();
            merge["on_conflict"] = json!("merge");
            let conflicts = json!([{"pointer": "/theme", "value": "light"}]);
            let mut dry = merge.clone();
            dry["dry_run"] = json!(true);
            let told = |answer: &Value| (answer["conflicts"].clone(), answer["conflicts_truncated"].clone());
            let preview = send(server, &visitor.access, LINK, dry).await.json();
            assert_eq!((&preview["outcome"], told(&preview)), (&json!("merged"), (conflicts.clone(), json!(false))));
            assert_eq!(data(server, &first).await["todos"], json!({"a": 1, "same": [1]}), "nothing was done");
            for time in ["the first", "the answer was lost"] {
                let merged = send(server, &visitor.access, LINK, merge.clone()).await.json();
                assert_eq!(merged["merged_user_id"], visitor.user, "{time}");
                assert_eq!(told(&merged), (conflicts.clone(), json!(false)), "{time}");
            }
            assert_eq!(data(server, &first).await, json!({"todos": {"a": 1, "b": 1, "same": [1]}, "theme": "dark"}));
            let empty = someone(server).await;
            let merged = send(server, &empty, LINK, merge.clone()).await.json();
            assert_eq!(told(&merged), (json!([]), json!(false)), "there was nothing to lose");

            // what would be too much for one is refused, and both keep what they have
            for (n, status) in (0..6).zip([200, 200, 200, 200, 413, 413]) {
                let one = someone(server).await;
                let kept = json!({ n.to_string(): "x".repeat(15_000) });
                changed(&send(server, &one, PUT, kept.clone()).await, 1);
                let answer = send(server, &one, LINK, merge.clone()).await;
                assert_eq!(answer.status, status, "{n}");
                if status == 413 {
                    answer.assert_problem(413, "data-too-large");
                    assert_eq!(data(server, &one).await, kept);
                    assert_eq!(data(server, &first).await.as_object().map(|data| data.len()), Some(6));
                }
            }
        })
        .await;
}

/// What `realm-web` shows as `customData`.
#[actix_web::test]
async fn tokens_show_what_is_configured_of_the_document() {
    World::new()
        .set("data.token_fields", "plan,name")
        .serve(async |server| {
            let tokens = server.call(CREATE).send().await.tokens();
            let shown = |token: &str| claims(token).get("user_data").cloned();
            assert_eq!(shown(&tokens.access), None);
            changed(
                &send(server, &tokens.access, PUT, json!({"plan": "free", "name": "N\u{e9}", "diary": "no"})).await,
                1,
            );
            let next = server.call(ROTATE).bearer(&tokens.refresh).send().await.tokens();
            assert_eq!(shown(&next.access), Some(json!({"plan": "free", "name": "N\u{e9}"})));
            assert_eq!(data(server, &next.access).await["diary"], "no", "the token is as good as any");
            changed(&send(server, &next.access, PATCH, json!({"name": "x".repeat(1100)})).await, 2);
            let next = server.call(ROTATE).bearer(&next.refresh).send().await.tokens();
            assert_eq!(shown(&next.access), None, "no token becomes that long");
        })
        .await;
}

/// `PATCH` and `PUT` are among what pages of other origins may ask for.
#[actix_web::test]
async fn a_method_that_is_not_there_is_named() {
    World::new()
        .serve(async |server| {
            let answer = server.call("POST /v1/data").send().await;
            answer.assert_problem(405, "method-not-allowed");
            let allow = answer.header("allow").unwrap();
            assert_eq!(allow, "GET, HEAD, PUT, PATCH, DELETE, OPTIONS");
            let options = server.call("OPTIONS /v1/data").send().await;
            assert_eq!((options.status, options.header("allow")), (204, Some(allow)));
        })
        .await;
}
