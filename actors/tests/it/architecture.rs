//! The import order of design and ARCHITECTURE.md, read from the source itself.

use std::path::Path;

/// Each layer with the crate paths it may not name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "domain",
        &[
            "crate::registry",
            "crate::store",
            "crate::listing",
            "crate::actor",
            "crate::handle",
            "crate::system",
            "crate::testkit",
            "std::fs",
            "std::time",
        ],
    ),
    (
        "registry",
        &["crate::store", "crate::listing", "crate::actor", "crate::handle", "crate::system", "crate::testkit"],
    ),
    ("store", &["crate::listing", "crate::actor", "crate::handle", "crate::system", "crate::testkit"]),
    ("listing", &["crate::registry", "crate::actor", "crate::handle", "crate::system", "crate::testkit"]),
    ("actor", &["crate::handle", "crate::system", "crate::testkit"]),
    ("handle", &["crate::system", "crate::testkit"]),
    ("system.rs", &["crate::testkit"]),
];

/// Crates and the only place that may name them.
const CONFINED: &[(&str, &str)] = &[
    ("dashmap::", "registry/"),
    ("sled::", "store/embedded/snapshot.rs"),
    ("actix::", "actor"),
    ("actix::", "handle/"),
];

fn sources(path: &Path, found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else {
        found.push((path.display().to_string(), std::fs::read_to_string(path).unwrap()));
    }
}

#[test]
fn each_layer_names_only_those_below_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (layer, forbidden) in FORBIDDEN {
        let mut found = Vec::new();
        sources(&src.join(layer), &mut found);
        assert!(!found.is_empty(), "{layer} is there");
        for (path, text) in found {
            for name in *forbidden {
                assert!(!text.contains(name), "{path} names {name}");
            }
        }
    }
}

/// Whoever is above the store asks the store: what it keeps in memory, another one may keep elsewhere.
#[test]
fn nothing_outside_the_store_names_the_registry() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    let within = [src.join("registry"), src.join("store")];
    let is_above = |path: &str| !within.iter().any(|folder| Path::new(path).starts_with(folder));
    assert!(found.iter().any(|(path, _)| is_above(path)) && found.iter().any(|(path, _)| !is_above(path)));
    for (path, text) in found.iter().filter(|(path, _)| is_above(path)) {
        assert!(!text.contains("Registry"), "{path} names the registry");
    }
    // and the compiler keeps it from the other packages
    let root = std::fs::read_to_string(src.join("lib.rs")).unwrap();
    assert!(root.contains("\nmod registry;"), "the registry is private to the core");
}

#[test]
fn dashmap_sled_and_actix_each_stay_in_their_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&src, &mut found);
    for (path, text) in found {
        for (name, _) in CONFINED {
            let allowed = CONFINED.iter().any(|(n, place)| n == name && path.contains(&format!("src/{place}")));
            assert!(allowed || !text.contains(name), "{path} names {name}");
        }
    }
}

/// The packages of the workspace, from its top.
const PACKAGES: &[&str] = &[".", "actors", "benches"];
/// Where there is Rust in them.
const RUST: &[&str] = &["actors/src", "actors/tests", "benches", "src", "tests/it"];

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[test]
fn no_module_is_taken_from_where_another_package_or_folder_has_it() {
    // not in one piece, since this file is one of those that are read
    let attribute = concat!("#[", "path");
    for folder in RUST {
        let mut found = Vec::new();
        sources(&top().join(folder), &mut found);
        assert!(found.iter().any(|(path, _)| path.ends_with(".rs")), "there is Rust in {folder}");
        for (path, text) in found.iter().filter(|(path, _)| path.ends_with(".rs")) {
            let line = text.lines().position(|line| line.trim_start().starts_with(attribute));
            assert_eq!(line, None, "{path} takes a module from elsewhere");
        }
    }
}

/// The most lines that a file may have.
const MOST_LINES: usize = 500;

#[test]
fn no_file_is_too_long() {
    for folder in RUST {
        let mut found = Vec::new();
        sources(&top().join(folder), &mut found);
        for (path, text) in found.iter().filter(|(path, _)| path.ends_with(".rs")) {
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{path} has {lines} lines");
        }
    }
}

/// Neither the test kit nor that of the benches is in the server: the features that hold them are turned on by development
/// dependencies, or by what such a feature itself turns on.
#[test]
fn only_development_dependencies_turn_the_kits_on() {
    let mut turned_on = 0;
    for package in PACKAGES {
        let path = top().join(package).join("Cargo.toml");
        let manifest = std::fs::read_to_string(&path).unwrap();
        let mut table = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                table = line;
            }
            let kit = ["\"testkit\"", "\"kit\""].iter().any(|kit| line.contains(kit));
            if kit && line.contains("features") {
                let allowed = table == "[dev-dependencies]" || line.contains("optional = true");
                assert!(allowed, "{}: {line} in {table}", path.display());
                turned_on += 1;
            }
            assert!(!line.starts_with("default ="), "{}: a feature is on by default", path.display());
        }
    }
    assert_eq!(turned_on, 4, "of actors, of the server's tests, of the benches, and of what they share");
}
