//! The authentication providers, a folder for each with its `KIND`, and where their configuration comes from. `kinds` lists them.

mod anon_user;
pub mod api_key;
pub mod app_folder;
mod configured;
pub mod custom_token;
pub mod fetched;
pub mod identity;
mod jwt;
mod kind;
mod kinds;
pub mod local_userpass;
pub mod metadata;
mod not_built;
pub mod oidc;
mod options;
pub mod password;
mod password_work;
mod providers;
mod switched_off;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod typed;

pub use self::anon_user::ANON_USER;
pub use self::configured::Configured;
pub use self::kind::{Parts, Rules};
pub use self::kinds::{is_of_app_services, one_identity_of, rules};
pub use self::password_work::PasswordWork;
pub use self::providers::Providers;
pub use self::switched_off::without_literals;
