//! What all commands over the admin API have in common: which server, and in which form its answer is printed.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use serde_json::Value;

use super::api::Api;
use super::outcome::{Failure, print};
use super::terminal::clean_json;
use crate::config::secrets::read_private;
use crate::config::{ADMIN_TOKEN_ENV, Settings};

/// Which server is asked, and how its answer is printed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Remote {
    /// Address of the admin listener [default: the server that has the data folder of this machine, with no password asked]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url, help_heading = "Server")]
    server: Option<String>,
    /// File whose first line is the token of a session or an API key, of mode 0600 [default: the variable PASSERBY_ADMIN_TOKEN]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Server")]
    token_file: Option<PathBuf>,
    /// Print one JSON object, as the API answers it
    #[arg(long, global = true, help_heading = "Server")]
    pub(super) json: bool,
}

impl Remote {
    /// The way to the server. A token that is given counts, also on the server's own machine: it may be one that may do less.
    pub(super) fn open(
        &self,
        variables: &[(String, String)],
        settings: impl FnOnce() -> Result<Settings, Failure>,
    ) -> Result<Api, Failure> {
        let token = self.token(variables)?;
        let Some(server) = &self.server else { return Api::of(&settings()?, token) };
        let missing = || Failure::usage(format!("--server needs a token: --token-file FILE, or {ADMIN_TOKEN_ENV}"));
        Api::at(server, token.ok_or_else(missing)?)
    }

    /// Whether an address or a token is given.
    pub(super) fn is_by_token(&self, variables: &[(String, String)]) -> bool {
        let has_variable = || variables.iter().any(|(name, _)| name == ADMIN_TOKEN_ENV);
        self.server.is_some() || self.token_file.is_some() || has_variable()
    }

    fn token(&self, variables: &[(String, String)]) -> Result<Option<String>, Failure> {
        let (token, origin) = match &self.token_file {
            Some(file) => {
                let named = |why: String| Failure::usage(format!("{}: {why}", file.display()));
                let text = read_private(file).map_err(named)?;
                (text.lines().next().unwrap_or_default().trim().to_owned(), file.display().to_string())
            }
            None => match variables.iter().find(|(name, _)| name == ADMIN_TOKEN_ENV) {
                Some((_, token)) => (token.clone(), ADMIN_TOKEN_ENV.to_owned()),
                None => return Ok(None),
            },
        };
        if token.is_empty() {
            return Err(Failure::usage(format!("{origin} is empty: let it have a token, or leave it out")));
        }
        Ok(Some(token))
    }

    /// Prints an answer: as it is, or as people read it.
    pub(super) fn show(&self, answer: &Value, for_people: impl FnOnce(&Value)) {
        match self.json {
            true => print(&clean_json(&format!("{answer}\n"))),
            false => for_people(answer),
        }
    }
}

/// An id or a name of something, which is not nothing, as a variable without a value would be, nor a step in a path.
pub(super) fn given(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("it is empty"),
        "." | ".." => Err("it is no id"),
        _ => Ok(text.to_owned()),
    }
}

/// A text as a segment of a path or a value of a query.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // a String takes whatever is written
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A path with those of these that are given behind it.
pub(super) fn with_query(path: &str, given: &[(&str, Option<String>)]) -> String {
    let pairs = given.iter().filter_map(|(name, value)| Some(format!("{name}={}", escaped(value.as_deref()?))));
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// A text of an answer; nothing where it is not one.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// A number of an answer.
pub(super) fn number(value: &Value, name: &str) -> String {
    value[name].as_u64().map(|number| number.to_string()).unwrap_or_default()
}

/// So many of something, in words.
pub(super) fn many(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// The items of a list.
pub(super) fn items<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value[name].as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_one_segment_or_one_value() {
        assert_eq!(escaped("a/b?c=d&e f%ü"), "a%2Fb%3Fc%3Dd%26e%20f%25%C3%BC");
        let parameters = [("who", Some("a&b".to_owned())), ("what", None), ("limit", Some("5".to_owned()))];
        assert_eq!(with_query("/x", &parameters), "/x?who=a%26b&limit=5");
        assert_eq!(with_query("/x", &[("who", None)]), "/x");
        for nothing in ["", " ", ".", ".."] {
            assert!(given(nothing).is_err(), "{nothing:?}");
        }
        assert_eq!(given("a/b").as_deref(), Ok("a/b"));
    }
}
