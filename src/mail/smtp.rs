//! Mail through an SMTP server. All of lettre is here.

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

/// A mail server. Every mail has a connection of its own.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// Why no mail can be sent with this configuration.
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
        // ASCII, and no line longer than a mail may have: as it is, so that a link stays in one piece for whoever reads
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

/// What the network or TLS says; neither knows anything of the mail.
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
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::mail::{Mail, MailKind, Page, SmtpLogin, Subject};

    /// A mail server with one connection at a time: commands and data as they came, and what it answers to some.
    #[derive(Default)]
    struct Server {
        lines: Mutex<Vec<String>>,
        /// Instead of 250: by the beginning of the command.
        answers: Vec<(&'static str, &'static str)>,
    }

    impl Server {
        async fn start(answers: Vec<(&'static str, &'static str)>) -> (Arc<Self>, u16) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = Arc::new(Self { answers, ..Self::default() });
            let serving = Arc::clone(&server);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    // a client that breaks off is none of the server's business
                    drop(serving.serve(stream).await);
                }
            });
            (server, port)
        }

        async fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 mail.example.test\r\n").await?;
            let mut data = false;
            while let Some(line) = lines.next_line().await? {
                self.lines.lock().push(line.clone());
                let usual = match line.as_str() {
                    "." if data => "250 queued",
                    _ if data => continue,
                    "DATA" => "354 go on",
                    "QUIT" => "221 bye",
                    line if line.starts_with("EHLO") => "250-mail.example.test\r\n250 AUTH PLAIN",
                    line if line.starts_with("AUTH") => "235 welcome",
                    _ => "250 yes",
                };
                let answer =
                    self.answers.iter().find(|(begin, _)| line.starts_with(begin)).map_or(usual, |found| found.1);
                data = answer.starts_with("354");
                write.write_all(format!("{answer}\r\n").as_bytes()).await?;
            }
            Ok(())
        }

        fn text(&self) -> String {
            self.lines.lock().join("\n")
        }
    }

    fn plan(port: u16) -> SmtpPlan {
        SmtpPlan {
            host: "127.0.0.1".to_owned(),
            port,
            security: Security::Local,
            from: MailAddress::parse("no-reply@app.example").unwrap(),
            from_name: Some("The App".to_owned()),
            login: None,
        }
    }

    fn letter(subject: &str) -> Letter {
        let page = Page::parse("https://app.example/confirm-your-address").unwrap();
        let to = MailAddress::parse("reader@example.test").unwrap();
        let subject = Subject::parse(subject).unwrap();
        let token = format!("psbc_{}", "x".repeat(32));
        Letter {
            mail: Mail::new(MailKind::Confirm, to, &subject, &page, &token, "0123456789abcdef01234567"),
            id: "AAAAAAAAAAAAAAAAAAAAAA".to_owned(),
            asked_at_ms: 1_700_000_000_000,
        }
    }

    #[tokio::test]
    async fn a_mail_arrives_with_its_headers_and_its_link_in_one_piece() {
        let (server, port) = Server::start(vec![]).await;
        Smtp::new(&plan(port), None).unwrap().deliver(&letter("Bestätige"), 0).await.unwrap();
        let text = server.text();
        for line in [
            "EHLO app.example",
            "MAIL FROM:<no-reply@app.example>",
            "RCPT TO:<reader@example.test>",
            "To: reader@example.test",
            "Subject: =?utf-8?b?QmVzdMOkdGlnZQ==?=",
            "Date: Tue, 14 Nov 2023 22:13:20 +0000",
            "Message-ID: <AAAAAAAAAAAAAAAAAAAAAA@app.example>",
            "Auto-Submitted: auto-generated",
            "Content-Type: text/plain; charset=utf-8",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
        }
        assert!(text.contains("From: \"The App\" <no-reply@app.example>"), "{text}");
        let link = letter("x").mail.link().to_owned();
        assert!(link.len() > 78, "longer than a line, where encodings break");
        assert!(text.lines().any(|line| line == link), "{text}");
    }

    #[tokio::test]
    async fn it_logs_in_where_it_is_told_to() {
        let (server, port) = Server::start(vec![]).await;
        let login = Some(SmtpLogin { username: "app".to_owned(), password_secret: "smtp".to_owned() });
        let plan = SmtpPlan { login, ..plan(port) };
        assert_eq!(Smtp::new(&plan, None).err(), Some(SmtpError::NoPassword));
        let smtp = Smtp::new(&plan, Some(Zeroizing::new("hunter22".to_owned()))).unwrap();
        smtp.deliver(&letter("x"), 0).await.unwrap();
        // "\0app\0hunter22"
        assert!(server.text().contains("AUTH PLAIN AGFwcABodW50ZXIyMg=="), "{}", server.text());
        assert!(!format!("{smtp:?}").contains("hunter22"));
    }

    #[tokio::test]
    async fn refusals_are_told_apart_and_never_repeat_the_servers_words() {
        let cases = [
            (("RCPT", "451 reader@example.test try later"), Failure::Passing("smtp 451".to_owned())),
            (("RCPT", "550 reader@example.test unknown"), Failure::Lasting("smtp 550".to_owned())),
            (("MAIL", "421 too busy"), Failure::Passing("smtp 421".to_owned())),
            (("DATA", "554 no"), Failure::Lasting("smtp 554".to_owned())),
            ((".", "452 disk full"), Failure::Passing("smtp 452".to_owned())),
        ];
        for (answer, failure) in cases {
            let (_server, port) = Server::start(vec![answer]).await;
            let delivered = Smtp::new(&plan(port), None).unwrap().deliver(&letter("x"), 0).await;
            assert_eq!(delivered, Err(failure), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn without_a_server_another_try_may_succeed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let delivered = Smtp::new(&plan(port), None).unwrap().deliver(&letter("x"), 0).await;
        assert_eq!(
            delivered,
            Err(Failure::Passing("smtp: the connection failed: Connection refused (os error 111)".to_owned()))
        );
    }

    /// A server that does not offer TLS gets neither password nor mail.
    #[tokio::test]
    async fn nothing_is_sent_in_clear_to_a_server_elsewhere() {
        let (server, port) = Server::start(vec![]).await;
        let login = Some(SmtpLogin { username: "app".to_owned(), password_secret: "smtp".to_owned() });
        let plan = SmtpPlan { security: Security::StartTls, login, ..plan(port) };
        let smtp = Smtp::new(&plan, Some(Zeroizing::new("hunter22".to_owned()))).unwrap();
        let failure = smtp.deliver(&letter("x"), 0).await.unwrap_err();
        assert_eq!(failure, Failure::Lasting("smtp: the server lacks what is needed".to_owned()));
        let text = server.text();
        assert!(text.starts_with("EHLO") && !text.contains("AUTH") && !text.contains("MAIL"), "{text}");
    }
}
