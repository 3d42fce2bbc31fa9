//! Calls of a handle: as many as possible (closed loop).

use std::cell::{Cell, RefCell};

use futures_util::future::join_all;
use passerby_actors::domain::{Clock, SessionId, SessionKind, UserId};
use passerby_actors::handle::{Handle, IdForm};
use passerby_actors::system::SystemClock;
use passerby_actors::testkit::mix;
use passerby_benches::random::zipf;

use crate::ask::Call;
use crate::id;

pub(crate) const KIND: SessionKind = SessionKind::V1;
const IN_FLIGHT: u64 = 256;
/// Checks between two looks at the clock.
const CHECKS: usize = 1024;

/// The number of the `rank`-th of `active` users, who are spread over `of`.
fn spread(rank: u64, active: u64, of: u64) -> u64 {
    rank * (of / active) + mix(rank) % (of / active)
}

/// Calls a second with 256 in flight, and the users that this created.
pub(crate) async fn closed_loop(handle: &Handle, call: Call, ms: u64) -> (f64, Vec<UserId>) {
    let clock = SystemClock::default();
    let end_us = ms * 1000;
    let (calls, created) = (Cell::new(0u64), RefCell::new(Vec::new()));
    match call {
        Call::Login => {
            let caller = async || {
                while clock.monotonic_us() < end_us {
                    let user = handle.login(KIND, IdForm::Object).await.unwrap().user;
                    created.borrow_mut().push(user);
                    calls.set(calls.get() + 1);
                }
            };
            join_all((0..IN_FLIGHT).map(|_| caller())).await;
        }
        Call::Refresh { active, of } => {
            let caller = async |first: u64| {
                // each has users of its own: two refreshes of one at once would be a different question
                let mut ranks = (first..active).step_by(IN_FLIGHT as usize).cycle();
                while clock.monotonic_us() < end_us {
                    let user = id(spread(ranks.next().unwrap(), active, of));
                    let counter = u32::from(handle.load(&user).unwrap().record.refresh_counter);
                    assert_eq!(handle.rotate(&user, 1, counter).await, Ok(counter + 1));
                    calls.set(calls.get() + 1);
                }
            };
            join_all((0..IN_FLIGHT).map(caller)).await;
        }
        Call::Check { active, of } => {
            let tokens: Vec<_> = (0..active)
                .map(|rank| id(spread(rank, active, of)))
                .map(|user| (user, SessionId::derive(&user, 1)))
                .collect();
            // the popular ones are not neighbours
            let draws = zipf(tokens.len(), 1 << 20).into_iter().map(|rank| mix(u64::from(rank)) % active);
            let draws: Vec<u64> = draws.collect();
            let begin_us = clock.monotonic_us();
            for draws in draws.chunks(CHECKS).cycle() {
                for &rank in draws {
                    let (user, session) = &tokens[rank as usize];
                    handle.check(user, session, Some(0)).unwrap();
                }
                calls.set(calls.get() + draws.len() as u64);
                if clock.monotonic_us() - begin_us >= end_us {
                    break;
                }
            }
            return (calls.get() as f64 / (clock.monotonic_us() - begin_us) as f64 * 1e6, Vec::new());
        }
    }
    (calls.get() as f64 / clock.monotonic_us() as f64 * 1e6, created.into_inner())
}
