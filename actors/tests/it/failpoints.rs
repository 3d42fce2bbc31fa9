//! A process that dies at each step of a link, a merge and a password reset leaves the state before or after, never between.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passerby_actors::actor::{Ends, Proof};
use passerby_actors::domain::{
    Credential, CredentialChange, DeviceId, IdentityKey, MailToken, MergePolicy, SessionKind, UserId, ValueKey,
};
use passerby_actors::handle::{Handle, IdForm};
use passerby_actors::store::Store;
use passerby_actors::store::embedded::files::{AppendFile, Disk};
use passerby_actors::testkit::{Altered, Appends, World};

const CHILD: &str = "PASSERBY_TEST_FAILPOINT";

/// Where the process dies, on the way of one change set to the disk and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    BeforeAppend,
    InAppend,
    BeforeSync,
    AfterSync,
    AfterAnswer,
}

const POINTS: [Point; 5] =
    [Point::BeforeAppend, Point::InAppend, Point::BeforeSync, Point::AfterSync, Point::AfterAnswer];
const CHANGES: [&str; 3] = ["link", "merge", "reset"];

/// A process that dies at a point once that is armed.
struct Deadly {
    point: Point,
    armed: AtomicBool,
}

impl Deadly {
    fn die_at(&self, point: Point) {
        if self.point == point && self.armed.load(Ordering::SeqCst) {
            std::process::abort();
        }
    }
}

impl Appends for Deadly {
    fn append(&self, file: &mut dyn AppendFile, bytes: &[u8]) -> io::Result<()> {
        self.die_at(Point::BeforeAppend);
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        file.append(half)?;
        self.die_at(Point::InAppend);
        file.append(rest)
    }

    fn sync(&self, file: &mut dyn AppendFile) -> io::Result<()> {
        self.die_at(Point::BeforeSync);
        file.sync()?;
        self.die_at(Point::AfterSync);
        Ok(())
    }
}

fn proof(round: usize) -> Proof {
    let identity = IdentityKey { provider: "custom-token".into(), external: round.to_string().into() };
    Proof::new(identity, "".into())
}

fn name(round: usize) -> String {
    format!("{round}@example.test")
}

/// What resets the password of a round's name.
fn token(expires: u32) -> MailToken {
    MailToken { hash: [7; 32], expires }
}

/// Not a test of its own: the child of the one below, which ends at once when it is not asked for.
#[test]
fn child_that_dies_at_a_point() {
    let Ok(asked) = std::env::var(CHILD) else { return };
    let mut words = asked.splitn(3, ' ');
    let mut word = || words.next().expect("round, change and folder");
    let (round, change, dir): (usize, _, _) = (word().parse().unwrap(), word(), word());
    let point = POINTS[round % POINTS.len()];
    let deadly = Arc::new(Deadly { point, armed: AtomicBool::new(false) });
    actix_rt::System::new().block_on(async {
        let world = World::over(Path::new(dir), round as u64, Arc::new(Altered(Arc::clone(&deadly))));
        let running = world.open();
        let linker = Arc::clone(&running.linker);
        let opens = (SessionKind::V1, DeviceId::default());
        let guest = running.handle.login(SessionKind::V1, IdForm::TimeOrdered).await.unwrap();
        let owner = match change {
            "merge" => linker.log_in(proof(round), opens.0, opens.1, IdForm::TimeOrdered).await.unwrap().user,
            "reset" => {
                let register = CredentialChange::Register {
                    name: name(round).into(),
                    password: "old".into(),
                    confirm: None,
                    over_pending: false,
                };
                let identity = || Credential::identity(&name(round));
                linker.change_credential(identity(), register, Ends::Nothing).await.unwrap();
                let asked = CredentialChange::BeginReset(token(u32::MAX));
                linker.change_credential(identity(), asked, Ends::Nothing).await.unwrap();
                linker.link(guest.user, guest.number, Proof::new(identity(), "".into())).await.unwrap().user
            }
            _ => guest.user,
        };
        println!("\nbegun {} {owner}", guest.user);
        deadly.armed.store(true, Ordering::SeqCst);
        match change {
            "link" => assert!(linker.link(guest.user, guest.number, proof(round)).await.is_ok()),
            "merge" => {
                let merge = linker.merge(guest.user, guest.number, proof(round), opens, MergePolicy::default());
                assert!(merge.await.is_ok());
            }
            _ => {
                let reset = CredentialChange::Reset { token: token(0).hash, password: "new".into() };
                let changing = linker.change_credential(Credential::identity(&name(round)), reset, Ends::All);
                assert!(changing.await.is_ok());
            }
        }
        assert_eq!(point, Point::AfterAnswer, "it died before");
        std::process::abort();
    });
}

/// Whether the change is stored; panics if only a part of it is.
fn is_done(handle: &Handle, store: &dyn Store, round: usize, change: &str, (guest, owner): (UserId, UserId)) -> bool {
    let user = |id: &UserId| handle.load(id);
    match change {
        "link" => {
            let guest_state = user(&guest).expect("a guest stays");
            let linked = !guest_state.record.is_anonymous();
            let numbers: Vec<u32> = guest_state.sessions().iter().map(|session| session.number).collect();
            assert_eq!(numbers, if linked { [2] } else { [1] }, "round {round}");
            assert_eq!(guest_state.identities().len(), usize::from(linked), "round {round}");
            assert_eq!(store.resolve(&proof(round).identity), linked.then_some(guest), "round {round}");
            linked
        }
        "merge" => {
            let target = user(&owner).expect("the account stays");
            let merged = user(&guest).is_none();
            assert_eq!(
                target.aliases().iter().map(|alias| alias.id).collect::<Vec<_>>(),
                Vec::from_iter(merged.then_some(guest))
            );
            assert_eq!(target.sessions().len(), 1 + usize::from(merged), "round {round}");
            assert_eq!(store.survivor(&guest), merged.then_some(owner), "round {round}");
            merged
        }
        _ => {
            let value = store.value(&ValueKey::credential(&Credential::identity(&name(round))));
            let credential = Credential::decode(&value.expect("the credential stays")).unwrap();
            let reset = &*credential.password == "new";
            assert_eq!(credential.reset.is_none(), reset, "round {round}");
            assert_eq!(user(&owner).expect("the owner stays").sessions().is_empty(), reset, "round {round}");
            reset
        }
    }
}

#[actix_rt::test]
async fn a_death_at_any_step_leaves_the_state_before_or_after() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let mut known = Vec::new();
    for round in 0..POINTS.len() * CHANGES.len() {
        let (point, change) = (POINTS[round % POINTS.len()], CHANGES[round / POINTS.len()]);
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "failpoints::child_that_dies_at_a_point", "--nocapture", "--test-threads=1"])
            .env(CHILD, format!("{round} {change} {}", dir.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(child.status.code(), None, "round {round}: {point:?} in a {change} is met");
        let said = String::from_utf8(child.stdout).unwrap();
        let begun = said.lines().find_map(|line| line.strip_prefix("begun ")).expect("the change is begun");
        let (guest, owner) = begun.split_once(' ').unwrap();
        let users = (UserId::parse(guest).unwrap(), UserId::parse(owner).unwrap());

        let running = World::over(&dir, 1000, Arc::new(Disk)).open();
        let store = &*running.store;
        let done = is_done(&running.handle, store, round, change, users);
        match point {
            Point::BeforeAppend | Point::InAppend => assert!(!done, "round {round}: {point:?} of a {change}"),
            // written and not synced: a killed process's page cache survives it
            Point::BeforeSync => {}
            Point::AfterSync | Point::AfterAnswer => assert!(done, "round {round}: {point:?} of a {change}"),
        }
        known.push((round, change, users, done));
        for (round, change, users, done) in &known {
            assert_eq!(is_done(&running.handle, store, *round, change, *users), *done, "round {round} stays as it was");
        }
        running.close();
    }
}
