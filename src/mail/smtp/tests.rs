//! Mails by SMTP, to a server that plays its part on loopback.

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
            let answer = self.answers.iter().find(|(begin, _)| line.starts_with(begin)).map_or(usual, |found| found.1);
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

/// A server that does not offer TLS gets neither password nor e-mail.
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
