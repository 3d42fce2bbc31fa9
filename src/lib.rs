//! Passerby: an anonymous-authentication and session server.
//!
//! The core (which users exist, where they are stored, which actors act for them) is the package `passerby-actors`. Here is what makes it a
//! server: each module may use those before it.

pub mod allocator;
pub mod left;
pub mod outbound;
pub mod telemetry;
pub mod test_clock;
pub mod token;

pub mod config;

pub mod limits;
pub mod mail;

pub mod codes;
pub mod tls;

pub mod provider;

pub mod admin;
pub mod deployment;
pub mod stats;

pub mod server;

pub mod http;

pub mod startup;

pub mod cli;
