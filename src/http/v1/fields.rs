//! What a request's body may say: the fields that are known there, each once, and no other. One that is misspelled or misplaced
//! would otherwise not be done, and nobody would be told.

use actix_web::{HttpRequest, web};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::Problem;
use crate::http::fields::{Object, only, without_nulls};
use crate::http::{Context, body};

/// Reads the fields of a request. One that is null is left out.
///
/// # Errors
/// The body cannot be read or is no object; it has other fields than `known`; one of these is in the query.
pub(super) async fn read(
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
pub(super) fn of(request: &HttpRequest, bytes: &[u8], known: &[&[&str]]) -> Result<Map<String, Value>, Problem> {
    let fields = body::fields_of(bytes)?;
    none_in_query(request, known)?;
    only(&fields, known, "this request").map_err(Problem::unknown_fields)?;
    Ok(without_nulls(fields))
}

/// Reads the body of a request that has no fields. What is no object has none, whatever it is.
///
/// # Errors
/// The body cannot be read, or it has fields.
pub(crate) async fn none(request: &HttpRequest, context: &Context, payload: web::Payload) -> Result<(), Problem> {
    none_of(&body::read(request, context, payload).await?)
}

/// The same of a body that was read.
///
/// # Errors
/// It has fields.
pub(super) fn none_of(bytes: &[u8]) -> Result<(), Problem> {
    match serde_json::from_slice(bytes) {
        Ok(Object { fields, .. }) => only(&fields, &[], "this request").map_err(Problem::unknown_fields),
        Err(_) => Ok(()),
    }
}

/// `?dry_run=true` would do it for real.
fn none_in_query(request: &HttpRequest, known: &[&[&str]]) -> Result<(), Problem> {
    let mut names = form_urlencoded::parse(request.query_string().as_bytes()).map(|(name, _)| name);
    let misplaced = names.find(|name| known.iter().any(|known| known.contains(&&**name)));
    misplaced.map_or(Ok(()), |name| {
        Err(Problem::misplaced_fields(format!("{name:?} is a field of the body, and stands in the query")))
    })
}
