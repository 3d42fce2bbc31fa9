//! Meters: how much of an allowance a user has used in a period, such as articles in a month.

use std::collections::{BTreeMap, VecDeque};

use super::bytes::{Reader, Short};

/// Items that are told apart in one period: a meter that counts each item once may not have a larger limit.
pub const MAX_ITEMS: usize = 1000;
/// Operations that are remembered with their results, so that a repeated request counts once and answers the same.
const MAX_OPERATIONS: usize = 256;
/// A use that was on its way when a period began, or a wall clock that was set back a little, counts in the new period: this
/// many seconds.
const LATE_S: i64 = 3600;
/// Meters of one user.
pub const MAX_METERS: usize = 16;

const FORMAT: u8 = 2;
/// Without the results of operations.
const FORMAT_1: u8 = 1;

/// When an allowance begins and ends: Unix time in seconds, the end excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first second.
    pub start: i64,
    /// The second at which a new one begins.
    pub end: i64,
}

/// Names a use, so that its repeat is known; and what it asks for, so that a different one under its name is not mistaken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeterOperation {
    /// A hash of what the client called it.
    pub name: u64,
    /// A hash of what is used and how much; 0 of one that was stored before that was.
    pub asks: u32,
}

/// A different use had this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a different request has this name")]
pub struct OtherUse;

/// One use of a meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Which meter.
    pub meter: Box<str>,
    /// The period of now. For a meter that rolls, the one that would begin now: one that runs already goes on.
    pub period: Period,
    /// Whether the period of the first use goes on to its end.
    pub rolls: bool,
    /// How much is allowed in a period.
    pub limit: u32,
    /// How much this use takes; 0 looks at the meter.
    pub amount: u32,
    /// What is used, as a hash; the same item counts once in a period.
    pub item: Option<u64>,
    /// Which request it is; the same request counts once.
    pub operation: Option<MeterOperation>,
    /// Unix time in seconds.
    pub now: i64,
}

/// What a meter says after a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Used in this period.
    pub used: u32,
    /// Whether this use was within the allowance.
    pub allowed: bool,
    /// When a new period begins, Unix time in seconds.
    pub resets: i64,
}

/// How two users' uses of a meter in the same period become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MeterMerge {
    /// Both count.
    #[default]
    Sum,
    /// The larger one counts.
    Max,
}

/// One meter of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Meter {
    period: Period,
    used: u32,
    items: Vec<u64>,
    /// Each with what was used after it.
    operations: VecDeque<(MeterOperation, u32)>,
}

/// All meters of one user.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meters(BTreeMap<Box<str>, Meter>);

/// The bytes are not meters that this version can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unreadable meters")]
pub struct UnreadableMeters;

impl From<Short> for UnreadableMeters {
    fn from(_: Short) -> Self {
        Self
    }
}

impl Meters {
    /// Counts a use. `None` as the meters if nothing changes by it.
    ///
    /// # Errors
    /// [`OtherUse`], which changes nothing.
    pub fn count(&self, count: &Count) -> Result<(Option<Self>, Reading), OtherUse> {
        let known = self.0.get(&count.meter).filter(|meter| {
            let runs = count.now < meter.period.end;
            let is_late = (1..=LATE_S).contains(&meter.period.start.saturating_sub(count.now));
            if count.rolls { runs } else { meter.period == count.period || is_late }
        });
        let fresh = Meter { period: count.period, used: 0, items: Vec::new(), operations: VecDeque::new() };
        let mut meter = known.cloned().unwrap_or(fresh);
        let resets = meter.period.end;
        let asked = count.operation;
        let first = asked.and_then(|asked| meter.operations.iter().find(|(known, _)| known.name == asked.name));
        if let Some((known, used)) = first {
            if known.asks != 0 && asked.is_some_and(|asked| asked.asks != known.asks) {
                return Err(OtherUse);
            }
            return Ok((None, Reading { used: *used, allowed: true, resets }));
        }
        let repeated = count.item.is_some_and(|item| meter.items.contains(&item));
        // four billion uses in a period are as many as all of them
        let would = meter.used.saturating_add(count.amount);
        if repeated || count.amount == 0 || would > count.limit {
            let allowed = repeated || (count.amount == 0 && meter.used < count.limit);
            return Ok((None, Reading { used: meter.used, allowed, resets }));
        }
        meter.used = would;
        if let Some(item) = count.item.filter(|_| meter.items.len() < MAX_ITEMS) {
            meter.items.push(item);
        }
        if let Some(operation) = count.operation {
            meter.operations.push_back((operation, would));
            if meter.operations.len() > MAX_OPERATIONS {
                meter.operations.pop_front();
            }
        }
        let mut next = self.clone();
        // what is over is not kept; a configuration that names ever new meters makes no value grow
        next.0.retain(|name, meter| *name == count.meter || count.now < meter.period.end);
        if next.0.len() >= MAX_METERS && !next.0.contains_key(&count.meter) {
            next.0.pop_first();
        }
        next.0.insert(count.meter.clone(), meter);
        Ok((Some(next), Reading { used: would, allowed: true, resets }))
    }

    /// Joined with the uses of a different user at `now` (Unix time in seconds). A meter that only one of them has is kept as it is. Of two
    /// periods that run the uses become one until the later end, so that no one gets an allowance back by merging; of others
    /// the later one is taken.
    #[must_use]
    pub fn merged(&self, other: &Self, now: i64, rule: impl Fn(&str) -> MeterMerge) -> Self {
        let mut merged = self.clone();
        for (name, theirs) in &other.0 {
            match merged.0.get_mut(name) {
                Some(ours) if now < ours.period.end.min(theirs.period.end) => {
                    let both = ours.items.iter().filter(|item| theirs.items.contains(item)).count();
                    // an item that both have used counts once
                    let twice = u32::try_from(both).unwrap_or(u32::MAX);
                    ours.used = match rule(name) {
                        MeterMerge::Sum => ours.used.saturating_add(theirs.used).saturating_sub(twice),
                        MeterMerge::Max => ours.used.max(theirs.used),
                    };
                    let new: Vec<u64> =
                        theirs.items.iter().filter(|item| !ours.items.contains(item)).copied().collect();
                    ours.items.extend(new);
                    ours.items.truncate(MAX_ITEMS);
                    let operations = theirs.operations.iter().chain(&ours.operations).copied();
                    ours.operations = operations.collect();
                    ours.operations.drain(..ours.operations.len().saturating_sub(MAX_OPERATIONS));
                    if theirs.period.end > ours.period.end {
                        ours.period = theirs.period;
                    }
                }
                Some(ours) if ours.period.end > theirs.period.end => {}
                _ => drop(merged.0.insert(name.clone(), theirs.clone())),
            }
        }
        merged
    }

    /// Each meter that something is kept of: its name, when its period begins and ends, what is used, and how many items are told apart.
    pub fn kept(&self) -> impl Iterator<Item = (&str, Period, u32, usize)> {
        self.0.iter().map(|(name, meter)| (&**name, meter.period, meter.used, meter.items.len()))
    }

    /// Format u8, then meters: name, start i64, end i64, used u32, items u64, operations (name u64, asks u32, used u32); texts and lists behind
    /// their length u32.
    pub fn encode(&self) -> Box<[u8]> {
        // bounded by the constants above
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        let mut out = vec![FORMAT];
        for (name, meter) in &self.0 {
            out.extend(length(name.len()));
            out.extend(name.as_bytes());
            out.extend(meter.period.start.to_be_bytes());
            out.extend(meter.period.end.to_be_bytes());
            out.extend(meter.used.to_be_bytes());
            out.extend(length(meter.items.len()));
            meter.items.iter().for_each(|item| out.extend(item.to_be_bytes()));
            out.extend(length(meter.operations.len()));
            for (operation, used) in &meter.operations {
                out.extend(operation.name.to_be_bytes());
                out.extend(operation.asks.to_be_bytes());
                out.extend(used.to_be_bytes());
            }
        }
        out.into()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// An unknown format, or bytes that end too early.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableMeters> {
        let mut input = Reader(bytes);
        let format = input.u8()?;
        if ![FORMAT, FORMAT_1].contains(&format) {
            return Err(UnreadableMeters);
        }
        let mut meters = BTreeMap::new();
        while !input.0.is_empty() {
            let name = std::str::from_utf8(input.bytes()?).map_err(|_| UnreadableMeters)?.into();
            let signed = |input: &mut Reader<'_>| input.u64().map(u64::cast_signed);
            let period = Period { start: signed(&mut input)?, end: signed(&mut input)? };
            let used = input.u32()?;
            let n = input.u32()?;
            let items = (0..n).map(|_| input.u64()).collect::<Result<_, Short>>()?;
            let n = input.u32()?;
            let operation = |_| {
                let name = input.u64()?;
                let (asks, used) = if format == FORMAT_1 { (0, used) } else { (input.u32()?, input.u32()?) };
                Ok((MeterOperation { name, asks }, used))
            };
            let operations = (0..n).map(operation).collect::<Result<_, Short>>()?;
            meters.insert(name, Meter { period, used, items, operations });
        }
        Ok(Self(meters))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONTH: Period = Period { start: 1000, end: 2000 };

    fn count(now: i64) -> Count {
        Count {
            meter: "articles".into(),
            period: MONTH,
            rolls: false,
            limit: 3,
            amount: 1,
            item: None,
            operation: None,
            now,
        }
    }

    fn used(meters: &mut Meters, count: &Count) -> (u32, bool) {
        let (next, reading) = meters.count(count).unwrap();
        *meters = next.unwrap_or_else(|| meters.clone());
        (reading.used, reading.allowed)
    }

    #[test]
    fn an_allowance_is_used_up_and_comes_back_with_the_next_period() {
        let mut meters = Meters::default();
        assert_eq!(
            (1..=4).map(|_| used(&mut meters, &count(1500))).collect::<Vec<_>>(),
            [(1, true), (2, true), (3, true), (3, false)]
        );
        let next = Count { period: Period { start: 2000, end: 3000 }, ..count(2000) };
        assert_eq!(used(&mut meters, &next), (1, true));
        assert_eq!(used(&mut meters, &Count { amount: 3, ..next.clone() }), (1, false), "all of it or nothing");
        assert_eq!(used(&mut meters, &Count { amount: 0, ..next }), (1, true), "a look takes nothing");
    }

    #[test]
    fn an_item_and_a_repeated_request_count_once() {
        let mut meters = Meters::default();
        let item = |item| Count { item: Some(item), limit: 2, ..count(1500) };
        assert_eq!(used(&mut meters, &item(1)), (1, true));
        assert_eq!(used(&mut meters, &item(1)), (1, true));
        assert_eq!(used(&mut meters, &item(2)), (2, true));
        assert_eq!(used(&mut meters, &item(3)), (2, false));
        assert_eq!(used(&mut meters, &item(1)), (2, true), "what was read may be read again");
        let mut meters = Meters::default();
        let named = |name, asks| Some(MeterOperation { name, asks });
        let request = |n| Count { operation: named(n, 1), limit: 1000, ..count(1500) };
        let at = |n: u64| u32::try_from(n).unwrap() + 1;
        for n in 0..300 {
            assert_eq!(used(&mut meters, &request(n)), (at(n), true));
        }
        for n in 44..300 {
            assert_eq!(used(&mut meters, &request(n)), (at(n), true), "the first result");
        }
        assert!(meters.encode().len() < 256 * 16 + 100, "what is remembered is bounded");
        assert_eq!(meters.count(&Count { operation: named(299, 2), ..request(0) }), Err(OtherUse));
    }

    #[test]
    fn a_rolling_period_begins_with_the_first_use() {
        let mut meters = Meters::default();
        let rolling = |now| Count { rolls: true, period: Period { start: now, end: now + 100 }, ..count(now) };
        assert_eq!(meters.count(&rolling(1000)).unwrap().1.resets, 1100);
        assert_eq!(used(&mut meters, &rolling(1000)), (1, true));
        assert_eq!(meters.count(&rolling(1099)).unwrap().1, Reading { used: 2, allowed: true, resets: 1100 });
        assert_eq!(meters.count(&rolling(1100)).unwrap().1, Reading { used: 1, allowed: true, resets: 1200 });
    }

    /// A count that was decided on before midnight, and comes after one from after it.
    #[test]
    fn a_late_use_counts_in_the_period_that_has_begun() {
        let mut meters = Meters::default();
        let next = Count { period: Period { start: 2000, end: 3000 }, ..count(2000) };
        assert_eq!(used(&mut meters, &next), (1, true));
        assert_eq!(used(&mut meters, &count(1999)), (2, true));
        assert_eq!(used(&mut meters, &next), (3, true), "nothing was forgotten");
        let far = Count { period: Period { start: 1_000_000, end: 2_000_000 }, ..count(1_000_000) };
        assert_eq!(used(&mut meters, &far), (1, true));
        assert_eq!(used(&mut meters, &next), (1, true), "a clock that was far wrong takes nothing");
    }

    #[test]
    fn merged_rolling_meters_are_one_until_the_later_end() {
        let rolling =
            |now: i64, limit| Count { rolls: true, limit, period: Period { start: now, end: now + 100 }, ..count(now) };
        let with = |now, uses: u32, operation| {
            let mut meters = Meters::default();
            used(
                &mut meters,
                &Count {
                    amount: uses,
                    operation: Some(MeterOperation { name: operation, asks: 1 }),
                    ..rolling(now, 9)
                },
            );
            meters
        };
        let (account, guest) = (with(1000, 5, 1), with(1050, 1, 2));
        for (one, other) in [(&account, &guest), (&guest, &account)] {
            let merged = one.merged(other, 1090, |_| MeterMerge::Sum);
            let look = Count { amount: 0, ..rolling(1090, 9) };
            assert_eq!(merged.count(&look).unwrap().1, Reading { used: 6, allowed: true, resets: 1150 });
            for (operation, result) in [(1, 5), (2, 1)] {
                let repeat = Count { operation: Some(MeterOperation { name: operation, asks: 1 }), ..rolling(1090, 9) };
                assert_eq!(merged.count(&repeat).unwrap().1.used, result, "both sides' repeats are known");
            }
            let late = one.merged(other, 1110, |_| MeterMerge::Sum);
            assert_eq!(late.count(&Count { amount: 0, ..rolling(1110, 9) }).unwrap().1.used, 1, "what is over is over");
        }
    }

    #[test]
    fn merged_meters_sum_or_keep_the_larger_and_count_an_item_once() {
        let with = |items: &[u64]| {
            let mut meters = Meters::default();
            for item in items {
                used(&mut meters, &Count { item: Some(*item), limit: 9, ..count(1500) });
            }
            meters
        };
        let look = |meters: &Meters| meters.count(&Count { amount: 0, limit: 9, ..count(1500) }).unwrap().1.used;
        let (a, b) = (with(&[1, 2]), with(&[2, 3, 4]));
        assert_eq!(look(&a.merged(&b, 1500, |_| MeterMerge::Sum)), 4);
        assert_eq!(look(&b.merged(&a, 1500, |_| MeterMerge::Sum)), 4);
        assert_eq!(look(&a.merged(&b, 1500, |_| MeterMerge::Max)), 3);
        assert_eq!(look(&Meters::default().merged(&a, 1500, |_| MeterMerge::Sum)), 2);
        let later = Count { period: Period { start: 2000, end: 3000 }, ..count(2500) };
        let mut newer = Meters::default();
        used(&mut newer, &later);
        assert_eq!(a.merged(&newer, 2500, |_| MeterMerge::Sum), newer);
        assert_eq!(newer.merged(&a, 2500, |_| MeterMerge::Sum), newer);
    }

    #[test]
    fn the_bytes_are_as_they_always_were() {
        let mut meters = Meters::default();
        let operation = Some(MeterOperation { name: 6, asks: 7 });
        used(&mut meters, &Count { meter: "m".into(), item: Some(5), operation, ..count(1500) });
        let golden: &[u8] = &[
            2, 0, 0, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 0, 0, 0, 7, 208, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
            0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0, 1,
        ];
        assert_eq!(&*meters.encode(), golden);
        assert_eq!(Meters::decode(golden).as_ref(), Ok(&meters));
        let before = Meters::decode(&[&[FORMAT_1], &golden[1..golden.len() - 8]].concat()).unwrap();
        let again = Count { meter: "m".into(), operation: Some(MeterOperation { name: 6, asks: 8 }), ..count(1500) };
        assert_eq!(before.count(&again).unwrap().1.used, 1, "without what was asked for and the result");
        for n in 0..golden.len() {
            assert_eq!(Meters::decode(&golden[..n]).is_ok(), n == 1, "{n}");
        }
        let huge = [&golden[..26], &[255; 4]].concat();
        assert_eq!(Meters::decode(&huge), Err(UnreadableMeters), "a length is believed as far as there are bytes");
    }
}
