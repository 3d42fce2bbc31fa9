//! Changes: their order, their versions, and what a repeat answers.

use super::*;

#[actix_web::test]
async fn a_document_is_put_patched_counted_read_and_deleted() {
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
