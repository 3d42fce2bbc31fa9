//! The admin listener: health, readiness, and metrics that a Prometheus can read.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use passerby::startup;
use tokio::sync::oneshot;

use crate::world::{LOGOUT, PROFILE, ROTATE, World, call, client};

/// Reads OpenMetrics text: every sample belongs to a described metric, counters end in `_total`, nothing stands twice.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end mark: {text}"));
    let (mut kinds, mut helps, mut samples) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for line in body.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => {
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
            }
            ["#", "HELP", name, help] => {
                assert!(!help.is_empty() && helps.insert(name.to_owned(), ()).is_none(), "{line}");
            }
            ["#", "UNIT", name, unit] => assert!(name.ends_with(&format!("_{unit}")), "{line}"),
            [name, value] => {
                let family = name.split('{').next().unwrap();
                let suffixes = ["_total", "_bucket", "_sum", "_count"];
                let metric = suffixes.iter().find_map(|suffix| family.strip_suffix(suffix)).unwrap_or(family);
                let kind = kinds.get(metric).unwrap_or_else(|| panic!("without a type: {line}"));
                assert!(helps.contains_key(metric), "without help: {line}");
                assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
                assert!(name.starts_with("passerby_"), "{line}");
                let value: f64 = value.parse().unwrap_or_else(|error| panic!("{error}: {line}"));
                assert!(value >= 0.0 && samples.insert(name.to_owned(), value).is_none(), "{line}");
            }
            _ => panic!("{line}"),
        }
    }
    samples
}

#[actix_web::test]
async fn metrics_are_open_metrics_and_count_what_happens() {
    World::new()
        .serve(async |server| {
            let read = async || {
                let answer = server.ask_admin("GET /metrics").await;
                let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                assert_eq!((answer.status, answer.header("content-type")), (200, Some(content_type)));
                parse(&answer.text())
            };
            let before = read().await;
            assert_eq!((before["passerby_logins_total"], before["passerby_writable"]), (0.0, 1.0));
            let app = server.log_in().await;
            let v1 = server.log_in_v1().await;
            assert_eq!(server.call(ROTATE).bearer(&v1.refresh).send().await.status, 200);
            assert_eq!(server.call(LOGOUT).bearer(&app.refresh).send().await.status, 204);
            assert_eq!(server.call(PROFILE).bearer(&app.access).send().await.status, 401);
            let after = read().await;
            assert_eq!((after["passerby_logins_total"], after["passerby_users"]), (2.0, 1.0));
            assert_eq!(
                (
                    after["passerby_http_responses_total{class=\"2xx\"}"],
                    after["passerby_http_responses_total{class=\"4xx\"}"]
                ),
                (4.0, 1.0)
            );
            assert_eq!(after["passerby_http_responses_total{class=\"5xx\"}"], 0.0);
            assert_eq!(after["passerby_change_sets_done_total"], 4.0);
            assert!(after["passerby_journal_bytes"] > before["passerby_journal_bytes"]);
            assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "no metric comes and goes");
        })
        .await;
}

#[actix_web::test]
async fn the_admin_listener_answers_json_to_everything_else() {
    World::new()
        .serve(async |server| {
            let cases = [
                ("GET /healthz", 200, "alive"),
                ("GET /readyz", 200, "ready"),
                ("GET /", 200, "serving"),
                ("POST /healthz", 405, "method-not-allowed"),
                ("DELETE /metrics", 405, "method-not-allowed"),
                ("GET /nowhere", 404, "not-found"),
                ("GET /v1/session", 404, "not-found"),
            ];
            for (what, status, word) in cases {
                let answer = server.ask_admin(what).await;
                assert_eq!((answer.status, answer.json()["status"].as_str()), (status, Some(word)), "{what}");
                assert_eq!(answer.header("cache-control"), Some("no-store"));
            }
            let page = call(&client(), server.admin, "GET /").header("accept", "text/html").send().await;
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            assert!(page.text().contains("<b>serving</b>"), "{page:?}");
            let options = server.ask_admin("OPTIONS /metrics").await;
            assert_eq!((options.status, options.header("allow")), (204, Some("GET, OPTIONS")));
            // and the public one has none of it
            for what in ["GET /metrics", "GET /healthz", "GET /readyz"] {
                server.call(what).send().await.assert_problem(404, "not-found");
            }
        })
        .await;
}

#[actix_web::test]
async fn readiness_follows_the_life_of_the_process() {
    let world = World::new().set("drain.notice", "600");
    let settings = world.settings();
    let admin = startup::start_admin(&settings, None).unwrap();
    let (address, client) = (admin.2, client());
    let ask = async |what: &str| {
        let answer = call(&client, address, what).send().await;
        (answer.status, answer.json()["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask("GET /healthz").await, (200, "alive".to_owned()));
    assert_eq!(ask("GET /readyz").await, (503, "recovering".to_owned()));
    assert_eq!(parse(&call(&client, address, "GET /metrics").send().await.text()), BTreeMap::new());

    let application = startup::Application::build(settings, Default::default(), world.ports(), admin).await.unwrap();
    assert_eq!(application.admin_address(), address);
    assert_eq!(ask("GET /readyz").await, (200, "ready".to_owned()));

    let (public, (stop, stopped), seen) = (application.address(), oneshot::channel::<()>(), AtomicBool::new(false));
    let running = application.run_until(async { drop(stopped.await) });
    let watching = async {
        drop(stop);
        while ask("GET /readyz").await != (503, "draining".to_owned()) {}
        seen.store(true, Ordering::Relaxed);
        // it still serves: the load balancer has not noticed yet
        assert_eq!(call(&client, public, crate::world::CREATE).send().await.status, 201);
    };
    // the notice is ten minutes: whoever waits for the end of it here waits too long
    tokio::select! {
        ended = running => panic!("it did not wait for the load balancer: {ended:?}"),
        () = watching => {}
    }
    assert!(seen.load(Ordering::Relaxed));
}
