//! Readers' sessions that their browser has just left for an account's: for a while no answer sets their cookie, because it would
//! overwrite the account's.
//!
//! A login by cookie leaves the reader's session as it is, so nothing in the store tells an answer that was on its way from one of
//! a different day. What is kept here is in memory, bounded, and ends with the process.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;
use passerby_actors::domain::{ServiceTime, SessionId};

/// How long requests of a page may be on their way when its browser goes over to a different session (seconds).
pub const ON_THE_WAY_S: u32 = 120;
/// Sessions at a time, about 60 bytes each: beyond it the oldest are forgotten.
const MOST: usize = 1 << 16;

/// The sessions.
#[derive(Default)]
pub struct Left {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    when: HashMap<SessionId, ServiceTime>,
    /// The oldest first; one that was left again stands there twice.
    order: VecDeque<(SessionId, ServiceTime)>,
}

impl Left {
    /// A browser goes over from this session to a different one.
    pub fn note(&self, session: SessionId, now: ServiceTime) {
        let mut inner = self.inner.lock();
        if inner.when.get(&session) == Some(&now) {
            return;
        }
        while let Some((oldest, at)) = inner.order.front().copied()
            && (inner.order.len() >= MOST || now >= at.saturating_add(ON_THE_WAY_S))
        {
            inner.order.pop_front();
            if inner.when.get(&oldest) == Some(&at) {
                inner.when.remove(&oldest);
            }
        }
        inner.when.insert(session, now);
        inner.order.push_back((session, now));
    }

    /// Whether one did a moment ago.
    pub fn is_left(&self, session: &SessionId, now: ServiceTime) -> bool {
        self.inner.lock().when.get(session).is_some_and(|at| now < at.saturating_add(ON_THE_WAY_S))
    }

    /// How many are kept.
    pub fn count(&self) -> usize {
        self.inner.lock().when.len()
    }
}

#[cfg(test)]
mod tests {
    use passerby_actors::domain::UserId;

    use super::*;

    fn session(number: u32) -> SessionId {
        SessionId::derive(&UserId::from_bytes([7; 16]), number)
    }

    #[test]
    fn a_session_is_left_for_two_minutes_from_the_last_time_on_and_few_are_kept() {
        let left = Left::default();
        left.note(session(0), 1000);
        assert!(
            left.is_left(&session(0), 1119) && !left.is_left(&session(0), 1120) && !left.is_left(&session(1), 1000)
        );
        left.note(session(0), 1100);
        left.note(session(1), 1120);
        assert!(left.is_left(&session(0), 1219), "left again");
        assert_eq!(left.count(), 2, "what was before is forgotten");
        for number in 2..=MOST as u32 + 1 {
            left.note(session(number), 1121);
        }
        assert_eq!(left.count(), MOST);
        assert!(!left.is_left(&session(1), 1121) && left.is_left(&session(2), 1121));
    }
}
