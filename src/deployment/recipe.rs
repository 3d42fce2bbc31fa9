//! How the providers of an app are configured: with which secrets, what they fetch through, and what sends e-mails.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::secrets::{Pipes, Secrets};
use crate::config::{Loaded, SETTINGS, Settings, SettingsError, SettingsErrors, Shown};
use crate::mail::{AnyTransport, Plan, Smtp, Webhook};
use crate::outbound::{Allowed, Outbound, SystemResolver, system_roots};
use crate::provider::app_folder::{AppContent, AppFolder};
use crate::provider::{Configured, without_literals};

/// What an app's providers are configured by, from the start of a server to its end. Of it, the secrets file alone is read again.
pub struct Recipe {
    loaded: Loaded,
    environment: Vec<(String, String)>,
    outbound: Outbound,
    mail: Option<Arc<AnyTransport>>,
    pipes: Arc<Pipes>,
}

impl Recipe {
    /// What sends mails, if anything does.
    pub fn mail(&self) -> Option<&Arc<AnyTransport>> {
        self.mail.as_ref()
    }

    /// The settings of the start, and where each comes from.
    pub fn configuration(&self) -> Vec<Shown> {
        self.loaded.shown()
    }

    /// The names of the secrets that an app can name.
    ///
    /// # Errors
    /// They cannot be read any more.
    pub fn secret_names(&self) -> Result<Vec<String>, SettingsError> {
        let secrets = secrets(self.loaded.settings(), &self.environment, &self.pipes)?;
        Ok(secrets.names().collect())
    }

    /// The origins that the settings list, beside the app: these are in force then, and not the app's.
    pub fn fixed_origins(&self) -> Option<&[String]> {
        const KEY: &str = "allowed_origins";
        self.loaded.is_fixed(KEY).then(|| self.loaded.settings().allowed_origins.as_slice())
    }

    /// How long a session of a lasting account lives, in seconds. Where the settings say it, beside the app, they are in force.
    pub fn session_lifetime_s(&self, deployed: Option<u32>) -> u32 {
        let of_settings = self.loaded.settings().session.lifetime_s;
        deployed.filter(|_| !self.is_lifetime_fixed()).unwrap_or(of_settings)
    }

    /// Whether the settings say how long a session of a lasting account lives.
    pub fn is_lifetime_fixed(&self) -> bool {
        self.loaded.is_fixed("session.lifetime")
    }

    /// Reads what the settings say of it, and the enabled providers of `folder` with that; without a folder, those that the
    /// settings enable by themselves. Nothing is fetched yet. `environment` is that of [`crate::config::environment`],
    /// and `pipes` keeps what can be read once.
    ///
    /// # Errors
    /// Names source, key and reason of everything that is wrong with providers, secrets, mail and `outbound.allow`.
    pub fn read(
        loaded: &Loaded,
        folder: Option<&AppFolder>,
        environment: &[(String, String)],
        pipes: &Arc<Pipes>,
    ) -> Result<(Self, Configured), SettingsErrors> {
        Self::read_with(loaded, folder, environment, pipes).map_err(|errors| loaded.locate(errors))
    }

    fn read_with(
        loaded: &Loaded,
        folder: Option<&AppFolder>,
        environment: &[(String, String)],
        pipes: &Arc<Pipes>,
    ) -> Result<(Self, Configured), SettingsErrors> {
        let settings = loaded.settings();
        let secrets = secrets(settings, environment, pipes)?;
        let unreachable = |reason: String| SettingsError::of_key(SETTINGS, "outbound.allow", reason);
        let allowed = Allowed::parse(&settings.outbound.allow).map_err(unreachable)?;
        let outbound = Outbound::new(allowed, Arc::new(SystemResolver), system_roots())
            .map_err(|error| SettingsError::of_source("outbound client", error.to_string()))?;
        let recipe = Self {
            loaded: loaded.clone(),
            environment: environment.to_vec(),
            outbound,
            mail: None,
            pipes: Arc::clone(pipes),
        };
        let mut wrong = SettingsErrors::default();
        let built = folder.map_or_else(
            || recipe.providers(&AppFolder::default(), &secrets),
            |folder| recipe.providers(folder, &secrets),
        );
        let built = wrong.take(built);
        let mail = wrong.take(mail(settings, &secrets, recipe.outbound.clone()));
        let (Some(providers), Some(mail)) = (built, mail) else { return Err(wrong) };
        let recipe = Self { mail, ..recipe };
        wrong.take(recipe.check_needs(&providers));
        // without a folder the newest deployment is served, which is not known yet
        if folder.is_some() {
            wrong.take(recipe.check_callback(&providers));
        }
        wrong.or((recipe, providers))
    }

    /// The enabled providers of `folder`.
    ///
    /// # Errors
    /// Names source, key and reason of everything that is wrong with them and with secrets.
    pub fn configure(&self, folder: &AppFolder) -> Result<Configured, SettingsErrors> {
        let configured = || {
            let secrets = secrets(self.loaded.settings(), &self.environment, &self.pipes)?;
            let providers = self.providers(folder, &secrets)?;
            let mut wrong = SettingsErrors::default();
            wrong.take(self.check_needs(&providers));
            wrong.take(self.check_callback(&providers));
            wrong.or(providers)
        };
        configured().map_err(|errors| self.loaded.locate(errors))
    }

    /// An app of the store as it may be seen: an earlier version did not refuse secrets in providers that are off.
    pub fn seen(&self, app: AppContent) -> AppContent {
        without_literals(app, || {
            // where they cannot be read none is known
            secrets(self.loaded.settings(), &self.environment, &self.pipes).unwrap_or_default()
        })
    }

    fn providers(&self, folder: &AppFolder, secrets: &Secrets) -> Result<Configured, SettingsErrors> {
        let Self { loaded, outbound, .. } = self;
        Configured::read(folder, loaded.provider_tables(), &loaded.settings().app_id, secrets, outbound)
    }

    /// Whether the settings have what these providers need.
    fn check_needs(&self, providers: &Configured) -> Result<(), SettingsErrors> {
        let (mut wrong, settings) = (SettingsErrors::default(), self.loaded.settings());
        let mut missing =
            |key: &str, reason: &str| wrong.push(SettingsError::of_key(SETTINGS, key, format!("is missing: {reason}")));
        if self.mail.is_none() && providers.needs_mail() {
            missing("mail.smtp", "local-userpass has to send mails (or set mail.webhook)");
        }
        if providers.needs_public_url() && settings.public_url.is_none() {
            missing("public_url", "a provider with redirect_uris has to send browsers back here");
        }
        wrong.or(())
    }

    /// Whether the provider that has the shared callback is one of these.
    fn check_callback(&self, providers: &Configured) -> Result<(), SettingsErrors> {
        let (mut wrong, settings) = (SettingsErrors::default(), self.loaded.settings());
        let known: Vec<&str> = providers.names_with_issuer().collect();
        if let Some(shared) = settings.auth.shared_callback.as_deref().filter(|name| !known.contains(name)) {
            let known =
                if known.is_empty() { "there is none".to_owned() } else { format!("only {}", known.join(", ")) };
            let reason = format!("there is no such provider {shared:?} of OpenID Connect, {known}");
            wrong.push(SettingsError::of_key(SETTINGS, "auth.shared_callback", reason));
        }
        wrong.or(())
    }
}

fn secrets(settings: &Settings, environment: &[(String, String)], pipes: &Pipes) -> Result<Secrets, SettingsError> {
    let secrets_file = settings.secrets_file.as_deref();
    let secrets = Secrets::load(environment, secrets_file, settings.app_dir.as_deref(), pipes);
    // about the file as a whole: what names it may be what is wrong
    secrets.map_err(|error| match secrets_file.map(|file| file.display().to_string()) {
        Some(file) if error.origin == file && error.key.is_none() => {
            SettingsError::of_key(SETTINGS, "secrets_file", format!("{file}: {}", error.reason))
        }
        _ => error,
    })
}

/// What sends e-mails, if anything does.
fn mail(
    settings: &Settings,
    secrets: &Secrets,
    outbound: Outbound,
) -> Result<Option<Arc<AnyTransport>>, SettingsErrors> {
    let wrong = |key: &str, reason: String| SettingsError::of_key(SETTINGS, key, reason);
    Ok(match settings.mail.plan(SETTINGS)? {
        None => None,
        Some(Plan::Smtp(plan)) => {
            let password = plan.login.as_ref().map(|login| secrets.get(&login.password_secret)).transpose();
            let password = password.map_err(|reason| wrong("mail.smtp_password_secret", reason))?;
            let password = password.map(|secret| Zeroizing::new(secret.expose().to_owned()));
            let smtp = Smtp::new(&plan, password).map_err(|error| wrong("mail.smtp", error.to_string()))?;
            Some(Arc::new(AnyTransport::Smtp(Box::new(smtp))))
        }
        Some(Plan::Webhook { url, secret }) => {
            outbound.check(&url).map_err(|error| wrong("mail.webhook", error.to_string()))?;
            let secret = secrets.get(&secret).map_err(|reason| wrong("mail.webhook_secret", reason))?;
            let webhook = Webhook::new(&url, secret.expose(), outbound);
            let webhook = webhook.map_err(|error| wrong("mail.webhook_secret", error.to_string()))?;
            Some(Arc::new(AnyTransport::Webhook(Box::new(webhook))))
        }
    })
}
