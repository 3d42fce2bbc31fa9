//! Admins: who they are and what they may do, their sessions and API keys, and the log of what they did.

mod accounts;
mod admins;
mod audit;
mod fault;
mod keys;
pub mod local;
mod networks;
mod own_account;
mod record;
mod secret;
mod session_list;
mod sessions;
mod totp;

pub use self::accounts::Change;
pub use self::admins::{Admins, Asker, Source};
pub use self::audit::{Audit, Begun, By, Filter, IDS, Page};
pub use self::fault::{Fault, MOST_ADMINS, MOST_KEYS, PASSWORD_LENGTH};
pub use self::keys::NewKey;
pub use self::networks::NetworkBlock;
pub use self::record::{Account, AdminKey, AdminSession, Entry, Moment, Outcome, Role, Totp, Who};
pub use self::secret::{ACCESS, ACCESS_S, SESSION, SecretText, is_admin_token};
pub use self::session_list::Listed;
pub use self::sessions::{IDLE_S, LONGEST_S};
pub use self::totp::TotpSecret;
