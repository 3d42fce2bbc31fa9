//! The app that a running server serves: what was deployed, and what is built of it.

use super::error::DeployError;
use super::recipe::Recipe;
use crate::provider::app_folder::{AppContent, AppFolder};
use crate::provider::{ANON_USER, Parts, Providers};

/// What is in force. A request that is under way when it changes may ask for it more than once, and gets what it would get before
/// or after.
pub struct App {
    /// The number of its deployment, from 1; 0 if the store could not take it.
    pub number: u64,
    /// What was deployed.
    pub content: AppContent,
    /// Which providers take logins.
    pub providers: Providers,
    /// Origins that browsers may call from, in the form they send; empty allows any.
    pub allowed_origins: Vec<String>,
}

impl App {
    /// Builds what was deployed. `before` is what it takes the place of; `origin` names where `content` comes from.
    pub(super) fn build(
        (recipe, parts): (&Recipe, &Parts),
        number: u64,
        content: &AppContent,
        origin: &str,
        before: Option<&Self>,
    ) -> Result<Self, DeployError> {
        let read = AppFolder::of(content, origin)?;
        let configured = recipe.configure(&read)?;
        let providers = Providers::build(&configured, parts, before.map(|before| &before.providers))?;
        let allowed_origins = recipe.fixed_origins().unwrap_or(&read.content.allowed_request_origins).to_vec();
        Ok(Self { number, content: read.content, providers, allowed_origins })
    }

    /// The names of the enabled providers.
    pub fn enabled(&self) -> Vec<&str> {
        let anonymous = self.providers.anon_user_enabled.then_some(ANON_USER);
        anonymous.into_iter().chain(self.providers.names()).collect()
    }
}
