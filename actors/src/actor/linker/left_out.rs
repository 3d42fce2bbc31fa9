//! What merges left out, which is repeated with the answer.

use std::collections::VecDeque;

use crate::domain::{Conflicts, ServiceTime, UserId};

/// How long the answer to a link or a merge can be had again (seconds).
pub const REPEAT_S: u32 = 600;
/// How much memory may hold what merges left out, which is repeated with the answer (bytes).
const LEFT_OUT_BYTES: usize = 8 << 20;

/// What the merges of the last minutes left out, by the user who became part of an account: the oldest first.
#[derive(Default)]
pub(super) struct LeftOut {
    merges: VecDeque<(UserId, ServiceTime, Conflicts)>,
    bytes: usize,
}

impl LeftOut {
    pub(super) fn add(&mut self, user: UserId, now: ServiceTime, conflicts: &Conflicts) {
        if !conflicts.is_empty() {
            self.bytes += conflicts.size();
            self.merges.push_back((user, now, conflicts.clone()));
        }
        while let Some((_, merged, _)) = self.merges.front()
            && (self.bytes > LEFT_OUT_BYTES || now >= merged.saturating_add(REPEAT_S))
        {
            let forgotten = self.merges.pop_front();
            self.bytes -= forgotten.map_or(0, |(_, _, conflicts)| conflicts.size());
        }
    }

    pub(super) fn of(&self, user: &UserId) -> Conflicts {
        let merge = self.merges.iter().rev().find(|(merged, ..)| merged == user);
        merge.map(|(_, _, conflicts)| conflicts.clone()).unwrap_or_default()
    }
}
