//! Documents of a live user: many clients that count at once, and how much of a document a start may have to replay.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;
use passerby_actors::testkit::{World, until};

use crate::sockets::{increment, json, put, somebody};

/// A hundred clients that count a thousand times each: the exact sum.
#[actix_rt::test]
async fn a_hundred_thousand_increments_all_count() {
    let world = World::new(1);
    let running = world.open();
    let user = somebody(&running).await;
    let client = async |_| {
        for _ in 0..1000 {
            increment(&running, &user.user, None).await.unwrap();
        }
    };
    join_all((0..100).map(client)).await;
    assert_eq!(json(&running, &user.user), Some(r#"{"n":100000}"#.to_owned()));
}

/// Small changes of a large document are small frames, and each takes a start as long as the document is large.
#[actix_rt::test]
async fn a_journal_that_would_take_long_to_replay_gives_way_to_a_generation() {
    let mut world = World::new(3);
    world.options.min_replay_bytes = 200_000;
    let running = world.open();
    let user = somebody(&running).await.user;
    put(&running, &user, &format!(r#"{{"n":0,"text":"{}"}}"#, "x".repeat(10_000))).await;
    let generations = || running.store.stats().generations.load(Ordering::SeqCst);
    for n in 0..30 {
        assert!(n > 10 || generations() == 0, "{n} changes are not that many");
        increment(&running, &user, None).await.unwrap();
    }
    until("a generation begins", || generations() > 0).await;
    assert!(running.store.stats().journal_bytes.load(Ordering::SeqCst) < 32 << 20);
    running.store.stop();
}
