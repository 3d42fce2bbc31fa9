//! What SDKs of App Services may send.
#![expect(dead_code, reason = "these types describe, and hold nothing")]

use serde_json::Value;
use utoipa::ToSchema;

/// What a login of an SDK sends. Which fields it takes depends on the provider; others are ignored.
#[derive(ToSchema)]
pub(crate) struct AppServicesLoginRequest {
    /// For `local-userpass`: the name.
    #[schema(example = "ada@example.com")]
    username: Option<String>,
    /// For `local-userpass`: the password.
    #[schema(format = "password", example = "correct horse battery staple")]
    password: Option<String>,
    /// For `custom-token`: the JWT.
    #[schema(format = "password", example = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl")]
    token: Option<String>,
    /// For `api-key`: the key.
    #[schema(format = "password", example = "psb_wxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefwxyz01231YQk2i")]
    key: Option<String>,
    /// For `oauth2-google` and `oauth2-apple`: the ID token.
    #[schema(format = "password", example = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl")]
    id_token: Option<String>,
    /// What the SDK tells of its device.
    options: Option<AppServicesLoginOptions>,
}

/// What an SDK tells with a login.
#[derive(ToSchema)]
pub(crate) struct AppServicesLoginOptions {
    /// The device.
    device: Option<AppServicesDevice>,
}

/// The device of an SDK.
#[derive(ToSchema)]
pub(crate) struct AppServicesDevice {
    /// The id that an earlier login gave out. Without one the answer has a new one.
    #[serde(rename = "deviceId")]
    #[schema(example = "636aba021728b6c1c03db7f9")]
    device_id: Option<String>,
}

/// A name and the password that it is to have.
#[derive(ToSchema)]
pub(crate) struct AppServicesCredentials {
    /// The name: an e-mail address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// The password: 6 to 128 characters.
    #[schema(format = "password", example = "correct horse battery staple")]
    password: String,
}

/// A name.
#[derive(ToSchema)]
pub(crate) struct AppServicesAddress {
    /// The name: an e-mail address.
    #[schema(example = "ada@example.com")]
    email: String,
}

/// A name and whatever a function of the app would take.
#[derive(ToSchema)]
pub(crate) struct AppServicesResetCall {
    /// The name: an e-mail address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// The password.
    #[schema(format = "password", example = "correct horse battery staple")]
    password: Option<String>,
    /// What the function would be called with.
    arguments: Option<Vec<Value>>,
}

/// What the link in an e-mail holds.
#[derive(ToSchema)]
pub(crate) struct AppServicesMailToken {
    /// The link's `token`.
    #[schema(format = "password", example = "Zm9yLW9uZS11c2Utb25seQ")]
    token: String,
    /// The link's `tokenId`.
    #[serde(rename = "tokenId")]
    #[schema(example = "636aba021728b6c1c03db7f9")]
    token_id: String,
}

/// What the link in an e-mail holds, and the new password.
#[derive(ToSchema)]
pub(crate) struct AppServicesReset {
    /// The link's `token`.
    #[schema(format = "password", example = "Zm9yLW9uZS11c2Utb25seQ")]
    token: String,
    /// The link's `tokenId`.
    #[serde(rename = "tokenId")]
    #[schema(example = "636aba021728b6c1c03db7f9")]
    token_id: String,
    /// The new password: 6 to 128 characters.
    #[schema(format = "password", example = "correct horse battery staple")]
    password: String,
}

/// An API key to be created.
#[derive(ToSchema)]
pub(crate) struct AppServicesKeyName {
    /// Its name: ASCII letters, digits, `_` and `-`.
    #[schema(example = "nightly-backup")]
    name: String,
}
