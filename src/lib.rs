//! Passerby: an anonymous-authentication and session server.

pub mod cli;
pub mod config;
pub mod provider;
pub mod token;
