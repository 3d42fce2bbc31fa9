//! The command line: what can be typed (`line`), and what each command does.

mod admin;
mod api;
mod app_watch;
mod audit;
mod bulk;
mod check;
mod demo;
mod keys;
mod line;
mod meters;
mod networks;
mod outcome;
mod prepared;
mod recover;
mod remote;
mod run;
mod serve;
mod sessions;
mod stats;
mod table;
mod terminal;
mod user_filter;
mod users;

pub use self::audit::{AuditCommand, AuditFilter};
pub use self::bulk::Whom;
pub use self::line::{AdminCommand, AdminRole, Cli, Command, Exit, KeyFile, KeyUse, KeysCommand, SettingsArgs, parse};
pub use self::meters::MetersCommand;
pub use self::networks::NetworksCommand;
pub use self::outcome::EXIT_USAGE;
pub use self::remote::Remote;
pub use self::run::main;
pub use self::sessions::SessionsCommand;
pub use self::user_filter::UserFilter;
pub use self::users::UsersCommand;
