//! Where secrets come from, and that none is shown.

use std::path::PathBuf;

use super::*;

fn file(folder: &Path, mode: u32, text: &str) -> PathBuf {
    let path = folder.join("secrets.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_secret_comes_from_the_environment_or_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), 0o600, "jwt-key = \"of the file\"\nother = \"\"\"\nline\nline\"\"\"\n");
    let environment = pairs(&[
        ("PASSERBY_SECRET_JWT_KEY", "of the environment"),
        ("PASSERBY_LISTEN", "x"),
        ("PASSERBY_SECRET_small", "x"),
    ]);
    let secrets = Secrets::load(&environment, Some(&path), None, &Pipes::default()).unwrap();
    assert_eq!(secrets.get("jwt-key").unwrap().expose(), "of the environment");
    assert_eq!(secrets.get("JWT_Key").unwrap().expose(), "of the environment");
    assert_eq!(secrets.get("other").unwrap().expose(), "line\nline");
    assert_eq!(secrets.names().collect::<Vec<_>>(), ["jwt_key", "other"]);
    let none = Secrets::load(&[], None, None, &Pipes::default()).unwrap();
    assert_eq!(
        none.get("jwt-key").unwrap_err(),
        r#"there is no secret "jwt-key": set PASSERBY_SECRET_JWT_KEY or put it into the secrets file"#
    );
    assert!(none.get("a b").unwrap_err().contains("cannot be a secret's name"));
    assert!(none.get("JWT_KEY2").unwrap_err().contains("\"JWT_KEY2\""));
    assert!(!format!("{secrets:?}").contains("of the"), "{secrets:?}");
}

#[test]
fn a_secret_in_the_place_of_its_name_is_not_repeated() {
    let none = Secrets::default();
    for literal in [
        "0123456789abcdef0123456789abcdef",
        "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",
        "d-aB3dEf",
        "abcdefghijklmnop",
        "one-two-three-four-five-six-seven-eight",
        "with a space",
        "-----BEGIN PRIVATE KEY-----",
    ] {
        let error = none.get(literal).unwrap_err();
        assert!(!error.to_lowercase().contains(&literal.to_lowercase()), "{error}");
        assert!(error.contains("secret"), "{error}");
    }
}

#[test]
fn a_file_that_others_may_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o640, 0o604, 0o610, 0o602, 0o666] {
        let path = file(folder.path(), mode, "a = \"b\"");
        let error = Secrets::load(&[], Some(&path), None, &Pipes::default()).unwrap_err();
        assert!(error.reason.contains(&format!("(mode {mode:04o})")), "{error}");
    }
    for mode in [0o600, 0o400] {
        let path = file(folder.path(), mode, "a = \"b\"");
        Secrets::load(&[], Some(&path), None, &Pipes::default()).unwrap();
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_file_in_the_app_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), 0o600, "a = \"b\"");
    std::fs::create_dir(folder.path().join("auth")).unwrap();
    for (path, app_dir) in [
        (path.clone(), folder.path().to_owned()),
        (folder.path().join("auth/../secrets.toml"), folder.path().join("auth/..")),
    ] {
        let error = Secrets::load(&[], Some(&path), Some(&app_dir), &Pipes::default()).unwrap_err();
        assert_eq!(error.reason, "is in the app folder, where secrets must not be");
    }
    Secrets::load(&[], Some(&path), Some(&folder.path().join("auth")), &Pipes::default()).unwrap();
}

#[test]
fn errors_show_nothing_of_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("a = \"b\"\nc = \"hidden\n", "is not valid TOML in line 2"),
        ("a = hidden", "is not valid TOML in line 1"),
        ("a = \"\"", "a: expected a text that is not empty"),
        ("a = 7", "a: expected a text that is not empty"),
        ("[a]\nb = \"hidden\"", "a: expected a text that is not empty"),
        ("\"a b\" = \"hidden\"", "a b: expected a name of 1 to 64 of A-Z a-z 0-9 _ -"),
        ("A = \"hidden\"\na = \"hidden\"", "is there twice"),
    ] {
        let path = file(folder.path(), 0o600, text);
        let error = Secrets::load(&[], Some(&path), None, &Pipes::default()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("hidden"), "{error}");
    }
    let nowhere = folder.path().join("nowhere");
    assert!(
        Secrets::load(&[], Some(&nowhere), None, &Pipes::default()).unwrap_err().reason.starts_with("cannot be read")
    );
    assert!(Secrets::load(&pairs(&[("PASSERBY_SECRET_X", "")]), None, None, &Pipes::default()).is_err());
}
