//! Completions and manual pages, as a shell and a reader of manuals take them.

use super::*;

#[test]
fn bash_completes_commands_and_flags() {
    let script = passerby().args(["completions", "bash"]).output().unwrap();
    assert!(script.status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passerby.bash");
    std::fs::write(&file, &script.stdout).unwrap();
    let completed = |words: &[&str], current: &str| {
        let all = words.iter().chain([&current]).map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let last = words.last().unwrap();
        let asks = format!("COMP_WORDS=({all}); COMP_CWORD={}; _passerby passerby '{current}' '{last}'", words.len());
        let line = format!("source \"$0\"; {asks}; printf '%s\\n' \"${{COMPREPLY[@]}}\"");
        let said = Command::new("bash").args(["-c", &line]).arg(&file).output().unwrap();
        assert!(said.status.success(), "{}", super::words(&said));
        String::from_utf8(said.stdout).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(completed(&["passerby"], "use"), ["users"]);
    let of_users = completed(&["passerby", "users"], "");
    for word in ["list", "find", "show", "disable", "delete", "--server"] {
        assert!(of_users.iter().any(|known| known == word), "{word} in {of_users:?}");
    }
    assert_eq!(completed(&["passerby", "users", "list"], "--never"), ["--never-came-back"]);
    assert_eq!(completed(&["passerby", "keys", "rotate"], "coo"), ["cookie"]);
}

/// Without the program that shows them, which not every machine has: the parts that every page has, and no line that it would
/// take for a command and does not know.
#[test]
fn there_is_a_manual_page_for_each_command() {
    let folder = tempfile::tempdir().unwrap();
    let written = passerby().args(["man", "--dir"]).arg(folder.path()).output().unwrap();
    assert!(written.status.success(), "{}", words(&written));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for part in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(text.contains(&format!("\n{part}")), "{part} in {}", path.display());
        }
        for line in text.lines().filter(|line| line.starts_with(['.', '\''])) {
            let request = line[1..].split_whitespace().next().unwrap_or_default();
            let known = ["TH", "SH", "SS", "TP", "PP", "IP", "RS", "RE", "br", "ie", "el", "ds"];
            assert!(known.contains(&request) || line.starts_with(".\\\""), "{line} in {}", path.display());
        }
        names.push(path.file_name().unwrap().to_string_lossy().into_owned());
    }
    for name in
        ["passerby.1", "passerby-serve.1", "passerby-users.1", "passerby-users-list.1", "passerby-audit-export.1"]
    {
        assert!(names.iter().any(|known| known == name), "{name} in {names:?}");
    }
}
