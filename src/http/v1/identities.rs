//! The identities of a user: listing, linking, merging with the user who has one, unlinking.

use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use passerby_actors::actor::{Joined, Preview, Proof, REPEAT_S};
use passerby_actors::domain::{DeviceId, Flags, Identity, Refusal, SessionKind, UserId};
use passerby_actors::handle::{self, IdForm, Live, LoggedIn};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::browser_login;
use super::credential::prove;
use super::data::work_on_data;
use super::tokens::{Absorbed, ConflictView, Of, shown, tokens};
use crate::http::auth::fresh;
use crate::http::fields::OF_CREDENTIALS;
use crate::http::schemas::{LinkRequest, ReaderSession, SessionTokens};
use crate::http::time::created;
use crate::http::{
    Answer, Context, Problem, Scope, at, authenticate, bearer, became_part, came_back, client, identities, json, read,
    reader, rfc3339, user_of, within_time,
};
use crate::limits::data_work::Whose;
use crate::provider::ANON_USER;

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(at("/v1/user/identities").on(Method::GET, list_identities).on(Method::POST, link_identity))
        .service(at("/v1/user/identities/{provider}/{id}").on(Method::DELETE, unlink_identity));
}

/// What a link may have besides the credential.
pub(super) const OF_LINK: &[&str] = &["provider", "on_conflict", "dry_run", "altcha"];

/// What happens if the identity belongs to a different user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnConflict {
    Reject,
    Switch,
    Merge,
}

impl OnConflict {
    fn of(body: &Map<String, Value>) -> Result<Self, Problem> {
        match body.get("on_conflict").map(Value::as_str) {
            None | Some(Some("reject")) => Ok(Self::Reject),
            Some(Some("switch")) => Ok(Self::Switch),
            Some(Some("merge")) => Ok(Self::Merge),
            _ => {
                let detail = "on_conflict must be \"reject\", \"switch\" or \"merge\"";
                Err(Problem::new(StatusCode::BAD_REQUEST, "unknown-on-conflict", detail))
            }
        }
    }
}

/// An identity of a user.
#[derive(Serialize, ToSchema)]
pub(crate) struct IdentityView {
    /// The provider.
    #[schema(example = "local-userpass")]
    provider: String,
    /// Who it is at the provider.
    #[schema(example = "ada@example.com")]
    id: String,
    /// When it was linked (RFC 3339); for the anonymous identity, when the user was created.
    #[schema(format = DateTime, example = "2026-01-31T12:00:00Z")]
    linked: String,
}

/// The identities of a user, in link order.
#[derive(Serialize, ToSchema)]
pub(crate) struct Identities {
    /// The identities.
    identities: Vec<IdentityView>,
}

/// Lists the identities of the user.
#[utoipa::path(get, path = "/v1/user/identities", tag = "Accounts", operation_id = "listIdentities", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 200, body = Identities, description = "The identities, in the order in which they were linked.")),
    extensions(("x-problems" = json!("account"))))]
async fn list_identities(request: HttpRequest, context: Data<Context>) -> Answer {
    let live = authenticate(&request, &context, Scope::Account)?;
    let user = user_of(&context, &live)?;
    let anonymous =
        IdentityView { provider: ANON_USER.to_owned(), id: user.id.anonymous_identity(), linked: created(&user) };
    let was_anonymous = !user.record.flags.has(Flags::BORN_LASTING);
    let clock = context.server.clock();
    let linked = user.identities().iter().map(|identity| IdentityView {
        provider: identity.key.provider.to_string(),
        id: identities::shown_id(identity),
        linked: rfc3339(clock.to_wall_s(identity.linked)),
    });
    let identities = was_anonymous.then_some(anonymous).into_iter().chain(linked).collect();
    Ok(json(StatusCode::OK, &Identities { identities }))
}

/// Tokens of a session, and who became part of its user.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what a PlainObject writes")]
pub(crate) struct LinkAnswer {
    #[serde(flatten)]
    #[schema(inline)]
    tokens: SessionTokens,
    /// After a merge: the id that is an alias from now on.
    #[schema(required = false, nullable = false, example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2d")]
    merged_user_id: Option<String>,
    /// After a merge: what of that user's document the account's does not hold, at most 1000 values of 64 KiB together.
    #[schema(required = false, nullable = false)]
    conflicts: Option<Vec<ConflictView>>,
    /// Whether there were more.
    #[schema(required = false, nullable = false)]
    conflicts_truncated: Option<bool>,
}

/// The same of a session that a cookie holds: without tokens.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes what a PlainObject writes")]
pub(crate) struct LinkedReader {
    #[serde(flatten)]
    #[schema(inline)]
    session: ReaderSession,
    /// After a merge: the id that is an alias from now on.
    #[schema(required = false, nullable = false, example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2d")]
    merged_user_id: Option<String>,
    /// After a merge: what of that user's document the account's does not hold, at most 1000 values of 64 KiB together.
    #[schema(required = false, nullable = false)]
    conflicts: Option<Vec<ConflictView>>,
    /// Whether there were more.
    #[schema(required = false, nullable = false)]
    conflicts_truncated: Option<bool>,
}

/// What a link would do.
#[derive(Serialize, ToSchema)]
pub(crate) struct LinkPreview {
    /// `unchanged`: the user has the identity. `linked`: no user has it. `rejected`, `switched`, `merged`: a different user has it.
    #[schema(example = "merged")]
    outcome: &'static str,
    /// Whose session the answer would be.
    #[schema(example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c")]
    user_id: String,
    /// The user who would become part of that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2d")]
    merged_user_id: Option<String>,
    /// When the user of the answer would count as created (RFC 3339), if it were a merge.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, format = DateTime, example = "2026-01-31T12:00:00Z")]
    created: Option<String>,
    /// What of that user's document the account's would not hold, if it were a merge.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    conflicts: Option<Vec<ConflictView>>,
    /// Whether there would be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    conflicts_truncated: Option<bool>,
    /// Why it would be rejected: the `code` of the problem that the request would be answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "identity-in-use")]
    code: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "the identity belongs to a different user")]
    reason: Option<String>,
}

/// The session of the user who has the identity now; with `dry_run`, what the link would do.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes which of them is answered")]
pub(crate) enum LinkOutcome {
    Tokens(LinkAnswer),
    Reader(LinkedReader),
    Preview(LinkPreview),
}

fn preview(context: &Context, live: &Live, proof: &Proof, on_conflict: OnConflict) -> Answer {
    let server = &context.server;
    let bare = |outcome, user: UserId| LinkPreview {
        outcome,
        user_id: user.to_string(),
        merged_user_id: None,
        created: None,
        conflicts: None,
        conflicts_truncated: None,
        code: None,
        reason: None,
    };
    let rejected = |refusal: Refusal| {
        let problem = Problem::from(handle::Error::Refused(refusal));
        LinkPreview { code: Some(problem.code()), reason: Some(problem.detail), ..bare("rejected", live.user) }
    };
    let found = match context.handle.preview(&live.user, live.number, proof, &server.merge_policy()) {
        Ok(found) => found,
        // about the session, not about the identity
        Err(error @ handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded | Refusal::Disabled)) => {
            return Err(error.into());
        }
        Err(handle::Error::Refused(refusal)) => return Ok(json(StatusCode::OK, &rejected(refusal))),
        Err(other) => return Err(other.into()),
    };
    let view = match (found, on_conflict) {
        (Preview::Unchanged, _) => bare("unchanged", live.user),
        (Preview::Linked, _) => bare("linked", live.user),
        (Preview::Owned { .. }, OnConflict::Reject) => rejected(Refusal::IdentityInUse),
        (Preview::Owned { .. }, _) if proof.of_known_user => rejected(Refusal::IdentityInUse),
        (Preview::Owned { owner, .. }, OnConflict::Switch) => bare("switched", owner),
        (Preview::Owned { merged: Err(refusal), .. }, OnConflict::Merge) => rejected(refusal),
        (Preview::Owned { owner, merged: Ok(merged) }, OnConflict::Merge) => LinkPreview {
            merged_user_id: Some(live.user.to_string()),
            created: Some(created(&merged.survivor)),
            conflicts: Some(shown(&merged.conflicts)),
            conflicts_truncated: Some(merged.conflicts.truncated),
            ..bare("merged", owner)
        },
    };
    Ok(json(StatusCode::OK, &view))
}

/// Links an identity to the user.
///
/// The user is an account from then on. The answer's tokens replace the old ones. If the identity has a different user, `on_conflict` says
/// what happens: `reject` (the default) changes nothing; `switch` logs in as that user and leaves this one as it is; `merge` makes this
/// one, who must be anonymous, part of that one: its data joins, its id becomes an alias, its sessions end, and the answer is a session
/// of that user with `merged_user_id` and `conflicts`, what could not be joined. A link or a merge whose answer was lost can be
/// repeated within 10 minutes, with the token or the cookie that it ended. `dry_run` returns what would happen and does nothing.
#[utoipa::path(post, path = "/v1/user/identities", tag = "Accounts", operation_id = "linkIdentity", security(("access_token" = []), ("reader_cookie" = [])),
    request_body(content = LinkRequest, description = "The identity, and what is to happen if a different user has it."),
    responses((status = 200, body = LinkOutcome, description = "The tokens of the session; with `dry_run`, what the link would do.")),
    extensions(("x-problems" = json!("object unknown-on-conflict account fresh-login-needed credential anonymous-identity identity-in-use sessions-used-up too-many-identities provider-linked not-anonymous data-too-large write"))))]
async fn link_identity(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let body = read::read(&request, &context, payload, &[OF_LINK, OF_CREDENTIALS]).await?;
    let on_conflict = OnConflict::of(&body)?;
    let dry_run = match body.get("dry_run") {
        None => false,
        Some(Value::Bool(dry_run)) => *dry_run,
        Some(_) => return Err(Problem::bad_field("dry_run must be true or false")),
    };
    let live = match authenticate(&request, &context, Scope::Account) {
        Ok(live) => live,
        Err(problem) if problem.status() == StatusCode::UNAUTHORIZED.as_u16() && !dry_run => {
            return again(&request, &context, &body, on_conflict, problem).await;
        }
        Err(problem) => return Err(problem),
    };
    fresh(&context, &live)?;
    if on_conflict == OnConflict::Switch && live.kind == SessionKind::Cookie && !dry_run {
        reader::leave(&request, &context);
    }
    // a code that works once is used up only when it has worked
    let proof = prove(&request, &context, &body, true).await?;
    if on_conflict == OnConflict::Merge {
        work_on_merge(&request, &context, &live, &proof).await?;
    }
    if dry_run {
        return preview(&context, &live, &proof, on_conflict);
    }
    let (server, opens) = (&context.server, (live.kind, DeviceId::default()));
    let linked = match on_conflict {
        OnConflict::Merge => {
            let merge = context.handle.merge(live.user, live.number, proof, opens, server.merge_policy());
            match within_time(&context, merge).await? {
                Joined::Linked(linked) => linked,
                Joined::Merged(into, conflicts) => {
                    use_up(&context, &body, &live.user);
                    became_part(&request, &context, &live);
                    let absorbed = Absorbed { user: &live.user, conflicts: &conflicts };
                    return Ok(merged(&request, &context, &into, live.kind, absorbed));
                }
            }
        }
        OnConflict::Switch | OnConflict::Reject => {
            match within_time(&context, context.handle.link(live.user, live.number, proof.clone())).await {
                Err(handle::Error::Refused(Refusal::IdentityInUse))
                    if on_conflict == OnConflict::Switch && !proof.of_known_user =>
                {
                    // if the owner vanishes meanwhile, no new user is created
                    let proof = Proof { of_known_user: true, ..proof };
                    let log_in = context.handle.log_in(proof, live.kind, DeviceId::default(), IdForm::TimeOrdered);
                    within_time(&context, log_in).await?
                }
                linked => linked?,
            }
        }
    };
    use_up(&context, &body, &live.user);
    // if the identity was linked already, the session and its refresh token go on
    let user = context.handle.load(&linked.user);
    let sessions = user.map(|user| user.sessions()).unwrap_or_default();
    let counter = sessions.iter().find(|s| s.number == linked.number).map_or(0, |s| s.refresh_counter);
    Ok(tokens(&request, StatusCode::OK, &context, &linked, Of { kind: live.kind, counter, lasting: true }, None))
}

/// Waits until there is time to join the two documents.
async fn work_on_merge(request: &HttpRequest, context: &Context, live: &Live, proof: &Proof) -> Result<(), Problem> {
    let owner = context.handle.owner(&proof.identity).filter(|owner| *owner != live.user);
    let size = |user: &UserId| context.handle.document(user).map_or(0, |bytes| bytes.len());
    let bytes = owner.map_or(0, |owner| size(&owner) + size(&live.user));
    work_on_data(context, Whose::of(client(request, context), live.user), bytes).await?;
    Ok(())
}

/// Uses up the code of a browser login, if the body holds one; the same request of the same user may come again.
fn use_up(context: &Context, body: &Map<String, Value>, user: &UserId) {
    let Some(code) = body.get("code").and_then(Value::as_str) else { return };
    let (codes, now) = (&context.server.codes, context.server.clock().running());
    if let Some(finished) = codes.finished.redeem(code, now) {
        // where too many are kept already, a client that loses this answer logs in again
        codes.linked.keep(code, *user, (*user, finished), now);
    }
}

fn merged(
    request: &HttpRequest,
    context: &Context,
    into: &LoggedIn,
    kind: SessionKind,
    absorbed: Absorbed<'_>,
) -> HttpResponse {
    tokens(request, StatusCode::OK, context, into, Of { kind, counter: 0, lasting: true }, Some(absorbed))
}

/// The answer to a link or a merge once more, for a client that lost it: the session that asks was replaced a moment
/// ago, by a link of the very identity that the credential proves, or by a merge into its owner. Otherwise what the check of the
/// session said.
async fn again(
    request: &HttpRequest,
    context: &Context,
    body: &Map<String, Value>,
    on_conflict: OnConflict,
    problem: Problem,
) -> Answer {
    let server = &context.server;
    let named = match bearer(request) {
        Some(token) => server.tokens.verify_access_at_any_time(token).ok().map(|it| (it.user, it.session, it.kind)),
        None if !reader::is_own(request, context) => None,
        None => reader::named(request, context).map(|(user, session)| (user, session, SessionKind::Cookie)),
    };
    let Some((user, ended, kind)) = named else { return Err(problem) };
    let is_merged = context.handle.survivor(&user).is_some();
    let may_repeat = match context.handle.successor(&user, &ended, REPEAT_S) {
        Ok(live) => {
            came_back(request, context, &live);
            !is_merged || on_conflict == OnConflict::Merge
        }
        // the account's session that was the answer may be over; a new one is begun
        Err(handle::Error::Refused(_)) => is_merged && on_conflict == OnConflict::Merge,
        Err(other) => return Err(other.into()),
    };
    if !may_repeat {
        return Err(problem);
    }
    let provider = body.get("provider").and_then(Value::as_str).unwrap_or_default();
    let proof = match browser_login::finished_before(context, &user, provider, body) {
        Ok(proof) => proof,
        Err(_) => prove(request, context, body, true).await?,
    };
    let repeated = if is_merged {
        let repeat = context.handle.repeat_merge(user, proof, (kind, DeviceId::default()));
        within_time(context, repeat).await.map(|(into, conflicts)| {
            let absorbed = Absorbed { user: &user, conflicts: &conflicts };
            merged(request, context, &into, kind, absorbed)
        })
    } else {
        context.handle.repeat_link(&user, &ended, &proof).map(|session| {
            let of = Of { kind: session.kind, counter: session.refresh_counter, lasting: true };
            tokens(request, StatusCode::OK, context, &LoggedIn::new(user, &session), of, None)
        })
    };
    match repeated {
        Ok(response) => {
            use_up(context, body, &user);
            Ok(response)
        }
        Err(handle::Error::Refused(_)) => Err(problem),
        Err(other) => Err(other.into()),
    }
}

/// Unlinks an identity from the user.
///
/// The last one stays.
#[utoipa::path(delete, path = "/v1/user/identities/{provider}/{id}", tag = "Accounts", operation_id = "unlinkIdentity", security(("access_token" = []), ("reader_cookie" = [])),
    params(("provider" = String, Path, description = "The identity's provider, as listed.", example = "local-userpass"),
        ("id" = String, Path, description = "The identity's id, as listed.", example = "ada@example.com")),
    responses((status = 204, description = "The identity is unlinked.")),
    extensions(("x-problems" = json!("object account fresh-login-needed no-such-identity last-identity write"))))]
async fn unlink_identity(
    request: HttpRequest,
    context: Data<Context>,
    path: web::Path<(String, String)>,
    payload: Payload,
) -> Answer {
    read::none(&request, &context, payload).await?;
    let live = authenticate(&request, &context, Scope::Account)?;
    fresh(&context, &live)?;
    let user = user_of(&context, &live)?;
    let (provider, id) = path.into_inner();
    let named = |identity: &&Identity| *identity.key.provider == *provider && identities::shown_id(identity) == id;
    let found = user.identities().iter().find(named);
    let key = found.ok_or(handle::Error::Refused(Refusal::NoSuchIdentity))?.key.clone();
    within_time(&context, context.handle.unlink(live.user, key)).await?;
    Ok(HttpResponse::NoContent().finish())
}
