//! What the providers are called: the type of each is also its name.

use passerby_actors::domain::{API_KEY, LOCAL_USERPASS};

/// The provider of anonymous users.
pub const ANON_USER: &str = "anon-user";
/// The provider for JWTs of another system.
pub(super) const CUSTOM_TOKEN: &str = "custom-token";
/// The provider for Google accounts.
pub(super) const OAUTH2_GOOGLE: &str = "oauth2-google";
/// The provider for Apple accounts.
pub(super) const OAUTH2_APPLE: &str = "oauth2-apple";
/// Providers of an app folder that prove an identity here.
pub const IDENTITY_PROVIDERS: [&str; 5] = [CUSTOM_TOKEN, OAUTH2_GOOGLE, OAUTH2_APPLE, LOCAL_USERPASS, API_KEY];
/// Providers that App Services knows and this server does not have. With [`ANON_USER`] and [`IDENTITY_PROVIDERS`] they are
/// every name that SDKs know; one of them takes no other.
pub const NOT_BUILT: [&str; 2] = ["custom-function", "oauth2-facebook"];
