//! What a mail says: its subject, its text, its link.

use std::fmt;

use actix_web::http::Uri;
use zeroize::Zeroizing;

use super::MailAddress;

/// Characters of a subject.
const LONGEST_SUBJECT: usize = 200;
/// Bytes of a page's address: with the token behind it, it still fits into a line of a mail (998, RFC 5322 §2.1.1).
const LONGEST_PAGE: usize = 850;

/// Why a mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// To confirm the address.
    Confirm,
    /// To set a new password.
    Reset,
    /// To tell somebody who registers again that they have an account, and let them set a new password.
    Known,
}

impl MailKind {
    /// In logs and webhooks.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::Reset => "reset",
            Self::Known => "known",
        }
    }

    const fn lead(self) -> &'static str {
        match self {
            Self::Confirm => "To confirm your e-mail address, open this link:",
            Self::Reset => "To choose a new password, open this link:",
            Self::Known => {
                "Somebody, perhaps you, tried to register with this address. It has an account already: log in with its \
                 password.\n\nIf you have forgotten it, choose a new one here:"
            }
        }
    }
}

/// The subject line of a mail: 1 to 200 characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// Reads a subject.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        if text.trim().is_empty() || text.chars().count() > LONGEST_SUBJECT || text.contains(breaks) {
            return Err(format!("expected 1 to {LONGEST_SUBJECT} characters in one line"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A page of the app, to which a link in a mail leads: `https`, or `http` on this machine (for development; elsewhere
/// the token could be read on the way).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page(String);

impl Page {
    /// Reads the address of a page.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected an https:// address, or http:// on this machine, found {text:?}");
        let uri: Uri = text.split('#').next().unwrap_or_default().parse().map_err(|_| wrong())?;
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        let local = matches!(uri.host().unwrap_or_default(), "localhost" | "127.0.0.1" | "[::1]");
        let safe = uri.scheme_str() == Some("https") || (local && uri.scheme_str() == Some("http"));
        let plain = text.len() <= LONGEST_PAGE && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !safe || !plain || authority.is_empty() || authority.contains('@') {
            return Err(wrong());
        }
        Ok(Self(text.to_owned()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The link: `token` and `tokenId` in the query, where the pages of App Services read them, before a fragment if
    /// there is one.
    fn link(&self, token: &str, token_id: &str) -> Zeroizing<String> {
        let (page, fragment) = self.0.split_at(self.0.find('#').unwrap_or(self.0.len()));
        let joint = match page.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        Zeroizing::new(format!("{page}{joint}token={token}&tokenId={token_id}{fragment}"))
    }
}

/// A mail with a token in it. Shows neither receiver nor token.
pub struct Mail {
    kind: MailKind,
    to: MailAddress,
    subject: Subject,
    token: Zeroizing<String>,
    token_id: String,
    link: Zeroizing<String>,
}

impl Mail {
    /// `token` and `token_id` are of characters that stand for themselves in a URL (`A-Z a-z 0-9 _ -`).
    pub fn new(kind: MailKind, to: MailAddress, subject: &Subject, page: &Page, token: &str, token_id: &str) -> Self {
        Self {
            kind,
            to,
            subject: subject.clone(),
            token: Zeroizing::new(token.to_owned()),
            token_id: token_id.to_owned(),
            link: page.link(token, token_id),
        }
    }

    /// Why it is sent.
    pub fn kind(&self) -> MailKind {
        self.kind
    }

    /// Its receiver.
    pub fn to(&self) -> &MailAddress {
        &self.to
    }

    pub(super) fn subject(&self) -> &str {
        self.subject.as_str()
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn token_id(&self) -> &str {
        &self.token_id
    }

    pub(super) fn link(&self) -> &str {
        &self.link
    }

    /// The text, plain.
    pub(super) fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "{}\n\n{}\n\nIt works once, within 30 minutes. If you did not ask for this mail, ignore it.\n",
            self.kind.lead(),
            *self.link
        ))
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
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
        let (confirm, reset) =
            (mail(MailKind::Confirm, "https://a.example"), mail(MailKind::Reset, "https://a.example"));
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
}
