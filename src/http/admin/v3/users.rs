//! Users: a page of them, one, its devices, disabled and enabled, logged out, deleted; and whose an access token is.

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use passerby_actors::domain::{Cause, DeviceId, Flags, IdForm, SessionId, UserId, UserState};
use passerby_actors::handle::{self, Handle, NewUser, UserFilter, UserQuery};
use serde_json::{Map, Value, json};

use super::apps::must_be_this;
use super::registrations;
use crate::admin::Role;
use crate::http::admin::asked::{Asked, text};
use crate::http::admin::created;
use crate::http::admin::table::{Row, row};
use crate::http::admin::whom::{self, live_sessions, suspension_of};
use crate::http::problem::{Answer, Problem};
use crate::http::read::of_query;
use crate::http::{Context, identities, json};
use crate::provider::custom_token::CUSTOM_TOKEN;
use crate::provider::password::Password;
use crate::provider::{ANON_USER, is_of_app_services};
use crate::token::TokenError;

/// Users of a page.
const PAGE: usize = 50;
/// For so many names of providers at most, users are listed at once: each is a question to the index.
const MOST_PROVIDERS: usize = 16;

/// Questions to the index for one page. Each looks at thousands of users, of whom so many in a row are hardly ever to be swept.
const MOST_QUESTIONS: usize = 200;

pub(super) fn rows() -> Vec<Row> {
    let (read, operate) = (Some(Role::Read), Some(Role::Operate));
    vec![
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/users", read, None, list),
        row("POST /api/admin/v3.0/groups/{group}/apps/{app}/users", operate, "user.create", create),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/users/{user}", read, None, get),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/users/{user}/devices", read, None, devices),
        row("POST /api/admin/v3.0/groups/{group}/apps/{app}/users/verify_token", read, None, verify_token),
        row("DELETE /api/admin/v3.0/groups/{group}/apps/{app}/users/{user}", operate, "user.delete", delete),
        row(
            "PATCH /api/admin/v3.0/groups/{group}/apps/{app}/users/{user}/reset_email",
            Some(Role::Owner),
            "user.rename",
            rename,
        ),
        row("PUT /api/admin/v3.0/groups/{group}/apps/{app}/users/{user}/logout", operate, "user.logout", log_out),
        row("PUT /api/admin/v3.0/groups/{group}/apps/{app}/users/{user}/enable", operate, "user.enable", enable),
        row("PUT /api/admin/v3.0/groups/{group}/apps/{app}/users/{user}/disable", operate, "user.disable", disable),
    ]
}

/// A user as App Services shows one to admins.
pub(super) fn shown(context: &Context, user: &UserState) -> Value {
    let (tokens, clock) = (&context.server.tokens, context.server.clock());
    let identity = |kind: &str, id: String, data: Option<Value>| {
        let mut shown = json!({ "id": id, "provider_type": kind, "provider_id": tokens.provider_id(kind) });
        if let Some(data) = data {
            shown["provider_data"] = data;
        }
        shown
    };
    let was_anonymous = !user.record.flags.has(Flags::BORN_LASTING);
    let mut data = Map::new();
    let mut shown = Vec::new();
    if was_anonymous {
        shown.push(identity(ANON_USER, user.id.anonymous_identity(), None));
    }
    for known in user.identities() {
        let told = serde_json::from_str::<Map<String, Value>>(&known.data).ok();
        data.extend(told.clone().into_iter().flatten());
        shown.push(identity(identities::sdk_type(known), identities::shown_id(known), told.map(Value::from)));
    }
    json!({
        "_id": user.id.to_string(),
        "identities": shown,
        "type": "normal",
        "creation_date": user.created_ms() / 1000,
        "last_authentication_date": clock.to_wall_s(user.record.last_seen).max(created_s(user)),
        "disabled": user.is_disabled(clock.wall_ms()),
        "data": data,
    })
}

fn created_s(user: &UserState) -> i64 {
    i64::try_from(user.created_ms() / 1000).unwrap_or(i64::MAX)
}

/// The user that the path names.
fn named(asked: &Asked) -> Result<UserState, Problem> {
    must_be_this(asked)?;
    whom::named(asked)
}

/// At most 50, those who were created first before the others: `after` a user, `desc`ending, with a `status` (`enabled` or
/// `disabled`), of one of the `provider_types`.
async fn list(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let query = of_query(&asked.request, &["after", "sort", "desc", "status", "provider_types"])?;
    let given = |name: &str| query.get(name).and_then(Value::as_str);
    let bad = |detail: &str| Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail);
    let after = given("after").map(UserId::parse).transpose().map_err(|_| bad("after must be a user id"))?;
    if given("sort").is_some_and(|by| by != "_id") {
        return Err(bad("users are sorted by _id"));
    }
    let disabled = match given("status") {
        None => None,
        Some("enabled") => Some(false),
        Some("disabled") => Some(true),
        Some(_) => return Err(bad("status must be enabled or disabled")),
    };
    let newest_first = given("desc") == Some("true");
    let any = UserFilter { disabled, ..UserFilter::default() };
    let filters: Vec<_> = match given("provider_types") {
        None => vec![any],
        Some(names) => {
            let names: BTreeSet<&str> = names.split(',').collect();
            if names.len() > MOST_PROVIDERS {
                return Err(bad("provider_types has too many names"));
            }
            let mut filters: Vec<_> = names.iter().map(|name| of_provider(any.clone(), name)).collect();
            if names.contains(CUSTOM_TOKEN) {
                // as which App Services shows every provider that it did not know
                let others = asked.handle().user_counts().await?.providers;
                let others = others.iter().filter(|(name, _)| !is_of_app_services(name));
                filters.extend(others.map(|(name, _)| of_provider(any.clone(), name)));
            }
            filters
        }
    };
    // each provider's first users, of which the first of all are the page
    let mut users = Vec::new();
    for filter in filters {
        users.extend(first(&asked, filter, newest_first, after).await?);
    }
    users.sort_by_key(|user| (user.id.created_ms(), user.id));
    users.dedup_by_key(|user| user.id);
    if newest_first {
        users.reverse();
    }
    users.truncate(PAGE);
    Ok(json(StatusCode::OK, &users.iter().map(|user| shown(&asked.context, user)).collect::<Vec<_>>()))
}

fn of_provider(filter: UserFilter, name: &str) -> UserFilter {
    // the index knows of no anonymous identities: every anonymous user has one
    if name == ANON_USER {
        return UserFilter { anonymous: Some(true), ..filter };
    }
    UserFilter { provider: Some(name.into()), ..filter }
}

/// One page, although many users may have to be looked at for it.
async fn first(
    asked: &Asked,
    filter: UserFilter,
    newest_first: bool,
    mut after: Option<UserId>,
) -> Result<Vec<UserState>, handle::Error> {
    let mut users = Vec::new();
    for _ in 0..MOST_QUESTIONS {
        let query = UserQuery { filter: filter.clone(), newest_first, after, limit: PAGE - users.len() };
        let page = asked.handle().users(query).await?;
        users.extend(page.users);
        if users.len() >= PAGE || page.next.is_none() {
            return Ok(users);
        }
        after = page.next;
        // a page is read on this thread, which has others to answer
        tokio::task::yield_now().await;
    }
    Err(handle::Error::Overloaded)
}

/// An account with `email` and `password`, which counts as confirmed.
async fn create(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let fields = asked.loose_fields()?;
    let (email, password) = (text(&fields, "email")?, Password::new(text(&fields, "password")?.to_owned()));
    let name = created::name(&asked, email, password).await?;
    let id = asked.handle().new_user_id(IdForm::Object);
    let told = json!({ "anonymous": false, "session": false, "data": false });
    created::create(&asked, vec![NewUser { id, is_given: false, name: Some(name), data: None, opens: false }], told)
        .await?;
    let user = asked.handle().load(&id).ok_or_else(whom::not_found)?;
    Ok(json(StatusCode::CREATED, &shown(&asked.context, &user)))
}

async fn get(asked: Asked) -> Answer {
    Ok(json(StatusCode::OK, &shown(&asked.context, &named(&asked)?)))
}

/// One for each session: App Services named devices by their sessions' device ids.
async fn devices(asked: Asked) -> Answer {
    let user = named(&asked)?;
    let clock = asked.context.server.clock();
    let sessions = live_sessions(&asked.context, &user);
    let sessions = sessions.iter().filter(|session| session.device != DeviceId::default());
    let device = |session: &passerby_actors::domain::Session| json!({ "_id": session.device.to_string(), "last_used": clock.to_wall_s(session.seen) });
    Ok(json(StatusCode::OK, &sessions.map(device).collect::<Vec<_>>()))
}

/// Whose a client's access token is. One that has expired is told so in a text, as there.
async fn verify_token(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let fields = asked.loose_fields()?;
    let server = &asked.context.server;
    let invalid = || Problem::unauthorized("invalid-session", "invalid session");
    let access = match server.tokens.verify_access(text(&fields, "token")?, server.wall_s()) {
        Ok(access) => access,
        Err(TokenError::Expired) => return Ok(json(StatusCode::OK, &"token expired")),
        Err(_) => return Err(invalid()),
    };
    let user = asked.handle().load(&access.user).ok_or_else(invalid)?;
    let is_its = |number: u32| SessionId::derive(&user.id, number) == access.session;
    let mut live = live_sessions(&asked.context, &user).into_iter();
    let is_live = live.any(|session| is_its(session.number) && session.epoch == access.epoch);
    if !is_live || user.is_disabled(server.clock().wall_ms()) {
        return Err(invalid());
    }
    let body = json!({
        "sub": user.id.to_string(),
        "exp": access.expires_at_s,
        "iat": access.issued_at_s,
        "iss": access.session.to_string(),
        "domain_id": server.tokens.domain_id(),
        "device_id": access.device.to_string(),
    });
    Ok(json(StatusCode::OK, &body))
}

/// Does something to a user who was there when it began.
async fn done<Doing: Future<Output = Result<(), handle::Error>> + 'static>(
    asked: &Asked,
    what: &str,
    user: UserId,
    told: (Option<Value>, Option<Value>),
    operation: impl FnOnce(Handle, UserId) -> Doing,
) -> Answer {
    whom::done(asked, what, user, told, operation).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A user, or a registration that waits: realm-cli deletes either by the id that its list shows.
async fn delete(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let user = match whom::named(&asked) {
        Ok(user) => user,
        Err(missing) => {
            return registrations::forget_of_id(&asked, asked.parameter("user")).await.unwrap_or(Err(missing));
        }
    };
    let before =
        json!({ "identities": user.identities().len(), "sessions": live_sessions(&asked.context, &user).len() });
    let operation = |handle: Handle, user| async move { handle.delete(&user, Cause::DeletedByAdmin).await };
    done(&asked, "user.delete", user.id, (Some(before), None), operation).await
}

/// Another e-mail address for the same password and sessions.
async fn rename(asked: Asked) -> Answer {
    let (user, fields) = (named(&asked)?, asked.loose_fields()?);
    created::rename(&asked, &user, text(&fields, "email")?).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn log_out(asked: Asked) -> Answer {
    let user = named(&asked)?;
    let before = json!({ "sessions": live_sessions(&asked.context, &user).len() });
    let operation = |handle: Handle, user| async move { handle.end_all(&user).await };
    done(&asked, "user.logout", user.id, (Some(before), None), operation).await
}

async fn enable(asked: Asked) -> Answer {
    let user = named(&asked)?;
    let told = (Some(suspension_of(&asked.context, &user)), Some(json!({ "disabled": false })));
    let operation = |handle: Handle, user| async move { handle.enable(&user).await };
    done(&asked, "user.enable", user.id, told, operation).await
}

async fn disable(asked: Asked) -> Answer {
    let user = named(&asked)?;
    let told = (Some(suspension_of(&asked.context, &user)), Some(json!({ "disabled": true })));
    let operation = |handle: Handle, user| async move { handle.disable(&user).await };
    done(&asked, "user.disable", user.id, told, operation).await
}
