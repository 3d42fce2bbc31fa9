//! Writes an app folder in the newest layout of App Services.

use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::document::{Document, PROVIDERS, ROOTS};
use super::unserved::CUSTOM_USER_DATA;
use super::{AppContent, EXPIRATION};
use crate::config::SettingsError;

/// The layout, as `.mdb/meta.json` says it.
const CONFIG_VERSION: u32 = 20_230_101;
const META: &str = ".mdb/meta.json";

/// Why a folder is not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// What is there already cannot be read, and would be lost.
    #[error(transparent)]
    There(#[from] SettingsError),
    /// A file cannot be written.
    #[error("{file}: {error}")]
    Io {
        /// Which one.
        file: String,
        /// Why.
        error: io::Error,
    },
}

/// Writes an app into a folder, which is created if it is not there: what is read back is the same. Other files stay, and so do
/// other keys of the app's own files.
///
/// # Errors
/// [`WriteError`]; each file is whole, as it was or as it should be.
pub fn write(app: &AppContent, app_id: &str, folder: &Path) -> Result<(), WriteError> {
    let mut root = there(folder, ROOTS[0])?;
    // origins that older layouts kept there would be added
    root.remove("security");
    root.entry("name").or_insert_with(|| json!(app_id));
    root.insert("allowed_request_origins".to_owned(), json!(app.allowed_request_origins));
    match app.refresh_token_expiration_s {
        Some(seconds) => root.insert(EXPIRATION.to_owned(), json!(seconds)),
        None => root.remove(EXPIRATION),
    };
    let mut meta = there(folder, META)?;
    meta.entry("config_version").or_insert_with(|| json!(CONFIG_VERSION));
    meta.insert("client_app_id".to_owned(), json!(app_id));
    let mut files =
        vec![(ROOTS[0], Value::Object(root)), (META, Value::Object(meta)), (PROVIDERS, json!(app.providers))];
    if let Some(custom) = &app.custom_user_data {
        files.push((CUSTOM_USER_DATA, Value::Object(custom.clone())));
    }
    let failed = |path: &Path, error| WriteError::Io { file: path.display().to_string(), error };
    for (name, content) in files {
        let path = folder.join(name);
        put(&path, &format!("{content:#}\n")).map_err(|error| failed(&path, error))?;
    }
    let custom = folder.join(CUSTOM_USER_DATA);
    match app.custom_user_data.is_none().then(|| std::fs::remove_file(&custom)) {
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(failed(&custom, error)),
        _ => Ok(()),
    }
}

/// What a file has already.
fn there(folder: &Path, name: &str) -> Result<Map<String, Value>, WriteError> {
    Ok(Document::read(folder, name)?.map(|document| document.content).unwrap_or_default())
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let new = path.with_extension("json.new");
    std::fs::write(&new, text)?;
    std::fs::rename(&new, path)
}
