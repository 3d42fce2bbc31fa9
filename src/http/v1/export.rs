//! Everything that is held about a user, for that user (S44).

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, ServiceConfig};
use passerby_actors::domain::{Document, ServiceTime, SessionId};
use serde_json::{Value, json};

use crate::http::schemas::UserExport;
use crate::http::time::created;
use crate::http::{Answer, Context, Scope, at, authenticate, json as answer_json, rfc3339, user_of};

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(at("/v1/user/export").on(Method::GET, export));
}

/// Exports all that is held about the user.
///
/// Passwords, keys and tokens are held as hashes or not at all, and are not in it.
#[utoipa::path(get, path = "/v1/user/export", tag = "Accounts", operation_id = "exportUser", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 200, body = UserExport, description = "All that is held.")),
    extensions(("x-problems" = json!("account"))))]
pub(crate) async fn export(request: HttpRequest, context: Data<Context>) -> Answer {
    let live = authenticate(&request, &context, Scope::Account)?;
    let user = user_of(&context, &live)?;
    let (clock, policy) = (context.server.clock(), context.server.core.policy());
    let shown = |t: ServiceTime| rfc3339(clock.to_wall_s(t));
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or(Value::Null);
    let identities = user.identities().iter().map(|identity| {
        let (provider, id) = (&*identity.key.provider, &*identity.key.external);
        json!({ "provider": provider, "id": id, "linked": shown(identity.linked), "data": parsed(&identity.data) })
    });
    let sessions = user.sessions().into_iter().map(|session| {
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
    let export = json!({
        "user_id": user.id.to_string(),
        "anonymous": user.record.is_anonymous(),
        "created": created(&user),
        "last_seen": shown(user.record.last_seen).max(created(&user)),
        "expires": user.record.deadline(policy.window_s).map(shown),
        "identities": identities.collect::<Vec<_>>(),
        "sessions": sessions.collect::<Vec<_>>(),
        "api_keys": keys.collect::<Vec<_>>(),
        "aliases": aliases.collect::<Vec<_>>(),
        "meters": meters.collect::<Vec<_>>(),
        "data": document.and_then(|view| view.json).map(parsed),
        "data_version": document.map_or(0, |view| view.version),
    });
    Ok(answer_json(StatusCode::OK, &export))
}
