//! What makes load: processes to measure, requests, and the client that sends them.

pub(crate) mod client;
pub(crate) mod process;
pub(crate) mod random;
pub(crate) mod work;
