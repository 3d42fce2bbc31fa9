//! The description of the API is that of the server: it has every route, and nothing is answered that it does not have.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use passerby::http::openapi::openapi;
use serde_json::Value;

use crate::world::{Answer, World};

/// What is for people and pages, and is not an operation.
const PAGES: [&str; 4] = ["/", "/asyncapi.json", "/openapi.json", "/v1/providers/callback"];

/// Whether a path of the description, with its parameters, stands for this one.
fn covers(template: &str, path: &str) -> bool {
    let (parts, wanted) = (template.split('/').collect::<Vec<_>>(), path.split('/').collect::<Vec<_>>());
    parts.len() == wanted.len()
        && parts.iter().zip(&wanted).all(|(part, wanted)| part.starts_with('{') || part == wanted)
}

/// The operation that a request is for; a path without parameters goes before one with.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let paths = openapi()["paths"].as_object().unwrap();
    let found = paths
        .iter()
        .filter(|(template, _)| covers(template, path))
        .min_by_key(|(template, _)| template.matches('{').count());
    found?.1.get(method.to_lowercase())
}

/// What was answered is what the description has, as far as it has the operation.
///
/// # Panics
/// It is not.
pub(crate) fn assert_described(what: &str, answer: &Answer) {
    let (method, target) = what.split_once(' ').unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(operation) = operation(method, path) else { return };
    let status = answer.status.to_string();
    let advice = "add it to what the handler's annotation says, such as its x-problems";
    let content_type = answer.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let code = if content_type == "application/problem+json" { body.get("code") } else { body.get("error_code") };
    // where proxies know no other refusal
    if query.contains("over=403") && answer.status == 403 {
        return;
    }
    let response = operation["responses"].get(&status);
    let response = response
        .unwrap_or_else(|| panic!("{what} answers {status} {code:?}, which openapi.json does not have: {advice}"));
    if let Some(codes) = response["x-codes"].as_array() {
        let code = code.unwrap_or(&Value::Null);
        assert!(codes.contains(code), "{what} answers {status} {code}, and openapi.json has {codes:?}: {advice}");
    } else {
        let is_described = response["content"].get(content_type).is_some() || answer.body.is_empty();
        assert!(
            is_described,
            "{what} answers {status} with {content_type}, which openapi.json does not have: {advice}"
        );
    }
}

/// What stands behind `name` in a call.
fn argument(text: &str) -> &str {
    let mut depth = 0;
    let end = text.find(|c| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth < 0
    });
    text[..end.unwrap_or(text.len())].trim()
}

/// The paths that a source file routes: as a text, or as a constant of the file.
fn routed(source: &str, prefix: &str, paths: &mut BTreeSet<String>) {
    let calls = ["web::resource(", "at("].into_iter().flat_map(|call| source.match_indices(call));
    for (at, call) in calls.filter(|(at, _)| source[..*at].ends_with(['(', ' ', '\n'])) {
        let argument = argument(&source[at + call.len()..]);
        let text = argument.strip_prefix('"').and_then(|path| path.strip_suffix('"'));
        let of_constant = || source.split(&format!("const {argument}: &str = \"")).nth(1)?.split('"').next();
        if let Some(path) = text.or_else(of_constant) {
            paths.insert(format!("{prefix}{path}"));
        } else {
            assert!(argument.starts_with("path"), "{argument}");
        }
    }
}

fn routed_below(folder: &Path, paths: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let prefix = if path.to_str().unwrap().contains("app_services") { "/api/client/v2.0" } else { "" };
        match name {
            // of demos and of the admin listener
            "demo" | "admin" => {}
            _ if path.is_dir() => routed_below(&path, paths),
            _ if name.ends_with(".rs") => routed(&fs::read_to_string(&path).unwrap(), prefix, paths),
            _ => {}
        }
    }
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let mut routed = BTreeSet::new();
    routed_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut routed);
    let described = openapi()["paths"].as_object().unwrap().keys().cloned();
    let described: BTreeSet<String> = described.chain(PAGES.map(str::to_owned)).collect();
    let is_file = |path: &&String| {
        path.ends_with(".js") || path.ends_with(".d.ts") || path.ends_with(".html") || *path == "/openapi.json"
    };
    let routed: BTreeSet<&String> = routed.iter().filter(|path| !is_file(path)).collect();
    let described: BTreeSet<&String> = described.iter().filter(|path| !is_file(path)).collect();
    assert!(routed.len() > 40, "{routed:?}");
    assert_eq!(routed, described);
}

#[actix_web::test]
async fn every_path_takes_the_methods_that_are_described() {
    World::new()
        .serve(async |server| {
            for (path, item) in openapi()["paths"].as_object().unwrap() {
                // whatever a proxy asks with
                if path == "/verify" {
                    continue;
                }
                let asked: String = path
                    .split('/')
                    .map(|part| {
                        if part.starts_with('{') { "/x" } else { "/" }.to_owned()
                            + if part.starts_with('{') { "" } else { part }
                    })
                    .collect();
                let answer = server.call(&format!("OPTIONS {}", &asked[1..])).send().await;
                assert_eq!(answer.status, 204, "{path}");
                let mut allowed: Vec<&str> = answer.header("allow").unwrap().split(", ").collect();
                allowed.retain(|method| !matches!(*method, "OPTIONS" | "HEAD"));
                allowed.sort_unstable();
                let mut described: Vec<String> =
                    item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
                described.sort_unstable();
                assert_eq!(allowed, described, "{path}");
            }
        })
        .await;
}

#[actix_web::test]
async fn the_document_says_where_the_server_is_reached() {
    World::new()
        .serve(async |server| {
            let document = server.call("GET /openapi.json").send().await.json();
            assert_eq!(document["servers"][0]["url"], "/");
        })
        .await;
    World::new()
        .set("public_url", "https://id.news.example")
        .serve(async |server| {
            let document = server.call("GET /openapi.json").send().await.json();
            assert_eq!(document["servers"][0]["url"], "https://id.news.example");
            assert_eq!(document["paths"], openapi()["paths"]);
        })
        .await;
}

#[actix_web::test]
async fn the_printed_address_is_a_page_in_a_browser_and_json_elsewhere() {
    World::new()
        .serve(async |server| {
            let page = server.call("GET /").header("accept", "text/html,application/xhtml+xml,*/*;q=0.8").send().await;
            assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
            let policy = page.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
            assert!(
                policy.contains("; script-src 'self'; connect-src 'self'; worker-src blob:; base-uri 'none';"),
                "{policy}"
            );
            assert_eq!((page.header("cache-control"), page.header("set-cookie")), (Some("no-store"), None));
            let text = page.text();
            assert!(text.contains(&format!("curl -X POST http://{}/v1/sessions", server.address)), "{text}");
            // every link on it leads somewhere, and nothing is loaded from elsewhere
            let links =
                ["href=\"", "src=\""].map(|name| text.split(name).skip(1).map(|rest| rest.split('"').next().unwrap()));
            for link in links.into_iter().flatten().filter(|link| *link != "data:,") {
                let path = link.strip_prefix('/').unwrap_or_else(|| panic!("{link}"));
                let answer = server.call(&format!("GET /{path}")).send().await;
                assert_eq!(answer.status, 200, "/{path}");
            }
            let answer = server.call("GET /").header("accept", "*/*").send().await;
            assert_eq!(answer.json()["openapi"], "/openapi.json");
            server.call("GET /nothing").header("accept", "text/html").send().await.assert_problem(404, "not-found");
            assert_eq!(server.metric("passerby_users").await, 0, "looking creates nobody");
        })
        .await;
    World::new()
        .set("http.index", "false")
        .serve(async |server| {
            for path in ["/", "/index.js"] {
                let answer = server.call(&format!("GET {path}")).header("accept", "text/html").send().await;
                answer.assert_problem(404, "not-found");
            }
            assert_eq!(server.call("GET /openapi.html").send().await.status, 200);
        })
        .await;
}

#[actix_web::test]
async fn options_of_the_server_as_a_whole_is_answered() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    World::new()
        .serve(async |server| {
            let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
            stream.write_all(b"OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n"), "{answer}");
            assert!(answer.contains("\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"), "{answer}");
        })
        .await;
}
