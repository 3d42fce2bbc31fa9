//! The compact record: all that a resting anonymous user is, in 16 bytes.

use super::clock::ServiceTime;

/// How long a lazy cookie is good that does not say so itself: one that a version before issued (seconds of service). Others are
/// good for as long as the window was when they were issued, and the end of a reader is remembered for the window.
pub const LAZY_S: u32 = 30 * 86_400;

/// What a touch found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touched {
    /// The user is gone, or its deadline has come.
    Gone,
    /// The last activity is recent enough.
    Recent,
    /// The last activity was raised to this time, which the store writes with its next group.
    Raised(ServiceTime),
}

/// How a session was begun; fixed at its start. Each refresh endpoint accepts its own kind alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SessionKind {
    /// Through the App Services client API: the refresh token never changes.
    AppServices = 1,
    /// Through `/v1`: the refresh token rotates.
    V1 = 2,
    /// In a reader cookie.
    Cookie = 3,
}

impl SessionKind {
    /// The kind with this number; `None` for an unknown one.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::AppServices, Self::V1, Self::Cookie].into_iter().find(|kind| *kind as u8 == number)
    }
}

/// What is true of a user, one bit each, and the kind of the one session that the record itself holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// Suspended by an administrator: every token is refused.
    pub const DISABLED: u8 = 1;
    /// A real account: no longer anonymous, never expires by inactivity.
    pub const LASTING: u8 = 2;
    /// There is an extension record, and the sessions are in it.
    pub const EXTENDED: u8 = 4;
    /// Created when a reader came back with a lazy cookie.
    pub const MADE_LAZILY: u8 = 8;
    /// Created by a login with an identity: never was anonymous.
    pub const BORN_LASTING: u8 = 64;
    /// Created by an operator: in no network's share of the users, and no visitor.
    pub const BY_HAND: u8 = 128;
    const KIND_SHIFT: u8 = 4;
    const KIND_MASK: u8 = 0b11 << Self::KIND_SHIFT;

    /// Whether the bit is set.
    pub fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    /// With the bit set or cleared.
    #[must_use]
    pub fn with(self, bit: u8, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }

    /// The kind of the session in the record; `None` when the sessions are in the extension record.
    pub fn kind(self) -> Option<SessionKind> {
        SessionKind::from_number((self.0 & Self::KIND_MASK) >> Self::KIND_SHIFT)
    }

    /// With the kind of the session in the record.
    #[must_use]
    pub fn with_kind(self, kind: Option<SessionKind>) -> Self {
        Self(self.0 & !Self::KIND_MASK | kind.map_or(0, |kind| (kind as u8) << Self::KIND_SHIFT))
    }
}

/// The 16 bytes. The session fields serve only an anonymous user with exactly one session; from the second session on,
/// and always once lasting, sessions are a section of the extension record. That of a user whom an operator created under an id
/// that was given is there from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Last activity. Lives in the registry alone: no actor holds it and no update sets it.
    pub last_seen: ServiceTime,
    /// When the session began; of a user whose session never was here, when the user was created.
    pub session_started: ServiceTime,
    /// Raised by every update, compared for equality only. It wraps: a set that named a version would have to wait in the
    /// writer's queue while 65536 others change the same user, and it waits for one group.
    pub version: u16,
    /// The session's number; never reused while the user lives. It is the user's first, and so 1: the second moves both to
    /// the extension record.
    pub session_no: u16,
    /// How often the refresh token was rotated (`/v1`). It does not wrap: beyond 65535 the session moves to the extension record.
    pub refresh_counter: u16,
    /// Raised by linking, so in the extension record alone: here it is 0.
    pub epoch: u8,
    /// What is true of the user.
    pub flags: Flags,
}

impl Record {
    /// The bytes of a record, journal and snapshot alike.
    pub const SIZE: usize = 16;

    /// A new anonymous user's record with its first session.
    pub fn new(now: ServiceTime, kind: SessionKind) -> Self {
        Self {
            last_seen: now,
            session_started: now,
            version: 0,
            session_no: 1,
            refresh_counter: 0,
            epoch: 0,
            flags: Flags::default().with_kind(Some(kind)),
        }
    }

    /// A reader's record, created when the reader came back with a lazy cookie.
    pub fn created_lazily(now: ServiceTime) -> Self {
        let record = Self::new(now, SessionKind::Cookie);
        Self { flags: record.flags.with(Flags::MADE_LAZILY, true), ..record }
    }

    /// Whether the user has no identity but the anonymous one.
    pub fn is_anonymous(&self) -> bool {
        !self.flags.has(Flags::LASTING)
    }

    /// Whether the user came by itself, and no operator created it.
    pub fn is_visitor(&self) -> bool {
        self.is_anonymous() && !self.flags.has(Flags::BY_HAND)
    }

    /// Whether the user was created and never came back: an hour after that, or later. Nothing was done with its sessions.
    pub fn is_unused(&self) -> bool {
        self.is_anonymous() && self.version == 0 && self.last_seen == self.session_started
    }

    /// When the user is gone for lack of activity, `window` seconds after the last; `None` for a lasting account.
    pub fn deadline(&self, window: u32) -> Option<ServiceTime> {
        self.is_anonymous().then(|| self.last_seen.saturating_add(window))
    }

    /// Whether the deadline has come: the same answer on read, in the sweep and in what `expires` says.
    pub fn is_expired(&self, now: ServiceTime, window: u32) -> bool {
        self.deadline(window).is_some_and(|deadline| now >= deadline)
    }

    /// Big-endian, in the order of the fields.
    pub fn to_bytes(&self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0..4].copy_from_slice(&self.last_seen.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.session_started.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.version.to_be_bytes());
        bytes[10..12].copy_from_slice(&self.session_no.to_be_bytes());
        bytes[12..14].copy_from_slice(&self.refresh_counter.to_be_bytes());
        bytes[14] = self.epoch;
        bytes[15] = self.flags.0;
        bytes
    }

    /// The record of these bytes; every pattern is one.
    pub fn from_bytes(b: &[u8; Self::SIZE]) -> Self {
        Self {
            last_seen: u32::from_be_bytes([b[0], b[1], b[2], b[3]]),
            session_started: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
            version: u16::from_be_bytes([b[8], b[9]]),
            session_no: u16::from_be_bytes([b[10], b[11]]),
            refresh_counter: u16::from_be_bytes([b[12], b[13]]),
            epoch: b[14],
            flags: Flags(b[15]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixteen_bytes_are_as_they_always_were() {
        let record = Record {
            last_seen: 0x0102_0304,
            session_started: 0x0506_0708,
            version: 0x090a,
            session_no: 0x0b0c,
            refresh_counter: 0x0d0e,
            epoch: 0x0f,
            flags: Flags(Flags::DISABLED | Flags::MADE_LAZILY).with_kind(Some(SessionKind::V1)),
        };
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0b0010_1001];
        assert_eq!(record.to_bytes(), bytes);
        assert_eq!(Record::from_bytes(&bytes), record);
    }

    #[test]
    fn who_came_back_or_changed_is_not_unused() {
        let record = Record::new(1000, SessionKind::V1);
        assert!(record.is_unused() && Record::created_lazily(1000).is_unused());
        let used = [
            Record { last_seen: 4600, ..record },
            Record { version: 1, ..record },
            Record { flags: record.flags.with(Flags::LASTING, true), ..record },
        ];
        assert!(used.iter().all(|record| !record.is_unused()));
    }

    #[test]
    fn the_deadline_is_exact() {
        let record = Record::new(1000, SessionKind::V1);
        assert!(!record.is_expired(1099, 100));
        assert!(record.is_expired(1100, 100));
        let lasting = Record { flags: record.flags.with(Flags::LASTING, true), ..record };
        assert!(!lasting.is_expired(u32::MAX, 100));
    }
}
