//! What a request's body may say: the fields that are known there, each once, and no other. One that is misspelled or misplaced
//! would otherwise not be done, without a word.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::bearer::bearer;
use super::context::Context;
use super::fields::{only, shown, without_nulls};
use super::problem::Problem;
use super::{body, reader};

/// Reads the fields of a request. One that is null is left out.
///
/// # Errors
/// The body cannot be read or is no object; it has other fields than `known`; one of these is in the query.
pub(crate) async fn read(
    request: &HttpRequest,
    context: &Context,
    payload: web::Payload,
    known: &[&[&str]],
) -> Result<Map<String, Value>, Problem> {
    let bytes = body::read(request, context, payload).await?;
    of(request, &bytes, known)
}

/// The fields of a body that was read. One that is null is left out.
///
/// # Errors
/// As [`read`].
pub(crate) fn of(request: &HttpRequest, bytes: &[u8], known: &[&[&str]]) -> Result<Map<String, Value>, Problem> {
    named(request, bytes, known).map(without_nulls)
}

/// The same with those that are null.
///
/// # Errors
/// As [`read`].
pub(crate) fn named(request: &HttpRequest, bytes: &[u8], known: &[&[&str]]) -> Result<Map<String, Value>, Problem> {
    let fields = body::fields_of(bytes)?;
    none_in_query(request, known)?;
    only(&fields, known, "this request").map_err(Problem::unknown_fields)?;
    // it is looked at only where a budget is used up, and would be wrong then
    if fields.get("altcha").is_some_and(|proof| !proof.is_string() && !proof.is_null()) {
        return Err(Problem::bad_field("altcha must be a text"));
    }
    Ok(fields)
}

/// Reads the body of a request that has no fields: it is empty, null, or an object without any.
///
/// # Errors
/// The body cannot be read or is something else, or it or the query has fields.
pub(crate) async fn none(request: &HttpRequest, context: &Context, payload: web::Payload) -> Result<(), Problem> {
    let bytes = body::read(request, context, payload).await?;
    // a client without a token or cookie is told so first
    if bearer(request).is_none() && reader::named(request, context).is_none() {
        return Ok(());
    }
    none_of(request, &bytes)
}

/// The same of a body that was read.
///
/// # Errors
/// As [`none`].
pub(crate) fn none_of(request: &HttpRequest, bytes: &[u8]) -> Result<(), Problem> {
    none_in_query(request, &[])?;
    only(&body::fields_of(bytes)?, &[], "this request").map_err(Problem::unknown_fields)
}

/// The parameters of a query: those that are known, each once at most.
///
/// # Errors
/// 400 `bad-query` names an unknown one, or one that occurs twice.
pub(crate) fn of_query(request: &HttpRequest, known: &[&str]) -> Result<Map<String, Value>, Problem> {
    let mut found = Map::new();
    for (name, value) in form_urlencoded::parse(request.query_string().as_bytes()) {
        let name = shown(&name);
        let bad = |detail| Problem::new(StatusCode::BAD_REQUEST, "bad-query", detail);
        if !known.contains(&&*name) {
            return Err(bad(format!("{name:?} is no parameter of this query: it has {}", known.join(", "))));
        }
        if found.contains_key(&name) {
            return Err(bad(format!("{name:?} stands in the query twice")));
        }
        found.insert(name, Value::from(value.into_owned()));
    }
    Ok(found)
}

/// `?dry_run=true`, however it is spelled, would do it for real.
pub(crate) fn none_in_query(request: &HttpRequest, known: &[&[&str]]) -> Result<(), Problem> {
    let Some((name, _)) = form_urlencoded::parse(request.query_string().as_bytes()).next() else { return Ok(()) };
    let name = shown(&name);
    if known.iter().any(|known| known.contains(&&*name)) {
        return Err(Problem::misplaced_fields(format!("{name:?} is a field of the body, and stands in the query")));
    }
    Err(Problem::not_in_query(&name))
}
