//! Links and merges with all their conflicts.

use super::*;

#[actix_web::test]
async fn an_identity_in_use_is_refused_switched_to_or_merged_as_the_caller_says() {
    world()
        .serve(async |server| {
            let account = log_in_as(server, "a").await;
            let guest = server.log_in_v1().await;

            link(server, &guest.access, "a", json!({})).await.assert_problem(409, "identity-in-use");
            let answer = link(server, &guest.access, "a", json!({ "on_conflict": "often" })).await;
            answer.assert_problem(400, "unknown-on-conflict");
            let dry = async |on_conflict: &str| {
                let more = json!({ "on_conflict": on_conflict, "dry_run": true });
                link(server, &guest.access, "a", more).await.json()
            };
            let rejected = dry("reject").await;
            assert_eq!((&rejected["outcome"], &rejected["code"]), (&json!("rejected"), &json!("identity-in-use")));
            assert_eq!(dry("switch").await, json!({ "outcome": "switched", "user_id": account.user }));
            let preview = dry("merge").await;
            assert_eq!(preview["outcome"], "merged");
            assert_eq!(preview["merged_user_id"], guest.user);
            assert_eq!(preview["created"], view(server, &account.access).await["created"]);
            assert_eq!(view(server, &guest.access).await["anonymous"], true, "nothing was done");

            let switched = link(server, &guest.access, "a", json!({ "on_conflict": "switch" })).await.tokens();
            assert_eq!(switched.user, account.user);
            assert_eq!(view(server, &guest.access).await["user_id"], guest.user, "the guest stays");

            let answer = link(server, &guest.access, "a", json!({ "on_conflict": "merge" })).await;
            assert_eq!((answer.status, &answer.json()["merged_user_id"]), (200, &Value::from(guest.user.clone())));
            let merged = answer.tokens();
            assert_eq!(merged.user, account.user);
            assert_eq!(view(server, &merged.access).await["aliases"], json!([guest.user]));
            assert_eq!(view(server, &account.access).await["user_id"], account.user, "its own session goes on");
            assert_eq!(server.metric("passerby_merges_total").await, 1);

            // it is free: a merge is a link, and a repeat changes nothing
            let other = server.log_in_v1().await;
            let linked = link(server, &other.access, "b", json!({ "on_conflict": "merge" })).await;
            assert_eq!(linked.json().get("merged_user_id"), None);
            let linked = linked.tokens();
            assert_eq!(linked.user, other.user);
            let preview = link(server, &linked.access, "b", json!({ "dry_run": true })).await.json();
            assert_eq!(preview["outcome"], "unchanged");
            // an account is not merged away, nor a user into a disabled one
            let answer = link(server, &linked.access, "a", json!({ "on_conflict": "merge" })).await;
            answer.assert_problem(409, "not-anonymous");
            let preview = link(server, &linked.access, "a", json!({ "on_conflict": "merge", "dry_run": true })).await;
            assert_eq!(preview.json()["outcome"], "rejected");
            let id = passerby_actors::domain::UserId::parse(&account.user).unwrap();
            server.handle().disable(&id).await.unwrap();
            let late = server.log_in_v1().await;
            let answer = link(server, &late.access, "a", json!({ "on_conflict": "merge" })).await;
            answer.assert_problem(403, "user-disabled");
            assert_eq!(view(server, &late.access).await["anonymous"], true);
        })
        .await;
}

/// S6: an alias resolves ids that are data, and is the subject of nothing.
#[actix_web::test]
async fn no_token_or_code_from_before_a_merge_is_worth_anything_after_it() {
    world()
        .serve(async |server| {
            let account = log_in_as(server, "a").await;
            let sdk = server.log_in().await;
            let code = server.call(TRANSFER).bearer(&sdk.access).send().await.json()["code"].clone();
            let v1 = server.call(CREATE).body(json!({ "provider": "transfer", "code": code }).to_string()).send().await;
            let v1 = v1.tokens();
            assert_eq!(v1.user, sdk.user);
            let code = server.call(TRANSFER).bearer(&sdk.access).send().await.json()["code"].clone();
            let merged = link(server, &v1.access, "a", json!({ "on_conflict": "merge" })).await.tokens();
            assert_eq!(merged.user, account.user);

            for access in [&sdk.access, &v1.access] {
                server.call(VIEW).bearer(access).send().await.assert_problem(401, "session-ended");
                let answer = server.call(PROFILE).bearer(access).send().await;
                answer.assert_client_error(401, Some("InvalidSession"), "invalid session: session not found");
                server.call(TRANSFER).bearer(access).send().await.assert_problem(401, "session-ended");
                server.call(END).bearer(access).send().await.assert_problem(401, "session-ended");
            }
            server.call(ROTATE).bearer(&v1.refresh).send().await.assert_problem(401, "session-ended");
            let answer = server.call(REFRESH).bearer(&sdk.refresh).send().await;
            let dead = "invalid session: failed to find refresh token";
            answer.assert_client_error(401, Some("InvalidSession"), dead);
            let cookie = server.cookie_token(&sdk);
            server.call(ROTATE).bearer(&cookie).send().await.assert_problem(401, "wrong-token");
            let used = server.call(CREATE).body(json!({ "provider": "transfer", "code": code }).to_string());
            used.send().await.assert_problem(401, "invalid-credential");
            link(server, &v1.access, "c", json!({})).await.assert_problem(401, "session-ended");
        })
        .await;
}

#[actix_web::test]
async fn a_merge_whose_answer_was_lost_can_be_asked_for_again_for_ten_minutes() {
    world()
        .serve(async |server| {
            let account = log_in_as(server, "a").await;
            log_in_as(server, "b").await;
            let guest = server.log_in_v1().await;
            let merge = json!({ "on_conflict": "merge" });
            server.clock.advance_s(1500);
            let first = link(server, &guest.access, "a", merge.clone()).await.tokens();
            // by now the token's own time is over too: its signature counts
            server.clock.advance_s(599);
            let again = link(server, &guest.access, "a", merge.clone()).await;
            assert_eq!(again.json()["merged_user_id"], guest.user);
            let again = again.tokens();
            assert_eq!(again.user, account.user);
            assert_ne!(again.refresh, first.refresh);
            view(server, &again.access).await;
            // a different person's credential, no credential, no merge
            link(server, &guest.access, "b", merge.clone()).await.assert_problem(401, "token-expired");
            link(server, &guest.access, "a", json!({})).await.assert_problem(401, "token-expired");
            server.clock.advance_s(1);
            link(server, &guest.access, "a", merge).await.assert_problem(401, "token-expired");
        })
        .await;
}

#[actix_web::test]
async fn a_link_whose_answer_was_lost_can_be_asked_for_again_for_ten_minutes() {
    world()
        .serve(async |server| {
            log_in_as(server, "other").await;
            let guest = server.log_in_v1().await;
            server.clock.advance_s(1500);
            let first = link(server, &guest.access, "a", json!({})).await.tokens();
            assert_eq!(first.user, guest.user);
            // by now the token's own time is over too: its signature counts
            server.clock.advance_s(599);
            for on_conflict in ["reject", "switch", "merge"] {
                let again = link(server, &guest.access, "a", json!({ "on_conflict": on_conflict })).await;
                assert_eq!((again.status, again.json().get("merged_user_id")), (200, None), "{again:?}");
                let again = again.tokens();
                assert_eq!(again.user, guest.user);
                let session = view(server, &again.access).await["session_id"].clone();
                assert_eq!(session, view(server, &first.access).await["session_id"], "the same session");
            }
            let named = json!({ "provider": "custom-token", "token": jwt("a") }).to_string();
            let named = server.call(IDENTITIES).bearer(&guest.access).header("idempotency-key", "1").body(named);
            let named = named.send().await.tokens();
            assert_eq!(server.call(ROTATE).bearer(&named.refresh).send().await.status, 200);

            // not without the proof, nor with a different one, nor as a dry run
            for (subject, more) in [
                ("b", json!({})),
                ("other", json!({})),
                ("other", json!({ "on_conflict": "switch" })),
                ("a", json!({ "dry_run": true })),
            ] {
                link(server, &guest.access, subject, more).await.assert_problem(401, "token-expired");
            }
            server.call(VIEW).bearer(&guest.access).send().await.assert_problem(401, "token-expired");
            server.call(ROTATE).bearer(&guest.refresh).send().await.assert_problem(401, "session-ended");
            server.clock.advance_s(1);
            link(server, &guest.access, "a", json!({})).await.assert_problem(401, "token-expired");

            // a session of an SDK goes on under its number; one that has ended since is not begun again
            let sdk = server.log_in().await;
            assert_eq!(link(server, &sdk.access, "c", json!({})).await.status, 200);
            server.call(VIEW).bearer(&sdk.access).send().await.assert_problem(401, "session-ended");
            let again = link(server, &sdk.access, "c", json!({})).await.tokens();
            assert_eq!(again.user, sdk.user);
            assert_eq!(server.call(END).bearer(&again.access).send().await.status, 204);
            link(server, &sdk.access, "c", json!({})).await.assert_problem(401, "session-ended");
        })
        .await;
}
