//! Which claims of a token become data of the user (`metadata_fields` of App Services).

use std::collections::BTreeMap;

use passerby_actors::domain::inexact_number;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::identity::IdentityError;
use super::options::{Options, Told, all};

/// The longest name of a field in characters, as App Services documents it.
const MAX_NAME: usize = 64;
/// The longest value of a field in bytes of JSON (docs/protocol.md, "Limits").
const MAX_VALUE: usize = 4096;

/// The fields that a provider fills.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataFields(Vec<Field>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    /// Where the value is in the token, from the outermost key inwards.
    path: Vec<String>,
    /// What it is called in the user's data.
    name: String,
    required: bool,
}

/// One field as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSettings {
    /// Where the value is in the token: keys with dots between them; `\.` is a dot in a key.
    pub name: String,
    /// What it is called in the user's data, 1 to 64 characters. Default: the last key of `name`.
    pub field_name: Option<String>,
    /// Whether a token without it is refused. Default false.
    #[serde(default)]
    pub required: bool,
}

impl MetadataFields {
    /// Checks the fields of a configuration.
    ///
    /// # Errors
    /// In words, what is wrong with each bad one.
    pub fn new(fields: impl IntoIterator<Item = FieldSettings>) -> Result<Self, Vec<String>> {
        let (mut checked, mut wrong) = (Self::default(), Vec::new());
        for field in fields {
            let Some(path) = split(&field.name) else {
                wrong.push(format!("{:?} is not a path of keys", field.name));
                continue;
            };
            let name = field.field_name.or_else(|| path.last().cloned()).unwrap_or_default();
            wrong.extend(checked.push(Field { path, name, required: field.required }).err());
        }
        if wrong.is_empty() { Ok(checked) } else { Err(wrong) }
    }

    /// The list `metadata_fields` of a provider.
    pub(super) fn read(provider: &Options<'_>) -> Result<Self, Told> {
        let sections = provider.sections("metadata_fields", &["required", "name", "field_name"])?;
        let fields = all(sections.into_iter().map(|section| {
            let section = section?;
            let (name, field_name) = (section.required("name"), section.text("field_name"));
            let required = section.flag("required");
            Ok(FieldSettings {
                name: name?.to_owned(),
                field_name: field_name?.map(str::to_owned),
                required: required?,
            })
        }));
        Self::new(fields?)
            .map_err(|reasons| reasons.into_iter().fold(Told, |_, reason| provider.wrong("metadata_fields", reason)))
    }

    /// The same list where only the names in `known` exist, each with the claim that it stands for.
    pub(super) fn read_known(provider: &Options<'_>, known: &[(&str, &str)]) -> Result<Self, Told> {
        let mut fields = Self::default();
        let read = all(provider.sections("metadata_fields", &["required", "name"])?.into_iter().map(|section| {
            let section = section?;
            let (name, required) = (section.required("name"), section.flag("required"));
            let name = name?;
            let Some((_, claim)) = known.iter().find(|(known, _)| *known == name) else {
                let names: Vec<_> = known.iter().map(|(known, _)| *known).collect();
                return Err(section.wrong("name", format!("{name:?} is not one of {}", names.join(", "))));
            };
            let field = Field { path: vec![(*claim).to_owned()], name: name.to_owned(), required: required? };
            fields.push(field).map_err(|reason| section.wrong("name", reason))
        }));
        read.map(|_| fields)
    }

    fn push(&mut self, field: Field) -> Result<(), String> {
        if !(1..=MAX_NAME).contains(&field.name.chars().count()) {
            return Err(format!("{:?} is not a name of 1 to {MAX_NAME} characters", field.name));
        }
        if self.0.iter().any(|other| other.name == field.name) {
            return Err(format!("two fields are called {:?}", field.name));
        }
        self.0.push(field);
        Ok(())
    }

    /// Whether a field takes its value from one of these claims.
    pub(super) fn use_any(&self, claims: &[&str]) -> bool {
        self.0.iter().any(|field| field.path.first().is_some_and(|key| claims.contains(&key.as_str())))
    }

    /// The user's data from a token's claims.
    pub(super) fn extract(&self, claims: &Map<String, Value>) -> Result<Map<String, Value>, IdentityError> {
        let mut data = Map::new();
        for field in &self.0 {
            match find(claims, &field.path) {
                Some(value) if value.to_string().len() > MAX_VALUE => {
                    return Err(IdentityError::FieldTooLong(field.name.clone()));
                }
                Some(value) => drop(data.insert(field.name.clone(), value.clone())),
                None if field.required => return Err(IdentityError::MissingField(field.name.clone())),
                None => {}
            }
        }
        Ok(data)
    }

    /// Refuses a payload of which a field would be kept with a number that was rounded.
    pub(super) fn check_numbers(&self, payload: &str) -> Result<(), IdentityError> {
        // most hold none, and one that is not stored does not matter
        if self.0.is_empty() || inexact_number(payload).is_none() {
            return Ok(());
        }
        let is_rounded =
            |field: &&Field| written(payload, &field.path).is_some_and(|text| inexact_number(text).is_some());
        self.0.iter().find(is_rounded).map_or(Ok(()), |field| Err(IdentityError::FieldInexact(field.name.clone())))
    }
}

/// The text of the value at a path of keys.
fn written<'a>(json: &'a str, path: &[String]) -> Option<&'a str> {
    path.iter().try_fold(json, |json, key| {
        let members: BTreeMap<String, &'a RawValue> = serde_json::from_str(json).ok()?;
        members.get(key).map(|value| value.get())
    })
}

/// `None` if a key is empty or a backslash stands before anything but a dot or a backslash.
fn split(path: &str) -> Option<Vec<String>> {
    let mut keys = vec![String::new()];
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => keys.push(String::new()),
            '\\' => keys.last_mut()?.push(characters.next().filter(|next| ['.', '\\'].contains(next))?),
            other => keys.last_mut()?.push(other),
        }
    }
    keys.iter().all(|key| !key.is_empty()).then_some(keys)
}

/// A value that is null counts as missing.
fn find<'a>(claims: &'a Map<String, Value>, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let found = rest.iter().try_fold(claims.get(first)?, |value, key| value.as_object()?.get(key));
    found.filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests;
