//! What was said when a user was disabled: until when, and why.

use super::bytes::{DecodeError, Reader};

/// What an administrator said when a user was disabled. The default says nothing: until somebody enables the user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suspension {
    /// When the user is enabled again by itself: Unix time in milliseconds; never, without one. 0 is none.
    pub until_ms: Option<u64>,
    /// In the words of whoever did it. Users are not told it.
    pub reason: Box<str>,
}

impl Suspension {
    /// Whether its time has passed at this Unix time in milliseconds.
    pub fn is_over(&self, wall_ms: u64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms <= wall_ms)
    }

    /// Until when u64, 0 for none; the reason behind its length u32.
    pub(super) fn encode(&self) -> Box<[u8]> {
        let mut out = self.until_ms.unwrap_or(0).to_be_bytes().to_vec();
        // bounded by the length of a request
        out.extend(u32::try_from(self.reason.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(self.reason.as_bytes());
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader(bytes);
        let until_ms = Some(input.u64()?).filter(|until_ms| *until_ms != 0);
        let reason = std::str::from_utf8(input.bytes()?).map_err(|_| DecodeError)?.into();
        Ok(Self { until_ms, reason })
    }
}
