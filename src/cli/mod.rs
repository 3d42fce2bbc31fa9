//! The command line: what can be typed (`line`), and what each command does.

mod admin;
mod api;
mod check;
mod demo;
mod keys;
mod line;
mod outcome;
mod prepared;
mod recover;
mod run;
mod serve;

pub use self::line::{AdminCommand, AdminRole, Cli, Command, Exit, KeyFile, KeyUse, KeysCommand, SettingsArgs, parse};
pub use self::outcome::EXIT_USAGE;
pub use self::run::main;
