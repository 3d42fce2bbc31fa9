//! The admin listener: health, readiness, and metrics that a Prometheus can read.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
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

/// `promtool check metrics`, of Debian's package prometheus, finds nothing to say about the text that it is given.
#[actix_web::test]
async fn metrics_are_text_for_whoever_asks_for_it_and_promtool_has_nothing_to_say() {
    World::new()
        .serve(async |server| {
            server.log_in().await;
            let read = async |accept: &str| {
                let answer = call(&client(), server.admin, "GET /metrics").header("accept", accept).send().await;
                assert_eq!(answer.header("vary"), Some("Accept"));
                (answer.header("content-type").unwrap().to_owned(), answer.text())
            };
            let (content_type, text) = read("text/plain; version=0.0.4").await;
            assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
            assert!(text.contains("# TYPE passerby_logins_total counter\npasserby_logins_total 1\n"), "{text}");
            assert!(!text.contains("# EOF") && !text.contains("# UNIT"));
            assert_eq!(read("*/*").await.0, content_type);
            let prometheus =
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
            let (other, open_metrics) = read(prometheus).await;
            assert_eq!(other, "application/openmetrics-text; version=1.0.0; charset=utf-8");
            parse(&open_metrics);

            let checked = actix_web::web::block(move || {
                let mut promtool = Command::new("promtool");
                promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut promtool = promtool.spawn().unwrap();
                promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
                promtool.wait_with_output().unwrap()
            });
            let checked = checked.await.unwrap();
            let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
            assert!(checked.status.success() && said.is_empty(), "{said}");
        })
        .await;
}

/// A page anywhere can make a name of its own lead here, and would then read the answers.
#[actix_web::test]
async fn the_admin_listener_answers_no_host_name_that_is_not_its_own() {
    World::new()
        .set("admin.hosts", "metrics.internal")
        .serve(async |server| {
            for path in ["/healthz", "/readyz", "/metrics", "/nowhere"] {
                let ask = async |host: &str| {
                    call(&client(), server.admin, &format!("GET {path}")).header("host", host).send().await
                };
                for host in
                    ["127.0.0.1:8081", "10.1.2.3", "[::1]:8081", "localhost:8081", "passerby:8081", "METRICS.internal"]
                {
                    assert_ne!(ask(host).await.status, 421, "{host}");
                }
                for host in ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example"] {
                    let answer = ask(host).await;
                    assert_eq!(
                        (answer.status, answer.json()["status"].as_str()),
                        (421, Some("unknown-host")),
                        "{host}"
                    );
                    assert!(answer.text().contains("admin.hosts"));
                }
            }
        })
        .await;
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
            let sets = |read: &BTreeMap<String, f64>| read["passerby_change_sets_done_total"];
            assert_eq!((sets(&before), sets(&after)), (1.0, 5.0), "the start's deployment, and what was done");
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
            let refused = server.ask_admin("POST /readyz").await;
            assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS"));
            let page = call(&client(), server.admin, "GET /").header("accept", "text/html").send().await;
            assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
            assert!(page.text().contains("<title>Passerby console</title>"), "{page:?}");
            let options = server.ask_admin("OPTIONS /metrics").await;
            assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")));
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
    let (address, client) = (admin.address(), client());
    let ask = async |what: &str| {
        let answer = call(&client, address, what).send().await;
        (answer.status, answer.json()["status"].as_str().unwrap().to_owned())
    };
    assert_eq!(ask("GET /healthz").await, (200, "alive".to_owned()));
    assert_eq!(ask("GET /readyz").await, (503, "recovering".to_owned()));
    assert_eq!(parse(&call(&client, address, "GET /metrics").send().await.text()), BTreeMap::new());

    let application = world.build(settings, admin).await.unwrap();
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
    // the notice is ten minutes: waiting for its end here would take too long
    tokio::select! {
        ended = running => panic!("it did not wait for the load balancer: {ended:?}"),
        () = watching => {}
    }
    assert!(seen.load(Ordering::Relaxed));
}
