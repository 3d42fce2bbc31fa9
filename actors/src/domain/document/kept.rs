//! The content of a document, with its text.

use serde_json::{Map, Value};

use crate::domain::bytes::Short;

/// The bytes are no document that this version can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unreadable document")]
pub struct UnreadableDocument;

impl From<Short> for UnreadableDocument {
    fn from(_: Short) -> Self {
        Self
    }
}

/// What a change leaves, if it leaves anything.
pub(super) type Content = Option<Map<String, Value>>;

/// What is kept, and its text, which is written once.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) data: Map<String, Value>,
    pub(super) json: Box<str>,
}

impl From<Map<String, Value>> for Kept {
    fn from(data: Map<String, Value>) -> Self {
        let json = text(&data).into();
        Self { data, json }
    }
}

impl Kept {
    pub(super) fn parse(json: &str) -> Result<Self, UnreadableDocument> {
        Ok(Self { data: parsed(json)?, json: json.into() })
    }
}

pub(super) fn parsed(json: &str) -> Result<Map<String, Value>, UnreadableDocument> {
    serde_json::from_str(json).map_err(|_| UnreadableDocument)
}

pub(super) fn text(data: &Map<String, Value>) -> String {
    // maps of JSON values with texts as keys always can be written
    serde_json::to_string(data).unwrap_or_default()
}
