//! What of the app is in force: what a start takes, and what takes its place while the server runs.

use std::cell::Cell;
use std::sync::Arc;

use futures_util::future::{join, join_all, join3};
use passerby::deployment::{DeployError, Deployment, How, MOST_KEPT, Origin, Unreadable};
use passerby::provider::app_folder::AppContent;
use passerby::startup::{self, StartError};
use passerby_actors::domain::{Family, Rewrite, ValueKey};
use passerby_actors::handle::{Handle, OwnChange};
use passerby_actors::testkit::faulty::Mode;
use passerby_actors::testkit::until;
use serde_json::json;

use crate::data::{hears, open, says};
use crate::world::{Answer, CREATE, LOGIN, TestServer, VIEW, World};

/// An app whose anonymous logins are on or off.
pub(crate) fn anonymous(enabled: bool) -> AppContent {
    let mut app = AppContent::default();
    app.set_enabled("anon-user", enabled);
    app
}

pub(crate) async fn deploy(server: &TestServer, handle: &Handle, app: &AppContent) -> Result<Option<u64>, DeployError> {
    let deployed = server.server.deployments.deploy_folder(handle, app, "a test").await;
    deployed.map(|app| app.map(|app| app.number))
}

pub(crate) fn by(who: &str) -> How<'_> {
    How { by: who, origin: Origin::Api, name: None }
}

/// Both, of which neither sees what becomes of the other: the disk is held up until both wait for it.
pub(crate) async fn at_once<T>(
    server: &TestServer,
    one: impl Future<Output = T>,
    two: impl Future<Output = T>,
) -> (T, T) {
    server.disk.let_pass(Some(0));
    let release = async {
        until("both wait", || server.disk.held_up() > 0 && server.server.store.waiting() > 0).await;
        server.disk.let_pass(None);
    };
    // together, both might become one group
    let two = async {
        until("the first one is held up", || server.disk.held_up() > 0).await;
        two.await
    };
    let (one, two, ()) = join3(one, two, release).await;
    (one, two)
}

pub(crate) fn number(server: &TestServer) -> u64 {
    server.server.app().number
}

#[actix_web::test]
async fn a_restart_keeps_the_deployment_and_takes_a_folder_that_changed_meanwhile() {
    let mut world = World::new();
    world
        .serve(async |server| {
            assert_eq!((number(server), server.call(CREATE).send().await.status), (1, 201), "without a folder");
            assert_eq!(server.metric("passerby_deployment_number").await, 1);
        })
        .await;
    for (folder, expected) in [
        (None, (1, 201)),
        (Some(anonymous(false)), (2, 403)),
        (Some(anonymous(false)), (2, 403)),
        // the folder is gone, and what was deployed is not
        (None, (2, 403)),
        (Some(anonymous(true)), (3, 201)),
    ] {
        world.app = folder;
        let server = world.start().await;
        assert_eq!((number(&server), server.call(CREATE).send().await.status), expected);
        server.stop().await;
    }
}

#[actix_web::test]
async fn a_folder_is_deployed_while_the_server_runs_and_only_if_it_changed() {
    World::new()
        .serve(async |server| {
            let (handle, before) = (server.handle(), server.log_in_v1().await);
            assert_eq!(deploy(server, &handle, &anonymous(false)).await.unwrap(), Some(2));
            assert_eq!(deploy(server, &handle, &anonymous(false)).await.unwrap(), None, "it is the same");
            server.call(CREATE).send().await.assert_problem(403, "provider-disabled");
            assert_eq!(server.call(LOGIN).send().await.status, 401);
            // who is here already goes on
            assert_eq!(server.call(VIEW).bearer(&before.access).send().await.status, 200);
            assert_eq!(deploy(server, &handle, &anonymous(true)).await.unwrap(), Some(3));
            assert_eq!(server.call(CREATE).send().await.status, 201);
            assert_eq!(server.metric("passerby_deployment_number").await, 3);
        })
        .await;
}

#[actix_web::test]
async fn what_is_wrong_with_an_app_is_said_at_once_and_nothing_changes() {
    World::new()
        .serve(async |server| {
            let handle = server.handle();
            let mut app = anonymous(false);
            app.providers.insert("local-userpass".to_owned(), json!({ "config": { "autoConfirm": 1 } }));
            app.providers.insert("saml".to_owned(), json!({}));
            app.allowed_request_origins.push("news.example".to_owned());
            let wrong = deploy(server, &handle, &app).await.unwrap_err();
            assert_eq!(wrong.to_string().lines().count(), 2, "{wrong}");
            let mut app = anonymous(false);
            let page = json!({ "emailConfirmationUrl": "https://news.example/confirm" });
            app.providers.insert("local-userpass".to_owned(), json!({ "config": page }));
            let wrong = deploy(server, &handle, &app).await.unwrap_err().to_string();
            assert!(wrong.contains("mail.smtp: is missing"), "{wrong}");
            let mut app = anonymous(false);
            app.custom_user_data = Some([("x".to_owned(), json!("x".repeat(300_000)))].into_iter().collect());
            assert!(matches!(deploy(server, &handle, &app).await, Err(DeployError::TooLarge(300_000..))));
            assert_eq!((number(server), server.call(CREATE).send().await.status), (1, 201));
        })
        .await;
}

/// Whoever pushes the folder of the server, or pulls into it, has deployed what is in it, and the look at it comes later.
#[actix_web::test]
async fn a_folder_that_says_what_is_in_force_already_is_taken_and_makes_no_deployment() {
    let world = World::new();
    world
        .serve(async |server| {
            let (handle, deployments) = (server.handle(), &server.server.deployments);
            deploy(server, &handle, &anonymous(true)).await.unwrap();
            deployments.deploy_app(&handle, by("ada"), 0, anonymous(false)).await.unwrap();
            let before = number(server);
            assert_eq!(deploy(server, &handle, &anonymous(false)).await.unwrap(), None);
            assert_eq!(number(server), before);
            // what is deployed beside the folder now stays, as it does behind any other that was taken
            deployments.deploy_app(&handle, by("ada"), 0, anonymous(true)).await.unwrap();
            assert_eq!(deploy(server, &handle, &anonymous(false)).await.unwrap(), None);
            assert_eq!((number(server), server.call(CREATE).send().await.status), (before + 1, 201));
            deployments.deploy_app(&handle, by("ada"), 0, AppContent::default()).await.unwrap();
        })
        .await;
    let mut world = world;
    let numbers = async |world: &World| {
        let server = world.start().await;
        let found = number(&server);
        server.stop().await;
        found
    };
    let before = numbers(&world).await;
    world.app = Some(AppContent::default());
    assert_eq!(numbers(&world).await, before, "and so does a start");
    world
        .serve(async |server| {
            server.server.deployments.deploy_app(&server.handle(), by("ada"), 0, anonymous(false)).await.unwrap();
        })
        .await;
    assert_eq!(numbers(&world).await, before + 1, "which then has taken it");
}

/// CORS: each request is answered by the list in force when it comes.
#[actix_web::test]
async fn origins_are_deployed_too_unless_the_settings_list_them() {
    const ORIGIN: &str = "https://news.example";
    let mut app = AppContent::default();
    app.allowed_request_origins.push("https://app.example".to_owned());
    let ask = async |server: &TestServer, what: &str| -> Answer {
        let asked = server.call(what).header("origin", ORIGIN).header("access-control-request-method", "GET");
        asked.send().await
    };
    let allowed = |answer: &Answer| answer.header("access-control-allow-origin").map(str::to_owned);
    World::new()
        .serve(async |server| {
            for what in [VIEW, "OPTIONS /v1/session"] {
                assert_eq!(allowed(&ask(server, what).await).as_deref(), Some("*"));
            }
            deploy(server, &server.handle(), &app).await.unwrap();
            assert_eq!(allowed(&ask(server, VIEW).await), None);
            assert_eq!(ask(server, "OPTIONS /v1/session").await.status, 400);
            app.allowed_request_origins.push(ORIGIN.to_owned());
            deploy(server, &server.handle(), &app).await.unwrap();
            for what in [VIEW, "OPTIONS /v1/session"] {
                let answer = ask(server, what).await;
                assert_eq!(allowed(&answer).as_deref(), Some(ORIGIN));
                assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
            }
        })
        .await;
    World::new()
        .set("allowed_origins", ORIGIN)
        .serve(async |server| {
            app.allowed_request_origins.pop();
            deploy(server, &server.handle(), &app).await.unwrap();
            assert_eq!(number(server), 2);
            assert_eq!(allowed(&ask(server, VIEW).await).as_deref(), Some(ORIGIN));
        })
        .await;
}

/// What a provider has fetched, and who tried passwords how often, is not forgotten.
#[actix_web::test]
async fn a_provider_that_did_not_change_goes_on_as_it_is_and_so_does_what_works_on_passwords() {
    let with = |enabled: bool, confirm: bool| {
        let mut app = anonymous(enabled);
        let config = json!({ "autoConfirm": confirm, "emailConfirmationUrl": "https://news.example/confirm" });
        app.providers.insert("local-userpass".to_owned(), json!({ "config": config }));
        app
    };
    let mut world = World::new()
        .secret("HOOK", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
        .set("mail.webhook", "http://127.0.0.1:9/mail")
        .set("mail.webhook_secret", "hook")
        .set("outbound.allow", "http://127.0.0.1:9")
        .file("[provider.oidc.corp]\nissuer = \"https://idp.example\"\nclient_id = \"c\"\n");
    world.app = Some(with(true, true));
    world
        .serve(async |server| {
            let app = || server.server.app();
            let issuer = Arc::clone(app().providers.get("oidc-corp").unwrap());
            let userpass = Arc::clone(app().providers.userpass().unwrap());
            let goes_on = |what: &Arc<_>| Arc::ptr_eq(what, app().providers.userpass().unwrap());
            deploy(server, &server.handle(), &with(false, true)).await.unwrap();
            assert!(Arc::ptr_eq(&issuer, app().providers.get("oidc-corp").unwrap()) && goes_on(&userpass));
            deploy(server, &server.handle(), &with(false, false)).await.unwrap();
            assert!(Arc::ptr_eq(&issuer, app().providers.get("oidc-corp").unwrap()) && !goes_on(&userpass));
            assert!(std::ptr::eq(userpass.passwords(), app().providers.userpass().unwrap().passwords()));
            // a counter that is gone and comes back would seem to have begun anew
            deploy(server, &server.handle(), &anonymous(true)).await.unwrap();
            assert!(app().providers.userpass().is_none());
            for name in ["passwords_turned_away_total", "password_work_wanted_total", "passwords_waiting"] {
                assert_eq!(server.metric(&format!("passerby_{name}")).await, 0);
            }
        })
        .await;
}

/// Requests that are under way meanwhile get what they would get before or after, and nothing closes.
#[actix_web::test]
async fn deployments_lose_no_request_and_close_no_socket() {
    const DEPLOYED: usize = 40;
    World::new()
        .set("limits", "off")
        .serve(async |server| {
            let (handle, tokens, is_over) = (server.handle(), server.log_in_v1().await, Cell::new(false));
            let mut socket = open(server, &tokens.access).await;
            let deploying = async {
                for at in 0..DEPLOYED {
                    let is_on = at % 2 == 1;
                    deploy(server, &handle, &anonymous(is_on)).await.unwrap();
                    assert_eq!(server.call(CREATE).send().await.status, if is_on { 201 } else { 403 });
                }
                is_over.set(true);
            };
            let asking = async || {
                while !is_over.get() {
                    let answer = server.call(CREATE).send().await;
                    if answer.status != 201 {
                        answer.assert_problem(403, "provider-disabled");
                    }
                    assert_eq!(server.call(VIEW).bearer(&tokens.access).send().await.status, 200);
                }
            };
            join(deploying, join_all((0..4).map(|_| asking()))).await;
            assert_eq!(number(server), DEPLOYED as u64 + 1);
            says(&mut socket, json!({"type": "get", "id": "a-look-at-the-data"})).await;
            assert_eq!(hears(&mut socket).await["id"], "a-look-at-the-data");
        })
        .await;
}

#[actix_web::test]
async fn of_two_who_deploy_at_once_one_is_told_that_the_other_was_faster() {
    World::new()
        .serve(async |server| {
            let (handle, deployments) = (server.handle(), &server.server.deployments);
            let of_lifetime = |seconds| AppContent { refresh_token_expiration_s: Some(seconds), ..anonymous(false) };
            let deploy = async |who: &str, seen, seconds| {
                let deployed = deployments.deploy_app(&handle, by(who), seen, of_lifetime(seconds)).await;
                deployed.map(|deployed| deployed.number)
            };
            let lifetime = || handle.core().policy().session_lifetime_s;
            server.disk.let_pass(Some(0));
            let is_held_up = || until("the first one is held up", || server.disk.held_up() > 0);
            let second = async {
                is_held_up().await;
                deploy("bob", 1, 7200).await
            };
            let release = async {
                is_held_up().await;
                server.disk.let_pass(None);
            };
            let (first, second, ()) = join3(deploy("ada", 1, 3600), second, release).await;
            assert_eq!(first.unwrap(), 2);
            assert!(matches!(&second, Err(DeployError::Moved(Some(last))) if last.by == "ada"), "{second:?}");
            assert_eq!((number(server), lifetime()), (2, 3600));
            // who does not say what they saw comes after it, in all its parts
            assert_eq!(deploy("bob", 0, 7200).await.unwrap(), 3);
            assert_eq!((number(server), lifetime()), (3, 7200));
        })
        .await;
}

#[actix_web::test]
async fn a_hundred_deployments_are_kept_and_the_oldest_go() {
    World::new()
        .serve(async |server| {
            let handle = server.handle();
            for at in 0..MOST_KEPT + 5 {
                deploy(server, &handle, &anonymous(at % 2 == 1)).await.unwrap();
            }
            assert_eq!(handle.own_count(Family::DEPLOYMENT), MOST_KEPT);
            let kept = |number: u64| handle.own_value(Family::DEPLOYMENT, &number.to_be_bytes()).is_some();
            assert_eq!([kept(6), kept(7), kept(106)], [false, true, true]);
        })
        .await;
}

#[actix_web::test]
async fn what_the_store_cannot_take_is_not_deployed() {
    World::new()
        .serve(async |server| {
            let handle = server.handle();
            server.disk.set(Mode::SyncsFail);
            let failed = deploy(server, &handle, &anonymous(false)).await;
            assert!(matches!(failed, Err(DeployError::Core(_))), "{failed:?}");
            assert_eq!(number(server), 1);
            server.heal().await;
            deploy(server, &handle, &anonymous(false)).await.unwrap();
            server.call(CREATE).send().await.assert_problem(403, "provider-disabled");
        })
        .await;
}

/// The folder says what is in force, also when it cannot be written down.
#[actix_web::test]
async fn a_start_whose_store_fails_serves_the_folder_and_the_next_one_deploys_it() {
    let mut world = World::new();
    world.serve(async |server| assert_eq!(number(server), 1)).await;
    world.app = Some(anonymous(false));
    let (before, start) = (world.disk.syncs(), world.start().await);
    // the last sync of a start is that of its deployment
    let of_start = world.disk.syncs() - before;
    assert_eq!(number(&start), 2);
    start.stop().await;
    world.app = Some(anonymous(true));
    world.disk.turn_at_sync(of_start - 1, Mode::SyncsFail);
    let server = world.start().await;
    assert_eq!(number(&server), 0);
    server.heal().await;
    assert_eq!(server.call(CREATE).send().await.status, 201);
    server.stop().await;
    world.serve(async |server| assert_eq!(number(server), 3)).await;
}

/// The start serves what it could not store; whoever takes the folder back since gets what was deployed last.
#[actix_web::test]
async fn a_folder_that_is_taken_back_after_a_start_whose_store_failed_is_in_force_again() {
    let mut world = World::new();
    world.app = Some(anonymous(true));
    world.serve(async |server| assert_eq!(number(server), 1)).await;
    let (before, start) = (world.disk.syncs(), world.start().await);
    // the next one would be that of a deployment
    let of_start = world.disk.syncs() - before;
    start.stop().await;
    world.app = Some(anonymous(false));
    world.disk.turn_at_sync(of_start, Mode::SyncsFail);
    let server = world.start().await;
    assert_eq!((number(&server), server.call(CREATE).send().await.status), (0, 403));
    server.heal().await;
    assert_eq!(deploy(&server, &server.handle(), &anonymous(true)).await.unwrap(), Some(1));
    assert_eq!((number(&server), server.call(CREATE).send().await.status), (1, 201));
    server.stop().await;
}

/// Which providers there are is known when the store is open.
#[actix_web::test]
async fn a_start_without_the_folder_finds_the_provider_of_the_shared_callback_in_the_newest_deployment() {
    let mut world = World::new()
        .secret("CLIENT", "hidden")
        .set("public_url", "https://id.news.example")
        .set("auth.shared_callback", "oauth2-google");
    let mut app = AppContent::default();
    let (config, secrets) = (json!({ "clientId": "c", "openId": true }), json!({ "clientSecret": "client" }));
    app.providers.insert("oauth2-google".to_owned(), json!({ "config": config, "secret_config": secrets }));
    for folder in [Some(app), None] {
        world.app = folder;
        world.serve(async |server| assert!(server.server.app().providers.oidc("oauth2-google").is_some())).await;
    }
    world.app = Some(AppContent::default());
    let admin = startup::start_admin(&world.settings(), None).unwrap();
    let refused = world.build(world.settings(), admin).await.err().unwrap().to_string();
    assert!(refused.contains("auth.shared_callback: there is no such provider \"oauth2-google\""), "{refused}");
}

#[actix_web::test]
async fn a_deployment_of_a_later_version_is_not_taken_for_another() {
    let world = World::new();
    world
        .serve(async |server| {
            let key = ValueKey::own(Family::DEPLOYMENT, 2_u64.to_be_bytes());
            let change = Rewrite::Put(Box::new(*b"\x02later"));
            server.handle().change_own(vec![OwnChange { key, seen: None, change }]).await.unwrap();
        })
        .await;
    let admin = startup::start_admin(&world.settings(), None).unwrap();
    let refused = world.build(world.settings(), admin).await.err().unwrap();
    assert!(matches!(refused, StartError::Deployment(DeployError::Unreadable(Unreadable::Format(2)))));
    assert!(!refused.to_string().contains("settings"), "no setting would change it: {refused}");
}

/// An admin goes on from the folder, so that the folder that did not change does not undo it.
#[actix_web::test]
async fn what_is_deployed_after_a_start_whose_store_failed_stays_until_the_folder_changes() {
    let mut world = World::new();
    world.app = Some(anonymous(true));
    world.serve(async |server| assert_eq!(number(server), 1)).await;
    let (before, start) = (world.disk.syncs(), world.start().await);
    let of_start = world.disk.syncs() - before;
    start.stop().await;
    let mut folder = anonymous(true);
    folder.set_enabled("api-key", true);
    world.app = Some(folder.clone());
    world.disk.turn_at_sync(of_start, Mode::SyncsFail);
    let server = world.start().await;
    assert_eq!(number(&server), 0);
    server.heal().await;
    let (handle, deployments) = (server.handle(), &server.server.deployments);
    deployments.follow(&handle).unwrap();
    assert_eq!(number(&server), 0, "what was deployed before is not in force again");
    assert_eq!(deployments.deploy_app(&handle, by("ada"), 0, anonymous(false)).await.unwrap().number, 2);
    assert_eq!(deploy(&server, &handle, &folder).await.unwrap(), None);
    server.stop().await;
    world.serve(async |server| assert_eq!((number(server), server.call(CREATE).send().await.status), (2, 403))).await;
}

/// Whoever was told that the outcome was not known finds it in force.
#[actix_web::test]
async fn a_deployment_that_was_stored_unseen_is_in_force_with_the_next_look() {
    World::new()
        .serve(async |server| {
            let (handle, app) = (server.handle(), anonymous(false));
            let (by, folder) = ("a test".to_owned(), Some(app.digest()));
            let (origin, name) = (Origin::Folder, None);
            let deployment = Deployment { number: 2, at_ms: 0, by, origin, name, folder, app: app.clone() };
            let bytes = [&[1], serde_json::to_vec(&deployment).unwrap().as_slice()].concat();
            let key = ValueKey::own(Family::DEPLOYMENT, 2_u64.to_be_bytes());
            let change = Rewrite::Put(bytes.into());
            handle.change_own(vec![OwnChange { key, seen: None, change }]).await.unwrap();
            assert_eq!(
                (server.server.deployments.list(&handle).unwrap().len(), number(server)),
                (2, 1),
                "to list is to look"
            );
            server.server.deployments.follow(&handle).unwrap();
            assert_eq!((number(server), server.call(CREATE).send().await.status), (2, 403));
            assert_eq!(deploy(server, &handle, &app).await.unwrap(), None);
        })
        .await;
}
