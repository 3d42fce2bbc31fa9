//! What is going on: figures of now, of the last hour by the minute, of the last 30 days by the day; and the meters.

use std::sync::atomic::Ordering;

use actix_web::http::StatusCode;
use serde_json::{Map, Value, json};

use super::shown::time;
use crate::admin::Role;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::Answer;
use crate::stats::{DAYS, MINUTES, NAMES, Numbers, Tally};

pub(super) fn rows() -> Vec<Row> {
    let read = Some(Role::Read);
    vec![row("GET /v1/admin/overview", read, None, overview), row("GET /v1/admin/meters", read, None, meters)]
}

fn sum(tallies: &[Tally]) -> Tally {
    tallies.iter().fold(Tally::default(), |mut sum, tally| {
        sum.add(tally);
        sum
    })
}

/// Each kind as numbers, the oldest first.
fn series(tallies: &[Tally]) -> Map<String, Value> {
    let numbers = |name: &str| tallies.iter().map(|tally| tally.kinds.get(name).copied().unwrap_or(0)).collect();
    NAMES.into_iter().map(|name| (name.to_owned(), numbers(name))).collect()
}

/// When the first of so many steps begins, of which that of now is the last.
fn from(now_s: u64, step_s: u64, steps: usize) -> String {
    time((now_s / step_s).saturating_sub(steps as u64 - 1) * step_s * 1000)
}

async fn overview(asked: Asked) -> Answer {
    let server = &asked.context.server;
    server.look_at_figures();
    let (hour, month, now_s) = (server.stats.minutes(), server.stats.days(), server.wall_s());
    let store = &server.store;
    let (users, accounts) = (store.users(), store.accounts());
    let (of_hour, of_month) = (sum(&hour), sum(&month));
    let of = |name: &str| of_month.kinds.get(name).copied().unwrap_or(0);
    let started_ms = server.core.started_ms();
    let body = json!({
        "now": {
            "users": users,
            "anonymous": users.saturating_sub(accounts),
            "accounts": accounts,
            "live": server.core.live_users(),
            "sockets": server.sockets.count(),
            "connections": server.connections.count(),
            "memory_bytes": memory_bytes(),
            "journal_bytes": store.stats().journal_bytes.load(Ordering::Relaxed),
            "document_bytes": store.document_bytes(),
            "user_index": server.core.has_user_index(),
            "started": time(started_ms),
            "uptime_s": server.clock().wall_ms().saturating_sub(started_ms) / 1000,
        },
        "hour": { "from": from(now_s, 60, MINUTES), "step_s": 60, "series": series(&hour) },
        "month": { "from": from(now_s, 86_400, DAYS), "step_s": 86_400, "series": series(&month) },
        "refusals": { "hour": of_hour.refusals, "month": of_month.refusals },
        "funnel": {
            "month": { "visitors": of("new"), "came_back": of("came_back"), "converted": of("converted") },
        },
    });
    Ok(json(StatusCode::OK, &body))
}

/// Memory of this process that is in use, as the kernel counts it; none where it does not say.
fn memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    resident.parse::<u64>().ok()?.checked_mul(1024)
}

/// The meters as they are configured, with how often each was used beyond its allowance.
async fn meters(asked: Asked) -> Answer {
    let server = &asked.context.server;
    server.look_at_figures();
    let (of_hour, of_month) = (sum(&server.stats.minutes()).walls, sum(&server.stats.days()).walls);
    let meters: Vec<_> = server
        .settings
        .meters
        .iter()
        .map(|(name, rule)| {
            let walls = |numbers: &Numbers| numbers.get(name).copied().unwrap_or(0);
            let mut shown = json!({ "name": name, "walls": { "hour": walls(&of_hour), "month": walls(&of_month) } });
            rule.options().into_iter().for_each(|(option, value)| shown[option] = value);
            shown
        })
        .collect();
    Ok(json(StatusCode::OK, &json!({ "meters": meters })))
}
