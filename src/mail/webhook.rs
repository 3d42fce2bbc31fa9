//! E-mail through a webhook: a signed request with all that the e-mail needs, as the Standard Webhooks specification has it.

use std::fmt;
use std::future::Future;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use super::{Failure, Letter, Transport};
use crate::outbound::Outbound;

/// What secrets begin with.
const SECRET_PREFIX: &str = "whsec_";
/// Bytes of a secret: at least 256 bits (S28), at most what the specification allows.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 32..=64;

/// The outbound client, as far as it is needed here. It decides which addresses may be called.
pub trait Post {
    /// Posts and answers the status; the answer's body does not matter.
    fn post(
        &self,
        url: &str,
        headers: &[(&'static str, String)],
        body: Vec<u8>,
    ) -> impl Future<Output = Result<u16, PostError>>;
}

impl Post for Outbound {
    async fn post(&self, url: &str, headers: &[(&'static str, String)], body: Vec<u8>) -> Result<u16, PostError> {
        let mut request = hyper::Request::post(url);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request.body(body).map_err(|error| PostError(error.to_string()))?;
        self.send(request).await.map(|answer| answer.status().as_u16()).map_err(|error| PostError(error.to_string()))
    }
}

/// There was no answer. In words for the log, without anything of the request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PostError(pub String);

/// The secret is not `whsec_` and the base64 of 32 to 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected whsec_ and 32 to 64 random bytes in base64")]
pub struct WebhookSecretError;

/// A webhook that sends our e-mails.
///
/// Headers: `webhook-id` (the same at every attempt of an e-mail), `webhook-timestamp` (Unix seconds of this attempt),
/// `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. Body: `type` (`mail.confirm`,
/// `mail.reset`), `timestamp`, and `data` with `to`, `subject`, `text`, `link`, `token`, `tokenId`.
pub struct Webhook<P> {
    post: P,
    url: String,
    key: hmac::Key,
}

impl<P: Post> Webhook<P> {
    /// `secret`: `whsec_` and 32 to 64 random bytes in base64.
    ///
    /// # Errors
    /// [`WebhookSecretError`] if it is not that.
    pub fn new(url: &str, secret: &str, post: P) -> Result<Self, WebhookSecretError> {
        let bytes = secret.strip_prefix(SECRET_PREFIX).and_then(|text| STANDARD.decode(text).ok()).map(Zeroizing::new);
        let bytes = bytes.filter(|bytes| SECRET_BYTES.contains(&bytes.len())).ok_or(WebhookSecretError)?;
        Ok(Self { post, url: url.to_owned(), key: hmac::Key::new(HMAC_SHA256, &bytes) })
    }

    fn signature(&self, id: &str, timestamp_s: u64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(format!("{id}.{timestamp_s}.").as_bytes());
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }
}

impl<P: Post> Transport for Webhook<P> {
    async fn deliver(&self, letter: &Letter, now_ms: u64) -> Result<(), Failure> {
        let body = body(letter).into_bytes();
        let (id, timestamp_s) = (format!("msg_{}", letter.id), now_ms / 1000);
        let headers = [
            ("content-type", "application/json".to_owned()),
            ("webhook-signature", self.signature(&id, timestamp_s, &body)),
            ("webhook-timestamp", timestamp_s.to_string()),
            ("webhook-id", id),
        ];
        match self.post.post(&self.url, &headers, body).await {
            Ok(200..=299) => Ok(()),
            // slow down, too early, too slow, or their fault: that may pass
            Ok(status @ (408 | 425 | 429 | 500..)) => Err(Failure::Passing(format!("webhook {status}"))),
            Ok(status) => Err(Failure::Lasting(format!("webhook {status}"))),
            Err(error) => Err(Failure::Passing(format!("webhook: {error}"))),
        }
    }
}

impl<P> fmt::Debug for Webhook<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

fn body(letter: &Letter) -> String {
    let mail = &letter.mail;
    let asked_at = OffsetDateTime::UNIX_EPOCH + time::Duration::milliseconds(letter.asked_at_ms.cast_signed());
    json!({
        "type": format!("mail.{}", mail.kind().name()),
        "timestamp": asked_at.format(&Rfc3339).unwrap_or_default(),
        "data": {
            "to": mail.to().as_str(),
            "subject": mail.subject(),
            "text": mail.text().as_str(),
            "link": mail.link(),
            "token": mail.token(),
            "tokenId": mail.token_id(),
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests;
