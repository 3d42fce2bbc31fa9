//! `[mail]` of `passerby.toml`, checked.

use actix_web::http::Uri;

use super::{MailAddress, Subject};
use crate::config::{MailSettings, SettingsError, SettingsErrors};

/// How e-mails are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Through an SMTP server.
    Smtp(SmtpPlan),
    /// By a webhook.
    Webhook {
        /// Where to.
        url: String,
        /// The secret that holds the signing key.
        secret: String,
    },
}

/// An SMTP server and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpPlan {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What keeps others from reading along.
    pub security: Security,
    /// Sender.
    pub from: MailAddress,
    /// The sender's name.
    pub from_name: Option<String>,
    /// For servers that want one.
    pub login: Option<SmtpLogin>,
}

/// An account at an SMTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpLogin {
    /// User name.
    pub username: String,
    /// The secret that holds the password.
    pub password_secret: String,
}

/// What keeps others from reading along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the start.
    Tls,
    /// STARTTLS; without it nothing is sent.
    StartTls,
    /// The server is on this machine.
    Local,
}

impl MailSettings {
    /// What they say; `None` if no e-mail can be sent. `origin` names their source.
    ///
    /// # Errors
    /// Names the key that is wrong, missing or without effect.
    pub fn plan(&self, origin: &str) -> Result<Option<Plan>, SettingsErrors> {
        let (plan, faults) = self.read();
        let mut wrong = SettingsErrors::default();
        for (key, reason) in faults {
            wrong.push(SettingsError::of_key(origin, format!("mail.{key}"), reason));
        }
        wrong.or(plan)
    }

    /// The plan, and what is wrong, without which there is one.
    fn read(&self) -> (Option<Plan>, Vec<Fault>) {
        let mut faults = Vec::new();
        let of_smtp = [
            ("from", &self.from),
            ("smtp_username", &self.smtp_username),
            ("smtp_password_secret", &self.smtp_password_secret),
        ];
        let of_webhook = [("webhook_secret", &self.webhook_secret)];
        let mut only_with = |settings: &[(&'static str, &Option<String>)], other: &str| {
            let set = settings.iter().filter(|(_, value)| value.is_some());
            faults.extend(set.map(|(key, _)| (*key, format!("has no effect without mail.{other}"))));
        };
        let plan = match (&self.smtp, &self.webhook) {
            (Some(smtp), of_hook) => {
                if of_hook.is_some() {
                    faults.push(("webhook", "there is mail.smtp already: set one of them".to_owned()));
                } else {
                    only_with(&of_webhook, "webhook");
                }
                self.smtp_plan(smtp, &mut faults).map(Plan::Smtp)
            }
            (None, None) => {
                only_with(&of_smtp, "smtp");
                only_with(&of_webhook, "webhook");
                None
            }
            (None, Some(url)) => {
                only_with(&of_smtp, "smtp");
                // a webhook's address may hold a key, so it is not repeated
                let uri: Option<Uri> = url.parse().ok();
                if !matches!(uri.as_ref().and_then(Uri::scheme_str), Some("https" | "http")) {
                    faults.push(("webhook", "expected an https:// address".to_owned()));
                }
                if self.webhook_secret.is_none() {
                    faults.push(("webhook_secret", "is missing: webhooks are signed".to_owned()));
                }
                self.webhook_secret.clone().map(|secret| Plan::Webhook { url: url.clone(), secret })
            }
        };
        (plan, faults)
    }

    fn smtp_plan(&self, smtp: &str, faults: &mut Vec<Fault>) -> Option<SmtpPlan> {
        let server = smtp_server(smtp).map_err(|reason| faults.push(("smtp", reason))).ok();
        let from = match &self.from {
            None => {
                faults.push(("from", "is missing: mails need a sender".to_owned()));
                None
            }
            Some(from) => sender(from).or_else(|| {
                faults.push(("from", "expected address or Name <address>".to_owned()));
                None
            }),
        };
        let login = match (&self.smtp_username, &self.smtp_password_secret) {
            (None, None) => None,
            (Some(username), Some(password_secret)) => {
                Some(SmtpLogin { username: username.clone(), password_secret: password_secret.clone() })
            }
            (Some(_), None) => {
                faults.push(("smtp_password_secret", "is missing beside mail.smtp_username".to_owned()));
                None
            }
            (None, Some(_)) => {
                faults.push(("smtp_username", "is missing beside mail.smtp_password_secret".to_owned()));
                None
            }
        };
        let ((host, port, security), (from_name, from)) = (server?, from?);
        Some(SmtpPlan { host, port, security, from, from_name, login })
    }
}

/// A key of `mail` and what is wrong with it.
type Fault = (&'static str, String);

/// Host, port and security of `smtps://host[:port]` or `smtp://host[:port]`.
fn smtp_server(smtp: &str) -> Result<(String, u16, Security), String> {
    let wrong = || "expected smtps://host[:port] or smtp://host[:port] and no more".to_owned();
    let uri: Uri = smtp.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?.as_str();
    if authority.contains('@') {
        return Err("holds a user name: that is mail.smtp_username, and the password a secret".to_owned());
    }
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let rest = smtp.split_once("://").map_or("", |(_, rest)| rest).trim_end_matches('/');
    if host.is_empty() || rest != authority {
        return Err(wrong());
    }
    let local = matches!(host, "localhost" | "127.0.0.1" | "::1");
    let (security, port) = match uri.scheme_str() {
        Some("smtps") => (Security::Tls, 465),
        Some("smtp") if local => (Security::Local, 587),
        Some("smtp") => (Security::StartTls, 587),
        _ => return Err(wrong()),
    };
    Ok((host.to_owned(), uri.port_u16().unwrap_or(port), security))
}

/// `Name <address>` or `address`.
fn sender(text: &str) -> Option<(Option<String>, MailAddress)> {
    match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        None => MailAddress::parse(text).ok().map(|address| (None, address)),
        Some((name, address)) => {
            // a name is put into a header like a subject
            let name = Subject::parse(name.trim().trim_matches('"')).ok()?;
            MailAddress::parse(address).ok().map(|address| (Some(name.as_str().to_owned()), address))
        }
    }
}

#[cfg(test)]
mod tests;
