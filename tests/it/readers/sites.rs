//! The site's own pages, and those of other sites.

use super::*;

/// S18, S21: the site's own script logs in, links and logs out by cookie, sees no token, and no other site's page can.
#[actix_web::test]
async fn the_sites_own_calls_go_by_cookie_and_other_sites_cannot_send_them() {
    let file = "[provider.local_userpass]\nconfig = { autoConfirm = true }\n";
    World::new()
        .file(file)
        .set("session.fresh", "0")
        .serve(async |server| {
            let mut jar = Jar::default();
            let own = |call: Call| call.header("sec-fetch-site", "same-origin");
            let body = r#"{"mode":"cookie"}"#;
            let create = || server.call("POST /v1/sessions").body(body);
            jar.sent(create()).send().await.assert_problem(403, "cross-site");
            jar.sent(create()).header("sec-fetch-site", "cross-site").send().await.assert_problem(403, "cross-site");
            jar.sent(create()).header("origin", "https://evil.example").send().await.assert_problem(403, "cross-site");
            assert_eq!(users(server), 0);
            let made = jar.sent(own(create())).send().await;
            assert_eq!(made.status, 201);
            assert!(jar.keep(&made));
            let id = made.json()["user_id"].as_str().unwrap().to_owned();
            assert_eq!(made.json().as_object().unwrap().len(), 2, "{made:?}");
            let again = jar.sent(own(create())).send().await;
            assert_eq!((again.status, again.json()["user_id"].as_str()), (200, Some(id.as_str())));
            let origin = format!("http://{}", server.address);
            let by_origin = jar.sent(create()).header("origin", &origin).send().await;
            assert_eq!(by_origin.status, 200, "an old browser says so in Origin: {by_origin:?}");

            let seen = jar.visit(server, "GET /v1/session").await;
            assert_eq!(seen.json()["user_id"], id);
            let register = json!({ "email": "a@example.test", "password": "a password" }).to_string();
            assert_eq!(server.call("POST /v1/registrations").body(register).send().await.status, 202);
            let link = json!({ "provider": "local-userpass", "email": "a@example.test", "password": "a password" });
            let link = || server.call("POST /v1/user/identities").body(link.to_string());
            jar.sent(link()).header("sec-fetch-site", "same-site").send().await.assert_problem(403, "cross-site");
            let before = Jar(jar.0.clone());
            let linked = jar.sent(own(link())).send().await;
            assert_eq!((linked.status, linked.json().get("access_token")), (200, None), "{linked:?}");
            assert!(jar.keep(&linked), "the cookie from before the link is worth nothing");
            jar.sent(server.call("DELETE /v1/user")).send().await.assert_problem(403, "cross-site");
            own(before.sent(server.call("DELETE /v1/user"))).send().await.assert_problem(401, "no-reader");
            let answer = jar.visit(server, NEVER).await;
            assert_eq!((passed(&answer), answer.header("x-passerby-anonymous")), (id, Some("false")));

            jar.sent(server.call("DELETE /v1/session")).send().await.assert_problem(403, "cross-site");
            let out = jar.sent(own(server.call("DELETE /v1/session"))).send().await;
            assert_eq!(out.status, 204);
            jar.keep(&out);
            assert!(jar.0.is_none());
        })
        .await;
}

/// S21, S22: a page of a different origin acts by the reader's cookie only if `allowed_origins` names it, wherever it is.
#[actix_web::test]
async fn pages_of_listed_origins_may_act_by_cookie() {
    World::new()
        .set("allowed_origins", "https://news.example")
        .serve(async |server| {
            let create = |origin: &str, site: &str| {
                let call = server.call("POST /v1/sessions").body(r#"{"mode":"cookie"}"#);
                call.header("origin", origin).header("sec-fetch-site", site)
            };
            let mut jar = Jar::default();
            for site in ["same-site", "cross-site"] {
                create("https://other.example", site).send().await.assert_problem(403, "cross-site");
                let answer = jar.sent(create("https://news.example", site)).send().await;
                assert!(matches!(answer.status, 200 | 201), "{answer:?}");
                assert_eq!(answer.header("access-control-allow-origin"), Some("https://news.example"));
                assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
                jar.keep(&answer);
            }
            assert_eq!(users(server), 1);
        })
        .await;
}
