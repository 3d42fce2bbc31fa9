//! The authentication providers and where their configuration comes from.

pub mod app_folder;

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
