//! Tests of tokens as a whole: their shape, and what is refused.

mod refusals;
mod rotation;
mod shape;

use base64::Engine as _;
use serde_json::{Value, json};

use super::jwt::{BASE64, TokenType};
use super::keys::Key;
use super::testing::Repeatable;
use super::*;

const NOW: u64 = 1_700_000_000;
const KINDS: [SessionKind; 3] = [SessionKind::AppServices, SessionKind::V1, SessionKind::Cookie];

struct World {
    _root: tempfile::TempDir,
    store: KeyStore,
    entropy: Repeatable,
    tokens: Tokens,
}

impl World {
    fn new(access: Algorithm) -> Self {
        let root = tempfile::tempdir().unwrap();
        let entropy = Repeatable::default();
        let store = KeyStore::open_or_create(&root.path().join("keys"), access, false, &entropy, NOW).unwrap();
        let tokens = tokens(&store, "https://id.example.org", "passerby");
        Self { _root: root, store, entropy, tokens }
    }

    fn reload(&self) {
        self.tokens.replace_keys(self.store.ring().unwrap());
    }

    fn key(&self, purpose: KeyUse) -> std::sync::Arc<Key> {
        self.tokens.signers.read().keys.signing(purpose).clone()
    }

    /// A token that a key of ours signs, whatever it says.
    fn forge(&self, purpose: KeyUse, header: &Value, payload: &Value) -> String {
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(payload.to_string()));
        let mut out = [0; MAX_SIGNATURE];
        let signature = BASE64.encode(self.key(purpose).sign(signed.as_bytes(), &mut out));
        format!("{signed}.{signature}")
    }
}

fn tokens(store: &KeyStore, issuer: &str, app_id: &str) -> Tokens {
    Tokens::new(store.ring().unwrap(), issuer.to_owned(), app_id.to_owned(), 1800, 1000)
}

fn user() -> UserId {
    UserId::object(1_700_000_000, [1, 2, 3, 4, 5, 6, 7, 255])
}

fn access_claims(kind: SessionKind) -> AccessClaims {
    AccessClaims {
        user: user(),
        session: SessionId([0xab; 12]),
        epoch: 3,
        device: DeviceId([0xcd; 12]),
        kind,
        issued_at_s: NOW,
        jti: [0xef; 12],
    }
}

fn refresh_claims(kind: SessionKind) -> RefreshClaims {
    RefreshClaims {
        user: user(),
        session: SessionId([0xab; 12]),
        number: 70_000,
        counter: 9,
        kind,
        device: DeviceId([0xcd; 12]),
        issued_at_s: NOW,
        lasting: false,
    }
}

fn part(token: &str, number: usize) -> Value {
    serde_json::from_slice(&BASE64.decode(token.split('.').nth(number).unwrap()).unwrap()).unwrap()
}

fn with_part(token: &str, number: usize, text: &str) -> String {
    let mut parts: Vec<&str> = token.split('.').collect();
    parts[number] = text;
    parts.join(".")
}
