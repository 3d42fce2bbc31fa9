//! What an e-mail says, and that its token goes to its receiver alone.

use super::*;

fn mail(kind: MailKind, page: &str) -> Mail {
    let to = MailAddress::parse("a@example.test").unwrap();
    Mail::new(kind, to, &Subject::parse("Hello").unwrap(), &Page::parse(page).unwrap(), "psbc_tok-en", "0123abcd")
}

#[test]
fn token_and_id_are_in_the_links_query() {
    let cases = [
        ("https://app.example", "https://app.example?token=psbc_tok-en&tokenId=0123abcd"),
        ("https://app.example/c", "https://app.example/c?token=psbc_tok-en&tokenId=0123abcd"),
        ("https://app.example/c?a=b", "https://app.example/c?a=b&token=psbc_tok-en&tokenId=0123abcd"),
        ("https://app.example/c?", "https://app.example/c?token=psbc_tok-en&tokenId=0123abcd"),
        ("https://app.example/c?a=b&", "https://app.example/c?a=b&token=psbc_tok-en&tokenId=0123abcd"),
        ("https://app.example/#/c?x=y", "https://app.example/?token=psbc_tok-en&tokenId=0123abcd#/c?x=y"),
        ("http://localhost:3000/c", "http://localhost:3000/c?token=psbc_tok-en&tokenId=0123abcd"),
    ];
    for (page, link) in cases {
        let mail = mail(MailKind::Confirm, page);
        assert_eq!(mail.link(), link);
        assert!(mail.text().lines().any(|line| line == link), "the link has a line of its own");
    }
}

#[test]
fn the_text_says_what_the_link_does() {
    let (confirm, reset) = (mail(MailKind::Confirm, "https://a.example"), mail(MailKind::Reset, "https://a.example"));
    assert!(confirm.text().starts_with("To confirm your e-mail address"));
    assert!(reset.text().starts_with("To choose a new password"));
}

#[test]
fn pages_that_would_give_the_token_away_are_refused() {
    for page in ["https://a.example", "http://127.0.0.1:3000/x", "http://[::1]/x", "https://a.example/%20?x#y"] {
        assert_eq!(Page::parse(page).map(|page| page.0), Ok(page.to_owned()));
    }
    let long = format!("https://a.example/{}", "x".repeat(LONGEST_PAGE));
    let refused = [
        "",
        "https://",
        "/confirm",
        "a.example",
        "http://a.example/",
        "http://localhost.a.example/",
        "javascript:alert(1)",
        "myapp://confirm",
        "https://user:pass@a.example/",
        "https://a.example/ x",
        "https://a.example/\r\nX: y",
        "https://a.example/é",
        long.as_str(),
    ];
    for page in refused {
        assert!(Page::parse(page).unwrap_err().starts_with("expected an https:// address"), "{page}");
    }
}

#[test]
fn a_subject_is_one_line() {
    let longest = "é".repeat(LONGEST_SUBJECT);
    for subject in ["Hello", "Bestätige deine Adresse", longest.as_str()] {
        assert_eq!(Subject::parse(subject).unwrap().as_str(), subject);
    }
    let too_long = "é".repeat(LONGEST_SUBJECT + 1);
    for subject in ["", " ", "a\r\nBcc: b@c.d", "a\nb", "a\tb", "a\0b", "a\u{2028}b", too_long.as_str()] {
        assert!(Subject::parse(subject).is_err(), "{subject:?}");
    }
}

#[test]
fn neither_receiver_nor_token_is_shown() {
    assert_eq!(format!("{:?}", mail(MailKind::Reset, "https://a.example")), "Mail { kind: Reset, .. }");
}
