//! The last minutes and days: rings of tallies, and which days are to be stored.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tally::Tally;

/// Minutes that are kept.
pub const MINUTES: usize = 60;
/// Days that are kept.
pub const DAYS: usize = 30;
const DAY_S: u64 = 86_400;

/// Tallies by their minute or day; there is none where nothing happened.
#[derive(Default)]
struct Ring(VecDeque<(u64, Tally)>);

impl Ring {
    fn add(&mut self, at: u64, tally: &Tally, most: usize) {
        if !tally.is_empty() {
            match self.0.back_mut() {
                Some((last, known)) if *last == at => known.add(tally),
                _ => self.0.push_back((at, tally.clone())),
            }
        }
        while self.0.front().is_some_and(|(first, _)| *first + most as u64 <= at) {
            self.0.pop_front();
        }
    }

    fn shown(&self, now: u64, most: usize) -> Vec<Tally> {
        let mut shown = vec![Tally::default(); most];
        for (at, tally) in &self.0 {
            let place = (now.saturating_sub(*at) as usize).checked_add(1).and_then(|back| most.checked_sub(back));
            if let Some(place) = place {
                shown[place] = tally.clone();
            }
        }
        shown
    }
}

/// What happened lately.
#[derive(Default)]
pub(super) struct Recent {
    /// The figures when they were last looked at: as minutes and as days count them.
    seen: (Tally, Tally),
    minutes: Ring,
    days: Ring,
    minute: u64,
    day: u64,
    changed: BTreeSet<u32>,
    /// Days that a later version has written.
    left: BTreeSet<u32>,
}

impl Recent {
    /// A day as it is stored; these come in order.
    pub(super) fn restore(&mut self, day: u32, tally: Tally) {
        self.days.0.push_back((day.into(), tally));
        self.day = self.day.max(day.into());
    }

    /// This day is never stored.
    pub(super) fn leave(&mut self, day: u32) {
        self.left.insert(day);
    }

    pub(super) fn look(&mut self, now_s: u64, of_minutes: Tally, of_days: Tally) {
        // a wall clock that is set back waits
        self.minute = self.minute.max(now_s / 60);
        self.day = self.day.max(now_s / DAY_S);
        let since = (of_minutes.since(&self.seen.0), of_days.since(&self.seen.1));
        self.seen = (of_minutes, of_days);
        self.minutes.add(self.minute, &since.0, MINUTES);
        self.days.add(self.day, &since.1, DAYS);
        if !since.1.is_empty()
            && let Ok(day) = u32::try_from(self.day)
        {
            self.changed.insert(day);
        }
    }

    pub(super) fn minutes(&self) -> Vec<Tally> {
        self.minutes.shown(self.minute, MINUTES)
    }

    pub(super) fn days(&self) -> Vec<Tally> {
        self.days.shown(self.day, DAYS)
    }

    /// The days that have changed since they were taken.
    pub(super) fn take_changed(&mut self) -> BTreeMap<u32, Tally> {
        let changed = std::mem::take(&mut self.changed);
        let is_changed =
            |day: u64| u32::try_from(day).ok().filter(|day| changed.contains(day) && !self.left.contains(day));
        self.days.0.iter().filter_map(|(day, tally)| Some((is_changed(*day)?, tally.clone()))).collect()
    }

    /// These days were not stored after all.
    pub(super) fn mark_changed(&mut self, days: impl Iterator<Item = u32>) {
        self.changed.extend(days);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Numbers;

    fn tally(number: u64) -> Tally {
        let kinds: Numbers = [("new".to_owned(), number)].into_iter().filter(|(_, number)| *number > 0).collect();
        Tally { kinds, ..Tally::default() }
    }

    fn new(shown: &[Tally]) -> Vec<u64> {
        shown.iter().map(|tally| tally.kinds.get("new").copied().unwrap_or(0)).collect()
    }

    #[test]
    fn what_grew_is_of_the_minute_and_the_day_in_which_it_is_seen() {
        let mut recent = Recent::default();
        let begin = 20_000 * DAY_S;
        let mut total = 0;
        let mut look = |recent: &mut Recent, at: u64, more: u64| {
            total += more;
            recent.look(begin + at, tally(total), tally(total));
        };
        look(&mut recent, 0, 1);
        look(&mut recent, 59, 2);
        look(&mut recent, 60, 0);
        look(&mut recent, 125, 4);
        let minutes = new(&recent.minutes());
        assert_eq!((minutes.len(), &minutes[57..]), (MINUTES, &[3, 0, 4][..]));
        look(&mut recent, 120 + 59 * 60, 0);
        assert_eq!((new(&recent.minutes())[0], new(&recent.minutes())[1..].iter().sum::<u64>()), (4, 0));
        look(&mut recent, 121 * 60, 0);
        assert_eq!(new(&recent.minutes()), [0; MINUTES], "an hour later nothing of it is left");
        // a clock that is set back changes nothing that was
        look(&mut recent, 5, 8);
        assert_eq!(new(&recent.minutes())[MINUTES - 1], 8);
        look(&mut recent, 3 * DAY_S, 16);
        let days = new(&recent.days());
        assert_eq!((days.len(), &days[DAYS - 4..]), (DAYS, &[15, 0, 0, 16][..]));
        look(&mut recent, (2 + DAYS as u64) * DAY_S, 0);
        assert_eq!(new(&recent.days())[0], 16);
        look(&mut recent, (3 + DAYS as u64) * DAY_S, 0);
        assert_eq!(new(&recent.days()), [0; DAYS]);
    }

    #[test]
    fn days_that_have_changed_are_stored_and_a_later_versions_are_not() {
        let mut recent = Recent::default();
        recent.restore(20_000, tally(5));
        recent.leave(20_001);
        recent.look(20_000 * DAY_S, tally(2), tally(2));
        assert_eq!(recent.take_changed(), BTreeMap::from([(20_000, tally(7))]));
        assert_eq!(recent.take_changed(), BTreeMap::new());
        recent.mark_changed([20_000].into_iter());
        assert_eq!(recent.take_changed().len(), 1);
        recent.look(20_001 * DAY_S, tally(3), tally(3));
        assert_eq!((recent.take_changed(), new(&recent.days())[DAYS - 1]), (BTreeMap::new(), 1));
    }
}
