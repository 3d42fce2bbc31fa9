//! Sessions of admins and keys: which there are, and how one is ended by its id.

use passerby_actors::domain::{Family, ValueKey};
use passerby_actors::handle::Handle;

use super::admins::{Admins, Asker, Seen, all, moment, retried};
use super::audit::By;
use super::fault::Fault;
use super::record::{AdminSession, Outcome, Who};
use super::sessions::{IDLE_S, LONGEST_S, is_live};

/// Bytes of the hash of its secret by which a session is named.
const ID_BYTES: usize = 12;

/// A session, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// By which it is ended: 24 hexadecimal digits, which open nothing.
    pub id: String,
    /// Whose it is, and when it began and was used.
    pub session: AdminSession,
    /// When it ends if it is not used: Unix time in milliseconds.
    pub ends_ms: u64,
    /// Whether it is of whoever asks.
    pub is_own: bool,
    /// Whether it is the one that asks.
    pub is_asking: bool,
}

fn id_of(key: &ValueKey) -> String {
    key.key.iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn is_seen(session: &AdminSession, only: Option<&Who>) -> bool {
    only.is_none_or(|who| session.of == *who)
}

impl Admins {
    /// The sessions that live, of one admin or key, or of all; the one that was used last comes first.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn sessions(&self, handle: &Handle, asker: &Asker, only: Option<&Who>) -> Result<Vec<Listed>, Fault> {
        let now = moment(handle);
        let live = |(_, seen): &(ValueKey, Seen<AdminSession>)| is_live(&seen.value, now) && is_seen(&seen.value, only);
        let mut sessions: Vec<_> = all::<AdminSession>(handle, Family::ADMIN_SESSION)?
            .into_iter()
            .filter(live)
            .map(|(key, Seen { value, .. })| {
                let longest_ms = value.began.wall_ms.saturating_add(u64::from(LONGEST_S) * 1000);
                Listed {
                    id: id_of(&key),
                    ends_ms: longest_ms.min(value.used.wall_ms.saturating_add(u64::from(IDLE_S) * 1000)),
                    is_own: value.of == asker.who,
                    is_asking: asker.session.is_some_and(|hash| *key.key == hash[..]),
                    session: value,
                }
            })
            .collect();
        sessions.sort_by_key(|listed| std::cmp::Reverse(listed.session.used.wall_ms));
        Ok(sessions)
    }

    /// Ends a session by its id, of one admin or key, or of anyone.
    ///
    /// # Errors
    /// `NoSession`; the core's.
    pub async fn end_session(&self, handle: &Handle, id: &str, only: Option<&Who>, by: &By) -> Result<(), Fault> {
        retried(async || {
            let sessions = all::<AdminSession>(handle, Family::ADMIN_SESSION)?;
            let mut sessions = sessions.into_iter();
            let found = sessions.find(|(key, seen)| id_of(key) == id && is_seen(&seen.value, only));
            let (key, seen) = found.ok_or(Fault::NoSession)?;
            let whose = seen.value.of.to_string();
            let mut entry = by.did("admin.end-session", Some(&whose), Outcome::Done);
            entry.before = Some(serde_json::json!({ "session": id }));
            self.audit.commit(handle, &[seen.removed(key)], &entry).await
        })
        .await
    }
}
