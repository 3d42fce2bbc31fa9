use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// The scripts and the like in the console's folder.
fn in_folder(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_folder(&path, root, found);
        } else if path.extension().is_some_and(|kind| kind != "rs" && kind != "html") {
            found.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned());
        }
    }
}

fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().map(|(name, _, content)| (*name, std::str::from_utf8(content).unwrap()))
}

#[test]
fn every_file_of_the_folder_is_served() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/admin/console");
    let mut found = BTreeSet::new();
    in_folder(&root, &root, &mut found);
    assert_eq!(found, FILES.iter().map(|(name, ..)| (*name).to_owned()).collect());
}

/// The files that a script imports.
fn imports_of(name: &str, text: &str) -> Vec<String> {
    let paths = text.split(" from \"").skip(1).filter_map(|rest| rest.split('"').next());
    let named = paths.map(|path| match path.strip_prefix("../") {
        Some(above) => above.to_owned(),
        None if name.starts_with("pages/") => format!("pages/{}", path.trim_start_matches("./")),
        None => path.trim_start_matches("./").to_owned(),
    });
    named.collect()
}

#[test]
fn scripts_import_files_that_are_served_and_nothing_from_elsewhere() {
    let served: BTreeSet<_> = FILES.iter().map(|(name, ..)| *name).collect();
    let mut imports = 0;
    for (name, text) in texts().filter(|(name, _)| name.ends_with(".js")) {
        for path in imports_of(name, text) {
            assert!(served.contains(path.as_str()), "{name} imports {path}");
            imports += 1;
        }
        assert!(!text.contains("innerHTML"), "{name}");
    }
    assert!(imports > 50, "{imports}");
}

/// The files that this one imports, and theirs; not those that it imports when they are needed.
fn imported(name: &str, found: &mut BTreeSet<String>) {
    let Some((_, text)) = texts().find(|(other, _)| *other == name) else { panic!("{name}") };
    if found.insert(name.to_owned()) {
        for path in imports_of(name, text) {
            imported(&path, found);
        }
    }
}

/// Nothing on the way compresses what it is made of: its bytes as they are.
#[test]
fn the_first_page_is_small() {
    let mut first = BTreeSet::from(["console.css", "icon.svg", "theme.js"].map(str::to_owned));
    imported("main.js", &mut first);
    imported("pages/login.js", &mut first);
    let bytes: usize = texts().filter(|(name, _)| first.contains(*name)).map(|(_, text)| text.len()).sum();
    assert!(bytes + INDEX.len() < 100_000, "{bytes}");
}
