//! What is wrong with a configuration: each fault in one line, and all of them together.

use std::fmt;

/// One fault of a configuration: a line that names the source, the key and the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// Where the value came from: a file, an environment variable or a flag.
    pub origin: String,
    /// Line and column in that file, from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// The key, where it is about one.
    pub key: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl SettingsError {
    /// An error about a whole source.
    pub fn of_source(origin: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { origin: origin.into(), place: None, key: None, reason: one_line(&reason.into()) }
    }

    /// An error about one key of a source.
    pub fn of_key(origin: impl Into<String>, key: impl Into<String>, reason: impl Into<String>) -> Self {
        let (key, reason) = (one_line(&key.into()), one_line(&reason.into()));
        Self { origin: origin.into(), place: None, key: Some(key), reason }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.origin)?;
        if let Some((line, column)) = self.place {
            write!(out, ":{line}:{column}")?;
        }
        if let Some(key) = &self.key {
            write!(out, ": {key}")?;
        }
        write!(out, ": {}", self.reason)
    }
}

/// Values and parser messages can hold line breaks; each fault of a configuration is one line.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Everything that is wrong with a configuration, one line each, so that an operator need not start again for each fault.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsErrors(Vec<SettingsError>);

impl SettingsErrors {
    /// Adds a fault.
    pub fn push(&mut self, error: SettingsError) {
        if !self.0.contains(&error) {
            self.0.push(error);
        }
    }

    /// Adds the faults of others.
    pub fn extend(&mut self, others: impl Into<Self>) {
        others.into().0.into_iter().for_each(|error| self.push(error));
    }

    /// The value, or `None` after adding what is wrong.
    pub fn take<T>(&mut self, result: Result<T, impl Into<Self>>) -> Option<T> {
        result.map_err(|errors| self.extend(errors)).ok()
    }

    /// The value, if nothing is wrong.
    ///
    /// # Errors
    /// Everything that is.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether something is wrong with a setting whose key is one of these or begins with one and a dot.
    pub fn concern(&self, keys: &[&str]) -> bool {
        let begins =
            |key: &str, with: &str| key.strip_prefix(with).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        self.0.iter().filter_map(|error| error.key.as_deref()).any(|key| keys.iter().any(|with| begins(key, with)))
    }

    /// The faults, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &SettingsError> {
        self.0.iter()
    }

    /// Forgets the faults that this does not hold of.
    pub(super) fn retain(&mut self, keep: impl FnMut(&SettingsError) -> bool) {
        self.0.retain(keep);
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut SettingsError> {
        self.0.iter_mut()
    }
}

impl From<SettingsError> for SettingsErrors {
    fn from(error: SettingsError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            write!(out, "{}{error}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsErrors {}
