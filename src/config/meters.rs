//! The tables `[meter.NAME]` of `passerby.toml`: what is counted, how much of it is free, and from when to when.

use std::collections::BTreeMap;

use ::config::{Value as Found, ValueKind};
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, ZonedDateTime};
use passerby_actors::domain::{MAX_ITEMS, MAX_METERS, MeterMerge, Period};
use serde_json::Value;
use url::Url;

use super::kind::{described, seconds_in};
use super::suggest::no_such;
use super::tables::{Explained, InTable, key, toml};
use super::{SettingsError, SettingsErrors};

/// From when to when an allowance lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Window {
    /// Midnight to midnight.
    Day,
    /// Monday to Monday.
    Week,
    /// The first to the first.
    Month,
    /// This many seconds from the first use on.
    Rolling(u32),
}

/// How much accounts are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfAccounts {
    /// As much as anyone.
    Same,
    /// So much in a period.
    Limit(u32),
    /// As much as they like.
    Free,
}

/// A meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterRule {
    /// How much is allowed in a period.
    pub limit: u32,
    /// How much accounts are allowed.
    pub accounts: OfAccounts,
    /// An account with this entitlement is allowed as much as it likes.
    pub entitlement: Option<String>,
    /// Where a visitor is sent whose allowance is used up.
    pub page: Option<String>,
    /// The period.
    pub window: Window,
    /// Whose days, weeks and months they are.
    pub time_zone: TimeZone,
    /// Whether an item counts once in a period.
    pub once: bool,
    /// How the uses of two users become one.
    pub merge: MeterMerge,
}

/// The keys of the tables, in the order in which they are explained.
pub(super) const EXPLAINED: &[Explained] = &[
    key("meter.NAME.limit", "1 to 1000000 (1000 with once)", "none (it must be set)")
        .about("How much of it is free in a period."),
    key("meter.NAME.accounts", "free, or 1 to 1000000 (1000 with once)", "as meter.NAME.limit")
        .about("How much of it accounts have in a period; free lifts the meter for them."),
    key("meter.NAME.entitlement", "1 to 64 characters of A-Z a-z 0-9 . _ : -", "none")
        .about("Lifts the meter for accounts that have this entitlement: one that a provider's metadata field `entitlements` names."),
    key("meter.NAME.page", "an http(s) URL or a path that begins with /", "none")
        .about("Where a visitor is sent whose allowance is used up: in the header X-Passerby-Meter-Page, and with over=303."),
    key("meter.NAME.window", "day, week (from Monday), month, or rolling", "month").about("The period."),
    key("meter.NAME.rolling", "1 to 315360000 s", "none")
        .about("How long a rolling period lasts from the first use on."),
    key("meter.NAME.time_zone", "an IANA name such as Europe/Berlin", "UTC")
        .about("Whose days, weeks and months they are."),
    key("meter.NAME.once", "true or false", "true").about("Whether an item that is named counts once in a period."),
    key("meter.NAME.merge", "sum or max", "sum")
        .about("What becomes of the uses of an anonymous user who becomes part of an account."),
];

/// One table as lines of TOML.
pub(super) fn effective((name, rule): (&String, &MeterRule)) -> String {
    let lines = rule.options().into_iter().map(|(key, value)| format!("{key} = {}\n", toml(&value)));
    std::iter::once(format!("[meter.{name}]\n")).chain(lines).collect()
}

/// Each option of one table.
pub(super) fn values((name, rule): (&String, &MeterRule)) -> Vec<InTable> {
    let of_option = |(option, value)| InTable {
        key: format!("meter.{name}.{option}"),
        value,
        explained: EXPLAINED.iter().find(|of| of.key == format!("meter.NAME.{option}")),
    };
    rule.options().into_iter().map(of_option).collect()
}

/// Reads the value of the key `meter` in the file `origin`.
pub(super) fn read(origin: &str, value: Found, wrong: &mut SettingsErrors) -> BTreeMap<String, MeterRule> {
    let fault = |key: &str, reason: String| SettingsError::of_key(origin, key, reason);
    let table = |key: &str, value: Found| match value.kind {
        ValueKind::Table(table) => Ok(table.into_iter().collect::<BTreeMap<_, _>>()),
        other => Err(fault(key, format!("expected a table, found {}", described(&other)))),
    };
    let mut meters = BTreeMap::new();
    for (name, value) in wrong.take(table("meter", value)).unwrap_or_default() {
        let key = format!("meter.{name}");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
            wrong.push(fault(&key, "expected a name of 1 to 32 of a-z 0-9 -".to_owned()));
            continue;
        }
        let Some(table) = wrong.take(table(&key, value)) else { continue };
        match rule(&key, table) {
            Ok(rule) => drop(meters.insert(name, rule)),
            Err(faults) => {
                faults.into_iter().for_each(|(option, reason)| wrong.push(fault(&format!("{key}.{option}"), reason)));
            }
        }
    }
    if meters.len() > MAX_METERS {
        wrong.push(fault("meter", format!("there are {}, and may be {MAX_METERS}", meters.len())));
    }
    meters
}

/// An option and what is wrong with it.
type Fault = (String, String);

fn rule(key: &str, table: BTreeMap<String, Found>) -> Result<MeterRule, Vec<Fault>> {
    let mut limit = None;
    let mut rolling = None;
    let mut window = "month".to_owned();
    let (mut time_zone, mut once, mut merge) = (TimeZone::UTC, true, MeterMerge::Sum);
    let (mut accounts, mut entitlement, mut page) = (OfAccounts::Same, None, None);
    let given: Vec<String> = table.keys().cloned().collect();
    let mut faults: Vec<Fault> = Vec::new();
    let mut take = |option: String, value: Found| {
        let found = || described(&value.kind);
        let wrong = |expected: &str| (option.clone(), format!("expected {expected}, found {}", found()));
        match (option.as_str(), &value.kind) {
            ("limit", ValueKind::I64(number @ 1..=1_000_000)) => limit = u32::try_from(*number).ok(),
            ("limit", _) => return Err(wrong("1 to 1000000")),
            ("accounts", ValueKind::I64(number @ 1..=1_000_000)) => {
                accounts = u32::try_from(*number).map_or(OfAccounts::Same, OfAccounts::Limit);
            }
            ("accounts", ValueKind::String(text)) if text == "free" => accounts = OfAccounts::Free,
            ("accounts", _) => return Err(wrong("\"free\" or 1 to 1000000")),
            ("entitlement", ValueKind::String(text)) if is_entitlement(text) => entitlement = Some(text.clone()),
            ("entitlement", _) => return Err(wrong("1 to 64 characters of A-Z a-z 0-9 . _ : -")),
            ("page", ValueKind::String(text)) if is_page(text) => page = Some(text.clone()),
            ("page", _) => return Err(wrong("an http(s) URL or a path that begins with /")),
            ("rolling", value) => {
                let seconds = match value {
                    ValueKind::I64(number) => Some(*number),
                    ValueKind::String(text) => seconds_in(text),
                    _ => None,
                };
                rolling = match seconds {
                    Some(number @ 1..=315_360_000) => u32::try_from(number).ok(),
                    _ => return Err(wrong("1 to 315360000 s, as a number or a text such as 30d")),
                };
            }
            ("window", ValueKind::String(text)) => window.clone_from(text),
            ("time_zone", ValueKind::String(text)) => {
                time_zone = TimeZone::get(text).map_err(|_| wrong("an IANA name such as Europe/Berlin"))?;
            }
            ("once", ValueKind::Boolean(on)) => once = *on,
            ("merge", ValueKind::String(text)) if text == "sum" => merge = MeterMerge::Sum,
            ("merge", ValueKind::String(text)) if text == "max" => merge = MeterMerge::Max,
            ("window", _) => return Err(wrong("day, week, month or rolling")),
            ("time_zone", _) => return Err(wrong("an IANA name such as Europe/Berlin")),
            ("once", _) => return Err(wrong("true or false")),
            ("merge", _) => return Err(wrong("sum or max")),
            _ => {
                let known = EXPLAINED.iter().filter_map(|known| known.key.strip_prefix("meter.NAME."));
                let reason = no_such(&format!("{key}.{option}"), known.map(|known| format!("{key}.{known}")));
                return Err((option, reason));
            }
        }
        Ok(())
    };
    for (option, value) in table {
        faults.extend(take(option, value).err());
    }
    // one that is set and wrong has been reported already
    let is_given = |option: &str| given.iter().any(|given| given == option);
    let mut say = |option: &str, reason: String| faults.push((option.to_owned(), reason));
    if !is_given("limit") {
        say("limit", "is missing".to_owned());
    }
    let window = match (window.as_str(), rolling) {
        ("rolling", Some(seconds)) => Window::Rolling(seconds),
        (named @ ("day" | "week" | "month"), rolling) => {
            if rolling.is_some() {
                say("rolling", "has no effect without window = \"rolling\"".to_owned());
            }
            match named {
                "day" => Window::Day,
                "week" => Window::Week,
                _ => Window::Month,
            }
        }
        ("rolling", None) => {
            if !is_given("rolling") {
                say("rolling", "is missing".to_owned());
            }
            Window::Month
        }
        (other, _) => {
            say("window", format!("expected day, week, month or rolling, found {other:?}"));
            Window::Month
        }
    };
    let limit = limit.unwrap_or(1);
    let of_accounts = if let OfAccounts::Limit(limit) = accounts { limit } else { limit };
    for (option, limit) in [("limit", limit), ("accounts", of_accounts)] {
        if once && limit as usize > MAX_ITEMS {
            say(option, format!("expected 1 to {MAX_ITEMS} where an item counts once, found {limit}"));
            break;
        }
    }
    if faults.is_empty() {
        Ok(MeterRule { limit, accounts, entitlement, page, window, time_zone, once, merge })
    } else {
        Err(faults)
    }
}

/// It goes into a header.
fn is_entitlement(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
}

/// It goes into a header, as it stands.
fn is_page(text: &str) -> bool {
    let plain = text.len() <= 2048 && text.bytes().all(|byte| byte.is_ascii_graphic());
    let path = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\");
    let url = || Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    plain && (path || url())
}

impl MeterRule {
    /// What holds of it, under the keys that it has in `passerby.toml`; `rolling` in seconds.
    pub fn options(&self) -> Vec<(&'static str, Value)> {
        let (window, rolling) = match self.window {
            Window::Day => ("day", None),
            Window::Week => ("week", None),
            Window::Month => ("month", None),
            Window::Rolling(seconds) => ("rolling", Some(seconds)),
        };
        let accounts = match self.accounts {
            OfAccounts::Same => None,
            OfAccounts::Limit(limit) => Some(Value::from(limit)),
            OfAccounts::Free => Some(Value::from("free")),
        };
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let options = [
            ("limit", Some(Value::from(self.limit))),
            ("accounts", accounts),
            ("entitlement", text(&self.entitlement)),
            ("page", text(&self.page)),
            ("window", Some(Value::from(window))),
            ("rolling", rolling.map(Value::from)),
            ("time_zone", Some(Value::from(self.time_zone.iana_name().unwrap_or("UTC")))),
            ("once", Some(Value::from(self.once))),
            ("merge", Some(Value::from(if self.merge == MeterMerge::Max { "max" } else { "sum" }))),
        ];
        options.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The period of this moment (Unix time in seconds); for a rolling one, that which would begin now.
    pub fn period(&self, now: i64) -> Period {
        let rolling = |seconds: u32| Period { start: now, end: now.saturating_add(seconds.into()) };
        if let Window::Rolling(seconds) = self.window {
            return rolling(seconds);
        }
        // within the years that the calendar knows this cannot fail; beyond them a day is a day
        self.calendar(now).unwrap_or_else(|_| rolling(86_400))
    }

    fn calendar(&self, now: i64) -> Result<Period, jiff::Error> {
        let now: ZonedDateTime = Timestamp::from_second(now)?.to_zoned_datetime(self.time_zone.clone());
        let day = now.date();
        let (first, next) = match self.window {
            Window::Week => {
                let first = day.checked_sub(i64::from(day.weekday().since(Weekday::Monday)).days())?;
                (first, first.checked_add(1.week())?)
            }
            Window::Month => (day.first_of_month(), day.first_of_month().checked_add(1.month())?),
            Window::Day | Window::Rolling(_) => (day, day.tomorrow()?),
        };
        let second = |date: jiff::civil::Date| -> Result<i64, jiff::Error> {
            Ok(date.to_zoned_datetime(self.time_zone.clone())?.timestamp().as_second())
        };
        Ok(Period { start: second(first)?, end: second(next)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(window: Window, zone: &str) -> MeterRule {
        let time_zone = TimeZone::get(zone).unwrap();
        let (accounts, entitlement, page) = (OfAccounts::Same, None, None);
        MeterRule { limit: 1, accounts, entitlement, page, window, time_zone, once: true, merge: MeterMerge::Sum }
    }

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn periods_are_those_of_the_calendar_of_their_place() {
        let cases = [
            (Window::Month, "UTC", "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            (Window::Month, "Europe/Berlin", "2026-02-28T23:30:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
            (Window::Week, "UTC", "2026-11-26T10:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            (Window::Week, "UTC", "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            // the day on which the clocks go forward has 23 hours
            (Window::Day, "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            (Window::Day, "Asia/Kathmandu", "2026-01-01T18:15:00Z", "2026-01-01T18:15:00Z", "2026-01-02T18:15:00Z"),
            (Window::Rolling(60), "UTC", "2026-01-01T00:00:30Z", "2026-01-01T00:00:30Z", "2026-01-01T00:01:30Z"),
        ];
        for (window, zone, now, start, end) in cases {
            let period = of(window.clone(), zone).period(at(now));
            assert_eq!(period, Period { start: at(start), end: at(end) }, "{window:?} {zone} {now}");
        }
        let far = of(Window::Day, "UTC").period(i64::MAX - 5);
        assert_eq!(far, Period { start: i64::MAX - 5, end: i64::MAX });
    }
}
