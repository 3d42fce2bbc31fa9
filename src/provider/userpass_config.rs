//! The configuration of `local-userpass` in `auth/providers.json` (wire-protocol §6).

use serde_json::{Map, Value};

use crate::config::SettingsError;
use crate::mail::{Page, Subject};

const TOP: [&str; 4] = ["name", "type", "disabled", "config"];

/// How people register with e-mail address and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserpassConfig {
    /// Who confirms a new address.
    pub confirmation: Confirmation,
    /// The mail with which a password is reset; without it resets are refused.
    pub reset: Option<MailLink>,
}

/// How a new address is confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// Not at all: whoever registers can log in.
    Automatic,
    /// By a link in a mail.
    Mail(MailLink),
}

/// A mail's subject and the page that its link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailLink {
    /// The app's page, which gets `token` and `tokenId`.
    pub page: Page,
    /// Subject of the mail.
    pub subject: Subject,
}

impl UserpassConfig {
    /// Whether mails have to be sent, so that `[mail]` must be set.
    pub fn sends_mail(&self) -> bool {
        self.reset.is_some() || self.confirmation != Confirmation::Automatic
    }

    /// Reads the provider's object, which `path` leads to in the file that `file` names. `name`, `type` and `disabled` are read elsewhere.
    ///
    /// # Errors
    /// Names file, key and reason: an option that is unknown or wrong, a function that would have to be run, a page
    /// that is missing.
    pub fn read(file: &str, path: &str, options: &Map<String, Value>) -> Result<Self, SettingsError> {
        if let Some(option) = options.keys().find(|option| !TOP.contains(&option.as_str())) {
            let reason = "there is no such option, local-userpass has only name, type, disabled and config";
            return Err(SettingsError::of_key(file, format!("{path}.{option}"), reason));
        }
        let none = Map::new();
        let config = match options.get("config") {
            None | Some(Value::Null) => &none,
            Some(Value::Object(config)) => config,
            Some(other) => {
                let reason = format!("expected an object, found {other}");
                return Err(SettingsError::of_key(file, format!("{path}.config"), reason));
            }
        };
        Config { file, path, values: config }.read()
    }
}

/// The object under `config`.
struct Config<'a> {
    file: &'a str,
    path: &'a str,
    values: &'a Map<String, Value>,
}

impl Config<'_> {
    const KNOWN: [&'static str; 11] = [
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

    fn read(&self) -> Result<UserpassConfig, SettingsError> {
        if let Some(option) = self.values.keys().find(|option| !Self::KNOWN.contains(&option.as_str())) {
            return Err(self.wrong(option, "there is no such option"));
        }
        for (switch, instead) in [
            ("runConfirmationFunction", "autoConfirm or emailConfirmationUrl"),
            ("runResetFunction", "resetPasswordUrl"),
        ] {
            if self.flag(switch)? {
                let reason = format!("is on, but this server runs no functions: set it to false and use {instead}");
                return Err(self.wrong(switch, reason));
            }
        }
        // names of functions that are not run stay in many exports; they must be texts, and that is all
        for name in ["confirmationFunctionName", "confirmationFunctionId", "resetFunctionName", "resetFunctionId"] {
            self.text(name)?;
        }
        let confirmation = self.link("emailConfirmationUrl", "confirmEmailSubject", "Confirm your e-mail address")?;
        let reset = self.link("resetPasswordUrl", "resetPasswordSubject", "Reset your password")?;
        let confirmation = match (self.flag("autoConfirm")?, confirmation) {
            (true, _) => Confirmation::Automatic,
            (false, Some(link)) => Confirmation::Mail(link),
            (false, None) => {
                let reason = "is missing: without autoConfirm nobody could confirm their address";
                return Err(self.wrong("emailConfirmationUrl", reason));
            }
        };
        Ok(UserpassConfig { confirmation, reset })
    }

    fn link(&self, url: &str, subject: &str, usual: &str) -> Result<Option<MailLink>, SettingsError> {
        let text = match self.text(subject)? {
            "" => usual,
            text => text,
        };
        let parsed = Subject::parse(text).map_err(|reason| self.wrong(subject, reason))?;
        match self.text(url)? {
            // the console of App Services writes a bare scheme where nothing was filled in
            "" | "https://" | "http://" => Ok(None),
            page => {
                let page = Page::parse(page).map_err(|reason| self.wrong(url, reason))?;
                Ok(Some(MailLink { page, subject: parsed }))
            }
        }
    }

    fn flag(&self, key: &str) -> Result<bool, SettingsError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(self.wrong(key, format!("expected true or false, found {other}"))),
        }
    }

    /// Empty if it is not there.
    fn text(&self, key: &str) -> Result<&str, SettingsError> {
        match self.values.get(key) {
            None | Some(Value::Null) => Ok(""),
            Some(Value::String(text)) => Ok(text),
            Some(other) => Err(self.wrong(key, format!("expected a text, found {other}"))),
        }
    }

    fn wrong(&self, key: &str, reason: impl Into<String>) -> SettingsError {
        SettingsError::of_key(self.file, format!("{}.config.{key}", self.path), reason)
    }
}

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
        // of realm-js, examples/electron-todo-list (wire-protocol §6)
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
        let missing = "config.emailConfirmationUrl: is missing: without autoConfirm nobody could confirm their address";
        let cases = [
            ("{}", missing),
            ("null", missing),
            (r#"{"autoConfirm":false,"emailConfirmationUrl":"https://"}"#, missing),
            ("[]", "config: expected an object, found []"),
            (r#"{"autoconfirm":true}"#, "config.autoconfirm: there is no such option"),
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
        let expected = "local-userpass.metadata_fields: there is no such option, local-userpass has only name, type, \
                        disabled and config";
        assert_eq!(error, format!("auth/providers.json: {expected}"));
    }
}
