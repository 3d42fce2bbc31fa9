//! The core's tests from outside: the port's conformance, the actors, expiry, and what survives crashes.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod actors;
mod architecture;
mod bounds;
mod bulk;
mod conformance;
mod crash;
mod documents;
mod expiry;
mod failpoints;
mod failures;
mod feed;
mod linking;
mod listing;
mod load;
mod merging;
mod model;
mod outside;
mod own;
mod power_loss;
mod recovery;
mod sockets;
