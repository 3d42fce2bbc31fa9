//! The audit log: pages, and all of it as JSON lines.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream;
use serde_json::{Map, Value, json};

use super::shown::time;
use crate::admin::{Entry, Filter, Role};
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};
use crate::http::read::of_query;

/// Entries of a page: without a word, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("GET /v1/admin/audit", Some(Role::Read), None, page),
        row("GET /v1/admin/audit/export", Some(Role::Read), None, export),
    ]
}

fn filter(query: &Map<String, Value>) -> Filter {
    let text = |name: &str| query.get(name).and_then(Value::as_str).map(str::to_owned);
    Filter { who: text("who"), what: text("what"), whom: text("whom") }
}

fn of((at_ms, entry): &(u64, Entry)) -> Value {
    let mut value = json!({ "at": time(*at_ms) });
    if let (Value::Object(told), Ok(Value::Object(entry))) = (&mut value, serde_json::to_value(entry)) {
        told.extend(entry);
    }
    value
}

/// `who`, `what`, `whom`, `cursor` and `limit`. The newest first.
async fn page(asked: Asked) -> Answer {
    let query = of_query(&asked.request, &["who", "what", "whom", "cursor", "limit"])?;
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail);
    let cursor = match query.get("cursor").and_then(Value::as_str) {
        None => None,
        Some(text) => Some(URL_SAFE_NO_PAD.decode(text).map_err(|_| bad("cursor is not one of an answer"))?),
    };
    let most = match query.get("limit").and_then(Value::as_str).map(str::parse) {
        None => PAGE,
        Some(Ok(limit @ 1..=LARGEST_PAGE)) => limit,
        Some(_) => return Err(bad("limit must be a number from 1 to 500")),
    };
    let audit = &asked.admins().audit;
    let page = audit.page(asked.handle(), &filter(&query), cursor.as_deref(), most)?;
    let next = page.next.map(|next| URL_SAFE_NO_PAD.encode(next));
    Ok(json(StatusCode::OK, &json!({ "entries": page.entries.iter().map(of).collect::<Vec<_>>(), "next": next })))
}

/// All that the filter takes, a JSON object a line, the newest first.
async fn export(asked: Asked) -> Answer {
    let filter = filter(&of_query(&asked.request, &["who", "what", "whom"])?);
    // `None`: from the newest on; `Some(None)`: nothing is left
    let begin: Option<Option<Box<[u8]>>> = None;
    let lines = stream::unfold((asked, filter, begin), async |(asked, filter, cursor)| {
        let cursor = match cursor {
            None => None,
            Some(Some(cursor)) => Some(cursor),
            Some(None) => return None,
        };
        let page = asked.admins().audit.next_page(asked.handle(), &filter, cursor.as_deref(), LARGEST_PAGE).await;
        // the connection then breaks off: half a log does not look like a whole one
        let page = match page {
            Ok(page) => page,
            Err(fault) => return Some((Err(fault), (asked, filter, Some(None)))),
        };
        let text: String = page.entries.iter().map(|entry| format!("{}\n", of(entry))).collect();
        Some((Ok(Bytes::from(text)), (asked, filter, Some(page.next))))
    });
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "application/x-ndjson")).streaming(lines))
}
