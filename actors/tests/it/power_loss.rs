//! Power losses: 200 rounds on a file layer that afterwards drops or tears whatever was not synced.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use passerby_actors::testkit::faulty::Faulty;
use passerby_actors::testkit::{Random, World};

use crate::load::{Fact, Ledger, client};

const ROUNDS: u64 = 200;

#[actix_rt::test]
async fn every_acknowledged_change_survives_two_hundred_losses_of_power() {
    let folder = tempfile::tempdir().unwrap();
    let mut dir: PathBuf = folder.path().join("round-0");
    std::fs::create_dir(&dir).unwrap();
    let mut ledger = Ledger::default();
    let (mut generations, mut torn) = (0, 0);
    for round in 0..ROUNDS {
        let context = format!("round {round}");
        let mut random = Random(round);
        let files = Faulty::new();
        files.trust(&dir);
        let next = folder.path().join(format!("round-{}", round + 1));
        let mut world = World::over(&dir.join("data"), round, files.clone());
        world.options.min_journal_bytes = 2000;

        // some losses come while it is still starting: after so many syncs
        if round % 5 == 4 {
            let lost_after = random.below(12) as u64;
            let (before, watched) = (files.syncs(), files.clone());
            let root = dir.clone();
            let image = next.clone();
            let opener = std::thread::spawn(move || world.try_open().map(drop).is_ok());
            while watched.syncs() < before + lost_after && !opener.is_finished() {
                std::thread::yield_now();
            }
            watched.lose_power(&root, &image, &mut random);
            opener.join().unwrap();
            dir = next;
            continue;
        }

        let running = match world.try_open() {
            Ok(store) => world.run(store),
            Err(error) => panic!("{context}: {error}"),
        };
        torn += u64::from(running.store.opened().torn_bytes > 0);
        ledger.check(&*running.store, &context);
        let facts = RefCell::new(Vec::<Fact>::new());
        let say = |fact| facts.borrow_mut().push(fact);
        let operations = 1 + random.below(60);
        let clients = (0..4).map(|n| client(&running.handle, Random(round * 100 + n), operations, &say));
        let mut load = Box::pin(futures_util::future::join_all(clients));
        // the power goes between an append and its sync, in the middle of the load, or at its end
        if random.one_in(2) {
            files.die_at_append(random.below(30) as u64);
        }
        let polls = random.below(120);
        let mut polled = 0;
        std::future::poll_fn(|context| {
            polled += 1;
            if polled > polls || files.is_dead() {
                std::task::Poll::Ready(())
            } else {
                load.as_mut().poll(context).map(drop)
            }
        })
        .await;
        if random.one_in(3) {
            running.store.new_generation();
            // half of them are complete when the power goes, however busy the machine is, unless the disk is gone before
            let stats = running.store.stats();
            let is_over = || {
                let counters = [&stats.generations, &stats.generation_failures];
                files.is_dead() || counters.iter().any(|counter| counter.load(Ordering::SeqCst) > 0)
            };
            let patience_ms = if random.one_in(2) { 60_000 } else { random.below(30) };
            for _ in 0..patience_ms {
                if is_over() {
                    break;
                }
                std::thread::park_timeout(std::time::Duration::from_millis(1));
            }
        }
        // what is acknowledged is acknowledged before the power goes
        let acknowledged = facts.borrow().len();
        files.lose_power(&dir, &next, &mut random);
        drop(load);
        generations += running.store.stats().generations.load(Ordering::SeqCst);
        running.close();
        facts.borrow().iter().take(acknowledged).for_each(|fact| ledger.note(*fact));
        std::fs::remove_dir_all(&dir).unwrap();
        dir = next;
    }
    assert!(ledger.len() > 1000 && generations > 10 && torn > 10, "{} {generations} {torn}", ledger.len());
}
