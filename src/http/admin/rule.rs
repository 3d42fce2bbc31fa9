//! An endpoint of the admin API: who may ask for it, and what the audit log calls it.

use actix_web::http::Method;

use crate::admin::Role;

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The method.
    pub method: Method,
    /// The path, with parameters in braces.
    pub path: &'static str,
    /// The role that it needs; none is for everyone.
    pub needs: Option<Role>,
    /// What the audit log calls what it does; none if it changes nothing.
    pub audited: Option<&'static str>,
    /// The longest body in bytes, where that is more than `http.max_body`.
    pub most_body: usize,
}
