//! The state of the store: whether it can write, what the start found, journal and generations, how full each bound is.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::http::StatusCode;
use passerby_actors::domain::Family;
use passerby_actors::store::Health;
use serde_json::{Map, Value, json};

use super::shown::time;
use crate::admin::Role;
use crate::config::Storage;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::Answer;

pub(super) fn rows() -> Vec<Row> {
    vec![row("GET /v1/admin/store", Some(Role::Read), None, store)]
}

async fn store(asked: Asked) -> Answer {
    let server = &asked.context.server;
    let (store, stats, opened) = (&server.store, server.store.stats(), server.store.opened());
    let number = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let health = match store.health() {
        Health::Writable => "writable",
        Health::Failing => "failing",
        Health::Stopped => "stopped",
    };
    let keys: Map<String, Value> =
        Family::NAMES.into_iter().map(|(family, name)| (name.to_owned(), Value::from(store.keys(family)))).collect();
    let bounds: Vec<_> = server.core.bounds().iter().map(|bound| {
        json!({ "name": bound.name, "used": bound.used, "limit": bound.most, "percent": bound.percent(), "when_full": bound.then })
    }).collect();
    // what belongs to it is there before it is counted
    let completed = stats.generations.load(Ordering::Acquire);
    let completed_ms = number(&stats.generation_completed_ms);
    let body = json!({
        "health": health,
        "storage": if server.settings.storage == Storage::Disk { "disk" } else { "memory" },
        "keys": keys,
        "identities": store.identities(),
        "aliases": store.aliases(),
        "document_bytes": store.document_bytes(),
        "bounds": bounds,
        "service_time_s": store.clock().now(),
        "recovery": {
            "state": "done",
            "users": opened.users,
            "groups": opened.groups,
            "torn_bytes": opened.torn_bytes,
            "spoilt_end": opened.spoilt_end,
            "loss": opened.loss,
            "fresh": opened.fresh,
        },
        "journal": {
            "bytes": number(&stats.journal_bytes),
            "groups": number(&stats.groups),
            "commits_waiting": store.waiting(),
            "write_failures": number(&stats.write_failures),
        },
        "generations": {
            "current": number(&stats.generation),
            "snapshot_bytes": number(&stats.snapshot_bytes),
            "completed": completed,
            "failed": number(&stats.generation_failures),
            "last_completed": (completed_ms > 0).then(|| time(completed_ms)),
        },
    });
    Ok(json(StatusCode::OK, &body))
}
