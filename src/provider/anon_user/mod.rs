//! `anon-user`: whoever comes becomes a user. It proves nothing, so it has no identities and no options.

use super::kind::Kind;

/// The provider's type and name.
pub const ANON_USER: &str = "anon-user";

/// What it has in an app folder.
pub(super) const OPTIONS: [&str; 3] = ["name", "type", "disabled"];

pub(super) const KIND: Kind = Kind::of_app_services(ANON_USER);
