//! E-mail through an SMTP server. All of lettre is here.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};
use zeroize::Zeroizing;

use super::{Failure, Letter, MailAddress, Security, SmtpPlan, Transport};

/// A mail server. Every e-mail has a connection of its own.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// Why no e-mail can be sent with this configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmtpError {
    /// The host is not one whose certificate could be checked, or the system's certificates cannot be read.
    #[error("TLS with the mail server cannot be set up: {0}")]
    Tls(String),
    /// A user name without a password.
    #[error("the secret with the mail server's password is missing")]
    NoPassword,
}

impl Smtp {
    /// `password` is the value of the secret that the plan names. The server's certificate is checked against the
    /// system's (or those that `SSL_CERT_FILE` names), which are read here.
    ///
    /// # Errors
    /// [`SmtpError`] if TLS cannot be set up or the password is missing.
    pub fn new(plan: &SmtpPlan, password: Option<Zeroizing<String>>) -> Result<Self, SmtpError> {
        let tls = |wrap: fn(TlsParameters) -> Tls| {
            TlsParameters::new_rustls(plan.host.clone()).map(wrap).map_err(|error| SmtpError::Tls(error.to_string()))
        };
        let tls = match plan.security {
            Security::Tls => tls(Tls::Wrapper)?,
            Security::StartTls => tls(Tls::Required)?,
            Security::Local => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(plan.host.as_str())
            .port(plan.port)
            .tls(tls)
            .hello_name(ClientId::Domain(plan.from.domain().to_owned()));
        if let Some(login) = &plan.login {
            let password = password.ok_or(SmtpError::NoPassword)?;
            builder = builder.credentials(Credentials::new(login.username.clone(), password.as_str().to_owned()));
        }
        let from = Mailbox::new(plan.from_name.clone(), address(&plan.from));
        Ok(Self { transport: builder.build(), from })
    }

    fn message(&self, letter: &Letter) -> Result<Message, Failure> {
        const AUTO_SUBMITTED: HeaderName = HeaderName::new_from_ascii_str("Auto-Submitted");
        let mail = &letter.mail;
        // ASCII, and no line longer than an e-mail may have: as it is, so that a link stays in one piece for a person who reads
        // the source
        let text = mail.text().replace('\n', "\r\n").into_bytes();
        let body = Body::dangerous_pre_encoded(text, ContentTransferEncoding::SevenBit);
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, address(mail.to())))
            .subject(mail.subject())
            .date(UNIX_EPOCH + Duration::from_millis(letter.asked_at_ms))
            .message_id(Some(format!("<{}@{}>", letter.id, self.from.email.domain())))
            // so that no holiday notice comes back (RFC 3834 §5)
            .raw_header(HeaderValue::new(AUTO_SUBMITTED, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(body)
            .map_err(|_| Failure::Lasting("the mail cannot be written down".to_owned()))
    }
}

impl Transport for Smtp {
    async fn deliver(&self, letter: &Letter, _now_ms: u64) -> Result<(), Failure> {
        let message = self.message(letter)?;
        // the server's own words often repeat the address, so only its code is kept
        self.transport.send(message).await.map(drop).map_err(|error| match error.status() {
            Some(code) if error.is_permanent() => Failure::Lasting(format!("smtp {code}")),
            Some(code) => Failure::Passing(format!("smtp {code}")),
            None if error.is_tls() => Failure::Passing("smtp: no TLS with the server".to_owned()),
            None if error.is_client() => Failure::Lasting("smtp: the server lacks what is needed".to_owned()),
            None => Failure::Passing(format!("smtp: the connection failed{}", cause(&error))),
        })
    }
}

/// What the network or TLS says; neither knows anything of the e-mail.
fn cause(error: &dyn Error) -> String {
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    cause.map(|cause| format!(": {cause}")).unwrap_or_default()
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").finish_non_exhaustive()
    }
}

/// Ours is the narrower type, so nothing is left to check.
fn address(address: &MailAddress) -> Address {
    let local = address.as_str().rsplit_once('@').map_or("", |(local, _)| local);
    Address::new_dangerous(local, address.domain())
}

#[cfg(test)]
mod tests;
