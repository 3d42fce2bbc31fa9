//! What does a page of users cost when there are many? `cargo bench --bench listing -- --users 10000000`.
//!
//! In one process, through the handle: how long the index takes to build, and its memory until it is let go; a page of each filter,
//! in both orders and from the beginning or a random place, beside the same with 10 000 users; finding a user by an id, an identity, an
//! e-mail address or a session beside the same; and how long logins take at half the rate that is possible (open loop) while nobody
//! asks, while the index is built, while it is kept, and while a bulk job deletes users, in turns, on a disk and with `fsync`.
#![allow(clippy::unwrap_used, reason = "a bench has no caller to hand an error to")]

mod world;

use std::ops::Range;
use std::process::ExitCode;
use std::time::Duration;

use passerby_actors::actor::BulkAction;
use passerby_actors::domain::{Clock, ServiceTime, SessionId};
use passerby_actors::handle::{UserFilter, UserQuery};
use passerby_actors::testkit::Random;
use passerby_benches::logins::{self, Logins};
use passerby_benches::{Arguments, AtMost, Bench, Report, Weight, quantile, resident_bytes};

use crate::world::{FEW, PROVIDERS, World};

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
    let with = |change: &dyn Fn(&mut UserFilter)| {
        let mut filter = UserFilter::default();
        change(&mut filter);
        filter
    };
    let provider = |name: &str| with(&|filter| filter.provider = Some(name.into()));
    let seen = |seen: Range<ServiceTime>| with(&|filter| filter.seen = Some(seen.clone()));
    vec![
        ("everybody", UserFilter::default()),
        ("anonymous", with(&|filter| filter.anonymous = Some(true))),
        ("accounts", with(&|filter| filter.anonymous = Some(false))),
        ("disabled", with(&|filter| filter.disabled = Some(true))),
        ("never came back", with(&|filter| filter.unused = Some(true))),
        ("with a document", with(&|filter| filter.document = Some(true))),
        ("of a provider", provider(PROVIDERS[1])),
        ("of a provider of three users", provider(world::RARE)),
        ("of a provider that nobody has", provider("nobody-has-it")),
        ("created in one of ninety days", with(&|filter| filter.created = Some(world::day(40)))),
        ("created before all", with(&|filter| filter.created = Some(0..1))),
        ("last seen in an hour", seen(world::hour(3))),
        ("last seen in a second", seen(world::second(7))),
        ("last seen before all", seen(0..1)),
        ("last seen by now", seen(0..ServiceTime::MAX)),
        // each of them a few in a hundred, and nobody all of it
        (
            "disabled accounts with a document",
            with(&|filter| {
                (filter.anonymous, filter.disabled, filter.document) = (Some(false), Some(true), Some(true))
            }),
        ),
    ]
}

/// Pages in both orders, from the beginning or a random place. Answers how many were not as they must be.
async fn pages(few: &World, many: &World, is_smoke: bool, report: &mut Report) -> u64 {
    let (mut random, mut wrong) = (Random(1), 0);
    let rounds = if is_smoke { 20 } else { 300 };
    for (name, filter) in filters() {
        let (mut took, mut shown) = ([Vec::new(), Vec::new()], 0);
        // round about, so that both are as warm
        for round in 0..rounds {
            let newest_first = round % 2 == 0;
            for (at, world) in [few, many].into_iter().enumerate() {
                let after = (round % 4 > 1).then(|| world.id(random.next() % world.users));
                let query = UserQuery { filter: filter.clone(), newest_first, after, limit: PAGE };
                let began_us = world.clock.monotonic_us();
                let page = world.handle.users(query).await.unwrap();
                took[at].push(world.clock.monotonic_us() - began_us);
                let created = page.users.iter().map(|user| user.id.created_ms());
                wrong += u64::from(!if newest_first { created.rev().is_sorted() } else { created.is_sorted() });
                if at == 1 {
                    shown += page.users.len();
                }
            }
        }
        let [of_few, of_many] = took.map(|mut took| quantile(&mut took, 0.5) as f64);
        report.figure(format!("page, {name}: {} users in the mean", shown / rounds), of_many / 1000.0, "ms");
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
                let found = world.handle.find(&text, &PROVIDERS);
                took[at].push(world.clock.monotonic_us() - began_us);
                wrong += u64::from(found.first().map(|(id, _)| *id) != Some(world.id(number)));
            }
        }
        // a call takes about as long as the clock can tell
        let [of_few, of_many] = took.map(|took| took.iter().sum::<u64>() as f64 / rounds as f64);
        report.figure(format!("finding a user by {by}"), of_many, "µs");
        report.targeted(format!("by {by}: ÷ 10 000 users"), of_many / of_few, "", AtMost(3.0), Weight::Speed);
    }
    // the first search reads every user, and keeps what it found until the index is let go
    let before = resident();
    for by in ["session", "e-mail address"] {
        let mut took = [Vec::new(), Vec::new()];
        for round in 0..=rounds {
            for (at, world) in [few, many].into_iter().enumerate() {
                // an account, or anonymous and with the session that began with the user
                let number = random.next() % (world.users / 5) * 5;
                let (number, text) = match by {
                    "session" => (number + 1, SessionId::derive(&world.id(number + 1), 1).to_string()),
                    _ => (number, world::email(number)),
                };
                let began_us = world.clock.monotonic_us();
                let found = world.handle.find_holder(&text).await.unwrap();
                let us = world.clock.monotonic_us() - began_us;
                wrong += u64::from(found.map(|(user, _)| user.id) != Some(world.id(number)));
                if round > 0 {
                    took[at].push(us);
                } else if at == 1 && by == "session" {
                    report.figure("the first search for a session", us as f64 / 1e6, "s");
                    let bytes = resident().saturating_sub(before);
                    report.figure("memory of a user that it leaves", bytes as f64 / world.users as f64, "B");
                }
            }
        }
        let [of_few, of_many] = took.map(|mut took| quantile(&mut took, 0.5) as f64);
        report.figure(format!("finding a user by {by}"), of_many, "µs");
        report.targeted(format!("by {by}: ÷ 10 000 users"), of_many / of_few, "", AtMost(3.0), Weight::Speed);
    }
    wrong
}

/// Speed is measured in so many turns.
const TURNS: u64 = 3;

/// Logins beside nothing, beside an index that is built and kept, and beside a bulk job, in turns: the machine's other work changes.
/// Answers how many users were not deleted who had to be.
async fn disturbances(world: &World, is_smoke: bool, report: &mut Report) -> u64 {
    let seconds = Duration::from_secs(if is_smoke { 1 } else { 10 });
    let rate = world.logins_per_s(seconds / 5).await / 2.0;
    report.figure("logins at half the rate that is possible", rate, "/s");
    let (mut turns, mut wrong) = (Vec::new(), 0);
    for turn in 0..TURNS {
        let measured = self::turn(world, rate, seconds, turn).await;
        wrong += measured.missed;
        turns.push(measured);
    }
    let median = |of: &dyn Fn(&Turn) -> f64| {
        let mut values: Vec<_> = turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    report.figure("login p99, quiet", median(&|turn| turn.quiet), "ms");
    report.figure("login p99, the index is built", median(&|turn| turn.built), "ms");
    report.figure("building it beside the logins", median(&|turn| turn.building_s), "s");
    report.figure("login p99, the index is kept", median(&|turn| turn.kept), "ms");
    report.figure("login p99, a bulk job deletes", median(&|turn| turn.bulk), "ms");
    let ratio = median(&|turn| turn.kept / turn.quiet);
    report.targeted("login p99, the index is kept ÷ quiet", ratio, "", AtMost(1.1), Weight::Speed);
    let ratio = median(&|turn| turn.bulk / turn.quiet);
    report.targeted("login p99, a bulk job deletes ÷ quiet", ratio, "", AtMost(2.0), Weight::Speed);
    report.figure("users whom each job deletes", median(&|turn| turn.deleted), "");
    report.figure("which takes", median(&|turn| turn.deleting_s), "s");
    report.figure("logins refused in all", turns.iter().map(|turn| turn.shed as f64).sum(), "");
    wrong
}

/// One turn: what one login in a hundred exceeds (milliseconds), and how long the rest took.
struct Turn {
    quiet: f64,
    built: f64,
    building_s: f64,
    kept: f64,
    bulk: f64,
    deleted: f64,
    deleting_s: f64,
    missed: u64,
    shed: u64,
}

async fn turn(world: &World, rate: f64, seconds: Duration, turn: u64) -> Turn {
    let p99_ms = |logins: &mut Logins| quantile(&mut logins.took_us, 0.99) as f64 / 1000.0;
    world.let_go().await;
    let (mut quiet, ()) = logins::open_loop(&world.handle, rate, tokio::time::sleep(seconds)).await;
    let (mut built, building_s) = logins::open_loop(&world.handle, rate, async {
        let took_s = world.build().await;
        tokio::time::sleep(seconds / 10).await;
        took_s
    })
    .await;
    let (mut kept, ()) = logins::open_loop(&world.handle, rate, tokio::time::sleep(seconds)).await;

    let most = MILLION.min(world.users / 2 / TURNS);
    let filter =
        UserFilter { created: Some(world.created_of(turn * most..(turn + 1) * most)), ..UserFilter::default() };
    let expected = world.handle.count_users(filter.clone()).await.unwrap().unwrap() as u64;
    let began_us = world.clock.monotonic_us();
    let (mut bulk, ()) = logins::open_loop(&world.handle, rate, async {
        let job = world.handle.begin_bulk(BulkAction::Delete, filter, false).unwrap();
        job.ended().await;
    })
    .await;
    let deleting_s = (world.clock.monotonic_us() - began_us) as f64 / 1e6;
    let deleted = world.handle.bulk().unwrap().tally.removed;
    Turn {
        quiet: p99_ms(&mut quiet),
        built: p99_ms(&mut built),
        building_s,
        kept: p99_ms(&mut kept),
        bulk: p99_ms(&mut bulk),
        deleted: deleted as f64,
        deleting_s,
        missed: expected.abs_diff(deleted),
        shed: quiet.shed + built.shed + kept.shed + bulk.shed,
    }
}
