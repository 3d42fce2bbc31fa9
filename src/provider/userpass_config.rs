//! The configuration of `local-userpass` in `auth/providers.json`, as App Services exported it.

use serde_json::{Map, Value};

use super::options::{Options, Told, all};
use crate::config::SettingsErrors;
use crate::mail::{Page, Subject};

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
mod tests {
    use super::*;

    fn read(text: &str) -> Result<UserpassConfig, String> {
        let Value::Object(options) = serde_json::from_str(text).unwrap() else { panic!("{text}") };
        UserpassConfig::read("auth/providers.json", "local-userpass", &options).map_err(|error| error.to_string())
    }

    fn config(text: &str) -> Result<UserpassConfig, String> {
        read(&format!(r#"{{"name":"local-userpass","type":"local-userpass","disabled":false,"config":{text}}}"#))
    }

    fn link(page: &str, subject: &str) -> MailLink {
        MailLink { page: Page::parse(page).unwrap(), subject: Subject::parse(subject).unwrap() }
    }

    #[test]
    fn an_export_of_app_services_is_read() {
        // of realm-js, examples/electron-todo-list
        let todo = config(r#"{"autoConfirm":true,"resetPasswordUrl":"https://","runConfirmationFunction":false}"#);
        let todo = todo.unwrap();
        assert_eq!(todo, UserpassConfig { confirmation: Confirmation::Automatic, reset: None });
        assert!(!todo.sends_mail());

        let full = config(
            r#"{"autoConfirm":false,"emailConfirmationUrl":"https://app.example/confirm","confirmEmailSubject":"Welcome",
                "runConfirmationFunction":false,"confirmationFunctionName":"confirm","confirmationFunctionId":"",
                "resetPasswordUrl":"http://localhost:3000/reset","resetPasswordSubject":"",
                "runResetFunction":false,"resetFunctionName":null,"resetFunctionId":"65"}"#,
        );
        let full = full.unwrap();
        let expected = UserpassConfig {
            confirmation: Confirmation::Mail(link("https://app.example/confirm", "Welcome")),
            reset: Some(link("http://localhost:3000/reset", "Reset your password")),
        };
        assert_eq!(full, expected);
        assert!(full.sends_mail());
    }

    #[test]
    fn mails_are_needed_where_there_is_a_link_to_send() {
        let cases = [
            (r#"{"autoConfirm":true}"#, false),
            (r#"{"autoConfirm":true,"emailConfirmationUrl":"https://app.example"}"#, false),
            (r#"{"autoConfirm":true,"resetPasswordUrl":"https://app.example"}"#, true),
            (r#"{"emailConfirmationUrl":"https://app.example"}"#, true),
        ];
        for (text, sends) in cases {
            assert_eq!(config(text).map(|config| config.sends_mail()), Ok(sends), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_with_file_key_and_reason() {
        let missing = "config.emailConfirmationUrl: is missing: without autoConfirm no address could be confirmed";
        let cases = [
            ("{}", missing),
            ("null", missing),
            (r#"{"autoConfirm":false,"emailConfirmationUrl":"https://"}"#, missing),
            ("[]", "config: expected an object, found []"),
            (
                r#"{"autoconfirm":true}"#,
                "config.autoconfirm: there is no such option, only autoConfirm, emailConfirmationUrl, confirmEmailSubject, \
                 resetPasswordUrl, resetPasswordSubject, runConfirmationFunction, confirmationFunctionName, confirmationFunctionId, \
                 runResetFunction, resetFunctionName, resetFunctionId (did you mean \"autoConfirm\"?)",
            ),
            (r#"{"autoConfirm":"yes"}"#, r#"config.autoConfirm: expected true or false, found "yes""#),
            (
                r#"{"autoConfirm":true,"runConfirmationFunction":true,"confirmationFunctionName":"f"}"#,
                "config.runConfirmationFunction: is on, but this server runs no functions: set it to false and use \
                 autoConfirm or emailConfirmationUrl",
            ),
            (
                r#"{"autoConfirm":true,"runResetFunction":true,"resetFunctionName":"f"}"#,
                "config.runResetFunction: is on, but this server runs no functions: set it to false and use \
                 resetPasswordUrl",
            ),
            (r#"{"autoConfirm":true,"resetFunctionName":7}"#, "config.resetFunctionName: expected a text, found 7"),
            (
                r#"{"autoConfirm":true,"resetPasswordUrl":"http://app.example/reset"}"#,
                "config.resetPasswordUrl: expected an https:// address, or http:// on this machine, found \
                 \"http://app.example/reset\"",
            ),
            (
                r#"{"autoConfirm":true,"resetPasswordUrl":"https://a.example","resetPasswordSubject":"a\r\nBcc: b@c.d"}"#,
                "config.resetPasswordSubject: expected 1 to 200 characters in one line",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(config(text), Err(format!("auth/providers.json: local-userpass.{expected}")), "{text}");
        }
        let error = read(r#"{"name":"local-userpass","metadata_fields":[]}"#).unwrap_err();
        let expected = "local-userpass.metadata_fields: there is no such option, only name, type, disabled, config";
        assert_eq!(error, format!("auth/providers.json: {expected}"));
    }
}
