//! The server's tests from outside: a real server on a free port, real HTTP, and time under control.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may fail"
)]

mod abuse;
mod accounts;
mod admin;
mod app_services;
mod architecture;
mod bad_input;
mod browser_login;
mod command_line;
mod data;
mod deployments;
mod documents;
mod drafts;
mod failing;
mod fields;
mod keys;
mod meters;
mod metrics;
mod openapi;
mod process;
mod readers;
mod secrets;
mod tls;
mod upgrade;
mod v1;
mod work;
mod world;
