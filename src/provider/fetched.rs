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
mod tests;
