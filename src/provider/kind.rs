//! What a kind of provider is: its name, how its settings are read, how it is built, and its rules.

use std::sync::{Arc, OnceLock};

use passerby_actors::actor::LinkerHandle;
use passerby_actors::domain::Entropy;
use passerby_actors::store::Store;
use serde_json::{Map, Value};

use super::identity::IdentityProvider;
use super::password::{Cost, PasswordError};
use super::password_work::PasswordWork;
use crate::config::SettingsErrors;
use crate::config::secrets::Secrets;
use crate::mail::Mailer;
use crate::outbound::Outbound;

/// A kind of provider. Each is listed in `kinds`.
pub(super) struct Kind {
    /// The name of its provider, which is also the type of identities there; one that ends in `-` begins the names of several.
    pub(super) name: &'static str,
    /// Whether App Services knows it, and app folders may name it: one of its SDKs takes no other.
    pub(super) is_of_app_services: bool,
    /// How its settings are read, if it proves identities here.
    pub(super) read: Option<Read>,
    /// The name of its table in `passerby.toml`, under `provider`.
    pub(super) table: Option<&'static str>,
    /// What is special about it.
    pub(super) rules: Rules,
}

impl Kind {
    /// One that proves no identities.
    pub(super) const fn of_app_services(name: &'static str) -> Self {
        Self { name, is_of_app_services: true, read: None, table: None, rules: Rules::PLAIN }
    }

    /// Whether there can be several providers of it.
    pub(super) fn is_of_several(&self) -> bool {
        self.name.ends_with('-')
    }

    /// Whether a provider of this name is of this kind.
    pub(super) fn has(&self, name: &str) -> bool {
        if self.is_of_several() { name.starts_with(self.name) } else { name == self.name }
    }
}

/// What is special about a kind of provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether a password is hashed to check a credential, which needs room among those that wait.
    pub hashes_passwords: bool,
    /// Whether it proves a user who exists already, and never a new one.
    pub proves_known_user: bool,
    /// Whether a user may have one identity of it at most. Not for a kind of several providers.
    pub one_identity: bool,
    /// Whether an issuer stands behind it, to which browsers can be sent, and whose name stands before the ids there.
    pub has_issuer: bool,
}

impl Rules {
    /// Nothing is.
    pub const PLAIN: Self =
        Self { hashes_passwords: false, proves_known_user: false, one_identity: false, has_issuer: false };

    /// The id as people know it: without the issuer that makes it unique here.
    pub fn shown_id(self, external: &str) -> &str {
        let subject = external.split_once(' ').filter(|_| self.has_issuer).map(|(_, subject)| subject);
        subject.unwrap_or(external)
    }
}

/// A provider's settings, and what is needed to read them.
pub(super) struct Given<'a> {
    /// The provider.
    pub(super) name: &'a str,
    /// Where they come from.
    pub(super) file: &'a str,
    /// Where in it they stand.
    pub(super) path: &'a str,
    pub(super) content: &'a Map<String, Value>,
    /// The one in force.
    pub(super) app_id: &'a str,
    pub(super) secrets: &'a Secrets,
    /// What it fetches through.
    pub(super) outbound: &'a Outbound,
}

/// A provider whose settings are good.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) needs: Needs,
    pub(super) build: Build,
}

/// Settings of the server that a provider needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// It sends mails.
    pub(super) mail: bool,
    /// It sends browsers away that are to come back.
    pub(super) public_url: bool,
}

/// Reads the settings of one provider.
pub(super) type Read = fn(&Given<'_>) -> Result<Plan, SettingsErrors>;

/// Builds a provider of what the server has.
pub(super) type With = dyn Fn(&Parts) -> Result<Arc<dyn IdentityProvider>, PasswordError> + Send + Sync;

/// How a provider comes to be.
#[derive(Clone)]
pub(super) enum Build {
    /// It needs nothing of the server.
    Done(Arc<dyn IdentityProvider>),
    /// When there is a store.
    With(Arc<With>),
}

impl Plan {
    /// Of one that needs nothing of the server.
    pub(super) fn done(provider: impl IdentityProvider) -> Self {
        Self { needs: Needs::default(), build: Build::Done(Arc::new(provider)) }
    }

    /// Of one that is built when there is a store.
    pub(super) fn with<F>(build: F) -> Self
    where
        F: Fn(&Parts) -> Result<Arc<dyn IdentityProvider>, PasswordError> + Send + Sync + 'static,
    {
        Self { needs: Needs::default(), build: Build::With(Arc::new(build)) }
    }
}

/// What a server has for its providers, from its start to its end.
pub struct Parts {
    /// Sends mails; there is one where the configuration needs it.
    pub mailer: Option<Mailer>,
    /// Keeps credentials.
    pub linker: Arc<LinkerHandle>,
    /// Where they are.
    pub store: Arc<dyn Store>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What a new password's hash costs.
    pub cost: Cost,
    /// What works on passwords, from the first provider on that has some.
    pub password_work: OnceLock<Arc<PasswordWork>>,
}
