//! Meters over HTTP: what a request uses, and what the meter then says. For the API and for `/verify`.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use aws_lc_rs::digest::{SHA256, digest};
use passerby_actors::domain::{Count, MeterOperation, Reading, UserId};
use passerby_actors::handle;
use serde::Serialize;
use utoipa::ToSchema;

use super::v1::rfc3339;
use super::{Context, within_time};
use crate::config::{MeterRule, Window};

/// One use of a meter, as a request asks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use<'a> {
    /// The meter's name.
    pub(crate) meter: &'a str,
    /// How much; 0 looks.
    pub(crate) amount: u32,
    /// What is used.
    pub(crate) item: Option<&'a str>,
    /// Which request it is, if that can come twice.
    pub(crate) operation: Option<&'a [u8]>,
}

/// What a meter says.
#[derive(Serialize, ToSchema)]
pub(crate) struct MeterView {
    /// The meter's name.
    #[schema(example = "articles")]
    name: String,
    /// Used in this period.
    #[schema(example = 2)]
    used: u32,
    /// Allowed in a period.
    #[schema(example = 5)]
    limit: u32,
    /// What is left.
    #[schema(example = 3)]
    remaining: u32,
    /// When a new period begins (RFC 3339).
    #[schema(format = DateTime, example = "2026-02-01T00:00:00Z")]
    resets: String,
    /// Whether this use is within the allowance; of a meter that was only looked at, whether there is something left.
    pub(crate) allowed: bool,
}

/// The first 8 bytes of the SHA-256: what a reader reads is not written down.
fn fingerprint(text: &[u8]) -> u64 {
    let hash = digest(&SHA256, text);
    hash.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn view(name: &str, rule: &MeterRule, reading: &Reading) -> MeterView {
    MeterView {
        name: name.to_owned(),
        used: reading.used,
        limit: rule.limit,
        remaining: rule.limit.saturating_sub(reading.used),
        resets: rfc3339(reading.resets),
        allowed: reading.allowed,
    }
}

fn count(context: &Context, rule: &MeterRule, wish: Use<'_>) -> Count {
    let now = context.server.clock().wall_s();
    Count {
        meter: wish.meter.into(),
        period: rule.period(now),
        rolls: matches!(rule.window, Window::Rolling(_)),
        limit: rule.limit,
        amount: wish.amount,
        item: wish.item.filter(|_| rule.once).map(|item| fingerprint(item.as_bytes())),
        operation: wish.operation.map(|name| {
            let asks = [&wish.amount.to_be_bytes(), wish.item.unwrap_or_default().as_bytes()].concat();
            // never 0, which says that it is not known
            MeterOperation { name: fingerprint(name), asks: fingerprint(&asks) as u32 | 1 }
        }),
        now,
    }
}

/// Counts a use by this user. `None` if there is no such meter.
///
/// # Errors
/// The user is gone or disabled; or the use cannot be written.
pub(crate) async fn used(context: &Context, user: &UserId, wish: Use<'_>) -> Result<Option<MeterView>, handle::Error> {
    let Some(rule) = context.server.settings.meters.get(wish.meter) else { return Ok(None) };
    let reading = within_time(context, context.handle.count(user, count(context, rule, wish))).await?;
    Ok(Some(view(wish.meter, rule, &reading)))
}

/// What a meter says to a reader who is not made yet: nothing is used. `None` if there is no such meter.
pub(crate) fn unused(context: &Context, meter: &str) -> Option<MeterView> {
    let rule = context.server.settings.meters.get(meter)?;
    let reading = Reading { used: 0, allowed: true, resets: rule.period(context.server.clock().wall_s()).end };
    Some(view(meter, rule, &reading))
}

/// All meters of a user, without using any.
pub(crate) fn all(context: &Context, user: &UserId) -> Vec<MeterView> {
    let meters = context.handle.load(user).map(|user| user.meters()).unwrap_or_default();
    let look = |(name, rule): (&String, &MeterRule)| {
        let wish = Use { meter: name, amount: 0, item: None, operation: None };
        // a look has no name that another use could have
        let (_, reading) = meters.count(&count(context, rule, wish)).ok()?;
        Some(view(name, rule, &reading))
    };
    context.server.settings.meters.iter().filter_map(look).collect()
}

impl MeterView {
    /// The same facts as headers, for a proxy.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        for (name, number) in [
            ("x-passerby-meter-used", self.used),
            ("x-passerby-meter-limit", self.limit),
            ("x-passerby-meter-remaining", self.remaining),
        ] {
            headers.insert(HeaderName::from_static(name), number.into());
        }
        if let Ok(resets) = HeaderValue::from_str(&self.resets) {
            headers.insert(HeaderName::from_static("x-passerby-meter-resets"), resets);
        }
    }
}
