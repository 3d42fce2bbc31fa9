//! Logins in the browser while what is deployed changes. What issuers do with them is tested with real ones, in `tests/clients/oidc`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use passerby::codes::SentLogin;
use passerby::provider::app_folder::AppContent;
use serde_json::json;

use crate::world::World;

/// An address at which an issuer describes itself, once for each connection.
fn issuer() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let of = |path: &str| format!("{issuer}/{path}");
    let about = json!({
        "issuer": issuer,
        "authorization_endpoint": of("authorize"),
        "token_endpoint": of("token"),
        "jwks_uri": of("keys"),
        "response_types_supported": ["code"],
    })
    .to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            drop(stream.read(&mut [0; 4096]));
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            drop(stream.write_all(format!("{head}content-length: {}\r\n\r\n{about}", about.len()).as_bytes()));
        }
    });
    issuer
}

#[actix_web::test]
async fn a_login_does_not_come_back_to_a_page_that_its_provider_no_longer_lists() {
    let issuer = issuer();
    let app = |page: &str| {
        let mut app = AppContent::default();
        let (config, secrets) = (json!({ "clientId": "c", "openId": true }), json!({ "clientSecret": "client" }));
        let google = json!({ "config": config, "secret_config": secrets, "redirect_uris": [page] });
        app.providers.insert("oauth2-google".to_owned(), google);
        app
    };
    let page = "https://news.example/back";
    let mut world = World::new()
        .secret("CLIENT", "hidden")
        .set("public_url", "http://127.0.0.1:9")
        .set("outbound.allow", &issuer)
        .file(&format!("[provider.oidc.corp]\nissuer = \"{issuer}\"\nclient_id = \"c\"\n"));
    world.app = Some(app(page));
    world
        .serve(async |server| {
            let (server_now, entropy) = (server.server.clock().running(), &*server.server.entropy);
            // one that waits at an issuer; which one makes no difference for what is looked at first
            let corp = server.server.app().providers.oidc("oidc-corp").unwrap().clone();
            let (_, pending) =
                corp.begin("http://127.0.0.1:9/callback", entropy, server.server.wall_s()).await.unwrap();
            let state = pending.state().to_owned();
            let (provider, challenge) = ("oauth2-google".to_owned(), String::new());
            let sent = SentLogin { provider, pending, redirect_uri: page.to_owned(), challenge };
            let code = server.server.codes.sent.issue(None, sent, server_now, entropy).unwrap();
            let next = app("https://news.example/elsewhere");
            server.server.deployments.deploy_folder(&server.handle(), &next, "a test").await.unwrap();
            let name = format!("passerby-login-{}", &state[..12]);
            let back = server
                .call(&format!("GET /v1/providers/oauth2-google/callback?state={state}&code=x"))
                .header("cookie", &format!("{name}={}", code.text()))
                .send()
                .await;
            back.assert_problem(400, "unknown-login");
            assert!(back.text().contains("no longer one of the provider's"), "{}", back.text());
        })
        .await;
}
