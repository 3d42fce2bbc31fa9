//! A few must not keep many out: what floods from one network leave for all others (S35).

use std::cell::Cell;

use futures_util::future::join_all;
use passerby_actors::testkit::faulty::Mode;
use serde_json::json;

use crate::accounts::{self, jwt};
use crate::data::{hears, says};
use crate::readers::{AUTO, Jar};
use crate::world::{Answer, CREATE, END, LOGIN, LOGOUT, REFRESH, ROTATE, TestServer, Tokens, World, client};

/// The login of a password on `/v1`.
fn credential(email: &str, password: &str) -> String {
    json!({ "provider": "local-userpass", "email": email, "password": password }).to_string()
}

async fn from(server: &TestServer, what: &str, client: &str, body: String) -> Answer {
    server.call(what).header("x-forwarded-for", client).body(body).send().await
}

/// S35: one /48 that guesses as fast as it can fills no queue and no budget of those elsewhere. Those of its own block
/// work for their place, or wait where no work is known.
#[actix_web::test]
async fn the_right_password_gets_in_while_one_block_floods_the_hashing() {
    World::new()
        .file("[provider.local_userpass]\nconfig = { autoConfirm = true }\n")
        .set("trusted_proxies", "127.0.0.0/8")
        .set("budget.link_burst", "60")
        .serve(async |server| {
            let home = "192.0.2.1";
            let register = json!({ "email": "a@example.test", "password": "the right one" }).to_string();
            assert_eq!(from(server, "POST /v1/registrations", home, register).await.status, 202);
            assert_eq!(from(server, CREATE, home, credential("a@example.test", "the right one")).await.status, 201);

            let (asked, stop) = (Cell::new(0_u32), Cell::new(false));
            let statuses: [Cell<u32>; 600] = std::array::from_fn(|_| Cell::new(0));
            let bot = async || {
                while !stop.get() {
                    let number = asked.get();
                    asked.set(number + 1);
                    let address = format!("2001:db8:77:{number:x}::1");
                    let body = credential(&format!("{number}@example.test"), "a wrong one");
                    let answer = from(server, CREATE, &address, body).await;
                    let status = &statuses[usize::from(answer.status)];
                    status.set(status.get() + 1);
                    if answer.status == 429 {
                        answer.assert_problem(429, "work-needed");
                    }
                }
            };
            let reader = async {
                // as soon as the flood has half of the queue
                while server.metric("passerby_password_work_wanted_total").await == 0 {}
                let login = LOGIN.replace("anon-user", "local-userpass");
                let body = json!({ "username": "b@example.test", "password": "x" }).to_string();
                // a place may just have become free
                let mut own = from(server, &login, "2001:db8:77:ffff::1", body.clone()).await;
                while own.status == 401 {
                    own = from(server, &login, "2001:db8:77:ffff::1", body.clone()).await;
                }
                let text = "too many passwords are waiting to be hashed: come back in 1 s";
                own.assert_client_error(429, Some("TooManyRequests"), text);
                for client in ["192.0.2.1", "198.51.100.1", "2001:db8:1::1", "192.0.2.200"] {
                    let right = from(server, CREATE, client, credential("a@example.test", "the right one")).await;
                    assert_eq!(right.status, 201, "{client}: {right:?}");
                }
                stop.set(true);
            };
            futures_util::future::join(reader, join_all((0..100).map(|_| bot()))).await;
            let count = |status: usize| statuses[status].get();
            assert!(count(401) > 0 && count(429) > 0, "{} wrong, {} asked to work", count(401), count(429));
            assert_eq!(count(401) + count(429), asked.get(), "and nothing else");
        })
        .await;
}

/// S35: logouts of readers who were never stored are kept as long as their cookies are good, but not without bound; and an operator
/// sees each bound.
#[actix_web::test]
async fn logouts_of_lazy_readers_fill_no_memory_and_the_operator_sees_every_bound() {
    World::new()
        .set("max_users", "80")
        .serve(async |server| {
            for _ in 0..100 {
                let mut jar = Jar::default();
                jar.visit(server, AUTO).await;
                let leave = jar.sent(server.call(END)).header("sec-fetch-site", "same-origin").send().await;
                assert_eq!((leave.status, jar.keep(&leave)), (204, true), "the browser forgets it all the same");
            }
            assert_eq!(server.metric(r#"passerby_keys{family="ended-ids"}"#).await, 10);
            assert_eq!(server.metric(r#"passerby_bound_used{bound="ended-ids"}"#).await, 10);
            assert_eq!(server.metric(r#"passerby_bound_limit{bound="ended-ids"}"#).await, 10);
            assert_eq!(server.metric(r#"passerby_bound_percent{bound="ended-ids"}"#).await, 100);
            assert_eq!(server.metric(r#"passerby_keys{family="users"}"#).await, 0);

            let ready = server.ask_admin("GET /readyz").await;
            assert_eq!((ready.status, ready.json()["status"].as_str()), (200, Some("ready")));
            assert_eq!(ready.json()["reasons"], json!(["ended-ids-full"]));
            for _ in 0..72 {
                server.log_in_v1().await;
            }
            let reasons = server.ask_admin("GET /readyz").await.json()["reasons"].clone();
            assert_eq!(reasons, json!(["users-nearly-full", "names-nearly-full", "ended-ids-full"]));
            for _ in 0..8 {
                server.log_in_v1().await;
            }
            server.call(CREATE).send().await.assert_problem(503, "capacity");
            let reasons = server.ask_admin("GET /readyz").await.json()["reasons"].clone();
            assert_eq!(reasons, json!(["users-full", "names-full", "ended-ids-full"]));
        })
        .await;
}

fn share() -> World {
    World::new()
        .set("trusted_proxies", "127.0.0.0/8")
        .set("max_users", "1000")
        .set("data.max_bytes", "100000")
        .set("budget.create_burst", "10000")
}

/// S35: one block has a small part of the users who were created and never came back, however long it takes and whatever it works;
/// those who come back are no longer counted.
#[actix_web::test]
async fn one_block_cannot_fill_the_server_with_users_who_never_come_back() {
    share()
        .serve(async |server| {
            let mut made = Vec::new();
            for number in 0..200 {
                let address = format!("2001:db8:77:{number:x}::1");
                let answer = from(server, CREATE, &address, String::new()).await;
                match answer.status {
                    201 => made.push((address, answer.tokens())),
                    _ => answer.assert_problem(429, "over-budget"),
                }
            }
            assert_eq!(made.len(), 50, "5 % of max_users");
            assert_eq!(server.metric("passerby_over_share_users_total").await, 150);
            let login = from(server, LOGIN, "2001:db8:77::1", String::new()).await;
            let text = "too many users of this network were created and never came back: come back in 3600 s";
            login.assert_client_error(429, Some("TooManyRequests"), text);
            assert_eq!(from(server, CREATE, "2001:db8:78::1", String::new()).await.status, 201, "others have theirs");

            let one_more = async || {
                for expected in [201, 429] {
                    assert_eq!(from(server, CREATE, "2001:db8:77:1::1", String::new()).await.status, expected);
                }
            };
            let (address, tokens) = &made[1];
            let gone = server.call(END).bearer(&tokens.access).header("x-forwarded-for", address).send().await;
            assert_eq!(gone.status, 204);
            one_more().await;
            let (address, tokens) = &made[0];
            server.clock.advance_s(3600);
            let rotated = server.call(ROTATE).bearer(&tokens.refresh).header("x-forwarded-for", address).send().await;
            assert_eq!(rotated.status, 200);
            one_more().await;
        })
        .await;
}

/// How many anonymous users a network can still create: it is asked to wait then.
async fn room(server: &TestServer, client: &str) -> usize {
    for made in 0.. {
        let answer = from(server, CREATE, client, String::new()).await;
        if answer.status != 201 {
            answer.assert_problem(429, "over-budget");
            return made;
        }
    }
    unreachable!("there is a bound")
}

/// S35: a user who comes back, or goes, gives their room back once, also where they come back by the very request by which they go, or by
/// many at once.
#[actix_web::test]
async fn a_user_gives_back_the_room_of_one_and_no_more() {
    share()
        .serve(async |server| {
            let home = "192.0.2.1";
            let mut made = Vec::new();
            for _ in 0..3 {
                made.push(from(server, LOGIN, home, String::new()).await.tokens());
            }
            let mut jar = Jar::default();
            for _ in 0..2 {
                let answer = jar.sent(server.call(AUTO)).header("x-forwarded-for", home).send().await;
                jar.keep(&answer);
            }
            // a reader who keeps the lazy cookie, because the answer with the next one was lost
            let mut lazy = Jar::default();
            lazy.visit(server, AUTO).await;
            let visit = || lazy.sent(server.call(AUTO)).header("x-forwarded-for", home).send();
            assert_eq!(visit().await.status, 204);
            // a user who stays on a socket
            let stays = from(server, CREATE, home, String::new()).await.tokens();
            let socket = client().ws(format!("http://{}/v1/socket", server.address)).protocols(["passerby.v1"]);
            let socket = socket.header("authorization", format!("Bearer {}", stays.access));
            let (_, mut socket) = socket.header("x-forwarded-for", home).connect().await.unwrap();
            assert_eq!(hears(&mut socket).await["type"], "hello");
            assert_eq!(room(server, home).await, 25 - 6, "2.5 % of max_users");
            let by = |what: &str, tokens: &Tokens| {
                server.call(what).bearer(&tokens.refresh).header("x-forwarded-for", home).send()
            };
            // gone at once
            assert_eq!(by(LOGOUT, &made[0]).await.status, 204);
            assert_eq!(room(server, home).await, 1);
            server.clock.advance_s(3600);
            // back, and gone by the same request
            assert_eq!(by(LOGOUT, &made[1]).await.status, 204);
            assert_eq!(room(server, home).await, 1);
            // back by many requests at once, and gone later
            for answer in join_all((0..20).map(|_| by(REFRESH, &made[2]))).await {
                assert_eq!(answer.status, 201);
            }
            assert_eq!(room(server, home).await, 1);
            assert_eq!(by(LOGOUT, &made[2]).await.status, 204);
            assert_eq!(room(server, home).await, 0);
            for _ in 0..2 {
                assert_eq!(visit().await.status, 204);
            }
            assert_eq!(room(server, home).await, 1);
            for _ in 0..2 {
                says(&mut socket, json!({ "type": "get", "id": "a-look-at-the-data" })).await;
                assert_eq!(hears(&mut socket).await["id"], "a-look-at-the-data");
            }
            assert_eq!(room(server, home).await, 1);
            // of a reader the id is kept, in the room of eight: there was no more than that of one
            let leave = jar.sent(server.call(END)).header("x-forwarded-for", home);
            assert_eq!(leave.header("sec-fetch-site", "same-origin").send().await.status, 204);
            assert_eq!(room(server, home).await, 1);
        })
        .await;
}

/// S35: it is the user who takes room, and not a session: one of several that ends gives nothing back and keeps no id, and the last one
/// does both, however it is ended.
#[actix_web::test]
async fn the_last_session_of_a_user_gives_the_room_back_and_no_other() {
    share()
        .serve(async |server| {
            let home = "192.0.2.1";
            let by = |what: &str, tokens: &Tokens| {
                server.call(what).bearer(&tokens.access).header("x-forwarded-for", home).send()
            };
            let mut jar = Jar::default();
            for _ in 0..2 {
                let answer = jar.sent(server.call(AUTO)).header("x-forwarded-for", home).send().await;
                jar.keep(&answer);
            }
            let own = |what: &str| {
                let call = jar.sent(server.call(what)).header("x-forwarded-for", home);
                call.header("sec-fetch-site", "same-origin").send()
            };
            let code = own("POST /v1/session/transfer").await.json();
            let code = json!({ "provider": "transfer", "code": code["code"] });
            from(server, CREATE, home, code.to_string()).await.tokens();
            let alone = from(server, CREATE, home, String::new()).await.tokens();
            assert_eq!(room(server, home).await, 25 - 2);
            assert_eq!(own(END).await.status, 204);
            assert_eq!(by("GET /v1/session", &alone).await.status, 200);
            assert_eq!(room(server, home).await, 0);
            let listed = by("GET /v1/user/sessions", &alone).await.json();
            let id = listed["sessions"][0]["session_id"].as_str().unwrap().to_owned();
            assert_eq!(by(&format!("DELETE /v1/user/sessions/{id}"), &alone).await.status, 204);
            assert_eq!(room(server, home).await, 1);
        })
        .await;
}

/// S35: a token that was refreshed, or a login at an account that a visit became part of, are no reasons to be counted for the whole window.
#[actix_web::test]
async fn a_user_who_refreshes_or_joins_an_account_gives_back_the_room_of_one() {
    accounts::world()
        .set("trusted_proxies", "127.0.0.0/8")
        .set("max_users", "1000")
        .set("budget.create_burst", "10000")
        .serve(async |server| {
            let home = "192.0.2.1";
            accounts::log_in_as(server, "known").await;
            let rotates = from(server, CREATE, home, String::new()).await.tokens();
            let merges = from(server, CREATE, home, String::new()).await.tokens();
            assert_eq!(room(server, home).await, 25 - 2);
            let body = json!({ "provider": "custom-token", "token": jwt("known"), "on_conflict": "merge" }).to_string();
            let merge = server.call("POST /v1/user/identities").bearer(&merges.access).header("x-forwarded-for", home);
            let merged = merge.body(body).send().await;
            assert_eq!(merged.status, 200, "{merged:?}");
            assert_eq!(room(server, home).await, 1);
            let rotate = async |refresh: &str| {
                let answer = server.call(ROTATE).bearer(refresh).header("x-forwarded-for", home).send().await;
                assert_eq!(answer.status, 200, "{answer:?}");
                answer.tokens().refresh
            };
            server.clock.advance_s(1800);
            let next = rotate(&rotates.refresh).await;
            assert_eq!(room(server, home).await, 0, "half an hour is no return");
            server.clock.advance_s(1800);
            rotate(&next).await;
            assert_eq!(room(server, home).await, 1);
        })
        .await;
}

/// S35: a name takes the room of eight users of its network until its account comes back: a network whose people register and go on
/// using what they registered is never locked out.
#[actix_web::test]
async fn a_name_that_is_in_use_takes_no_share_of_its_network() {
    share()
        .file("[provider.local_userpass]\nconfig = { autoConfirm = true }\n")
        .set("max_users", "4000")
        .set("budget.link_burst", "10000")
        .serve(async |server| {
            let home = "192.0.2.1";
            let mut accounts = Vec::new();
            for number in 0..12 {
                let name = format!("{number}@example.test");
                let body = json!({ "email": name, "password": "the right one" }).to_string();
                assert_eq!(from(server, "POST /v1/registrations", home, body).await.status, 202);
                if number < 3 {
                    let login = credential(&name, "the right one");
                    accounts.push(from(server, CREATE, home, login).await.tokens());
                }
            }
            assert_eq!(room(server, home).await, 100 - 12 * 8, "2.5 % of max_users");
            server.clock.advance_s(3600);
            let rotate =
                |tokens: &Tokens| server.call(ROTATE).bearer(&tokens.refresh).header("x-forwarded-for", home).send();
            for answer in join_all((0..2).map(|_| rotate(&accounts[0]))).await {
                assert_eq!(answer.status, 200);
            }
            assert_eq!(room(server, home).await, 8);
            // by a new login, and by whatever comes first with its token
            let again = from(server, CREATE, home, credential("1@example.test", "the right one")).await.tokens();
            let look = server.call("GET /v1/session").bearer(&again.access).header("x-forwarded-for", home);
            assert_eq!(look.send().await.status, 200);
            assert_eq!(room(server, home).await, 8);
            server.clock.advance_s(86_400);
            let look = from(server, CREATE, home, credential("1@example.test", "the right one")).await.tokens();
            assert_eq!(rotate(&look).await.status, 200);
            assert_eq!(room(server, home).await, 0, "once");
        })
        .await;
}

/// S35: what was refused, or could not be stored, takes nothing of the network's share of users.
#[actix_web::test]
async fn what_is_not_stored_takes_no_share_of_the_users() {
    let register_app = "POST /api/client/v2.0/app/passerby/auth/providers/local-userpass/register";
    share()
        .file("[provider.local_userpass]\nconfig = { autoConfirm = true }\n")
        .set("max_users", "4000")
        .set("budget.link_burst", "10000")
        .serve(async |server| {
            let home = "192.0.2.1";
            let named = |name: &str, password: &str| json!({ "email": name, "password": password }).to_string();
            assert_eq!(from(server, register_app, home, named("a", "the right one")).await.status, 201);
            for _ in 0..10 {
                for what in [register_app, "POST /v1/registrations"] {
                    assert_eq!(from(server, what, home, named("b", "x")).await.status, 400, "{what}: too short");
                    assert_eq!(
                        from(server, what, home, named("", "the right one")).await.status,
                        400,
                        "{what}: no name"
                    );
                }
                let taken = from(server, register_app, home, named("a", "another one")).await;
                assert_eq!(taken.status, 409, "{taken:?}");
                let taken = from(server, "POST /v1/registrations", home, named("a", "another one")).await;
                assert_eq!(taken.status, 202, "{taken:?}");
            }

            let mut jar = Jar::default();
            jar.visit(server, AUTO).await;
            server.disk.set(Mode::SyncsFail);
            assert_eq!(from(server, LOGIN, home, String::new()).await.status, 503, "perhaps stored");
            for _ in 0..100 {
                assert_eq!(from(server, LOGIN, home, String::new()).await.status, 503);
                from(server, CREATE, home, String::new()).await.assert_problem(503, "not-writable");
                let cookie = json!({ "mode": "cookie" }).to_string();
                let create = jar.sent(server.call(CREATE)).header("x-forwarded-for", home);
                let create = create.header("sec-fetch-site", "same-origin").body(cookie).send().await;
                create.assert_problem(503, "not-writable");
                let visit = jar.sent(server.call(AUTO)).header("x-forwarded-for", home).send().await;
                assert!(visit.status == 503 || visit.status == 204, "{visit:?}");
            }
            server.heal().await;

            // 2.5 % of max_users are 100: 8 are the name's, and 1 may be of the login whose outcome is unknown
            for left in (0..92).rev() {
                let answer = from(server, CREATE, home, String::new()).await;
                match answer.status {
                    201 => {}
                    _ => {
                        answer.assert_problem(429, "over-budget");
                        assert_eq!(left, 0);
                    }
                }
            }
            from(server, CREATE, home, String::new()).await.assert_problem(429, "over-budget");
            let no_room = from(server, register_app, home, named("c", "the right one")).await;
            assert_eq!(no_room.status, 429, "{no_room:?}");
        })
        .await;
}

/// S35: the same for the size of documents; a user of a network without a share left may still delete.
#[actix_web::test]
async fn one_network_cannot_fill_the_room_of_documents() {
    share()
        .serve(async |server| {
            let body = json!({ "a": "x".repeat(900) }).to_string();
            let write = async |client: &str, body: &str| {
                let tokens = from(server, CREATE, client, String::new()).await.tokens();
                let call = server.call("PUT /v1/data").bearer(&tokens.access).header("x-forwarded-for", client);
                (call.body(body.to_owned()).send().await, tokens)
            };
            let mut statuses = Vec::new();
            for _ in 0..6 {
                statuses.push(write("192.0.2.1", &body).await.0.status);
            }
            assert_eq!(statuses, [200, 200, 200, 507, 507, 507], "2.5 % of data.max_bytes");
            write("192.0.2.1", &body).await.0.assert_problem(507, "data-full");
            let (wrote, tokens) = write("198.51.100.1", &body).await;
            assert_eq!(wrote.status, 200, "others have theirs");
            let take = server.call("DELETE /v1/data").bearer(&tokens.access).header("x-forwarded-for", "192.0.2.1");
            assert!(take.send().await.status < 300);
            // the deletion too came when there was no room
            assert_eq!(server.metric("passerby_over_share_documents_total").await, 5);
        })
        .await;
}
