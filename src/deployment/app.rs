//! The app that a running server serves: what was deployed, and what is built of it.

use super::error::{DeployError, MOST_BYTES};
use super::recipe::Recipe;
use super::stored::Deployment;
use crate::provider::app_folder::{AppContent, AppFolder};
use crate::provider::{ANON_USER, Configured, Parts, Providers};

/// What is in force. A request that is under way when it changes may ask for it more than once, and gets what it would get before
/// or after.
pub struct App {
    /// The number of its deployment, from 1; 0 if the store could not take it.
    pub number: u64,
    /// The number of the last deployment that the store had when this was put in force.
    pub(super) newest: u64,
    /// The digest of the app folder that was deployed last, when this was put in force.
    pub(super) folder: Option<String>,
    /// What was deployed.
    pub content: AppContent,
    /// Which providers take logins.
    pub providers: Providers,
    /// Origins that browsers may call from, in the form they send; empty allows any.
    pub allowed_origins: Vec<String>,
    /// Whether the settings list them, and not what was deployed.
    pub origins_are_fixed: bool,
    /// How long a session of a lasting account lives, in seconds.
    pub session_lifetime_s: u32,
    /// Whether the settings say so, and not what was deployed.
    pub is_lifetime_fixed: bool,
    of_settings: Vec<String>,
}

impl App {
    /// Builds a deployment. `before` is what it takes the place of.
    pub(super) fn build(
        (recipe, parts): (&Recipe, &Parts),
        deployment: &Deployment,
        before: Option<&Self>,
    ) -> Result<Self, DeployError> {
        let (read, configured) = Self::check(recipe, &deployment.app, &deployment.label())?;
        let providers = Providers::build(&configured, parts, before.map(|before| &before.providers))?;
        let fixed = recipe.fixed_origins();
        let allowed_origins = fixed.unwrap_or(&read.content.allowed_request_origins).to_vec();
        Ok(Self {
            number: deployment.number,
            newest: deployment.number,
            folder: deployment.folder.clone(),
            of_settings: configured.of_settings().map(str::to_owned).collect(),
            session_lifetime_s: recipe.session_lifetime_s(read.content.refresh_token_expiration_s),
            is_lifetime_fixed: recipe.is_lifetime_fixed(),
            content: read.content,
            providers,
            allowed_origins,
            origins_are_fixed: fixed.is_some(),
        })
    }

    /// Reads what would be deployed, and builds nothing of it.
    pub(super) fn check(
        recipe: &Recipe,
        content: &AppContent,
        origin: &str,
    ) -> Result<(AppFolder, Configured), DeployError> {
        let length = content.to_json().len();
        if length > MOST_BYTES {
            return Err(DeployError::TooLarge(length));
        }
        let read = AppFolder::of(content, origin)?;
        let configured = recipe.configure(&read)?;
        Ok((read, configured))
    }

    /// The names of the providers that the settings enable, whether or not what was deployed does too.
    pub fn of_the_settings(&self) -> impl Iterator<Item = &str> {
        self.of_settings.iter().map(String::as_str)
    }

    /// The names of the enabled providers.
    pub fn enabled(&self) -> Vec<&str> {
        let anonymous = self.providers.anon_user_enabled.then_some(ANON_USER);
        anonymous.into_iter().chain(self.providers.names()).collect()
    }
}
