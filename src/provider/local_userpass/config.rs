//! The configuration of `local-userpass` in `auth/providers.json`, as App Services exported it.

use serde_json::{Map, Value};

use crate::config::SettingsErrors;
use crate::mail::{Page, Subject};
use crate::provider::options::{Options, Told, all};

const TOP: [&str; 4] = ["name", "type", "disabled", "config"];

/// How people register with e-mail address and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserpassConfig {
    /// How a new address is confirmed.
    pub confirmation: Confirmation,
    /// The e-mail with which a password is reset; without it resets are refused.
    pub reset: Option<MailLink>,
}

/// How a new address is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// Not at all: registering is enough to log in.
    Automatic,
    /// By a link in an e-mail.
    Mail(MailLink),
}

/// An e-mail's subject and the page that its link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailLink {
    /// The app's page, which gets `token` and `tokenId`.
    pub page: Page,
    /// Subject of the mail.
    pub subject: Subject,
}

impl UserpassConfig {
    /// Whether e-mails have to be sent, so that `[mail]` must be set.
    pub fn sends_mail(&self) -> bool {
        self.reset.is_some() || self.confirmation != Confirmation::Automatic
    }

    /// Reads the provider's object, which `path` leads to in the file that `file` names. `name`, `type` and `disabled` are read elsewhere.
    ///
    /// # Errors
    /// Names file, key and reason: an option that is unknown or wrong, a function that would have to be run, a page
    /// that is missing.
    pub fn read(file: &str, path: &str, options: &Map<String, Value>) -> Result<Self, SettingsErrors> {
        let provider = Options::new(file, path, options);
        provider.only(&TOP);
        provider.finish(provider.section("config", &KNOWN).and_then(|config| Self::from_options(&config)))
    }

    fn from_options(config: &Options<'_>) -> Result<Self, Told> {
        for (switch, instead) in [
            ("runConfirmationFunction", "autoConfirm or emailConfirmationUrl"),
            ("runResetFunction", "resetPasswordUrl"),
        ] {
            if config.flag(switch) == Ok(true) {
                let reason = format!("is on, but this server runs no functions: set it to false and use {instead}");
                config.wrong(switch, reason);
            }
        }
        // names of functions that are not run stay in many exports; they must be texts, and that is all
        let names = ["confirmationFunctionName", "confirmationFunctionId", "resetFunctionName", "resetFunctionId"];
        let names = all(names.into_iter().map(|name| config.text(name)));
        let confirmation = link(config, "emailConfirmationUrl", "confirmEmailSubject", "Confirm your e-mail address");
        let reset = link(config, "resetPasswordUrl", "resetPasswordSubject", "Reset your password");
        // a function that confirms is told of already, and stands in for the page
        let by_function = config.flag("runConfirmationFunction") == Ok(true);
        let confirmation = match (config.flag("autoConfirm")?, confirmation?) {
            (true, _) => Ok(Confirmation::Automatic),
            (false, Some(link)) => Ok(Confirmation::Mail(link)),
            (false, None) if by_function => Err(Told),
            (false, None) => {
                let reason = "is missing: without autoConfirm no address could be confirmed";
                Err(config.missing("emailConfirmationUrl", reason))
            }
        };
        let (confirmation, reset, _) = (confirmation?, reset?, names?);
        Ok(Self { confirmation, reset })
    }
}

fn link(config: &Options<'_>, url: &str, subject: &str, usual: &str) -> Result<Option<MailLink>, Told> {
    let text = config
        .text(subject)
        .and_then(|text| Subject::parse(text.unwrap_or(usual)).map_err(|reason| config.wrong(subject, reason)));
    let page = match config.text(url)? {
        // the console of App Services writes a bare scheme where nothing was filled in
        None | Some("https://" | "http://") => None,
        Some(page) => Some(Page::parse(page).map_err(|reason| config.wrong(url, reason))?),
    };
    let subject = text?;
    Ok(page.map(|page| MailLink { page, subject }))
}

const KNOWN: [&str; 11] = [
    "autoConfirm",
    "emailConfirmationUrl",
    "confirmEmailSubject",
    "resetPasswordUrl",
    "resetPasswordSubject",
    "runConfirmationFunction",
    "confirmationFunctionName",
    "confirmationFunctionId",
    "runResetFunction",
    "resetFunctionName",
    "resetFunctionId",
];

#[cfg(test)]
mod tests;
