//! HTTP: the App Services client API, our own `/v1`, and the operators' endpoints. What every API needs stands below the APIs, the
//! application above them.

pub mod admin;
mod app;
mod app_services;
mod auth;
mod bearer;
pub mod body;
mod charge;
mod connection;
mod context;
mod cors;
mod demo;
mod endpoint;
mod fields;
mod files;
pub mod forwarded;
mod identities;
mod index;
pub mod listener;
mod meters;
pub mod openapi;
mod plain;
mod preconditions;
mod problem;
mod read;
pub(crate) mod reader;
mod schemas;
mod script;
mod socket;
mod stream;
mod time;
mod v1;
mod verify;
mod whole_user;

pub(crate) use self::auth::{Scope, authenticate, by_bearer, user_of};
pub(crate) use self::bearer::bearer;
pub(crate) use self::charge::{became_part, came_back, came_back_from, spend, spend_on_password, went};
pub use self::context::Context;
pub(crate) use self::context::{JSON, NO_STORE, client, json, retry_after_s, within_time};
pub(crate) use self::endpoint::at;
pub(crate) use self::problem::{Answer, Problem};
pub(crate) use self::time::rfc3339;
