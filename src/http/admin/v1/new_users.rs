//! Users created by hand: one, with a name and a password or without, and many at once for tests.

use std::collections::HashSet;

use actix_web::http::StatusCode;
use passerby_actors::actor::LoggedIn;
use passerby_actors::domain::{DeviceId, IdForm, SessionKind, UserId};
use passerby_actors::handle::NewUser;
use serde_json::{Map, Value, json};

use super::one_user::whole;
use crate::admin::Role;
use crate::http::admin::asked::{Asked, text};
use crate::http::admin::created;
use crate::http::admin::table::{Row, row};
use crate::http::admin::whom;
use crate::http::problem::{Answer, Problem};
use crate::http::{Context, json};
use crate::provider::password::Password;
use crate::token::ACCESS_TTL_S;

/// Users of a batch.
const MOST: usize = 1000;
/// The time that an id tells may be so far ahead of our clock: clocks differ.
const AHEAD_MS: u64 = 86_400_000;

pub(super) fn rows() -> Vec<Row> {
    let operate = Some(Role::Operate);
    vec![
        row("POST /v1/admin/users", operate, "user.create", create),
        row("POST /v1/admin/users/batch", operate, "user.create", create_batch).with_users(),
    ]
}

fn opens(fields: &Map<String, Value>) -> Result<bool, Problem> {
    match fields.get("session") {
        None => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(_) => Err(Problem::bad_field("session must be true or false")),
    }
}

/// An anonymous user of these fields: `user_id` and `data`.
fn anonymous(asked: &Asked, fields: &Map<String, Value>, opens: bool) -> Result<NewUser, Problem> {
    let bad = || Problem::bad_field("user_id must be a user id: 24 hexadecimal digits, or a UUID in lower case");
    let (id, is_given) = match fields.get("user_id") {
        None => (asked.handle().new_user_id(IdForm::TimeOrdered), false),
        Some(id) => (id.as_str().and_then(|id| UserId::parse(id).ok()).ok_or_else(bad)?, true),
    };
    if is_given && id.created_ms() > asked.context.server.clock().wall_ms() + AHEAD_MS {
        return Err(Problem::bad_field(
            "user_id must not tell a time that is to come: it would be that of the creation",
        ));
    }
    let data = match fields.get("data") {
        None => None,
        Some(Value::Object(data)) => Some(data.clone()),
        Some(_) => return Err(Problem::bad_field("data must be an object")),
    };
    Ok(NewUser { id, is_given, name: None, data, opens })
}

/// The tokens of a user's first session.
fn tokens(context: &Context, live: &LoggedIn, lasting: bool) -> Value {
    let server = &context.server;
    let (access, refresh) = server.claims(live, SessionKind::V1, DeviceId::default(), lasting);
    let mut access_token = String::new();
    server.write_access(&access, &mut access_token);
    json!({
        "session_id": live.session.to_string(),
        "token_type": "Bearer",
        "access_token": access_token,
        "expires_in": ACCESS_TTL_S,
        "refresh_token": server.tokens.refresh(&refresh),
    })
}

/// `user_id`, `data`; `email` and `password` of an account; with `session` its tokens are answered.
async fn create(asked: Asked) -> Answer {
    let fields = asked.fields(&["user_id", "email", "password", "data", "session"])?;
    let mut user = anonymous(&asked, &fields, opens(&fields)?)?;
    if fields.contains_key("email") || fields.contains_key("password") {
        let (email, password) = (text(&fields, "email")?, Password::new(text(&fields, "password")?.to_owned()));
        user.name = Some(created::name(&asked, email, password).await?);
    }
    let (opens, is_account) = (user.opens, user.name.is_some());
    let told = json!({ "anonymous": !is_account, "session": opens, "data": user.data.is_some() });
    let live = created::create(&asked, vec![user], told).await?;
    let context = &asked.context;
    let live = live.first().ok_or_else(Problem::not_found)?;
    // one who was deleted in this moment
    let user = asked.handle().load(&live.user).ok_or_else(whom::not_found)?;
    let mut shown = whole(context, &user);
    if let (true, Value::Object(shown), Value::Object(tokens)) = (opens, &mut shown, tokens(context, live, is_account))
    {
        shown.extend(tokens);
    }
    Ok(json(StatusCode::CREATED, &shown))
}

/// `users`, each with `user_id` and `data`, or `count`; with `session` their tokens are answered. All of them or none.
async fn create_batch(asked: Asked) -> Answer {
    let fields = asked.fields(&["users", "count", "session"])?;
    let opens = opens(&fields)?;
    let how_many = || Problem::bad_field("a batch has users, a list of 1 to 1000, or count, a number from 1 to 1000");
    let users: Vec<NewUser> = match (fields.get("users"), fields.get("count")) {
        (Some(Value::Array(users)), None) if (1..=MOST).contains(&users.len()) => users
            .iter()
            .enumerate()
            .map(|(at, fields)| of_batch(&asked, at, fields, opens))
            .collect::<Result<_, _>>()?,
        (None, Some(count)) => {
            let count = count.as_u64().and_then(|count| usize::try_from(count).ok());
            let count = count.filter(|count| (1..=MOST).contains(count)).ok_or_else(how_many)?;
            (0..count).map(|_| anonymous(&asked, &Map::new(), opens)).collect::<Result<_, _>>()?
        }
        _ => return Err(how_many()),
    };
    let mut seen = HashSet::new();
    if let Some(twice) = users.iter().find(|user| !seen.insert(user.id)) {
        return Err(Problem::bad_field(format!("the id {} stands in the batch twice", twice.id)));
    }
    let told = json!({ "users": users.len(), "session": opens });
    let live = created::create(&asked, users, told).await?;
    let users = live.iter().map(|live| {
        let mut shown = if opens { tokens(&asked.context, live, false) } else { json!({}) };
        shown["user_id"] = Value::from(live.user.to_string());
        shown
    });
    Ok(json(StatusCode::CREATED, &json!({ "users": users.collect::<Vec<_>>() })))
}

/// One of a batch.
fn of_batch(asked: &Asked, at: usize, fields: &Value, opens: bool) -> Result<NewUser, Problem> {
    let bad = |detail: &str| Problem::bad_field(format!("users[{at}]: {detail}"));
    let fields = fields.as_object().ok_or_else(|| bad("it must be an object"))?;
    if let Some(unknown) = fields.keys().find(|name| !["user_id", "data"].contains(&name.as_str())) {
        return Err(bad(&format!("{unknown:?} is no field of a user of a batch: it has user_id and data")));
    }
    anonymous(asked, fields, opens).map_err(|problem| bad(problem.detail()))
}
