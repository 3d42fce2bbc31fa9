//! Every kind of provider, and what is known of one by its name.

use std::sync::LazyLock;

use super::kind::{Kind, Rules};
use super::{anon_user, api_key, custom_token, local_userpass, not_built, oidc};

/// In the order in which their tables are read.
pub(super) const KINDS: &[&Kind] = &[
    &anon_user::KIND,
    &custom_token::KIND,
    &oidc::GOOGLE,
    &oidc::APPLE,
    &local_userpass::KIND,
    &api_key::KIND,
    &oidc::ISSUER,
    &not_built::FUNCTION,
    &not_built::FACEBOOK,
];

/// The kind of the provider of this name.
pub(super) fn kind_of(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.has(name)).copied()
}

/// The names that app folders may use.
pub(super) fn names_of_app_services() -> impl Iterator<Item = &'static str> {
    KINDS.iter().filter(|kind| kind.is_of_app_services).map(|kind| kind.name)
}

/// Whether App Services knows a provider of this name, built here or not.
pub fn is_of_app_services(name: &str) -> bool {
    names_of_app_services().any(|known| known == name)
}

/// The providers of which a user may have one identity at most.
pub fn one_identity_of() -> &'static [&'static str] {
    static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let kinds = KINDS.iter().filter(|kind| kind.rules.one_identity);
        kinds.map(|kind| kind.name).collect()
    });
    &NAMES
}

/// What is special about the provider of this name.
pub fn rules(name: &str) -> Rules {
    kind_of(name).map_or(Rules::PLAIN, |kind| kind.rules)
}
