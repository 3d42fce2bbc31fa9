//! The signing keys: what there is, a next key published, rotation, and what ends with a key that is retired.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web;
use serde_json::{Value, json};

use crate::admin::{Fault, Outcome, Role};
use crate::http::admin::asked::{Asked, text};
use crate::http::admin::table::{Row, row};
use crate::http::problem::{Answer, Problem};
use crate::http::{json, rfc3339};
use crate::server::Server;
use crate::token::{KeyError, KeyId, KeyInfo, KeyState, KeyStore, KeyUse};

pub(super) fn rows() -> Vec<Row> {
    let owner = Some(Role::Owner);
    vec![
        row("GET /v1/admin/signing-keys", Some(Role::Read), None, list),
        row("POST /v1/admin/signing-keys/publish", owner, "signing-key.publish", publish),
        row("POST /v1/admin/signing-keys/rotate", owner, "signing-key.rotate", rotate),
        row("POST /v1/admin/signing-keys/{id}/retire", owner, "signing-key.retire", retire),
    ]
}

/// What ends when a key is retired, in a sentence, and of how many users at most; none of one that signs, since that cannot be retired.
fn ends(server: &Server, key: &KeyInfo) -> Option<(&'static str, usize)> {
    match (key.state, key.purpose) {
        (KeyState::Signing, _) => None,
        (KeyState::Published, _) => Some(("nothing: it has signed nothing", 0)),
        (KeyState::Verifying, KeyUse::Access) => {
            Some(("no session: access tokens that it signed are refreshed by their clients", 0))
        }
        (KeyState::Verifying, KeyUse::Refresh) => {
            let what = "the sessions whose refresh token it signed: their users have to log in again, and anonymous ones cannot come back";
            Some((what, server.store.users()))
        }
        (KeyState::Verifying, KeyUse::Cookie) => {
            Some(("readers whose cookie it signed become strangers, and cannot come back", server.store.users()))
        }
    }
}

fn of(server: &Server, key: &KeyInfo) -> Value {
    let mut shown = json!({
        "id": key.id.to_string(),
        "use": key.purpose.name(),
        "algorithm": key.algorithm.name(),
        "state": key.state.name(),
        "created": rfc3339(i64::try_from(key.created_s).unwrap_or(i64::MAX)),
        "age_s": server.wall_s().saturating_sub(key.created_s),
    });
    if let Some((what, users)) = ends(server, key) {
        shown["ends"] = json!({ "what": what, "users_at_most": users });
    }
    shown
}

async fn list(asked: Asked) -> Answer {
    let server = &asked.context.server;
    let keys: Vec<_> = server.keys.keys().iter().map(|key| of(server, key)).collect();
    let body = json!({ "keys": keys, "missing": server.keys.is_missing() });
    Ok(json(StatusCode::OK, &body))
}

/// `use`.
fn usage(asked: &Asked) -> Result<KeyUse, Problem> {
    let fields = asked.fields(&["use"])?;
    let name = text(&fields, "use")?;
    let known = KeyUse::ALL.into_iter().find(|usage| usage.name() == name);
    known.ok_or_else(|| Problem::bad_field("use must be \"access\", \"refresh\" or \"cookie\""))
}

/// `use`: the next key of it, which others can know before it signs.
async fn publish(asked: Asked) -> Answer {
    let (usage, server) = (usage(&asked)?, Arc::clone(&asked.context.server));
    let change = move |keys: &mut KeyStore| keys.publish(usage, &*server.entropy, server.wall_s());
    let key = changed(&asked, "signing-key.publish", usage.name(), change).await?;
    let server = &asked.context.server;
    Ok(json(StatusCode::CREATED, &json!({ "key": of(server, &key), "ends": nothing() })))
}

/// `use`: the published key of it signs, or a new one.
async fn rotate(asked: Asked) -> Answer {
    let (usage, server) = (usage(&asked)?, Arc::clone(&asked.context.server));
    let before = server.keys.keys().into_iter().find(|key| key.purpose == usage && key.state == KeyState::Signing);
    let change = move |keys: &mut KeyStore| keys.rotate(usage, &*server.entropy, server.wall_s());
    let key = changed(&asked, "signing-key.rotate", usage.name(), change).await?;
    let server = &asked.context.server;
    let before = before.map(|key| key.id.to_string());
    Ok(json(StatusCode::OK, &json!({ "key": of(server, &key), "before": before, "ends": nothing() })))
}

fn nothing() -> Value {
    json!({ "what": "nothing: what other keys signed goes on", "users_at_most": 0 })
}

/// `dry_run`: says what would end, and changes nothing.
async fn retire(asked: Asked) -> Answer {
    let fields = asked.fields(&["dry_run"])?;
    let is_dry_run = match fields.get("dry_run") {
        None => false,
        Some(Value::Bool(on)) => *on,
        Some(_) => return Err(Problem::bad_field("dry_run must be true or false")),
    };
    let server = &asked.context.server;
    let known = server.keys.keys().into_iter().find(|key| key.id.to_string() == asked.parameter("id"));
    let key = known.ok_or_else(no_such_key)?;
    let (what, users) = ends(server, &key).ok_or_else(|| Problem::from(KeyError::StillSigns(key.id)))?;
    let id: KeyId = key.id;
    if !is_dry_run {
        changed(&asked, "signing-key.retire", &id.to_string(), move |keys| keys.retire(id)).await?;
    }
    let body = json!({
        "id": id.to_string(),
        "retired": !is_dry_run,
        "ends": { "what": what, "users_at_most": users },
    });
    Ok(json(StatusCode::OK, &body))
}

/// Changes the keys, with an entry in the audit log before it, which then says what became of it. It goes on to its end when the
/// client has gone.
async fn changed<T: Send + 'static>(
    asked: &Asked,
    what: &str,
    whom: &str,
    change: impl FnOnce(&mut KeyStore) -> Result<T, KeyError> + Send + 'static,
) -> Result<T, Problem> {
    let entry = asked.by()?.did(what, Some(whom), Outcome::Unknown);
    let context = asked.context.clone();
    let doing = actix_web::rt::spawn(async move {
        let (audit, handle) = (&context.server.admins.audit, &context.handle);
        let begun = audit.begin(handle, entry).await?;
        let server = Arc::clone(&context.server);
        let changed = web::block(move || server.keys.change(&server.tokens, change)).await;
        match &changed {
            Ok(Ok(_)) => audit.end(handle, begun, Outcome::Done).await,
            // what stands on the disk is not known
            Ok(Err(KeyError::Io { .. })) | Err(_) => {}
            Ok(Err(_)) => audit.end(handle, begun, Outcome::Refused).await,
        }
        Ok::<_, Fault>(changed)
    });
    let ended_early = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the action ended early");
    let changed = doing.await.map_err(|_| ended_early())?;
    Ok(changed?.map_err(|_| ended_early())??)
}

fn no_such_key() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-such-key", "there is no signing key with this id")
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let detail = error.to_string();
        match error {
            KeyError::StillSigns(_) => Self::new(StatusCode::CONFLICT, "key-signs", detail),
            KeyError::AlreadyPublished(_) => Self::new(StatusCode::CONFLICT, "key-published", detail),
            KeyError::Moved => Self::new(StatusCode::CONFLICT, "keys-moved", detail),
            KeyError::Unknown(_) => no_such_key(),
            error => {
                tracing::error!(%error, "the signing keys could not be changed");
                let detail = "the key files could not be read or written; the log says why";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
        }
    }
}
