//! Request bodies: read whole, within a bound and a time, whatever the content type says.

use std::pin::Pin;
use std::task;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::{HttpMessage as _, HttpRequest, web};
use futures_util::StreamExt as _;
use passerby_actors::stall;
use serde_json::{Map, Value};

use super::Context;
use super::fields::{self, Object};

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    /// Not JSON.
    #[error("the request body is not JSON")]
    NotJson,
    /// Not a JSON object.
    #[error("the request body is not a JSON object")]
    NotAnObject,
    /// This field is there twice.
    #[error("the field {0:?} is there twice")]
    Twice(String),
}

/// Reads a body that must be a JSON object; none at all, and null, which HTTP clients write for none, is an empty one
/// (wire-protocol §0.3). Of a field that is there twice the last one counts.
///
/// # Errors
/// [`BodyError`].
pub async fn read_object(
    request: &HttpRequest,
    context: &Context,
    payload: web::Payload,
) -> Result<Map<String, Value>, BodyError> {
    let bytes = read(request, context, payload).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(BodyError::NotAnObject),
    }
}

/// The fields of a body that was read; as with [`read_object`], but that none may be there twice.
///
/// # Errors
/// [`BodyError`].
pub(crate) fn fields_of(bytes: &[u8]) -> Result<Map<String, Value>, BodyError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let Object { fields, twice } = serde_json::from_slice(bytes).map_err(|_| BodyError::NotAnObject)?;
    match twice {
        None => Ok(fields),
        Some(name) => Err(BodyError::Twice(fields::shown(&name))),
    }
}

/// Reads a body that does not matter. It is read all the same: actix-web closes a connection whose body is left unread.
///
/// # Errors
/// [`BodyError`].
pub async fn discard(request: &HttpRequest, context: &Context, payload: web::Payload) -> Result<(), BodyError> {
    read(request, context, payload).await.map(drop)
}

/// Leaves a body unread, for a path or method that is not there; the connection then closes.
pub fn leave(request: &HttpRequest, payload: web::Payload) {
    request.extensions_mut().insert(Unread(payload));
}

/// Reads a body of any kind.
///
/// # Errors
/// [`BodyError`].
pub async fn read(
    request: &HttpRequest,
    context: &Context,
    mut payload: web::Payload,
) -> Result<web::Bytes, BodyError> {
    let http = &context.server.settings.http;
    let read = stall::within(http.client_timeout, read_up_to(&mut payload, http.max_body)).await;
    let read = read.unwrap_or(Err(BodyError::TooSlow));
    if read.is_err() {
        request.extensions_mut().insert(Unread(payload));
    }
    read
}

async fn read_up_to(payload: &mut web::Payload, max: usize) -> Result<web::Bytes, BodyError> {
    let mut whole = web::BytesMut::new();
    while let Some(part) = payload.next().await {
        let part = part.map_err(|_| BodyError::Broken)?;
        if whole.len() + part.len() > max {
            return Err(BodyError::TooLarge(max));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.freeze())
}

/// A body that was not read to its end. While it lives, actix-http closes the connection after the response; once it is
/// dropped, actix-http reads a chunked one on for as long as the client likes.
struct Unread(#[expect(dead_code, reason = "kept, not used")] web::Payload);

/// Before a request is handled: takes a body that no handler would read.
///
/// # Errors
/// actix-web's; none is known.
pub async fn hold_what_nobody_reads(request: &mut ServiceRequest) -> Result<(), actix_web::Error> {
    // the handlers of these methods read none
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && request.headers().contains_key(header::TRANSFER_ENCODING)
    {
        let payload = request.extract::<web::Payload>().await?;
        request.extensions_mut().insert(Unread(payload));
    }
    Ok(())
}

/// After it was handled: keeps an unread body until the response is written.
pub fn release_unread(response: ServiceResponse<impl MessageBody + 'static>) -> ServiceResponse {
    let unread = response.request().extensions_mut().remove::<Unread>();
    match unread {
        None => response.map_into_boxed_body(),
        Some(unread) => response.map_body(|_, body| BoxBody::new(Holding { body: body.boxed(), _unread: unread })),
    }
}

struct Holding {
    body: BoxBody,
    _unread: Unread,
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> task::Poll<Option<Result<web::Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
