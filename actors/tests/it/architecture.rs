//! The import order of design and ARCHITECTURE.md, read from the source itself.

use std::path::Path;

/// Each layer with the crate paths it may not name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "domain",
        &["crate::registry", "crate::store", "crate::actor", "crate::handle", "crate::system", "std::fs", "std::time"],
    ),
    ("registry.rs", &["crate::store", "crate::actor", "crate::handle", "crate::system"]),
    ("store", &["crate::actor", "crate::handle", "crate::system"]),
    ("actor", &["crate::handle", "crate::system"]),
    ("handle.rs", &["crate::system"]),
];

/// Crates and the only place that may name them.
const CONFINED: &[(&str, &str)] = &[
    ("dashmap::", "registry.rs"),
    ("sled::", "store/embedded/snapshot.rs"),
    ("actix::", "actor"),
    ("actix::", "handle.rs"),
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
