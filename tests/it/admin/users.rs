//! Users by the admin API of App Services, with the bodies and errors that its scripts know.

use passerby::admin::Role;
use serde_json::{Value, json};

use super::{PASSWORD, app, ask, create, token};
use crate::world::{Answer, PROFILE, REFRESH, World};

#[track_caller]
fn assert_error(answer: &Answer, status: u16, code: &str, text: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["error_code"], &body["error"]),
        (status, &json!(code), &json!(text)),
        "{answer:?}"
    );
}

#[actix_web::test]
async fn scripts_of_app_services_log_in_and_find_the_one_app() {
    World::new()
        .serve(async |server| {
            create(server, "ada", Role::Owner).await;
            let login = async |body: Value| {
                let what = "POST /api/admin/v3.0/auth/providers/local-userpass/login";
                ask(server, what).body(body.to_string()).send().await
            };
            let wrong = login(json!({ "username": "ada", "password": "wrong" })).await;
            assert_error(&wrong, 401, "InvalidPassword", "invalid username/password");
            let what = "POST /api/admin/v3.0/auth/providers/mongodb-cloud/login";
            let wrong = ask(server, what).body(r#"{"username":"abcdefgh","apiKey":"x"}"#).send().await;
            assert_error(&wrong, 401, "InvalidPassword", "invalid API key");
            // with a field that core-test sends
            let session = login(json!({ "username": "ada", "password": PASSWORD, "provider": "userpass" })).await;
            assert_eq!(session.status, 200, "{session:?}");
            let session = session.json();
            let text = |key: &str| session[key].as_str().unwrap().to_owned();
            for id in ["user_id", "device_id"] {
                assert_eq!(text(id).len(), 24);
            }
            let (access, refresh) = (text("access_token"), text("refresh_token"));
            let get =
                async |path: &str| ask(server, &format!("GET /api/admin/v3.0{path}")).bearer(&access).send().await;
            let providers = ask(server, "GET /api/admin/v3.0/auth/providers").send().await.json();
            let names: Vec<_> = providers.as_array().unwrap().iter().map(|provider| provider["type"].clone()).collect();
            assert_eq!(names, ["local-userpass", "mongodb-cloud"]);
            let profile = get("/auth/profile").await.json();
            let group = profile["roles"][0]["group_id"].as_str().unwrap().to_owned();
            assert_eq!((&profile["user_id"], &profile["type"]), (&session["user_id"], &json!("normal")));
            // realm-cli asks for each product in turn, and takes all that it gets together
            for product in ["atlas", "data-api", "device-sync", "data-api,atlas"] {
                assert_eq!(
                    get(&format!("/groups/{group}/apps?product={product}")).await.json(),
                    json!([]),
                    "{product}"
                );
            }
            let named = get(&format!("/groups/{group}/apps?product=atlas,standard&defaults=1")).await.json();
            let apps = get(&format!("/groups/{group}/apps")).await.json();
            assert_eq!((&named, apps.as_array().unwrap().len()), (&apps, 1));
            assert_eq!(apps[0]["client_app_id"], "passerby");
            let id = apps[0]["_id"].as_str().unwrap();
            assert_eq!(get(&format!("/groups/{group}/apps/{id}")).await.json()["_id"], apps[0]["_id"]);
            assert_eq!(get(&format!("/groups/{group}/apps/passerby")).await.json()["error_code"], "AppNotFound");
            assert_eq!(get("/groups/0123456789abcdef01234567/apps").await.json()["error_code"], "GroupNotFound");

            // an access token is good for half an hour, and a refresh token gives the next
            let again = async |token: &str, method: &str| {
                ask(server, &format!("{method} /api/admin/v3.0/auth/session")).bearer(token).send().await
            };
            let (expired, dead) =
                ("invalid session: access token expired", "invalid session: failed to find refresh token");
            let not_one = "invalid refresh token: incorrect token type";
            for method in ["POST", "DELETE"] {
                assert_error(&again(&access, method).await, 401, "AuthError", not_one);
                assert_error(&again("pbs_AAAA", method).await, 401, "InvalidSession", dead);
            }
            server.clock.advance_s(30 * 60);
            // the text is what realm-js gets a new one at, and the code what realm-cli does
            assert_error(&get("/auth/profile").await, 401, "InvalidSession", expired);
            let next = again(&refresh, "POST").await;
            assert_eq!(next.status, 201);
            let next = next.json()["access_token"].as_str().unwrap().to_owned();
            let me = async || ask(server, "GET /api/admin/v3.0/auth/profile").bearer(&next).send().await.status;
            assert_eq!(me().await, 200);
            assert_eq!(again(&refresh, "DELETE").await.status, 204);
            assert_eq!(me().await, 401, "the access token goes with its session");
            assert_error(&again(&refresh, "POST").await, 401, "InvalidSession", dead);
        })
        .await;
}

#[actix_web::test]
async fn scripts_of_app_services_see_disable_enable_log_out_and_delete_users() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let users = format!("{}/users", app(server));
            let send = async |what: &str, path: &str, body: &str| {
                ask(server, &format!("{what} {users}{path}")).bearer(&ada).body(body.to_owned()).send().await
            };
            let user = server.log_in().await;
            let of = |rest: &str| format!("/{}{rest}", user.user);
            let shown = send("GET", &of(""), "").await.json();
            let expected = json!({
                "_id": user.user,
                "identities": shown["identities"],
                "type": "normal",
                "creation_date": shown["creation_date"],
                "last_authentication_date": shown["last_authentication_date"],
                "disabled": false,
                "data": {},
            });
            assert_eq!(shown, expected);
            assert_eq!(shown["identities"][0]["provider_type"], "anon-user");
            assert_eq!(shown["creation_date"], server.server.wall_s());
            assert!(shown["last_authentication_date"].as_u64() >= shown["creation_date"].as_u64());

            for (what, path) in [("GET", "/636aba021728b6c1c03db7f9"), ("DELETE", "/x"), ("PUT", "/x/disable")] {
                assert_error(&send(what, path, "").await, 404, "UserNotFound", "user not found");
            }
            let profile = async || server.call(PROFILE).bearer(&user.access).send().await;
            assert_eq!(send("PUT", &of("/disable"), "").await.status, 204);
            profile().await.assert_client_error(401, Some("InvalidSession"), "invalid session: user disabled");
            assert_eq!(send("GET", &of(""), "").await.json()["disabled"], true);
            assert_eq!(send("PUT", &of("/enable"), "").await.status, 204);
            assert_eq!(profile().await.status, 200);

            // whose a token is
            let verify =
                async |token: &str| send("POST", "/verify_token", &json!({ "token": token }).to_string()).await;
            let verified = verify(&user.access).await.json();
            assert_eq!(
                (&verified["sub"], &verified["domain_id"]),
                (&json!(user.user), &json!(server.server.tokens.domain_id()))
            );
            assert_eq!(verified["exp"].as_u64().unwrap() - verified["iat"].as_u64().unwrap(), 1800);
            assert_error(&verify("x").await, 401, "InvalidSession", "invalid session");
            server.clock.advance_s(1800);
            let late = verify(&user.access).await;
            assert_eq!((late.status, late.json()), (200, json!("token expired")));
            let fresh = server.call(REFRESH).bearer(&user.refresh).send().await;
            let fresh = fresh.json()["access_token"].as_str().unwrap().to_owned();
            assert!(send("GET", &of("/devices"), "").await.json().is_array());
            assert_eq!(send("PUT", &of("/logout"), "").await.status, 204);
            assert_error(&verify(&fresh).await, 401, "InvalidSession", "invalid session");

            let user = server.log_in().await;
            assert_eq!(send("DELETE", &format!("/{}", user.user), "").await.status, 204);
            assert!(!server.has_record(&user.user));
        })
        .await;
}

/// As the documentation's own curl lines send it, without a content type that says JSON, and as realm-core does.
#[actix_web::test]
async fn what_scripts_send_is_read_as_json_whatever_its_content_type_says() {
    World::new()
        .serve(async |server| {
            create(server, "ada", Role::Owner).await;
            let body = json!({ "username": "ada", "password": PASSWORD }).to_string();
            for kind in ["application/x-www-form-urlencoded", "application/json;charset=utf-8", "text/plain"] {
                let login = ask(server, "POST /api/admin/v3.0/auth/providers/local-userpass/login");
                let login = login.header("content-type", kind).body(body.clone()).send().await;
                assert_eq!((login.status, login.header("content-type")), (200, Some("application/json")), "{login:?}");
                let refresh = login.json()["refresh_token"].as_str().unwrap().to_owned();
                // core says that it is JSON, and sends nothing
                let session = ask(server, "POST /api/admin/v3.0/auth/session").bearer(&refresh);
                assert_eq!(session.header("content-type", kind).send().await.status, 201);
                let access = login.json()["access_token"].as_str().unwrap().to_owned();
                let drafts = format!("POST {}/drafts?bypass_service_change=SyncSchemaVersionIncrease", app(server));
                let draft = ask(server, &drafts).bearer(&access).header("content-type", kind).body("null").send().await;
                assert_eq!(draft.status, 201, "{draft:?}");
                let path = format!("{}/drafts/{}", app(server), draft.json()["_id"].as_str().unwrap());
                let gone = ask(server, &format!("DELETE {path}")).bearer(&access).send().await;
                assert_eq!((gone.status, gone.header("content-type")), (204, None));
            }
        })
        .await;
}

#[actix_web::test]
async fn scripts_page_through_users_in_both_orders_and_by_state() {
    World::new()
        .serve(async |server| {
            let ada = token(server, "ada", Role::Operate).await;
            let users = format!("{}/users", app(server));
            let page = async |query: &str| {
                let answer = ask(server, &format!("GET {users}?sort=_id{query}")).bearer(&ada).send().await;
                assert_eq!(answer.status, 200, "{query}: {answer:?}");
                let page: Vec<Value> = answer.json().as_array().unwrap().clone();
                page.iter().map(|user| user["_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            let all = async |query: &str| {
                let (mut found, mut sizes) = (Vec::new(), Vec::new());
                let mut after = String::new();
                loop {
                    let next = page(&format!("{query}{after}")).await;
                    sizes.push(next.len());
                    found.extend(next);
                    if sizes.last() < Some(&50) {
                        return (found, sizes);
                    }
                    after = format!("&after={}", found.last().unwrap());
                }
            };
            for _ in 0..120 {
                server.log_in().await;
            }
            let (oldest_first, sizes) = all("").await;
            assert_eq!((sizes, &oldest_first[..50]), (vec![50, 50, 20], &page("&desc=false").await[..]));
            let (mut newest_first, _) = all("&desc=true").await;
            newest_first.reverse();
            assert_eq!(newest_first, oldest_first);
            let some: Vec<_> = oldest_first.iter().step_by(2).cloned().collect();
            for user in &some {
                let done = ask(server, &format!("PUT {users}/{user}/disable")).bearer(&ada).send().await;
                assert_eq!(done.status, 204);
            }
            assert_eq!(all("&status=disabled").await, (some, vec![50, 10]));
            assert_eq!(all("&status=enabled&provider_types=anon-user,api-key").await.0.len(), 60);
            assert_eq!(page("&provider_types=local-userpass").await, [] as [String; 0]);
            for wrong in ["?sort=name", "?status=off", "?after=x", "?state=disabled", "?status=enabled&status=disabled"]
            {
                let answer = ask(server, &format!("GET {users}{wrong}")).bearer(&ada).send().await;
                assert_eq!((answer.status, &answer.json()["error_code"]), (400, &json!("BadRequest")), "{wrong}");
            }
        })
        .await;
}
