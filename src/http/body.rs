//! Request bodies: read whole, within a bound and a time, whatever the content type says.

use std::any::Any;
use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::{Method, header};
use actix_web::{HttpMessage as _, HttpRequest, web};
use futures_util::{Stream, StreamExt as _};
use passerby_actors::domain::{Losses, losses};
use passerby_actors::stall;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::context::Context;
use super::fields::shown_pointer;

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More bytes than `http.max_body`, or than there may be of this one.
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
    /// The member at this JSON pointer occurs twice.
    #[error("the member at {0:?} is there twice, and only one of them could be kept")]
    Twice(String),
    /// The number at this JSON pointer would be rounded.
    #[error(
        "the number at {0:?} cannot be kept exactly: whole numbers from -2^63 to 2^64-1 can, and decimals that a 64-bit floating-point \
         number stands for; a text keeps any"
    )]
    Inexact(String),
}

/// What becomes of numbers that would be rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Numbers {
    /// They are refused.
    Kept,
    /// They are rounded, since they are not used. Those beyond all measure are refused.
    Passed,
}

/// Reads JSON without loss: no number is rounded, and no member occurs twice.
///
/// # Errors
/// [`BodyError`].
pub(crate) fn json(text: &[u8]) -> Result<Value, BodyError> {
    parsed(text, Numbers::Kept)
}

fn parsed(text: &[u8], numbers: Numbers) -> Result<Value, BodyError> {
    let text = std::str::from_utf8(text).map_err(|_| BodyError::NotJson)?;
    let read = serde_json::from_str(text);
    let Losses { rounded, twice } = losses(text);
    let rounded = rounded.filter(|_| numbers == Numbers::Kept || read.is_err());
    let twice = twice.map(|pointer| BodyError::Twice(shown_pointer(&pointer)));
    match twice.or_else(|| rounded.map(|pointer| BodyError::Inexact(shown_pointer(&pointer)))) {
        // a number beyond all measure is JSON as well, and no parser reads it
        Some(lost) if read.is_ok() || serde_json::from_str::<IgnoredAny>(text).is_ok() => Err(lost),
        _ => read.map_err(|_| BodyError::NotJson),
    }
}

/// A JSON object; none at all, and null, which HTTP clients write for none, is an empty one (docs/protocol.md, "Bodies and content types").
fn object(bytes: &[u8], numbers: Numbers) -> Result<Map<String, Value>, BodyError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    match parsed(bytes, numbers)? {
        Value::Object(object) => Ok(object),
        Value::Null => Ok(Map::new()),
        _ => Err(BodyError::NotAnObject),
    }
}

/// Reads a body that must be a JSON object; none at all, and null, is an empty one. Numbers may be rounded: the fields that are
/// looked at are texts.
///
/// # Errors
/// [`BodyError`].
pub async fn read_object(
    request: &HttpRequest,
    context: &Context,
    payload: web::Payload,
) -> Result<Map<String, Value>, BodyError> {
    object(&read(request, context, payload).await?, Numbers::Passed)
}

/// The fields of a body that was read; as with [`read_object`], but that no number is rounded.
///
/// # Errors
/// [`BodyError`].
pub(crate) fn fields_of(bytes: &[u8]) -> Result<Map<String, Value>, BodyError> {
    object(bytes, Numbers::Kept)
}

/// Reads and drops a body. Left unread, it would make actix-web close the connection.
///
/// # Errors
/// [`BodyError`].
pub async fn discard(request: &HttpRequest, context: &Context, payload: web::Payload) -> Result<(), BodyError> {
    read(request, context, payload).await.map(drop)
}

/// Leaves a body unread, for a path or method that is not there; the connection then closes.
pub fn leave(request: &HttpRequest, payload: web::Payload) {
    request.extensions_mut().insert(Unread(Box::new(payload)));
}

/// Reads a body of any kind.
///
/// # Errors
/// [`BodyError`].
pub async fn read(request: &HttpRequest, context: &Context, payload: web::Payload) -> Result<web::Bytes, BodyError> {
    read_at_most(request, context, payload, 0).await
}

/// Reads a body that may be longer than `http.max_body`: of so many bytes.
///
/// # Errors
/// [`BodyError`].
pub async fn read_at_most(
    request: &HttpRequest,
    context: &Context,
    mut payload: web::Payload,
    most: usize,
) -> Result<web::Bytes, BodyError> {
    let http = &context.server.settings.http;
    let read = stall::within(http.client_timeout, read_up_to(&mut payload, http.max_body.max(most))).await;
    let read = read.unwrap_or(Err(BodyError::TooSlow));
    if read.is_err() {
        request.extensions_mut().insert(Unread(Box::new(payload)));
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
struct Unread(#[expect(dead_code, reason = "kept, not used")] Box<dyn Any>);

/// Whether a request names the protocol of WebSockets, whatever else it says of it.
pub fn names_websocket(request: &ServiceRequest) -> bool {
    let mut values = request.headers().get_all(header::UPGRADE);
    values.any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Before a request is handled that names the protocol of WebSockets and opens none: its body is as long as its `Content-Length`
/// says, and there is none without it (RFC 9112 §6.3). actix-http takes all that ever comes for it.
pub fn end_at_its_length(request: &mut ServiceRequest) {
    // a socket is opened by GET, and the handlers of GET read no body
    if matches!(*request.method(), Method::GET | Method::HEAD)
        || request.headers().contains_key(header::TRANSFER_ENCODING)
    {
        return;
    }
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let left = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    let all = Rc::new(RefCell::new(request.take_payload()));
    request.extensions_mut().insert(Unread(Box::new(Rc::clone(&all))));
    request.set_payload(Payload::Stream { payload: Box::pin(First { left, all }) });
}

/// The first bytes of what comes.
struct First {
    left: usize,
    all: Rc<RefCell<Payload>>,
}

impl Stream for First {
    type Item = Result<web::Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<Option<Self::Item>> {
        if self.left == 0 {
            return task::Poll::Ready(None);
        }
        let polled = Pin::new(&mut *self.all.borrow_mut()).poll_next(context);
        polled.map(|item| match item {
            Some(Ok(mut bytes)) => {
                bytes.truncate(self.left);
                self.left -= bytes.len();
                Some(Ok(bytes))
            }
            None => Some(Err(PayloadError::Incomplete(None))),
            failed => failed,
        })
    }
}

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
        request.extensions_mut().insert(Unread(Box::new(payload)));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_has_each_name_once_and_every_number_as_it_is() {
        let read = |text: &str| fields_of(text.as_bytes()).map(Value::Object);
        assert_eq!(read(r#"{"a":1,"b":{"c":1,"d":2}}"#), Ok(json!({"a": 1, "b": {"c": 1, "d": 2}})));
        for none in ["", " \n", "null"] {
            assert_eq!(read(none), Ok(json!({})), "{none}");
        }
        for (text, pointer) in [
            (r#"{"a":1,"a":2}"#, "/a"),
            (r#"{"a":1,"\u0061":2}"#, "/a"),
            (r#"{"a":[{"b":{"c":1,"c":1e400}}]}"#, "/a/0/b/c"),
        ] {
            assert_eq!(read(text), Err(BodyError::Twice(pointer.to_owned())), "{text}");
            assert_eq!(object(text.as_bytes(), Numbers::Passed), Err(BodyError::Twice(pointer.to_owned())), "{text}");
        }
        for text in ["[]", "5", "\"a\""] {
            assert_eq!(read(text), Err(BodyError::NotAnObject), "{text}");
        }
        for text in ["{", "{} {}", r#"{"a":1,"a":2} {}"#, r#"{"a":1 "a":2}"#, r#"{"a":1e400"#, r#"{"a":"\ud800"}"#] {
            assert_eq!(read(text), Err(BodyError::NotJson), "{text}");
        }
        let inexact = |pointer: &str| Err(BodyError::Inexact(pointer.to_owned()));
        assert_eq!(read(r#"{"a":[0.1234567890123456789]}"#), inexact("/a/0"));
        assert_eq!(read(r#"{"a":1e400}"#), inexact("/a"));
        let passed = |text: &str| object(text.as_bytes(), Numbers::Passed).map(|_| Value::Null);
        assert_eq!(passed(r#"{"a":[0.1234567890123456789]}"#), Ok(Value::Null));
        assert_eq!(passed(r#"{"a":1e400}"#), inexact("/a"));
    }
}
