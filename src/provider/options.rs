//! Reads one provider's object in `auth/providers.json`, so that every error names file, key and reason.

use serde_json::{Map, Value};

use super::app_folder::is_template;
use crate::config::{SettingsError, did_you_mean};

/// An object of the file, with the path that leads to it.
pub(super) struct Options<'a> {
    file: &'a str,
    path: String,
    /// `None` for one that is not there.
    content: Option<&'a Map<String, Value>>,
}

impl<'a> Options<'a> {
    /// The provider `name` of the file, whose object is `content`.
    pub(super) fn new(file: &'a str, name: &str, content: &'a Map<String, Value>) -> Self {
        Self { file, path: name.to_owned(), content: Some(content) }
    }

    pub(super) fn wrong(&self, key: &str, reason: impl Into<String>) -> SettingsError {
        SettingsError::of_key(self.file, format!("{}.{key}", self.path), reason)
    }

    /// Refuses any option but these.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), SettingsError> {
        match self.content.into_iter().flat_map(Map::keys).find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let meant = did_you_mean(key, known.iter().copied());
                Err(self.wrong(key, format!("there is no such option, only {}{meant}", known.join(", "))))
            }
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.content?.get(key).filter(|value| !value.is_null())
    }

    /// The object under `key`; an empty one if there is none.
    pub(super) fn section(&self, key: &str, known: &[&str]) -> Result<Self, SettingsError> {
        let content = match self.get(key) {
            None => None,
            Some(Value::Object(content)) => Some(content),
            Some(other) => return Err(self.wrong(key, format!("expected an object, found {other}"))),
        };
        let section = Self { file: self.file, path: format!("{}.{key}", self.path), content };
        section.only(known)?;
        Ok(section)
    }

    /// The objects in the list under `key`.
    pub(super) fn sections(&self, key: &str, known: &[&str]) -> Result<Vec<Self>, SettingsError> {
        let sections = self.list(key)?.iter().enumerate().map(|(at, item)| match item {
            Value::Object(content) => {
                let section =
                    Self { file: self.file, path: format!("{}.{key}[{at}]", self.path), content: Some(content) };
                section.only(known)?;
                Ok(section)
            }
            other => Err(self.wrong(key, format!("expected a list of objects, found {other} in it"))),
        });
        sections.collect()
    }

    /// The text under `key`; an empty one counts as none, as in what App Services exports.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, SettingsError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(other) => Err(self.wrong(key, format!("expected a text, found {other}"))),
        }
    }

    /// The text under `key`, which must be there.
    pub(super) fn required(&self, key: &str) -> Result<&'a str, SettingsError> {
        self.text(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// Whether `key` is true; false if it is missing.
    pub(super) fn flag(&self, key: &str) -> Result<bool, SettingsError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(key, format!("expected true or false, found {other}"))),
        }
    }

    /// The texts in the list under `key`, none of them empty; `[""]`, as in the vendor's templates, has none.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&'a str>, SettingsError> {
        let texts = self.list(key)?.iter().map(|item| match item {
            Value::String(text) if !text.is_empty() => Ok(text.as_str()),
            other => Err(self.wrong(key, format!("expected a list of texts, found {other} in it"))),
        });
        texts.collect()
    }

    /// Like [`Options::texts`], where one text may stand for a list of one.
    pub(super) fn text_or_texts(&self, key: &str) -> Result<Vec<&'a str>, SettingsError> {
        match self.get(key) {
            Some(Value::String(_)) => Ok(self.text(key)?.into_iter().collect()),
            _ => self.texts(key),
        }
    }

    fn list(&self, key: &str) -> Result<&'a [Value], SettingsError> {
        match self.get(key) {
            None => Ok(&[]),
            Some(list) if is_template(list) => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.wrong(key, format!("expected a list, found {other}"))),
        }
    }
}
