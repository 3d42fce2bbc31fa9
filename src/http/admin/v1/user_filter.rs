//! Which users an admin means: the fields of a filter, in a query and in a body.

use std::ops::Range;

use passerby_actors::domain::{ServiceClock, ServiceTime};
use passerby_actors::handle::UserFilter;
use serde_json::{Map, Value};

use crate::http::problem::Problem;
use crate::provider::ANON_USER;

/// The fields of a filter.
pub(super) const FIELDS: [&str; 9] = [
    "anonymous",
    "disabled",
    "never_came_back",
    "has_document",
    "provider",
    "created_from",
    "created_until",
    "seen_from",
    "seen_until",
];

/// The filter in these fields, which may have others. In a query all are texts.
///
/// # Errors
/// One of them is not what it should be.
pub(super) fn filter(fields: &Map<String, Value>, clock: &ServiceClock) -> Result<UserFilter, Problem> {
    let provider = match fields.get("provider") {
        None => None,
        Some(Value::String(name)) if name == ANON_USER => {
            return Err(Problem::bad_field(
                "provider is one of accounts: anonymous users are those with \"anonymous\": true",
            ));
        }
        Some(Value::String(name)) => Some(name.as_str().into()),
        Some(_) => return Err(Problem::bad_field("provider must be a text")),
    };
    // service time as the wall clock shows it now
    let first_s = clock.to_wall_s(0);
    let seen = between(fields, ["seen_from", "seen_until"])?.map(|seen| {
        let service = |ms: u64| {
            let since_s = i64::try_from(ms / 1000).unwrap_or(i64::MAX).saturating_sub(first_s);
            ServiceTime::try_from(since_s.max(0)).unwrap_or(ServiceTime::MAX)
        };
        service(seen.start)..service(seen.end)
    });
    Ok(UserFilter {
        anonymous: flag(fields, "anonymous")?,
        disabled: flag(fields, "disabled")?,
        unused: flag(fields, "never_came_back")?,
        document: flag(fields, "has_document")?,
        provider,
        created: between(fields, ["created_from", "created_until"])?,
        seen,
    })
}

fn flag(fields: &Map<String, Value>, name: &str) -> Result<Option<bool>, Problem> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::Bool(on)) => Ok(Some(*on)),
        Some(Value::String(text)) if text == "true" => Ok(Some(true)),
        Some(Value::String(text)) if text == "false" => Ok(Some(false)),
        Some(_) => Err(Problem::bad_field(format!("{name} must be true or false"))),
    }
}

/// Times in milliseconds, the end excluded; none if neither is given.
fn between(fields: &Map<String, Value>, [from, until]: [&str; 2]) -> Result<Option<Range<u64>>, Problem> {
    let time = |name: &str| match fields.get(name) {
        None => Ok(None),
        Some(text) => {
            let time = text.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
            let ms = time.and_then(|time| u64::try_from(time.as_millisecond()).ok());
            let bad = || Problem::bad_field(format!("{name} must be a time such as \"2027-01-31T00:00:00Z\""));
            ms.map(Some).ok_or_else(bad)
        }
    };
    let (from, until) = (time(from)?, time(until)?);
    Ok((from.is_some() || until.is_some()).then(|| from.unwrap_or(0)..until.unwrap_or(u64::MAX)))
}
