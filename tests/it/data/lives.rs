//! Documents follow their user: in exports and tokens, through links and merges, and to the end.

use super::*;

/// S44: all that is stored, of an account that a user has become part of; also by a meter that is no longer configured.
#[actix_web::test]
async fn users_can_export_all_that_is_stored_about_them() {
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
