//! The settings as an operator meets them: text in, values or one line of refusal out.

mod sources;
mod table;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use passerby_actors::domain::Policy;
use serde_json::json;

use super::kind::Kind;
use super::table::{Fallback, Setting, TABLE};
use super::*;

/// Loads a file's text, an environment and flags; the file is called `passerby.toml` in the messages.
fn load_all(file: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passerby.toml");
    std::fs::write(&path, file).unwrap();
    let flags: Vec<_> = flags.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
    let variables = environment(variables.iter().copied()).unwrap();
    load(&ConfigFile::Named(path.clone()), &variables, &flags)
        .map_err(|error| error.to_string().replace(&path.display().to_string(), "passerby.toml"))
}

fn settings(file: &str) -> Settings {
    load_all(file, &[], &[]).unwrap().settings().clone()
}
