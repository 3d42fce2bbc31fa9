//! The core of Passerby: which users exist (`domain`), where they are stored (`registry`, `store`), which actors act for them (`actor`),
//! how users are listed (`listing`) and the one door through which a server uses all of it (`handle`).
//!
//! # Layout
//! Each module may use those before it and none after it: `domain ← registry ← store ← listing ← actor ← handle`. `histogram`
//! counts durations for all of them; `system` holds the real clock and randomness, which everything else receives as arguments.
//! `testkit`, above all of them, is for tests and benches alone (feature `testkit`).

pub mod domain;
pub mod histogram;
mod listing;
mod registry;
pub mod stall;
pub mod store;

pub mod actor;
pub mod handle;
pub mod system;
#[cfg(feature = "testkit")]
pub mod testkit;
