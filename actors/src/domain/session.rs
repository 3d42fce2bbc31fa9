//! Sessions: what one device's login is, and how the sessions of a user are kept in the extension record.

use super::bytes::{DecodeError, Reader};
use super::clock::ServiceTime;
use super::ids::{DeviceId, UserId};
use super::record::SessionKind;

/// Numbers below this are those of users whose ids nobody chose. A user who is created under an id that was given, and that an
/// earlier user may have had, begins at this one or above.
pub const FIRST_APART: u32 = 1 << 16;

/// The highest number that a session of a user who is gone ever had, as it is stored ([`super::Family::ENDED_SESSIONS`]).
pub fn ended_sessions(stored: Option<&[u8]>) -> u32 {
    stored.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Where a user begins whose id an earlier user may have had: above every number that one may have had. The Unix time in seconds is
/// above those that a version before did not note, and those that a backup does not know. `None` if there is no such number.
pub fn first_apart(ended: u32, wall_s: u64) -> Option<u32> {
    let by_time = u32::try_from(wall_s).unwrap_or(0);
    Some(ended.checked_add(1)?.max(FIRST_APART).max(by_time))
}

/// What began a session. It is kept with the session, and decides what the session may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LoginMethod {
    /// Not known: the session began under a version that did not keep it. It has the rights that it had then.
    #[default]
    Unknown,
    /// Nothing was proved: an anonymous user's own session.
    Anonymous,
    /// A name and its password.
    Password,
    /// A token of your own system (`custom-token`).
    CustomToken,
    /// An ID token of an OpenID Connect issuer.
    IdToken,
    /// A login in the browser at an OpenID Connect issuer.
    Browser,
    /// The API key with this id. A program holds it: the session uses the account's data, ends itself, and does nothing else.
    ApiKey(DeviceId),
    /// A transfer code of a different session of the same user.
    Transfer,
    /// A link turned an anonymous user's session into one of an account, or renewed an account's.
    Link,
    /// An anonymous user became part of the account.
    Merge,
}

impl LoginMethod {
    /// The method of a login with an identity of this provider. Which API key it was is for its owner to say.
    pub fn of_provider(provider: &str) -> Self {
        match provider {
            "local-userpass" => Self::Password,
            "custom-token" => Self::CustomToken,
            _ => Self::IdToken,
        }
    }

    /// Whether a session that it began may change the account: how it is logged in to, its keys, its other sessions, whether
    /// it exists.
    pub fn may_change_account(self) -> bool {
        !matches!(self, Self::ApiKey(_))
    }

    /// The key that began the session, if one did.
    pub fn api_key(self) -> Option<DeviceId> {
        if let Self::ApiKey(id) = self { Some(id) } else { None }
    }

    /// The name in lists of sessions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Anonymous => "anonymous",
            Self::Password => "password",
            Self::CustomToken => "custom-token",
            Self::IdToken => "id-token",
            Self::Browser => "browser",
            Self::ApiKey(_) => "api-key",
            Self::Transfer => "transfer",
            Self::Link => "link",
            Self::Merge => "merge",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Anonymous => 1,
            Self::Password => 2,
            Self::CustomToken => 3,
            Self::IdToken => 4,
            Self::Browser => 5,
            Self::ApiKey(_) => 6,
            Self::Transfer => 7,
            Self::Link => 8,
            Self::Merge => 9,
        }
    }

    fn from_number(number: u8, key: DeviceId) -> Option<Self> {
        Some(match number {
            0 => Self::Unknown,
            1 => Self::Anonymous,
            2 => Self::Password,
            3 => Self::CustomToken,
            4 => Self::IdToken,
            5 => Self::Browser,
            6 => Self::ApiKey(key),
            7 => Self::Transfer,
            8 => Self::Link,
            9 => Self::Merge,
            _ => return None,
        })
    }
}

/// The session that a link or a merge replaced, which is over. For a short time its cookie still reads as the one that took its
/// place, and the same request is answered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Predecessor {
    /// Whose it was: after a merge, the user who became part of this one.
    pub user: UserId,
    /// Its number.
    pub number: u32,
    /// When it was replaced.
    pub at: ServiceTime,
}

/// One device's login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its number; never reused while the user lives.
    pub number: u32,
    /// Which API it serves.
    pub kind: SessionKind,
    /// What began it.
    pub method: LoginMethod,
    /// When it began.
    pub started: ServiceTime,
    /// When it was last used; up to `touch_granularity` before the last use.
    pub seen: ServiceTime,
    /// Access tokens of an earlier epoch fail. It wraps after 256 links of one App Services session. An access token lives for
    /// half an hour, so the tokens of two epochs with one number never meet unless the account itself links and unlinks 256 times
    /// within that.
    pub epoch: u8,
    /// How often its refresh token was rotated (`/v1`). It does not wrap: at the largest number, which takes years of
    /// uninterrupted rotation, the token stays the same.
    pub refresh_counter: u32,
    /// The client's device id; zeros for none.
    pub device: DeviceId,
    /// Whether the user was anonymous when it began: such sessions end when the user is linked elsewhere.
    pub anonymous_at_start: bool,
    /// Whose place it took, if it did.
    pub replaces: Option<Predecessor>,
}

/// A session that is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Which API it will serve.
    pub kind: SessionKind,
    /// The client's device id; zeros for none.
    pub device: DeviceId,
    /// What begins it.
    pub method: LoginMethod,
    /// The number of the session that asks for it, which is not ended to make room.
    pub beside: Option<u32>,
    /// Whose place it takes.
    pub replaces: Option<Predecessor>,
}

impl Opening {
    /// A session that no other session asked for.
    pub fn new(kind: SessionKind, device: DeviceId, method: LoginMethod) -> Self {
        Self { kind, device, method, beside: None, replaces: None }
    }
}

/// A user's sessions, and the highest number ever given to one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sessions {
    /// The highest number given so far. It does not wrap: a user who has used it up begins no more sessions.
    pub highest: u32,
    /// The live ones, in order of their number.
    pub list: Vec<Session>,
}

impl Sessions {
    /// What every version knows of them.
    pub(super) fn encode(&self) -> Box<[u8]> {
        let mut out = self.highest.to_be_bytes().to_vec();
        for session in &self.list {
            let [_, _, high, low] = session.refresh_counter.to_be_bytes();
            out.extend(session.number.to_be_bytes());
            out.push(session.kind as u8);
            out.extend(session.started.to_be_bytes());
            out.push(session.epoch);
            out.extend([high, low]);
            out.extend(session.device.0);
            out.push(u8::from(session.anonymous_at_start));
        }
        out.into()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader(bytes);
        let mut sessions = Self { highest: input.u32()?, list: Vec::new() };
        while !input.0.is_empty() {
            let (number, kind, started) = (input.u32()?, input.u8()?, input.u32()?);
            sessions.list.push(Session {
                number,
                kind: SessionKind::from_number(kind).ok_or(DecodeError)?,
                method: LoginMethod::Unknown,
                started,
                seen: started,
                epoch: input.u8()?,
                refresh_counter: input.u16()?.into(),
                device: DeviceId(input.array()?),
                anonymous_at_start: input.u8()? != 0,
                replaces: None,
            });
        }
        Ok(sessions)
    }

    /// When each was last used, in their order.
    pub(super) fn encode_seen(&self) -> Box<[u8]> {
        self.list.iter().flat_map(|session| session.seen.to_be_bytes()).collect()
    }

    pub(super) fn decode_seen(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        // an older version, which does not know this section, has changed the sessions since
        if bytes.len() != self.list.len() * size_of::<ServiceTime>() {
            return Ok(());
        }
        let mut seen = Reader(bytes);
        for session in &mut self.list {
            session.seen = seen.u32()?;
        }
        Ok(())
    }

    /// What began each, by its number: an older version may have ended some of them since, and begun others.
    pub(super) fn encode_methods(&self) -> Box<[u8]> {
        let known = self.list.iter().filter(|session| session.method != LoginMethod::Unknown);
        let entry = |session: &Session| {
            let key = session.method.api_key().unwrap_or_default();
            [&session.number.to_be_bytes()[..], &[session.method.number()], &key.0].concat()
        };
        known.flat_map(entry).collect()
    }

    pub(super) fn decode_methods(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut input = Reader(bytes);
        while !input.0.is_empty() {
            let (number, method, key) = (input.u32()?, input.u8()?, DeviceId(input.array()?));
            let method = LoginMethod::from_number(method, key).ok_or(DecodeError)?;
            if let Some(session) = self.numbered(number) {
                session.method = method;
            }
        }
        Ok(())
    }

    /// Which sessions they replace, by their numbers.
    pub(super) fn encode_replaced(&self) -> Box<[u8]> {
        let entry = |session: &Session| {
            let Predecessor { user, number, at } = session.replaces?;
            let (own, number, at) = (session.number.to_be_bytes(), number.to_be_bytes(), at.to_be_bytes());
            Some([&own[..], user.as_bytes(), &number, &at].concat())
        };
        self.list.iter().filter_map(entry).flatten().collect()
    }

    pub(super) fn decode_replaced(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut input = Reader(bytes);
        while !input.0.is_empty() {
            let (own, user) = (input.u32()?, UserId::from_bytes(input.array()?));
            let replaces = Predecessor { user, number: input.u32()?, at: input.u32()? };
            if let Some(session) = self.numbered(own) {
                session.replaces = Some(replaces);
            }
        }
        Ok(())
    }

    /// The upper half of the counters that have one, by their numbers.
    pub(super) fn encode_rotations(&self) -> Box<[u8]> {
        let entry = |session: &Session| {
            let high = (session.refresh_counter >> 16) as u16;
            (high > 0).then(|| [&session.number.to_be_bytes()[..], &high.to_be_bytes()].concat())
        };
        self.list.iter().filter_map(entry).flatten().collect()
    }

    pub(super) fn decode_rotations(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut input = Reader(bytes);
        while !input.0.is_empty() {
            let (number, high) = (input.u32()?, input.u16()?);
            if let Some(session) = self.numbered(number) {
                session.refresh_counter |= u32::from(high) << 16;
            }
        }
        Ok(())
    }

    fn numbered(&mut self, number: u32) -> Option<&mut Session> {
        let at = self.list.binary_search_by_key(&number, |session| session.number).ok()?;
        self.list.get_mut(at)
    }
}
