//! What clients may send, as the OpenAPI document has it. The handlers read these fields one by one; the tests send each schema's
//! example to its handler.
#![expect(dead_code, reason = "these types describe, and hold nothing")]

use std::collections::HashMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::app_services::{AppServicesMailToken, AppServicesReset};

/// What the answer to a login gives out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SessionMode {
    Bearer,
    Cookie,
}

/// The anonymous provider.
#[derive(Serialize, ToSchema)]
pub(crate) enum AnonUser {
    #[serde(rename = "anon-user")]
    Name,
}

/// Names and passwords.
#[derive(Serialize, ToSchema)]
pub(crate) enum LocalUserpass {
    #[serde(rename = "local-userpass")]
    Name,
}

/// API keys.
#[derive(Serialize, ToSchema)]
pub(crate) enum ApiKeyProvider {
    #[serde(rename = "api-key")]
    Name,
}

/// JWTs that your own server signs.
#[derive(Serialize, ToSchema)]
pub(crate) enum CustomToken {
    #[serde(rename = "custom-token")]
    Name,
}

/// Codes of a different session.
#[derive(Serialize, ToSchema)]
pub(crate) enum Transfer {
    #[serde(rename = "transfer")]
    Name,
}

/// What every login may have besides its credential; the document adds it to each.
#[derive(ToSchema)]
pub(crate) struct LoginOptions {
    /// `bearer` (the default): the answer holds tokens. `cookie`: it sets a reader's cookie instead.
    #[schema(inline)]
    mode: Option<SessionMode>,
    /// The proof of work, after a 429 `work-needed`; see `GET /v1/challenge`.
    altcha: Option<String>,
}

/// How to begin a session.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum LoginRequest {
    Anonymous(AnonymousLogin),
    Password(PasswordLogin),
    ApiKey(ApiKeyLogin),
    CustomToken(CustomTokenLogin),
    IdToken(IdTokenLogin),
    BrowserCode(BrowserCodeLogin),
    Transfer(TransferLogin),
}

/// As a new anonymous user; with `mode` `cookie`, as the reader of the live cookie.
#[derive(ToSchema)]
#[schema(title = "Anonymous")]
pub(crate) struct AnonymousLogin {
    /// `anon-user`, which may be left out.
    #[schema(inline)]
    provider: Option<AnonUser>,
    /// The proof of work, after a 429 `work-needed`; see `GET /v1/challenge`.
    #[schema(example = "eyJjaGFsbGVuZ2UiOnt9LCJzb2x1dGlvbiI6e319")]
    altcha: Option<String>,
}

/// As the owner of an e-mail address, by its password.
#[derive(ToSchema)]
#[schema(title = "Password")]
pub(crate) struct PasswordLogin {
    /// `local-userpass`.
    #[schema(inline)]
    provider: LocalUserpass,
    /// The address. `username`, as SDKs of App Services call it, is taken in its place.
    #[schema(example = "ada@example.com")]
    email: String,
    /// Its password.
    #[schema(format = "password", example = "correct horse battery staple")]
    password: String,
}

/// As the owner of an API key.
#[derive(ToSchema)]
#[schema(title = "API key")]
pub(crate) struct ApiKeyLogin {
    /// `api-key`.
    #[schema(inline)]
    provider: ApiKeyProvider,
    /// The key, as it was shown when it was created.
    #[schema(format = "password", example = "psb_wxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefwxyz01231YQk2i")]
    key: String,
}

/// As the user that a JWT of your own names.
#[derive(ToSchema)]
#[schema(title = "Custom token")]
pub(crate) struct CustomTokenLogin {
    /// `custom-token`.
    #[schema(inline)]
    provider: CustomToken,
    /// The JWT, signed as the provider's settings say.
    #[schema(format = "password", example = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl")]
    token: String,
}

/// As the subject of an ID token of an OpenID Connect issuer.
#[derive(ToSchema)]
#[schema(title = "ID token")]
pub(crate) struct IdTokenLogin {
    /// `oauth2-google`, `oauth2-apple` or `oidc-NAME`.
    #[schema(pattern = "^(oauth2-google|oauth2-apple|oidc-.+)$", example = "oauth2-google")]
    provider: String,
    /// The ID token, which names this application in `aud`.
    #[schema(format = "password", example = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
    id_token: String,
    /// The `nonce` that the ID token has to hold, if the login was begun with one.
    #[schema(example = "n-0S6_WzA2Mj")]
    nonce: Option<String>,
}

/// As the user of a finished login in the browser.
#[derive(ToSchema)]
#[schema(title = "Browser login")]
pub(crate) struct BrowserCodeLogin {
    /// `oauth2-google`, `oauth2-apple` or `oidc-NAME`.
    #[schema(pattern = "^(oauth2-google|oauth2-apple|oidc-.+)$", example = "oidc-example")]
    provider: String,
    /// The `code` with which the browser came back.
    #[schema(example = "psbl_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0")]
    code: String,
    /// The page's secret, whose SHA-256 was the `code_challenge`.
    #[schema(format = "password", example = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")]
    code_verifier: String,
}

/// As the user of a different device, by a code of `POST /v1/session/transfer`.
#[derive(ToSchema)]
#[schema(title = "Transfer")]
pub(crate) struct TransferLogin {
    /// `transfer`.
    #[schema(inline)]
    provider: Transfer,
    /// The code.
    #[schema(format = "password", example = "psbt_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0")]
    code: String,
}

/// What happens if a different user has the identity.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnConflict {
    Reject,
    Switch,
    Merge,
}

/// What every link may have besides its credential; the document adds it to each.
#[derive(ToSchema)]
pub(crate) struct LinkOptions {
    /// `reject` (the default), `switch` or `merge`: what happens if a different user has the identity.
    #[schema(inline)]
    on_conflict: Option<OnConflict>,
    /// Whether to answer what would happen, and do nothing.
    dry_run: Option<bool>,
    /// The proof of work, after a 429 `work-needed`; see `GET /v1/challenge`.
    altcha: Option<String>,
}

/// Which identity to link, and what is to happen if a different user has it.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum LinkRequest {
    Password(LinkPassword),
    ApiKey(LinkApiKey),
    CustomToken(LinkCustomToken),
    IdToken(LinkIdToken),
    BrowserCode(LinkBrowserCode),
}

/// An e-mail address, by its password.
#[derive(ToSchema)]
#[schema(title = "Password")]
pub(crate) struct LinkPassword(#[schema(inline)] PasswordLogin);

/// The account of an API key.
#[derive(ToSchema)]
#[schema(title = "API key")]
pub(crate) struct LinkApiKey {
    /// `api-key`.
    #[schema(inline)]
    provider: ApiKeyProvider,
    /// The key, as it was shown when it was created.
    #[schema(format = "password", example = "psb_wxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefwxyz01231YQk2i")]
    key: String,
    /// `reject` (the default), `switch` or `merge`: what happens, as the key always has a user.
    #[schema(inline)]
    on_conflict: Option<OnConflict>,
}

/// The subject of a JWT of your own.
#[derive(ToSchema)]
#[schema(title = "Custom token")]
pub(crate) struct LinkCustomToken(#[schema(inline)] CustomTokenLogin);

/// The subject of an ID token of an OpenID Connect issuer.
#[derive(ToSchema)]
#[schema(title = "ID token")]
pub(crate) struct LinkIdToken(#[schema(inline)] IdTokenLogin);

/// The identity with which a login in the browser came back.
#[derive(ToSchema)]
#[schema(title = "Browser login")]
pub(crate) struct LinkBrowserCode(#[schema(inline)] BrowserCodeLogin);

/// What a request that costs a password's hash or an e-mail may have; the document adds it to each.
#[derive(ToSchema)]
pub(crate) struct Proof {
    /// The proof of work, after a 429 `work-needed`; see `GET /v1/challenge`.
    altcha: Option<String>,
}

/// An e-mail address and the password that it is to have.
#[derive(ToSchema)]
pub(crate) struct Registration {
    /// The address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// The password: 6 to 128 characters.
    #[schema(format = "password", example = "correct horse battery staple")]
    password: String,
}

/// An e-mail address.
#[derive(ToSchema)]
pub(crate) struct MailAddress {
    /// The address.
    #[schema(example = "ada@example.com")]
    email: String,
}

/// What the link in an e-mail holds.
#[derive(ToSchema)]
pub(crate) struct MailToken(#[schema(inline)] AppServicesMailToken);

/// What the link in an e-mail holds, and the new password.
#[derive(ToSchema)]
pub(crate) struct PasswordReset(#[schema(inline)] AppServicesReset);

/// The current password and the new one.
#[derive(ToSchema)]
pub(crate) struct PasswordChange {
    /// The current password.
    #[schema(format = "password", example = "correct horse battery staple")]
    current_password: String,
    /// The new password: 6 to 128 characters.
    #[schema(format = "password", example = "a better one than before")]
    password: String,
}

/// An API key to be created.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewApiKey {
    /// Its name, which no other key of the user has.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$", example = "nightly-backup")]
    name: String,
}

/// What becomes of an API key.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApiKeyChange {
    /// Whether the key is refused from now on.
    #[schema(example = true)]
    disabled: bool,
}

/// A user's document: one JSON object.
#[derive(ToSchema)]
#[schema(example = json!({"visits": 3, "theme": "dark"}))]
pub(crate) struct UserDocument(HashMap<String, Value>);

/// A merge patch (RFC 7396): what is in it is set, what is null in it is removed.
#[derive(ToSchema)]
#[schema(example = json!({"theme": "light", "draft": null}))]
pub(crate) struct MergePatch(HashMap<String, Value>);

/// A step of a JSON patch (RFC 6902).
#[derive(ToSchema)]
pub(crate) struct JsonPatchStep {
    /// What to do.
    #[schema(inline)]
    op: JsonPatchOp,
    /// Where: a JSON pointer (RFC 6901).
    #[schema(example = "/tags/-")]
    path: String,
    /// For `copy` and `move`: from where.
    #[schema(required = false, nullable = false, example = "/old")]
    from: Option<String>,
    /// For `add`, `replace` and `test`: the value.
    #[schema(required = false, example = "news")]
    value: Option<Value>,
}

/// What a step of a JSON patch does.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JsonPatchOp {
    Add,
    Remove,
    Replace,
    Move,
    Copy,
    Test,
}

/// What is added to a number of the document.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Increment {
    /// Where the number is: a JSON pointer (RFC 6901).
    #[schema(example = "/visits")]
    path: String,
    /// How much is added; 1 if it is left out.
    #[schema(example = 1, required = false)]
    by: Option<f64>,
}

/// A use of a meter.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MeterUse {
    /// How much is used; 1 if it is left out.
    #[schema(minimum = 1, maximum = 1_000_000, example = 1)]
    amount: Option<u32>,
    /// What is used. The same item counts once in a period, if the meter is configured so.
    #[schema(example = "/2026/an-article")]
    item: Option<String>,
}

/// Whether a first visit is given an id.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VerifyCreate {
    Auto,
    Never,
}

/// Which part of the page's address is the item.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VerifyItemFrom {
    Path,
    Uri,
}

/// The status of a refusal.
#[derive(Serialize, ToSchema)]
pub(crate) enum VerifyOver {
    #[serde(rename = "303")]
    SeeOther,
    #[serde(rename = "402")]
    PaymentRequired,
    #[serde(rename = "403")]
    Forbidden,
}

/// Whether to answer with an assertion.
#[derive(Serialize, ToSchema)]
pub(crate) enum VerifyAssertion {
    #[serde(rename = "0")]
    No,
    #[serde(rename = "1")]
    Yes,
}

/// What an issuer's form holds.
#[derive(ToSchema)]
pub(crate) struct IssuersAnswer {
    /// As the issuer was given it.
    #[schema(example = "vYs0v4kXh1")]
    state: String,
    /// The issuer's code.
    #[schema(example = "SplxlOBeZQQYbYS6WxSbIA")]
    code: Option<String>,
    /// The issuer's refusal.
    #[schema(example = "access_denied")]
    error: Option<String>,
    /// The same in words, for the log.
    #[schema(example = "cancelled")]
    error_description: Option<String>,
    /// The issuer (RFC 9207).
    #[schema(example = "https://accounts.example")]
    iss: Option<String>,
}
