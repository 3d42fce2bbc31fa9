//! The providers of a running server.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use passerby_actors::domain::LOCAL_USERPASS;
use serde_json::{Map, Value};

use super::configured::{Configured, Planned};
use super::identity::IdentityProvider;
use super::kind::{Build, Parts};
use super::kinds::is_of_app_services;
use super::local_userpass::LocalUserpass;
use super::oidc::Oidc;
use super::password::PasswordError;

/// A provider, and what it was built from.
struct Built {
    provider: Arc<dyn IdentityProvider>,
    content: Map<String, Value>,
}

/// Which providers take logins.
pub struct Providers {
    /// Whether anonymous logins are taken.
    pub anon_user_enabled: bool,
    identity: BTreeMap<String, Built>,
    oidc: BTreeMap<String, Arc<Oidc>>,
    userpass: Option<Arc<LocalUserpass>>,
}

impl Providers {
    /// Those that are configured, with all that they need. One that was built from the same settings `before` is taken over as it
    /// is, with what it has fetched.
    ///
    /// # Errors
    /// There are no threads to hash passwords.
    pub fn build(configured: &Configured, parts: &Parts, before: Option<&Self>) -> Result<Self, PasswordError> {
        let mut identity = BTreeMap::new();
        for (name, Planned { plan, content, .. }) in &configured.plans {
            let same = before.and_then(|before| before.identity.get(name)).filter(|built| built.content == *content);
            let provider = match (same, &plan.build) {
                (Some(built), _) => Arc::clone(&built.provider),
                (None, Build::Done(provider)) => Arc::clone(provider),
                (None, Build::With(build)) => build(parts)?,
            };
            identity.insert(name.clone(), Built { provider, content: content.clone() });
        }
        let oidc = identity.iter().filter_map(|(name, built)| Some((name.clone(), as_one::<Oidc>(&built.provider)?)));
        Ok(Self {
            anon_user_enabled: configured.anon_user_enabled,
            oidc: oidc.collect(),
            userpass: identity.get(LOCAL_USERPASS).and_then(|built| as_one(&built.provider)),
            identity,
        })
    }

    /// The enabled provider of this name, if it proves identities.
    pub fn get(&self, name: &str) -> Option<&Arc<dyn IdentityProvider>> {
        self.identity.get(name).map(|built| &built.provider)
    }

    /// What an enabled provider was built from; it names secrets, and holds none.
    pub fn settings_of(&self, name: &str) -> Option<&Map<String, Value>> {
        self.identity.get(name).map(|built| &built.content)
    }

    /// The enabled OpenID Connect provider of this name.
    pub fn oidc(&self, name: &str) -> Option<&Arc<Oidc>> {
        self.oidc.get(name)
    }

    /// What registers names and checks passwords, if it is enabled.
    pub fn userpass(&self) -> Option<&Arc<LocalUserpass>> {
        self.userpass.as_ref()
    }

    /// The names of the enabled providers that prove identities, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.identity.keys().map(String::as_str)
    }

    /// Whether there is a provider of this name: enabled here, or known to App Services and off or not built.
    pub fn knows(&self, name: &str) -> bool {
        is_of_app_services(name) || self.get(name).is_some()
    }
}

/// The provider as what it is, for what it does beside proving identities.
fn as_one<T: IdentityProvider>(provider: &Arc<dyn IdentityProvider>) -> Option<Arc<T>> {
    let provider: Arc<dyn Any + Send + Sync> = Arc::clone(provider) as _;
    provider.downcast().ok()
}
