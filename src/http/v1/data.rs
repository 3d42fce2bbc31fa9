//! The document of the session's user: one JSON object, changed in the order in which its changes arrive.

use actix_web::http::header::{self, ContentType, EntityTag, Header as _, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::{
    Change, Document, DocumentRefusal, Edited, Expected, NoPatch, Patch, Refusal, SessionId, has_more_members,
};
use passerby_actors::handle;
use serde::Serialize;
use serde_json::{Map, Number, Value};
use utoipa::ToSchema;

use crate::http::preconditions::Tags;
use crate::http::schemas::{Increment, JsonPatchStep, MergePatch, UserDocument};
use crate::http::{Answer, Context, JSON, Problem, Scope, at, authenticate, body, client, json, read, within_time};
use crate::limits::budget::OverBudget;
use crate::limits::data_work::Whose;
use crate::limits::network::Network;

const ACCEPT_PATCH: (HeaderName, HeaderValue) = (
    HeaderName::from_static("accept-patch"),
    HeaderValue::from_static("application/merge-patch+json, application/json-patch+json"),
);

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .service(
            at("/v1/data")
                .on(Method::GET, get_data)
                .on(Method::PUT, put_data)
                .on(Method::PATCH, patch_data)
                .on(Method::DELETE, delete_data),
        )
        .service(at("/v1/data/increment").on(Method::POST, increment_data));
}

/// The result of a change.
#[derive(Serialize, ToSchema)]
pub(crate) struct DataChanged {
    /// The document's version, also as the `ETag`. It never goes back while the user lives.
    #[schema(example = 7)]
    version: u64,
    /// The number after an increment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<f64>, nullable = false, example = 4)]
    value: Option<Number>,
}

/// Reads the document.
#[utoipa::path(get, path = "/v1/data", tag = "Data", operation_id = "getData", security(("access_token" = []), ("reader_cookie" = [])),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of the version that the client has: 304 if it is still that one.", example = "\"7\"")),
    responses((status = 200, body = UserDocument, description = "The document.", headers(("etag" = String, description = "The document's version, as in `\"7\"`."))),
        (status = 304, description = "It is still the version of `If-None-Match`.")),
    extensions(("x-problems" = json!("session no-data internal"))))]
pub(crate) async fn get_data(request: HttpRequest, context: Data<Context>) -> Answer {
    let live = authenticate(&request, &context, Scope::Data)?;
    let stored = context.handle.document(&live.user);
    let view = stored.as_deref().map(Document::view).transpose().map_err(|error| {
        tracing::error!(user = %live.user, %error, "a document cannot be read");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the document cannot be read")
    })?;
    let Some((version, text)) = view.and_then(|view| Some((view.version, view.json?))) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "no-data", "the user has no document"));
    };
    let tag = tag(version);
    let known = match Tags::of(&request, &header::IF_NONE_MATCH) {
        Some(Ok(Tags::Any)) => true,
        Some(Ok(Tags::Of(known))) => versions(&known).contains(&version),
        // the whole document loses nothing
        Some(Err(_)) | None => false,
    };
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header(header::ETag(tag));
    if known {
        return Ok(response.finish());
    }
    Ok(response.insert_header((header::CONTENT_TYPE, JSON)).body(text.to_owned()))
}

/// Replaces the document.
#[utoipa::path(put, path = "/v1/data", tag = "Data", operation_id = "putData", security(("access_token" = []), ("reader_cookie" = [])),
    params(("If-Match" = Option<String>, Header, description = "The `ETag` that the change is for, or several, or `*` for any document. If the version differs, nothing changes: 412. Weak tags, as compressing proxies create them, count as strong ones.", example = "\"7\""),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no document; or the `ETag`s that it must not have.", example = "*"),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request that no other request of the user has, such as a UUID. Sent again, the request is done once and answered as the first time, as long as it is one of the user's last 256.", example = "2f1c6f0e-8f44-4f7b-9c63-5a0c8b7a1d2e")),
    request_body(content = UserDocument, description = "The new document: any JSON object."),
    responses((status = 200, body = DataChanged, description = "The new version.", headers(("etag" = String, description = "The document's version, as in `\"7\"`.")))),
    extensions(("x-problems" = json!("object session over-budget bad-precondition bad-idempotency-key write version-mismatch data-too-large data-full idempotency-key-reused not-an-object:400 patch-too-costly data-too-deep"))))]
pub(crate) async fn put_data(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    edit(&request, &context, payload, |body, most| Ok(Change::Put(object(read_value(body, most)?)?))).await
}

/// Changes a part of the document.
///
/// By a merge patch (RFC 7396) or, with content type `application/json-patch+json`, by a JSON patch (RFC 6902). A missing
/// document counts as an empty one.
#[utoipa::path(patch, path = "/v1/data", tag = "Data", operation_id = "patchData", security(("access_token" = []), ("reader_cookie" = [])),
    params(("If-Match" = Option<String>, Header, description = "The `ETag` that the change is for, or several, or `*` for any document. If the version differs, nothing changes: 412. Weak tags, as compressing proxies create them, count as strong ones.", example = "\"7\""),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request that no other request of the user has, such as a UUID. Sent again, the request is done once and answered as the first time, as long as it is one of the user's last 256.", example = "2f1c6f0e-8f44-4f7b-9c63-5a0c8b7a1d2e")),
    request_body(content((MergePatch = "application/merge-patch+json"), (Vec<JsonPatchStep> = "application/json-patch+json")), description = "The patch."),
    responses((status = 200, body = DataChanged, description = "The new version.", headers(("etag" = String, description = "The document's version, as in `\"7\"`.")))),
    extensions(("x-problems" = json!("object session over-budget bad-precondition bad-idempotency-key write version-mismatch data-too-large data-full idempotency-key-reused not-an-object bad-patch unknown-patch patch-too-costly patch-conflict data-too-deep"))))]
pub(crate) async fn patch_data(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let content_type = ContentType::parse(&request).map(|content_type| content_type.essence_str().to_owned());
    let change = |body: &[u8], most: usize| {
        let body = read_value(body, most)?;
        match content_type.as_deref() {
            Ok("application/json-patch+json") => json_patch(body),
            // what curl says unasked, and what browsers say
            Ok(
                "application/merge-patch+json"
                | "application/json"
                | "application/x-www-form-urlencoded"
                | "text/plain",
            )
            | Err(_) => object(body).map(Change::Merge),
            Ok(_) => {
                let detail = "a patch is application/merge-patch+json or application/json-patch+json";
                Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unknown-patch", detail))
            }
        }
    };
    let mut response = edit(&request, &context, payload, change).await?;
    if response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        let (name, value) = ACCEPT_PATCH;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// Adds to a number in the document.
///
/// A number that is not there is 0. Concurrent increments all count.
#[utoipa::path(post, path = "/v1/data/increment", tag = "Data", operation_id = "incrementData", security(("access_token" = []), ("reader_cookie" = [])),
    params(("If-Match" = Option<String>, Header, description = "The `ETag` that the change is for, or several, or `*` for any document. If the version differs, nothing changes: 412. Weak tags, as compressing proxies create them, count as strong ones.", example = "\"7\""),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request that no other request of the user has, such as a UUID. Sent again, the request is done once and answered as the first time, as long as it is one of the user's last 256.", example = "2f1c6f0e-8f44-4f7b-9c63-5a0c8b7a1d2e")),
    request_body(content = Increment, description = "Where, and how much."),
    responses((status = 200, body = DataChanged, description = "The new version, and the number.", headers(("etag" = String, description = "The document's version, as in `\"7\"`.")))),
    extensions(("x-problems" = json!("object session over-budget bad-precondition bad-idempotency-key write version-mismatch data-too-large data-full idempotency-key-reused not-an-object bad-field not-a-number number-too-large data-too-deep"))))]
pub(crate) async fn increment_data(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    let change = |body: &[u8], _: usize| increment(&read::of(&request, body, &[OF_INCREMENT])?);
    edit(&request, &context, payload, change).await
}

/// Deletes the document.
///
/// The version of the next document goes on from it.
#[utoipa::path(delete, path = "/v1/data", tag = "Data", operation_id = "deleteData", security(("access_token" = []), ("reader_cookie" = [])),
    params(("If-Match" = Option<String>, Header, description = "The `ETag` that the change is for, or several, or `*` for any document. If the version differs, nothing changes: 412. Weak tags, as compressing proxies create them, count as strong ones.", example = "\"7\""),
        ("Idempotency-Key" = Option<String>, Header, description = "A name for this request that no other request of the user has, such as a UUID. Sent again, the request is done once and answered as the first time, as long as it is one of the user's last 256.", example = "2f1c6f0e-8f44-4f7b-9c63-5a0c8b7a1d2e")),
    responses((status = 200, body = DataChanged, description = "The new version.", headers(("etag" = String, description = "The document's version, as in `\"7\"`.")))),
    extensions(("x-problems" = json!("object session over-budget bad-precondition bad-idempotency-key write version-mismatch data-full idempotency-key-reused"))))]
pub(crate) async fn delete_data(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    edit(&request, &context, payload, |body, _| read::none_of(&request, body).map(|()| Change::Delete)).await
}

async fn edit(
    request: &HttpRequest,
    context: &Context,
    payload: Payload,
    change: impl FnOnce(&[u8], usize) -> Result<Change, Problem>,
) -> Answer {
    let mut seen = None;
    let answer: Answer = async {
        // the body first: a client that is refused sends it all the same; but it is parsed only after the checks
        let body = body::read(request, context, payload).await;
        let live = authenticate(request, context, Scope::Data)?;
        let body = body?;
        read::none_in_query(request, &[])?;
        let whose = Whose::of(client(request, context), live.user);
        let document = context.handle.document(&live.user).map_or(0, |bytes| bytes.len());
        if work_on_data(context, whose, body.len() + document).await? {
            // its session may have ended meanwhile
            context.handle.check(&live.user, &SessionId::derive(&live.user, live.number), None)?;
        }
        let change = change(&body, most_members(context, document))?;
        let operation = operation_name(request)?;
        let (budgets, network) = (&context.server.budgets, Network::of(client(request, context)));
        let expected = expected(request)?;
        let edit =
            context.handle.edit_within(&live.user, change, expected, operation, None, budgets.may_store(network));
        let edited = within_time(context, edit).await.inspect_err(|error| {
            if let handle::Error::Refused(Refusal::Document(DocumentRefusal::Version(version))) = error {
                seen = Some(*version);
            }
        })?;
        budgets.stored(network, edited.grown);
        seen = Some(edited.version);
        told(context, whose, &edited);
        let Edited { version, value, .. } = edited;
        Ok(json(StatusCode::OK, &DataChanged { version, value }))
    }
    .await;
    let mut response = answer.unwrap_or_else(|problem| problem.respond(context));
    if let Some(tag) = seen.and_then(|version| HeaderValue::from_str(&tag(version).to_string()).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// Members that a change of a document may name: more of them than any document has, which takes five bytes of text for each at
/// least. `document`: bytes of the one that is there, which may be larger than others.
pub(crate) fn most_members(context: &Context, document: usize) -> usize {
    context.server.settings.data.max_document.max(document) / 5
}

/// Whether a change names no more members than it may.
///
/// # Errors
/// 422 `patch-too-costly`.
pub(crate) fn has_few_members(text: &str, most: usize) -> Result<(), Problem> {
    // four bytes of text hold one at most, so that small changes need no look
    if text.len() / 4 <= most || !has_more_members(text, most) {
        return Ok(());
    }
    let detail = format!("the change names more than {most} members, which no document has room for");
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "patch-too-costly", detail))
}

/// Reads the JSON of a change.
fn read_value(body: &[u8], most: usize) -> Result<Value, Problem> {
    has_few_members(str::from_utf8(body).unwrap_or_default(), most)?;
    Ok(body::json(body)?)
}

/// Waits until work of this many bytes on documents has its turn, and answers whether it had to.
///
/// # Errors
/// It would take too long: 429.
pub(crate) async fn work_on_data(context: &Context, whose: Whose, bytes: usize) -> Result<bool, OverBudget> {
    let wait = context.server.data_work.spend(whose, bytes)?;
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    Ok(!wait.is_zero())
}

/// Counts what it takes to tell the user's sockets of a change.
pub(crate) fn told(context: &Context, whose: Whose, edited: &Edited) {
    let bytes = edited.delta.as_ref().map_or(0, |delta| delta.size());
    // it takes less than a change does
    context.server.data_work.owe(whose, bytes.saturating_mul(edited.told) / 8);
}

/// The change that a JSON patch asks for.
pub(crate) fn json_patch(patch: Value) -> Result<Change, Problem> {
    let bad = |error: NoPatch| Problem::new(StatusCode::BAD_REQUEST, "bad-patch", error.to_string());
    Patch::of(patch).map(Change::Patch).map_err(bad)
}

fn tag(version: u64) -> EntityTag {
    EntityTag::new_strong(version.to_string())
}

/// What a client calls its request, if it calls it something.
pub(crate) fn operation_name(request: &HttpRequest) -> Result<Option<&[u8]>, Problem> {
    let name = request.headers().get("idempotency-key").map(HeaderValue::as_bytes);
    if name.is_some_and(<[u8]>::is_empty) {
        let detail = "Idempotency-Key names a request, and is empty";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad-idempotency-key", detail));
    }
    Ok(name)
}

/// What proxies append to the tag of an answer that they compress, as Apache and Caddy do.
const CODINGS: [&str; 5] = ["-gzip", "-br", "-zstd", "-deflate", ";gzip"];

/// The versions that tags name: weak ones as well, since a proxy that compresses an answer weakens its tag, and the document is the
/// same JSON all the same. A tag that is not ours matches no version.
fn versions(tags: &[EntityTag]) -> Box<[u64]> {
    let version = |tag: &EntityTag| {
        let text = tag.tag();
        let text = CODINGS.iter().find_map(|coding| text.strip_suffix(coding)).unwrap_or(text);
        text.parse().ok().filter(|version: &u64| version.to_string() == text)
    };
    tags.iter().filter_map(version).collect()
}

/// The preconditions of RFC 9110 §13.1.
fn expected(request: &HttpRequest) -> Result<Expected, Problem> {
    let bad = |detail| Err(Problem::new(StatusCode::BAD_REQUEST, "bad-precondition", detail));
    let tags = |name| Tags::of(request, name);
    match (tags(&header::IF_MATCH), tags(&header::IF_NONE_MATCH)) {
        (None, None) => Ok(Expected::Anything),
        (Some(_), Some(_)) => bad("a change takes If-Match or If-None-Match, and not both"),
        (Some(Ok(Tags::Any)), None) => Ok(Expected::Something),
        (Some(Ok(Tags::Of(tags))), None) => Ok(Expected::OneOf(versions(&tags))),
        (Some(Err(_)), None) => bad("If-Match takes entity tags, such as \"7\", or * alone"),
        (None, Some(Ok(Tags::Any))) => Ok(Expected::Nothing),
        (None, Some(Ok(Tags::Of(tags)))) => Ok(Expected::NoneOf(versions(&tags))),
        (None, Some(Err(_))) => bad("If-None-Match takes entity tags, such as \"7\", or * alone"),
    }
}

pub(crate) fn object(value: Value) -> Result<Map<String, Value>, Problem> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(Problem::new(StatusCode::BAD_REQUEST, "not-an-object", "this must be a JSON object")),
    }
}

/// What an increment may have.
pub(crate) const OF_INCREMENT: &[&str] = &["path", "by"];

/// The increment that a JSON object asks for.
pub(crate) fn increment(body: &Map<String, Value>) -> Result<Change, Problem> {
    let path = body.get("path").and_then(Value::as_str).ok_or_else(|| Problem::missing_field("path"))?;
    let escapes = path.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !escapes || !(path.is_empty() || path.starts_with('/')) {
        let detail = "path must be a JSON pointer, such as /visits (RFC 6901)";
        return Err(Problem::bad_field(detail));
    }
    let by = match body.get("by") {
        None | Some(Value::Null) => Number::from(1),
        Some(Value::Number(by)) => by.clone(),
        Some(_) => return Err(Problem::bad_field("by must be a number")),
    };
    Ok(Change::Increment { path: path.to_owned(), by })
}
