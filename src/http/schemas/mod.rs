//! The bodies of requests and answers as the OpenAPI document has them, where the code has no type of its own for them.

mod answers;
mod app_services;
mod requests;

pub(crate) use self::answers::*;
pub(crate) use self::app_services::*;
pub(crate) use self::requests::*;
