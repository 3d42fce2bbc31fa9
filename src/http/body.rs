//! Request bodies: read whole, within a bound and a time, whatever the content type says.

use actix_web::web;
use serde_json::{Map, Value};

use super::Context;

/// Why a body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than `http.max_body`.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive within `http.client_timeout`.
    #[error("the request body did not arrive in time")]
    TooSlow,
    /// The connection broke or the transfer coding is wrong.
    #[error("the request body could not be read")]
    Broken,
    /// Not a JSON object.
    #[error("the request body is not a JSON object")]
    NotAnObject,
}

/// Reads a body that must be a JSON object; none at all is an empty one (wire-protocol §0.3).
///
/// # Errors
/// [`BodyError`].
pub async fn read_object(context: &Context, payload: web::Payload) -> Result<Map<String, Value>, BodyError> {
    let bytes = read(context, payload).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(BodyError::NotAnObject),
    }
}

/// Reads a body that does not matter. It is read all the same: actix-web closes a connection whose body is left unread.
///
/// # Errors
/// [`BodyError`].
pub async fn discard(context: &Context, payload: web::Payload) -> Result<(), BodyError> {
    read(context, payload).await.map(drop)
}

async fn read(context: &Context, payload: web::Payload) -> Result<web::Bytes, BodyError> {
    let http = &context.server.settings.http;
    let read = tokio::time::timeout(http.client_timeout, payload.to_bytes_limited(http.max_body));
    match read.await {
        Err(_) => Err(BodyError::TooSlow),
        Ok(Err(_)) => Err(BodyError::TooLarge(http.max_body)),
        Ok(Ok(Err(_))) => Err(BodyError::Broken),
        Ok(Ok(Ok(bytes))) => Ok(bytes),
    }
}
