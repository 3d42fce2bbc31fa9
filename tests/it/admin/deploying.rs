//! Drafts and deployments over Passerby's own face: what the console and the command line do with them.

use std::cell::Cell;

use futures_util::future::join;
use passerby::admin::Role;
use serde_json::{Value, json};

use super::{ask, audit, token};
use crate::data::{hears, open, says};
use crate::world::{Answer, CREATE, LOGIN, TestServer, VIEW, World};

const UNSUPPORTED: &str = "authentication via 'anon-user' is unsupported";

/// Someone who asks.
pub(super) struct Admin<'a> {
    server: &'a TestServer,
    token: String,
}

impl<'a> Admin<'a> {
    pub(super) async fn named(server: &'a TestServer, name: &str, role: Role) -> Self {
        Self { server, token: token(server, name, role).await }
    }

    pub(super) async fn asks(&self, what: &str, body: Value) -> Answer {
        let (method, path) = what.split_once(' ').unwrap();
        let call = ask(self.server, &format!("{method} /v1/admin/{path}")).bearer(&self.token);
        if body.is_null() { call.send().await } else { call.body(body.to_string()).send().await }
    }

    /// Asks for something that is done.
    pub(super) async fn does(&self, what: &str, body: Value, status: u16) -> Value {
        let answer = self.asks(what, body).await;
        assert_eq!(answer.status, status, "{what}: {answer:?}");
        if status == 204 { Value::Null } else { answer.json() }
    }

    pub(super) async fn gets(&self, path: &str) -> Value {
        self.does(&format!("GET {path}"), Value::Null, 200).await
    }

    /// The provider as it is listed.
    async fn provider(&self, name: &str) -> Value {
        let app = self.gets("app").await;
        let providers = app["providers"].as_array().unwrap();
        providers.iter().find(|provider| provider["name"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    }

    async fn drafts(&self, revision: u64, app: Value) -> Value {
        self.does("PATCH draft", json!({ "revision": revision, "app": app }), 200).await
    }
}

/// A patch that turns anonymous logins on or off.
fn anonymous(enabled: bool) -> Value {
    json!({ "providers": { "anon-user": { "disabled": !enabled } } })
}

#[actix_web::test]
async fn a_provider_is_turned_off_reviewed_and_deployed_and_a_rollback_turns_it_on_again() {
    World::new()
        .serve(async |server| {
            let ada = Admin::named(server, "ada", Role::Owner).await;
            let tokens = server.log_in_v1().await;
            let app = ada.gets("app").await;
            assert_eq!(app["deployment"]["number"], 1);
            assert_eq!((&app["draft"], &app["client_app_id"]), (&Value::Null, &json!("passerby")));
            let names: Vec<_> =
                app["providers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
            let expected = [
                "anon-user",
                "local-userpass",
                "oauth2-facebook",
                "oauth2-google",
                "oauth2-apple",
                "api-key",
                "custom-token",
                "custom-function",
            ];
            assert_eq!(names, expected, "as the console of App Services had them");
            let anon = ada.provider("anon-user").await;
            assert_eq!(
                (&anon["enabled"], &anon["editable"], &anon["origin"]),
                (&json!(true), &json!(true), &json!("app"))
            );
            assert_eq!(anon["title"], "Allow users to log in anonymously");
            let facebook = ada.provider("oauth2-facebook").await;
            assert_eq!((&facebook["editable"], &facebook["enabled"]), (&json!(false), &json!(false)));
            assert!(facebook["locked_because"].as_str().unwrap().contains("Facebook"));

            let draft = ada.drafts(0, anonymous(false)).await;
            assert_eq!((&draft["revision"], &draft["base"], &draft["by"]), (&json!(1), &json!(1), &json!("ada")));
            assert_eq!(draft["changes"], json!(["anon-user: enabled → disabled"]));
            server.log_in().await;
            let anon = ada.provider("anon-user").await;
            assert_eq!((&anon["enabled"], &anon["draft"]["enabled"]), (&json!(true), &json!(false)), "it waits");
            assert_eq!(ada.gets("draft").await["app"]["providers"]["anon-user"]["disabled"], true);
            let diff = ada.gets("draft/diff").await;
            assert_eq!((&diff["revision"], &diff["changes"]), (&json!(1), &draft["changes"]));
            let of = |side: &str| -> Vec<String> {
                let lines = diff["lines"].as_array().unwrap().iter().filter(|line| line["side"] == side);
                lines.map(|line| line["text"].as_str().unwrap().trim().to_owned()).collect()
            };
            assert_eq!(
                (of("before"), of("after")),
                (vec!["\"disabled\": false,".into()], vec!["\"disabled\": true,".into()])
            );

            let mut socket = open(server, &tokens.access).await;
            let deployed = ada.does("POST draft/deploy", json!({ "revision": 1, "name": "no strangers" }), 201).await;
            says(&mut socket, json!({"type": "get", "id": "still-here-and-open"})).await;
            // it ends in a panic if the socket was closed
            while hears(&mut socket).await["id"] != "still-here-and-open" {}
            assert_eq!((&deployed["number"], &deployed["in_force"]), (&json!(2), &json!(true)));
            assert_eq!((&deployed["name"], &deployed["origin"]), (&json!("no strangers"), &json!("api")));
            server.call(LOGIN).send().await.assert_client_error(401, Some("AuthError"), UNSUPPORTED);
            server.call(CREATE).send().await.assert_problem(403, "provider-disabled");
            assert_eq!(server.call(VIEW).bearer(&tokens.access).send().await.status, 200, "who is here goes on");
            ada.asks("GET draft", Value::Null).await.assert_problem(404, "draft-not-found");

            let first = ada.gets("deployments/1").await;
            assert_eq!(first["changes"], json!(["anon-user: disabled → enabled"]));
            let again = ada.does("POST deployments/1/deploy", json!({}), 201).await;
            assert_eq!((&again["number"], &again["redeploy_of"]), (&json!(3), &json!(1)));
            server.log_in().await;
            let all = ada.gets("deployments").await;
            let numbers: Vec<_> = all["deployments"].as_array().unwrap().iter().map(|one| &one["number"]).collect();
            assert_eq!(numbers, [3, 2, 1]);
            let entries = audit(server, &ada.token, "&what=draft").await;
            let whats: Vec<_> = entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect();
            assert_eq!(whats, ["draft.deploy", "draft.change"]);
            assert_eq!(entries[0]["after"]["changes"], json!(["anon-user: enabled → disabled"]));
        })
        .await;
}

/// Whoever asks while the toggle is deployed gets an answer of before or of after.
#[actix_web::test]
async fn toggling_by_the_api_loses_no_request() {
    World::new()
        .set("limits", "off")
        .serve(async |server| {
            let ada = Admin::named(server, "ada", Role::Owner).await;
            let is_over = Cell::new(false);
            let toggling = async {
                for at in 0..10 {
                    let draft = ada.drafts(0, anonymous(at % 2 == 1)).await;
                    ada.does("POST draft/deploy", json!({ "revision": draft["revision"] }), 201).await;
                    assert_eq!(server.call(CREATE).send().await.status, if at % 2 == 1 { 201 } else { 403 });
                }
                is_over.set(true);
            };
            let asking = async {
                while !is_over.get() {
                    let answer = server.call(CREATE).send().await;
                    if answer.status != 201 {
                        answer.assert_problem(403, "provider-disabled");
                    }
                }
            };
            join(toggling, asking).await;
        })
        .await;
}

#[actix_web::test]
async fn of_two_owners_with_one_draft_the_second_is_told_who_moved_it_and_when() {
    World::new()
        .serve(async |server| {
            let (ada, bob) =
                (Admin::named(server, "ada", Role::Owner).await, Admin::named(server, "bob", Role::Owner).await);
            let first = ada.drafts(0, anonymous(false)).await;
            let body = json!({ "revision": 0, "app": { "providers": { "api-key": { "disabled": false } } } });
            let moved = bob.asks("PATCH draft", body.clone()).await;
            moved.assert_problem_with(409, "draft-moved", &["revision", "by", "at"]);
            let told = moved.json_as("application/problem+json");
            assert_eq!((&told["by"], &told["at"], &told["revision"]), (&json!("ada"), &first["at"], &json!(1)));
            bob.asks("POST draft/deploy", json!({ "revision": 2 })).await.assert_problem_with(
                409,
                "draft-moved",
                &["revision", "by", "at"],
            );
            bob.asks("DELETE draft?revision=2", Value::Null).await.assert_problem_with(
                409,
                "draft-moved",
                &["revision", "by", "at"],
            );
            // with what ada did
            let second = bob.drafts(1, body["app"].clone()).await;
            assert_eq!(second["changes"], json!(["anon-user: enabled → disabled", "api-key: added, enabled"]));
            ada.asks("POST draft/deploy", json!({ "revision": 1 })).await.assert_problem_with(
                409,
                "draft-moved",
                &["revision", "by", "at"],
            );
            // beside it, somebody pushes
            let pushed = json!({ "app": { "providers": {}, "allowed_request_origins": ["https://a.example"] } });
            ada.does("POST app/deploy", pushed, 201).await;
            let behind = bob.asks("POST draft/deploy", json!({ "revision": 2 })).await;
            behind.assert_problem_with(409, "deployment-moved", &["number", "by", "at"]);
            assert_eq!(behind.json_as("application/problem+json")["by"], "ada");
            // a change is none by someone who has seen what is in force now
            let third = bob.drafts(2, json!({ "allowed_request_origins": ["https://a.example"] })).await;
            assert_eq!(third["base"], 1);
            for seen in [json!({ "revision": 3 }), json!({ "revision": 3, "seen": 1 })] {
                let late = bob.asks("POST draft/deploy", seen).await;
                late.assert_problem_with(409, "deployment-moved", &["number", "by", "at"]);
            }
            assert_eq!(bob.gets("draft/diff").await["deployment"], 2);
            let late = bob.asks("POST deployments/1/deploy", json!({ "seen": 1 })).await;
            late.assert_problem_with(409, "deployment-moved", &["number", "by", "at"]);
            ada.does("DELETE draft?revision=3", Value::Null, 204).await;
            bob.asks("POST draft/deploy", json!({ "revision": 3 })).await.assert_problem(409, "draft-moved");
            bob.asks("DELETE draft?revision=3", Value::Null).await.assert_problem(409, "draft-moved");
            assert_eq!(bob.gets("app").await["draft"], Value::Null);
            // a new draft is none that bob has seen
            assert_eq!(ada.drafts(0, anonymous(false)).await["revision"], 4);
            let unseen = bob.asks("POST draft/deploy", json!({ "revision": 3 })).await;
            unseen.assert_problem_with(409, "draft-moved", &["revision", "by", "at"]);
        })
        .await;
}

#[actix_web::test]
async fn what_the_settings_have_is_shown_locked_with_the_reason() {
    World::new()
        .file("[provider.oidc.corp]\nissuer = \"https://idp.example\"\nclient_id = \"c\"\nclient_secret = \"corp\"\n[provider.api_key]\nenabled = true\n")
        .secret("CORP", "a-secret-of-the-issuer")
        .set("allowed_origins", "https://app.example")
        .serve(async |server| {
            let ada = Admin::named(server, "ada", Role::Owner).await;
            for (name, config) in [("oidc-corp", json!("https://idp.example")), ("api-key", Value::Null)] {
                let provider = ada.provider(name).await;
                assert_eq!((&provider["origin"], &provider["editable"]), (&json!("settings"), &json!(false)), "{provider}");
                assert_eq!((&provider["enabled"], &provider["config"]["issuer"]), (&json!(true), &config));
                assert!(provider["locked_because"].as_str().unwrap().contains("settings of the server"), "{provider}");
            }
            assert_eq!(ada.provider("oidc-corp").await["secret_config"], json!({ "client_secret": "corp" }));
            let app = ada.gets("app").await;
            assert_eq!((&app["origins_editable"], &app["allowed_request_origins"]), (&json!(false), &json!(["https://app.example"])));
            for patch in [
                json!({ "providers": { "api-key": { "disabled": true } } }),
                json!({ "allowed_request_origins": ["https://b.example"] }),
            ] {
                ada.asks("PATCH draft", json!({ "revision": 0, "app": patch })).await.assert_problem(409, "set-by-file");
            }
            // also where the app enables it too
            let mut app = ada.gets("app/content").await;
            app["providers"]["api-key"] = json!({ "disabled": false });
            ada.does("POST app/deploy", json!({ "app": app }), 201).await;
            let both = ada.provider("api-key").await;
            assert_eq!((&both["origin"], &both["editable"]), (&json!("settings"), &json!(false)));
            let off = json!({ "providers": { "api-key": { "disabled": true } } });
            ada.asks("PATCH draft", json!({ "revision": 0, "app": off })).await.assert_problem(409, "set-by-file");
        })
        .await;
}

#[actix_web::test]
async fn a_provider_of_the_settings_is_shown_as_one_of_the_app() {
    World::new()
        .file("[provider.custom_token.config]\nsigningAlgorithm = \"HS256\"\n[provider.custom_token.secret_config]\nsigningKeys = [\"shared\"]\n[provider.local_userpass.config]\nautoConfirm = true\n")
        .secret("SHARED", "0123456789abcdef0123456789abcdef")
        .serve(async |server| {
            let ada = Admin::named(server, "ada", Role::Owner).await;
            let token = ada.provider("custom-token").await;
            assert_eq!((&token["enabled"], &token["origin"]), (&json!(true), &json!("settings")));
            assert_eq!(token["config"], json!({ "signingAlgorithm": "HS256" }));
            assert_eq!(token["secret_config"], json!({ "signingKeys": ["shared"] }));
            assert_eq!(ada.provider("local-userpass").await["config"], json!({ "autoConfirm": true }));
        })
        .await;
}

#[actix_web::test]
async fn no_answer_has_a_secret_and_what_is_wrong_is_said_a_sentence_for_each_fault() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    World::new()
        .secret("SHARED", SECRET)
        .serve(async |server| {
            let (ada, eve) = (Admin::named(server, "ada", Role::Owner).await, Admin::named(server, "eve", Role::Read).await);
            let token = |key: &str| json!({ "config": { "signingAlgorithm": "HS256" }, "secret_config": { "signingKeys": [key] } });
            let both = json!({ "custom-token": token("other"), "saml": {} });
            let wrong = ada.asks("PATCH draft", json!({ "revision": 0, "app": { "providers": both } })).await;
            wrong.assert_problem_with(400, "invalid-parameter", &["faults"]);
            let faults = wrong.json_as("application/problem+json")["faults"].clone();
            assert!(faults.as_array().unwrap().iter().any(|fault| fault.as_str().unwrap().contains("saml: there is no such provider")));
            for (body, code) in [
                (json!({ "app": {} }), "bad-field"),
                (json!({ "revision": -1, "app": {} }), "bad-field"),
                (json!({ "revision": 0, "app": [] }), "bad-field"),
                (json!({ "revision": 0, "app": { "values": {} } }), "bad-field"),
                (json!({ "revision": 0, "app": { "refresh_token_expiration_s": 0 } }), "invalid-parameter"),
            ] {
                let answer = ada.asks("PATCH draft", body).await;
                let more: &[&str] = if code == "invalid-parameter" { &["faults"] } else { &[] };
                answer.assert_problem_with(400, code, more);
            }
            ada.asks("POST app/deploy", json!({ "app": {} })).await.assert_problem(400, "bad-field");
            assert!(audit(server, &ada.token, "&what=draft").await.is_empty(), "what was not tried is not written down");

            ada.drafts(0, json!({ "providers": { "custom-token": token("shared") } })).await;
            ada.does("POST draft/deploy", json!({ "revision": 1 }), 201).await;
            ada.drafts(0, anonymous(false)).await;
            for path in ["app", "app/content", "app/content?deployment=2", "draft", "draft/diff", "deployments", "deployments/1", "audit"] {
                let shown = eve.gets(path).await.to_string();
                assert!(!shown.contains(SECRET), "{path}");
            }
            assert_eq!(eve.provider("custom-token").await["secret_config"], json!({ "signingKeys": ["shared"] }));
            // of the role read: looks, and changes nothing
            let look = json!({ "app": eve.gets("app/content").await });
            assert_eq!(eve.does("POST app/diff", look, 200).await["changes"], json!([]));
            for (what, body) in [
                ("PATCH draft", json!({ "revision": 1, "app": {} })),
                ("DELETE draft?revision=1", Value::Null),
                ("POST draft/deploy", json!({ "revision": 1 })),
                ("POST deployments/1/deploy", json!({})),
                ("POST app/deploy", json!({ "app": {} })),
            ] {
                eve.asks(what, body).await.assert_problem(403, "insufficient-role");
            }
            assert_eq!(server.server.app().number, 2);
        })
        .await;
}

/// What `passerby push`, `pull` and `diff` do.
#[actix_web::test]
async fn an_app_is_pushed_whole_and_only_if_it_differs() {
    World::new()
        .serve(async |server| {
            let ada = Admin::named(server, "ada", Role::Owner).await;
            let mut app = ada.gets("app/content").await;
            let same = ada.does("POST app/deploy", json!({ "app": app }), 200).await;
            assert_eq!((&same["changed"], &same["number"]), (&json!(false), &json!(1)));
            app["providers"]["anon-user"]["disabled"] = json!(true);
            let diff = ada.does("POST app/diff", json!({ "app": app }), 200).await;
            assert_eq!((&diff["deployment"], &diff["changes"]), (&json!(1), &json!(["anon-user: enabled → disabled"])));
            let pushed = ada.does("POST app/deploy", json!({ "app": app, "seen": 1, "name": "push" }), 201).await;
            assert_eq!((&pushed["number"], &pushed["name"]), (&json!(2), &json!("push")));
            app["providers"]["anon-user"]["disabled"] = json!(false);
            let late = ada.asks("POST app/deploy", json!({ "app": app, "seen": 1 })).await;
            late.assert_problem_with(409, "deployment-moved", &["number", "by", "at"]);
            assert_eq!(ada.gets("app/content?deployment=1").await, app);
            ada.asks("GET app/content?deployment=9", Value::Null).await.assert_problem(404, "deployment-not-found");
        })
        .await;
}

/// Of the same origins the order is another, and a value deep inside is called as what is said in words elsewhere.
#[actix_web::test]
async fn whatever_differs_is_changed_and_is_said() {
    World::new()
        .serve(async |server| {
            let ada = Admin::named(server, "ada", Role::Owner).await;
            let app = |origins: [&str; 2], disabled: bool| {
                let function = json!({ "disabled": true, "config": { "disabled": disabled } });
                json!({ "app": { "providers": { "custom-function": function }, "allowed_request_origins": origins } })
            };
            let (one, two) = ("https://a.example", "https://b.example");
            ada.does("POST app/deploy", app([one, two], true), 201).await;
            let same = ada.does("POST app/diff", app([one, two], true), 200).await;
            assert_eq!((&same["changed"], &same["changes"]), (&json!(false), &json!([])));
            for (app, said) in [
                (app([two, one], true), "allowed_request_origins: in another order"),
                (app([one, two], false), "custom-function.config.disabled: true → false"),
            ] {
                let diff = ada.does("POST app/diff", app.clone(), 200).await;
                assert_eq!((&diff["changed"], &diff["changes"]), (&json!(true), &json!([said])));
                let draft = ada.drafts(0, app["app"].clone()).await;
                let diff = ada.gets("draft/diff").await;
                assert_eq!((&diff["changed"], &diff["changes"]), (&json!(true), &json!([said])));
                ada.does(&format!("DELETE draft?revision={}", draft["revision"]), Value::Null, 204).await;
            }
        })
        .await;
}

#[actix_web::test]
async fn an_app_may_be_larger_than_other_bodies_and_has_a_bound_of_its_own() {
    World::new()
        .serve(async |server| {
            let ada = Admin::named(server, "ada", Role::Owner).await;
            let owner = super::token(server, "bob", Role::Owner).await;
            let of = |bytes: usize| json!({ "custom_user_data": { "note": "x".repeat(bytes) } });
            let whole = |bytes: usize| {
                let mut app = of(bytes);
                app["providers"] = json!({});
                app["allowed_request_origins"] = json!([]);
                json!({ "app": app })
            };
            ada.drafts(0, of(200_000)).await;
            ada.does("POST draft/deploy", json!({ "revision": 1 }), 201).await;
            assert_eq!(ada.does("POST app/diff", whole(250_000), 200).await["changed"], true);
            ada.does("POST app/deploy", whole(250_000), 201).await;
            for (bytes, code) in [(263_000, "app-too-large"), (525_000, "body-too-large")] {
                for (what, body) in [
                    ("PATCH draft", json!({ "revision": 0, "app": of(bytes) })),
                    ("POST app/diff", whole(bytes)),
                    ("POST app/deploy", whole(bytes)),
                ] {
                    ada.asks(what, body).await.assert_problem(413, code);
                }
            }
            ada.asks("POST deployments/1/deploy", json!({ "name": "x".repeat(70_000) }))
                .await
                .assert_problem(413, "body-too-large");
            let path = format!("PATCH {}/custom_user_data", super::app(server));
            for (bytes, status) in [(250_000, 204), (263_000, 413), (525_000, 413)] {
                let body = of(bytes)["custom_user_data"].to_string();
                assert_eq!(ask(server, &path).bearer(&owner).body(body).send().await.status, status, "{bytes}");
            }
            // what became of it stays in the log of what admins did
            assert!(json!(audit(server, &owner, "").await).to_string().len() < 20_000);
        })
        .await;
}

/// The console writes what is listed here into drafts.
#[actix_web::test]
async fn every_option_that_is_listed_is_one_that_its_provider_has() {
    World::new()
        .serve(async |server| {
            let ada = Admin::named(server, "ada", Role::Owner).await;
            for provider in ada.gets("app").await["providers"].as_array().unwrap() {
                let mut object = json!({ "disabled": provider["editable"] == false });
                for option in provider["options"].as_array().unwrap() {
                    let value = match option["kind"].as_str().unwrap() {
                        "bool" => json!(true),
                        "text-list" => json!(["x"]),
                        "field-list" => json!([{ "name": "x" }]),
                        "choice" => option["choices"][0].clone(),
                        _ if option["name"].as_str().unwrap().ends_with("Url") => json!("https://app.example"),
                        _ => json!("x"),
                    };
                    let path = format!("/{}", option["name"].as_str().unwrap().replace('.', "/"));
                    let (inside, _) = path.rsplit_once('/').unwrap();
                    if !inside.is_empty() && object.pointer(inside).is_none() {
                        object[&inside[1..]] = json!({});
                    }
                    let (_, key) = path.rsplit_once('/').unwrap();
                    object.pointer_mut(inside).unwrap()[key] = value;
                    assert!(!option["help"].as_str().unwrap().is_empty());
                }
                let name = provider["name"].as_str().unwrap();
                let answer = ada
                    .asks(
                        "POST app/diff",
                        json!({ "app": { "providers": { name: object }, "allowed_request_origins": [] } }),
                    )
                    .await;
                let faults = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(!faults.contains("no such option") && !faults.contains("expected a"), "{name}: {faults}");
            }
        })
        .await;
}
