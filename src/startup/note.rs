//! What an operator should know.

use passerby_actors::store::Opened;
use passerby_actors::store::embedded::{SPOILT_END, files};
use tracing::Level;

use crate::config::{Settings, Storage};
use crate::telemetry::OPERATOR;

/// What an operator should know, although nothing of it is in the way of a start.
pub struct Note {
    /// How much it matters.
    pub level: Level,
    /// A sentence.
    pub text: String,
}

impl Note {
    /// With the level of a warning.
    pub fn warning(text: impl Into<String>) -> Self {
        Self { level: Level::WARN, text: text.into() }
    }

    /// With the level of an information.
    pub fn info(text: impl Into<String>) -> Self {
        Self { level: Level::INFO, text: text.into() }
    }

    /// Writes it into the log.
    pub fn log(&self) {
        let text = &self.text;
        match self.level {
            Level::ERROR => tracing::error!(target: OPERATOR, "{text}"),
            Level::WARN => tracing::warn!(target: OPERATOR, "{text}"),
            _ => tracing::info!(target: OPERATOR, "{text}"),
        }
    }
}

/// What is to be said of a data folder that can be opened.
pub fn notes_of_data(settings: &Settings, opened: &Opened) -> Vec<Note> {
    let mut notes = Vec::new();
    if opened.spoilt_end {
        notes.push(Note::warning(format!(
            "the journal's last group ({} bytes) is whole and its checksum is wrong, so it is left out: {SPOILT_END}",
            opened.torn_bytes
        )));
    }
    if let Some(loss) = &opened.loss {
        let text = format!("acknowledged changes were lost, as os durability allows: {loss}");
        notes.push(Note { level: Level::ERROR, text });
    }
    if settings.storage == Storage::Memory {
        notes.push(Note::warning(
            "storage is memory: every user and everything kept about users is gone when this process ends",
        ));
    }
    // an existing one keeps its mode: an operator may have a reason for it
    let dir = &settings.data_dir;
    match files::open_to_others(dir) {
        Ok(found) => notes.extend(found.first().map(|first| {
            Note::warning(format!(
                "others than the owner may read or write what is in the data folder ({} files and folders, such as {}); \
                 `chmod -R go= {}` ends that",
                found.len(),
                first.display(),
                dir.display()
            ))
        })),
        Err(error) => tracing::debug!(%error, "the modes in the data folder could not be looked at"),
    }
    notes
}
