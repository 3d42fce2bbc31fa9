//! The extension record: what only some users have, as tagged sections under the same id.

use std::collections::BTreeMap;

use super::clock::ServiceTime;
use super::ids::DeviceId;
use super::reader::{Reader, Short};
use super::record::SessionKind;

/// The one table of section tags. A number is never given twice; sections with unknown tags are kept as they are.
pub mod tag {
    /// [`super::Sessions`].
    pub const SESSIONS: u16 = 1;
    /// [`super::Identity`] list, in link order.
    pub const IDENTITIES: u16 = 2;
    /// When an imported user was made: Unix time in milliseconds, u64.
    pub const CREATED: u16 = 3;
    /// What the provider of each identity tells about the person: JSON objects, in the order of the identities.
    pub const IDENTITY_DATA: u16 = 4;
}

impl From<Short> for DecodeError {
    fn from(_: Short) -> Self {
        Self
    }
}

const FORMAT: u8 = 1;

/// The bytes are not an extension record that this version can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unreadable extension record")]
pub struct DecodeError;

/// One device's login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number; never reused while the user lives.
    pub number: u32,
    /// How it was begun.
    pub kind: SessionKind,
    /// When it began.
    pub started: ServiceTime,
    /// Access tokens of an earlier epoch fail.
    pub epoch: u8,
    /// How often its refresh token was rotated (`/v1`).
    pub refresh_counter: u16,
    /// The client's device id; zeros for none.
    pub device: DeviceId,
    /// Whether the user was anonymous when it began: such sessions end when the user is linked elsewhere.
    pub anonymous_at_start: bool,
}

/// A user's sessions, and the highest number ever given to one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sessions {
    /// The highest number given so far.
    pub highest: u32,
    /// The live ones, in order of their number.
    pub list: Vec<Session>,
}

/// What an identity is found by: its provider's type and the id it has there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityKey {
    /// For example `local-userpass`.
    pub provider: Box<str>,
    /// The id at the provider.
    pub external: Box<str>,
}

/// An identity of a user besides the anonymous one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What it is found by.
    pub key: IdentityKey,
    /// When it was linked.
    pub linked: ServiceTime,
    /// What the provider tells about the person: a JSON object, or nothing.
    pub data: Box<str>,
}

/// The sections of one user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extension {
    /// Sessions, from the second on or once lasting.
    pub sessions: Option<Sessions>,
    /// Identities besides the anonymous one, in link order.
    pub identities: Vec<Identity>,
    /// When an imported user was made, Unix time in milliseconds.
    pub created_ms: Option<u64>,
    /// Sections that this version does not know, kept byte for byte.
    pub unknown: BTreeMap<u16, Box<[u8]>>,
}

impl Extension {
    /// A format byte, then sections in ascending order of tag: tag u16, length u32, bytes; all big-endian.
    pub fn encode(&self) -> Box<[u8]> {
        let mut sections: BTreeMap<u16, Box<[u8]>> = self.unknown.clone();
        if let Some(sessions) = &self.sessions {
            sections.insert(tag::SESSIONS, encode_sessions(sessions));
        }
        if !self.identities.is_empty() {
            sections.insert(tag::IDENTITIES, encode_identities(&self.identities));
        }
        if self.identities.iter().any(|identity| !identity.data.is_empty()) {
            let mut data = Vec::new();
            self.identities.iter().for_each(|identity| put_bytes(&mut data, identity.data.as_bytes()));
            sections.insert(tag::IDENTITY_DATA, data.into());
        }
        if let Some(ms) = self.created_ms {
            sections.insert(tag::CREATED, Box::new(ms.to_be_bytes()));
        }
        let mut out = vec![FORMAT];
        for (tag, bytes) in &sections {
            out.extend(tag.to_be_bytes());
            put_bytes(&mut out, bytes);
        }
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// Another format, or bytes that end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return Err(DecodeError);
        }
        let mut extension = Self::default();
        while !input.0.is_empty() {
            let tag = input.u16()?;
            let section = input.bytes()?;
            match tag {
                tag::SESSIONS => extension.sessions = Some(decode_sessions(section)?),
                tag::IDENTITIES => extension.identities = decode_identities(section)?,
                tag::CREATED => extension.created_ms = Some(Reader(section).u64()?),
                // the tags ascend, so the identities are there
                tag::IDENTITY_DATA => {
                    let mut data = Reader(section);
                    for identity in &mut extension.identities {
                        identity.data = text(&mut data)?;
                    }
                }
                _ => {
                    extension.unknown.insert(tag, section.into());
                }
            }
        }
        Ok(extension)
    }
}

fn encode_sessions(sessions: &Sessions) -> Box<[u8]> {
    let mut out = sessions.highest.to_be_bytes().to_vec();
    for session in &sessions.list {
        out.extend(session.number.to_be_bytes());
        out.push(session.kind as u8);
        out.extend(session.started.to_be_bytes());
        out.push(session.epoch);
        out.extend(session.refresh_counter.to_be_bytes());
        out.extend(session.device.0);
        out.push(u8::from(session.anonymous_at_start));
    }
    out.into()
}

fn decode_sessions(bytes: &[u8]) -> Result<Sessions, DecodeError> {
    let mut input = Reader(bytes);
    let mut sessions = Sessions { highest: input.u32()?, list: Vec::new() };
    while !input.0.is_empty() {
        sessions.list.push(Session {
            number: input.u32()?,
            kind: SessionKind::from_number(input.u8()?).ok_or(DecodeError)?,
            started: input.u32()?,
            epoch: input.u8()?,
            refresh_counter: input.u16()?,
            device: DeviceId(input.array()?),
            anonymous_at_start: input.u8()? != 0,
        });
    }
    Ok(sessions)
}

fn encode_identities(identities: &[Identity]) -> Box<[u8]> {
    let mut out = Vec::new();
    for identity in identities {
        put_bytes(&mut out, identity.key.provider.as_bytes());
        put_bytes(&mut out, identity.key.external.as_bytes());
        out.extend(identity.linked.to_be_bytes());
    }
    out.into()
}

fn decode_identities(bytes: &[u8]) -> Result<Vec<Identity>, DecodeError> {
    let mut input = Reader(bytes);
    let mut identities = Vec::new();
    while !input.0.is_empty() {
        let key = IdentityKey { provider: text(&mut input)?, external: text(&mut input)? };
        identities.push(Identity { key, linked: input.u32()?, data: "".into() });
    }
    Ok(identities)
}

fn text(input: &mut Reader<'_>) -> Result<Box<str>, DecodeError> {
    std::str::from_utf8(input.bytes()?).map(Into::into).map_err(|_| DecodeError)
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    // a section is bounded far below 4 GiB by the limits on what a request may bring
    out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Extension {
        Extension {
            sessions: Some(Sessions {
                highest: 3,
                list: vec![Session {
                    number: 3,
                    kind: SessionKind::V1,
                    started: 7,
                    epoch: 1,
                    refresh_counter: 9,
                    device: DeviceId([5; 12]),
                    anonymous_at_start: true,
                }],
            }),
            identities: vec![Identity {
                key: IdentityKey { provider: "p".into(), external: "é".into() },
                linked: 8,
                data: "{}".into(),
            }],
            created_ms: Some(1),
            unknown: BTreeMap::from([(900, vec![1, 2].into())]),
        }
    }

    #[test]
    fn the_bytes_are_as_they_always_were() {
        #[rustfmt::skip]
        let golden: &[u8] = &[
            1,
            0, 1, 0, 0, 0, 29, 0, 0, 0, 3,
            0, 0, 0, 3, 2, 0, 0, 0, 7, 1, 0, 9, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 1,
            0, 2, 0, 0, 0, 15, 0, 0, 0, 1, b'p', 0, 0, 0, 2, 0xc3, 0xa9, 0, 0, 0, 8,
            0, 3, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1,
            0, 4, 0, 0, 0, 6, 0, 0, 0, 2, b'{', b'}',
            3, 132, 0, 0, 0, 2, 1, 2,
        ];
        assert_eq!(&*example().encode(), golden);
        assert_eq!(Extension::decode(golden), Ok(example()), "sections of later versions are kept too");
    }

    #[test]
    fn cut_bytes_are_an_error_and_never_a_panic() {
        let bytes = example().encode();
        let whole_sections = [1, 36, 57, 71, 83];
        for n in 0..bytes.len() {
            assert_eq!(Extension::decode(&bytes[..n]).is_ok(), whole_sections.contains(&n), "{n}");
        }
    }
}
