//! Apps and providers that are served, and that are not.

use super::*;

#[actix_web::test]
async fn apps_and_providers_that_are_not_served_are_named_in_the_answer() {
    let unknown = "cannot find app using Client App ID 'other-abcde'";
    World::new()
        .serve(async |server| {
            let login = |app: &str, provider: &str| {
                server.call(&format!("POST /api/client/v2.0/app/{app}/auth/providers/{provider}/login"))
            };
            login("other-abcde", "anon-user").send().await.assert_client_error(404, None, unknown);
            let location = server.call("GET /api/client/v2.0/app/other-abcde/location").send().await;
            location.assert_client_error(404, None, unknown);
            let long = "x".repeat(5000);
            let shown = format!("cannot find app using Client App ID '{}'", &long[..64]);
            login(&long, "anon-user").send().await.assert_client_error(404, None, &shown);
            for provider in ["local-userpass", "api-key", "custom-token", "custom-function", "oauth2-google"] {
                let text = format!("authentication via '{provider}' is unsupported");
                login("passerby", provider).send().await.assert_client_error(401, Some("AuthError"), &text);
            }
            let text = "auth provider not found: 'anonymous'";
            let answer = login("passerby", "anonymous").send().await;
            answer.assert_client_error(404, Some("AuthProviderNotFound"), text);
            assert_eq!(server.metric("passerby_users").await, 0);
        })
        .await;
}

/// Rule 8: a disabled provider answers logins with an error, and the sessions there are go on.
#[actix_web::test]
async fn a_disabled_provider_takes_no_logins_and_ends_no_session() {
    let world = World::new();
    let before = world.start().await;
    let (app, v1) = (before.log_in().await, before.log_in_v1().await);
    before.stop().await;
    let world = world.without_anonymous_logins();
    world
        .serve(async |server| {
            let text = "authentication via 'anon-user' is unsupported";
            server.call(LOGIN).send().await.assert_client_error(401, Some("AuthError"), text);
            server.call(CREATE).send().await.assert_problem(403, "provider-disabled");
            assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 200);
            assert_eq!(server.call(REFRESH).bearer(&app.refresh).send().await.status, 201);
            assert_eq!(server.call(ROTATE).bearer(&v1.refresh).send().await.status, 200);
        })
        .await;
}

#[actix_web::test]
async fn an_anonymous_identity_cannot_be_linked() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in().await;
            let answer = server.call(LINK).bearer(&tokens.access).body("{}").send().await;
            answer.assert_client_error(400, Some("BadRequest"), "linking an anonymous identity is not allowed");
            assert_eq!(server.metric("passerby_users").await, 1);
            assert_eq!(server.call(PROFILE).bearer(&tokens.access).send().await.status, 200);
        })
        .await;
}

#[actix_web::test]
async fn a_server_has_the_providers_of_its_file() {
    let file = "[provider.custom_token]\nconfig = { signingAlgorithm = \"HS256\" }\n\
                secret_config = { signingKeys = [\"shared\"] }\n\
                [provider.oidc.corp]\nissuer = \"https://idp.example\"\nclient_id = \"c\"\n";
    World::new()
        .secret("SHARED", "0123456789abcdef0123456789abcdef")
        .file(file)
        .serve(async |server| {
            let names: Vec<_> = server.server.app().providers.names().map(str::to_owned).collect();
            assert_eq!(names, ["custom-token", "oidc-corp"]);
        })
        .await;
}
