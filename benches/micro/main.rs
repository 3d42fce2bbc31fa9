//! Micro benches: what the parts of a request cost, one by one and without HTTP. `cargo bench --bench micro`.
//!
//! Two cores are enough, and other work on them shows: compare figures of one run only. Everything goes through the public
//! API that the server itself uses, under the server's allocator, and on a real folder where a disk matters.
#![allow(clippy::unwrap_used, reason = "a bench has no caller to hand an error to")]
#![allow(missing_docs, reason = "criterion's macros make public items without docs")]

use std::cell::{Cell, LazyCell};
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_rt::{System, SystemRunner};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use passerby::token::{AccessClaims, Algorithm, KeyStore, RefreshClaims, Tokens};
use passerby_actors::actor::{Core, JanitorHandle, Limits, LinkerHandle};
use passerby_actors::domain::{
    Cause, Change, ChangeSet, Clock, DeviceId, Document, Edit, Entropy, Expected, Losses, Op, Outcome, Patch, Policy,
    Record, SessionId, SessionKind, Touched, UserId, has_more_members, losses,
};
use passerby_actors::handle::{Handle, IdForm};
use passerby_actors::store::embedded::files::Disk;
use passerby_actors::store::embedded::{Durability, Options};
use passerby_actors::store::{self, Completions, Config, Store};
use passerby_actors::system::{SystemClock, SystemEntropy};

// its allocator, which is the server's
use passerby_benches as _;

/// Far more than caches hold, so that a read pays for memory.
const USERS: usize = 1_000_000;
/// Sets in one commit where the size of the group is not the question.
const BATCH: usize = 4096;
const KIND: SessionKind = SessionKind::AppServices;

/// A core over a store, on an actix system of its own.
struct World {
    system: SystemRunner,
    core: Arc<Core>,
    handle: Handle,
    completions: Rc<Completions>,
}

impl World {
    fn over(store: Arc<dyn Store>, limits: Limits) -> Self {
        let (system, entropy) = (System::new(), Arc::new(SystemEntropy::default()));
        let core = Core::new(store, Policy::default(), limits, entropy, None);
        let completions = Rc::<Completions>::default();
        let handle = system.block_on(async {
            actix_rt::spawn(Rc::clone(&completions).run(|_| {}));
            Handle::new(Arc::clone(&core), Arc::new(LinkerHandle::new(Arc::clone(&core))))
        });
        Self { system, core, handle, completions }
    }

    fn in_memory(limits: Limits) -> Self {
        Self::over(store::open(Config::Memory { max_users: 1 }, Arc::new(SystemClock::default())).unwrap(), limits)
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.core.store()
    }

    /// Commits these sets as one message, which the writer never splits: exactly one group if it is idle.
    async fn commit(&self, sets: Vec<ChangeSet>) {
        let (reply, outcomes) = self.completions.register(sets.len());
        self.store().commit(sets.into(), reply);
        assert!(outcomes.await.iter().all(|outcome| *outcome == Outcome::Done));
    }

    /// Sets that create these users.
    fn creating(&self, ids: &[UserId]) -> Vec<ChangeSet> {
        let at = self.store().clock().now();
        let create = |id: &UserId| Op::Create { id: *id, record: Record::new(at, KIND), extension: None };
        ids.iter().map(|id| ChangeSet::new(Cause::Created, at, vec![create(id)])).collect()
    }

    /// Adds this many users by the ordinary commit path. In the order of their ids, as of time, they lie at random.
    fn seed(&self, count: usize) -> Vec<UserId> {
        let ids = new_ids(&SystemEntropy::default(), self.store().clock().wall_ms(), count);
        for batch in ids.chunks(BATCH) {
            self.system.block_on(self.commit(self.creating(batch)));
        }
        ids
    }
}

fn new_ids(entropy: &SystemEntropy, now_ms: u64, count: usize) -> Vec<UserId> {
    let new = |_| {
        let mut random = [0; 10];
        entropy.fill(&mut random);
        UserId::time_ordered(now_ms, random)
    };
    (0..count).map(new).collect()
}

/// A store on a folder of the disk that cargo builds on: `/tmp` may be memory, which syncs in no time.
fn on_disk(durability: Durability) -> (tempfile::TempDir, Arc<dyn Store>) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // no generation begins meanwhile: it would be a disturbance here, and is the load bench's to measure
    let options = Options { durability, min_journal_bytes: u64::MAX, ..Options::default() };
    let config = Config::Folder { dir: folder.path().join("data"), options, files: Arc::new(Disk) };
    let store = store::open(config, Arc::new(SystemClock::default())).unwrap();
    (folder, store)
}

/// Calls `other` over and over on a second thread while `measure` runs.
fn while_another<T, R>(mut other: impl FnMut() -> T + Send, measure: impl FnOnce() -> R) -> R {
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                black_box(other());
            }
        });
        let measured = measure();
        stop.store(true, Ordering::Relaxed);
        measured
    })
}

// What does a token check cost beyond the token, in a registry of a million users: finding the record, the whole check,
// a touch, and the clock in both? How much of it is lost when a second thread does the same, elsewhere or to the same
// user?
fn registry(criterion: &mut Criterion) {
    let world = LazyCell::new(|| {
        let world = World::in_memory(Limits::default());
        let ids = world.seed(USERS);
        let sessions: Vec<_> = ids.iter().map(|id| SessionId::derive(id, 1)).collect();
        (world, ids, sessions)
    });
    let (entropy, window_s) = (SystemEntropy::default(), Policy::default().window_s);
    // each bench goes on where the last one stopped, so that hardly any read finds its user in a cache
    let turn = Cell::new(0);
    let next = || {
        turn.set((turn.get() + 1) % USERS);
        turn.get()
    };
    let mut group = criterion.benchmark_group("registry");
    group.bench_function("record", |bencher| {
        let (world, ids, _) = &*world;
        bencher.iter(|| world.store().record(&ids[next()]).unwrap());
    });
    group.bench_function("record, another thread reads", |bencher| {
        let (world, ids, _) = &*world;
        let (store, mut others) = (world.store(), ids.iter().rev().cycle());
        let other = move || store.record(others.next().unwrap());
        while_another(other, || bencher.iter(|| store.record(&ids[next()]).unwrap()));
    });
    group.bench_function("record, nobody's", |bencher| {
        let (world, ..) = &*world;
        let strangers = new_ids(&entropy, 1, BATCH);
        bencher.iter(|| assert!(world.store().record(&strangers[next() % BATCH]).is_none()));
    });
    group.bench_function("check", |bencher| {
        let (world, ids, sessions) = &*world;
        bencher.iter(|| {
            let turn = next();
            world.handle.check(&ids[turn], &sessions[turn], Some(0)).unwrap()
        });
    });
    group.bench_function("clock", |bencher| {
        let clock = world.0.store().clock();
        bencher.iter(|| clock.now());
    });
    group.bench_function("touch, recent", |bencher| {
        let (world, ids, _) = &*world;
        let store = world.store();
        bencher.iter(|| assert_ne!(store.touch(&ids[next()], window_s, u32::MAX), Touched::Gone));
    });
    group.bench_function("touch, raised", |bencher| {
        let (world, ids, _) = &*world;
        let store = world.store();
        bencher.iter(|| assert_ne!(store.touch(&ids[next()], window_s, 0), Touched::Gone));
    });
    group.bench_function("touch, raised, another thread touches the same user", |bencher| {
        let (world, ids, _) = &*world;
        let (store, id) = (world.store(), ids[0]);
        let touch = move || store.touch(&id, window_s, 0);
        while_another(touch, || bencher.iter(touch));
    });
    // Nothing but the store may insert. So this is the way to the writer and back, the commit rule and the registry, without a
    // journal; removing as many as were inserted keeps the million a million.
    group.throughput(Throughput::Elements(2 * BATCH as u64));
    group.bench_function("insert and remove", |bencher| {
        let (world, ..) = &*world;
        let ids = new_ids(&entropy, 1, BATCH);
        let at = world.store().clock().now();
        let removing = |id: &UserId| ChangeSet::new(Cause::DeletedByUser, at, vec![Op::Remove { id: *id, seen: 0 }]);
        let sets = || (world.creating(&ids), ids.iter().map(removing).collect());
        let both = |(creating, removing)| {
            world.system.block_on(async {
                world.commit(creating).await;
                world.commit(removing).await;
            });
        };
        bencher.iter_batched(sets, both, BatchSize::PerIteration);
    });
    group.finish();
}

// How long does the disk make a caller wait, and what does one more login in a group cost? `sets` is exactly one group:
// check, append, sync, apply, answer. `logins` is what as many callers at once wait through the handle; the writer takes
// the first of them at once and the others with the next groups, and how many groups that makes is printed. (Of a burst of
// 4096, about a third is `join_all` itself.)
fn commit_groups(criterion: &mut Criterion) {
    let entropy = SystemEntropy::default();
    for (durability, name) in [(Durability::Fsync, "fsync"), (Durability::Os, "os")] {
        let mut group = criterion.benchmark_group(format!("commit/{name}"));
        for size in [1, 16, 256, 4096] {
            let world = LazyCell::new(|| {
                let (folder, store) = on_disk(durability);
                (World::over(Arc::clone(&store), Limits::default()), store, folder)
            });
            group.throughput(Throughput::Elements(size as u64));
            group.bench_function(format!("sets/{size}"), |bencher| {
                let (world, ..) = &*world;
                let sets = || world.creating(&new_ids(&entropy, world.store().clock().wall_ms(), size));
                let commit = |sets| world.system.block_on(world.commit(sets));
                bencher.iter_batched(sets, commit, BatchSize::PerIteration);
            });
            let (bursts, groups) = (Cell::new(0), Cell::new(0));
            group.bench_function(format!("logins/{size}"), |bencher| {
                let (world, store, _) = &*world;
                let before = store.stats().groups.load(Ordering::Relaxed);
                bencher.iter(|| {
                    bursts.set(bursts.get() + 1);
                    let logins = (0..size).map(|_| world.handle.login(KIND, IdForm::Object));
                    let done = world.system.block_on(join_all(logins));
                    assert!(done.iter().all(Result::is_ok));
                });
                groups.set(groups.get() + store.stats().groups.load(Ordering::Relaxed) - before);
            });
            // each burst refreshes users of its own, whom it does not create
            let users = LazyCell::new(|| {
                let (world, ..) = &*world;
                let log_in = || (0..size).map(|_| world.handle.login(SessionKind::V1, IdForm::TimeOrdered));
                let bursts = (0..64).map(|_| world.system.block_on(join_all(log_in())));
                bursts.flatten().map(|login| login.unwrap().user).collect::<Vec<_>>()
            });
            let turn = Cell::new(0);
            group.bench_function(format!("refreshes/{size}"), |bencher| {
                let (world, ..) = &*world;
                let refresh = async |user: UserId| {
                    let counter = u32::from(world.handle.load(&user).unwrap().record.refresh_counter);
                    world.handle.rotate(&user, 1, counter).await.unwrap()
                };
                bencher.iter(|| {
                    turn.set((turn.get() + size) % users.len());
                    let some = &users[turn.get()..turn.get() + size];
                    world.system.block_on(join_all(some.iter().map(|user| refresh(*user))))
                });
            });
            if bursts.get() > 0 {
                let per_burst = groups.get() as f64 / f64::from(bursts.get());
                eprintln!("commit/{name}/logins/{size}: {per_burst:.1} groups a burst\n");
            }
        }
        group.finish();
    }
}

/// More tokens than the small cache below holds, fewer than the large one does.
const TOKENS: usize = 4096;

fn tokens(access: Algorithm, cache_entries: usize) -> Tokens {
    let folder = tempfile::tempdir().unwrap();
    let entropy = SystemEntropy::default();
    let keys = KeyStore::open_or_create(&folder.path().join("keys"), access, false, &entropy, NOW_S).unwrap();
    Tokens::new(keys.ring().unwrap(), "urn:passerby:bench".to_owned(), "bench".to_owned(), 1800, cache_entries)
}

const NOW_S: u64 = 1_800_000_000;

fn access_claims(jti: u32) -> AccessClaims {
    let user = UserId::object(1_700_000_000, [1, 2, 3, 4, 5, 6, 7, 8]);
    let mut random = [0; 12];
    random[..4].copy_from_slice(&jti.to_be_bytes());
    AccessClaims {
        user,
        session: SessionId::derive(&user, 1),
        epoch: 0,
        device: DeviceId::default(),
        kind: KIND,
        issued_at_s: NOW_S,
        jti: random,
    }
}

// What does a token cost to create and to check: under each algorithm, and when the cache knows it?
fn token(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("token");
    for (algorithm, name) in [(Algorithm::EdDSA, "ed25519"), (Algorithm::ES256, "es256"), (Algorithm::HS256, "hs256")] {
        let jti = Cell::new(0);
        let next = || {
            jti.set(jti.get() + 1);
            jti.get()
        };
        let plain = tokens(algorithm, 0);
        group.bench_function(format!("access/mint/{name}"), |bencher| {
            bencher.iter(|| plain.access(&access_claims(next())));
        });
        for (entries, found) in [(32 * TOKENS, "hit"), (TOKENS / 8, "miss")] {
            let known = LazyCell::new(|| {
                let tokens = tokens(algorithm, entries);
                let texts: Vec<_> = (0..TOKENS as u32).map(|jti| tokens.access(&access_claims(jti))).collect();
                // what the large cache remembers from here on, and the small one has forgotten when its turn comes
                assert!(texts.iter().all(|text| tokens.verify_access(text, NOW_S).is_ok()));
                (tokens, texts)
            });
            group.bench_function(format!("access/verify {found}/{name}"), |bencher| {
                let (tokens, texts) = &*known;
                bencher.iter(|| tokens.verify_access(&texts[next() as usize % TOKENS], NOW_S).unwrap());
            });
        }
    }
    let refresh = RefreshClaims {
        user: access_claims(0).user,
        session: access_claims(0).session,
        number: 1,
        counter: 0,
        kind: KIND,
        device: DeviceId::default(),
        issued_at_s: NOW_S,
        lasting: false,
    };
    // always HMAC, whatever signs access tokens, and never in the cache
    let tokens = tokens(Algorithm::EdDSA, 0);
    let text = tokens.refresh(&refresh);
    group.bench_function("refresh/mint", |bencher| bencher.iter(|| tokens.refresh(black_box(&refresh))));
    group.bench_function("refresh/verify", |bencher| {
        bencher.iter(|| tokens.verify_refresh(black_box(&text)).unwrap());
    });
    group.finish();
}

// What does it cost to wake a resting user, over a message to a live one? The operation is one that changes nothing
// (`enable`), so no disk is in it. `resting` runs at the bound `max_live`, as a busy server does: with each activation
// goes its share of looking for the longest idle and of letting them rest. Whoever happens to start that look waits for
// it, and so does its worker: the longest is printed.
fn activation(criterion: &mut Criterion) {
    let limits = Limits::default();
    let clock = SystemClock::default();
    let world = LazyCell::new(|| {
        let world = World::in_memory(limits);
        // when one of them has its turn again, it has been at rest for long
        let ids = world.seed(2 * limits.max_live);
        let (live, _) = ids.split_at(limits.max_live);
        let wake = async {
            for id in live {
                world.handle.enable(id).await.unwrap();
            }
        };
        world.system.block_on(wake);
        (world, ids)
    });
    // timed over many operations at a time, since entering the runtime would cost as much as one of them
    let longest_us = Cell::new(0);
    let run = |iterations: u64, id: &dyn Fn() -> UserId| {
        let began_us = clock.monotonic_us();
        let mut done_us = began_us;
        world.0.system.block_on(async {
            for _ in 0..iterations {
                world.0.handle.enable(&id()).await.unwrap();
                let before_us = std::mem::replace(&mut done_us, clock.monotonic_us());
                longest_us.set(longest_us.get().max(done_us - before_us));
            }
        });
        Duration::from_micros(done_us - began_us)
    };
    let turn = Cell::new(0);
    let next = || {
        turn.set(turn.get() + 1);
        turn.get()
    };
    let mut group = criterion.benchmark_group("activation");
    group.bench_function("live", |bencher| {
        let (_, ids) = &*world;
        let last = &ids[limits.max_live - BATCH..limits.max_live];
        bencher.iter_custom(|iterations| run(iterations, &|| last[next() % BATCH]));
    });
    turn.set(limits.max_live);
    longest_us.set(0);
    group.bench_function("resting", |bencher| {
        let (world, ids) = &*world;
        let activations = || world.core.stats().activations.load(Ordering::Relaxed);
        bencher.iter_custom(|iterations| {
            let before = activations();
            let took = run(iterations, &|| ids[next() % ids.len()]);
            assert_eq!(activations() - before, iterations, "everybody was at rest");
            took
        });
    });
    if longest_us.get() > 0 {
        eprintln!("activation/resting: the longest took {} µs\n", longest_us.get());
    }
    group.finish();
}

// What does a whole round of the janitor cost, which a server spreads over an hour, when no user has expired?
fn sweep(criterion: &mut Criterion) {
    let world = LazyCell::new(|| {
        let world = World::in_memory(Limits::default());
        world.seed(USERS);
        let janitor = world.system.block_on(JanitorHandle::start(Arc::clone(&world.core))).unwrap();
        (world, janitor)
    });
    let mut group = criterion.benchmark_group("sweep");
    group.throughput(Throughput::Elements(USERS as u64));
    group.bench_function("a round, none due", |bencher| {
        let (world, janitor) = &*world;
        let pages = world.store().pages();
        bencher.iter(|| {
            let swept = world.system.block_on(janitor.sweep(pages)).unwrap();
            assert_eq!((swept.pages, swept.expired), (pages, 0));
        });
    });
    group.finish();
}

// Worlds are built outside of what criterion calls, which is called for each sample, and only if a filter lets it be.
// Short, so that the whole file takes two minutes: it shows where time goes, and a doubling, but not a percent.
// What does the largest request at default settings cost, from its text to the stored bytes of a document of 16 KiB: patches that
// touch as much as they may, and far more, and merge patches of the smallest values and of the numbers that are checked longest?
// It shall be 2 ms at most.
fn document(criterion: &mut Criterion) {
    const MOST: usize = 16 * 1024;
    let edit = |change| Edit { change, expected: Expected::Anything, operation: None, origin: None, may_grow: true };
    let object = |json: &str| serde_json::from_str(json).unwrap();
    let stored = |json: &str| {
        let (next, _) = Document::default().edited(&edit(Change::Put(object(json))), 1, MOST).unwrap();
        next.unwrap().encode()
    };
    let full = |begin: &str, item: &str, end: &str, bytes: usize| {
        format!("{begin}{}{end}", vec![item; (bytes - begin.len() - end.len()) / (item.len() + 1)].join(","))
    };
    let list = stored(&full(r#"{"l":["#, "0", r#"],"s":{}}"#, MOST));
    let patch = |operations: &str| full("[", operations, "]", 64 * 1024);
    let there_and_back = |one: &str, other: &str| {
        let moved = |from, path| format!(r#"{{"op":"move","from":"{from}","path":"{path}"}}"#);
        patch(&format!("{},{}", moved(one, other), moved(other, one)))
    };
    let patches = [
        ("moves of the same depth", there_and_back("/l", "/m")),
        ("moves of all, deeper", there_and_back("/l", "/s/l")),
        ("moves through a list", there_and_back("/l/0", "/l/8000")),
        ("tests", patch(r#"{"op":"test","path":"/s","value":{}}"#)),
        ("copies", patch(r#"{"op":"copy","from":"/s","path":"/t"}"#)),
        ("values", full(r#"[{"op":"add","path":"/t","value":["#, "0", "]}]", 64 * 1024)),
    ];
    // as many names as there is room for, each once and in no order
    let members: Vec<_> = (0..7000).map(|n| format!(r#""{:04}":1"#, n * 2503 % 7001)).collect();
    // as many of them as fit into the document and, up to the most that a change may name, what takes others away
    let (there, gone) = (&members[..1600], &members[1600..MOST / 5 - 2]);
    let mixed: Vec<_> = there.iter().cloned().chain(gone.iter().map(|one| one.replace(":1", ":null"))).collect();
    let merges = [
        ("merge of numbers", full(r#"{"t":["#, "0", "]}", 64 * 1024)),
        ("merge of decimals", full(r#"{"t":["#, "0.30000000000000004", "]}", 64 * 1024)),
        ("merge of members", format!(r#"{{"l":null,"t":{{{}}}}}"#, members.join(","))),
        ("merge of objects", full(r#"{"t":["#, r#"{"a":"000000000000"}"#, "]}", 64 * 1024 - 1024)),
        ("merge of members that fit", format!(r#"{{"l":null,"t":{{{}}}}}"#, mixed.join(","))),
    ];
    let mut group = criterion.benchmark_group("document");
    let mut measure = |name: &str, text: &str, change: &dyn Fn(&str) -> Change| {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                if has_more_members(text, MOST / 5) {
                    return None;
                }
                assert_eq!(losses(text), Losses::default());
                let edited = Document::decode(&list).unwrap().edited(&edit(change(text)), 2, MOST);
                Some(edited.map(|(next, _)| next.map(|next| next.encode())))
            });
        });
    };
    for (name, text) in &patches {
        measure(name, text, &|text| Change::Patch(Patch::of(serde_json::from_str(text).unwrap()).unwrap()));
    }
    for (name, text) in &merges {
        measure(name, text, &|text| Change::Merge(serde_json::from_str(text).unwrap()));
    }
    group.finish();
}

criterion_group!(
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_millis(1500))
        .sample_size(20)
        .nresamples(10_000);
    targets = registry, commit_groups, token, activation, sweep, document
);
criterion_main!(benches);
