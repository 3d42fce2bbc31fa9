//! Secrets of providers, by name: from the environment or from a file that only its owner may read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::load::SECRET_ENV_PREFIX;
use super::wrong::SettingsError;

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

/// What was read of pipes: it can be read once. Everything else is read again.
#[derive(Default)]
pub struct Pipes(Mutex<BTreeMap<PathBuf, Zeroizing<String>>>);

impl Pipes {
    /// The text of a pipe, read the first time.
    fn text(&self, path: &Path) -> Result<String, String> {
        let mut read = self.0.lock();
        if let Some(text) = read.get(path) {
            return Ok(text.as_str().to_owned());
        }
        let text = read_private(path)?;
        read.insert(path.to_owned(), Zeroizing::new(text.clone()));
        Ok(text)
    }
}

/// All secrets.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// By the environment variable that would hold it.
    by_variable: BTreeMap<String, Secret>,
}

impl Secrets {
    /// Reads the environment's (of [`super::environment`]) and the file's, a table of `name = "secret"` in TOML.
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
        pipes: &Pipes,
    ) -> Result<Self, SettingsError> {
        let mut by_variable = file.map_or_else(|| Ok(BTreeMap::new()), |path| read(path, app_dir, pipes))?;
        for (name, text) in environment.iter().filter(|(name, _)| name.starts_with(SECRET_ENV_PREFIX)) {
            if text.is_empty() {
                return Err(SettingsError::of_source(format!("environment variable {name}"), "is empty"));
            }
            by_variable.insert(name.clone(), Secret::new(text));
        }
        Ok(Self { by_variable })
    }

    /// The names of all that can be got, in small letters.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let name = |of: &String| of.strip_prefix(SECRET_ENV_PREFIX).map(str::to_ascii_lowercase);
        let named = self.by_variable.keys().filter_map(move |of| Some((of, name(of)?)));
        named.filter(|(of, name)| variable(name).as_ref() == Some(of)).map(|(_, name)| name)
    }

    /// The secret of this name.
    ///
    /// # Errors
    /// In words, where it would be looked for. What may be a secret that was written in the place of its name is not repeated.
    pub fn get(&self, name: &str) -> Result<&Secret, String> {
        let variable =
            variable(name).ok_or("this cannot be a secret's name, which is 1 to 64 of A-Z a-z 0-9 _ -".to_owned())?;
        self.by_variable.get(&variable).ok_or_else(|| {
            if reads_like_a_name(name) {
                format!("there is no secret {name:?}: set {variable} or put it into the secrets file")
            } else {
                format!("there is no secret of this name: set {SECRET_ENV_PREFIX}NAME or put it into the secrets file")
            }
        })
    }

    /// Whether there is a secret of this name.
    pub fn has(&self, name: &str) -> bool {
        variable(name).is_some_and(|variable| self.by_variable.contains_key(&variable))
    }

    /// Whether a text is the name of a secret: of one that there is, or as names are.
    pub fn may_name(&self, text: &str) -> bool {
        self.has(text) || reads_like_a_name(text)
    }
}

/// Whether a text is words, as names are, and not what a machine drew at random.
fn reads_like_a_name(text: &str) -> bool {
    const LONGEST: usize = 31;
    const LONGEST_WORD: usize = 14;
    const LONGEST_NUMBER: usize = 4;
    const SHORTEST_IN_CAMEL_CASE: usize = 3;
    let is_one_case = |letters: &str, is: fn(&u8) -> bool| letters.bytes().all(|byte| is(&byte));
    let is_camel_case = |letters: &str| {
        let ends = letters.match_indices(|c: char| c.is_ascii_uppercase()).map(|(at, _)| at).chain([letters.len()]);
        let lengths = ends.scan(0, |last, end| Some(end - std::mem::replace(last, end)));
        letters.bytes().all(|byte| byte.is_ascii_alphabetic())
            && lengths
                .skip_while(|length| *length == 0)
                .all(|length| (SHORTEST_IN_CAMEL_CASE..=LONGEST_WORD).contains(&length))
    };
    let is_word = |word: &str| {
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let is_short = (1..=LONGEST_WORD).contains(&letters.len());
        word.len() - letters.len() <= LONGEST_NUMBER
            && (is_short
                && (is_one_case(letters, u8::is_ascii_lowercase) || is_one_case(letters, u8::is_ascii_uppercase))
                || !letters.is_empty() && is_camel_case(letters))
    };
    text.len() <= LONGEST && text.split(['-', '_']).all(is_word)
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
/// In words: it cannot be read, or others than its owner may use it. A pipe belongs to its owner alone.
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

fn read(path: &Path, app_dir: Option<&Path>, pipes: &Pipes) -> Result<BTreeMap<String, Secret>, SettingsError> {
    let name = path.display().to_string();
    let unreadable = |error: std::io::Error| SettingsError::of_source(&name, format!("cannot be read: {error}"));
    let wrong = |reason: String| SettingsError::of_source(&name, reason);
    let text = if path.metadata().map_err(unreadable)?.is_file() {
        let real = path.canonicalize().map_err(unreadable)?;
        if app_dir.and_then(|folder| folder.canonicalize().ok()).is_some_and(|folder| real.starts_with(folder)) {
            return Err(wrong("is in the app folder, where secrets must not be".to_owned()));
        }
        read_private(&real)
    } else {
        // such as the shell's <(…), which has no path of its own
        pipes.text(path)
    };
    let text = text.map_err(wrong)?;
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
mod tests;
