//! The data folder: whose it is, and what happens when it is taken away or damaged.

use super::*;

/// S51: addresses and hashes are in it.
#[test]
fn what_is_created_is_its_owners_alone_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    process.stop();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files = walk(&data);
    for name in ["LOCK", "CURRENT", "APP_ID", "journal"] {
        assert!(files.iter().any(|path| path.ends_with(name)), "{name} in {files:?}");
    }
    assert!(files.iter().any(|path| path.to_string_lossy().contains("/snapshot/")), "{files:?}");
    for path in &files {
        assert_eq!(mode(path) & 0o077, 0, "{} has mode {:o}", path.display(), mode(path));
        for folder in path.ancestors().take_while(|path| path.starts_with(&data)).skip(1) {
            assert_eq!(mode(folder), 0o700, "{}", folder.display());
        }
    }

    let start = || Process::start_with(&data, &[], &[], logging_to(&log)).stop();
    start();
    assert!(!std::fs::read_to_string(&log).unwrap().contains("others than the owner"));
    std::fs::set_permissions(data.join("CURRENT"), std::fs::Permissions::from_mode(0o644)).unwrap();
    start();
    let said = std::fs::read_to_string(&log).unwrap();
    let line = said.lines().find(|line| line.contains("others than the owner")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("WARN") && line.contains("CURRENT") && line.contains("chmod"), "{line}");
    let checked = words(&run(&data, &[["check"].as_slice(), &FREE_PORTS].concat()));
    let line = checked.lines().find(|line| line.contains("others than the owner"));
    assert!(line.is_some_and(|line| line.starts_with("warning: ") && line.contains("CURRENT")), "{checked}");
}

/// A restart takes settings that an app may need. It brings no disk back.
#[test]
fn an_app_that_the_store_cannot_take_is_not_said_to_need_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (data, app, log) = (folder.path().join("data"), folder.path().join("app"), folder.path().join("log"));
    std::fs::create_dir_all(app.join("auth")).unwrap();
    std::fs::write(app.join("realm_config.json"), r#"{"app_id":"passerby"}"#).unwrap();
    let providers = |text: &str| std::fs::write(app.join("auth/providers.json"), text).unwrap();
    providers(r#"{"anon-user":{}}"#);
    let keys = folder.path().join("keys");
    let arguments = ["--app-dir", app.to_str().unwrap(), "--keys-dir", keys.to_str().unwrap()];
    let process = Process::start_with(&data, &arguments, &[], logging_to(&log));
    std::fs::remove_dir_all(&data).unwrap();
    line_of(&log, "removed, moved or replaced");
    providers(r#"{"anon-user":{"disabled":true}}"#);
    process.signal(Signal::HUP);
    line_of(&log, "the app folder is not deployed, and deployment 1 stays in force");
    line_of(&log, "log.filter was taken; keys and everything else are as they were");
    process.stop();
}

/// What the running server holds is in no folder any more: nothing may be acknowledged, no user be called dead, and a
/// different server may have the path.
#[test]
fn a_data_folder_that_is_removed_is_noticed_and_nothing_is_promised_any_more() {
    for moved in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (data, away, log) = (folder.path().join("data"), folder.path().join("away"), folder.path().join("log"));
        let process = Process::start_with(&data, &[], &[], logging_to(&log));
        let access = text(&call(&process.public, "POST", "/v1/sessions", None).body, "access_token");
        if moved {
            std::fs::rename(&data, &away).unwrap();
        } else {
            std::fs::remove_dir_all(&data).unwrap();
        }
        // a login before it is noticed is not acknowledged either
        assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 503);
        assert_eq!(call(&process.admin, "GET", "/readyz", None).status, 503);
        assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 200);
        assert_eq!(call(&process.public, "GET", "/v1/session", Some("a.b.c")).status, 503, "nobody is called dead");
        let line = line_of(&log, "removed, moved or replaced");
        assert!(line.contains("ERROR") && line.contains(data.to_str().unwrap()), "{line}");

        // a different server on the path has it for itself
        let other = Process::start(&data, &[]);
        let theirs = text(&call(&other.public, "POST", "/v1/sessions", None).body, "access_token");
        assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 503);
        assert_eq!(call(&process.admin, "GET", "/readyz", None).status, 503);
        process.stop();
        assert_eq!(other.stop(), Some(0));
        let other = Process::start(&data, &[]);
        assert_eq!(call(&other.public, "GET", "/v1/session", Some(&theirs)).status, 200);
        other.stop();
        if moved {
            let back = Process::start(&away, &[]);
            assert_eq!(call(&back.public, "GET", "/v1/session", Some(&access)).status, 200);
        }
    }
}

/// With nothing to write it is noticed all the same.
#[test]
fn a_data_folder_that_is_removed_is_noticed_at_rest() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.admin, "GET", "/readyz", None).status, 200);
    std::fs::remove_file(data.join("LOCK")).unwrap();
    wait_until("it is noticed", || call(&process.admin, "GET", "/readyz", None).status == 503);
}

/// Beside the journal a start needs `CURRENT` and the snapshot, which are written again from memory.
#[test]
fn what_a_start_needs_is_written_again_when_it_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let process = Process::start_with(&data, &[], &[], logging_to(&log));
    let access = text(&call(&process.public, "POST", "/v1/sessions", None).body, "access_token");
    std::fs::remove_file(data.join("CURRENT")).unwrap();
    wait_until("it is there again", || {
        data.join("CURRENT").exists() && call(&process.admin, "GET", "/readyz", None).status == 200
    });
    let line = line_of(&log, "removed or replaced under the running server");
    assert!(line.contains("ERROR") && line.contains("CURRENT"), "{line}");
    drop(process);
    let again = Process::start(&data, &[]);
    assert_eq!(call(&again.public, "GET", "/v1/session", Some(&access)).status, 200);
}

/// A folder no longer says whose it is: under a different app id all its users would be refused.
#[test]
fn a_data_folder_with_users_and_without_its_app_id_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    process.stop();
    let file = data.join("APP_ID");
    for (content, what) in [
        (None, "is missing"),
        (Some("\n"), "is empty"),
        (Some("a b\n"), "holds no app id"),
        (Some("other\n"), "belongs to"),
    ] {
        match content {
            Some(content) => std::fs::write(&file, content).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        for command in ["serve", "check"] {
            let refused = run(&data, &[[command].as_slice(), &FREE_PORTS].concat());
            assert_eq!(refused.status.code(), Some(64), "{}", words(&refused));
            assert!(words(&refused).contains(what), "{}", words(&refused));
        }
    }
    std::fs::write(&file, "passerby\n").unwrap();
    Process::start(&data, &[]).stop();

    // a first start that was cut short has no users, and is gone on with
    let cut = folder.path().join("cut");
    Process::start(&cut, &[]).stop();
    std::fs::remove_file(cut.join("APP_ID")).unwrap();
    Process::start(&cut, &[]).stop();
    assert!(cut.join("APP_ID").exists());
}

/// One wrong bit in the last group looks like a power loss and need not be one.
#[test]
fn a_last_group_that_is_whole_and_wrong_is_told_from_one_that_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let process = Process::start(&data, &[]);
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    drop(process);
    let journal = walk(&data).into_iter().find(|path| path.ends_with("journal")).unwrap();
    let whole = std::fs::read(&journal).unwrap();
    let length = |at: usize| u32::from_be_bytes(whole[at + 4..at + 8].try_into().unwrap()) as usize;
    let mut last = 20;
    while last + 12 + length(last) < whole.len() {
        last += 12 + length(last);
    }
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let (mark, of_length) = (flipped(last), flipped(last + 7));
    let cut = whole[..whole.len() - 1].to_vec();
    for (bytes, warned) in [(flipped(whole.len() - 1), true), (mark, true), (of_length, true), (cut, false)] {
        std::fs::write(&journal, bytes).unwrap();
        // it is not damage that stops a start, so neither of them fails
        let looked = run(&data, &["recover"]);
        assert_eq!(words(&looked).contains("its checksum is wrong"), warned, "{}", words(&looked));
        assert_eq!(words(&looked).contains("the next start leaves the last group out"), warned, "{}", words(&looked));
        assert_eq!(looked.status.code(), Some(0));
        let checked = run(&data, &[["check"].as_slice(), &FREE_PORTS].concat());
        assert!(checked.status.success() && words(&checked).contains("data: good, "), "{}", words(&checked));
        let said = words(&checked);
        let line = said.lines().find(|line| line.contains("its checksum is wrong"));
        assert_eq!(line.is_some_and(|line| line.starts_with("warning: ")), warned, "{said}");
        Process::start_with(&data, &[], &[], logging_to(&log)).stop();
        let said = std::fs::read_to_string(&log).unwrap();
        let line = said.lines().find(|line| line.contains("its checksum is wrong"));
        assert_eq!(line.is_some_and(|line| line.contains("WARN") && line.contains("acknowledged")), warned, "{said}");
        // the start cut it off, so the next round begins from the whole
    }
}

/// S2: the store is no credential. Without its keys the server does not start, and with others no one is logged in.
#[test]
fn a_copy_of_the_store_without_the_keys_logs_no_one_in() {
    let folder = tempfile::tempdir().unwrap();
    let (data, keys) = (folder.path().join("data"), folder.path().join("keys"));
    let keys_dir = ["--keys-dir", keys.to_str().unwrap()];
    let process = Process::start(&data, &keys_dir);
    let access = text(&call(&process.public, "POST", "/v1/sessions", None).body, "access_token");
    process.stop();
    assert!(!data.join("keys").exists());
    let bytes: Vec<u8> = walk(&data).into_iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    let signature = access.rsplit('.').next().unwrap().as_bytes();
    assert!(!bytes.windows(signature.len()).any(|window| window == signature), "no token is stored");

    let other = folder.path().join("other-keys");
    let refused = run(&data, &[["serve", "--keys-dir", other.to_str().unwrap()].as_slice(), &FREE_PORTS].concat());
    assert_eq!(refused.status.code(), Some(1), "{}", words(&refused));
    let strangers = folder.path().join("strangers");
    Process::start(&strangers, &["--keys-dir", other.to_str().unwrap()]).stop();
    let process = Process::start(&data, &["--keys-dir", other.to_str().unwrap()]);
    assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 401);
    process.stop();
    let process = Process::start(&data, &keys_dir);
    assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 200);
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn users_in_memory_are_gone_with_the_process_and_those_on_disk_are_not() {
    for (storage, then) in [("memory", 401), ("disk", 200)] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let arguments = ["--storage", storage];
        let warned = |said: &str| said.contains("gone when this process ends");
        let checked = words(&run(&data, &[&["check"], &arguments[..], &FREE_PORTS[..]].concat()));
        assert_eq!(warned(&checked), storage == "memory", "{checked}");

        let mut process = Process::start_with(&data, &arguments, &[], Stdio::piped());
        let access = text(&call(&process.public, "POST", "/v1/sessions", None).body, "access_token");
        assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, 200);
        assert_eq!(call(&process.admin, "GET", "/readyz", None).status, 200);
        assert_eq!(call(&process.admin, "GET", "/metrics", None).status, 200);
        let mut log = process.child.stderr.take().unwrap();
        assert_eq!(process.stop(), Some(0));
        let mut said = String::new();
        log.read_to_string(&mut said).unwrap();
        let warnings: Vec<_> = said.lines().filter(|line| warned(line)).collect();
        assert_eq!(warnings.len(), usize::from(storage == "memory"), "{said}");
        assert!(warnings.iter().all(|line| line.contains("WARN")), "{warnings:?}");
        assert_eq!(data.join("CURRENT").exists(), storage == "disk");

        let process = Process::start(&data, &arguments);
        assert_eq!(call(&process.public, "GET", "/v1/session", Some(&access)).status, then, "{storage}");
        assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
        assert_eq!(process.stop(), Some(0));

        // whose folder it is counts all the same: the keys are in it
        if storage == "disk" {
            let other = run(&data, &["check", "--storage", "memory", "--app-id", "other"]);
            assert_eq!(other.status.code(), Some(64), "{}", words(&other));
        }
    }
}
