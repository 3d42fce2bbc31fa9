//! Readers who log out, whether or not they are stored yet.

use super::*;

/// S7: a lazy cookie that is used again after its reader has ended gives a new id, also after a restart, for as long as it is
/// good; and what is remembered of it is forgotten then.
#[actix_web::test]
async fn a_reader_who_logged_out_does_not_come_back_by_an_old_lazy_cookie() {
    let world = World::new();
    let server = world.start().await;
    let mut jar = Jar::default();
    let id = passed(&jar.visit(&server, AUTO).await);
    let lazy = jar.0.clone();
    assert_eq!(passed(&jar.visit(&server, AUTO).await), id);
    let own = |call: Call| call.header("sec-fetch-site", "same-origin");
    let out = own(jar.sent(server.call("DELETE /v1/session"))).send().await;
    assert_eq!(out.status, 204, "{out:?}");
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert!(out.header("clear-site-data").is_some());
    assert_eq!(users(&server), 0);
    let mut replayed = Jar(lazy.clone());
    assert_ne!(passed(&replayed.visit(&server, AUTO).await), id);
    server.stop().await;
    let server = world.start().await;
    let mut replayed = Jar(lazy.clone());
    assert_ne!(passed(&replayed.visit(&server, AUTO).await), id);
    assert_eq!(values(&*server.server.store), 1);
    world.clock.advance_s(90 * DAY_S);
    let mut replayed = Jar(lazy);
    assert_ne!(passed(&replayed.visit(&server, AUTO).await), id, "by now it is too old by itself");
    let pages = server.server.store.pages();
    server.server.janitor.sweep(pages).await.unwrap();
    until("it is forgotten", || values(&*server.server.store) == 0).await;
    server.stop().await;
}

#[actix_web::test]
async fn a_reader_who_leaves_unstored_is_forgotten_by_the_browser() {
    World::new()
        .serve(async |server| {
            for what in ["DELETE /v1/session", "DELETE /v1/user"] {
                let mut jar = Jar::default();
                let id = passed(&jar.visit(server, AUTO).await);
                jar.sent(server.call(what)).send().await.assert_problem(403, "cross-site");
                let out = jar.sent(server.call(what)).header("sec-fetch-site", "same-origin").send().await;
                assert_eq!((out.status, out.header("clear-site-data").is_some()), (204, true), "{out:?}");
                let mut replayed = Jar(jar.0.clone());
                assert!(jar.keep(&out) && jar.0.is_none());
                assert_ne!(passed(&jar.visit(server, AUTO).await), id);
                assert_ne!(passed(&replayed.visit(server, AUTO).await), id, "nor by the cookie that was");
            }
            assert_eq!(users(server), 0);
            // created, but the browser lost the answer that said so
            let mut jar = Jar::default();
            passed(&jar.visit(server, AUTO).await);
            passed(&jar.sent(server.call(AUTO)).send().await);
            assert_eq!(users(server), 1);
            jar.sent(server.call("DELETE /v1/session")).send().await.assert_problem(403, "cross-site");
            let out = jar.sent(server.call("DELETE /v1/session")).header("sec-fetch-site", "same-origin").send().await;
            assert_eq!(out.status, 204, "{out:?}");
            assert_eq!(users(server), 0);
        })
        .await;
}

/// S7: the page's other requests may be making the reader while its script logs out.
#[actix_web::test]
async fn a_reader_who_leaves_while_being_created_is_gone_all_the_same() {
    World::new()
        .serve(async |server| {
            for round in 0..30 {
                let mut lazy = Jar::default();
                let id = passed(&lazy.visit(server, AUTO).await);
                let leave = lazy.sent(server.call("DELETE /v1/session")).header("sec-fetch-site", "same-origin").send();
                let pictures = join_all((0..4).map(|_| lazy.sent(server.call(AUTO)).send()));
                let (out, made) = if round % 2 == 0 {
                    join(leave, pictures).await
                } else {
                    let (made, out) = join(pictures, leave).await;
                    (out, made)
                };
                assert_eq!(out.status, 204, "{out:?}");
                assert_eq!(users(server), 0, "round {round}");
                for answer in &made {
                    let mut jar = Jar(lazy.0.clone());
                    jar.keep(answer);
                    // what an overtaken request was given is a new id, or a session that is over
                    if passed(answer) == id {
                        jar.sent(server.call(NEVER)).send().await.assert_problem(401, "no-reader");
                    }
                }
                assert_ne!(passed(&lazy.visit(server, AUTO).await), id);
            }
        })
        .await;
}
