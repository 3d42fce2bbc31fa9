//! What does a page of users cost when there are many? `cargo bench --bench listing -- --users 10000000`.
//!
//! In one process, over HTTP and through the handle: a page of each filter, in both orders and from the beginning or a random place, and
//! finding a user by anything, each beside the same with 10 000 users, alternately. Through the handle alone: how long the index takes to
//! build, and its memory until it is let go; and how long logins take at half the rate that is possible (open loop) while nobody asks,
//! while the index is built, while it is kept, and while a bulk job deletes users, in turns, on a disk and with `fsync`.
#![allow(clippy::unwrap_used, reason = "a bench has no caller to hand an error to")]

mod asked;
mod filters;
mod http;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use passerby_actors::actor::BulkAction;
use passerby_actors::domain::Clock;
use passerby_actors::handle::UserFilter;
use passerby_benches::logins::{self, Logins};
use passerby_benches::{Arguments, AtMost, Bench, Report, Weight, quantile, resident_bytes};

use crate::http::Served;
use crate::world::{FEW, World};

const MILLION: u64 = 1_000_000;
const SMOKE_USERS: u64 = 30_000;

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
    let folders = [(bench.folder().join("few"), FEW), (bench.folder().join("many"), users)];
    for (folder, users) in &folders {
        // a folder of the app, with its keys
        Served::start(folder, *users).await.end().await;
        let world = World::open(folder, *users);
        world.fill().await;
        if *users != FEW {
            build(&world, &mut report).await;
        }
        world.close();
    }
    let [(few, _), (many, _)] = &folders;
    let mut served = [Served::start(few, FEW).await, Served::start(many, users).await];
    let mut wrong = asked::over_http(&mut served, bench, &mut report).await;
    for served in served {
        served.end().await;
    }

    let [few, many] = folders.map(|(folder, users)| World::open(&folder, users));
    wrong += asked::pages(&few, &many, bench.smoke, &mut report).await;
    wrong += asked::finds(&few, &many, bench.smoke, &mut report).await;
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
    let per_user = |bytes: u64| bytes.saturating_sub(before) as f64 / world.users.0 as f64;
    report.figure("the index of users is built in", took_s, "s");
    report.figure("memory of a user while it is there", per_user(resident()), "B");
    world.let_go().await;
    report.figure("memory of a user when it is let go", per_user(resident()), "B");
}

/// Speed is measured in so many turns.
const TURNS: u64 = 3;
/// A turn's bulk jobs, each after a quiet while as long: what else the machine does hits both.
const JOBS: u64 = 10;

/// Logins beside nothing, beside an index that is built and kept, and beside bulk jobs that delete a million users in all, in turns.
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
    let ratio = median(&|turn| turn.kept / turn.quiet);
    report.targeted("login p99, the index is kept ÷ quiet", ratio, "", AtMost(1.1), Weight::Speed);
    report.figure("login p99, between bulk jobs", median(&|turn| turn.between), "ms");
    report.figure("login p99, a bulk job deletes", median(&|turn| turn.bulk), "ms");
    let ratio = median(&|turn| turn.bulk / turn.between);
    report.targeted("login p99, a bulk job deletes ÷ between", ratio, "", AtMost(2.0), Weight::Speed);
    report.figure("users who are deleted in all", turns.iter().map(|turn| turn.deleted).sum(), "");
    report.figure("which takes", turns.iter().map(|turn| turn.deleting_s).sum(), "s");
    report.figure("logins refused in all", turns.iter().map(|turn| turn.shed as f64).sum(), "");
    wrong
}

/// One turn: what one login in a hundred exceeds (milliseconds), and how long the rest took.
struct Turn {
    quiet: f64,
    built: f64,
    building_s: f64,
    kept: f64,
    between: f64,
    bulk: f64,
    deleted: f64,
    deleting_s: f64,
    missed: u64,
    shed: u64,
}

fn p99_ms(logins: &mut Logins) -> f64 {
    quantile(&mut logins.took_us, 0.99) as f64 / 1000.0
}

fn join(all: &mut Logins, some: Logins) {
    all.took_us.extend(some.took_us);
    all.shed += some.shed;
}

async fn turn(world: &World, rate: f64, seconds: Duration, turn: u64) -> Turn {
    world.let_go().await;
    let (mut quiet, ()) = logins::open_loop(&world.handle, rate, tokio::time::sleep(seconds)).await;
    let (mut built, building_s) = logins::open_loop(&world.handle, rate, async {
        let took_s = world.build().await;
        tokio::time::sleep(seconds / 10).await;
        took_s
    })
    .await;
    let (mut kept, ()) = logins::open_loop(&world.handle, rate, tokio::time::sleep(seconds)).await;

    let (mut between, mut bulk) = (Logins::default(), Logins::default());
    let (mut deleted, mut deleting_s, mut missed) = (0, 0.0, 0);
    let most = MILLION.min(world.users.0 / 2) / TURNS / JOBS;
    for number in turn * JOBS..(turn + 1) * JOBS {
        let created = Some(world.users.created_of(number * most..(number + 1) * most));
        let filter = UserFilter { created, ..UserFilter::default() };
        let expected = world.handle.count_users(filter.clone()).await.unwrap().unwrap() as u64;
        let began_us = world.clock.monotonic_us();
        let (some, ()) = logins::open_loop(&world.handle, rate, async {
            let job = world.handle.begin_bulk(BulkAction::Delete, filter, false).unwrap();
            job.ended().await;
        })
        .await;
        let took = Duration::from_micros(world.clock.monotonic_us() - began_us);
        join(&mut bulk, some);
        let removed = world.handle.bulk().unwrap().tally.removed;
        (deleted, deleting_s, missed) =
            (deleted + removed, deleting_s + took.as_secs_f64(), missed + expected.abs_diff(removed));
        let (some, ()) = logins::open_loop(&world.handle, rate, tokio::time::sleep(took)).await;
        join(&mut between, some);
    }
    Turn {
        quiet: p99_ms(&mut quiet),
        built: p99_ms(&mut built),
        building_s,
        kept: p99_ms(&mut kept),
        between: p99_ms(&mut between),
        bulk: p99_ms(&mut bulk),
        deleted: deleted as f64,
        deleting_s,
        missed,
        shed: quiet.shed + built.shed + kept.shed + between.shed + bulk.shed,
    }
}
