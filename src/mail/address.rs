//! Addresses that e-mail may be sent to.

use std::fmt;

/// Octets before the `@` (RFC 5321 §4.5.3.1.1).
const LONGEST_LOCAL: usize = 64;
/// Octets of an address (RFC 5321 §4.5.3.1.3, less the angle brackets).
const LONGEST: usize = 254;

/// An address that is a plain `local@domain`. Neither quotes nor comments, control characters, address literals or
/// anything that is not ASCII (a domain of another script in its `xn--` form): so it can be put into a header or a
/// command as it is. Not shown by `Debug`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct MailAddress(String);

/// The text is not an address that e-mail is sent to. It is not repeated here: errors are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address that e-mail can be sent to")]
pub struct AddressError;

impl MailAddress {
    /// Reads an address; nothing is trimmed or changed.
    ///
    /// # Errors
    /// [`AddressError`] if it is not one.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError)?;
        let holds = text.len() <= LONGEST
            && (1..=LONGEST_LOCAL).contains(&local.len())
            && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
            && domain.split('.').all(is_label);
        if holds { Ok(Self(text.to_owned())) } else { Err(AddressError) }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is behind the `@`.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }
}

impl fmt::Debug for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MailAddress(..)")
    }
}

/// What an atom is made of (RFC 5322 §3.2.3).
fn is_atext(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// A label of a host name (RFC 1123 §2.1).
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests;
