//! The OpenAPI document, written by the handlers' own annotations, and the page that shows it.

mod page;
mod problems;

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::web;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{OpenApi, PartialSchema as _};

use self::problems::{CLIENT_ERRORS, Kind, PROBLEMS, kinds};
use super::files::{File, file};
use super::problem::Problem;
use super::schemas::{LinkOptions, LoginOptions, Proof};
use super::{app_services, v1};

/// The largest part of what is said in the document as a whole.
const ABOUT: &str = include_str!("about.md");

/// An example for each operation, by its id: `request`, and answers by their status.
const EXAMPLES: &str = include_str!("examples.json");

#[derive(OpenApi)]
#[openapi(
    info(title = "Passerby", description = ABOUT),
    paths(
        v1::login::create_session,
        v1::session::session,
        v1::session::refresh_session,
        v1::session::end_session,
        v1::user_sessions::transfer,
        v1::challenge::challenge,
        v1::jwks::jwks,
        v1::identities::list_identities,
        v1::identities::link_identity,
        v1::identities::unlink_identity,
        v1::user_sessions::list_sessions,
        v1::user_sessions::end_other_sessions,
        v1::user_sessions::end_one_session,
        v1::export::export,
        v1::session::delete_user,
        v1::userpass::register,
        v1::userpass::confirm_registration,
        v1::userpass::resend_confirmation,
        v1::userpass::ask_for_reset,
        v1::userpass::reset_password,
        v1::userpass::change_password,
        v1::api_keys::list_keys,
        v1::api_keys::create_key,
        v1::api_keys::change_key,
        v1::api_keys::remove_key,
        v1::browser_login::begin,
        v1::browser_login::callback,
        v1::browser_login::callback_by_form,
        v1::data::get_data,
        v1::data::put_data,
        v1::data::patch_data,
        v1::data::increment_data,
        v1::data::delete_data,
        super::socket::ticket,
        super::socket::open,
        v1::meters::list_meters,
        v1::meters::use_meter,
        super::verify::verify,
        app_services::location::location,
        app_services::login::login,
        app_services::profile::profile,
        app_services::session::refresh,
        app_services::session::logout,
        app_services::session::delete,
        app_services::userpass::register_user,
        app_services::userpass::confirm,
        app_services::userpass::send_confirmation,
        app_services::userpass::call_confirmation,
        app_services::userpass::reset,
        app_services::userpass::send_reset,
        app_services::userpass::call_reset,
        app_services::api_keys::create_key,
        app_services::api_keys::fetch_keys,
        app_services::api_keys::fetch_key,
        app_services::api_keys::delete_key,
        app_services::api_keys::enable_key,
        app_services::api_keys::disable_key,
    ),
    components(schemas(Problem, app_services::ErrorBody)),
    tags(
        (name = "Sessions", description = "Beginning, refreshing and ending sessions, and checking their tokens elsewhere."),
        (name = "Accounts", description = "A user's identities and sessions. A user who has linked an identity is an account; until then, the user is anonymous."),
        (name = "Passwords", description = "Mail addresses and their passwords. Whether an address is known is never told."),
        (name = "API keys", description = "Keys with which an account's own programs log in."),
        (name = "Browser login", description = "Logging in at an OpenID Connect issuer, by sending the browser there and back."),
        (name = "Data", description = "The user's document: one JSON object, changed in the order in which its changes arrive; and a socket on which it is live."),
        (name = "Readers", description = "For sites behind a proxy: who a visitor is, and what a visitor has used."),
        (name = "App Services", description = "The client API of MongoDB Atlas App Services, as its SDKs speak it."),
    ),
    modifiers(&Security)
)]
struct Annotated;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, about) in [
            ("access_token", "The access token of a session: `Authorization: Bearer …`. Good for half an hour."),
            ("refresh_token", "The refresh token of a session: `Authorization: Bearer …`."),
        ] {
            let bearer =
                HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(about));
            components.add_security_scheme(name, SecurityScheme::Http(bearer.build()));
        }
        let about = "A reader's cookie, which no script can read. It is called `__Secure-passerby` with `cookie.domain`, and `passerby` on \
                     loopback without TLS. A request that changes something needs `Sec-Fetch-Site` or `Origin` besides.";
        let cookie = ApiKeyValue::with_description("__Host-passerby", about);
        components.add_security_scheme("reader_cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
/// The page that shows it.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    let order: Vec<String> = Annotated::openapi().paths.paths.into_keys().collect();
    page::of(&DOCUMENT, &order)
});

/// The document, without the address of the server.
pub fn openapi() -> &'static Value {
    &DOCUMENT
}

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig, public_url: Option<&str>) {
    let mut document = DOCUMENT.clone();
    if let Some(url) = public_url {
        document["servers"] = json!([{ "url": url, "description": "This server." }]);
    }
    file(config, File { path: "/openapi.json", content_type: "application/json", text: document.to_string().into() });
    let page = File { path: "/openapi.html", content_type: "text/html; charset=utf-8", text: PAGE.as_str().into() };
    file(config, page);
}

/// What the annotations say, with what is the same in many places added.
fn document() -> Value {
    let mut document = serde_json::to_value(Annotated::openapi()).unwrap_or_default();
    let examples: Value = serde_json::from_str(EXAMPLES).unwrap_or_default();
    document["servers"] = json!([{ "url": "/", "description": "The server that this document comes from." }]);
    for (path, item) in members(&mut document["paths"]) {
        let is_app_services = app_services::serves(path);
        for operation in members(item).map(|(_, operation)| operation) {
            complete(operation, is_app_services);
            let id = operation["operationId"].as_str().unwrap_or_default();
            give_examples(operation, &examples[id].clone());
        }
    }
    let schemas = &mut document["components"]["schemas"];
    for (request, options) in [("LoginRequest", LoginOptions::schema()), ("LinkRequest", LinkOptions::schema())] {
        let choices = schemas[request]["oneOf"].as_array().cloned().unwrap_or_default();
        let names = choices.iter().filter_map(|choice| choice["$ref"].as_str()?.rsplit('/').next());
        names.for_each(|name| add_members(&mut schemas[name], &options));
    }
    for name in ["Registration", "MailAddress", "MailToken", "PasswordReset", "PasswordChange"] {
        add_members(&mut schemas[name], &Proof::schema());
    }
    document["components"]["headers"] = headers();
    document["components"]["examples"] = PROBLEMS.iter().map(|kind| (example_name(kind), example(kind))).collect();
    simplify(&mut document);
    // an answer may be both
    for name in ["NewSession", "LinkOutcome"] {
        if let Some(schema) = document["components"]["schemas"][name].as_object_mut()
            && let Some(either) = schema.remove("oneOf")
        {
            schema.insert("anyOf".to_owned(), either);
        }
    }
    document
}

/// Adds the members of one object to a second one, besides those that it has; it takes no others.
fn add_members(schema: &mut Value, options: &impl Serialize) {
    // the simplest form of a schema of one choice is that choice, which then has its members
    simplify(schema);
    schema["additionalProperties"] = false.into();
    let mut options = serde_json::to_value(options).unwrap_or_default();
    for (name, member) in members(&mut options["properties"]) {
        if schema["properties"].get(name).is_none() {
            schema["properties"][name] = member.clone();
        }
    }
}

/// The members of an object; of anything else none.
fn members(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

/// Writes types as simply as they can be written: a choice of one is that one, and a choice of null and texts is an enumeration with
/// null. A description beside a reference is of the place, not of what is referred to.
fn simplify(value: &mut Value) {
    if let Some(items) = value.as_array_mut() {
        items.iter_mut().for_each(simplify);
    }
    let Some(object) = value.as_object_mut() else { return };
    object.values_mut().for_each(simplify);
    object.remove("propertyNames");
    let Some(choices) = object.get("oneOf").and_then(Value::as_array).cloned() else { return };
    let (nulls, others): (Vec<_>, Vec<_>) =
        choices.into_iter().partition(|choice| *choice == json!({ "type": "null" }));
    let [only] = &others[..] else { return };
    let mut only = only.as_object().cloned().unwrap_or_default();
    if only.contains_key("$ref") {
        if let Some(description) = only.remove("description") {
            object.entry("description").or_insert(description);
            let refers = nulls.into_iter().chain([only.into()]);
            object.insert("oneOf".to_owned(), refers.collect());
        }
        return;
    }
    object.remove("oneOf");
    if !nulls.is_empty() {
        only.insert("type".to_owned(), json!([only.get("type"), "null"]));
        if let Some(values) = only.get_mut("enum").and_then(Value::as_array_mut) {
            values.push(Value::Null);
        }
    }
    for (name, value) in only {
        object.entry(name).or_insert(value);
    }
}

/// Writes the error responses of an operation, from what it has in `x-problems`.
fn complete(operation: &mut Value, is_app_services: bool) {
    let Some(object) = operation.as_object_mut() else { return };
    object.entry("security").or_insert_with(|| json!([]));
    // what may be left out is not null where there are no nulls
    for parameter in object.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        never_null(&mut parameter["schema"]);
    }
    for (_, response) in object.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
        for (_, header) in response.get_mut("headers").into_iter().flat_map(members) {
            never_null(&mut header["schema"]);
        }
    }
    let words = object.remove("x-problems").unwrap_or_default();
    let table = if is_app_services { CLIENT_ERRORS } else { PROBLEMS };
    let kinds = kinds(table, words.as_str().unwrap_or_default());
    let responses = object.entry("responses").or_insert_with(|| json!({}));
    for of_status in kinds.chunk_by(|a, b| a.status == b.status) {
        responses[of_status[0].status.to_string()] = response(of_status, is_app_services);
    }
}

/// A type that is not null.
fn never_null(schema: &mut Value) {
    simplify(schema);
    if let Some([only, _]) = schema["type"].as_array().map(Vec::as_slice) {
        schema["type"] = only.clone();
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
}

fn response(kinds: &[&Kind], is_app_services: bool) -> Value {
    let status = kinds[0].status;
    let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let list = kinds.iter().map(|kind| match kind.code {
        Some(code) => format!("- `{code}`: {}", kind.meaning),
        None => format!("- {}", kind.meaning),
    });
    let description = format!("{reason}\n\n{}", list.collect::<Vec<_>>().join("\n"));
    let mut codes: Vec<Value> = kinds.iter().map(|kind| kind.code.map(str::to_owned).into()).collect();
    codes.dedup();
    let mut content = json!({ "schema": { "$ref": format!("#/components/schemas/{}", if is_app_services { "AppServicesError" } else { "Problem" }) } });
    if is_app_services {
        content["examples"] = kinds.iter().map(|kind| (kind.word.to_owned(), client_example(kind))).collect();
    } else {
        let named = |kind: &&Kind| {
            let name = example_name(kind);
            (kind.word.to_owned(), json!({ "$ref": format!("#/components/examples/{name}") }))
        };
        content["examples"] = kinds.iter().map(named).collect();
    }
    let content_type = if is_app_services { "application/json" } else { "application/problem+json" };
    let mut headers = Map::new();
    let named = match status {
        401 if !is_app_services => Some("WWW-Authenticate"),
        429 | 503 => Some("Retry-After"),
        _ => None,
    };
    for name in named.into_iter().chain(is_app_services.then_some("X-AppServices-Request-Id")) {
        headers.insert(name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }));
    }
    let mut response = json!({ "description": description, "content": { content_type: content }, "x-codes": codes });
    if !headers.is_empty() {
        response["headers"] = headers.into();
    }
    response
}

fn headers() -> Value {
    json!({
        "Retry-After": {
            "description": "Seconds after which another try makes sense.",
            "schema": { "type": "integer", "minimum": 1 },
            "example": 2,
        },
        "WWW-Authenticate": {
            "description": "`Bearer`; of a token that is no good, with `error=\"invalid_token\"` (RFC 6750).",
            "schema": { "type": "string" },
            "example": "Bearer error=\"invalid_token\"",
        },
        "X-AppServices-Request-Id": {
            "description": "Names the request, as the `link` of the body does.",
            "schema": { "type": "string" },
            "example": "636aba021728b6c1c03db7f9",
        },
    })
}

/// Components have names of their own; a code may come with two statuses.
fn example_name(kind: &Kind) -> String {
    format!("{}-{}", kind.word, kind.status)
}

fn example(kind: &Kind) -> Value {
    let title = StatusCode::from_u16(kind.status).ok().and_then(|status| status.canonical_reason());
    let value = json!({
        "type": format!("urn:passerby:problem:{}", kind.word),
        "title": title,
        "status": kind.status,
        "detail": kind.meaning,
        "code": kind.word,
    });
    json!({ "summary": kind.meaning, "value": value })
}

fn client_example(kind: &Kind) -> Value {
    let link =
        "https://id.news.example/groups/0123456789abcdef01234567/apps/passerby/logs?co_id=636aba021728b6c1c03db7f9";
    let mut value = json!({ "error": kind.meaning, "link": link });
    if let Some(code) = kind.code {
        value["error_code"] = code.into();
    }
    json!({ "summary": kind.meaning, "value": value })
}

/// Puts an operation's examples where they belong: `request` or a status and, behind a space, a content type.
fn give_examples(operation: &mut Value, examples: &Value) {
    for (of, example) in examples.as_object().into_iter().flatten() {
        let (of, content_type) =
            of.split_once(' ').map_or((of.as_str(), None), |(of, content_type)| (of, Some(content_type)));
        let place = if of == "request" { operation.get_mut("requestBody") } else { operation["responses"].get_mut(of) };
        for (name, content) in place.and_then(|place| place.get_mut("content")).into_iter().flat_map(members) {
            if content_type.is_none_or(|content_type| content_type == name) {
                content["example"] = example.clone();
            }
        }
    }
}

#[cfg(test)]
mod tests;
