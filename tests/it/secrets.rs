//! What must not be seen: tokens and keys in logs, errors, URLs or the store. And what must: the events of a life.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use passerby::admin::Role;
use passerby_actors::actor::Proof;
use passerby_actors::domain::{DeviceId, IdentityKey, MergePolicy, SessionKind, UserId};
use passerby_actors::testkit::faulty::Mode;
use passerby_actors::testkit::{DAY_S, until};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Registry};

use crate::admin::{ask, token};
use crate::world::{DELETE, DELETE_USER, END, LOGIN, LOGOUT, PROFILE, REFRESH, ROTATE, Tokens, VIEW, World};

/// Everything that this process logs from now on; other tests' lines are among it.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// The process has one subscriber, so the tests share it.
    fn begin() -> &'static Self {
        static CAPTURED: OnceLock<Captured> = OnceLock::new();
        CAPTURED.get_or_init(|| {
            let captured = Captured::default();
            let lines = tracing_subscriber::fmt::layer().json().with_writer(captured.clone());
            // dependencies at info, as operators run them; ours with everything
            let filter = EnvFilter::new("info,passerby=trace,passerby_actors=trace");
            tracing::subscriber::set_global_default(Registry::default().with(filter).with(lines)).unwrap();
            captured
        })
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }

    /// The fields of the life-cycle events about a user, in order.
    fn events_of(&self, user: &str) -> Vec<Value> {
        let lines: Vec<Value> = self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let about = |line: &Value| line["target"] == "passerby::events" && line["fields"]["user"] == user;
        lines.into_iter().filter(about).collect()
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What of these tokens would be enough to use them: the whole, and the signature, without which a token is nothing.
fn secrets_of(tokens: &[Tokens]) -> Vec<String> {
    let each = tokens.iter().flat_map(|tokens| [&tokens.access, &tokens.refresh]);
    each.flat_map(|token| [token.clone(), token.rsplit_once('.').unwrap().1.to_owned()]).collect()
}

/// The secrets in a folder of key files.
fn key_secrets(dir: &Path) -> Vec<String> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
    let secrets: Vec<String> = files
        .map(|bytes| serde_json::from_slice::<Value>(&bytes).unwrap()["secret"].as_str().unwrap().to_owned())
        .collect();
    assert!(secrets.len() >= 3 && secrets.iter().all(|secret| secret.len() >= 43), "{} keys", secrets.len());
    secrets
}

#[track_caller]
fn assert_holds_none(text: &[u8], secrets: &[String], what: &str) {
    for secret in secrets {
        let found = text.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{what} holds a secret");
    }
}

/// S19: no token and no key is in a log line, an error or the `Debug` form of what the server makes of a token.
#[actix_web::test]
async fn a_whole_life_leaves_no_token_in_logs_or_errors() {
    let captured = Captured::begin();
    let world = World::new();
    let keys = world.settings().keys_dir;
    let mut all = Vec::new();
    let mut errors = Vec::new();
    world
        .serve(async |server| {
            let (app, v1) = (server.log_in().await, server.log_in_v1().await);
            let rotated = server.call(ROTATE).bearer(&v1.refresh).send().await.tokens();
            let again = server.call(ROTATE).bearer(&rotated.refresh).send().await.tokens();
            let refreshed = server.call(REFRESH).bearer(&app.refresh).send().await;
            let refreshed = Tokens { access: refreshed.json()["access_token"].as_str().unwrap().into(), ..app.clone() };
            for token in [&app.access, &app.refresh, &v1.access, &v1.refresh] {
                for what in [PROFILE, REFRESH, VIEW, LOGIN] {
                    let answer = server.call(what).bearer(token).send().await;
                    if answer.status >= 400 {
                        errors.push(answer);
                    }
                }
            }
            // debug forms
            let access = server.server.tokens.verify_access(&app.access, server.server.wall_s()).unwrap();
            let refresh = server.server.tokens.verify_refresh(&app.refresh).unwrap();
            let store = passerby::token::KeyStore::load(&keys).unwrap();
            let shown = format!("{access:?} {refresh:?} {store:?} {:?} {:?}", store.ring().unwrap(), store.list());
            let bad = [app.access.as_str(), app.refresh.as_str()];
            let bad: Vec<_> = bad.iter().map(|token| format!("{token}x")).collect();
            let refused = format!(
                "{:?} {:?}",
                server.server.tokens.verify_access(&bad[0], 0),
                server.server.tokens.verify_refresh(&bad[1])
            );
            // reuse, failure, end
            errors.push(server.call(ROTATE).bearer(&v1.refresh).send().await);
            errors.push(server.call(VIEW).bearer(&again.access).send().await);
            server.disk.set(Mode::SyncsFail);
            errors.push(server.call(LOGOUT).bearer(&app.refresh).send().await);
            server.heal().await;
            let out = server.call(LOGOUT).bearer(&app.refresh).send().await;
            assert_eq!(out.status, 204, "{out:?}");
            errors.push(server.call(LOGOUT).bearer(&app.refresh).send().await);
            assert!(errors.iter().all(|answer| answer.status >= 400), "{errors:?}");
            all = vec![app, v1, rotated, again, refreshed];
            let mut secrets = secrets_of(&all);
            secrets.extend(key_secrets(&keys));
            for text in [shown, refused] {
                assert_holds_none(text.as_bytes(), &secrets, "a debug form");
            }
            for answer in &errors {
                assert_holds_none(format!("{:?}", answer.headers).as_bytes(), &secrets, "an error's head");
                assert_holds_none(&answer.body, &secrets, "an error");
            }
        })
        .await;
    let log = captured.text();
    assert!(log.contains("a refresh token was used again"), "the log is captured");
    assert!(log.contains("the journal could not be written"), "the log is captured");
    let mut secrets = secrets_of(&all);
    secrets.extend(key_secrets(&keys));
    assert_holds_none(log.as_bytes(), &secrets, "the log");
}

/// S19: a token in a URL is none.
#[actix_web::test]
async fn tokens_in_a_query_are_not_accepted() {
    World::new()
        .serve(async |server| {
            let (app, v1) = (server.log_in().await, server.log_in_v1().await);
            let cases = [
                (PROFILE, &app.access),
                (DELETE, &app.access),
                (REFRESH, &app.refresh),
                (LOGOUT, &app.refresh),
                (VIEW, &v1.access),
                (ROTATE, &v1.refresh),
                (END, &v1.access),
                (DELETE_USER, &v1.access),
            ];
            for (what, token) in cases {
                for name in ["access_token", "refresh_token", "token", "baas_at", "authorization", "bearer", "jwt"] {
                    for query in [format!("{name}={token}"), format!("{name}=Bearer%20{token}")] {
                        let answer = server.call(&format!("{what}?{query}")).send().await;
                        match what.contains("/v1/") {
                            true => answer.assert_problem(401, "no-token"),
                            false => answer.assert_client_error(401, Some("AuthError"), "must authenticate first"),
                        }
                    }
                }
                // nor in a form, nor in a cookie
                let form = format!("access_token={token}");
                let answer = server.call(what).header("cookie", &form).body(form.clone()).send().await;
                assert_eq!(answer.status, 401, "{what} {answer:?}");
            }
            assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 200);
            assert_eq!(server.call(VIEW).bearer(&v1.access).send().await.status, 200);
        })
        .await;
}

/// S2: the store holds nothing that logs a user in, and without the keys it does not even start.
#[actix_web::test]
async fn the_store_without_the_keys_logs_no_one_in() {
    let keys = tempfile::tempdir().unwrap();
    let keys = keys.path().join("keys");
    let world = World::new().set("keys_dir", &keys.display().to_string());
    let server = world.start().await;
    let all = [server.log_in().await, server.log_in_v1().await];
    server.server.store.new_generation();
    let generations = || server.server.store.stats().generations.load(std::sync::atomic::Ordering::SeqCst);
    passerby_actors::testkit::until("there is a snapshot too", || generations() > 0).await;
    let late = [server.log_in().await, server.log_in_v1().await];
    server.stop().await;

    let mut secrets = secrets_of(&[&all[..], &late[..]].concat());
    secrets.extend(key_secrets(&keys));
    let mut folders = vec![world.data_dir()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files += 1;
                assert_holds_none(&std::fs::read(&path).unwrap(), &secrets, &path.display().to_string());
            }
        }
    }
    assert!(files >= 3, "{files}");

    // a thief has the data folder, and keys of their own
    std::fs::remove_dir_all(&keys).unwrap();
    let admin = passerby::startup::start_admin(&world.settings(), None).unwrap();
    let refused = world.build(world.settings(), admin);
    assert!(matches!(refused.await, Err(passerby::startup::StartError::Keys(_))));
    let ports = world.ports();
    let algorithm = passerby::token::Algorithm::EdDSA;
    passerby::token::KeyStore::open_or_create(&keys, algorithm, false, &*ports.entropy, 1_700_000_000).unwrap();
    world
        .serve(async |server| {
            assert_eq!(server.metric("passerby_users").await, 4);
            for tokens in all.iter().chain(&late) {
                for (what, token) in [
                    (PROFILE, &tokens.access),
                    (VIEW, &tokens.access),
                    (REFRESH, &tokens.refresh),
                    (ROTATE, &tokens.refresh),
                ] {
                    assert_eq!(server.call(what).bearer(token).send().await.status, 401, "{what}");
                }
            }
        })
        .await;
}

/// S38: what happens to a user is logged with its cause, its user and the time in UTC.
#[actix_web::test]
async fn the_events_of_a_life_are_log_lines() {
    let captured = Captured::begin();
    World::new()
        .serve(async |server| {
            let is_logged = async |user: &str, causes: &[&str]| {
                let logged = || captured.events_of(user).iter().map(|event| event["fields"]["cause"].clone()).collect();
                until(&format!("{causes:?} are logged"), || Vec::<Value>::len(&logged()) >= causes.len()).await;
                assert_eq!(logged(), causes);
                for event in captured.events_of(user) {
                    assert!(event["timestamp"].as_str().unwrap().ends_with('Z'), "{event}");
                }
            };
            let handle = server.handle();
            let id = |tokens: &Tokens| UserId::parse(&tokens.user).unwrap();

            let app = server.log_in().await;
            assert_eq!(server.call(LOGOUT).bearer(&app.refresh).send().await.status, 204);
            is_logged(&app.user, &["created", "logged-out"]).await;

            let v1 = server.log_in_v1().await;
            assert_eq!(server.call(ROTATE).bearer(&v1.refresh).send().await.status, 200);
            assert_eq!(server.call(DELETE_USER).bearer(&v1.access).send().await.status, 204);
            is_logged(&v1.user, &["created", "refreshed", "deleted-by-user"]).await;

            let reused = server.log_in_v1().await;
            let next = server.call(ROTATE).bearer(&reused.refresh).send().await.tokens();
            assert_eq!(server.call(ROTATE).bearer(&next.refresh).send().await.status, 200);
            assert_eq!(server.call(ROTATE).bearer(&reused.refresh).send().await.status, 401);
            is_logged(&reused.user, &["created", "refreshed", "refreshed", "reuse-detected"]).await;

            let disabled = server.log_in().await;
            handle.disable(&id(&disabled)).await.unwrap();
            is_logged(&disabled.user, &["created", "disabled"]).await;

            let (account, guest) = (server.log_in_v1().await, server.log_in_v1().await);
            let proof = Proof::new(IdentityKey { provider: "custom-token".into(), external: "ada".into() }, "".into());
            let (linker, opens) = (&server.server.linker, (SessionKind::V1, DeviceId::default()));
            linker.link(id(&account), 1, proof.clone()).await.unwrap();
            linker.merge(id(&guest), 1, proof, opens, MergePolicy::default()).await.unwrap();
            is_logged(&account.user, &["created", "linked"]).await;
            is_logged(&guest.user, &["created", "merged-into"]).await;
            let merged = captured.events_of(&guest.user).pop().unwrap()["fields"].clone();
            assert_eq!((&merged["into"], &merged["provider"]), (&json!(account.user), &json!("custom-token")));
            assert!(merged["seq"].is_u64(), "{merged}");
            let is_gone = |user: &str| captured.events_of(user).pop().unwrap()["fields"]["gone"].clone();
            assert_eq!(
                [&app, &guest, &account].map(|tokens| is_gone(&tokens.user)),
                [json!(true), json!(true), Value::Null]
            );

            let admin = token(server, "ada", Role::Operate).await;
            let batch = ask(server, "POST /v1/admin/users/batch").bearer(&admin).body(r#"{"count":2}"#).send().await;
            for user in batch.json()["users"].as_array().unwrap() {
                is_logged(user["user_id"].as_str().unwrap(), &["created"]).await;
            }

            let idle = server.log_in().await;
            server.clock.advance_s(90 * DAY_S + 61);
            server.server.janitor.sweep(server.server.core.store().pages()).await.unwrap();
            is_logged(&idle.user, &["created", "expired"]).await;
        })
        .await;
}

/// A user who goes to make room has an event, and one line says how many went.
#[actix_web::test]
async fn a_user_who_is_given_up_has_an_event_and_the_log_says_how_many() {
    let captured = Captured::begin();
    World::new()
        .set("max_users", "20")
        .set("expiry.unused", "86400")
        .set("budget.share", "100")
        .serve(async |server| {
            let mut users = Vec::new();
            for _ in 0..19 {
                users.push(server.log_in_v1().await.user);
            }
            server.clock.advance_s(2 * DAY_S);
            let swept = server.server.janitor.sweep(server.server.core.store().pages()).await.unwrap();
            let is_given_up = |user: &&String| {
                captured.events_of(user).last().is_some_and(|event| event["fields"]["cause"] == "given-up")
            };
            let gone = || users.iter().filter(is_given_up).count();
            assert!(swept.given_up > 0, "{swept:?}");
            until("each of them is logged", || gone() >= swept.given_up).await;
            assert_eq!(gone(), swept.given_up);
            let of_line = |line: &str| {
                let line: Value = serde_json::from_str(line).unwrap();
                let says_so = line["fields"]["message"] == "users who were created and never came back are gone";
                assert!(!says_so || line["level"] == "WARN", "{line}");
                says_so.then(|| line["fields"]["given_up"].as_u64().unwrap())
            };
            // one line for each batch
            let said: u64 = captured.text().lines().filter_map(of_line).sum();
            assert_eq!(said, swept.given_up as u64);
        })
        .await;
}
