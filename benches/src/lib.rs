//! What the benches share: how one begins and ends (`Arguments`, `Bench`), the processes that are measured (`Process`),
//! what is sent to them (`work`) and by whom (`client`), the clock of an open loop (`Pacer`), logins in one (`logins`), and
//! figures beside their targets (`Report`).
//!
//! All of it is behind the feature `kit`, with what it depends on. The benches turn it on as a development dependency, so
//! that a plain `cargo build` of the workspace builds none of it.
#![cfg(feature = "kit")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench has no caller to hand an error to")]

mod bench;
pub mod client;
pub mod logins;
mod pace;
mod process;
pub mod progress;
pub mod random;
mod report;
pub mod work;

pub use bench::{Arguments, Bench};
pub use pace::Pacer;
pub use process::{Cpu, Process, has_redis};
pub use report::Target::{AtLeast, AtMost};
pub use report::{Report, Target, Weight, mib, quantile, resident_bytes};

/// The server's: allocation is part of what is measured, and peers shall have the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
