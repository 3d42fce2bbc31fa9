//! Users of all kinds in a store on disk, and a clock that can jump.

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use passerby_actors::actor::{Core, Limits, LinkerHandle};
use passerby_actors::domain::{
    Cause, Change, ChangeSet, Clock, Expected, Extension, Flags, IdForm, Identity, IdentityKey, LoginMethod, Op,
    Policy, Record, Rewrite, ServiceTime, Session, SessionKind, Sessions, UserId, ValueKey,
};
use passerby_actors::handle::Handle;
use passerby_actors::store::embedded::files::Disk;
use passerby_actors::store::embedded::{Durability, Options};
use passerby_actors::store::{self, Completions, Config, Store};
use passerby_actors::system::{SystemClock, SystemEntropy};
use passerby_actors::testkit::{mix, until};
use passerby_benches::progress;

/// How many users the other world has.
pub(crate) const FEW: u64 = 10_000;
/// Of the accounts, three have an identity of this one.
pub(crate) const RARE: &str = "oidc-rare";
/// And each of the others of one of the rest.
pub(crate) const PROVIDERS: [&str; 4] = ["local-userpass", "oidc-google", "custom-token", RARE];
const KIND: SessionKind = SessionKind::V1;
/// Sets in one commit.
const BATCH: usize = 4096;
const DAY_MS: u64 = 86_400_000;
const FIRST_MS: u64 = 1_700_000_000_000;
const DAYS: u64 = 90;
/// When the first service second was.
const NOW: ServiceTime = passerby_actors::domain::clock::FIRST_SERVICE_TIME;

/// The machine's clock, and how far it was moved.
#[derive(Default)]
pub(crate) struct JumpingClock {
    clock: SystemClock,
    ahead_us: AtomicU64,
}

impl Clock for JumpingClock {
    fn monotonic_us(&self) -> u64 {
        self.clock.monotonic_us() + self.ahead_us.load(Ordering::Relaxed)
    }

    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms() + self.ahead_us.load(Ordering::Relaxed) / 1000
    }
}

/// The id of an account at its provider.
pub(crate) fn external(number: u64) -> String {
    format!("subject-{number}")
}

/// The e-mail address of an account.
pub(crate) fn email(number: u64) -> String {
    format!("reader-{number}@example.com")
}

/// One of the days in which users were created.
pub(crate) fn day(number: u64) -> Range<u64> {
    FIRST_MS + number * DAY_MS..FIRST_MS + (number + 1) * DAY_MS
}

/// One of the ten hours in which users were seen last.
pub(crate) fn hour(number: u32) -> Range<ServiceTime> {
    NOW - (number + 1) * 3600..NOW - number * 3600
}

/// One of the seconds in them.
pub(crate) fn second(number: u32) -> Range<ServiceTime> {
    NOW - number - 1..NOW - number
}

/// So many users, numbered from 0.
#[derive(Clone, Copy)]
pub(crate) struct Numbered(pub(crate) u64);

impl Numbered {
    fn created_ms(&self, number: u64) -> u64 {
        FIRST_MS + (u128::from(number) * u128::from(DAYS * DAY_MS) / u128::from(self.0)) as u64
    }

    /// The user of this number: in the order of creation, half of them in either form.
    pub(crate) fn id(&self, number: u64) -> UserId {
        let (ms, mixed) = (self.created_ms(number), mix(number).to_be_bytes());
        if number.is_multiple_of(2) {
            UserId::object(u32::try_from(ms / 1000).unwrap(), mixed)
        } else {
            let mut random = [0; 10];
            random[..8].copy_from_slice(&mixed);
            UserId::time_ordered(ms, random)
        }
    }

    /// When users of these numbers were created.
    pub(crate) fn created_of(&self, numbers: Range<u64>) -> Range<u64> {
        self.created_ms(numbers.start)..self.created_ms(numbers.end)
    }

    /// The provider of an account.
    pub(crate) fn provider(&self, number: u64) -> &'static str {
        // each at the end of a third
        let is_rare = (number + 5).is_multiple_of(self.0 / 15 * 5);
        if is_rare { RARE } else { PROVIDERS[(number % 3) as usize] }
    }

    /// Every fifth is an account; half of the others never came back; every twentieth is disabled, every tenth has a document.
    fn set(&self, number: u64, document: &[u8]) -> ChangeSet {
        let id = self.id(number);
        let seen = NOW - (mix(number) % 36_000) as u32;
        let fresh = Record::new(seen, KIND);
        let mut record =
            if number.is_multiple_of(2) { fresh } else { Record { session_started: NOW - 100_000, ..fresh } };
        let mut ops = Vec::with_capacity(3);
        let mut extension = None;
        if number.is_multiple_of(5) {
            let key = IdentityKey { provider: self.provider(number).into(), external: external(number).into() };
            ops.push(Op::Claim { identity: key.clone(), user: id });
            let session = Session {
                number: 1,
                kind: KIND,
                method: LoginMethod::IdToken,
                started: seen,
                seen,
                epoch: 0,
                refresh_counter: 0,
                device: Default::default(),
                anonymous_at_start: false,
                replaces: None,
            };
            let data = format!(r#"{{"email":"{}"}}"#, email(number)).into();
            let identities = vec![Identity { key, linked: seen, data }];
            let sessions = Some(Sessions { highest: 1, list: vec![session] });
            extension = Some(Extension { sessions, identities, ..Extension::default() }.encode());
            record.flags = Flags(Flags::LASTING | Flags::EXTENDED);
            (record.session_no, record.session_started) = (0, 0);
        }
        record.flags = record.flags.with(Flags::DISABLED, mix(number).is_multiple_of(20));
        ops.insert(0, Op::Create { id, record, extension });
        if mix(number) % 10 == 1 {
            let change = Rewrite::Put(document.into());
            ops.push(Op::Value { key: ValueKey::document(&id), seen: None, change });
        }
        ChangeSet::new(Cause::Created, NOW, ops)
    }
}

/// A core over users of all kinds.
pub(crate) struct World {
    pub(crate) clock: Arc<JumpingClock>,
    pub(crate) users: Numbered,
    pub(crate) handle: Handle,
    store: Arc<dyn Store>,
    core: Arc<Core>,
}

impl World {
    /// In a folder that has its users, or is to be filled with them.
    pub(crate) fn open(folder: &Path, users: u64) -> Self {
        let clock = Arc::<JumpingClock>::default();
        let options = Options {
            durability: Durability::Fsync,
            max_users: usize::try_from(2 * users).unwrap(),
            // no generation begins meanwhile
            min_journal_bytes: u64::MAX,
            min_replay_bytes: u64::MAX,
            max_generation_age_s: u32::MAX,
            give_back: passerby::allocator::give_back,
        };
        let config = Config::Folder { dir: folder.to_owned(), options, files: Arc::new(Disk) };
        let store = store::open(config, Arc::clone(&clock) as Arc<dyn Clock>).unwrap();
        let entropy = Arc::new(SystemEntropy::default());
        let core = Core::new(Arc::clone(&store), Policy::default(), Limits::default(), entropy, None);
        let handle = Handle::new(Arc::clone(&core), Arc::new(LinkerHandle::new(Arc::clone(&core))));
        Self { clock, users: Numbered(users), handle, store, core }
    }

    pub(crate) fn close(self) {
        drop(self.handle);
        self.store.stop();
    }

    /// Creates the users.
    pub(crate) async fn fill(&self) {
        let users = self.users;
        let author = self.handle.login(KIND, IdForm::Object).await.unwrap();
        let change = Change::Put(serde_json::Map::new());
        self.handle.edit(&author.user, change, Expected::Anything, None, None).await.unwrap();
        let document = self.handle.document(&author.user).unwrap();
        self.handle.logout(&author.user, author.number).await.unwrap();
        let completions = Rc::<Completions>::default();
        let run = actix_rt::spawn(Rc::clone(&completions).run(|_| {}));
        let bar = progress::steps(users.0, "creating users");
        for from in (0..users.0).step_by(BATCH) {
            let to = users.0.min(from + BATCH as u64);
            let sets: store::Sets = (from..to).map(|number| users.set(number, &document)).collect();
            let (reply, outcomes) = completions.register(sets.len());
            self.store.commit(sets, reply);
            let done = passerby_actors::domain::Outcome::Done;
            assert!(outcomes.await.iter().all(|outcome| *outcome == done));
            bar.set_position(to);
        }
        bar.finish_and_clear();
        run.abort();
        // so that the next start reads a snapshot, and writes none while it is measured
        self.store.new_generation();
        let generations = || self.store.stats().generations.load(Ordering::Relaxed);
        while generations() == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Has the index built, and answers in how many seconds.
    pub(crate) async fn build(&self) -> f64 {
        let began_us = self.clock.monotonic_us();
        assert!(self.handle.user_counts().await.unwrap().users as u64 >= self.users.0);
        (self.clock.monotonic_us() - began_us) as f64 / 1e6
    }

    /// Time passes until there is no index.
    pub(crate) async fn let_go(&self) {
        self.clock.ahead_us.fetch_add(16 * 60 * 1_000_000, Ordering::Relaxed);
        until("the index is let go", || !self.core.has_user_index()).await;
    }

    /// Logins a second, with 256 under way.
    pub(crate) async fn logins_per_s(&self, span: Duration) -> f64 {
        let (began_us, logins) = (self.clock.monotonic_us(), Cell::new(0_u64));
        let end_us = began_us + u64::try_from(span.as_micros()).unwrap();
        let caller = async || {
            while self.clock.monotonic_us() < end_us {
                self.handle.login(KIND, IdForm::Object).await.unwrap();
                logins.set(logins.get() + 1);
            }
        };
        join_all((0..256).map(|_| caller())).await;
        logins.get() as f64 / (self.clock.monotonic_us() - began_us) as f64 * 1e6
    }
}
