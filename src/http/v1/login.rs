//! `POST /v1/sessions`: four ways to begin a session.

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload, ServiceConfig};
use passerby_actors::domain::{DeviceId, Refusal, SessionId, SessionKind};
use passerby_actors::handle::{self, IdForm, LoggedIn};
use serde_json::{Map, Value};

use super::challenge::{afford, prove_work};
use super::credential::{afford_credential, misplaced, prove_with};
use super::tokens::{new_session, session_body, tokens};
use crate::codes::Transfer;
use crate::http::fields::{OF_CREDENTIALS, without_nulls};
use crate::http::reader::{self, Found};
use crate::http::schemas::{LoginRequest, NewSession, ReaderSession};
use crate::http::{Answer, Context, Problem, at, body, client, read, within_time};
use crate::limits::budget::Spend;
use crate::provider::ANON_USER;
use crate::provider::identity::IdentityError;

/// Adds the route.
pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(at("/v1/sessions").on(Method::POST, create_session));
}

/// What has no credential.
const ANONYMOUSLY: &str = "an anonymous login, and \"provider\" names the one whose credential it is";

/// What [`create_session`] calls a code of `POST /v1/session/transfer`.
const TRANSFER: &str = "transfer";

/// What every login may have besides the credential.
const OF_LOGIN: &[&str] = &["provider", "mode", "altcha"];

/// A login, as its body asks for it.
struct Login {
    kind: SessionKind,
    way: Way,
    body: Map<String, Value>,
}

/// What makes the session's user known.
enum Way {
    /// Nothing: a new anonymous user.
    Anonymous,
    /// The reader's cookie, if it still names one.
    Reader,
    /// A code that another session of the user's gave out.
    Transfer,
    /// A credential for an identity.
    Identity,
}

impl Login {
    fn of(request: &HttpRequest, bytes: &[u8]) -> Result<Self, Problem> {
        let body = read::named(request, bytes, &[OF_LOGIN, OF_CREDENTIALS])?;
        // a form that forgot the provider would take every password, and one that is not filled in is a form all the same
        if body.get("provider").is_none_or(Value::is_null) {
            misplaced(&body, &[], ANONYMOUSLY)?;
        }
        let body = without_nulls(body);
        let kind = match body.get("mode").map(Value::as_str) {
            None | Some(Some("bearer")) => SessionKind::V1,
            Some(Some("cookie")) => SessionKind::Cookie,
            _ => {
                let detail = "mode must be \"bearer\" or \"cookie\"";
                return Err(Problem::new(StatusCode::BAD_REQUEST, "unknown-mode", detail));
            }
        };
        let way = match body.get("provider") {
            Some(provider) if provider == TRANSFER => Way::Transfer,
            Some(provider) if provider != ANON_USER => Way::Identity,
            _ if kind == SessionKind::Cookie => Way::Reader,
            _ => Way::Anonymous,
        };
        Ok(Self { kind, way, body })
    }
}

/// Begins a session.
///
/// Without a provider, or with `anon-user`, a new anonymous user is created. Otherwise it is the session of the owner of the identity
/// that the credential proves; if no user has the identity, one is created. The body may be left out.
///
/// With `mode` `cookie` the answer holds no token and sets a reader's cookie. While that lives, the same request returns the same
/// reader again (200).
#[utoipa::path(post, path = "/v1/sessions", tag = "Sessions", operation_id = "createSession", security((), ("reader_cookie" = [])),
    request_body(content = Option<LoginRequest>, description = "How to log in. None at all: as a new anonymous user, with tokens."),
    responses((status = 200, body = ReaderSession, description = "The reader of the live cookie.", headers(("set-cookie" = Option<String>, description = "With `mode` `cookie`: the reader's cookie."))),
        (status = 201, body = NewSession, description = "The new session: its tokens or, with `mode` `cookie`, the reader of the new cookie.", headers(("set-cookie" = Option<String>, description = "With `mode` `cookie`: the reader's cookie.")))),
    extensions(("x-problems" = json!("object unknown-mode credential over-budget cross-site user-disabled session-ended sessions-used-up write capacity"))))]
pub(crate) async fn create_session(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let Login { kind, way, body } = Login::of(&request, &body::read(&request, &context, payload).await?)?;
    if kind == SessionKind::Cookie && !reader::is_own(&request, &context) {
        return Err(Problem::cross_site());
    }
    match way {
        Way::Anonymous => anonymous(&request, &context, &body).await,
        Way::Reader => by_cookie(&request, &context, &body).await,
        Way::Transfer => transferred(&request, &context, &body, kind).await,
        Way::Identity => identified(&request, &context, &body, kind).await,
    }
}

/// Whether a body is that of an anonymous login, and these are not switched off.
fn allow_anonymous(context: &Context, body: &Map<String, Value>) -> Result<(), Problem> {
    misplaced(body, &[], ANONYMOUSLY)?;
    if context.server.app().providers.anon_user_enabled {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "provider-disabled", "anonymous logins are switched off"))
}

/// A new anonymous user.
async fn anonymous(request: &HttpRequest, context: &Context, body: &Map<String, Value>) -> Answer {
    allow_anonymous(context, body)?;
    afford(request, context, Spend::Create, body)?;
    let kind = SessionKind::V1;
    let created = context.handle.login(kind, IdForm::TimeOrdered).await;
    let live = context.server.budgets.kept_if_stored(client(request, context), 1, created)?;
    Ok(tokens(request, StatusCode::CREATED, context, &live, new_session(kind, false), None))
}

/// The owner of the identity that the credential proves, or a new user who has it.
async fn identified(request: &HttpRequest, context: &Context, body: &Map<String, Value>, kind: SessionKind) -> Answer {
    let provider = afford_credential(request, context, body)?;
    if kind == SessionKind::Cookie {
        reader::leave(request, context);
    }
    let proof = prove_with(&*provider, request, context, body, false).await?;
    let log_in = context.handle.log_in(proof, kind, DeviceId::default(), IdForm::TimeOrdered);
    let live = within_time(context, log_in).await?;
    Ok(tokens(request, StatusCode::CREATED, context, &live, new_session(kind, true), None))
}

/// The reader of the live cookie, the one that a lazy cookie names, or a new one; without a token in the answer (S18).
async fn by_cookie(request: &HttpRequest, context: &Context, body: &Map<String, Value>) -> Answer {
    allow_anonymous(context, body)?;
    let lazy = match reader::look(request, context)? {
        Found::Reader(live, cookie) => {
            let session = SessionId::derive(&live.user, live.number);
            let mut response = session_body(StatusCode::OK, &live.user, session, None);
            reader::slide(&mut response, request, context, &live, &cookie);
            return Ok(response);
        }
        Found::Replaced(live) => {
            let session = SessionId::derive(&live.user, live.number);
            return Ok(session_body(StatusCode::OK, &live.user, session, None));
        }
        Found::Lazy(cookie) => Some(cookie.user),
        Found::Nobody => None,
    };
    let server = &context.server;
    // of many requests for one reader, one pays
    let (created, costs) = match lazy {
        Some(user) => {
            let exists = || context.handle.exists(&user);
            let paid = server.budgets.spend_on_reader(&user, client(request, context), exists);
            // held until the reader is created
            let (_paid, costs) = match paid {
                Ok(paid) => {
                    let costs = u64::from(paid.is_some());
                    (paid, costs)
                }
                Err(over) => {
                    prove_work(request, context, Spend::Create, over, body)?;
                    (None, 1)
                }
            };
            let created = match context.handle.create_lazily(&user).await {
                Err(handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => None,
                other => Some(other),
            };
            (created, costs)
        }
        None => {
            afford(request, context, Spend::Create, body)?;
            (None, 1)
        }
    };
    let created = match created {
        Some(created) => created,
        None => context.handle.login(SessionKind::Cookie, IdForm::TimeOrdered).await,
    };
    let live = server.budgets.kept_if_stored(client(request, context), costs, created)?;
    if reader::is_late(request, context) || !reader::may_set(context, &live.session) {
        return Ok(session_body(StatusCode::CREATED, &live.user, live.session, None));
    }
    Ok(tokens(request, StatusCode::CREATED, context, &live, new_session(SessionKind::Cookie, false), None))
}

/// A new session of the user whose session issued the code, if that one still lives.
async fn transferred(request: &HttpRequest, context: &Context, body: &Map<String, Value>, kind: SessionKind) -> Answer {
    let server = &context.server;
    misplaced(body, &["code"], "a login with \"transfer\"")?;
    let code = body.get("code").and_then(Value::as_str).ok_or_else(|| Problem::missing_field("code"))?;
    afford(request, context, Spend::Link, body)?;
    // no code is used up in vain
    if !server.may_refuse() {
        return Err(handle::Error::NotWritable.into());
    }
    if kind == SessionKind::Cookie {
        reader::leave(request, context);
    }
    let refused = || Problem::from(IdentityError::Code);
    let Transfer { user, session } =
        server.codes.transfers.redeem(code, server.clock().running()).ok_or_else(refused)?;
    let opening = context.handle.open_session(&user, kind, DeviceId::default(), Some(session));
    let opened = match within_time(context, opening).await {
        Err(handle::Error::Refused(Refusal::Gone | Refusal::SessionEnded)) => return Err(refused()),
        other => other?,
    };
    let (session, lasting) = (SessionId::derive(&user, opened.number), !opened.anonymous_at_start);
    let live = LoggedIn { user, number: opened.number, session, epoch: opened.epoch };
    Ok(tokens(request, StatusCode::CREATED, context, &live, new_session(kind, lasting), None))
}
