//! The kinds of provider that are OpenID Connect: those of App Services, and any other issuer.

use super::Oidc;
use super::config::{OAUTH2_APPLE, OAUTH2_GOOGLE, OIDC, OidcConfig, OidcSettings};
use crate::config::SettingsErrors;
use crate::provider::kind::{Given, Kind, Needs, Plan, Rules};

const RULES: Rules = Rules { has_issuer: true, ..Rules::PLAIN };

pub(in crate::provider) const GOOGLE: Kind = Kind {
    read: Some(|given| plan(OidcConfig::google(given.file, given.content, given.secrets)?, given)),
    rules: RULES,
    ..Kind::of_app_services(OAUTH2_GOOGLE)
};

pub(in crate::provider) const APPLE: Kind = Kind {
    read: Some(|given| plan(OidcConfig::apple(given.file, given.content, given.secrets)?, given)),
    rules: RULES,
    ..Kind::of_app_services(OAUTH2_APPLE)
};

pub(in crate::provider) const ISSUER: Kind =
    Kind { name: OIDC, is_of_app_services: false, read: Some(read_issuer), table: Some("oidc"), rules: RULES };

fn plan(config: OidcConfig, given: &Given<'_>) -> Result<Plan, SettingsErrors> {
    Ok(Plan::done(Oidc::new(config, given.outbound.clone(), given.file)?))
}

fn read_issuer(given: &Given<'_>) -> Result<Plan, SettingsErrors> {
    let name = given.name.strip_prefix(OIDC).unwrap_or(given.name);
    let mut wrong = SettingsErrors::default();
    let settings = OidcSettings::read(given.file, name, given.content, &mut wrong);
    let config = wrong.take(OidcConfig::issuer(given.file, name, settings, given.secrets));
    let Some(config) = config.filter(|_| wrong.is_empty()) else { return Err(wrong) };
    // an app folder's redirect URIs are of the flow that App Services had, and may be there without that being wanted
    let needs = Needs { public_url: config.has_browser_login(), ..Needs::default() };
    Ok(Plan { needs, ..plan(config, given)? })
}
