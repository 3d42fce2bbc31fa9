//! The bytes of documents in the registry and on disk, and of deltas in the journal.

use serde_json::Number;

use super::change::OperationId;
use super::delta::{Delta, Outcome, Shape};
use super::kept::{Kept, UnreadableDocument};
use super::{Document, DocumentView};
use crate::domain::bytes::Reader;

const FORMAT: u8 = 2;
/// As many bytes, but what operations asked for is not known.
const FORMAT_1: u8 = 1;
/// Format, version, changed, two lengths.
const EMPTY_BYTES: usize = 1 + 8 + 4 + 4 + 4;
/// Name and content of the operation, version u64, tag u8, number.
const RESULT_BYTES: usize = 12 + 4 + 8 + 1 + 8;

impl Document {
    /// How many bytes it takes; nothing before the first change.
    pub(super) fn stored_bytes(&self) -> usize {
        if self.version == 0 {
            return 0;
        }
        EMPTY_BYTES + self.results.len() * RESULT_BYTES + self.kept.as_ref().map_or(0, |kept| kept.json.len())
    }

    /// Format u8, version u64, changed u32, number of results u32, results, JSON text behind its length u32 (0: none).
    pub fn encode(&self) -> Box<[u8]> {
        let json = self.kept.as_ref().map_or("", |kept| &*kept.json);
        let mut out = Vec::with_capacity(EMPTY_BYTES + self.results.len() * RESULT_BYTES + json.len());
        out.push(FORMAT);
        out.extend(self.version.to_be_bytes());
        out.extend(self.changed.to_be_bytes());
        out.extend(length(self.results.len()));
        for (id, outcome) in &self.results {
            put_result(&mut out, id, outcome);
        }
        out.extend(length(json.len()));
        out.extend(json.as_bytes());
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// An unknown format, or bytes that end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableDocument> {
        let mut input = Reader(bytes);
        let format = format(&mut input)?;
        let (version, changed, count) = (input.u64()?, input.u32()?, input.u32()?);
        let results = (0..count).map(|_| take_result(format, &mut input)).collect::<Result<_, _>>()?;
        let json = json(&mut input)?;
        if !input.0.is_empty() {
            return Err(UnreadableDocument);
        }
        Ok(Self { version, changed, kept: json.map(Kept::parse).transpose()?, results })
    }

    /// What stored bytes hold, without decoding all of it.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn view(bytes: &[u8]) -> Result<DocumentView<'_>, UnreadableDocument> {
        let mut input = Reader(bytes);
        format(&mut input)?;
        let (version, _changed, count) = (input.u64()?, input.u32()?, input.u32()?);
        input.take((count as usize).checked_mul(RESULT_BYTES).ok_or(UnreadableDocument)?)?;
        Ok(DocumentView { version, json: json(&mut input)? })
    }
}

impl Delta {
    /// Format u8, seen u64, at u32, whether there is a result u8, the result, shape u8 (0: gone, 1: whole, 2: merge patch),
    /// JSON text behind its length u32.
    pub fn encode(&self) -> Box<[u8]> {
        let (shape, json) = match &self.shape {
            Shape::Whole(None) => (0, ""),
            Shape::Whole(Some(json)) => (1, &**json),
            Shape::Merge(json) => (2, &**json),
        };
        let mut out = Vec::with_capacity(19 + RESULT_BYTES + json.len());
        out.push(FORMAT);
        out.extend(self.seen.to_be_bytes());
        out.extend(self.at.to_be_bytes());
        out.push(u8::from(self.result.is_some()));
        if let Some((id, outcome)) = &self.result {
            put_result(&mut out, id, outcome);
        }
        out.push(shape);
        out.extend(length(json.len()));
        out.extend(json.as_bytes());
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// An unknown format, or bytes that end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableDocument> {
        let mut input = Reader(bytes);
        let format = format(&mut input)?;
        let (seen, at) = (input.u64()?, input.u32()?);
        let result = match input.u8()? {
            0 => None,
            1 => Some(take_result(format, &mut input)?),
            _ => return Err(UnreadableDocument),
        };
        let (shape, json) = (input.u8()?, json(&mut input)?);
        let shape = match (shape, json) {
            (0, None) => Shape::Whole(None),
            (1, Some(json)) => Shape::Whole(Some(json.into())),
            (2, Some(json)) => Shape::Merge(json.into()),
            _ => return Err(UnreadableDocument),
        };
        if !input.0.is_empty() {
            return Err(UnreadableDocument);
        }
        Ok(Self { seen, at, shape, result })
    }
}

/// What an operation asks for of which that is not known.
const UNKNOWN: [u8; 4] = [0; 4];

fn format(input: &mut Reader<'_>) -> Result<u8, UnreadableDocument> {
    let format = input.u8()?;
    if [FORMAT, FORMAT_1].contains(&format) { Ok(format) } else { Err(UnreadableDocument) }
}

fn length(n: usize) -> [u8; 4] {
    // bounded far below by the limits on documents and requests
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

fn json<'a>(input: &mut Reader<'a>) -> Result<Option<&'a str>, UnreadableDocument> {
    let text = std::str::from_utf8(input.bytes()?).map_err(|_| UnreadableDocument)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn put_result(out: &mut Vec<u8>, id: &OperationId, outcome: &Outcome) {
    out.extend(id.name);
    out.extend(id.asks.unwrap_or(UNKNOWN));
    out.extend(outcome.version.to_be_bytes());
    let (tag, number) = match &outcome.value {
        None => (0, [0; 8]),
        Some(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), ..) => (1, number.to_be_bytes()),
            (None, Some(number), _) => (2, number.to_be_bytes()),
            (None, None, number) => (3, number.unwrap_or_default().to_be_bytes()),
        },
    };
    out.push(tag);
    out.extend(number);
}

fn take_result(format: u8, input: &mut Reader<'_>) -> Result<(OperationId, Outcome), UnreadableDocument> {
    let (name, asks) = (input.array()?, input.array()?);
    let id = OperationId { name, asks: (format != FORMAT_1 && asks != UNKNOWN).then_some(asks) };
    let (version, tag, number) = (input.u64()?, input.u8()?, input.array::<8>()?);
    let value = match tag {
        0 => None,
        1 => Some(i64::from_be_bytes(number).into()),
        2 => Some(u64::from_be_bytes(number).into()),
        3 => Some(Number::from_f64(f64::from_be_bytes(number)).ok_or(UnreadableDocument)?),
        _ => return Err(UnreadableDocument),
    };
    Ok((id, Outcome { version, value }))
}
