//! Secrets of providers, by name: from the environment or from a file that nobody else may read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::config::{SECRET_ENV_PREFIX, SettingsError};

/// A secret. What prints it shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret from elsewhere.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself. It belongs neither into a log line nor into an error.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(…)")
    }
}

/// All secrets.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// By the environment variable that would hold it.
    by_variable: BTreeMap<String, Secret>,
}

impl Secrets {
    /// Reads the environment's (of [`crate::config::environment`]) and the file's, a table of `name = "secret"` in TOML.
    /// A secret that both have is taken from the environment.
    ///
    /// # Errors
    /// A file that cannot be read, that others than its owner may use, that is in the app folder (which goes into
    /// version control), or that holds anything else; an empty secret. Names the file and the key, and nothing of a
    /// secret.
    pub fn load(
        environment: &[(String, String)],
        file: Option<&Path>,
        app_dir: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let mut by_variable = file.map_or_else(|| Ok(BTreeMap::new()), |path| read(path, app_dir))?;
        for (name, text) in environment.iter().filter(|(name, _)| name.starts_with(SECRET_ENV_PREFIX)) {
            if text.is_empty() {
                return Err(SettingsError::of_source(format!("environment variable {name}"), "is empty"));
            }
            by_variable.insert(name.clone(), Secret::new(text));
        }
        Ok(Self { by_variable })
    }

    /// The secret of this name.
    ///
    /// # Errors
    /// In words, where it would be looked for.
    pub fn get(&self, name: &str) -> Result<&Secret, String> {
        let variable = variable(name)
            .ok_or_else(|| format!("{name:?} cannot be a secret's name: expected 1 to 64 of A-Z a-z 0-9 _ -"))?;
        self.by_variable
            .get(&variable)
            .ok_or_else(|| format!("there is no secret {name:?}: set {variable} or put it into the secrets file"))
    }
}

/// The environment variable for a secret's name, if it is one.
fn variable(name: &str) -> Option<String> {
    let holds = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    holds.then(|| format!("{SECRET_ENV_PREFIX}{}", name.to_ascii_uppercase().replace('-', "_")))
}

/// The text of a file that holds a secret.
///
/// # Errors
/// In words: it cannot be read, or others than its owner may use it. A pipe is nobody else's.
pub(crate) fn read_private(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    let mode = about.permissions().mode() & 0o777;
    if about.is_file() && mode & 0o077 != 0 {
        return Err(format!("others than its owner may use it (mode {mode:04o}): set mode 0600"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

fn read(path: &Path, app_dir: Option<&Path>) -> Result<BTreeMap<String, Secret>, SettingsError> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| SettingsError::of_source(&name, format!("cannot be read: {error}"));
    let real = path.canonicalize().map_err(unreadable)?;
    if app_dir.and_then(|folder| folder.canonicalize().ok()).is_some_and(|folder| real.starts_with(folder)) {
        return Err(SettingsError::of_source(&name, "is in the app folder, where secrets must not be"));
    }
    let text = read_private(&real).map_err(|reason| SettingsError::of_source(&name, reason))?;
    // the parser's own message shows the line, which may hold a secret
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        SettingsError::of_source(&name, format!("is not valid TOML in line {line}"))
    })?;
    let mut by_variable = BTreeMap::new();
    for (key, value) in table {
        let wrong = |reason: &str| SettingsError::of_key(&name, &key, reason);
        let variable = variable(&key).ok_or_else(|| wrong("expected a name of 1 to 64 of A-Z a-z 0-9 _ -"))?;
        let secret = match value {
            toml::Value::String(text) if !text.is_empty() => Secret::new(text),
            _ => return Err(wrong("expected a text that is not empty")),
        };
        if by_variable.insert(variable, secret).is_some() {
            return Err(wrong("is there twice: upper and lower case, - and _ are the same in a secret's name"));
        }
    }
    Ok(by_variable)
}

#[cfg(test)]
mod tests {
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
        let environment = pairs(&[("PASSERBY_SECRET_JWT_KEY", "of the environment"), ("PASSERBY_LISTEN", "x")]);
        let secrets = Secrets::load(&environment, Some(&path), None).unwrap();
        assert_eq!(secrets.get("jwt-key").unwrap().expose(), "of the environment");
        assert_eq!(secrets.get("JWT_Key").unwrap().expose(), "of the environment");
        assert_eq!(secrets.get("other").unwrap().expose(), "line\nline");
        let none = Secrets::load(&[], None, None).unwrap();
        assert_eq!(
            none.get("jwt-key").unwrap_err(),
            r#"there is no secret "jwt-key": set PASSERBY_SECRET_JWT_KEY or put it into the secrets file"#
        );
        assert!(none.get("a b").unwrap_err().contains("cannot be a secret's name"));
        assert!(!format!("{secrets:?}").contains("of the"), "{secrets:?}");
    }

    #[test]
    fn a_file_that_others_may_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o610, 0o602, 0o666] {
            let path = file(folder.path(), mode, "a = \"b\"");
            let error = Secrets::load(&[], Some(&path), None).unwrap_err();
            assert!(error.reason.contains(&format!("(mode {mode:04o})")), "{error}");
        }
        for mode in [0o600, 0o400] {
            let path = file(folder.path(), mode, "a = \"b\"");
            Secrets::load(&[], Some(&path), None).unwrap();
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
            let error = Secrets::load(&[], Some(&path), Some(&app_dir)).unwrap_err();
            assert_eq!(error.reason, "is in the app folder, where secrets must not be");
        }
        Secrets::load(&[], Some(&path), Some(&folder.path().join("auth"))).unwrap();
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
            let error = Secrets::load(&[], Some(&path), None).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains("hidden"), "{error}");
        }
        let nowhere = folder.path().join("nowhere");
        assert!(Secrets::load(&[], Some(&nowhere), None).unwrap_err().reason.starts_with("cannot be read"));
        assert!(Secrets::load(&pairs(&[("PASSERBY_SECRET_X", "")]), None, None).is_err());
    }
}
