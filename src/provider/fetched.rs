//! What is fetched from an issuer and kept for a while: its keys, its endpoints.

use std::sync::Arc;

use hyper::Request;
use hyper::header::ACCEPT;
use parking_lot::Mutex;
use serde_json::Value;

use crate::outbound::{Failure, Outbound, OutboundError};

/// Seconds for which what was fetched is used without asking again.
pub const MAX_AGE_S: u64 = 3600;
/// Seconds for which it is used if the issuer cannot be asked; from then on a withdrawn key is refused for sure.
pub const MAX_STALE_S: u64 = 86_400;
/// Seconds between two attempts while there is a value, also for a key that is not in it.
pub const REFRESH_INTERVAL_S: u64 = 60;
/// Seconds between two attempts while there is no value.
pub const RETRY_INTERVAL_S: u64 = 5;

/// Why an issuer could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// There was no answer.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The answer is not what was asked for.
    #[error("{origin}: {reason}")]
    Answer {
        /// Scheme, host and port of what was asked.
        origin: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl FetchError {
    /// Something is wrong with what the server of this URL answers.
    pub(super) fn of(url: &str, reason: impl Into<String>) -> Self {
        let origin = url::Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        Self::Answer { origin, reason: reason.into() }
    }
}

/// The JSON that is published at `url`.
pub(super) async fn fetch_json(outbound: &Outbound, url: &str) -> Result<Value, FetchError> {
    let origin = outbound.check(url)?.origin().ascii_serialization();
    let request = Request::get(url).header(ACCEPT, "application/json, application/jwk-set+json").body(Vec::new());
    let bad_url = |_| OutboundError { origin: origin.clone(), failure: Failure::BadUrl };
    let response = outbound.send(request.map_err(bad_url)?).await?;
    let wrong = |reason: String| FetchError::Answer { origin: origin.clone(), reason };
    if response.status() != 200 {
        return Err(wrong(format!("answers with status {}", response.status().as_u16())));
    }
    serde_json::from_slice(response.body()).map_err(|_| wrong("the answer is not JSON".to_owned()))
}

/// A value that is fetched when it is first needed. Only one fetch runs at a time.
pub(super) struct Fetched<T> {
    /// The provider that it is fetched for.
    provider: String,
    held: Mutex<Held<T>>,
    fetching: tokio::sync::Mutex<()>,
}

struct Held<T> {
    value: Option<(Arc<T>, u64)>,
    tried: Option<(u64, Option<FetchError>)>,
}

/// What is to be done about a value.
enum Step<T> {
    Use(Arc<T>),
    /// There is nothing to use, and asking has failed a moment ago.
    Fail(FetchError),
    /// Fetch, and use the old value if that fails.
    Fetch(Option<Arc<T>>),
}

impl<T> Fetched<T> {
    pub(super) fn new(provider: &str) -> Self {
        let held = Mutex::new(Held { value: None, tried: None });
        Self { provider: provider.to_owned(), held, fetching: tokio::sync::Mutex::new(()) }
    }

    /// The value at `now_s` (Unix seconds), fetched by `fetch` if there is none or it is too old.
    ///
    /// # Errors
    /// If there is none and it cannot be fetched.
    pub(super) async fn current(
        &self,
        now_s: u64,
        fetch: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<Arc<T>, FetchError> {
        let _fetching = match self.step(now_s) {
            Step::Use(value) => return Ok(value),
            Step::Fail(error) => return Err(error),
            // another task is at it: there is no need to wait as long as the old value may be used
            Step::Fetch(Some(old)) => match self.fetching.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(old),
            },
            Step::Fetch(None) => self.fetching.lock().await,
        };
        match self.step(now_s) {
            Step::Use(value) => Ok(value),
            Step::Fail(error) => Err(error),
            Step::Fetch(old) => match (self.fetch(now_s, fetch).await, old) {
                (Ok(value), _) | (Err(_), Some(value)) => Ok(value),
                (Err(error), None) => Err(error),
            },
        }
    }

    /// A newer value than `known`, in which something was missed; `known` itself if the last attempt was less than
    /// [`REFRESH_INTERVAL_S`] ago.
    ///
    /// # Errors
    /// There is none to be had: what is missing may exist, and no caller is told that it does not.
    pub(super) async fn newer(
        &self,
        known: Arc<T>,
        now_s: u64,
        fetch: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<Arc<T>, FetchError> {
        let _fetching = self.fetching.lock().await;
        let (other, tried, failed) = {
            let held = self.held.lock();
            let other = held.value.as_ref().map(|(value, _)| Arc::clone(value));
            let failed = held.tried.as_ref().and_then(|(_, error)| error.clone());
            (other.filter(|value| !Arc::ptr_eq(value, &known)), held.tried_within(now_s, REFRESH_INTERVAL_S), failed)
        };
        match other {
            Some(other) => Ok(other),
            None if tried => failed.map_or(Ok(known), Err),
            None => self.fetch(now_s, fetch).await,
        }
    }

    fn step(&self, now_s: u64) -> Step<T> {
        let held = self.held.lock();
        // a clock that was set back makes everything old, never young
        match &held.value {
            Some((value, at)) if now_s.abs_diff(*at) < MAX_AGE_S => Step::Use(Arc::clone(value)),
            Some((value, at)) if now_s.abs_diff(*at) < MAX_STALE_S => {
                if held.tried_within(now_s, REFRESH_INTERVAL_S) {
                    Step::Use(Arc::clone(value))
                } else {
                    Step::Fetch(Some(Arc::clone(value)))
                }
            }
            _ => match &held.tried {
                Some((_, Some(error))) if held.tried_within(now_s, RETRY_INTERVAL_S) => Step::Fail(error.clone()),
                _ => Step::Fetch(None),
            },
        }
    }

    async fn fetch(
        &self,
        now_s: u64,
        fetch: impl Future<Output = Result<T, FetchError>>,
    ) -> Result<Arc<T>, FetchError> {
        let outcome = fetch.await.map(Arc::new);
        let mut held = self.held.lock();
        held.tried = Some((now_s, outcome.as_ref().err().cloned()));
        match &outcome {
            Ok(value) => held.value = Some((Arc::clone(value), now_s)),
            // where there is nothing to go on with, the login that fails says so
            Err(error) if held.value.is_some() => {
                tracing::warn!(provider = self.provider, %error, "an issuer cannot be asked; what it published before goes on");
            }
            Err(_) => {}
        }
        outcome
    }
}

impl<T> Held<T> {
    fn tried_within(&self, now_s: u64, interval_s: u64) -> bool {
        self.tried.as_ref().is_some_and(|(at, _)| now_s.abs_diff(*at) < interval_s)
    }
}

#[cfg(test)]
mod tests {
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
    async fn many_at_once_make_one_fetch() {
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
}
