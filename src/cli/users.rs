//! `passerby users`: lists, finds and shows users, and acts on them.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::api::Api;
use super::bulk::{self, Meant, Whom, progress};
use super::outcome::{Failure, print};
use super::remote::{Remote, escaped, given, items, number, text, with_query};
use super::table::{Cell, Table, Tone};
use super::terminal::{confirm, password, secret};
use super::user_filter::UserFilter;
use crate::admin::is_admin_token;
use crate::token::is_reader_cookie;

/// What can be done with users.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum UsersCommand {
    /// List users, the newest first
    List {
        /// Which ones.
        #[command(flatten)]
        filter: UserFilter,
        /// The oldest first
        #[arg(long)]
        oldest: bool,
        /// How many, at most 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// Go on behind this user, which the page before names
        #[arg(long, value_name = "USER")]
        after: Option<String>,
    },
    /// Count users
    Count,
    /// Find users by an id, an alias, an identity, a name or an e-mail address, the id of a session or an API key, a token or a cookie
    Find {
        /// What to look for; - takes the first line of standard input, as tokens and cookies need it
        #[arg(value_parser = given)]
        text: String,
    },
    /// Show all that is held about a user
    Show {
        /// The user's id
        #[arg(value_parser = given)]
        user: String,
    },
    /// Show what happened to a user, the newest first
    History {
        /// The user's id
        #[arg(value_parser = given)]
        user: String,
    },
    /// Create users: an anonymous one, many, or an account, whose password is asked for, or the first line of standard input
    Create {
        /// The id of the user, for tests: 24 hexadecimal digits or a UUID
        #[arg(long, value_name = "USER", conflicts_with = "count")]
        id: Option<String>,
        /// The e-mail address of an account
        #[arg(long, conflicts_with = "count")]
        email: Option<String>,
        /// So many anonymous users
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        count: Option<u32>,
    },
    /// Suspend users: their tokens are refused, and their sessions stay
    Disable {
        /// Whom.
        #[command(flatten)]
        whom: Whom,
        /// When they are enabled again by themselves, such as 2027-01-31T00:00:00Z; of users by their ids
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Why, for other admins; of users by their ids
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Enable disabled users
    Enable {
        /// Whom.
        #[command(flatten)]
        whom: Whom,
    },
    /// End all sessions of users, which deletes anonymous ones
    End {
        /// Whom.
        #[command(flatten)]
        whom: Whom,
    },
    /// Delete users, with all that is held about them
    Delete {
        /// Whom.
        #[command(flatten)]
        whom: Whom,
    },
    /// Show how far the last action on users by a filter has come
    Job {
        /// Stop it
        #[arg(long)]
        stop: bool,
    },
}

const USERS: &str = "/v1/admin/users";

fn of(user: &str) -> String {
    format!("{USERS}/{}", escaped(user))
}

pub(super) async fn users(api: &Api, remote: &Remote, command: &UsersCommand) -> Result<(), Failure> {
    match command {
        UsersCommand::List { filter, oldest, limit, after } => {
            let mut query = filter.query();
            query.push(("order", oldest.then(|| "oldest".to_owned())));
            query.push(("limit", Some(limit.to_string())));
            query.push(("after", after.clone()));
            let answer = api.ask("GET", &with_query(USERS, &query), None).await?;
            remote.show(&answer, |answer| {
                list(answer, false);
                if let Some(next) = answer["next"].as_str() {
                    print(&format!("there are more: --after {next}\n"));
                }
            });
        }
        UsersCommand::Count => {
            let answer = api.ask("GET", &format!("{USERS}/counts"), None).await?;
            remote.show(&answer, counts);
        }
        UsersCommand::Find { text } => {
            let text = match text.as_str() {
                "-" => secret("Token, cookie or other text: ")?,
                text if is_secret(text) => {
                    let why = "a token or a cookie among the arguments stands in the list of processes: give it on standard input, with -";
                    return Err(Failure::usage(why));
                }
                text => text.to_owned(),
            };
            let answer = api.ask("POST", &format!("{USERS}/find"), Some(json!({ "text": text }))).await?;
            let is_found = items(&answer, "users").next().is_some();
            if is_found || remote.json {
                remote.show(&answer, |answer| list(answer, true));
            }
            if !is_found {
                return Err(Failure::other("no user is found by this"));
            }
        }
        UsersCommand::Show { user } => {
            let answer = api.ask("GET", &of(user), None).await?;
            remote.show(&answer, show);
        }
        UsersCommand::History { user } => {
            let answer = api.ask("GET", &format!("{}/history", of(user)), None).await?;
            remote.show(&answer, history);
        }
        UsersCommand::Create { count: Some(count), .. } => create_many(api, remote, *count).await?,
        UsersCommand::Create { id, email, count: None } => {
            let mut body = Map::new();
            body.extend(id.as_deref().map(|id| ("user_id".to_owned(), json!(id))));
            if let Some(email) = email {
                body.insert("email".to_owned(), json!(email));
                body.insert("password".to_owned(), json!(password()?));
            }
            let answer = api.ask("POST", USERS, Some(Value::Object(body))).await?;
            remote.show(&answer, |user| print(&format!("{}\n", text(user, "user_id"))));
        }
        UsersCommand::Disable { whom, until, reason } => {
            let given = [("until", until), ("reason", reason)];
            let given = given.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_deref()?))));
            let body: Map<String, Value> = given.collect();
            match whom.meant()? {
                Meant::All(_) if !body.is_empty() => {
                    return Err(Failure::usage("--until and --reason are for users by their ids"));
                }
                Meant::All(filter) => whom.all(api, remote, "disable", &filter).await?,
                Meant::These(users) => {
                    each(api, remote, users, ("POST", "/disable", Some(Value::Object(body))), |_| "disabled").await?;
                }
            }
        }
        UsersCommand::Enable { whom } => match whom.meant()? {
            Meant::All(filter) => whom.all(api, remote, "enable", &filter).await?,
            Meant::These(users) => each(api, remote, users, ("POST", "/enable", None), |_| "enabled").await?,
        },
        UsersCommand::End { whom } => match whom.meant()? {
            Meant::All(filter) => whom.all(api, remote, "end-sessions", &filter).await?,
            Meant::These(users) => {
                confirm(
                    &format!("All sessions of {} end, and anonymous users are deleted", counted(users)),
                    whom.yes(),
                )?;
                let said = |answer: &Value| match answer["deleted"] == true {
                    true => "logged out everywhere, and thereby deleted",
                    false => "logged out everywhere",
                };
                each(api, remote, users, ("POST", "/end-sessions", None), said).await?;
            }
        },
        UsersCommand::Delete { whom } => match whom.meant()? {
            Meant::All(filter) => whom.all(api, remote, "delete", &filter).await?,
            Meant::These(users) => {
                confirm(
                    &format!("{} and all that is held about them are deleted for good", counted(users)),
                    whom.yes(),
                )?;
                each(api, remote, users, ("DELETE", "", None), |_| "deleted").await?;
            }
        },
        UsersCommand::Job { stop } => bulk::job(api, remote, *stop).await?,
    }
    Ok(())
}

/// Creates anonymous users in batches, and prints their ids. What fails later undoes nothing: who was created is said.
async fn create_many(api: &Api, remote: &Remote, count: u32) -> Result<(), Failure> {
    const BATCH: u32 = 1000;
    let bar = progress(u64::from(count), "creating");
    let mut created = Vec::new();
    let (mut left, mut outcome) = (count, Ok(()));
    while left > 0 {
        let batch = left.min(BATCH);
        match api.ask("POST", &format!("{USERS}/batch"), Some(json!({ "count": batch }))).await {
            Ok(mut answer) => match answer["users"].as_array_mut() {
                Some(users) if remote.json => created.append(users),
                _ => bar.suspend(|| ids(&answer)),
            },
            Err(failure) => {
                outcome = Err(failure);
                break;
            }
        }
        left -= batch;
        bar.inc(batch.into());
    }
    bar.finish_and_clear();
    if remote.json {
        remote.show(&json!({ "users": created }), ids);
    }
    outcome
}

fn ids(answer: &Value) {
    let ids: String = items(answer, "users").map(|user| format!("{}\n", text(user, "user_id"))).collect();
    print(&ids);
}

fn counted(users: &[String]) -> String {
    match users {
        [one] => format!("the user {one}"),
        many => format!("{} users", many.len()),
    }
}

/// Does the same to each. One who is not there is said, and the others have their turn.
async fn each(
    api: &Api,
    remote: &Remote,
    users: &[String],
    (method, path, body): (&str, &str, Option<Value>),
    said: impl Fn(&Value) -> &'static str,
) -> Result<(), Failure> {
    let (mut told, mut faults) = (Vec::new(), Vec::new());
    for user in users {
        let mut one = json!({ "user_id": user });
        match api.ask(method, &format!("{}{path}", of(user)), body.clone()).await {
            Ok(answer) => {
                one["done"] = json!(true);
                if !remote.json {
                    print(&format!("{user} is {}\n", said(&answer)));
                }
                if let (Value::Object(one), Value::Object(answer)) = (&mut one, answer) {
                    one.extend(answer);
                }
            }
            Err(failure) => {
                one["done"] = json!(false);
                one["error"] = json!(failure.text);
                faults.push(format!("{user}: {}", failure.text));
            }
        }
        told.push(one);
    }
    if remote.json {
        remote.show(&json!({ "users": told }), |_| {});
    }
    if faults.is_empty() { Ok(()) } else { Err(Failure::other(faults.join("\n"))) }
}

/// Whether a text has a token or a cookie in it, with or without its name: a signed token of any kind begins with `eyJ`, and what
/// admins use has a beginning of its own.
fn is_secret(text: &str) -> bool {
    let is_one = |part: &str| {
        let is_signed = part.starts_with("eyJ") && !part.contains('@');
        is_signed || is_reader_cookie(part) || is_admin_token(part)
    };
    text.contains("passerby=") || text.split(|c: char| "=;,: \t\"'".contains(c)).any(is_one)
}

fn kind(user: &Value) -> &'static str {
    if user["anonymous"] == true { "anonymous" } else { "account" }
}

fn state(user: &Value) -> Cell {
    if user["disabled"] == true { Cell::new("disabled", Tone::Bad) } else { Cell::new("enabled", Tone::Good) }
}

fn list(answer: &Value, with_how: bool) {
    let mut table = match with_how {
        true => Table::new(["USER", "KIND", "STATE", "CREATED", "LAST SEEN", "SESSIONS", "PROVIDERS", "FOUND BY"]),
        false => Table::new(["USER", "KIND", "STATE", "CREATED", "LAST SEEN", "SESSIONS", "PROVIDERS"]),
    };
    for user in items(answer, "users") {
        let providers: Vec<_> = items(user, "providers").filter_map(Value::as_str).collect();
        let row: [Cell; 7] = [
            text(user, "user_id").into(),
            kind(user).into(),
            state(user),
            text(user, "created").into(),
            text(user, "last_seen").into(),
            number(user, "sessions").into(),
            providers.join(" ").into(),
        ];
        match with_how {
            true => {
                let [a, b, c, d, e, f, g] = row;
                table.row([a, b, c, d, e, f, g, text(user, "found_by").into()]);
            }
            false => table.row(row),
        }
    }
    table.cutting(["PROVIDERS"]).print();
}

fn counts(answer: &Value) {
    let mut table = Table::pairs();
    for name in ["users", "anonymous", "accounts", "disabled", "never_came_back", "has_document"] {
        table.pair(&name.replace('_', " "), number(answer, name));
    }
    for (name, count) in answer["providers"].as_object().into_iter().flatten() {
        table.pair(&format!("with {name}"), count.to_string());
    }
    table.print();
}

fn show(user: &Value) {
    let mut table = Table::pairs();
    table.pair("user", text(user, "user_id"));
    table.pair("kind", kind(user));
    table.pair("state", state(user));
    for name in ["disabled_until", "disabled_reason", "created", "last_seen", "expires"] {
        if let Some(said) = user[name].as_str() {
            table.pair(&name.replace('_', " "), said);
        }
    }
    for identity in items(user, "identities") {
        table.pair("identity", format!("{} {}", text(identity, "provider"), text(identity, "id")));
    }
    for alias in items(user, "aliases") {
        table.pair("was also", format!("{} until {}", text(alias, "id"), text(alias, "merged")));
    }
    for session in items(user, "sessions") {
        let (id, method) = (text(session, "id"), text(session, "method"));
        let (began, used) = (text(session, "started"), text(session, "last_used"));
        table.pair("session", format!("{id} by {method}, began {began}, last used {used}"));
    }
    for key in items(user, "api_keys") {
        let state = if key["disabled"] == true { ", disabled" } else { "" };
        table.pair("API key", format!("{} {}{state}", text(key, "id"), text(key, "name")));
    }
    for meter in items(user, "meters") {
        let limit = meter["limit"].as_u64().map(|limit| format!(" of {limit}")).unwrap_or_default();
        table.pair("meter", format!("{}: {}{limit} used", text(meter, "name"), number(meter, "used")));
    }
    if !user["data"].is_null() {
        table.pair("document", user["data"].to_string());
    }
    table.print();
}

fn history(answer: &Value) {
    let mut table = Table::new(["AT", "WHAT", "BY", "DETAIL"]).cutting(["DETAIL"]);
    for event in items(answer, "history") {
        let detail = if event["detail"].is_null() { String::new() } else { event["detail"].to_string() };
        table.row([text(event, "at").into(), text(event, "what").into(), text(event, "by").into(), detail.into()]);
    }
    table.print();
}
