//! Settings of e-mail, good ones and bad ones.

use super::*;

fn set(pairs: &[(&str, &str)]) -> Result<MailSettings, serde_json::Error> {
    let table: serde_json::Map<String, serde_json::Value> =
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
    serde_json::from_value(table.into())
}

fn plan(pairs: &[(&str, &str)]) -> Result<Option<Plan>, String> {
    set(pairs).unwrap().plan("passerby.toml").map_err(|error| error.to_string())
}

const FROM: (&str, &str) = ("from", "no-reply@app.example");

#[test]
fn smtp_servers_and_how_they_are_reached() {
    let cases = [
        ("smtps://mail.example", "mail.example", 465, Security::Tls),
        ("smtps://mail.example:2465/", "mail.example", 2465, Security::Tls),
        ("smtp://mail.example", "mail.example", 587, Security::StartTls),
        ("smtp://192.0.2.1:25", "192.0.2.1", 25, Security::StartTls),
        ("smtp://localhost:1025", "localhost", 1025, Security::Local),
        ("smtp://[::1]:1025", "::1", 1025, Security::Local),
        ("smtps://127.0.0.1", "127.0.0.1", 465, Security::Tls),
    ];
    for (smtp, host, port, security) in cases {
        let expected = SmtpPlan {
            host: host.to_owned(),
            port,
            security,
            from: MailAddress::parse(FROM.1).unwrap(),
            from_name: None,
            login: None,
        };
        assert_eq!(plan(&[("smtp", smtp), FROM]), Ok(Some(Plan::Smtp(expected))), "{smtp}");
    }
}

#[test]
fn senders_may_have_a_name_and_servers_a_login() {
    let from = ("from", "The App, Inc. <no-reply@app.example>");
    let login = [("smtp_username", "app"), ("smtp_password_secret", "smtp")];
    let Ok(Some(Plan::Smtp(plan))) = plan(&[("smtp", "smtps://mail.example"), from, login[0], login[1]]) else {
        panic!("no plan");
    };
    assert_eq!(plan.from_name.as_deref(), Some("The App, Inc."));
    assert_eq!(plan.from.as_str(), "no-reply@app.example");
    let expected = SmtpLogin { username: "app".to_owned(), password_secret: "smtp".to_owned() };
    assert_eq!(plan.login, Some(expected));
}

#[test]
fn a_webhook_needs_an_address_and_a_secret() {
    let webhook = ("webhook", "https://mail.example/hook?x=y");
    let expected = Plan::Webhook { url: webhook.1.to_owned(), secret: "hook".to_owned() };
    assert_eq!(plan(&[webhook, ("webhook_secret", "hook")]), Ok(Some(expected)));
    assert_eq!(plan(&[]), Ok(None));
}

#[test]
fn what_cannot_be_honoured_is_refused_with_key_and_reason() {
    const SMTP: (&str, &str) = ("smtp", "smtps://mail.example");
    const HOOK: (&str, &str) = ("webhook", "https://mail.example");
    let form = "mail.smtp: expected smtps://host[:port] or smtp://host[:port] and no more";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[SMTP, FROM, HOOK], "mail.webhook: there is mail.smtp already: set one of them"),
        (&[SMTP], "mail.from: is missing: mails need a sender"),
        (&[SMTP, ("from", "nobody")], "mail.from: expected address or Name <address>"),
        (&[SMTP, ("from", "A\r\nBcc: b@c.d <a@b.c>")], "mail.from: expected address or Name <address>"),
        (&[SMTP, FROM, ("smtp_username", "a")], "mail.smtp_password_secret: is missing beside mail.smtp_username"),
        (
            &[SMTP, FROM, ("smtp_password_secret", "a")],
            "mail.smtp_username: is missing beside mail.smtp_password_secret",
        ),
        (&[SMTP, FROM, ("webhook_secret", "a")], "mail.webhook_secret: has no effect without mail.webhook"),
        (&[FROM], "mail.from: has no effect without mail.smtp"),
        (&[("smtp_username", "a")], "mail.smtp_username: has no effect without mail.smtp"),
        (&[HOOK], "mail.webhook_secret: is missing: webhooks are signed"),
        (&[HOOK, FROM, ("webhook_secret", "a")], "mail.from: has no effect without mail.smtp"),
        (&[("webhook", "ftp://x"), ("webhook_secret", "a")], "mail.webhook: expected an https:// address"),
        (
            &[("smtp", "smtps://app:hunter22@mail.example"), FROM],
            "mail.smtp: holds a user name: that is mail.smtp_username, and the password a secret",
        ),
        (&[("smtp", "https://mail.example"), FROM], form),
        (&[("smtp", "mail.example:25"), FROM], form),
        (&[("smtp", "smtp://mail.example?tls=none"), FROM], form),
        (&[("smtp", "smtp://mail.example/x"), FROM], form),
        (&[("smtp", ""), FROM], form),
    ];
    for (pairs, expected) in cases {
        assert_eq!(plan(pairs), Err(format!("passerby.toml: {expected}")), "{pairs:?}");
    }
    let error = set(&[("smpt", "x")]).unwrap_err().to_string();
    assert!(error.contains("unknown field `smpt`"), "{error}");
}
