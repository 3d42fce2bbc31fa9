//! `/test/clock` on the admin listener of `passerby serve --test`: tells and moves the time.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use passerby_actors::domain::Clock as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::seconds_in;
use crate::http::context::{NO_STORE, allow, options};
use crate::test_clock::{MOST_AHEAD_S, TestClock};

/// Adds the route, if there is such a clock.
pub(crate) fn routes(config: &mut web::ServiceConfig, clock: Option<Arc<TestClock>>) {
    let Some(clock) = clock else { return };
    let methods = "GET, POST";
    let other = move |request: HttpRequest| async move {
        if *request.method() == Method::OPTIONS {
            return options(methods);
        }
        let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, "expected GET or POST");
        let (name, value) = allow(methods);
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
        response
    };
    let resource = web::resource("/test/clock").app_data(web::Data::from(clock));
    let resource = resource.get(tell).route(web::head().to(tell)).post(advance);
    config.service(resource.default_service(web::to(other)));
}

/// The body of a `POST`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance: Value,
}

async fn tell(clock: web::Data<TestClock>) -> HttpResponse {
    now(&clock)
}

async fn advance(request: HttpRequest, clock: web::Data<TestClock>, body: Bytes) -> HttpResponse {
    // a page in the developer's browser could send any other type without being asked
    let is_json = request.headers().get(header::CONTENT_TYPE).is_some_and(|value| {
        value.as_bytes().split(|byte| *byte == b';').next().is_some_and(|kind| kind.trim_ascii() == b"application/json")
    });
    if !is_json {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json");
    }
    let seconds = match serde_json::from_slice(&body) {
        Ok(Advance { advance: Value::String(text) }) => seconds_in(&text),
        Ok(Advance { advance: Value::Number(number) }) => number.as_i64(),
        _ => None,
    };
    let Some(seconds) = seconds.and_then(|seconds| u64::try_from(seconds).ok()) else {
        let detail = "expected {\"advance\": …} with a text such as \"91d\" or a number of seconds, 0 or more";
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, detail);
    };
    match clock.advance(seconds) {
        Some(_) => now(&clock),
        None => refuse(
            StatusCode::UNPROCESSABLE_ENTITY,
            &format!("the clock can be moved by {MOST_AHEAD_S} s in all, and by fewer than are left of them"),
        ),
    }
}

fn now(clock: &TestClock) -> HttpResponse {
    let now = i64::try_from(clock.wall_ms()).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    answer(StatusCode::OK, &json!({ "now": now.map(|now| now.to_string()), "ahead_s": clock.ahead_s() }))
}

fn refuse(code: StatusCode, detail: &str) -> HttpResponse {
    answer(code, &json!({ "status": "refused", "detail": detail }))
}

fn answer(code: StatusCode, body: &Value) -> HttpResponse {
    HttpResponse::build(code).insert_header(NO_STORE).insert_header(("x-content-type-options", "nosniff")).json(body)
}
