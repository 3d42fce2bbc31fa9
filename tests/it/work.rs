//! Proofs of work (S35): what a network may still do when its budget is used up, and the end of that.

use altcha::{Challenge, Payload, SolveChallengeOptions, solve_challenge};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{Answer, CREATE, LOGIN, TestServer, World};

const HERE: &str = "203.0.113.9";
const CHALLENGE: &str = "GET /v1/challenge";

/// A server whose networks may make two users and try one identity, and not soon any more.
fn world() -> World {
    World::new()
        .set("trusted_proxies", "127.0.0.0/8")
        .set("budget.create", "1")
        .set("budget.create_burst", "2")
        .set("budget.link", "1")
        .set("budget.link_burst", "1")
        .set("budget.work", "1")
        .set("budget.work_burst", "4")
}

async fn create(server: &TestServer, client: &str, body: Value) -> Answer {
    server.call(CREATE).header("x-forwarded-for", client).body(body.to_string()).send().await
}

async fn ask(server: &TestServer, client: &str) -> Answer {
    server.call(CHALLENGE).header("x-forwarded-for", client).send().await
}

/// The proof for a new challenge.
async fn proof(server: &TestServer, client: &str) -> String {
    let answer = ask(server, client).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")), "{answer:?}");
    let challenge: Challenge = serde_json::from_slice(&answer.body).unwrap();
    let solution = solve_challenge(SolveChallengeOptions::new(&challenge)).unwrap().unwrap();
    STANDARD.encode(serde_json::to_vec(&Payload { challenge, solution }).unwrap())
}

/// S35: soft limit, work, hard limit.
#[actix_web::test]
async fn beyond_the_budget_a_proof_of_work_creates_a_user_until_the_budget_of_proofs_is_used_up_too() {
    world()
        .serve(async |server| {
            for body in [json!({}), json!({ "altcha": "not even looked at while there is a budget" })] {
                assert_eq!(create(server, HERE, body).await.status, 201);
            }
            let over = create(server, HERE, json!({})).await;
            over.assert_problem(429, "work-needed");
            assert_eq!(over.header("retry-after"), Some("60"));

            let first = proof(server, HERE).await;
            create(server, "203.0.113.10", json!({})).await;
            create(server, "203.0.113.10", json!({})).await;
            let refused = create(server, "203.0.113.10", json!({ "altcha": first })).await;
            refused.assert_problem(429, "work-needed");
            assert!(
                refused.json_as("application/problem+json")["detail"]
                    .as_str()
                    .unwrap()
                    .contains("a different network's"),
                "{refused:?}"
            );
            assert_eq!(create(server, HERE, json!({ "altcha": first })).await.status, 201);
            create(server, HERE, json!({ "altcha": first })).await.assert_problem(429, "work-needed");
            create(server, HERE, json!({ "altcha": "7" })).await.assert_problem(429, "work-needed");
            create(server, HERE, json!({ "altcha": 7 })).await.assert_problem(400, "bad-field");

            // readers' cookies too, lazy ones among them
            let body = json!({ "mode": "cookie", "altcha": proof(server, HERE).await });
            let call = server.call(CREATE).header("x-forwarded-for", HERE).header("sec-fetch-site", "same-origin");
            assert_eq!(call.body(body.to_string()).send().await.status, 201);

            let late = proof(server, HERE).await;
            server.clock.advance_s(301);
            for _ in 0..2 {
                assert_eq!(create(server, HERE, json!({})).await.status, 201, "the budget has filled up");
            }
            let late = create(server, HERE, json!({ "altcha": late })).await;
            late.assert_problem(429, "challenge-expired");
            let detail = late.json_as("application/problem+json")["detail"].clone();
            assert!(
                detail.as_str().unwrap().starts_with("the challenge has expired: it is good for 300 s"),
                "{detail}"
            );

            for _ in 0..4 {
                assert_eq!(ask(server, HERE).await.status, 200);
            }
            let over = ask(server, HERE).await;
            over.assert_problem(429, "over-budget");
            assert!(over.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|s| s > 0)));
            assert_eq!(ask(server, "203.0.113.10").await.status, 200, "others have their own");
            assert_eq!(server.metric("passerby_challenges_made_total").await, 8);
            assert_eq!(server.metric("passerby_proofs_taken_total").await, 2);
            assert_eq!(server.metric("passerby_proofs_refused_total").await, 4);
            assert_eq!(server.metric("passerby_over_budget_challenges_total").await, 1);
            assert_eq!(server.server.store.users(), 8);
        })
        .await;
}

/// A client may have solved its challenge long ago when a server that stood still goes on.
#[actix_web::test]
async fn a_stall_of_the_server_makes_no_proof_late() {
    world()
        .serve(async |server| {
            let proof = proof(server, HERE).await;
            server.clock.stand_still_s(600);
            server.clock.advance_s(299);
            for _ in 0..2 {
                assert_eq!(create(server, HERE, json!({})).await.status, 201);
            }
            create(server, HERE, json!({})).await.assert_problem(429, "work-needed");
            assert_eq!(create(server, HERE, json!({ "altcha": proof })).await.status, 201);
        })
        .await;
}

/// The same for identities; SDKs know of no work, so on their path the soft limit is the hard one.
#[actix_web::test]
async fn trying_identities_goes_on_for_work_and_sdks_are_asked_to_wait() {
    world()
        .file("[provider.api_key]\nenabled = true\n")
        .serve(async |server| {
            let key = |proof: &str| json!({ "provider": "api-key", "key": "a".repeat(64), "altcha": proof });
            create(server, HERE, key("")).await.assert_problem(401, "invalid-credential");
            create(server, HERE, key("")).await.assert_problem(429, "work-needed");
            let proof = proof(server, HERE).await;
            create(server, HERE, key(&proof)).await.assert_problem(401, "invalid-credential");
            create(server, HERE, key(&proof)).await.assert_problem(429, "work-needed");

            let login = async || server.call(LOGIN).header("x-forwarded-for", HERE).send().await;
            assert_eq!((login().await.status, login().await.status), (200, 200));
            let text = "too many of these: come back in 60 s";
            login().await.assert_client_error(429, Some("TooManyRequests"), text);
        })
        .await;
}
