//! Reads one provider's object in `auth/providers.json` or `passerby.toml`, so that every error names file, key and reason, and all are
//! said at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::config::{SettingsError, SettingsErrors, did_you_mean};

/// The object of a provider in which secrets are named.
pub(super) const SECRET_CONFIG: &str = "secret_config";

/// A fault was found and is kept for [`Options::finish`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told;

/// What was found wrong in an object and those inside.
#[derive(Default)]
struct Faults {
    all: RefCell<SettingsErrors>,
    /// Whether there is an unknown option: it may be a missing one that is misspelled.
    has_unknown: Cell<bool>,
}

/// An object of the file, with the path that leads to it.
pub(super) struct Options<'a> {
    file: &'a str,
    path: String,
    /// `None` for one that is not there.
    content: Option<&'a Map<String, Value>>,
    faults: Rc<Faults>,
}

impl<'a> Options<'a> {
    /// The provider `name` of the file, whose object is `content`.
    pub(super) fn new(file: &'a str, name: &str, content: &'a Map<String, Value>) -> Self {
        Self { file, path: name.to_owned(), content: Some(content), faults: Rc::default() }
    }

    fn inside(&self, path: String, content: Option<&'a Map<String, Value>>) -> Self {
        Self { file: self.file, path, content, faults: Rc::clone(&self.faults) }
    }

    /// The result, if nothing was wrong.
    pub(super) fn finish<T>(&self, read: Result<T, Told>) -> Result<T, SettingsErrors> {
        let faults = self.faults.all.take();
        match read {
            Ok(read) => faults.or(read),
            Err(Told) => Err(faults),
        }
    }

    /// Keeps a fault.
    pub(super) fn wrong(&self, key: &str, reason: impl Into<String>) -> Told {
        self.faults.all.borrow_mut().push(SettingsError::of_key(self.file, format!("{}.{key}", self.path), reason));
        Told
    }

    /// Keeps that something is not there.
    pub(super) fn missing(&self, key: &str, reason: &str) -> Told {
        if self.faults.has_unknown.get() { Told } else { self.wrong(key, reason) }
    }

    /// Refuses any option but these.
    pub(super) fn only(&self, known: &[&str]) {
        for key in self.content.into_iter().flat_map(Map::keys).filter(|key| !known.contains(&key.as_str())) {
            let meant = did_you_mean(key, known.iter().copied());
            self.faults.has_unknown.set(true);
            self.wrong(key, format!("there is no such option, only {}{meant}", known.join(", ")));
        }
    }

    /// What was found, in words; not where it may be a secret that was written in the place of its name.
    fn found(&self, value: &Value) -> String {
        if self.path.ends_with(SECRET_CONFIG) { "something else".to_owned() } else { value.to_string() }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.content?.get(key).filter(|value| !value.is_null())
    }

    /// The object under `key`; an empty one if there is none.
    pub(super) fn section(&self, key: &str, known: &[&str]) -> Result<Self, Told> {
        let content = match self.get(key) {
            None => None,
            Some(Value::Object(content)) => Some(content),
            Some(_) if key == SECRET_CONFIG => return Err(self.wrong(key, "expected an object with names of secrets")),
            Some(other) => return Err(self.wrong(key, format!("expected an object, found {other}"))),
        };
        let section = self.inside(format!("{}.{key}", self.path), content);
        section.only(known);
        Ok(section)
    }

    /// The objects in the list under `key`, with what is none in its place.
    pub(super) fn sections(&self, key: &str, known: &[&str]) -> Result<Vec<Result<Self, Told>>, Told> {
        let sections = self.list(key)?.iter().enumerate().map(|(at, item)| match item {
            Value::Object(content) => {
                let section = self.inside(format!("{}.{key}[{at}]", self.path), Some(content));
                section.only(known);
                Ok(section)
            }
            other => Err(self.wrong(key, format!("expected a list of objects, found {other} in it"))),
        });
        Ok(sections.collect())
    }

    /// The text under `key`; an empty one counts as none, as in what App Services exports.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, Told> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(other) => Err(self.wrong(key, format!("expected a text, found {}", self.found(other)))),
        }
    }

    /// The text under `key`, which must be there.
    pub(super) fn required(&self, key: &str) -> Result<&'a str, Told> {
        self.text(key)?.ok_or_else(|| self.missing(key, "is missing"))
    }

    /// Whether `key` is true; false if it is missing.
    pub(super) fn flag(&self, key: &str) -> Result<bool, Told> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(key, format!("expected true or false, found {}", self.found(other)))),
        }
    }

    /// The texts in the list under `key`, none of them empty; `[""]`, as in the vendor's templates, has none.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<&'a str>, Told> {
        all(self.list(key)?.iter().map(|item| match item {
            Value::String(text) if !text.is_empty() => Ok(text.as_str()),
            other => Err(self.wrong(key, format!("expected a list of texts, found {} in it", self.found(other)))),
        }))
    }

    /// Like [`Options::texts`], where one text may stand for a list of one.
    pub(super) fn text_or_texts(&self, key: &str) -> Result<Vec<&'a str>, Told> {
        match self.get(key) {
            Some(Value::String(_)) => Ok(self.text(key)?.into_iter().collect()),
            _ => self.texts(key),
        }
    }

    /// The value under `key` as it stands, if it is there; `expected` says in words what it has to be.
    pub(super) fn value<T: DeserializeOwned>(&self, key: &str, expected: &str) -> Result<Option<T>, Told> {
        let Some(found) = self.get(key) else { return Ok(None) };
        let read = serde_json::from_value(found.clone());
        read.map(Some).map_err(|_| self.wrong(key, format!("expected {expected}, found {}", self.found(found))))
    }

    fn list(&self, key: &str) -> Result<&'a [Value], Told> {
        match self.get(key) {
            None => Ok(&[]),
            Some(list) if is_template(list) => Ok(&[]),
            Some(Value::Array(items)) => Ok(items),
            Some(other) => Err(self.wrong(key, format!("expected a list, found {}", self.found(other)))),
        }
    }
}

/// All of them, looked at to the end, so that each fault is told.
pub(super) fn all<T>(items: impl IntoIterator<Item = Result<T, Told>>) -> Result<Vec<T>, Told> {
    let (good, told): (Vec<_>, Vec<_>) = items.into_iter().partition(Result::is_ok);
    if told.is_empty() { good.into_iter().collect() } else { Err(Told) }
}

/// The vendor's templates have `[""]` where nothing is set.
pub(super) fn is_template(list: &Value) -> bool {
    matches!(list, Value::Array(items) if matches!(items.as_slice(), [Value::String(text)] if text.is_empty()))
}
