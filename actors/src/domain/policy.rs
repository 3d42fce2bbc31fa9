//! The rules that an operator can set, and bounds on what one user may have.

use super::ids::IdForm;

/// The rules that an operator can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Seconds of inactivity after which an anonymous user is gone.
    pub window_s: u32,
    /// From which age on (seconds) users who were created and never came back may be given up when room is short; 0: never.
    pub unused_s: u32,
    /// How old `last_seen` must be before a use renews it (seconds); at most `window_s / 24`.
    pub touch_granularity_s: u32,
    /// How long a session of a lasting account lives (seconds, not sliding).
    pub session_lifetime_s: u32,
    /// Whether the refresh token before the current one still gets the current one again (S32).
    pub refresh_grace: bool,
    /// How many sessions a user may have; one more ends the oldest.
    pub max_sessions: usize,
    /// Whether linking through the App Services API ends the refresh token that SDKs keep (S5).
    pub link_ends_session: bool,
    /// How large a user's document may be (bytes of compact JSON).
    pub document_bytes: usize,
    /// How large all documents together may be (bytes).
    pub documents_bytes: usize,
    /// The providers of which a user may have one identity at most, by their names.
    pub one_identity_of: &'static [&'static str],
    /// The form of every new user's id; `None` leaves it to the code that creates the user.
    pub ids: Option<IdForm>,
}

impl Policy {
    /// How old a session's `seen` must be before a use renews it (seconds); a write each, unlike a touch.
    pub fn seen_granularity_s(&self) -> u32 {
        self.touch_granularity_s.max(60)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            window_s: 90 * 86_400,
            unused_s: 0,
            touch_granularity_s: 3600,
            session_lifetime_s: 60 * 86_400,
            refresh_grace: true,
            max_sessions: 50,
            link_ends_session: false,
            document_bytes: 16 * 1024,
            documents_bytes: usize::MAX,
            one_identity_of: &[],
            ids: None,
        }
    }
}

/// How many identities a user may have: each check of a token reads them.
pub const MAX_IDENTITIES: usize = 20;

/// How many API keys a user may have (docs/protocol.md, "Limits").
pub const MAX_API_KEYS: usize = 20;

/// How many sessions an anonymous user may have: its other screens.
pub const MAX_ANONYMOUS_SESSIONS: usize = 8;
