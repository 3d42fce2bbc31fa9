//! Passerby: an anonymous-authentication and session server.
//!
//! The core (who exists, where they are kept, who acts for them) is the package `passerby-actors`. Here is what makes it a
//! server: each module may use those before it.

pub mod config;

pub mod budget;
pub mod data_work;
pub mod left;
pub mod mail;
pub mod memory;
pub mod network;
pub mod outbound;
pub mod places;
pub mod provider;
pub mod share;
pub mod telemetry;
pub mod test_clock;
pub mod token;
pub mod work;

pub mod key_watch;
pub mod server;

pub mod http;
pub mod startup;

pub mod cli;
