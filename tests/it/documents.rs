//! The documents tell the truth: SECURITY.md names tests that are there, every command runs, every setting is read, every link and
//! every reference leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{Process, passerby};

/// The one shell line of a document that is not run here, and the file that runs it, by this text.
const RUN_ELSEWHERE: &[(&str, &str, &str)] = &[
    ("scripts/demo", ".ci/run", "scripts/demo --once"),
    ("scripts/test", ".ci/run", "\"tests\" scripts/test"),
    ("cargo test --workspace --test it documents", "scripts/test", "cargo test --workspace"),
    (
        "cargo clippy --workspace --all-targets --all-features --locked -- -D warnings",
        ".ci/run",
        "cargo clippy --workspace --all-targets --all-features --locked -- -D warnings",
    ),
    ("cargo fmt --all --check", ".ci/run", "cargo fmt --all --check"),
    // for minutes instead of hours
    ("cargo bench --bench load", ".ci/run", "--bench load -- --smoke"),
    ("cargo bench --bench scale -- --users 10000000", ".ci/run", "--bench scale -- --smoke"),
    ("cargo bench --bench proxy", ".ci/run", "--bench proxy -- --smoke"),
    ("cargo bench --bench flood", ".ci/run", "--bench flood -- --smoke"),
    ("cargo bench --bench documents", ".ci/run", "--bench documents -- --smoke"),
    ("cargo bench --bench sockets", ".ci/run", "--bench sockets -- --smoke"),
    ("cargo bench --bench overload", ".ci/run", "--bench overload -- --smoke"),
];

/// Documents whose commands are for a server that is stopped.
const OF_A_STOPPED_SERVER: &[&str] = &["docs/operations.md"];

/// What the examples of the documents ask of the server.
const SETTINGS: &str = "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n\
    [provider.local_userpass.config]\nautoConfirm = true\n[meter.articles]\nlimit = 5\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below these folders and files of the repository whose names end so, by their path in it.
fn files(places: &[&str], endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = places.iter().map(|place| root().join(place)).collect();
    while let Some(path) = open.pop() {
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            let is_ours = !["node_modules", ".venv", "target", "__pycache__"].contains(&&*name);
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).filter(|_| is_ours));
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn documents() -> Vec<String> {
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let top = top.filter(|name| name.ends_with(".md")).chain(files(&["docs", "deploy", "findings"], &[".md"]));
    let found: Vec<_> = top.collect();
    assert!(found.len() > 15, "{found:?}");
    found
}

/// The fenced blocks of a document in this language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<(bool, Vec<&str>)> = None;
    let text = read(document);
    for line in text.lines() {
        open = match (open, line.strip_prefix("```")) {
            (None, Some(name)) => Some((name == language, Vec::new())),
            (Some((is_wanted, lines)), Some("")) => {
                found.extend(is_wanted.then(|| lines.join("\n")));
                None
            }
            (Some((is_wanted, lines)), _) => Some((is_wanted, [lines, vec![line]].concat())),
            (None, None) => None,
        };
    }
    assert!(open.is_none(), "{document}: a block does not end");
    found
}

#[test]
fn each_row_has_its_test_and_each_test_its_row() {
    let sources =
        |places: &[&str], ending: &str| -> String { files(places, &[ending]).iter().map(|path| read(path)).collect() };
    let code = sources(&["src", "tests/it", "actors/src", "actors/tests"], ".rs");
    let clients = sources(&["tests/clients"], ".test.mjs");
    let document = read("SECURITY.md");
    let mut rows = BTreeSet::new();
    for line in document.lines().filter(|line| line.starts_with("| S")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        rows.insert(cells[1].to_owned());
        // what stands between the ticks is every other piece; tests by clients are sentences, and their files may be named
        let named = cells[3].split('`').skip(1).step_by(2);
        let (files, tests): (Vec<&str>, Vec<&str>) = named.partition(|name| name.starts_with("tests/clients/"));
        for file in files {
            assert!(root().join(file).is_file(), "{} names {file}, which is not there", cells[1]);
        }
        assert!(!tests.is_empty(), "{line}");
        for test in tests {
            let is_there = code.contains(&format!("fn {test}(")) || clients.contains(&format!("test(\"{test}\""));
            assert!(is_there, "{} names {test}, which is not there", cells[1]);
        }
    }
    for line in code.lines().filter_map(|line| line.trim().strip_prefix("/// S")) {
        let (named, _) = line.split_once([':', '.']).unwrap_or((line, ""));
        for row in format!("S{named}").split(", ").filter(|row| row[1..].parse::<u8>().is_ok()) {
            assert!(rows.contains(row), "a test names {row}, and SECURITY.md has no such row");
        }
    }
    assert!(rows.len() > 20);
}

#[test]
fn files_with_tests_by_clients_are_short_and_found_by_the_runner() {
    const MOST_LINES: usize = 600;
    let found = files(&["tests/clients"], &[".mjs"]);
    for path in &found {
        let parts: Vec<&str> = path.split('/').collect();
        let [_, _, subject, name] = parts[..] else { panic!("{path} is not in the folder of a subject") };
        assert_eq!(name.ends_with(".test.mjs"), subject != "kit", "{path}");
        let lines = read(path).lines().count();
        assert!(lines <= MOST_LINES, "{path} has {lines} lines");
    }
    assert!(found.len() > 60, "{found:?}");
}

#[test]
fn the_readme_stays_short_and_shows_lines_of_a_recipe() {
    assert!(read("README.md").len() <= 8192);
    let recipe = read("deploy/nginx/passerby.conf");
    let shown = blocks("README.md", "nginx");
    assert_eq!(shown.len(), 1);
    for line in shown[0].lines() {
        assert!(recipe.lines().any(|known| known.trim() == line), "{line}");
    }
}

#[test]
fn every_shell_command_of_a_document_runs() {
    let mut elsewhere = BTreeSet::new();
    let mut run = 0;
    for document in documents() {
        let mut lines = Vec::new();
        for line in blocks(&document, "sh").iter().flat_map(|block| block.lines()) {
            match RUN_ELSEWHERE.iter().find(|(known, _, _)| *known == line) {
                Some((line, file, text)) => {
                    assert!(read(file).contains(text), "{document}: {file} does not run {line}");
                    elsewhere.insert(*line);
                }
                None => lines.push(line.to_owned()),
            }
        }
        if !lines.is_empty() {
            run_commands(&document, &lines.join("\n"));
            run += lines.len();
        }
    }
    assert!(run > 20);
    let listed: BTreeSet<_> = RUN_ELSEWHERE.iter().map(|(line, _, _)| *line).collect();
    assert_eq!(elsewhere, listed, "what no document has is not in the list");
}

/// Runs the commands of a document, one after the other, beside a server that stands where the document says.
fn run_commands(document: &str, script: &str) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("passerby.toml"), SETTINGS).unwrap();
    // an answer that is an error is one for the shell
    fs::write(at(".curlrc"), "fail-with-body\nshow-error\nmax-time = 60\n").unwrap();
    let server = Process::spawn(passerby().arg("serve").current_dir(folder.path()).stderr(Stdio::null()));
    let (public, admin) = (format!("http://{}", server.public), format!("http://{}", server.admin));
    let script = script.replace("https://id.news.example", &public).replace("http://127.0.0.1:8080", &public);
    let script = script.replace("http://127.0.0.1:8081", &admin);
    let running = if OF_A_STOPPED_SERVER.contains(&document) {
        assert_eq!(server.stop(), Some(0));
        None
    } else {
        Some(server)
    };
    let binaries = Path::new(env!("CARGO_BIN_EXE_passerby")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(binaries.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut shell = Command::new("timeout");
    shell.args(["120", "bash", "-euxo", "pipefail", "-c", &script]).current_dir(folder.path());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PASSERBY_")) {
        shell.env_remove(name);
    }
    let outcome = shell.env("PATH", path.unwrap()).env("HOME", folder.path()).env("CURL_HOME", folder.path()).output();
    let outcome = outcome.unwrap();
    let told = [outcome.stdout, outcome.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).join("\n");
    assert!(outcome.status.success(), "{document}: {}\n{told}", outcome.status);
    drop(running);
}

#[test]
fn settings_and_json_of_the_documents_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passerby.toml");
    let mut settings = 0;
    for document in documents() {
        for block in blocks(&document, "toml") {
            fs::write(&file, &block).unwrap();
            let outcome = passerby().arg("config").current_dir(folder.path()).output().unwrap();
            let told = String::from_utf8_lossy(&outcome.stderr);
            assert!(outcome.status.success(), "{document}: {told}\n{block}");
            settings += 1;
        }
        for block in blocks(&document, "json") {
            serde_json::from_str::<serde_json::Value>(&block)
                .unwrap_or_else(|error| panic!("{document}: {error}\n{block}"));
        }
    }
    assert!(settings > 5);
}

/// The anchors of a document's headings, as Git hosts make them.
fn anchors(document: &str) -> BTreeSet<String> {
    let text = read(document);
    let mut is_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if let Some(title) = line.strip_prefix('#').filter(|_| !is_code) {
            let kept = title.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    found
}

#[test]
fn every_link_of_a_document_leads_somewhere() {
    let mut links = 0;
    for document in documents() {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            if target.starts_with("https://") {
                continue;
            }
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place = if path.is_empty() {
                root().join(&document)
            } else {
                root().join(Path::new(&document).parent().unwrap()).join(path)
            };
            assert!(place.exists(), "{document}: {target}");
            if !anchor.is_empty() {
                let place = place.canonicalize().unwrap();
                let place = place.strip_prefix(root().canonicalize().unwrap()).unwrap();
                assert!(anchors(place.to_str().unwrap()).contains(anchor), "{document}: {target}");
            }
            links += 1;
        }
    }
    assert!(links > 30);
}

/// What runs, and what it is built from.
const CODE: &[&str] = &[
    "src",
    "actors",
    "benches",
    "tests",
    "deploy",
    "scripts",
    "findings",
    ".ci",
    "Cargo.toml",
    ".clippy.toml",
    "deny.toml",
];

/// The titles of a document's headings.
fn titles(document: &str) -> BTreeSet<String> {
    read(document)
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|it| it.trim_matches(['#', ' ']).to_owned())
        .collect()
}

#[test]
fn every_reference_in_code_leads_to_a_document() {
    let endings =
        [".rs", ".mjs", ".js", ".ts", ".py", ".sh", ".toml", ".conf", ".yml", ".yaml", ".lua", ".html", ".cfg", "file"];
    let mut references = 0;
    for path in files(CODE, &[&endings[..], &["/run", "/test", "/demo"]].concat()) {
        let text = read(&path);
        // a reference may go on in the next line of a comment
        let text = text.lines().map(|line| line.trim().trim_start_matches(['/', '!', '*', '#']).trim());
        let text = text.collect::<Vec<_>>().join(" ");
        for foreign in [concat!("wire-", "protocol"), concat!("design ", "§"), concat!("Design ", "§")] {
            assert!(!text.contains(foreign), "{path} names {foreign}, which is not in the repository");
        }
        for (at, _) in text.match_indices("docs/") {
            let rest = &text[at..];
            let name = rest.split(|c: char| !(c.is_ascii_lowercase() || "/-.".contains(c))).next().unwrap_or_default();
            // not a page of another project
            if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '/' || c == '-') || !name.ends_with(".md") {
                continue;
            }
            assert!(root().join(name).exists(), "{path}: {name}");
            if let Some(section) = rest[name.len()..].strip_prefix(", \"") {
                let (section, _) = section.split_once('"').unwrap();
                assert!(titles(name).contains(section), "{path}: {name} has no section {section:?}");
            }
            references += 1;
        }
    }
    assert!(references > 20);
}

#[test]
fn what_the_maps_name_is_there() {
    const FOLDERS: &[&str] =
        &["src/", "actors/", "tests/", "benches/", "deploy/", "docs/", "scripts/", "findings/", ".ci/"];
    let code: String = files(&["src", "actors", "tests/it"], &[".rs"]).iter().map(|path| read(path)).collect();
    let mut named = 0;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        for word in read(document).split('`').skip(1).step_by(2) {
            if FOLDERS.iter().any(|folder| word.starts_with(folder)) && !word.contains(char::is_whitespace) {
                assert!(root().join(word).exists(), "{document} names {word}, which is not there");
                named += 1;
            } else if word.contains('_') && word.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                assert!(code.contains(word), "{document} names {word}, which is not in the code");
            }
        }
    }
    assert!(named > 30);
}
