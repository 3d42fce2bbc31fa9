//! The import order of ARCHITECTURE.md and the absence of circles, read from the source itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The rooms of `src/http/`, from the ground up, each of which imports only rooms that stand before it: what every API needs, the APIs,
/// what describes them, the application.
const HTTP_ORDER: &[&[&str]] = &[
    &["connection.rs", "fields.rs", "plain.rs", "preconditions.rs", "schemas", "time.rs"],
    &["forwarded.rs", "stream.rs"],
    &["context.rs", "identities.rs", "whole_user.rs"],
    &["charge.rs"],
    &["bearer.rs", "body.rs", "meters.rs", "reader"],
    &["endpoint.rs"],
    &["problem.rs"],
    &["auth.rs", "files.rs", "read.rs"],
    &["app_services", "index", "script", "v1"],
    &["admin", "socket", "verify.rs"],
    &["demo", "openapi"],
    &["cors.rs"],
    &["app.rs"],
    &["listener.rs"],
    &["mod.rs"],
];

/// The rooms of `src/`, from the ground up, each of which imports only rooms that stand before it.
const ORDER: &[&[&str]] = &[
    &["allocator.rs", "left.rs", "outbound", "test_clock.rs", "token"],
    &["config"],
    &["limits", "mail", "telemetry.rs"],
    &["codes", "tls"],
    &["provider"],
    &["admin", "deployment", "stats"],
    &["server.rs"],
    &["http"],
    &["startup"],
    &["cli"],
    &["lib.rs"],
    &["main.rs"],
];

/// A name that one file takes from another.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: String,
    to: String,
    /// `path:line: what stands there`.
    place: String,
}

/// The source files below a folder, by their path in it; tests are no rooms.
fn sources(root: &Path) -> BTreeMap<String, String> {
    fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                collect(root, &path, found);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                let text = std::fs::read_to_string(&path).unwrap();
                found.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), without_tests(&text));
            }
        }
    }
    let mut found = BTreeMap::new();
    collect(root, root, &mut found);
    found
}

/// Inline tests stand at the end of a file. Comments and texts import nothing.
fn without_tests(text: &str) -> String {
    let code = text.split("mod tests {\n").next().unwrap_or_default();
    code.lines()
        .map(|line| if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap_or("") })
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The path of the module that a file holds, from the crate's root.
fn module(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs");
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

/// Each path that begins here, whole: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    tree(text, &[], &mut found);
    found
}

/// Reads one path or tree of paths, and gives back what follows it.
fn tree<'a>(mut rest: &'a str, before: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = before.to_vec();
    loop {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        if !name.is_empty() {
            path.push(name.to_owned());
        }
        rest = after;
        match rest.strip_prefix("::") {
            None => break,
            Some(inner) => rest = inner,
        }
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                rest = tree(rest, &path, found);
                // ` as name` and the comma
                rest = rest[rest.find([',', '}']).unwrap_or(rest.len())..].trim_start_matches(',').trim_start();
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
    }
    found.push(path);
    rest
}

/// Each path in a file that begins at the crate, at a module above it, or at a child of its own: where it stands, and its names
/// from the crate's root.
fn paths_of(own: &[String], text: &str, modules: &Modules) -> Vec<(usize, Vec<String>)> {
    let children = modules.keys().filter(|path| path.len() == own.len() + 1 && path.starts_with(own));
    let heads =
        ["crate", "super", "self"].into_iter().chain(children.filter_map(|path| path.last().map(String::as_str)));
    let mut found = Vec::new();
    for head in heads {
        for (at, _) in text.match_indices(&format!("{head}::")) {
            if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            for path in paths(&text[at..]) {
                let above = path.iter().take_while(|name| *name == "super").count();
                let mut whole = match path[0].as_str() {
                    "crate" => Vec::new(),
                    _ => own[..own.len().saturating_sub(above)].to_vec(),
                };
                whole.extend(path.into_iter().filter(|name| !matches!(name.as_str(), "crate" | "self" | "super")));
                found.push((at, whole));
            }
        }
    }
    found
}

type Modules = BTreeMap<Vec<String>, String>;

/// What the files of a crate take from one another. A name that a module hands on is its own file's, and not the module's.
fn imports(files: &BTreeMap<String, String>) -> Vec<Import> {
    let modules: Modules = files.keys().map(|file| (module(file), file.clone())).collect();
    let is_handed_on = |text: &str, at: usize| {
        let statement = text[..at].rsplit('\n').next().unwrap_or_default().trim();
        statement.starts_with("pub") && statement.ends_with("use")
    };
    let mut handed_on = BTreeMap::new();
    for (file, text) in files {
        let own = module(file);
        for (at, path) in paths_of(&own, text, &modules) {
            if is_handed_on(text, at) {
                let name = path.last().cloned().into_iter();
                let here: Vec<_> = own.iter().cloned().chain(name).collect();
                if !path.starts_with(&here) {
                    handed_on.insert(here, path);
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    for (file, text) in files {
        for (at, path) in paths_of(&module(file), text, &modules) {
            if is_handed_on(text, at) {
                continue;
            }
            let mut target = path.clone();
            while let Some(length) = (1..=target.len()).find(|length| handed_on.contains_key(&target[..*length])) {
                let rest = target.split_off(length);
                target = [handed_on[&target].clone(), rest].concat();
            }
            // the longest beginning that is a module holds the name
            while !target.is_empty() && !modules.contains_key(&target) {
                target.pop();
            }
            let Some(to) = modules.get(&target).filter(|to| *to != file) else { continue };
            let line = text[..at].matches('\n').count();
            let shown = text.lines().nth(line).unwrap_or_default().trim();
            let place = format!("{file}:{}: {shown} ({})", line + 1, path.join("::"));
            found.insert(Import { from: file.clone(), to: to.clone(), place });
        }
    }
    found.into_iter().collect()
}

/// The room of a file within a folder: the file itself or the folder below that holds it.
fn room<'a>(folder: &str, file: &'a str) -> &'a str {
    let rest = &file[folder.len()..];
    rest.split_once('/').map_or(rest, |(room, _)| room)
}

/// Each circle of rooms that stand in one folder, with the lines that tie it.
fn circles(imports: &[Import]) -> Vec<String> {
    let mut folders: BTreeMap<&str, Vec<&Import>> = BTreeMap::new();
    for import in imports {
        let shared = import.from.bytes().zip(import.to.bytes()).take_while(|(a, b)| a == b).count();
        let folder = import.from[..shared].rfind('/').map_or("", |end| &import.from[..=end]);
        folders.entry(folder).or_default().push(import);
    }
    let mut found = Vec::new();
    for (folder, imports) in folders {
        let mut above: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for import in &imports {
            above.entry(room(folder, &import.from)).or_default().insert(room(folder, &import.to));
        }
        let reaches = |from: &str, to: &str| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
            while let Some(room) = next.pop() {
                for below in above.get(room).into_iter().flatten() {
                    if seen.insert(*below) {
                        next.push(below);
                    }
                }
            }
            seen.contains(to)
        };
        for import in &imports {
            if reaches(room(folder, &import.to), room(folder, &import.from)) {
                found.push(import.place.clone());
            }
        }
    }
    found
}

/// Each import that does not run down in this order of the rooms in `folder`, and each room that has no place in it.
fn against(order: &[&[&str]], folder: &str, files: &BTreeMap<String, String>, imports: &[Import]) -> Vec<String> {
    let floor = |file: &str| order.iter().position(|rooms| rooms.contains(&room(folder, file)));
    let homeless = files.keys().filter(|file| file.starts_with(folder) && floor(file).is_none());
    let mut found: Vec<String> = homeless.map(|file| format!("{file} has no place in the order")).collect();
    let inside = imports.iter().filter(|import| import.from.starts_with(folder) && import.to.starts_with(folder));
    let between = inside.filter(|import| room(folder, &import.from) != room(folder, &import.to));
    found.extend(between.filter(|import| floor(&import.from) <= floor(&import.to)).map(|import| import.place.clone()));
    found
}

fn source(folder: &str) -> BTreeMap<String, String> {
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
}

#[test]
fn rooms_of_the_server_import_only_those_below_them() {
    let files = source("src");
    let found = against(ORDER, "", &files, &imports(&files));
    assert!(found.is_empty(), "runs back up:\n{}", found.join("\n"));
}

#[test]
fn the_order_is_that_of_the_architecture_document() {
    let map = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let floors = ORDER.iter().filter(|rooms| **rooms != ["lib.rs"]);
    let order: Vec<_> = floors.map(|rooms| rooms.join(", ").replace(".rs", "")).collect();
    assert!(map.contains(&order.join(" ← ")), "ARCHITECTURE.md has another order than {}", order.join(" ← "));
}

#[test]
fn rooms_of_http_import_only_those_below_them() {
    let files = source("src");
    let imports = imports(&files);
    let found = against(HTTP_ORDER, "http/", &files, &imports);
    assert!(found.is_empty(), "runs back up:\n{}", found.join("\n"));
}

#[test]
fn no_files_and_no_folders_import_each_other_in_a_circle() {
    for crate_folder in ["src", "actors/src", "benches/src"] {
        let files = source(crate_folder);
        assert!(!files.is_empty(), "there is Rust in {crate_folder}");
        let found = circles(&imports(&files));
        assert!(found.is_empty(), "in a circle within {crate_folder}:\n{}", found.join("\n"));
    }
}

/// What stands behind the handle, where that is not named, and which files there may name it all the same: what starts everything, and
/// what shows figures.
const BEHIND_THE_HANDLE: &[(&str, &str, &[&str])] = &[
    ("store::open(", "", &["startup/"]),
    ("store::embedded", "", &["startup/", "cli/"]),
    ("store.commit(", "", &[]),
    ("store.record(", "", &[]),
    ("store.value(", "", &[]),
    ("store.users(", "", &["http/admin/"]),
    ("store.keys(", "", &["http/admin/"]),
    ("linker", "http/", &["http/admin/", "http/app.rs"]),
    ("store.load(", "http/", &[]),
    ("store.resolve(", "http/", &[]),
];

#[test]
fn requests_reach_the_core_by_the_handle_alone() {
    for (file, text) in source("src") {
        for (name, within, allowed) in BEHIND_THE_HANDLE {
            let may = !file.starts_with(within) || allowed.iter().any(|place| file.starts_with(place));
            let line = text.lines().position(|line| line.contains(name));
            assert!(may || line.is_none(), "{file}:{} names {name}", line.unwrap_or_default() + 1);
        }
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let files = [
        (
            "a/mod.rs",
            "mod b;\npub use self::b::Six;\nuse self::b::{One, deep::{Two as Other, Three}};\nfn f() { b::four() }\n",
        ),
        ("a/b.rs", "// crate::c::NotThis\nuse super::super::c::{self, Five};\n"),
        ("c.rs", "fn g() -> crate::a::Six { }\n#[cfg(test)]\nmod tests {\n use crate::a::Seven; }\n"),
        ("lib.rs", ""),
    ];
    let files = files.map(|(path, text)| (path.to_owned(), without_tests(text))).into();
    let imports = imports(&files);
    let found: BTreeSet<_> = imports.iter().map(|import| (import.from.as_str(), import.to.as_str())).collect();
    assert_eq!(found, BTreeSet::from([("a/mod.rs", "a/b.rs"), ("a/b.rs", "c.rs"), ("c.rs", "a/b.rs")]));
    let tied = circles(&imports);
    assert!(
        tied.iter()
            .all(|place| place.starts_with("a/b.rs:2: use super::super::c") || place.starts_with("c.rs:1: fn g"))
    );
    assert_eq!(tied.len(), 3, "{tied:?}");
    let up = against(&[&["c.rs"], &["a"]], "", &files, &imports);
    assert_eq!(up, ["lib.rs has no place in the order", "c.rs:1: fn g() -> crate::a::Six { } (a::Six)"]);
}
