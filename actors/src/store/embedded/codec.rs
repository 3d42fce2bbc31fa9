//! The bytes of effects, journal frames and snapshot entries. Versioned, with golden bytes below.

use std::sync::Arc;

use crate::domain::bytes::{Reader, Short};
use crate::domain::{
    Cause, Credential, Delta, Document, Extension, Family, Meters, Record, ServiceTime, UserId, ValueKey,
};
use crate::registry::Item;
use crate::store::apply::Effect;

/// The bytes are intact but not in a format that this version reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not in a format that this version reads")]
pub(super) struct DecodeError;

impl From<Short> for DecodeError {
    fn from(_: Short) -> Self {
        Self
    }
}

mod effect_tag {
    pub(super) const PUT_USER: u8 = 1;
    pub(super) const REMOVE_USER: u8 = 2;
    pub(super) const PUT_EXTENSION: u8 = 3;
    pub(super) const REMOVE_EXTENSION: u8 = 4;
    pub(super) const TOUCH: u8 = 5;
    /// the general forms, for every other family, also of later versions
    pub(super) const PUT: u8 = 6;
    pub(super) const REMOVE: u8 = 7;
    /// what changed of a document
    pub(super) const EDIT: u8 = 8;
}

/// Begins every frame: what a search for frames behind damage looks for first.
pub(super) const FRAME_MAGIC: [u8; 4] = *b"PbFr";
/// magic, length of the rest behind the checksum u32, CRC-32C of that rest u32
const FRAME_HEAD: usize = 12;
/// sequence u64, service time u32, wall time u64, kind u8
const FRAME_FIXED: usize = 21;
/// Begins every journal: magic, version, generation, CRC-32C.
const JOURNAL_MAGIC: [u8; 6] = *b"PBYJRN";
const JOURNAL_VERSION: u16 = 1;
pub(super) const JOURNAL_HEAD: usize = 20;

/// Cause number of a set of touches, which no caller proposes.
const TOUCHES: u8 = 0;

/// Whether a frame is an ordinary one, or the last of a process that stopped in order and had no failed write behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    Group = 0,
    Closed = 1,
}

/// One group, as written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) seq: u64,
    pub(super) service: ServiceTime,
    pub(super) wall_ms: u64,
    pub(super) kind: FrameKind,
    pub(super) effects: Vec<Effect>,
}

pub(super) fn journal_head(generation: u64) -> [u8; JOURNAL_HEAD] {
    let mut head = [0; JOURNAL_HEAD];
    head[..6].copy_from_slice(&JOURNAL_MAGIC);
    head[6..8].copy_from_slice(&JOURNAL_VERSION.to_be_bytes());
    head[8..16].copy_from_slice(&generation.to_be_bytes());
    let crc = crc32c::crc32c(&head[..16]);
    head[16..].copy_from_slice(&crc.to_be_bytes());
    head
}

/// A frame being filled, set by set.
pub(super) struct FrameWriter {
    bytes: Vec<u8>,
}

impl FrameWriter {
    pub(super) fn new() -> Self {
        Self::with_room(0)
    }

    /// With room for so many bytes.
    pub(super) fn with_room(bytes: usize) -> Self {
        let mut room = Vec::with_capacity(bytes);
        room.resize(FRAME_HEAD + FRAME_FIXED, 0);
        Self { bytes: room }
    }

    /// How long it is so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn has_sets(&self) -> bool {
        self.bytes.len() > FRAME_HEAD + FRAME_FIXED
    }

    pub(super) fn set(&mut self, cause: Cause, at: ServiceTime, effects: &[Effect]) {
        self.set_numbered(cause as u8, at, effects);
    }

    pub(super) fn touches(&mut self, at: ServiceTime, effects: &[Effect]) {
        self.set_numbered(TOUCHES, at, effects);
    }

    /// cause u8, time u32, number of effects u32, effects
    fn set_numbered(&mut self, cause: u8, at: ServiceTime, effects: &[Effect]) {
        self.bytes.push(cause);
        self.bytes.extend(at.to_be_bytes());
        self.bytes.extend(length(effects.len()));
        for effect in effects {
            put_effect(&mut self.bytes, effect);
        }
    }

    pub(super) fn finish(mut self, seq: u64, service: ServiceTime, wall_ms: u64, kind: FrameKind) -> Vec<u8> {
        let fixed = &mut self.bytes[FRAME_HEAD..];
        fixed[..8].copy_from_slice(&seq.to_be_bytes());
        fixed[8..12].copy_from_slice(&service.to_be_bytes());
        fixed[12..20].copy_from_slice(&wall_ms.to_be_bytes());
        fixed[20] = kind as u8;
        let (head, rest) = self.bytes.split_at_mut(FRAME_HEAD);
        head[..4].copy_from_slice(&FRAME_MAGIC);
        head[4..8].copy_from_slice(&length(rest.len()));
        // the length is under the checksum too: a wrong one must not look like a frame
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head[4..8]), rest);
        head[8..12].copy_from_slice(&crc.to_be_bytes());
        self.bytes
    }
}

/// What stands at the front of some bytes of a journal.
pub(super) enum FrameAt<'a> {
    /// A frame that verifies: its body, and the length of it all.
    Verified(&'a [u8], usize),
    /// Nothing that verifies.
    Bad,
}

pub(super) fn frame_at(bytes: &[u8]) -> FrameAt<'_> {
    let Some((head, rest)) = bytes.split_at_checked(FRAME_HEAD) else { return FrameAt::Bad };
    let mut input = Reader(&head[4..]);
    let (Ok(len), Ok(crc)) = (input.u32(), input.u32()) else { return FrameAt::Bad };
    let len = len as usize;
    if head[..4] != FRAME_MAGIC || len < FRAME_FIXED || len > rest.len() {
        return FrameAt::Bad;
    }
    let body = &rest[..len];
    if crc32c::crc32c_append(crc32c::crc32c(&head[4..8]), body) != crc {
        return FrameAt::Bad;
    }
    FrameAt::Verified(body, FRAME_HEAD + len)
}

/// Whether a whole frame stands at the front that does not verify, and so was not cut off: it is as long as it says, or only its
/// mark or its length is wrong.
pub(super) fn is_whole_frame(bytes: &[u8]) -> bool {
    let Some((head, rest)) = bytes.split_at_checked(FRAME_HEAD) else { return false };
    let len = Reader(&head[4..]).u32().map_or(usize::MAX, |len| len as usize);
    let fits = (FRAME_FIXED..=rest.len()).contains(&len);
    let verifies =
        |len: &[u8], body: &[u8]| crc32c::crc32c_append(crc32c::crc32c(len), body).to_be_bytes() == head[8..12];
    (fits && (head[..4] == FRAME_MAGIC || verifies(&head[4..8], &rest[..len])))
        || (rest.len() >= FRAME_FIXED && verifies(&length(rest.len()), rest))
}

pub(super) fn decode_frame(body: &[u8]) -> Result<Frame, DecodeError> {
    let mut input = Reader(body);
    let (seq, service, wall_ms) = (input.u64()?, input.u32()?, input.u64()?);
    let kind = match input.u8()? {
        0 => FrameKind::Group,
        1 => FrameKind::Closed,
        _ => return Err(DecodeError),
    };
    let mut effects = Vec::new();
    while !input.0.is_empty() {
        let _cause = input.u8()?;
        let _at = input.u32()?;
        for _ in 0..input.u32()? {
            effects.push(take_effect(&mut input)?);
        }
    }
    Ok(Frame { seq, service, wall_ms, kind, effects })
}

pub(super) fn is_journal_head(bytes: &[u8], generation: u64) -> bool {
    bytes.get(..JOURNAL_HEAD).is_some_and(|head| head == journal_head(generation))
}

fn length(n: usize) -> [u8; 4] {
    // what a group holds is bounded far below 4 GiB by the bounds on requests and on groups
    u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes()
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(length(bytes.len()));
    out.extend(bytes);
}

fn put_effect(out: &mut Vec<u8>, effect: &Effect) {
    let mut id = |tag: u8, id: &UserId| {
        out.push(tag);
        out.extend(id.as_bytes());
    };
    match effect {
        Effect::PutUser(user, record) => {
            id(effect_tag::PUT_USER, user);
            out.extend(record.to_bytes());
        }
        Effect::RemoveUser(user) => id(effect_tag::REMOVE_USER, user),
        Effect::PutExtension(user, bytes) => {
            id(effect_tag::PUT_EXTENSION, user);
            put_bytes(out, bytes);
        }
        Effect::RemoveExtension(user) => id(effect_tag::REMOVE_EXTENSION, user),
        Effect::Touch(user, at) => {
            id(effect_tag::TOUCH, user);
            out.extend(at.to_be_bytes());
        }
        Effect::PutValue(ValueKey { family, key }, value) => {
            out.extend([effect_tag::PUT, family.0]);
            put_bytes(out, key);
            put_bytes(out, value);
        }
        Effect::EditValue(ValueKey { family, key }, delta, _) => {
            out.extend([effect_tag::EDIT, family.0]);
            put_bytes(out, key);
            put_bytes(out, delta);
        }
        Effect::RemoveValue(ValueKey { family, key }) => {
            out.extend([effect_tag::REMOVE, family.0]);
            put_bytes(out, key);
        }
    }
}

fn id(input: &mut Reader<'_>) -> Result<UserId, DecodeError> {
    Ok(UserId::from_bytes(input.array()?))
}

fn take_effect(input: &mut Reader<'_>) -> Result<Effect, DecodeError> {
    Ok(match input.u8()? {
        effect_tag::PUT_USER => Effect::PutUser(id(input)?, Record::from_bytes(&input.array()?)),
        effect_tag::REMOVE_USER => Effect::RemoveUser(id(input)?),
        effect_tag::PUT_EXTENSION => Effect::PutExtension(id(input)?, readable_extension(input.bytes()?)?),
        effect_tag::REMOVE_EXTENSION => Effect::RemoveExtension(id(input)?),
        effect_tag::TOUCH => Effect::Touch(id(input)?, input.u32()?),
        effect_tag::PUT => {
            let key = value_key(input)?;
            let value = input.bytes()?;
            readable_value(&key, value)?;
            Effect::PutValue(key, value.into())
        }
        effect_tag::REMOVE => Effect::RemoveValue(value_key(input)?),
        effect_tag::EDIT => {
            let (key, delta) = (value_key(input)?, input.bytes()?);
            Delta::decode(delta).map_err(|_| DecodeError)?;
            Effect::EditValue(key, delta.into(), None)
        }
        _ => return Err(DecodeError),
    })
}

fn value_key(input: &mut Reader<'_>) -> Result<ValueKey, DecodeError> {
    Ok(ValueKey { family: Family(input.u8()?), key: input.bytes()?.into() })
}

/// Refuses a value of ours that could not be read later.
fn readable_value(key: &ValueKey, value: &[u8]) -> Result<(), DecodeError> {
    match key.family {
        Family::CREDENTIAL => Credential::decode(value).map(drop).map_err(|_| DecodeError),
        Family::DOCUMENT => Document::decode(value).map(drop).map_err(|_| DecodeError),
        Family::METERS => Meters::decode(value).map(drop).map_err(|_| DecodeError),
        Family::ENDED_LAZY if value.len() != size_of::<ServiceTime>() => Err(DecodeError),
        _ => Ok(()),
    }
}

/// Refuses an extension record that could not be read later: half a user would look like one who never linked anything.
fn readable_extension(bytes: &[u8]) -> Result<Arc<[u8]>, DecodeError> {
    Extension::decode(bytes).map_err(|_| DecodeError)?;
    Ok(bytes.into())
}

/// Appends one entry of a snapshot: family u8, key length u16, value length u32, key, value.
pub(super) fn put_item(out: &mut Vec<u8>, item: &Item) {
    let mut entry = |family: u8, key: &[u8], value: &[u8]| {
        out.push(family);
        out.extend(u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend(length(value.len()));
        out.extend(key);
        out.extend(value);
    };
    match item {
        Item::User(id, record) => entry(Family::USER.0, id.as_bytes(), &record.to_bytes()),
        Item::Extension(id, bytes) => entry(Family::EXTENSION.0, id.as_bytes(), bytes),
        Item::Value(key, value) => entry(key.family.0, &key.key, value),
    }
}

/// How many bytes of a snapshot's stream are whole entries.
pub(super) fn whole_items(bytes: &[u8]) -> usize {
    let mut input = Reader(bytes);
    loop {
        let before = input.0.len();
        let (Ok(_), Ok(key_len), Ok(value_len)) = (input.u8(), input.u16(), input.u32()) else {
            return bytes.len() - before;
        };
        if input.take(usize::from(key_len)).is_err() || input.take(value_len as usize).is_err() {
            return bytes.len() - before;
        }
    }
}

/// Takes entries off the front of a snapshot's stream; what is left is the beginning of the next one.
pub(super) fn take_items(bytes: &[u8], mut take: impl FnMut(Item)) -> Result<usize, DecodeError> {
    let mut input = Reader(bytes);
    loop {
        let before = input.0.len();
        let (Ok(family), Ok(key_len), Ok(value_len)) = (input.u8(), input.u16(), input.u32()) else {
            return Ok(bytes.len() - before);
        };
        let (Ok(key), Ok(value)) = (input.take(key_len.into()), input.take(value_len as usize)) else {
            return Ok(bytes.len() - before);
        };
        let id = || Ok::<_, DecodeError>(UserId::from_bytes(key.try_into().map_err(|_| DecodeError)?));
        take(match Family(family) {
            Family::USER => Item::User(id()?, Record::from_bytes(value.try_into().map_err(|_| DecodeError)?)),
            Family::EXTENSION => Item::Extension(id()?, readable_extension(value)?),
            family => {
                let key = ValueKey { family, key: key.into() };
                readable_value(&key, value)?;
                Item::Value(key, value.into())
            }
        });
    }
}

#[cfg(test)]
mod tests;
