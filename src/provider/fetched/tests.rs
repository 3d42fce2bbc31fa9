//! For how long a fetched value is used, and when it is asked for again.

use std::cell::Cell;
use std::future::ready;

use super::*;

const T0: u64 = 1_800_000_000;

fn down() -> FetchError {
    FetchError::Answer { origin: "https://idp.example".to_owned(), reason: "down".to_owned() }
}

/// An issuer whose answers are numbered; `None` while it is down.
struct Issuer {
    asked: Cell<u32>,
    up: Cell<bool>,
}

impl Issuer {
    async fn ask(&self) -> Result<u32, FetchError> {
        self.asked.set(self.asked.get() + 1);
        if self.up.get() { Ok(self.asked.get()) } else { Err(down()) }
    }
}

#[tokio::test]
async fn a_value_is_used_for_an_hour_and_for_a_day_if_no_other_is_to_be_had() {
    let (fetched, issuer) = (Fetched::new("custom-token"), Issuer { asked: Cell::new(0), up: Cell::new(true) });
    let value = async |at: u64| fetched.current(T0 + at, issuer.ask()).await.map(|value| *value);
    assert_eq!(value(0).await, Ok(1));
    assert_eq!(value(MAX_AGE_S - 1).await, Ok(1));
    assert_eq!(value(MAX_AGE_S).await, Ok(2));
    issuer.up.set(false);
    let stale = 2 * MAX_AGE_S;
    assert_eq!(value(stale).await, Ok(2));
    assert_eq!(value(stale + REFRESH_INTERVAL_S - 1).await, Ok(2));
    assert_eq!(issuer.asked.get(), 3, "once a minute while it is down");
    assert_eq!(value(stale + REFRESH_INTERVAL_S).await, Ok(2));
    assert_eq!(issuer.asked.get(), 4);
    assert_eq!(value(MAX_AGE_S + MAX_STALE_S - 1).await, Ok(2));
    assert_eq!(value(MAX_AGE_S + MAX_STALE_S + REFRESH_INTERVAL_S).await, Err(down()));
    issuer.up.set(true);
    assert_eq!(value(MAX_AGE_S + MAX_STALE_S + 2 * REFRESH_INTERVAL_S).await, Ok(7));
}

#[tokio::test]
async fn an_issuer_that_is_down_from_the_start_is_asked_again_soon() {
    let (fetched, issuer) = (Fetched::new("custom-token"), Issuer { asked: Cell::new(0), up: Cell::new(false) });
    let value = async |at: u64| fetched.current(T0 + at, issuer.ask()).await.map(|value| *value);
    assert_eq!(value(0).await, Err(down()));
    issuer.up.set(true);
    assert_eq!(value(RETRY_INTERVAL_S - 1).await, Err(down()));
    assert_eq!(issuer.asked.get(), 1);
    assert_eq!(value(RETRY_INTERVAL_S).await, Ok(2));
}

#[tokio::test]
async fn what_is_missed_is_asked_for_once_a_minute() {
    let (fetched, issuer) = (Fetched::new("custom-token"), Issuer { asked: Cell::new(0), up: Cell::new(true) });
    let first = fetched.current(T0, issuer.ask()).await.unwrap();
    let newer = async |at: u64| fetched.newer(Arc::clone(&first), T0 + at, issuer.ask()).await.map(|value| *value);
    assert_eq!(newer(REFRESH_INTERVAL_S - 1).await, Ok(1));
    issuer.up.set(false);
    assert_eq!(newer(REFRESH_INTERVAL_S).await, Err(down()), "nobody knows whether it is there");
    issuer.up.set(true);
    assert_eq!(newer(2 * REFRESH_INTERVAL_S - 1).await, Err(down()));
    let current = fetched.current(T0 + 2 * REFRESH_INTERVAL_S - 1, issuer.ask()).await;
    assert_eq!(current.map(|value| *value), Ok(1), "what is there stays");
    assert_eq!(newer(2 * REFRESH_INTERVAL_S).await, Ok(3));
    assert_eq!(newer(9 * REFRESH_INTERVAL_S).await, Ok(3), "somebody else has got a newer one already");
    assert_eq!(issuer.asked.get(), 3);
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_nothing_young() {
    let fetched = Fetched::new("custom-token");
    fetched.current(T0, ready(Ok(1))).await.unwrap();
    assert_eq!(fetched.current(T0 - 2 * MAX_AGE_S, ready(Ok(2))).await.map(|value| *value), Ok(2));
}

#[tokio::test]
async fn many_at_once_cause_one_fetch() {
    let (fetched, issuer) = (Fetched::new("custom-token"), Issuer { asked: Cell::new(0), up: Cell::new(true) });
    let one = || {
        fetched.current(T0, async {
            tokio::task::yield_now().await;
            issuer.ask().await
        })
    };
    let all = futures_util::future::join_all((0..100).map(|_| one())).await;
    assert!(all.into_iter().all(|value| value.is_ok_and(|value| *value == 1)));
    assert_eq!(issuer.asked.get(), 1);
}
