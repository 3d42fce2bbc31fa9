//! Providers that App Services knows and this server does not have.

use super::kind::Kind;

pub(super) const FUNCTION: Kind = Kind::of_app_services("custom-function");
pub(super) const FACEBOOK: Kind = Kind::of_app_services("oauth2-facebook");
