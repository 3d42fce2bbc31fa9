//! What the admin API shows of what is going on.

use passerby::admin::Role;
use passerby_actors::domain::{Family, ValueKey};
use serde_json::{Value, json};

use super::{ask, token};
use crate::accounts;
use crate::world::{CREATE, PROFILE, TestServer, World};

async fn get(server: &TestServer, token: &str, path: &str) -> Value {
    let answer = ask(server, &format!("GET /v1/admin/{path}")).bearer(token).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// A key to look with, which outlives days without use.
async fn key(server: &TestServer) -> String {
    let owner = token(server, "ada", Role::Owner).await;
    let body = json!({ "name": "a script", "role": "read" }).to_string();
    let answer = ask(server, "POST /v1/admin/keys").bearer(&owner).body(body).send().await;
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// The last minutes or days of one kind.
fn last<const N: usize>(overview: &Value, of: &str, kind: &str) -> [u64; N] {
    let numbers = overview[of]["series"][kind].as_array().unwrap();
    let numbers: Vec<u64> = numbers.iter().map(|number| number.as_u64().unwrap()).collect();
    numbers[numbers.len() - N..].try_into().unwrap()
}

#[actix_web::test]
async fn what_happens_is_counted_by_the_minute_and_by_the_day_over_a_restart() {
    let world = World::new().file("[meter.articles]\nlimit = 1\n");
    let server = world.start().await;
    let ada = key(&server).await;
    let user = server.log_in_v1().await;
    server.log_in().await;
    assert_eq!(server.call(PROFILE).bearer("nothing.of.ours").send().await.status, 401);
    for item in ["a", "b", "c"] {
        let body = json!({ "item": item }).to_string();
        let used = server.call("POST /v1/meters/articles").bearer(&user.access).body(body).send().await.json();
        assert_eq!(used["allowed"], item == "a");
    }
    let overview = get(&server, &ada, "overview").await;
    let now = &overview["now"];
    assert_eq!((&now["users"], &now["anonymous"], &now["accounts"]), (&json!(2), &json!(2), &json!(0)));
    assert!(now["memory_bytes"].as_u64().unwrap() > 1 << 20 && now["journal_bytes"].as_u64().unwrap() > 0, "{now}");
    assert_eq!((&overview["hour"]["step_s"], &overview["month"]["step_s"]), (&json!(60), &json!(86_400)));
    assert_eq!(overview["hour"]["series"]["new"].as_array().unwrap().len(), 60);
    assert_eq!(overview["month"]["series"]["new"].as_array().unwrap().len(), 30);
    for of in ["hour", "month"] {
        let of_kind = |kind| last::<2>(&overview, of, kind);
        assert_eq!((of_kind("new"), of_kind("logins"), of_kind("active_anonymous")), ([0, 2], [0, 2], [0, 2]), "{of}");
        assert_eq!(
            (of_kind("returning"), of_kind("came_back"), of_kind("meter_walls")),
            ([0, 0], [0, 0], [0, 2]),
            "{of}"
        );
        assert_eq!((of_kind("checks"), of_kind("refusals")), ([0, 3], [0, 1]), "{of}");
        assert_eq!(overview["refusals"][of], json!({ "unauthorized": 1 }));
    }
    let meters = get(&server, &ada, "meters").await;
    let expected = json!({ "name": "articles", "limit": 1, "window": "month", "time_zone": "UTC", "once": true,
        "merge": "sum", "walls": { "hour": 2, "month": 2 } });
    assert_eq!(meters, json!({ "meters": [expected] }));

    // an hour later the user is back, for the first time and on the same day; a day later once more
    server.clock.advance_s(3600);
    let access = server.call("POST /v1/session/refresh").bearer(&user.refresh).send().await.tokens().access;
    let overview = get(&server, &ada, "overview").await;
    assert_eq!((last(&overview, "hour", "returning"), last(&overview, "hour", "new")), ([1], [0]));
    assert_eq!(last::<1>(&overview, "month", "returning"), [0], "whoever was created today is new");
    assert_eq!((last(&overview, "month", "came_back"), last(&overview, "month", "active_anonymous")), ([1], [2]));
    server.clock.advance_s(86_400);
    assert_eq!(server.call("GET /v1/session").bearer(&access).send().await.status, 401);
    server.stop().await;

    let server = world.start().await;
    let overview = get(&server, &ada, "overview").await;
    assert_eq!(last::<2>(&overview, "month", "new"), [2, 0]);
    assert_eq!(
        (&overview["refusals"]["hour"], &overview["refusals"]["month"]),
        (&json!({}), &json!({ "unauthorized": 1, "token-expired": 1 }))
    );
    assert_eq!(overview["funnel"]["month"], json!({ "visitors": 2, "came_back": 1, "converted": 0 }));
    assert_eq!(server.call(CREATE).send().await.status, 201);
    assert_eq!(last::<2>(&get(&server, &ada, "overview").await, "month", "new"), [2, 1]);
    assert_eq!(get(&server, &ada, "meters").await["meters"][0]["walls"], json!({ "hour": 0, "month": 2 }));
    server.stop().await;
}

#[actix_web::test]
async fn who_becomes_an_account_is_counted_once() {
    accounts::world()
        .serve(async |server| {
            let ada = key(server).await;
            // two become accounts: one links, one becomes part of an account that was there
            let (links, merges) = (server.log_in_v1().await, server.log_in_v1().await);
            let account = accounts::log_in_as(server, "bob").await;
            let join = async |token: &str, subject: &str| {
                let body =
                    json!({ "provider": "custom-token", "token": accounts::jwt(subject), "on_conflict": "merge" });
                let answer = server.call("POST /v1/user/identities").bearer(token).body(body.to_string()).send().await;
                assert!(matches!(answer.status, 200 | 201), "{answer:?}");
            };
            join(&links.access, "carol").await;
            join(&merges.access, "bob").await;
            let overview = get(server, &ada, "overview").await;
            assert_eq!((last(&overview, "hour", "converted"), last(&overview, "hour", "new")), ([2], [2]));
            assert_eq!(last::<1>(&overview, "hour", "logins"), [3], "and one by an identity");
            let now = &overview["now"];
            assert_eq!((&now["users"], &now["accounts"], &now["anonymous"]), (&json!(2), &json!(2), &json!(0)));
            assert_eq!(server.call("DELETE /v1/user").bearer(&account.access).send().await.status, 204);
            assert_eq!(server.metric("passerby_accounts").await, 1);
        })
        .await;
}

#[actix_web::test]
async fn days_are_stored_now_and_then_and_those_that_are_over_are_dropped() {
    let world = World::new();
    let server = world.start().await;
    let ada = key(&server).await;
    let days = || server.handle().own_count(Family::STATS);
    for _ in 0..2 {
        server.log_in().await;
        get(&server, &ada, "overview").await;
        server.server.stats.save(&server.handle()).await.unwrap();
        server.clock.advance_s(86_400);
    }
    assert_eq!(days(), 2);
    server.server.stats.save(&server.handle()).await.unwrap();
    server.clock.advance_s(29 * 86_400);
    server.log_in().await;
    get(&server, &ada, "overview").await;
    server.server.stats.save(&server.handle()).await.unwrap();
    assert_eq!(days(), 1, "the two are over");
    server.stop().await;
    // what a later version wrote is left as it is
    let server = world.start().await;
    let listing = passerby_actors::domain::Listing { family: Family::STATS, after: None, last_first: false, most: 9 };
    let (key, seen) = server.handle().own_values(&listing).remove(0);
    let later = passerby_actors::domain::Rewrite::Put(Box::new(*b"\x02x"));
    let change = passerby_actors::handle::OwnChange { key: key.clone(), seen: Some(seen), change: later };
    server.handle().change_own(vec![change]).await.unwrap();
    server.stop().await;
    let server = world.start().await;
    server.log_in().await;
    server.stop().await;
    let server = world.start().await;
    let ValueKey { family, key } = key;
    assert_eq!(server.handle().own_value(family, &key).as_deref(), Some(&b"\x02x"[..]));
    server.stop().await;
}
