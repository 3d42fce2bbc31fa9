//! Mail by somebody else: a signed request with all that the mail needs, as the Standard Webhooks specification has it.

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

/// A webhook that sends our mails.
///
/// Headers: `webhook-id` (the same at every try of a mail), `webhook-timestamp` (Unix seconds of this try),
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
mod tests {
    use parking_lot::Mutex;
    use serde_json::Value;

    use super::*;
    use crate::mail::{Mail, MailAddress, MailKind, Page, Subject};

    type Request = (String, Vec<(&'static str, String)>, Vec<u8>);

    struct Receiver {
        answer: Result<u16, PostError>,
        requests: Mutex<Vec<Request>>,
    }

    impl Post for &Receiver {
        async fn post(&self, url: &str, headers: &[(&'static str, String)], body: Vec<u8>) -> Result<u16, PostError> {
            self.requests.lock().push((url.to_owned(), headers.to_vec(), body));
            self.answer.clone()
        }
    }

    fn receiver(answer: Result<u16, PostError>) -> Receiver {
        Receiver { answer, requests: Mutex::default() }
    }

    fn secret() -> String {
        format!("whsec_{}", STANDARD.encode([7; 32]))
    }

    fn letter() -> Letter {
        let to = MailAddress::parse("reader@example.test").unwrap();
        let (subject, page) = (Subject::parse("Reset").unwrap(), Page::parse("https://app.example/r").unwrap());
        Letter {
            mail: Mail::new(MailKind::Reset, to, &subject, &page, "psbr_token", "0123abcd"),
            id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            asked_at_ms: 1_700_000_000_123,
        }
    }

    /// The example of the Standard Webhooks specification, which its libraries test against; its secret of 24 bytes is
    /// shorter than those taken here.
    #[test]
    fn signatures_are_those_of_the_specification() {
        let receiver = receiver(Ok(200));
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let webhook = Webhook { post: &receiver, url: String::new(), key: hmac::Key::new(HMAC_SHA256, &key) };
        let signature = webhook.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[tokio::test]
    async fn a_request_says_all_that_the_mail_needs_and_is_signed_anew_at_each_try() {
        let receiver = receiver(Ok(204));
        let webhook = Webhook::new("https://mail.example/hook", &secret(), &receiver).unwrap();
        for now_ms in [1_700_000_000_200, 1_700_000_005_900] {
            webhook.deliver(&letter(), now_ms).await.unwrap();
        }
        let requests = receiver.requests.lock();
        let header = |request: &Request, name| request.1.iter().find(|header| header.0 == name).unwrap().1.clone();
        for (request, timestamp_s) in requests.iter().zip([1_700_000_000, 1_700_000_005]) {
            assert_eq!(request.0, "https://mail.example/hook");
            assert_eq!(header(request, "content-type"), "application/json");
            assert_eq!(header(request, "webhook-id"), "msg_AAAAAAAAAAAAAAAAAAAAAA");
            assert_eq!(header(request, "webhook-timestamp"), timestamp_s.to_string());
            let signed = webhook.signature("msg_AAAAAAAAAAAAAAAAAAAAAA", timestamp_s, &request.2);
            assert_eq!(header(request, "webhook-signature"), signed);
        }
        assert_ne!(header(&requests[0], "webhook-signature"), header(&requests[1], "webhook-signature"));
        assert_eq!(requests[0].2, requests[1].2);
        let body: Value = serde_json::from_slice(&requests[0].2).unwrap();
        let expected = json!({
            "type": "mail.reset",
            "timestamp": "2023-11-14T22:13:20.123Z",
            "data": {
                "to": "reader@example.test",
                "subject": "Reset",
                "text": letter().mail.text().as_str(),
                "link": "https://app.example/r?token=psbr_token&tokenId=0123abcd",
                "token": "psbr_token",
                "tokenId": "0123abcd",
            },
        });
        assert_eq!(body, expected);
    }

    #[tokio::test]
    async fn answers_are_told_apart() {
        let (passing, lasting) =
            (|text: &str| Failure::Passing(text.to_owned()), |text: &str| Failure::Lasting(text.to_owned()));
        let cases = [
            (Ok(200), Ok(())),
            (Ok(202), Ok(())),
            (Ok(301), Err(lasting("webhook 301"))),
            (Ok(400), Err(lasting("webhook 400"))),
            (Ok(410), Err(lasting("webhook 410"))),
            (Ok(408), Err(passing("webhook 408"))),
            (Ok(429), Err(passing("webhook 429"))),
            (Ok(500), Err(passing("webhook 500"))),
            (Ok(503), Err(passing("webhook 503"))),
            (Err(PostError("no connection".to_owned())), Err(passing("webhook: no connection"))),
        ];
        for (answer, expected) in cases {
            let receiver = receiver(answer.clone());
            let webhook = Webhook::new("https://mail.example/hook", &secret(), &receiver).unwrap();
            assert_eq!(webhook.deliver(&letter(), 0).await, expected, "{answer:?}");
        }
    }

    /// S28.
    #[test]
    fn weak_secrets_are_refused() {
        let receiver = receiver(Ok(200));
        let of = |bytes: &[u8]| format!("whsec_{}", STANDARD.encode(bytes));
        for (secret, holds) in [
            (of(&[1; 31]), false),
            (of(&[1; 32]), true),
            (of(&[1; 64]), true),
            (of(&[1; 65]), false),
            (String::new(), false),
            ("whsec_".to_owned(), false),
            (STANDARD.encode([1; 32]), false),
            (format!("{} ", of(&[1; 32])), false),
        ] {
            assert_eq!(Webhook::new("https://mail.example", &secret, &receiver).is_ok(), holds, "{}", secret.len());
        }
    }

    #[test]
    fn a_webhook_shows_neither_address_nor_key() {
        let receiver = receiver(Ok(200));
        let webhook = Webhook::new("https://mail.example/hook?key=x", &secret(), &receiver).unwrap();
        assert_eq!(format!("{webhook:?}"), "Webhook { .. }");
    }
}
