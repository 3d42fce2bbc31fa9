//! Clients that log in, refresh, log out and delete, and say of each change when it was begun and when it was answered.

use std::collections::BTreeMap;
use std::str::FromStr;

use passerby_actors::domain::{Cause, Change, DeviceId, Document, Expected, Session, SessionKind, UserId, ValueKey};
use passerby_actors::handle::{Handle, IdForm};
use passerby_actors::store::View;
use passerby_actors::testkit::Random;

/// One line of what a client saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    Created(UserId),
    /// a second session, so that there is an extension record
    OpenBegun(UserId, u32),
    Opened(UserId, u32),
    RotationBegun(UserId, u32),
    Rotated(UserId, u32),
    /// a number in the document grows
    EditBegun(UserId, u32),
    Edited(UserId, u32),
    EndBegun(UserId),
    Ended(UserId),
}

impl std::fmt::Display for Fact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Created(id) => write!(f, "C {id} 0"),
            Self::OpenBegun(id, n) => write!(f, "o {id} {n}"),
            Self::Opened(id, n) => write!(f, "O {id} {n}"),
            Self::RotationBegun(id, n) => write!(f, "r {id} {n}"),
            Self::Rotated(id, n) => write!(f, "R {id} {n}"),
            Self::EditBegun(id, n) => write!(f, "d {id} {n}"),
            Self::Edited(id, n) => write!(f, "D {id} {n}"),
            Self::EndBegun(id) => write!(f, "e {id} 0"),
            Self::Ended(id) => write!(f, "E {id} 0"),
        }
    }
}

impl FromStr for Fact {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let mut words = line.split(' ');
        let mut word = || words.next().ok_or(());
        let (tag, id, n) = (word()?, UserId::parse(word()?).map_err(drop)?, word()?.parse().map_err(drop)?);
        match tag {
            "C" => Ok(Self::Created(id)),
            "o" => Ok(Self::OpenBegun(id, n)),
            "O" => Ok(Self::Opened(id, n)),
            "r" => Ok(Self::RotationBegun(id, n)),
            "R" => Ok(Self::Rotated(id, n)),
            "d" => Ok(Self::EditBegun(id, n)),
            "D" => Ok(Self::Edited(id, n)),
            "e" => Ok(Self::EndBegun(id)),
            "E" => Ok(Self::Ended(id)),
            _ => Err(()),
        }
    }
}

/// One client's life: `operations` changes, or fewer if they begin to fail.
pub(crate) async fn client(handle: &Handle, mut random: Random, operations: usize, say: &impl Fn(Fact)) {
    let mut users: Vec<(UserId, u32, u32, u32)> = Vec::new();
    for _ in 0..operations {
        let what = random.below(12);
        if users.is_empty() || what < 5 {
            let Ok(user) = handle.login(SessionKind::V1, IdForm::TimeOrdered).await else { return };
            say(Fact::Created(user.user));
            users.push((user.user, user.number, 0, 0));
        } else if what < 6 {
            let id = users[random.below(users.len())].0;
            let sessions = handle.load(&id).map_or(0, |user| user.sessions().len() as u32);
            say(Fact::OpenBegun(id, sessions + 1));
            if handle.open_session(&id, SessionKind::V1, DeviceId::default(), None).await.is_err() {
                return;
            }
            say(Fact::Opened(id, sessions + 1));
        } else if what < 8 {
            let at = random.below(users.len());
            let (id, number, counter, _) = users[at];
            say(Fact::RotationBegun(id, counter + 1));
            let Ok(counter) = handle.rotate(&id, number, counter).await else { return };
            say(Fact::Rotated(id, counter));
            users[at].2 = counter;
        } else if what < 10 {
            let at = random.below(users.len());
            let (id, .., counted) = users[at];
            say(Fact::EditBegun(id, counted + 1));
            let change = Change::Increment { path: "/n".to_owned(), by: 1.into() };
            if handle.edit(&id, change, Expected::Anything, None, None).await.is_err() {
                return;
            }
            say(Fact::Edited(id, counted + 1));
            users[at].3 = counted + 1;
        } else {
            let (id, number, ..) = users.swap_remove(random.below(users.len()));
            say(Fact::EndBegun(id));
            let sessions = handle.load(&id).map_or(0, |user| user.sessions().len());
            let ended = if what == 10 && sessions == 1 {
                handle.logout(&id, number).await
            } else {
                handle.delete(&id, Cause::DeletedByUser).await
            };
            if ended.is_err() {
                return;
            }
            say(Fact::Ended(id));
        }
    }
}

/// What must be true of a user after any crash.
#[derive(Debug, Default)]
struct Bounds {
    end_begun: bool,
    ended: bool,
    rotations: (u32, u32),
    sessions: (u32, u32),
    edits: (u32, u32),
}

/// What the number in a document is; its version says the same.
fn counted(document: Option<&[u8]>) -> u32 {
    let Some(bytes) = document else { return 0 };
    let view = Document::view(bytes).expect("a document");
    let number = view.json.and_then(|json| json.strip_prefix("{\"n\":")?.strip_suffix('}')?.parse().ok());
    assert_eq!(number.map(u64::from), Some(view.version));
    number.unwrap_or_default()
}

/// Every user ever created.
#[derive(Debug, Default)]
pub(crate) struct Ledger(BTreeMap<UserId, Bounds>);

impl Ledger {
    pub(crate) fn note(&mut self, fact: Fact) {
        let (Fact::Created(id)
        | Fact::OpenBegun(id, _)
        | Fact::Opened(id, _)
        | Fact::RotationBegun(id, _)
        | Fact::Rotated(id, _)
        | Fact::EditBegun(id, _)
        | Fact::Edited(id, _)
        | Fact::EndBegun(id)
        | Fact::Ended(id)) = fact;
        let user = self.0.entry(id).or_default();
        match fact {
            Fact::Created(_) => user.sessions = (1, 1),
            Fact::OpenBegun(_, n) => user.sessions.1 = n,
            Fact::Opened(_, n) => user.sessions = (n, n),
            Fact::RotationBegun(_, n) => user.rotations.1 = n,
            Fact::Rotated(_, n) => user.rotations = (n, n),
            Fact::EditBegun(_, n) => user.edits.1 = n,
            Fact::Edited(_, n) => user.edits = (n, n),
            Fact::EndBegun(_) => user.end_begun = true,
            Fact::Ended(_) => user.ended = true,
        }
    }

    /// Every acknowledged change is stored, and nothing that was ended is back. What was under way is settled from now on.
    pub(crate) fn check(&mut self, stored: &dyn View, context: &str) {
        let one = |sessions: &[Session]| sessions.iter().find(|s| s.number == 1).map(|s| s.refresh_counter);
        self.0.retain(|id, user| {
            let found = stored.load(id);
            if user.ended {
                assert_eq!(found, None, "{context}: {id} was ended and is back");
                assert_eq!(stored.value(&ValueKey::document(id)), None, "{context}: what {id} kept is back");
            } else if let Some(found) = found {
                let sessions = found.sessions();
                let (least, most) = user.sessions;
                let count = sessions.len() as u32;
                assert!((least..=most).contains(&count), "{context}: {id} has {count} sessions, not {least}..={most}");
                let (least, most) = user.rotations;
                let counter = one(&sessions).expect("the first session");
                assert!((least..=most).contains(&counter), "{context}: {id} is at {counter}, not {least}..={most}");
                let (least, most) = user.edits;
                let counted = counted(found.document.as_deref());
                assert!((least..=most).contains(&counted), "{context}: {id} counted {counted}, not {least}..={most}");
                *user = Bounds {
                    rotations: (counter, counter),
                    sessions: (count, count),
                    edits: (counted, counted),
                    ..Bounds::default()
                };
            } else {
                assert!(user.end_begun, "{context}: {id} was acknowledged and is lost");
                user.ended = true;
            }
            true
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
