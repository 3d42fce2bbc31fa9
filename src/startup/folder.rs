//! Whose a data folder is.

use std::path::Path;

use passerby_actors::store::embedded::files::Files;

use super::error::StartError;
use crate::config::{Settings, valid_app_id};

/// The file of a data folder that names its app.
const APP_ID: &str = "APP_ID";
/// The file of a data folder that `serve --test` began.
const TEST_ONLY: &str = "TEST_ONLY";

/// Whether the data folder is one that these settings may use, and whether it is claimed already. Tokens name their app id, so
/// under a different one every user of the folder would be refused.
///
/// # Errors
/// It is a different app's, or it is for tests and the settings are not, or the other way round.
pub fn check_folder(settings: &Settings, files: &dyn Files) -> Result<bool, StartError> {
    let folder = &settings.data_dir;
    let read = |name: &str| match files.read(&folder.join(name)) {
        Ok(found) => Ok(Some(found)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    };
    let (app_id, for_tests) = (read(APP_ID)?, read(TEST_ONLY)?.is_some());
    let is_begun = app_id.is_some() || read("CURRENT")?.is_some();
    match (settings.test, for_tests) {
        (true, false) if is_begun => return Err(StartError::NotForTests(folder.clone())),
        (false, true) => return Err(StartError::ForTestsAlone(folder.clone())),
        _ => {}
    }
    let Some(found) = app_id else { return Ok(false) };
    let found = String::from_utf8_lossy(&found).trim().to_owned();
    let no_app = |what| Err(StartError::NoApp { folder: folder.clone(), what });
    if found.is_empty() {
        return no_app("is empty");
    }
    if !valid_app_id(&found) {
        return no_app("holds no app id");
    }
    if found == settings.app_id {
        return Ok(true);
    }
    Err(StartError::OtherApp { folder: folder.clone(), found, wanted: settings.app_id.clone() })
}

/// A folder without `APP_ID` is one whose first start was cut short, which has no users yet.
///
/// # Errors
/// It has users, and under a different app id all of them would be refused.
pub fn must_have_no_users(settings: &Settings, users: usize) -> Result<(), StartError> {
    match users {
        0 => Ok(()),
        _ => Err(StartError::NoApp { folder: settings.data_dir.clone(), what: "is missing" }),
    }
}

/// Neither the file nor, at the first start, its folder exists.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// The first start writes down whose the folder is.
pub(super) fn claim_folder(settings: &Settings, files: &dyn Files) -> Result<(), StartError> {
    let folder = &settings.data_dir;
    let write = |path: &Path, text: &str| {
        let new = path.with_extension("new");
        files.write(&new, text.as_bytes())?;
        files.sync_file(&new)?;
        files.rename(&new, path)
    };
    if settings.test {
        write(&folder.join(TEST_ONLY), "")?;
    }
    write(&folder.join(APP_ID), &format!("{}\n", settings.app_id))?;
    Ok(files.sync_dir(folder)?)
}
