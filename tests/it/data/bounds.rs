//! How large a document, a change, and the work of a client may be.

use super::*;

/// What waits for its turn asks for it a moment before: the session may have ended in between.
#[actix_web::test]
async fn a_delayed_change_is_refused_when_its_session_has_ended() {
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
