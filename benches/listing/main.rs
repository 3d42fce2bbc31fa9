//! What does a page of users cost when there are many? `cargo bench --bench listing -- --users 10000000`.
//!
//! In one process, through the handle: how long the index takes to build, and its memory until it is let go; a page of each filter,
//! from a random place, beside the same with 10 000 users; finding a user by an id, an identity or a session
//! beside the same; and how long logins take at half the rate that is possible (open loop) while nobody asks, while the index is kept,
//! while it is built, and while a bulk job deletes users, on a disk and with `fsync`.
#![allow(clippy::unwrap_used, reason = "a bench has no caller to hand an error to")]

mod world;

use std::process::ExitCode;
use std::time::Duration;

use passerby_actors::actor::BulkAction;
use passerby_actors::domain::{Clock, SessionId};
use passerby_actors::handle::{UserFilter, UserQuery};
use passerby_actors::testkit::Random;
use passerby_benches::{Arguments, AtMost, Bench, Report, Weight, logins, quantile, resident_bytes};

use crate::world::{FEW, World, of_provider};

const MILLION: u64 = 1_000_000;
const SMOKE_USERS: u64 = 30_000;
/// Users of a page.
const PAGE: usize = 50;

#[derive(clap::Args)]
struct Own {
    /// How many users.
    #[arg(long, default_value_t = MILLION)]
    users: u64,
}

fn main() -> ExitCode {
    let measure = |own: &Own, bench: &Bench| actix_rt::System::new().block_on(measure(own, bench));
    Arguments::<Own>::read().measure("listing", env!("CARGO_TARGET_TMPDIR"), measure)
}

async fn measure(own: &Own, bench: &Bench) -> bool {
    let users = if bench.smoke { SMOKE_USERS } else { own.users };
    let mut report = bench.report();
    report.detail("users", users);
    let few = World::open(&bench.folder().join("few"), FEW).await;
    let many = World::open(&bench.folder().join("many"), users).await;
    build(&many, &mut report).await;
    let mut wrong = pages(&few, &many, bench.smoke, &mut report).await;
    wrong += finds(&few, &many, bench.smoke, &mut report).await;
    wrong += disturbances(&many, bench.smoke, &mut report).await;
    report.targeted("answers that were wrong", wrong as f64, "", AtMost(0.0), Weight::Bound);
    for world in [few, many] {
        world.close();
    }
    report.finish()
}

fn resident() -> u64 {
    passerby::allocator::give_back();
    resident_bytes("self")
}

async fn build(world: &World, report: &mut Report) {
    let before = resident();
    let took_s = world.build().await;
    let per_user = |bytes: u64| bytes.saturating_sub(before) as f64 / world.users as f64;
    report.figure("the index of users is built in", took_s, "s");
    report.figure("memory of a user while it is there", per_user(resident()), "B");
    world.let_go().await;
    report.figure("memory of a user when it is let go", per_user(resident()), "B");
}

/// Filters by their names.
fn filters() -> Vec<(&'static str, UserFilter)> {
    let all = UserFilter::default();
    let with = |change: &dyn Fn(&mut UserFilter)| {
        let mut filter = all.clone();
        change(&mut filter);
        filter
    };
    vec![
        ("everybody", all.clone()),
        ("anonymous", with(&|filter| filter.anonymous = Some(true))),
        ("accounts", with(&|filter| filter.anonymous = Some(false))),
        ("disabled", with(&|filter| filter.disabled = Some(true))),
        ("never came back", with(&|filter| filter.unused = Some(true))),
        ("with a document", with(&|filter| filter.document = Some(true))),
        ("of a provider", with(&|filter| filter.provider = Some(of_provider(1).into()))),
        ("created in one of ninety days", with(&|filter| filter.created = Some(world::day(40)))),
        ("last seen in an hour", with(&|filter| filter.seen = Some(world::hour(3)))),
        (
            "accounts, disabled, with a document",
            with(&|filter| {
                (filter.anonymous, filter.disabled, filter.document) = (Some(false), Some(true), Some(true))
            }),
        ),
    ]
}

/// Pages from random places. Answers how many were not as they must be.
async fn pages(few: &World, many: &World, is_smoke: bool, report: &mut Report) -> u64 {
    let (mut random, mut wrong) = (Random(1), 0);
    let rounds = if is_smoke { 20 } else { 300 };
    for (name, filter) in filters() {
        let (mut took, mut full) = ([Vec::new(), Vec::new()], [0; 2]);
        // round about, so that both are as warm
        for _ in 0..rounds {
            for (at, world) in [few, many].into_iter().enumerate() {
                // among the newer half, so that a page is full
                let after = world.id(world.users / 2 + random.next() % (world.users / 2));
                let after = filter.created.is_none().then_some(after);
                let query = UserQuery { filter: filter.clone(), newest_first: true, after, limit: PAGE };
                let began_us = world.clock.monotonic_us();
                let page = world.handle.users(query).await.unwrap();
                took[at].push(world.clock.monotonic_us() - began_us);
                full[at] += page.users.len();
                wrong += u64::from(page.users.windows(2).any(|pair| pair[0].id.created_ms() < pair[1].id.created_ms()));
            }
        }
        let [of_few, of_many] = took.map(|mut took| quantile(&mut took, 0.5) as f64);
        report.figure(format!("page, {name}: {} users in the mean", full[1] / rounds), of_many / 1000.0, "ms");
        report.targeted(format!("page, {name}: ÷ 10 000 users"), of_many / of_few, "", AtMost(3.0), Weight::Speed);
    }
    wrong
}

async fn finds(few: &World, many: &World, is_smoke: bool, report: &mut Report) -> u64 {
    let (mut random, mut wrong) = (Random(2), 0);
    let rounds = if is_smoke { 20 } else { 2000 };
    for by in ["id", "identity"] {
        let mut took = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (at, world) in [few, many].into_iter().enumerate() {
                let number = random.next() % (world.users / 5) * 5;
                let text = if by == "id" { world.id(number).to_string() } else { world::external(number) };
                let began_us = world.clock.monotonic_us();
                let found = world.handle.find(&text, &world::PROVIDERS);
                took[at].push(world.clock.monotonic_us() - began_us);
                wrong += u64::from(found.first().map(|(id, _)| *id) != Some(world.id(number)));
            }
        }
        // a call takes about as long as the clock can tell
        let [of_few, of_many] = took.map(|took| took.iter().sum::<u64>() as f64 / rounds as f64);
        report.figure(format!("finding a user by an {by}"), of_many, "µs");
        report.targeted(format!("by an {by}: ÷ 10 000 users"), of_many / of_few, "", AtMost(3.0), Weight::Speed);
    }
    // by a session: the first search reads every user, and keeps what it found until the index is let go
    let before = resident();
    let mut took = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (at, world) in [few, many].into_iter().enumerate() {
            // anonymous, and with the session that they began with
            let number = random.next() % (world.users / 5) * 5 + 1;
            let session = SessionId::derive(&world.id(number), 1).to_string();
            let began_us = world.clock.monotonic_us();
            let found = world.handle.find_holder(&session).await.unwrap();
            let us = world.clock.monotonic_us() - began_us;
            wrong += u64::from(found.map(|(user, _)| user.id) != Some(world.id(number)));
            if round > 0 {
                took[at].push(us);
            } else if at == 1 {
                report.figure("the first search for a session", us as f64 / 1e6, "s");
                let bytes = resident().saturating_sub(before);
                report.figure("memory of a user that it leaves", bytes as f64 / world.users as f64, "B");
            }
        }
    }
    let [of_few, of_many] = took.map(|mut took| quantile(&mut took, 0.5) as f64);
    report.figure("finding a user by a session", of_many, "µs");
    report.targeted("by a session: ÷ 10 000 users", of_many / of_few, "", AtMost(3.0), Weight::Speed);
    wrong
}

/// Logins beside nothing, beside an index, beside one that is built, and beside a bulk job.
async fn disturbances(world: &World, is_smoke: bool, report: &mut Report) -> u64 {
    let seconds = Duration::from_secs(if is_smoke { 1 } else { 10 });
    let rate = world.logins_per_s(seconds / 5).await / 2.0;
    report.figure("logins at half the rate that is possible", rate, "/s");
    let p99_ms = |mut took: Vec<u64>| quantile(&mut took, 0.99) as f64 / 1000.0;

    world.let_go().await;
    let (quiet, ()) = logins::open_loop(&world.handle, rate, tokio::time::sleep(seconds)).await;
    let quiet_ms = p99_ms(quiet.took_us);
    report.figure("login p99, quiet", quiet_ms, "ms");

    let (built, took_s) = logins::open_loop(&world.handle, rate, async {
        let took_s = world.build().await;
        tokio::time::sleep(seconds / 10).await;
        took_s
    })
    .await;
    report.figure("login p99, the index is built", p99_ms(built.took_us), "ms");
    report.figure("building it beside the logins", took_s, "s");
    let (kept, ()) = logins::open_loop(&world.handle, rate, tokio::time::sleep(seconds)).await;
    report.targeted(
        "login p99, the index is kept ÷ quiet",
        p99_ms(kept.took_us) / quiet_ms,
        "",
        AtMost(1.1),
        Weight::Speed,
    );

    let most = MILLION.min(world.users / 2);
    let filter = UserFilter { created: Some(world.created_of_first(most)), ..UserFilter::default() };
    let expected = world.handle.count_users(filter.clone()).await.unwrap() as u64;
    let began_us = world.clock.monotonic_us();
    let (bulk, ()) = logins::open_loop(&world.handle, rate, async {
        let job = world.handle.begin_bulk(BulkAction::Delete, filter, false).unwrap();
        job.ended().await;
    })
    .await;
    let took_s = (world.clock.monotonic_us() - began_us) as f64 / 1e6;
    let removed = world.handle.bulk().unwrap().tally.removed;
    report.figure("users deleted by a bulk job", removed as f64, "");
    report.figure("which took", took_s, "s");
    report.targeted(
        "login p99, a bulk job deletes ÷ quiet",
        p99_ms(bulk.took_us) / quiet_ms,
        "",
        AtMost(2.0),
        Weight::Speed,
    );
    quiet.shed + built.shed + kept.shed + bulk.shed + expected.abs_diff(removed)
}
