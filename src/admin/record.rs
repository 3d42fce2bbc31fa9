//! What is stored of admins, of their keys and sessions, and of what they did. A format byte, then JSON.

use std::fmt;

use passerby_actors::domain::ServiceTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::Fault;

const FORMAT: u8 = 1;

/// What an admin may do; each may also do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See everything but secrets.
    Read,
    /// Act on users.
    Operate,
    /// Act on admins and keys of admins.
    Owner,
}

impl Role {
    /// Every role, the lowest first.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Owner];

    /// The name, as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Owner => "owner",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Whom a request comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// The admin of this name.
    Admin(String),
    /// The API key with this public id.
    Key(String),
    /// Whoever may read the data folder of this server.
    Local,
}

impl fmt::Display for Who {
    /// As the audit log names them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin(name) => f.write_str(name),
            Self::Key(id) => write!(f, "key:{id}"),
            Self::Local => f.write_str("local"),
        }
    }
}

/// An admin, under the name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// What they may do.
    pub role: Role,
    /// The password's hash, a PHC string.
    pub password: String,
    /// When the account was created, Unix time in milliseconds.
    pub created_ms: u64,
    /// When the password was set, Unix time in milliseconds.
    pub password_ms: u64,
    /// Whether they are refused.
    pub disabled: bool,
    /// A random number, another one with every password and every time that they are disabled: sessions begun under an earlier one
    /// have ended, also one that was just beginning then.
    pub epoch: u64,
    /// The second factor, if they have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<Totp>,
}

/// A second factor: codes by time (RFC 6238).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totp {
    /// The secret, sealed under a key that stands beside the signing keys.
    pub sealed: String,
    /// The step of the last code that was taken: none is taken twice.
    pub used: u64,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("role", &self.role).field("disabled", &self.disabled).finish_non_exhaustive()
    }
}

/// An API key of the admin API, under its public id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminKey {
    /// What it is for, in its owner's words.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the private part.
    pub hash: [u8; 32],
    /// When it was created, Unix time in milliseconds.
    pub created_ms: u64,
    /// Who created it.
    pub created_by: String,
    /// From when on it is refused, Unix time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_ms: Option<u64>,
}

impl fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminKey").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

/// A session of an admin or of a key, under the SHA-256 of its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminSession {
    /// Whose it is.
    pub of: Who,
    /// The epoch of the admin's account for which it is good; 0 of a key.
    pub epoch: u64,
    /// When it began.
    pub began: Moment,
    /// When it was last used, as far as it is written down.
    pub used: Moment,
    /// From which address it began; none of one that began before that was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// A time on both clocks. That of service does not count most of a time in which the server was stopped, and the wall clock can be set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// Seconds of service.
    pub service: ServiceTime,
    /// Unix time in milliseconds.
    pub wall_ms: u64,
}

impl Moment {
    /// Whether fewer seconds have passed by then, on either clock.
    pub fn is_within(self, seconds: u32, then: Self) -> bool {
        then.service < self.service.saturating_add(seconds)
            && then.wall_ms < self.wall_ms.saturating_add(u64::from(seconds) * 1000)
    }
}

/// What became of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was refused.
    Refused,
    /// Whether it is done is not known.
    Unknown,
}

/// An entry of the audit log, under its time and a count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Who: a name, `key:` and the id of a key, or `local`. Of a login that failed: `(unknown)`, unless there is such an admin or key.
    pub who: String,
    /// In which role; none before a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// What: a word such as `user.disable`.
    pub what: String,
    /// Whom or what it was done to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whom: Option<String>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What became of it.
    pub outcome: Outcome,
    /// What it was before, in short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is after, in short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Why, in the words of whoever did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The bytes of a value.
///
/// # Errors
/// `Unreadable`: it cannot be written as JSON, which none of these is.
pub(super) fn encode(value: &impl Serialize) -> Result<Box<[u8]>, Fault> {
    let mut bytes = vec![FORMAT];
    serde_json::to_writer(&mut bytes, value).map_err(|_| Fault::Unreadable)?;
    Ok(bytes.into())
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// `Unreadable`: a format that this version does not know.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    match bytes.split_first() {
        Some((&FORMAT, json)) => serde_json::from_slice(json).map_err(|_| Fault::Unreadable),
        _ => Err(Fault::Unreadable),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn is_kept<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug>(value: &T, json: &str) {
        let bytes = encode(value).unwrap();
        assert_eq!((bytes[0], std::str::from_utf8(&bytes[1..])), (1, Ok(json)));
        assert_eq!(decode::<T>(&bytes).as_ref(), Ok(value));
        let later = [&[2], &bytes[1..]].concat();
        assert_eq!(decode::<T>(&later), Err(Fault::Unreadable), "a later version's");
        assert_eq!(decode::<T>(&bytes[..bytes.len() - 1]), Err(Fault::Unreadable));
        assert_eq!(decode::<T>(&[]), Err(Fault::Unreadable));
    }

    #[test]
    fn the_bytes_of_each_value_are_as_they_always_were() {
        let account = Account {
            role: Role::Owner,
            password: "$argon2id$".to_owned(),
            created_ms: 1,
            password_ms: 2,
            disabled: false,
            epoch: 7,
            totp: None,
        };
        is_kept(
            &account,
            r#"{"role":"owner","password":"$argon2id$","created_ms":1,"password_ms":2,"disabled":false,"epoch":7}"#,
        );
        let account = Account { totp: Some(Totp { sealed: "c2VhbA==".to_owned(), used: 9 }), ..account };
        is_kept(
            &account,
            r#"{"role":"owner","password":"$argon2id$","created_ms":1,"password_ms":2,"disabled":false,"epoch":7,"totp":{"sealed":"c2VhbA==","used":9}}"#,
        );
        let key = AdminKey {
            name: "backup".to_owned(),
            role: Role::Read,
            hash: [7; 32],
            created_ms: 1,
            created_by: "ada".to_owned(),
            ends_ms: Some(9),
        };
        let hash = vec!["7"; 32].join(",");
        is_kept(
            &key,
            &format!(
                r#"{{"name":"backup","role":"read","hash":[{hash}],"created_ms":1,"created_by":"ada","ends_ms":9}}"#
            ),
        );
        let session = AdminSession {
            of: Who::Key("abcdefgh".to_owned()),
            epoch: 0,
            began: Moment { service: 3, wall_ms: 5 },
            used: Moment { service: 4, wall_ms: 6 },
            address: None,
        };
        is_kept(
            &session,
            r#"{"of":{"key":"abcdefgh"},"epoch":0,"began":{"service":3,"wall_ms":5},"used":{"service":4,"wall_ms":6}}"#,
        );
        let session = AdminSession { of: Who::Admin("ada".to_owned()), address: Some("::1".to_owned()), ..session };
        is_kept(
            &session,
            r#"{"of":{"admin":"ada"},"epoch":0,"began":{"service":3,"wall_ms":5},"used":{"service":4,"wall_ms":6},"address":"::1"}"#,
        );
        let entry = Entry {
            who: "ada".to_owned(),
            role: Some(Role::Operate),
            what: "user.disable".to_owned(),
            whom: Some("u1".to_owned()),
            address: None,
            outcome: Outcome::Done,
            before: Some(json!({"disabled": false})),
            after: None,
            reason: None,
        };
        is_kept(
            &entry,
            r#"{"who":"ada","role":"operate","what":"user.disable","whom":"u1","outcome":"done","before":{"disabled":false}}"#,
        );
    }

    #[test]
    fn a_role_may_do_what_those_below_it_may() {
        assert!(Role::Read < Role::Operate && Role::Operate < Role::Owner);
        assert!(Role::ALL.iter().all(|role| Role::named(role.name()) == Some(*role)) && Role::named("Owner").is_none());
    }

    #[test]
    fn no_hash_is_shown() {
        let account = Account {
            role: Role::Read,
            password: "$x".into(),
            created_ms: 0,
            password_ms: 0,
            disabled: true,
            epoch: 0,
            totp: None,
        };
        assert_eq!(format!("{account:?}"), "Account { role: Read, disabled: true, .. }");
    }
}
