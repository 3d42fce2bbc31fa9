//! Users: listed and counted, and found by anything that names them.

use actix_web::http::StatusCode;
use passerby_actors::domain::{UserId, UserState};
use passerby_actors::handle::{FoundBy, UserCounts, UserQuery};
use serde_json::{Value, json};

use super::user_filter::{FIELDS, filter};
use crate::admin::Role;
use crate::http::admin::asked::{Asked, text};
use crate::http::admin::table::{Row, row};
use crate::http::problem::{Answer, Problem};
use crate::http::read::of_query;
use crate::http::time::created;
use crate::http::{Context, json, rfc3339};

/// Users of a page: without a word, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

pub(super) fn rows() -> Vec<Row> {
    let read = Some(Role::Read);
    vec![
        row("GET /v1/admin/users", read, None, list),
        row("GET /v1/admin/users/counts", read, None, counts),
        row("POST /v1/admin/users/find", read, None, find),
    ]
}

/// A user as lists show one.
pub(super) fn shown(context: &Context, user: &UserState) -> Value {
    let (clock, policy) = (context.server.clock(), &context.server.core.policy());
    let providers: Vec<_> = user.identities().iter().map(|identity| &*identity.key.provider).collect();
    json!({
        "user_id": user.id.to_string(),
        "anonymous": user.record.is_anonymous(),
        "disabled": user.is_disabled(clock.wall_ms()),
        "never_came_back": user.record.is_unused(),
        "created": created(user),
        "last_seen": rfc3339(clock.to_wall_s(user.record.last_seen)).max(created(user)),
        "expires": user.record.deadline(policy.window_s).map(|t| rfc3339(clock.to_wall_s(t))),
        "providers": providers,
        "sessions": user.live_sessions(clock.now(), policy).len(),
    })
}

/// The filter's fields, `order` (`newest` or `oldest` first), `after` (`next` of the page before) and `limit`; with `count=true` also
/// how many users the filter takes.
async fn list(asked: Asked) -> Answer {
    let known: Vec<_> = FIELDS.into_iter().chain(["order", "after", "limit", "count"]).collect();
    let query = of_query(&asked.request, &known)?;
    let given = |name: &str| query.get(name).and_then(Value::as_str);
    let newest_first = match given("order") {
        None | Some("newest") => true,
        Some("oldest") => false,
        Some(_) => return Err(bad("order must be \"newest\" or \"oldest\"")),
    };
    let after = given("after").map(UserId::parse).transpose().map_err(|_| bad("after must be a user id"))?;
    let limit = match given("limit").map(str::parse) {
        None => PAGE,
        Some(Ok(limit @ 1..=LARGEST_PAGE)) => limit,
        Some(_) => return Err(bad("limit must be a number from 1 to 500")),
    };
    let is_counted = match given("count") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(bad("count must be true or false")),
    };
    let filter = filter(&query, asked.context.server.clock())?;
    let count = if is_counted { Some(asked.handle().count_users(filter.clone()).await?) } else { None };
    let page = asked.handle().users(UserQuery { filter, newest_first, after, limit }).await?;
    let users: Vec<_> = page.users.iter().map(|user| shown(&asked.context, user)).collect();
    let next = page.next.map(|next| next.to_string());
    let mut shown = json!({ "users": users, "next": next, "looked_at": page.looked_at });
    if let Some(count) = count {
        shown["count"] = count.into();
    }
    Ok(json(StatusCode::OK, &shown))
}

fn bad(detail: &str) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail)
}

/// How many users each filter takes.
async fn counts(asked: Asked) -> Answer {
    let UserCounts { users, anonymous, accounts, disabled, unused, documents, providers, other_providers } =
        asked.handle().user_counts().await?;
    let providers: serde_json::Map<_, _> =
        providers.into_iter().map(|(name, count)| (name.into(), Value::from(count))).collect();
    let body = json!({
        "users": users,
        "anonymous": anonymous,
        "accounts": accounts,
        "disabled": disabled,
        "never_came_back": unused,
        "has_document": documents,
        "providers": providers,
        "other_providers": other_providers,
    });
    Ok(json(StatusCode::OK, &body))
}

fn named(by: FoundBy) -> &'static str {
    match by {
        FoundBy::Id => "user-id",
        FoundBy::Alias => "alias",
        FoundBy::AnonymousIdentity | FoundBy::Identity => "identity",
        FoundBy::Name => "name",
        FoundBy::SessionOrKey => "session-or-key",
        FoundBy::Email => "email",
    }
}

/// `text` is a user id, an alias, an identity, a name, an e-mail address, the id of a session or an API key, a token, or a reader's
/// cookie. It comes in the body, since a token stands in no URL.
async fn find(asked: Asked) -> Answer {
    let fields = asked.fields(&["text"])?;
    let wanted = text(&fields, "text")?.trim();
    let (server, handle) = (&asked.context.server, asked.handle());
    let mut found = Vec::new();
    if let Some((user, by)) = whose(&asked.context, wanted) {
        let user = handle.load(&user).or_else(|| handle.survivor(&user).and_then(|survivor| handle.load(&survivor)));
        found.extend(user.map(|user| (user, by)));
    } else {
        // also those that are off: their users are still here
        let app = server.app();
        let known = app.providers.names().chain(app.content.providers.keys().map(String::as_str));
        let by_name = handle.find(wanted, &known.collect::<Vec<_>>());
        found.extend(by_name.into_iter().filter_map(|(id, by)| Some((handle.load(&id)?, named(by)))));
    }
    if found.is_empty() {
        found.extend(handle.find_holder(wanted).await?.map(|(user, by)| (user, named(by))));
    }
    let users = found.iter().map(|(user, by)| {
        let mut shown = shown(&asked.context, user);
        shown["found_by"] = Value::from(*by);
        shown
    });
    Ok(json(StatusCode::OK, &json!({ "users": users.collect::<Vec<_>>() })))
}

/// The user of a token or a cookie, whether or not its time is over.
fn whose(context: &Context, text: &str) -> Option<(UserId, &'static str)> {
    let tokens = &context.server.tokens;
    if let Ok(access) = tokens.verify_access_at_any_time(text) {
        return Some((access.user, "access-token"));
    }
    if let Ok(refresh) = tokens.verify_refresh(text) {
        return Some((refresh.user, "refresh-token"));
    }
    // as a browser shows it, or with its name before it
    let value = text.split_once('=').map_or(text, |(_, value)| value);
    tokens.verify_cookie(value).or_else(|| tokens.verify_cookie(text)).map(|cookie| (cookie.user, "cookie"))
}
