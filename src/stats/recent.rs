//! The last minutes and days: rings of tallies, and which days are to be stored.

use std::collections::{BTreeMap, BTreeSet};

use super::tally::Tally;

/// Minutes that are kept.
pub const MINUTES: usize = 60;
/// Days that are kept.
pub const DAYS: usize = 30;
const DAY_S: u64 = 86_400;

/// Tallies by their minute or day; there is none where nothing happened. Some may lie ahead, after a clock was wrong: they are
/// shown when their time has come.
#[derive(Default)]
struct Ring(BTreeMap<u64, Tally>);

impl Ring {
    fn add(&mut self, at: u64, tally: &Tally, most: usize) {
        if !tally.is_empty() {
            self.0.entry(at).or_default().add(tally);
        }
        self.0.retain(|known, _| known + most as u64 > at);
        // a clock that goes to and fro
        while self.0.len() > 2 * most {
            self.0.pop_last();
        }
    }

    fn shown(&self, now: u64, most: usize) -> Vec<Tally> {
        let mut shown = vec![Tally::default(); most];
        for (at, tally) in &self.0 {
            let back = now.checked_sub(*at).and_then(|back| usize::try_from(back).ok()?.checked_add(1));
            if let Some(place) = back.and_then(|back| most.checked_sub(back)) {
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
    /// A day as it is stored. It may lie ahead, and tells nothing of what day it is.
    pub(super) fn restore(&mut self, day: u32, tally: Tally) {
        self.days.0.insert(day.into(), tally);
    }

    /// This day is never stored.
    pub(super) fn leave(&mut self, day: u32) {
        self.left.insert(day);
    }

    pub(super) fn look(&mut self, now_s: u64, of_minutes: Tally, of_days: Tally) {
        // also of a wall clock that was set back
        (self.minute, self.day) = (now_s / 60, now_s / DAY_S);
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

    /// The oldest day that is kept, as it was looked at last.
    pub(super) fn oldest(&self) -> u32 {
        u32::try_from(self.day).unwrap_or(u32::MAX).saturating_sub(DAYS as u32 - 1)
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
    fn a_clock_that_was_ahead_neither_hides_nor_drops_the_days_that_are() {
        let mut recent = Recent::default();
        let (today, ahead) = (20_000, 47_000);
        for (day, number) in [(today - 1, 3), (today, 5), (ahead, 7)] {
            recent.restore(day, tally(number));
        }
        recent.look(u64::from(today) * DAY_S, tally(1), tally(1));
        assert_eq!(new(&recent.days())[DAYS - 2..], [3, 6], "it is today, whatever was stored");
        assert_eq!(recent.oldest(), today + 1 - DAYS as u32);
        assert_eq!(recent.take_changed(), BTreeMap::from([(today, tally(6))]));
        // it runs ahead while the server runs, and is set right
        recent.look(u64::from(ahead + 1) * DAY_S, tally(3), tally(3));
        assert_eq!(new(&recent.days())[DAYS - 2..], [7, 2]);
        recent.look(u64::from(today) * DAY_S, tally(7), tally(7));
        assert_eq!((new(&recent.days())[DAYS - 1], new(&recent.minutes())[MINUTES - 1]), (4, 4));
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
