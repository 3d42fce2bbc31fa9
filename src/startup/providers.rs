//! The providers that the settings and the app folder ask for, with their secrets, what they fetch through, and what sends e-mails.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::secrets::Secrets;
use crate::config::{Loaded, SETTINGS, Settings, SettingsError, SettingsErrors};
use crate::mail::{AnyTransport, Plan, Smtp, Webhook};
use crate::outbound::{Allowed, Outbound, SystemResolver, system_roots};
use crate::provider::Configured;
use crate::provider::app_folder::AppFolder;

/// The enabled providers, with the secrets that they name and one client for whatever they fetch. Nothing is fetched yet.
/// `environment` is that of [`crate::config::environment`].
///
/// # Errors
/// Names source, key and reason of everything that is wrong with providers, secrets, mail and `outbound.allow`.
pub fn providers(
    loaded: &Loaded,
    folder: &AppFolder,
    environment: &[(String, String)],
) -> Result<Configured, SettingsErrors> {
    build_providers(loaded, folder, environment).map_err(|errors| loaded.locate(errors))
}

fn build_providers(
    loaded: &Loaded,
    folder: &AppFolder,
    environment: &[(String, String)],
) -> Result<Configured, SettingsErrors> {
    let settings = loaded.settings();
    let secrets_file = settings.secrets_file.as_deref();
    let secrets = Secrets::load(environment, secrets_file, settings.app_dir.as_deref());
    // about the file as a whole: what names it may be what is wrong
    let secrets = secrets.map_err(|error| match secrets_file.map(|file| file.display().to_string()) {
        Some(file) if error.origin == file && error.key.is_none() => {
            SettingsError::of_key(SETTINGS, "secrets_file", format!("{file}: {}", error.reason))
        }
        _ => error,
    })?;
    let unreachable = |reason: String| SettingsError::of_key(SETTINGS, "outbound.allow", reason);
    let allowed = Allowed::parse(&settings.outbound.allow).map_err(unreachable)?;
    let outbound = Outbound::new(allowed, Arc::new(SystemResolver), system_roots())
        .map_err(|error| SettingsError::of_source("outbound client", error.to_string()))?;
    let mut wrong = SettingsErrors::default();
    let built = Configured::read(folder, loaded.provider_tables(), &settings.app_id, &secrets, &outbound);
    let providers = wrong.take(built);
    let mail = wrong.take(mail(settings, &secrets, outbound));
    let (Some(mut providers), Some(mail)) = (providers, mail) else { return Err(wrong) };
    providers.mail = mail;
    let mut missing =
        |key: &str, reason: &str| wrong.push(SettingsError::of_key(SETTINGS, key, format!("is missing: {reason}")));
    if providers.mail.is_none() && providers.needs_mail() {
        missing("mail.smtp", "local-userpass has to send mails (or set mail.webhook)");
    }
    if providers.needs_public_url() && settings.public_url.is_none() {
        missing("public_url", "a provider with redirect_uris has to send browsers back here");
    }
    let known: Vec<&str> = providers.names_with_issuer().collect();
    if let Some(shared) = settings.auth.shared_callback.as_deref().filter(|name| !known.contains(name)) {
        let known = if known.is_empty() { "there is none".to_owned() } else { format!("only {}", known.join(", ")) };
        let reason = format!("there is no such provider {shared:?} of OpenID Connect, {known}");
        wrong.push(SettingsError::of_key(SETTINGS, "auth.shared_callback", reason));
    }
    wrong.or(providers)
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
