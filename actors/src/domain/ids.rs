//! Identifiers: public names, never credentials.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};

/// The text is not an identifier of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid id")]
pub struct ParseIdError;

/// The version of UUIDs that tell the time in milliseconds (RFC 9562 §5.7).
const TIME_ORDERED: u8 = 7;

const HEX: &[u8; 16] = b"0123456789abcdef";

fn write_hex<'a>(bytes: &[u8], out: &'a mut [u8]) -> &'a str {
    for (byte, pair) in bytes.iter().zip(out.as_chunks_mut::<2>().0) {
        *pair = [HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]];
    }
    std::str::from_utf8(&out[..bytes.len() * 2]).unwrap_or_default()
}

/// Reads lower-case hexadecimal alone, so that an id has one spelling.
fn read_hex(text: &[u8], out: &mut [u8]) -> Result<(), ParseIdError> {
    let digit = |c: u8| match c {
        b'0'..=b'9' => Ok(c - b'0'),
        b'a'..=b'f' => Ok(c - b'a' + 10),
        _ => Err(ParseIdError),
    };
    if text.len() != out.len() * 2 {
        return Err(ParseIdError);
    }
    for (byte, pair) in out.iter_mut().zip(text.as_chunks::<2>().0) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Ok(())
}

/// A user's id: 16 bytes, shown as 24 hexadecimal digits (App Services form: four zero bytes, then an ObjectId) or as a
/// UUID, version 7 where it was given out here. Both forms are accepted everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId([u8; 16]);

impl UserId {
    /// An id in the App Services form: `created_s` is Unix time in seconds.
    pub fn object(created_s: u32, random: [u8; 8]) -> Self {
        let mut bytes = [0; 16];
        bytes[4..8].copy_from_slice(&created_s.to_be_bytes());
        bytes[8..].copy_from_slice(&random);
        Self(bytes)
    }

    /// A UUIDv7 (RFC 9562 §5.7): `created_ms` is Unix time in milliseconds.
    pub fn time_ordered(created_ms: u64, random: [u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(created_ms, &random).into_uuid().into_bytes())
    }

    /// The id with exactly these bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, as stored.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Whether it is shown as 24 hexadecimal digits.
    pub fn is_object(&self) -> bool {
        self.0[..4] == [0; 4]
    }

    /// When the user was created, Unix time in milliseconds; of an App Services id in whole seconds. 0 if the id does not tell: it is
    /// a UUID of another version, or its time is beyond 2106.
    pub fn created_ms(&self) -> u64 {
        if self.is_object() {
            return u64::from(u32::from_be_bytes([self.0[4], self.0[5], self.0[6], self.0[7]])) * 1000;
        }
        let mut ms = [0; 8];
        ms[2..].copy_from_slice(&self.0[..6]);
        let ms = u64::from_be_bytes(ms);
        let tells = self.0[6] >> 4 == TIME_ORDERED && ms / 1000 <= u64::from(u32::MAX);
        if tells { ms } else { 0 }
    }

    /// Either form, lower case.
    ///
    /// # Errors
    /// Anything else, upper case and other UUID spellings included: an id has one spelling.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let text = text.as_bytes();
        let mut bytes = [0; 16];
        match text.len() {
            24 => read_hex(text, &mut bytes[4..])?,
            36 => {
                let mut digits = [0; 32];
                let mut at = 0;
                for (i, &c) in text.iter().enumerate() {
                    if matches!(i, 8 | 13 | 18 | 23) {
                        if c != b'-' {
                            return Err(ParseIdError);
                        }
                    } else {
                        digits[at] = c;
                        at += 1;
                    }
                }
                read_hex(&digits, &mut bytes)?;
                if bytes[..4] == [0; 4] {
                    return Err(ParseIdError);
                }
            }
            _ => return Err(ParseIdError),
        }
        Ok(Self(bytes))
    }

    /// Writes the shown form into `out` and returns it.
    pub fn encode<'a>(&self, out: &'a mut [u8; 36]) -> &'a str {
        if self.is_object() {
            write_hex(&self.0[4..], out)
        } else {
            uuid::Uuid::from_bytes(self.0).hyphenated().encode_lower(out)
        }
    }

    /// The external id of the user's anonymous identity: 24 hexadecimal digits, a hyphen and 24 letters, 49 characters as
    /// in App Services (docs/protocol.md, "Tokens"). Derived, so never stored.
    pub fn anonymous_identity(&self) -> String {
        let mut input = [0; 20];
        input[..4].copy_from_slice(b"anon");
        input[4..].copy_from_slice(&self.0);
        let hash = digest(&SHA256, &input);
        let mut hex = [0; 24];
        let mut text = write_hex(&self.0[4..], &mut hex).to_owned();
        text.push('-');
        text.extend(hash.as_ref().iter().take(24).map(|byte| char::from(b'a' + byte % 26)));
        text
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.encode(&mut [0; 36]))
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which form a new user's id takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdForm {
    /// 24 hexadecimal digits, for applications that turn `user.id` into an ObjectId.
    Object,
    /// UUIDv7.
    TimeOrdered,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub [u8; 12]);

        impl $name {
            /// Reads 24 lower-case hexadecimal digits.
            ///
            /// # Errors
            /// Anything else.
            pub fn parse(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; 12];
                read_hex(text.as_bytes(), &mut bytes)?;
                Ok(Self(bytes))
            }

            /// Writes the shown form into `out` and returns it.
            pub fn encode<'a>(&self, out: &'a mut [u8; 24]) -> &'a str {
                write_hex(&self.0, out)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.encode(&mut [0; 24]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hex_id! {
    /// A session's public id (`sid`, `baas_id`). Derived from user and number, so never stored; not a secret: tokens are signed.
    SessionId
}

hex_id! {
    /// A client's device id (App Services `device_id`). All zeros means none.
    DeviceId
}

impl SessionId {
    /// The `sid` of the user's session `number`: the first 12 bytes of SHA-256("sid" ‖ id ‖ number).
    pub fn derive(user: &UserId, number: u32) -> Self {
        let mut input = [0; 23];
        input[..3].copy_from_slice(b"sid");
        input[3..19].copy_from_slice(&user.0);
        input[19..].copy_from_slice(&number.to_be_bytes());
        let mut sid = [0; 12];
        sid.copy_from_slice(&digest(&SHA256, &input).as_ref()[..12]);
        Self(sid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_round_trip_and_tell_their_time() {
        let object = UserId::object(1_700_000_000, [1, 2, 3, 4, 5, 6, 7, 255]);
        assert_eq!(object.to_string(), "6553f10001020304050607ff");
        assert_eq!(UserId::parse("6553f10001020304050607ff"), Ok(object));
        assert_eq!(object.created_ms(), 1_700_000_000_000);

        let v7 = UserId::time_ordered(1_700_000_000_123, [9; 10]);
        assert_eq!(v7.to_string().len(), 36);
        assert_eq!(UserId::parse(&v7.to_string()), Ok(v7));
        assert_eq!(v7.created_ms(), 1_700_000_000_123);
        assert_eq!(uuid::Uuid::from_bytes(*v7.as_bytes()).get_version_num(), 7);
    }

    #[test]
    fn an_id_that_is_random_tells_no_time() {
        for text in [
            "550e8400-e29b-41d4-a716-446655440000",
            "ffffffff-ffff-4fff-bfff-ffffffffffff",
            "018bcfe5-687b-4909-8909-090909090909",
            "ffffffff-ffff-7fff-bfff-ffffffffffff",
        ] {
            assert_eq!(UserId::parse(text).unwrap().created_ms(), 0, "{text}");
        }
    }

    #[test]
    fn an_id_has_one_spelling() {
        for text in [
            "",
            "6553F10001020304050607FF",
            "6553f10001020304050607f",
            "6553f10001020304050607fg",
            "00000000-0000-4000-8000-000000000001",
            "018bcfe5-687b-7909-8909-0909090909",
            "018bcfe5687b-7909-8909-090909090909-",
            "{18bcfe5-687b-7909-8909-090909090909",
            "é553f10001020304050607f",
        ] {
            assert_eq!(UserId::parse(text), Err(ParseIdError), "{text}");
        }
    }

    #[test]
    fn derived_names_are_stable() {
        // golden: existing tokens and applications hold these
        let id = UserId::object(1_700_000_000, [1, 2, 3, 4, 5, 6, 7, 255]);
        assert_eq!(SessionId::derive(&id, 1).to_string(), "ea87c47fa1d7e53a1248b3ef");
        assert_eq!(id.anonymous_identity(), "6553f10001020304050607ff-vskmvsnyrtfqtytxkucaeuqf");
        assert_eq!(id.anonymous_identity().len(), 49);
        assert_ne!(SessionId::derive(&id, 1), SessionId::derive(&id, 2));
    }
}
