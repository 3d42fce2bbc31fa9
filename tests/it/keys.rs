//! `passerby keys` as an operator meets it: passphrases, and folders without keys.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::process::{Process, passerby, run, words};

#[test]
fn a_short_passphrase_for_keys_is_refused_unless_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("keys"));
    Process::start(&data, &[]).stop();
    let export = |passphrase: &str, more: &[&str]| {
        let mut command: Command = passerby();
        command.args(["keys", "export"]).arg(&file).arg("--data-dir").arg(&data).args(more);
        command.env("PASSERBY_PASSPHRASE", passphrase).output().unwrap()
    };
    for short in ["", "x", "elevenchars", "            "] {
        let refused = export(short, &[]);
        assert_eq!(refused.status.code(), Some(64), "{short:?}: {}", words(&refused));
        assert!(words(&refused).contains("at least 12") && !file.exists(), "{}", words(&refused));
    }
    assert_eq!(export("", &["--weak"]).status.code(), Some(1), "none is not even a weak one");
    assert!(export("x", &["--weak"]).status.success());
    let mut import = passerby();
    import.args(["keys", "import"]).arg(&file).arg("--data-dir").arg(folder.path().join("new"));
    assert!(import.env("PASSERBY_PASSPHRASE", "x").output().unwrap().status.success(), "what there is goes on working");
    std::fs::remove_file(&file).unwrap();
    assert!(export("twelve chars", &[]).status.success());
}

#[test]
fn a_passphrase_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (data, file, secret) = (folder.path().join("data"), folder.path().join("keys"), folder.path().join("secret"));
    Process::start(&data, &[]).stop();
    std::fs::write(&secret, "correct horse\n").unwrap();
    let export = |mode: u32| {
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
        let arguments = ["keys", "export", file.to_str().unwrap(), "--passphrase-file", secret.to_str().unwrap()];
        run(&data, &arguments)
    };
    for mode in [0o644, 0o640, 0o602] {
        let refused = export(mode);
        assert_eq!(refused.status.code(), Some(64), "{}", words(&refused));
        assert!(words(&refused).contains(&format!("others than its owner may use it (mode {mode:04o})")));
        assert!(!file.exists());
    }
    assert!(export(0o600).status.success());
}

#[test]
fn keys_that_are_not_there_are_no_empty_list() {
    let folder = tempfile::tempdir().unwrap();
    let (data, empty) = (folder.path().join("data"), folder.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    for command in [["list"].as_slice(), &["rotate"], &["retire", "0123456789abcdef"], &["export", "/nonexistent/k"]] {
        for (keys_dir, part) in [
            ("/nonexistent", "/nonexistent: there is no such folder"),
            (empty.to_str().unwrap(), "there are no keys in it"),
        ] {
            let refused = run(&data, &[["keys"].as_slice(), command, &["--keys-dir", keys_dir]].concat());
            assert_eq!(refused.status.code(), Some(64), "{command:?}: {}", words(&refused));
            assert!(words(&refused).contains(part), "{command:?}: {}", words(&refused));
        }
    }
    assert!(!data.exists());
}
