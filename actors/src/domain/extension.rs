//! The extension record: what only some users have, as tagged sections under the same id.

use std::collections::BTreeMap;

use super::bytes::{DecodeError, Reader};
use super::clock::ServiceTime;
use super::ids::{DeviceId, UserId};
use super::session::Sessions;
use super::suspension::Suspension;

/// The one table of section tags. A number is never given twice; sections with unknown tags are kept as they are.
pub mod tag {
    /// [`super::Sessions`], as far as every version knows them.
    pub const SESSIONS: u16 = 1;
    /// [`super::Identity`] list, in link order.
    pub const IDENTITIES: u16 = 2;
    /// When an imported user was created: Unix time in milliseconds, u64.
    pub const CREATED: u16 = 3;
    /// What the provider of each identity tells about the person: JSON objects, in the order of the identities.
    pub const IDENTITY_DATA: u16 = 4;
    /// [`super::ApiKey`] list, in the order in which they were created.
    pub const API_KEYS: u16 = 5;
    /// [`super::Alias`] list, in merge order.
    pub const ALIASES: u16 = 6;
    /// When each session was last used, in the order of the sessions.
    pub const SESSIONS_SEEN: u16 = 7;
    /// What began each session, by its number.
    pub const SESSION_METHODS: u16 = 8;
    /// Which session replaces which, by their numbers.
    pub const SESSIONS_REPLACED: u16 = 9;
    /// The upper halves of counters of refresh tokens, by the session's number.
    pub const ROTATIONS: u16 = 10;
    /// [`super::Suspension`] of a user who is disabled, if something was said.
    pub const SUSPENSION: u16 = 11;
}

const FORMAT: u8 = 1;

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

/// The provider of [`ApiKey`]s.
pub const API_KEY: &str = "api-key";

/// A key with which its owner's programs log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its public id.
    pub id: DeviceId,
    /// SHA-256 of the key.
    pub hash: [u8; 32],
    /// When it was created.
    pub created: ServiceTime,
    /// Whether it is refused for now.
    pub disabled: bool,
    /// Its owner's name for it, unique among the owner's.
    pub name: Box<str>,
}

impl ApiKey {
    /// What a key with this hash is found by.
    pub fn identity(hash: &[u8; 32]) -> IdentityKey {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let hex: String = digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect();
        IdentityKey { provider: API_KEY.into(), external: hex.into() }
    }
}

/// The id of an anonymous user who became part of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alias {
    /// The id that is no user's any more.
    pub id: UserId,
    /// When.
    pub merged: ServiceTime,
}

/// The sections of one user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extension {
    /// Sessions, from the second on or once lasting.
    pub sessions: Option<Sessions>,
    /// Identities besides the anonymous one, in link order.
    pub identities: Vec<Identity>,
    /// When an imported user was created, Unix time in milliseconds.
    pub created_ms: Option<u64>,
    /// Keys, in the order in which they were created.
    pub api_keys: Vec<ApiKey>,
    /// Ids of users who became part of this one, in merge order.
    pub aliases: Vec<Alias>,
    /// What was said when the user was disabled, if something was.
    pub suspension: Option<Suspension>,
    /// Sections that this version does not know, kept byte for byte.
    pub unknown: BTreeMap<u16, Box<[u8]>>,
}

impl Extension {
    /// Everything in it that no other user may have: identities and keys.
    pub fn claims(&self) -> Vec<IdentityKey> {
        let keys = self.api_keys.iter().map(|key| ApiKey::identity(&key.hash));
        self.identities.iter().map(|identity| identity.key.clone()).chain(keys).collect()
    }

    /// Shows the provider of each identity in what [`encode`](Self::encode) wrote, and [`API_KEY`] if there are keys, without
    /// decoding all of it.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn providers(bytes: &[u8], mut see: impl FnMut(&str)) -> Result<(), DecodeError> {
        let mut input = Reader(bytes);
        if input.u8()? != FORMAT {
            return Err(DecodeError);
        }
        while !input.0.is_empty() {
            let tag = input.u16()?;
            let mut section = Reader(input.bytes()?);
            match tag {
                tag::IDENTITIES => {
                    while !section.0.is_empty() {
                        see(std::str::from_utf8(section.bytes()?).map_err(|_| DecodeError)?);
                        let (_external, _linked) = (section.bytes()?, section.u32()?);
                    }
                }
                tag::API_KEYS if !section.0.is_empty() => see(API_KEY),
                _ => {}
            }
        }
        Ok(())
    }

    /// A format byte, then sections in ascending order of tag: tag u16, length u32, bytes; all big-endian.
    pub fn encode(&self) -> Box<[u8]> {
        let mut sections: BTreeMap<u16, Box<[u8]>> = self.unknown.clone();
        if let Some(sessions) = &self.sessions {
            sections.insert(tag::SESSIONS, sessions.encode());
            sections.insert(tag::SESSIONS_SEEN, sessions.encode_seen());
            for (tag, section) in [
                (tag::SESSION_METHODS, sessions.encode_methods()),
                (tag::SESSIONS_REPLACED, sessions.encode_replaced()),
                (tag::ROTATIONS, sessions.encode_rotations()),
            ] {
                if !section.is_empty() {
                    sections.insert(tag, section);
                }
            }
        }
        if !self.identities.is_empty() {
            sections.insert(tag::IDENTITIES, encode_identities(&self.identities));
        }
        if self.identities.iter().any(|identity| !identity.data.is_empty()) {
            let mut data = Vec::new();
            self.identities.iter().for_each(|identity| put_bytes(&mut data, identity.data.as_bytes()));
            sections.insert(tag::IDENTITY_DATA, data.into());
        }
        if !self.api_keys.is_empty() {
            sections.insert(tag::API_KEYS, encode_api_keys(&self.api_keys));
        }
        if !self.aliases.is_empty() {
            let entry = |alias: &Alias| [&alias.id.as_bytes()[..], &alias.merged.to_be_bytes()].concat();
            sections.insert(tag::ALIASES, self.aliases.iter().flat_map(entry).collect());
        }
        if let Some(suspension) = &self.suspension {
            sections.insert(tag::SUSPENSION, suspension.encode());
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
    /// An unknown format, or bytes that end too early.
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
                tag::SESSIONS => extension.sessions = Some(Sessions::decode(section)?),
                tag::IDENTITIES => extension.identities = decode_identities(section)?,
                tag::CREATED => extension.created_ms = Some(Reader(section).u64()?),
                // the tags ascend, so the identities are there
                tag::IDENTITY_DATA => {
                    let mut data = Reader(section);
                    for identity in &mut extension.identities {
                        identity.data = text(&mut data)?;
                    }
                }
                tag::API_KEYS => extension.api_keys = decode_api_keys(section)?,
                tag::ALIASES => {
                    let mut input = Reader(section);
                    while !input.0.is_empty() {
                        let id = UserId::from_bytes(input.array()?);
                        extension.aliases.push(Alias { id, merged: input.u32()? });
                    }
                }
                // the tags ascend, so the sessions are there
                tag::SESSIONS_SEEN => extension.known_sessions(|sessions| sessions.decode_seen(section))?,
                tag::SESSION_METHODS => extension.known_sessions(|sessions| sessions.decode_methods(section))?,
                tag::SESSIONS_REPLACED => extension.known_sessions(|sessions| sessions.decode_replaced(section))?,
                tag::ROTATIONS => extension.known_sessions(|sessions| sessions.decode_rotations(section))?,
                tag::SUSPENSION => extension.suspension = Some(Suspension::decode(section)?),
                _ => {
                    extension.unknown.insert(tag, section.into());
                }
            }
        }
        Ok(extension)
    }

    fn known_sessions(
        &mut self,
        read: impl FnOnce(&mut Sessions) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.sessions.as_mut().map_or(Ok(()), read)
    }
}

fn encode_api_keys(keys: &[ApiKey]) -> Box<[u8]> {
    let mut out = Vec::new();
    for key in keys {
        out.extend(key.id.0);
        out.extend(key.hash);
        out.extend(key.created.to_be_bytes());
        out.push(u8::from(key.disabled));
        put_bytes(&mut out, key.name.as_bytes());
    }
    out.into()
}

fn decode_api_keys(bytes: &[u8]) -> Result<Vec<ApiKey>, DecodeError> {
    let mut input = Reader(bytes);
    let mut keys = Vec::new();
    while !input.0.is_empty() {
        keys.push(ApiKey {
            id: DeviceId(input.array()?),
            hash: input.array()?,
            created: input.u32()?,
            disabled: input.u8()? != 0,
            name: text(&mut input)?,
        });
    }
    Ok(keys)
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
mod tests;
