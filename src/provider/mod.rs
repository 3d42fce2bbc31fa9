//! The authentication providers and where their configuration comes from.

pub mod app_folder;

/// The provider of anonymous users; its name equals its type.
pub const ANON_USER: &str = "anon-user";
/// Providers that App Services knows and this server does not have. With [`ANON_USER`] they are every name that SDKs know;
/// one of them crashes on any other (wire-protocol §4).
pub const NOT_BUILT: [&str; 7] = [
    "local-userpass",
    "api-key",
    "custom-token",
    "custom-function",
    "oauth2-google",
    "oauth2-facebook",
    "oauth2-apple",
];

/// Which providers take logins, and what else an app folder says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Providers {
    /// Whether anonymous logins are taken.
    pub anon_user_enabled: bool,
    /// Origins that browsers may call from, in the form they send; empty allows any.
    pub allowed_request_origins: Vec<String>,
    /// The app id that clients were built with, where the folder tells it.
    pub app_id: Option<String>,
}

impl Default for Providers {
    /// Without an app folder: `anon-user` is enabled and everything else is off.
    fn default() -> Self {
        Self { anon_user_enabled: true, allowed_request_origins: Vec::new(), app_id: None }
    }
}
