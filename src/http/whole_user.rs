//! All that is held about a user, but for hashes: for the user and for admins.

use passerby_actors::domain::{Document, ServiceTime, SessionId, UserState};
use serde_json::{Value, json};

use super::time::{created, rfc3339};
use crate::server::Server;

/// All that is held about a user. Passwords, keys and tokens are held as hashes or not at all, and are not in it.
pub(crate) fn of(server: &Server, user: &UserState) -> Value {
    let (clock, policy) = (server.clock(), &server.core.policy());
    let shown = |t: ServiceTime| rfc3339(clock.to_wall_s(t));
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let identities = user.identities().iter().map(|identity| {
        let (provider, id) = (&*identity.key.provider, &*identity.key.external);
        json!({ "provider": provider, "id": id, "linked": shown(identity.linked), "data": parsed(&identity.data) })
    });
    let sessions = user.live_sessions(clock.now(), policy).into_iter().map(|session| {
        json!({
            "id": SessionId::derive(&user.id, session.number).to_string(),
            "started": shown(session.started),
            "last_used": shown(session.seen),
            "device_id": session.device.to_string(),
            "method": session.method.name(),
            "api_key_id": session.method.api_key().map(|id| id.to_string()),
        })
    });
    let keys = user.api_keys().iter();
    let keys = keys.map(
        |key| json!({ "id": key.id.to_string(), "name": key.name, "made": shown(key.created), "disabled": key.disabled }),
    );
    let aliases = user.aliases().iter();
    let aliases = aliases.map(|alias| json!({ "id": alias.id.to_string(), "merged": shown(alias.merged) }));
    // also of those that are configured no more
    let meters = user.meters();
    let meters = meters.kept().map(|(name, period, used, items)| {
        let (from, until) = (rfc3339(period.start), rfc3339(period.end));
        json!({ "name": name, "used": used, "items": items, "from": from, "until": until })
    });
    let document = user.document.as_deref().and_then(|bytes| Document::view(bytes).ok());
    json!({
        "user_id": user.id.to_string(),
        "anonymous": user.record.is_anonymous(),
        "created": created(user),
        "last_seen": shown(user.record.last_seen).max(created(user)),
        "expires": user.record.deadline(policy.window_s).map(shown),
        "identities": identities.collect::<Vec<_>>(),
        "sessions": sessions.collect::<Vec<_>>(),
        "api_keys": keys.collect::<Vec<_>>(),
        "aliases": aliases.collect::<Vec<_>>(),
        "meters": meters.collect::<Vec<_>>(),
        "data": document.and_then(|view| view.json).map(parsed),
        "data_version": document.map_or(0, |view| view.version),
    })
}
