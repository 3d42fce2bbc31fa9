//! SECURITY.md tells the truth: each test that it names is there, and each row that a test names is in it.

use std::collections::BTreeSet;
use std::path::Path;

fn sources(path: &Path, found: &mut String) {
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn each_row_has_its_test_and_each_test_its_row() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["src", "tests", "actors/src", "actors/tests"] {
        sources(&root.join(folder), &mut code);
    }
    let node: String = std::fs::read_dir(root.join("tests/node"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mjs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let document = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let mut rows = BTreeSet::new();
    for line in document.lines().filter(|line| line.starts_with("| S")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        rows.insert(cells[1].to_owned());
        // what stands between the ticks is every other piece; tests in Node are sentences, and their file may be named
        let tests: Vec<&str> =
            cells[3].split('`').skip(1).step_by(2).filter(|name| !name.starts_with("tests/node/")).collect();
        assert!(!tests.is_empty(), "{line}");
        for test in tests {
            let is_there = code.contains(&format!("fn {test}(")) || node.contains(&format!("test(\"{test}\""));
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
