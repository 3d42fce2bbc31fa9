//! Meters over HTTP: what a request uses, and what the meter then says. For the API and for `/verify`.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use aws_lc_rs::digest::{SHA256, digest};
use passerby_actors::domain::{Count, MAX_ITEMS, MeterOperation, Reading, UserId, UserState};
use passerby_actors::handle;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::context::{Context, within_time};
use super::time::rfc3339;
use crate::config::{MeterRule, OfAccounts, Window};

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
    /// Allowed in this period, with what the operator granted; null if the meter is lifted for the user.
    #[schema(required = true, example = 5)]
    limit: Option<u32>,
    /// What is left; null if the meter is lifted for the user.
    #[schema(required = true, example = 3)]
    remaining: Option<u32>,
    /// When a new period begins (RFC 3339).
    #[schema(format = DateTime, example = "2026-02-01T00:00:00Z")]
    resets: String,
    /// Whether this use is within the allowance; of a meter that was only looked at, whether there is something left.
    pub(crate) allowed: bool,
    /// What lifts the meter for the user, so that nothing is counted: `accounts`, or the name of an entitlement.
    #[serde(skip_serializing_if = "Option::is_none")]
    lifted: Option<String>,
}

/// How much a user is allowed.
enum Allowance {
    Limited(u32),
    /// Any amount, because of this.
    Lifted(String),
}

/// The metadata field of an identity that says what its account is entitled to. Its provider fills it from a claim that the operator
/// names; no user writes it.
const ENTITLEMENTS: &str = "entitlements";

/// Whether one of the account's identities says so: in a list of texts, in one text with spaces between, or in an object from names
/// to the Unix time until when.
fn is_entitled(user: &UserState, wanted: &str, now: i64) -> bool {
    user.identities().iter().any(|identity| {
        let data: Value = serde_json::from_str(&identity.data).unwrap_or_default();
        match data.get(ENTITLEMENTS) {
            Some(Value::Array(names)) => names.iter().any(|name| name == wanted),
            Some(Value::String(names)) => names.split_ascii_whitespace().any(|name| name == wanted),
            Some(Value::Object(until)) => {
                until.get(wanted).and_then(Value::as_f64).is_some_and(|until| (now as f64) < until)
            }
            _ => false,
        }
    })
}

fn allowance(rule: &MeterRule, user: &UserState, now: i64) -> Allowance {
    if user.record.is_anonymous() {
        return Allowance::Limited(rule.limit);
    }
    if let Some(wanted) = rule.entitlement.as_ref().filter(|wanted| is_entitled(user, wanted, now)) {
        return Allowance::Lifted(wanted.clone());
    }
    match rule.accounts {
        OfAccounts::Same => Allowance::Limited(rule.limit),
        OfAccounts::Limit(limit) => Allowance::Limited(limit),
        OfAccounts::Free => Allowance::Lifted("accounts".to_owned()),
    }
}

/// The first 8 bytes of the SHA-256: what a reader reads is not written down.
fn fingerprint(text: &[u8]) -> u64 {
    let hash = digest(&SHA256, text);
    hash.as_ref().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn view(name: &str, allowance: Allowance, reading: &Reading) -> MeterView {
    let (limit, lifted) = match allowance {
        Allowance::Limited(limit) => (Some(limit.saturating_add(reading.granted)), None),
        Allowance::Lifted(by) => (None, Some(by)),
    };
    MeterView {
        name: name.to_owned(),
        used: reading.used,
        limit,
        remaining: limit.map(|limit| limit.saturating_sub(reading.used)),
        resets: rfc3339(reading.resets),
        allowed: reading.allowed || lifted.is_some(),
        lifted,
    }
}

fn count(context: &Context, rule: &MeterRule, limit: u32, wish: Use<'_>) -> Count {
    let now = context.server.clock().wall_s();
    Count {
        meter: wish.meter.into(),
        period: rule.period(now),
        rolls: matches!(rule.window, Window::Rolling(_)),
        limit,
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

/// Counts a use by this user; nothing where the meter is lifted for the user. `None` if there is no such meter.
///
/// # Errors
/// The user is gone or disabled; or the use cannot be written.
pub(crate) async fn used(context: &Context, user: &UserId, wish: Use<'_>) -> Result<Option<MeterView>, handle::Error> {
    let Some(rule) = context.server.settings.meters.get(wish.meter) else { return Ok(None) };
    let mut limit = rule.limit;
    if (rule.accounts != OfAccounts::Same || rule.entitlement.is_some())
        && let Some(user) = context.handle.load(user)
    {
        match allowance(rule, &user, context.server.clock().wall_s()) {
            Allowance::Limited(other) => limit = other,
            Allowance::Lifted(_) => return Ok(look(context, wish.meter, rule, &user)),
        }
    }
    let reading = within_time(context, context.handle.count(user, count(context, rule, limit, wish))).await?;
    if !reading.allowed && wish.amount > 0 {
        context.server.stats.hit_wall(wish.meter);
    }
    Ok(Some(view(wish.meter, Allowance::Limited(limit), &reading)))
}

/// What a meter says to a reader who is not stored yet: nothing is used. `None` if there is no such meter.
pub(crate) fn unused(context: &Context, meter: &str) -> Option<MeterView> {
    let rule = context.server.settings.meters.get(meter)?;
    let resets = rule.period(context.server.clock().wall_s()).end;
    let reading = Reading { used: 0, allowed: true, resets, granted: 0 };
    Some(view(meter, Allowance::Limited(rule.limit), &reading))
}

/// What a meter says to a user, without a use.
fn look(context: &Context, meter: &str, rule: &MeterRule, user: &UserState) -> Option<MeterView> {
    looked_at(context, meter, rule, user).map(|(view, _)| view)
}

/// The same with what was granted.
fn looked_at(context: &Context, meter: &str, rule: &MeterRule, user: &UserState) -> Option<(MeterView, u32)> {
    let allowance = allowance(rule, user, context.server.clock().wall_s());
    let limit = if let Allowance::Limited(limit) = allowance { limit } else { rule.limit };
    let wish = Use { meter, amount: 0, item: None, operation: None };
    // a look has no name that another use could have
    let (_, reading) = user.meters().count(&count(context, rule, limit, wish)).ok()?;
    Some((view(meter, allowance, &reading), reading.granted))
}

/// All meters of a user, without using any.
pub(crate) fn all(context: &Context, user: &UserId) -> Vec<MeterView> {
    let Some(user) = context.handle.load(user) else { return Vec::new() };
    let meters = context.server.settings.meters.iter();
    meters.filter_map(|(name, rule)| look(context, name, rule, &user)).collect()
}

/// The meters of a user as admins see them: those that are configured, and what is kept of others.
pub(crate) fn of_admin(context: &Context, user: &UserState) -> Vec<Value> {
    let configured = &context.server.settings.meters;
    let mut meters: Vec<_> =
        configured.iter().filter_map(|(name, rule)| Some(admin_view(&looked_at(context, name, rule, user)?))).collect();
    let kept = user.meters();
    let others = kept.kept().filter(|(name, ..)| !configured.contains_key(*name));
    meters.extend(others.map(|(name, period, used, _)| {
        json!({ "name": name, "configured": false, "used": used, "granted": 0, "limit": null, "left": null, "resets": rfc3339(period.end) })
    }));
    meters
}

fn admin_view((view, granted): &(MeterView, u32)) -> Value {
    json!({
        "name": view.name,
        "configured": true,
        "used": view.used,
        "granted": granted,
        "limit": view.limit.map(|limit| limit.saturating_sub(*granted)),
        "left": view.remaining,
        "lifted": view.lifted,
        "resets": view.resets,
    })
}

/// What an admin does to a meter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Adjustment {
    /// Allows so many uses more in the period that runs.
    Grant(u32),
    /// Forgets what is used, and what was granted.
    Reset,
}

/// Why a meter is not adjusted.
#[derive(Debug)]
pub(crate) enum NotAdjusted {
    /// There is no such meter.
    NoSuchMeter,
    /// It tells items apart, and may not allow more than this.
    TooMuch(usize),
}

/// What adjusts a meter, and the meter as it is before.
///
/// # Errors
/// See [`NotAdjusted`].
pub(crate) fn adjusting(
    context: &Context,
    user: &UserState,
    meter: &str,
    adjustment: Adjustment,
) -> Result<(Count, Value), NotAdjusted> {
    let rule = context.server.settings.meters.get(meter).ok_or(NotAdjusted::NoSuchMeter)?;
    let before = looked_at(context, meter, rule, user).ok_or(NotAdjusted::NoSuchMeter)?;
    let amount = if let Adjustment::Grant(amount) = adjustment { amount } else { 0 };
    let allowed = u64::from(before.0.limit.unwrap_or(rule.limit)) + u64::from(amount);
    if rule.once && amount > 0 && allowed > MAX_ITEMS as u64 {
        return Err(NotAdjusted::TooMuch(MAX_ITEMS));
    }
    let limit = if let Allowance::Limited(limit) = allowance(rule, user, context.server.clock().wall_s()) {
        limit
    } else {
        rule.limit
    };
    Ok((count(context, rule, limit, Use { meter, amount, item: None, operation: None }), admin_view(&before)))
}

/// What a meter says to an admin.
pub(crate) fn admin_look(context: &Context, user: &UserState, meter: &str) -> Option<Value> {
    let rule = context.server.settings.meters.get(meter)?;
    Some(admin_view(&looked_at(context, meter, rule, user)?))
}

/// Where a visitor is sent whose allowance of a meter is used up.
pub(crate) fn page<'a>(context: &'a Context, meter: &str) -> Option<&'a str> {
    context.server.settings.meters.get(meter)?.page.as_deref()
}

impl MeterView {
    /// The same facts as headers, for a proxy.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        if let Some(by) = self.lifted.as_ref().and_then(|by| HeaderValue::from_str(by).ok()) {
            headers.insert(HeaderName::from_static("x-passerby-meter-lifted"), by);
            return;
        }
        for (name, number) in [
            ("x-passerby-meter-used", Some(self.used)),
            ("x-passerby-meter-limit", self.limit),
            ("x-passerby-meter-remaining", self.remaining),
        ] {
            if let Some(number) = number {
                headers.insert(HeaderName::from_static(name), number.into());
            }
        }
        if let Ok(resets) = HeaderValue::from_str(&self.resets) {
            headers.insert(HeaderName::from_static("x-passerby-meter-resets"), resets);
        }
    }
}
