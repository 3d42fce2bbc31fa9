//! Networks by the admin API: their budgets, blocks, and what goes on all the same.

use passerby::admin::{By, NetworkBlock, Role};
use passerby_actors::domain::{Clock as _, Family};
use serde_json::{Value, json};

use super::{ask, audit, token};
use crate::readers::Jar;
use crate::world::{Answer, CREATE, LOGIN, REFRESH, TestServer, VIEW, World};

const VERIFY: &str = "GET /verify?create=auto";

fn world() -> World {
    World::new().set("trusted_proxies", "127.0.0.1").set("public_url", "https://id.news.example")
}

async fn post(server: &TestServer, token: &str, path: &str, body: Value) -> Answer {
    ask(server, &format!("POST /v1/admin/networks/{path}")).bearer(token).body(body.to_string()).send().await
}

async fn networks(server: &TestServer, token: &str, query: &str) -> Value {
    let answer = ask(server, &format!("GET /v1/admin/networks{query}")).bearer(token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

async fn from(server: &TestServer, address: &str, what: &str) -> Answer {
    server.call(what).header("x-forwarded-for", address).send().await
}

#[actix_web::test]
async fn newcomers_and_logins_of_a_blocked_network_are_refused_and_known_readers_go_on() {
    let world = world();
    let server = world.start().await;
    let ada = token(&server, "ada", Role::Operate).await;
    let known = from(&server, "192.0.2.7", CREATE).await.tokens();
    // a reader who came twice is stored, and one who came once is not
    let (mut twice, mut once) = (Jar::default(), Jar::default());
    for (jar, visits) in [(&mut twice, 2), (&mut once, 1)] {
        for _ in 0..visits {
            let visit = jar.sent(server.call(VERIFY)).header("x-forwarded-for", "192.0.2.7").send().await;
            assert!(jar.keep(&visit), "{visit:?}");
        }
    }

    let reason = json!({ "network": "192.0.2.9/24", "reason": "a flood" });
    let blocked = post(&server, &ada, "block", reason).await;
    assert_eq!(blocked.status, 201, "{blocked:?}");
    let blocked = blocked.json();
    assert_eq!(
        (&blocked["network"], &blocked["until"], &blocked["by"]),
        (&json!("192.0.2.0/24"), &Value::Null, &json!("ada"))
    );

    let is_refused = async |server: &TestServer| {
        from(server, "192.0.2.7", CREATE).await.assert_problem(403, "network-blocked");
        from(server, "192.0.2.8", LOGIN).await.assert_client_error(
            403,
            Some("NetworkBlocked"),
            "this network is blocked",
        );
        from(server, "192.0.2.8", "GET /v1/challenge").await.assert_problem(403, "network-blocked");
        let visit = from(server, "192.0.2.8", VERIFY).await;
        assert_eq!((visit.status, visit.header("x-passerby-reason")), (403, Some("network-blocked")));
        // nobody is created by a second visit, and a reader goes on
        for (jar, status) in [(&once, 403), (&twice, 204)] {
            let visit = jar.sent(server.call(VERIFY)).header("x-forwarded-for", "192.0.2.8").send().await;
            assert_eq!(visit.status, status, "{visit:?}");
        }
    };
    is_refused(&server).await;
    for what in [CREATE, LOGIN, VERIFY] {
        let elsewhere = from(&server, "198.51.100.7", what).await;
        assert!(matches!(elsewhere.status, 200 | 201 | 204), "{what}: {elsewhere:?}");
    }
    // whoever has a session goes on
    let view = server.call(VIEW).header("x-forwarded-for", "192.0.2.7").bearer(&known.access).send().await;
    assert_eq!(view.status, 200);
    let refreshed =
        server.call("POST /v1/session/refresh").header("x-forwarded-for", "192.0.2.7").bearer(&known.refresh);
    assert_eq!(refreshed.send().await.status, 200);
    assert!(server.metric("passerby_network_blocked_total").await >= 5);
    server.stop().await;

    // and so it is after a restart
    let server = world.start().await;
    is_refused(&server).await;
    let shown = networks(&server, &ada, "?network=192.0.2.7").await;
    assert_eq!((&shown["blocked"][0], &shown["networks"][0]["blocked"]), (&blocked, &blocked));
    assert_eq!(shown["networks"][1]["network"], "192.0.2.0/24");

    // the block of a wider one is not lifted with an address
    let lifted = post(&server, &ada, "lift", json!({ "network": "192.0.2.7" })).await.json();
    assert_eq!((&lifted["lifted"], &lifted["blocked"]["network"]), (&json!(false), &json!("192.0.2.0/24")));
    is_refused(&server).await;
    let lifted = post(&server, &ada, "lift", json!({ "network": "192.0.2.0/24" })).await.json();
    assert_eq!(lifted, json!({ "network": "192.0.2.0/24", "lifted": true, "blocked": null }));
    assert_eq!(from(&server, "192.0.2.7", CREATE).await.status, 201);

    let entries = audit(&server, &ada, "&what=network").await;
    let told: Vec<_> = entries.iter().map(|entry| (&entry["what"], &entry["whom"])).collect();
    let entry = |what: &str, whom: &str| (json!(format!("network.{what}")), json!(whom));
    let expected = [entry("lift", "192.0.2.0/24"), entry("lift", "192.0.2.7/32"), entry("block", "192.0.2.0/24")];
    assert_eq!(told, expected.iter().map(|(what, whom)| (what, whom)).collect::<Vec<_>>());
    assert_eq!((&entries[2]["reason"], &entries[0]["before"]["reason"]), (&json!("a flood"), &json!("a flood")));
    server.stop().await;
}

#[actix_web::test]
async fn a_block_ends_by_itself_and_what_cannot_be_one_is_refused() {
    let world = world();
    let server = world.start().await;
    let ada = token(&server, "ada", Role::Operate).await;
    for wrong in ["two\nlines", "\u{7}", &"x".repeat(201)] {
        let body = json!({ "network": "192.0.2.7", "reason": wrong });
        post(&server, &ada, "block", body).await.assert_problem(400, "bad-field");
    }
    let until = jiff::Timestamp::from_millisecond(i64::try_from(server.clock.wall_ms()).unwrap() + 60_000).unwrap();
    let body = json!({ "network": "2001:db8:1:2:3::4", "until": until.to_string() });
    assert_eq!(post(&server, &ada, "block", body).await.json()["network"], "2001:db8:1:2::/64");
    from(&server, "2001:db8:1:2::99", CREATE).await.assert_problem(403, "network-blocked");
    server.clock.advance_s(60);
    assert_eq!(from(&server, "2001:db8:1:2::99", CREATE).await.status, 201);
    assert_eq!(networks(&server, &ada, "").await["blocked"], json!([]));
    assert_eq!(server.handle().own_count(Family::NETWORK), 1);
    server.server.admins.drop_ended_blocks(&server.handle()).await.unwrap();
    assert_eq!(server.handle().own_count(Family::NETWORK), 0);

    for body in [
        json!({}),
        json!({ "network": "here" }),
        json!({ "network": "127.0.0.1" }),
        json!({ "network": "0.0.0.0/0" }),
        json!({ "network": "192.0.2.1", "until": "2001-01-01T00:00:00Z" }),
        json!({ "network": "192.0.2.1", "until": 5 }),
        json!({ "network": "192.0.2.1", "reason": "x".repeat(201) }),
    ] {
        post(&server, &ada, "block", body).await.assert_problem(400, "bad-field");
    }
    for query in ["limit=0", "limit=501", "network=here", "networks=1"] {
        let answer = ask(&server, &format!("GET /v1/admin/networks?{query}")).bearer(&ada).send().await;
        answer.assert_problem(400, "bad-query");
    }
    server.stop().await;
}

#[actix_web::test]
async fn a_change_whose_outcome_was_not_known_in_time_is_in_force_soon() {
    world()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let until =
                jiff::Timestamp::from_millisecond(i64::try_from(server.clock.wall_ms()).unwrap() + 60_000).unwrap();
            post(server, &ada, "block", json!({ "network": "192.0.2.7", "until": until.to_string() })).await;
            // anew and without an end, stored behind the back of whoever asked
            let by = By { who: "ada".to_owned(), role: None, address: None };
            let block = NetworkBlock { until_ms: None, reason: None, by: "ada".to_owned(), at_ms: 1 };
            let (admins, handle) = (&server.server.admins, server.handle());
            admins.block(&handle, "192.0.2.7/32".parse().unwrap(), &block, &by).await.unwrap();
            server.clock.advance_s(60);
            assert_eq!(from(server, "192.0.2.7", CREATE).await.status, 201, "the first end is still in force");
            admins.enforce_other_blocks(&handle, server.server.budgets.blocks());
            from(server, "192.0.2.7", CREATE).await.assert_problem(403, "network-blocked");
        })
        .await;
}

#[actix_web::test]
async fn what_a_network_has_spent_is_shown_and_given_back() {
    world()
        .set("budget.create", "1")
        .set("budget.create_burst", "2")
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            assert_eq!(networks(server, &ada, "").await["networks"], json!([]));
            for status in [200, 200, 429] {
                assert_eq!(from(server, "192.0.2.7", LOGIN).await.status, status);
            }
            assert_eq!(from(server, "198.51.100.7", LOGIN).await.status, 200);
            let shown = networks(server, &ada, "?limit=2").await;
            let first = &shown["networks"][0];
            assert_eq!((&first["network"], &first["blocked"]), (&json!("192.0.2.7/32"), &Value::Null));
            assert_eq!(first["budget"]["create"], json!({ "burst": 2, "left": 0, "spent": 2 }));
            assert_eq!(shown["networks"][1]["network"], "198.51.100.7/32");
            assert_eq!(shown["networks"].as_array().unwrap().len(), 2);
            let lifted = post(server, &ada, "lift", json!({ "network": "192.0.2.7" })).await.json();
            assert_eq!(lifted["lifted"], false, "there was no block");
            let one = networks(server, &ada, "?network=192.0.2.7").await;
            assert_eq!(one["networks"][0]["budget"]["create"]["spent"], 0);
            let wider = networks(server, &ada, "?network=192.0.2.0/24").await;
            assert_eq!(
                (&wider["networks"][0]["network"], &wider["networks"][1]),
                (&json!("192.0.2.0/24"), &Value::Null)
            );
            let user = from(server, "192.0.2.7", LOGIN).await;
            assert_eq!(user.status, 200);
            assert_eq!(server.call(REFRESH).bearer(&user.tokens().refresh).send().await.status, 201);
        })
        .await;
}
