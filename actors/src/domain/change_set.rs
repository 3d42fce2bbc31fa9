//! Change sets: what a caller asks the store to change, naming what it saw. All or nothing.

use std::sync::Arc;

use super::clock::ServiceTime;
use super::extension::IdentityKey;
use super::ids::UserId;
use super::note::Note;
use super::record::Record;

/// The one table of key families in journal and snapshot. A number is never given twice; unknown ones are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Family(pub u8);

impl Family {
    /// 16-byte id → 16-byte record.
    pub const USER: Self = Self(1);
    /// 16-byte id → extension record.
    pub const EXTENSION: Self = Self(2);
    /// Provider, a zero byte, external id → [`super::Credential`].
    pub const CREDENTIAL: Self = Self(3);
    /// 16-byte id → [`super::Meters`].
    pub const METERS: Self = Self(5);
    /// 16-byte id → [`super::Document`].
    pub const DOCUMENT: Self = Self(6);
    /// 16-byte id of a user who was created lazily and ended → when it ended, u32: the one kind of tombstone.
    pub const ENDED_LAZY: Self = Self(4);
    /// Name of an admin → the admin.
    pub const ADMIN: Self = Self(7);
    /// Public id of an admin's API key → the key.
    pub const ADMIN_KEY: Self = Self(8);
    /// Hash of an admin's session secret → the session.
    pub const ADMIN_SESSION: Self = Self(9);
    /// Time of an entry of the audit log, and a count → the entry.
    pub const AUDIT: Self = Self(10);
    /// Number of a deployment, u64 → the deployment.
    pub const DEPLOYMENT: Self = Self(11);
    /// As [`AUDIT`](Self::AUDIT), of what was refused: strangers cause those.
    pub const AUDIT_REFUSED: Self = Self(12);
    /// No bytes → what is to be deployed next.
    pub const DRAFT: Self = Self(13);
    /// Days since 1970, u32 → what happened on that day.
    pub const STATS: Self = Self(14);
    /// A network, as text → its block.
    pub const NETWORK: Self = Self(15);
    /// No bytes → the highest number of a session that a user who is gone ever had, u32; of numbers that not every user has.
    pub const ENDED_SESSIONS: Self = Self(16);

    /// The families of the server's own values, which belong to no user and are kept in the order of their keys. What their
    /// bytes mean is known above the core.
    pub const OWN: [Self; 10] = [
        Self::ADMIN,
        Self::ADMIN_KEY,
        Self::ADMIN_SESSION,
        Self::AUDIT,
        Self::DEPLOYMENT,
        Self::AUDIT_REFUSED,
        Self::DRAFT,
        Self::STATS,
        Self::NETWORK,
        Self::ENDED_SESSIONS,
    ];

    /// Every family with its name in metrics. Users, and names at eight users each, are bounded by `max_users`; a user has
    /// one extension record (of bounded sections), one value of meters and one document at most; documents are bounded in
    /// bytes together; for ids that ended see `Core::bounds`; the server's own are bounded by what writes them.
    pub const NAMES: [(Self, &'static str); 16] = [
        (Self::USER, "users"),
        (Self::EXTENSION, "extensions"),
        (Self::CREDENTIAL, "credentials"),
        (Self::METERS, "meters"),
        (Self::DOCUMENT, "documents"),
        (Self::ENDED_LAZY, "ended-ids"),
        (Self::ADMIN, "admins"),
        (Self::ADMIN_KEY, "admin-keys"),
        (Self::ADMIN_SESSION, "admin-sessions"),
        (Self::AUDIT, "audit-entries"),
        (Self::DEPLOYMENT, "deployments"),
        (Self::AUDIT_REFUSED, "audit-refusals"),
        (Self::DRAFT, "drafts"),
        (Self::STATS, "days"),
        (Self::NETWORK, "network-blocks"),
        (Self::ENDED_SESSIONS, "ended-sessions"),
    ];

    /// Numbers below this are known.
    pub(crate) const COUNT: usize = 17;

    /// Whether its values are the server's own.
    pub fn is_own(self) -> bool {
        Self::OWN.contains(&self)
    }
}

/// A key of a family that is not a user's record or extension record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueKey {
    /// Its family.
    pub family: Family,
    /// The key.
    pub key: Box<[u8]>,
}

impl ValueKey {
    /// Where the credential of an identity is kept; it goes with the identity.
    pub fn credential(identity: &IdentityKey) -> Self {
        let key = [identity.provider.as_bytes(), &[0], identity.external.as_bytes()].concat();
        Self { family: Family::CREDENTIAL, key: key.into() }
    }

    /// Where a user's meters are kept; they go with the user.
    pub fn meters(user: &UserId) -> Self {
        Self { family: Family::METERS, key: user.as_bytes()[..].into() }
    }

    /// Where a user's document is kept; it goes with the user.
    pub fn document(user: &UserId) -> Self {
        Self { family: Family::DOCUMENT, key: user.as_bytes()[..].into() }
    }

    /// What is deleted with a user, if it exists.
    pub fn of_user(user: &UserId) -> [Self; 2] {
        [Self::meters(user), Self::document(user)]
    }

    /// A key of one of the server's own families.
    pub fn own(family: Family, key: impl Into<Box<[u8]>>) -> Self {
        Self { family, key: key.into() }
    }

    /// Where the highest number is kept that a session of a user who is gone ever had.
    pub fn ended_sessions() -> Self {
        Self::own(Family::ENDED_SESSIONS, *b"")
    }

    /// Where the end of a user who was created lazily is kept, for as long as its lazy cookie would be good.
    pub fn ended_lazy(user: &UserId) -> Self {
        Self { family: Family::ENDED_LAZY, key: user.as_bytes()[..].into() }
    }
}

/// Why something changed: for events, logs and the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Cause {
    /// A login created the user.
    Created = 1,
    /// A refresh token was rotated.
    Refreshed = 2,
    /// An identity was linked.
    Linked = 3,
    /// An anonymous user became part of an account.
    MergedInto = 4,
    /// The client ended its session.
    LoggedOut = 5,
    /// The user was inactive for the whole window.
    Expired = 6,
    /// The user deleted themselves.
    DeletedByUser = 7,
    /// An administrator deleted the user.
    DeletedByAdmin = 8,
    /// An administrator suspended the user.
    Disabled = 9,
    /// An administrator lifted the suspension.
    Enabled = 10,
    /// A second session was begun.
    SessionOpened = 11,
    /// An administrator ended a session, or all.
    SessionEnded = 12,
    /// A refresh token was used again beyond its grace: the session ended.
    ReuseDetected = 13,
    /// An identity was unlinked from the user.
    Unlinked = 14,
    /// A name was registered with a password.
    Registered = 15,
    /// The owner of an e-mail address confirmed it.
    Confirmed = 16,
    /// An e-mail with a token was asked for.
    MailAsked = 17,
    /// A password was changed or reset.
    PasswordChanged = 18,
    /// Something obsolete was swept: an unconfirmed registration, the end of a reader.
    Forgotten = 19,
    /// An API key was created.
    KeyMade = 20,
    /// An API key was enabled or disabled.
    KeyChanged = 21,
    /// An API key is gone.
    KeyRemoved = 22,
    /// A session was used after a while.
    SessionSeen = 23,
    /// A meter counted.
    Counted = 24,
    /// The user's document changed.
    Edited = 25,
    /// The user was created and never came back, and room was needed.
    GivenUp = 26,
    /// A value of the server's own changed: an admin, a key of one, an entry of the audit log, a deployment.
    Administered = 27,
    /// An administrator granted more of a meter, or reset it.
    MeterAdjusted = 28,
    /// An administrator gave a user's name and password another name.
    Renamed = 29,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 29] = [
        Self::Created,
        Self::Refreshed,
        Self::Linked,
        Self::MergedInto,
        Self::LoggedOut,
        Self::Expired,
        Self::DeletedByUser,
        Self::DeletedByAdmin,
        Self::Disabled,
        Self::Enabled,
        Self::SessionOpened,
        Self::SessionEnded,
        Self::ReuseDetected,
        Self::Unlinked,
        Self::Registered,
        Self::Confirmed,
        Self::MailAsked,
        Self::PasswordChanged,
        Self::Forgotten,
        Self::KeyMade,
        Self::KeyChanged,
        Self::KeyRemoved,
        Self::SessionSeen,
        Self::Counted,
        Self::Edited,
        Self::GivenUp,
        Self::Administered,
        Self::MeterAdjusted,
        Self::Renamed,
    ];

    /// The cause with this number; `None` for an unknown one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| *cause as u8 == number)
    }

    /// Whether it changes a user's record, and so its version: meters and documents have no part in that.
    pub fn is_of_the_record(self) -> bool {
        !matches!(self, Self::Counted | Self::Edited | Self::Administered | Self::MeterAdjusted)
    }

    /// The name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Refreshed => "refreshed",
            Self::Linked => "linked",
            Self::MergedInto => "merged-into",
            Self::LoggedOut => "logged-out",
            Self::Expired => "expired",
            Self::DeletedByUser => "deleted-by-user",
            Self::DeletedByAdmin => "deleted-by-admin",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::SessionOpened => "session-opened",
            Self::SessionEnded => "session-ended",
            Self::ReuseDetected => "reuse-detected",
            Self::Unlinked => "unlinked",
            Self::Registered => "registered",
            Self::Confirmed => "confirmed",
            Self::MailAsked => "mail-asked",
            Self::PasswordChanged => "password-changed",
            Self::Forgotten => "forgotten",
            Self::KeyMade => "key-made",
            Self::KeyChanged => "key-changed",
            Self::KeyRemoved => "key-removed",
            Self::SessionSeen => "session-seen",
            Self::Counted => "counted",
            Self::Edited => "edited",
            Self::GivenUp => "given-up",
            Self::Administered => "administered",
            Self::MeterAdjusted => "meter-adjusted",
            Self::Renamed => "renamed",
        }
    }
}

/// What becomes of stored bytes.
#[derive(Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// Leaves it as it is.
    Keep,
    /// Puts these bytes in its place.
    Put(Box<[u8]>),
    /// Changes a document, of which the journal then holds no more than what changed.
    Edit {
        /// What changed: [`super::Delta`].
        delta: Arc<[u8]>,
        /// What it then is.
        next: Arc<[u8]>,
    },
    /// Takes it away.
    Remove,
}

impl std::fmt::Debug for Rewrite {
    /// What the bytes are is not shown: some are hashes of secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Put(_) => "Put(..)",
            Self::Edit { .. } => "Edit(..)",
            Self::Remove => "Remove",
        })
    }
}

/// One operation and what it expects to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Creates a user; the id must be absent.
    Create {
        /// The new user.
        id: UserId,
        /// Its first record.
        record: Record,
        /// Its extension record, if it has one.
        extension: Option<Box<[u8]>>,
    },
    /// Changes a user whose version is `seen`. The store sets the version and keeps `last_seen`.
    Update {
        /// The user.
        id: UserId,
        /// The version that the caller looked at.
        seen: u16,
        /// The new record.
        record: Record,
        /// What becomes of the extension record.
        extension: Rewrite,
    },
    /// Takes a user whose version is `seen` away, with all that hangs on it.
    Remove {
        /// The user.
        id: UserId,
        /// The version that the caller looked at.
        seen: u16,
    },
    /// Removes a user who is anonymous and was last seen at `cutoff` or before.
    Expire {
        /// The user.
        id: UserId,
        /// The latest last activity that still counts as expired.
        cutoff: ServiceTime,
    },
    /// Removes a user who was created then and has neither come back nor changed, and remembers nothing of it: with a lazy
    /// cookie that is still good, the reader may be created again.
    GiveUp {
        /// The user.
        id: UserId,
        /// When it was created.
        made: ServiceTime,
    },
    /// Holds if no user has the identity, or this user has it.
    Claim {
        /// The identity.
        identity: IdentityKey,
        /// The user who wants it.
        user: UserId,
    },
    /// Holds if no user has the identity.
    Unclaimed {
        /// The identity.
        identity: IdentityKey,
    },
    /// Holds if the user exists.
    Demand {
        /// The user.
        id: UserId,
    },
    /// Changes a value that is still the one that the caller looked at; none is one too.
    Value {
        /// Where it is.
        key: ValueKey,
        /// What the caller looked at.
        seen: Option<Arc<[u8]>>,
        /// What becomes of it; kept, the operation only demands that it is still the same.
        change: Rewrite,
    },
    /// Raises `last_seen`; names no version and does nothing to a user who is gone.
    Touch {
        /// The user.
        id: UserId,
        /// The activity.
        at: ServiceTime,
    },
}

impl Op {
    /// The user that it is about, if there is one.
    pub fn user(&self) -> Option<UserId> {
        match self {
            Self::Value { .. } | Self::Unclaimed { .. } => None,
            Self::Create { id, .. }
            | Self::Update { id, .. }
            | Self::Remove { id, .. }
            | Self::Expire { id, .. }
            | Self::GiveUp { id, .. }
            | Self::Demand { id }
            | Self::Claim { user: id, .. }
            | Self::Touch { id, .. } => Some(*id),
        }
    }
}

/// Which of the server's own values are read, in the order of their keys.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// Their family.
    pub family: Family,
    /// Those beyond this key, in the order asked for; from the beginning without one.
    pub after: Option<&'a [u8]>,
    /// Whether the last come first.
    pub last_first: bool,
    /// At most so many.
    pub most: usize,
}

/// Operations that happen together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSet {
    /// Why.
    pub cause: Cause,
    /// When it was proposed.
    pub at: ServiceTime,
    /// What.
    pub ops: Vec<Op>,
    /// What its readers are told besides.
    pub note: Option<Arc<Note>>,
}

impl ChangeSet {
    /// A set without a note.
    pub fn new(cause: Cause, at: ServiceTime, ops: Vec<Op>) -> Self {
        Self { cause, at, ops, note: None }
    }

    /// The same with a note.
    pub fn noting(self, note: Note) -> Self {
        Self { note: Some(Arc::new(note)), ..self }
    }
}

/// What became of a change set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is applied, and durable.
    Done,
    /// Operation `op` did not find what it named; nothing of the set was written.
    Conflict {
        /// Index into the set's operations.
        op: usize,
    },
    /// The store could not write: whether the set will be there after a restart is unknown.
    Failed,
}
