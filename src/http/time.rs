//! Times as people and programs read them.

use passerby_actors::domain::UserState;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A Unix time in seconds as RFC 3339 has it, in UTC.
pub(crate) fn rfc3339(unix_s: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix_s).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}

/// When a user was created.
pub(crate) fn created(user: &UserState) -> String {
    rfc3339(i64::try_from(user.created_ms() / 1000).unwrap_or(i64::MAX))
}
