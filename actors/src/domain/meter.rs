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

/// With what was granted; written where something was.
const FORMAT: u8 = 3;
/// Without that.
const FORMAT_2: u8 = 2;
/// Without what operations asked for, too.
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
    /// Allowed in this period beyond the limit.
    pub granted: u32,
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
    /// Allowed beyond the limit.
    granted: u32,
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
        let mut meter = self.current(count);
        let (resets, granted) = (meter.period.end, meter.granted);
        let limit = count.limit.saturating_add(granted);
        let asked = count.operation;
        let first = asked.and_then(|asked| meter.operations.iter().find(|(known, _)| known.name == asked.name));
        if let Some((known, used)) = first {
            if known.asks != 0 && asked.is_some_and(|asked| asked.asks != known.asks) {
                return Err(OtherUse);
            }
            return Ok((None, Reading { used: *used, allowed: true, resets, granted }));
        }
        let repeated = count.item.is_some_and(|item| meter.items.contains(&item));
        // four billion uses in a period are as many as all of them
        let would = meter.used.saturating_add(count.amount);
        if repeated || count.amount == 0 || would > limit {
            let allowed = repeated || (count.amount == 0 && meter.used < limit);
            return Ok((None, Reading { used: meter.used, allowed, resets, granted }));
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
        Ok((Some(self.with(count, meter)), Reading { used: would, allowed: true, resets, granted }))
    }

    /// The meter in the period that runs.
    fn current(&self, count: &Count) -> Meter {
        let known = self.0.get(&count.meter).filter(|meter| {
            let runs = count.now < meter.period.end;
            let is_late = (1..=LATE_S).contains(&meter.period.start.saturating_sub(count.now));
            if count.rolls { runs } else { meter.period == count.period || is_late }
        });
        let fresh = Meter { period: count.period, used: 0, granted: 0, items: Vec::new(), operations: VecDeque::new() };
        known.cloned().unwrap_or(fresh)
    }

    /// With this as the meter.
    fn with(&self, count: &Count, meter: Meter) -> Self {
        let mut next = self.clone();
        // what is over is not kept; a configuration that names ever new meters makes no value grow
        next.0.retain(|name, meter| *name == count.meter || count.now < meter.period.end);
        if next.0.len() >= MAX_METERS && !next.0.contains_key(&count.meter) {
            next.0.pop_first();
        }
        next.0.insert(count.meter.clone(), meter);
        next
    }

    /// With `amount` more allowed in the period that runs, and what the meter then says.
    #[must_use]
    pub fn granted(&self, count: &Count) -> (Self, Reading) {
        let mut meter = self.current(count);
        meter.granted = meter.granted.saturating_add(count.amount);
        let (used, granted, resets) = (meter.used, meter.granted, meter.period.end);
        let allowed = used < count.limit.saturating_add(granted);
        (self.with(count, meter), Reading { used, allowed, resets, granted })
    }

    /// As if the meter was never used and nothing was granted, and what it then says.
    #[must_use]
    pub fn reset(&self, count: &Count) -> (Self, Reading) {
        let mut next = self.clone();
        next.0.remove(&count.meter);
        (next, Reading { used: 0, allowed: count.limit > 0, resets: count.period.end, granted: 0 })
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
                    ours.granted = match rule(name) {
                        MeterMerge::Sum => ours.granted.saturating_add(theirs.granted),
                        MeterMerge::Max => ours.granted.max(theirs.granted),
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

    /// Whether nothing is kept of any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each meter that something is kept of: its name, when its period begins and ends, what is used, and how many items are told apart.
    pub fn kept(&self) -> impl Iterator<Item = (&str, Period, u32, usize)> {
        self.0.iter().map(|(name, meter)| (&**name, meter.period, meter.used, meter.items.len()))
    }

    /// Format u8, then meters: name, start i64, end i64, used u32, granted u32 (from format 3 on), items u64, operations (name u64, asks u32,
    /// used u32); texts and lists behind their length u32.
    pub fn encode(&self) -> Box<[u8]> {
        // bounded by the constants above
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        let has_grants = self.0.values().any(|meter| meter.granted > 0);
        let mut out = vec![if has_grants { FORMAT } else { FORMAT_2 }];
        for (name, meter) in &self.0 {
            out.extend(length(name.len()));
            out.extend(name.as_bytes());
            out.extend(meter.period.start.to_be_bytes());
            out.extend(meter.period.end.to_be_bytes());
            out.extend(meter.used.to_be_bytes());
            if has_grants {
                out.extend(meter.granted.to_be_bytes());
            }
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
        if ![FORMAT, FORMAT_2, FORMAT_1].contains(&format) {
            return Err(UnreadableMeters);
        }
        let mut meters = BTreeMap::new();
        while !input.0.is_empty() {
            let name = std::str::from_utf8(input.bytes()?).map_err(|_| UnreadableMeters)?.into();
            let signed = |input: &mut Reader<'_>| input.u64().map(u64::cast_signed);
            let period = Period { start: signed(&mut input)?, end: signed(&mut input)? };
            let used = input.u32()?;
            let granted = if format == FORMAT { input.u32()? } else { 0 };
            let n = input.u32()?;
            let items = (0..n).map(|_| input.u64()).collect::<Result<_, Short>>()?;
            let n = input.u32()?;
            let operation = |_| {
                let name = input.u64()?;
                let (asks, used) = if format == FORMAT_1 { (0, used) } else { (input.u32()?, input.u32()?) };
                Ok((MeterOperation { name, asks }, used))
            };
            let operations = (0..n).map(operation).collect::<Result<_, Short>>()?;
            meters.insert(name, Meter { period, used, granted, items, operations });
        }
        Ok(Self(meters))
    }
}

#[cfg(test)]
mod tests;
