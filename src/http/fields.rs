//! The fields of a JSON object that a client sends: none but those that are known, each once.

use std::fmt;

use serde_json::{Map, Value};

/// What a credential may consist of on `/v1`, over all providers; each takes its own ones of these.
pub(crate) const OF_CREDENTIALS: &[&str] =
    &["email", "username", "password", "key", "token", "id_token", "nonce", "code", "code_verifier"];

/// Names and characters of a name that an answer repeats.
const SHOWN_NAMES: usize = 8;
const SHOWN_CHARS: usize = 64;
/// The same of a JSON pointer, which is cut after this and then ends in `…`.
const SHOWN_OF_POINTER: usize = 512;

/// Fields that are not taken, and those that would be: no more than [`SHOWN_NAMES`] names, cut to [`SHOWN_CHARS`] characters, and
/// no value, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(String);

/// Refuses all fields but those in `known`; `what` has these and no others.
///
/// # Errors
/// Names the others.
pub(crate) fn only(fields: &Map<String, Value>, known: &[&[&str]], what: &str) -> Result<(), Refused> {
    let is_known = |name: &str| known.iter().any(|known| known.contains(&name));
    let others: Vec<&str> = fields.keys().map(String::as_str).filter(|name| !is_known(name)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = others.iter().take(SHOWN_NAMES).map(|name| shown(name)).collect();
    let more = match others.len().saturating_sub(SHOWN_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let are = if others.len() == 1 { "is no field" } else { "are no fields" };
    let has = match known.concat() {
        known if known.is_empty() => "it has none".to_owned(),
        known => format!("it has {}", quoted(&known)),
    };
    Err(Refused(format!("{}{more} {are} of {what}: {has}", quoted(&names))))
}

/// A client's own word in an answer: not too much of it.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(SHOWN_CHARS).collect()
}

/// The same of a JSON pointer.
pub(crate) fn shown_pointer(pointer: &str) -> String {
    match pointer.char_indices().nth(SHOWN_OF_POINTER) {
        None => pointer.to_owned(),
        Some((end, _)) => format!("{}…", &pointer[..end]),
    }
}

fn quoted(names: &[impl fmt::Debug]) -> String {
    names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// Removes the fields that are null, which means the same as leaving them out.
pub(crate) fn without_nulls(mut fields: Map<String, Value>) -> Map<String, Value> {
    fields.retain(|_, value| !value.is_null());
    fields
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn fields_that_are_not_known_are_named_and_their_values_are_not() {
        let body = of(json!({"mode": "bearer", "dryrun": "a secret", "x\n": 1}));
        let refused = only(&body, &[&["mode"], &["dry_run"]], "this request").unwrap_err();
        let expected = r#""dryrun", "x\n" are no fields of this request: it has "mode", "dry_run""#;
        assert_eq!(refused.to_string(), expected);
        let refused = only(&of(json!({"a": 1})), &[], "this request").unwrap_err();
        assert_eq!(refused.to_string(), r#""a" is no field of this request: it has none"#);
        assert_eq!(only(&of(json!({"mode": 1})), &[&["mode"]], "this request"), Ok(()));
    }

    #[test]
    fn no_more_of_them_is_listed_than_people_read() {
        let body: Map<String, Value> = (0..1000).map(|n| (format!("{n:0>100}"), Value::Null)).collect();
        let refused = only(&body, &[], "this request").unwrap_err();
        let (names, rest) = refused.0.split_once(" and 992 more are no fields of this request").unwrap();
        let lengths: Vec<_> = names.split(", ").map(str::len).collect();
        assert_eq!((lengths, rest), (vec![SHOWN_CHARS + 2; SHOWN_NAMES], ": it has none"));
        assert_eq!(shown_pointer("/a/é"), "/a/é");
        assert_eq!(shown_pointer(&"é".repeat(10_000)), "é".repeat(SHOWN_OF_POINTER) + "…");
    }
}
