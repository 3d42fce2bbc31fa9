//! What is answered, where no type of its own writes it.
#![expect(dead_code, reason = "these types describe, and hold nothing")]

use std::collections::HashMap;

use serde_json::Value;
use utoipa::ToSchema;

/// Tokens of a session.
#[derive(ToSchema)]
pub(crate) struct SessionTokens {
    /// The user's id.
    #[schema(example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c")]
    user_id: String,
    /// The session's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    session_id: String,
    /// `Bearer`.
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Goes with every request, in `Authorization: Bearer …`. A JWT (RFC 9068).
    #[schema(example = "eyJhbGciOiJFZERTQSJ9.eyJ0eXAiOiJhY2Nlc3MifQ.c2lnbmF0dXJl")]
    access_token: String,
    /// Seconds until the access token expires.
    #[schema(example = 1800)]
    expires_in: u32,
    /// Replaced at every refresh.
    #[schema(example = "eyJhbGciOiJIUzI1NiJ9.eyJ0eXAiOiJyZWZyZXNoIn0.c2lnbmF0dXJl")]
    refresh_token: String,
}

/// A session has begun: its tokens, or the reader of the new cookie.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum NewSession {
    Tokens(SessionTokens),
    Reader(ReaderSession),
}

/// A session that a cookie holds: without tokens, which no script is to see.
#[derive(ToSchema)]
pub(crate) struct ReaderSession {
    /// The user's id.
    #[schema(example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c")]
    user_id: String,
    /// The session's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    session_id: String,
}

/// A JSON Web Key Set (RFC 7517).
#[derive(ToSchema)]
pub(crate) struct Jwks {
    /// The keys. None, if access tokens are signed with a secret.
    keys: Vec<Jwk>,
}

/// A public key (RFC 7517, RFC 8037).
#[derive(ToSchema)]
pub(crate) struct Jwk {
    /// The key's family.
    #[schema(example = "OKP")]
    kty: String,
    /// Its curve.
    #[schema(example = "Ed25519")]
    crv: String,
    /// The algorithm of its signatures.
    #[schema(example = "EdDSA")]
    alg: String,
    /// What it is for: `sig`.
    #[schema(rename = "use", example = "sig")]
    purpose: String,
    /// Its name, as tokens have it in their header.
    #[schema(example = "0123456789abcdef")]
    kid: String,
    /// The key, or the first coordinate of its point, in base64url.
    #[schema(example = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")]
    x: String,
}

/// A challenge in the format of ALTCHA (proof of work version 2).
#[derive(ToSchema)]
pub(crate) struct WorkChallenge {
    /// What to solve.
    parameters: WorkParameters,
    /// Signs the parameters, which have to come back as they are.
    #[schema(example = "9f1d0c62b4a39e0f4f7f6f5d3c2b1a09f1d0c62b4a39e0f4f7f6f5d3c2b1a0912")]
    signature: String,
}

/// What to solve.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct WorkParameters {
    /// How keys are derived.
    #[schema(example = "PBKDF2/SHA-256")]
    algorithm: String,
    /// Rounds of the derivation.
    #[schema(example = 1000)]
    cost: u32,
    /// When it is too old (Unix seconds).
    #[schema(required = false, nullable = false, example = 1769860500)]
    expires_at: Option<i64>,
    /// Bytes of a derived key.
    #[schema(example = 32)]
    key_length: u32,
    /// What the right key begins with, in hexadecimal digits.
    #[schema(example = "0f1e2d3c4b5a69788796a5b4c3d2e1f0")]
    key_prefix: String,
    /// Signs the right key.
    #[schema(
        required = false,
        nullable = false,
        example = "5d3c2b1a09f1d0c62b4a39e0f4f7f6f5d3c2b1a0912f1d0c62b4a39e0f4f7f6f"
    )]
    key_signature: Option<String>,
    /// What the password begins with, in hexadecimal digits; the number follows it.
    #[schema(example = "00112233445566778899aabbccddeeff")]
    nonce: String,
    /// The salt, in hexadecimal digits.
    #[schema(example = "ffeeddccbbaa99887766554433221100")]
    salt: String,
    /// What the challenge is bound to.
    #[schema(required = false, nullable = false)]
    data: Option<HashMap<String, Value>>,
}

/// All that is held about a user.
#[derive(ToSchema)]
pub(crate) struct UserExport {
    /// The user's id.
    #[schema(example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2c")]
    user_id: String,
    /// Whether the user has no identity but the anonymous one.
    anonymous: bool,
    /// When the user was created (RFC 3339).
    #[schema(format = DateTime)]
    created: String,
    /// Last activity (RFC 3339), up to `expiry.touch_granularity` old.
    #[schema(format = DateTime)]
    last_seen: String,
    /// When the user is gone without further activity (RFC 3339); null for an account.
    #[schema(required = true, format = DateTime)]
    expires: Option<String>,
    /// The identities, with what their providers tell.
    identities: Vec<ExportedIdentity>,
    /// The sessions.
    sessions: Vec<ExportedSession>,
    /// The API keys, without the keys themselves.
    api_keys: Vec<ExportedKey>,
    /// Users who became part of this one.
    aliases: Vec<ExportedAlias>,
    /// What was used of meters.
    meters: Vec<ExportedMeter>,
    /// The document; null if there is none.
    #[schema(required = true)]
    data: Option<HashMap<String, Value>>,
    /// The document's version; 0 if there never was one.
    #[schema(example = 7)]
    data_version: u64,
}

/// An identity, as it is held.
#[derive(ToSchema)]
pub(crate) struct ExportedIdentity {
    /// The provider.
    #[schema(example = "local-userpass")]
    provider: String,
    /// Who it is at the provider; before a space, the issuer.
    #[schema(example = "ada@example.com")]
    id: String,
    /// When it was linked (RFC 3339).
    #[schema(format = DateTime)]
    linked: String,
    /// What the provider tells, as far as the settings ask for it; null if nothing is kept.
    #[schema(required = true)]
    data: Option<HashMap<String, Value>>,
}

/// A session, as it is held.
#[derive(ToSchema)]
pub(crate) struct ExportedSession {
    /// The session's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    id: String,
    /// When it began (RFC 3339).
    #[schema(format = DateTime)]
    started: String,
    /// When it was last used (RFC 3339).
    #[schema(format = DateTime)]
    last_used: String,
    /// The device that an SDK named; zeros if none did.
    #[schema(example = "000000000000000000000000")]
    device_id: String,
    /// What began it, as sessions are listed.
    #[schema(example = "link")]
    method: &'static str,
    /// The key that began it; null if none did.
    #[schema(required = true, example = "636aba021728b6c1c03db7fc")]
    api_key_id: Option<String>,
}

/// An API key, as it is held.
#[derive(ToSchema)]
pub(crate) struct ExportedKey {
    /// The key's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    id: String,
    /// Its name.
    #[schema(example = "nightly-backup")]
    name: String,
    /// When it was created (RFC 3339).
    #[schema(format = DateTime)]
    made: String,
    /// Whether it is refused for now.
    disabled: bool,
}

/// A user who became part of a different one.
#[derive(ToSchema)]
pub(crate) struct ExportedAlias {
    /// The id that the user had.
    #[schema(example = "0199c4c8-7d2a-7c3f-9c1b-2f6d5e4a3b2d")]
    id: String,
    /// When that was (RFC 3339).
    #[schema(format = DateTime)]
    merged: String,
}

/// What was used of a meter.
#[derive(ToSchema)]
pub(crate) struct ExportedMeter {
    /// The meter's name.
    #[schema(example = "articles")]
    name: String,
    /// Used in the period.
    #[schema(example = 2)]
    used: u32,
    /// How many items were used.
    #[schema(example = 2)]
    items: u32,
    /// When the period begins (RFC 3339).
    #[schema(format = DateTime)]
    from: String,
    /// When it ends (RFC 3339).
    #[schema(format = DateTime)]
    until: String,
}
