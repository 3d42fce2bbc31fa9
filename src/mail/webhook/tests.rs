//! Mails by webhook: what is signed, and what an answer means.

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
