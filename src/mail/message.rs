//! What an e-mail says: its subject, its text, its link.

use std::fmt;

use actix_web::http::Uri;
use zeroize::Zeroizing;

use super::MailAddress;

/// Characters of a subject.
const LONGEST_SUBJECT: usize = 200;
/// Bytes of a page's address: with the token behind it, it still fits into a line of an e-mail (998, RFC 5322 §2.1.1).
const LONGEST_PAGE: usize = 850;

/// Why an e-mail is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// To confirm the address.
    Confirm,
    /// To set a new password.
    Reset,
    /// To tell a person who registers again that they have an account, and let them set a new password.
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

/// The subject line of an e-mail: 1 to 200 characters, none of them a control character.
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

/// A page of the app, to which a link in an e-mail leads: `https`, or `http` on this machine (for development; elsewhere
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

/// An e-mail with a token in it. Shows neither receiver nor token.
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
mod tests;
