//! Bulk jobs: one action on all users whom a filter takes, with a dry run, its progress, and a way to stop it.

use actix_web::http::StatusCode;
use passerby_actors::actor::{Bulk, BulkAction, BulkEnd, BulkJob, BulkTally, BulkUnderWay};
use passerby_actors::handle::Error;
use serde_json::{Value, json};

use super::shown::{no_content, time};
use super::user_filter::{FIELDS, filter};
use crate::admin::{By, Outcome, Role};
use crate::http::Context;
use crate::http::admin::asked::{Asked, Doubt, text};
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("POST /v1/admin/bulk", Some(Role::Operate), "bulk.begin", begin),
        row("GET /v1/admin/bulk", Some(Role::Read), None, progress),
        row("POST /v1/admin/bulk/{number}/stop", Some(Role::Operate), "bulk.stop", stop),
    ]
}

fn tally(tally: &BulkTally) -> Value {
    let BulkTally { matched, changed, removed, unchanged, busy } = tally;
    json!({ "matched": matched, "changed": changed, "removed": removed, "unchanged": unchanged, "busy": busy })
}

fn of(bulk: &Bulk) -> Value {
    let (state, error) = match bulk.end {
        None => ("running", None),
        Some(BulkEnd::Done) => ("done", None),
        Some(BulkEnd::Stopped) => ("stopped", None),
        Some(BulkEnd::Failed(error)) => ("failed", Some(error.to_string())),
    };
    json!({
        "number": bulk.number,
        "action": bulk.action.name(),
        "dry_run": bulk.is_dry_run,
        "state": state,
        "error": error,
        "began": time(bulk.began_ms),
        "ended": bulk.ended_ms.map(time),
        "about": bulk.about,
        "users": tally(&bulk.tally),
    })
}

/// `action` (`end-sessions`, `disable`, `enable` or `delete`), `filter`, and `dry_run`. Whoever means everybody says
/// `"filter": {}`.
async fn begin(asked: Asked) -> Answer {
    let fields = asked.fields(&["action", "filter", "dry_run"])?;
    let action = text(&fields, "action")?;
    let actions = [BulkAction::EndSessions, BulkAction::Disable, BulkAction::Enable, BulkAction::Delete];
    let action = actions
        .into_iter()
        .find(|known| known.name() == action)
        .ok_or_else(|| Problem::bad_field("action must be \"end-sessions\", \"disable\", \"enable\" or \"delete\""))?;
    let is_dry_run = match fields.get("dry_run") {
        None => false,
        Some(Value::Bool(on)) => *on,
        Some(_) => return Err(Problem::bad_field("dry_run must be true or false")),
    };
    let Some(Value::Object(of_users)) = fields.get("filter") else {
        return Err(Problem::bad_field("filter must be an object, and {} takes everybody"));
    };
    if let Some(unknown) = of_users.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(Problem::bad_field(format!("{unknown:?} is no field of a filter: it has {}", FIELDS.join(", "))));
    }
    let filter = filter(of_users, asked.context.server.clock())?;
    let mut entry = asked.by()?.did("bulk.begin", None, Outcome::Done);
    let mut after = json!({ "action": action.name(), "filter": of_users, "dry_run": is_dry_run });
    entry.after = Some(after.clone());
    let under_way = |BulkUnderWay(number)| {
        let detail = format!("bulk job {number} is under way, and there is one at a time");
        Problem::new(StatusCode::CONFLICT, "bulk-under-way", detail)
    };
    if let Some(running) = asked.handle().bulk().filter(|bulk| bulk.end.is_none()) {
        return Err(under_way(BulkUnderWay(running.number)));
    }
    // written first: whatever is done to users has an entry before it
    let (audit, by) = (&asked.admins().audit, asked.by()?);
    let mut begun = audit.begin(asked.handle(), entry).await?;
    let job = asked.handle().begin_bulk(action, filter, is_dry_run).map_err(under_way);
    let outcome = if job.is_ok() { Outcome::Done } else { Outcome::Refused };
    let answer = job.map(|job| {
        let bulk = job.look();
        after["number"] = bulk.number.into();
        begun.tell(after);
        let answer = json(StatusCode::ACCEPTED, &of(&bulk));
        actix_rt::spawn(note_end(asked.context.clone(), by, job));
        answer
    });
    audit.end(asked.handle(), begun, outcome).await;
    answer
}

/// Writes into the audit log how a job ended.
async fn note_end(context: Context, by: By, job: BulkJob) {
    let bulk = job.ended().await;
    let outcome = if matches!(bulk.end, Some(BulkEnd::Failed(_))) { Outcome::Unknown } else { Outcome::Done };
    let mut entry = by.did("bulk.end", Some(&bulk.number.to_string()), outcome);
    entry.after = Some(of(&bulk));
    if context.server.admins.audit.write(&context.handle, &entry).await.is_err() {
        tracing::error!(number = bulk.number, "the end of a bulk job could not be written into the audit log");
    }
}

/// The job that was begun last; none since the server started, 404.
async fn progress(asked: Asked) -> Answer {
    let bulk = asked.handle().bulk();
    let none = || Problem::new(StatusCode::NOT_FOUND, "no-bulk-job", "no bulk job was begun since the server started");
    Ok(json(StatusCode::OK, &of(&bulk.ok_or_else(none)?)))
}

async fn stop(asked: Asked) -> Answer {
    let running = asked.handle().bulk().filter(|bulk| bulk.end.is_none()).map(|bulk| bulk.number);
    let none = || Problem::new(StatusCode::NOT_FOUND, "no-bulk-job", "no bulk job of this number is under way");
    let number = running.filter(|running| running.to_string() == asked.parameter("number")).ok_or_else(none)?;
    let handle = asked.handle().clone();
    let stopping = async move { if handle.stop_bulk(number) { Ok(()) } else { Err(NotStopped::Over) } };
    match asked.audited("bulk.stop", &number.to_string(), (None, None), stopping).await? {
        Ok(()) => Ok(no_content()),
        Err(NotStopped::Over) => Err(none()),
        Err(NotStopped::Core(error)) => Err(error.into()),
    }
}

/// Why a job was not stopped.
enum NotStopped {
    /// It ended meanwhile.
    Over,
    Core(Error),
}

impl From<Error> for NotStopped {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}

impl Doubt for NotStopped {
    fn is_unknown(&self) -> bool {
        matches!(self, Self::Core(error) if error.is_unknown())
    }
}
