//! Addresses that mail may be sent to.

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

/// The text is not an address that mail is sent to. It is not repeated here: errors are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address that mail can be sent to")]
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
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_taken_as_they_are() {
        for text in ["a@b.c", "First.Last+tag@Example.TEST", "o'brien@xn--bcher-kva.example", "root@localhost"] {
            let address = MailAddress::parse(text).unwrap();
            assert_eq!(address.as_str(), text);
            assert_eq!(Some(address.domain()), text.split('@').nth(1));
        }
        let longest = format!("{}@{}.example", "a".repeat(64), vec!["b".repeat(60); 2].join("."));
        assert!(MailAddress::parse(&longest).is_ok());
    }

    #[test]
    fn whatever_could_become_a_header_a_command_or_a_second_receiver_is_refused() {
        let too_long_local = format!("{}@example.test", "a".repeat(65));
        let too_long = format!("a@{}", vec!["b".repeat(63); 4].join("."));
        let refused = [
            "",
            "@",
            "a",
            "a@",
            "@b.c",
            "a@b.c\r\nBcc: d@e.f",
            "a@b.c\n",
            "a\r\nDATA@b.c",
            " a@b.c",
            "a@b.c ",
            "a b@c.d",
            "a@b.c,d@e.f",
            "a@b.c;d@e.f",
            "<a@b.c>",
            "A <a@b.c>",
            "\"a b\"@c.d",
            "a@b@c.d",
            "a(comment)@b.c",
            "a@[127.0.0.1]",
            "a@b..c",
            ".a@b.c",
            "a.@b.c",
            "a..b@c.d",
            "a@-b.c",
            "a@b-.c",
            "a@b.c.",
            "a\0@b.c",
            "é@b.c",
            "a@bücher.example",
            "a@b.c\u{2028}",
            too_long_local.as_str(),
            too_long.as_str(),
        ];
        for text in refused {
            assert_eq!(MailAddress::parse(text), Err(AddressError), "{text:?}");
        }
    }

    #[test]
    fn an_address_is_not_shown() {
        assert_eq!(format!("{:?}", MailAddress::parse("a@b.c").unwrap()), "MailAddress(..)");
    }
}
