//! The table of the admin API's endpoints: each with the role that it needs and what the audit log calls it.

use std::rc::Rc;

use actix_web::http::Method;
use futures_util::future::{FutureExt as _, LocalBoxFuture};

use super::asked::Asked;
use super::rule::Rule;
use crate::admin::Role;
use crate::deployment::MOST_BYTES;
use crate::http::problem::Answer;

/// What an endpoint does.
pub(super) type Run = Rc<dyn Fn(Asked) -> LocalBoxFuture<'static, Answer>>;

/// An endpoint and what it does.
pub(super) struct Row {
    pub(super) rule: Rule,
    pub(super) run: Run,
}

/// The longest body with an app, or a part of one. Written with spaces, an app takes more bytes than are stored of it.
const MOST_APP: usize = 2 * MOST_BYTES;

/// The longest body with a batch of users and their data.
const MOST_USERS: usize = 1 << 20;

impl Row {
    /// One that takes many users.
    pub(super) fn with_users(mut self) -> Self {
        self.rule.most_body = MOST_USERS;
        self
    }

    /// One that takes an app, or a part of one.
    pub(super) fn with_app(mut self) -> Self {
        self.rule.most_body = MOST_APP;
        self
    }
}

/// A row that everyone may ask for, or those who have this role.
pub(super) fn row<F, Answered>(
    what: &'static str,
    needs: Option<Role>,
    audited: impl Into<Option<&'static str>>,
    run: F,
) -> Row
where
    F: Fn(Asked) -> Answered + 'static,
    Answered: Future<Output = Answer> + 'static,
{
    let (method, path) = what.split_once(' ').unwrap_or(("GET", what));
    let method = Method::from_bytes(method.as_bytes()).unwrap_or(Method::GET);
    let rule = Rule { method, path, needs, audited: audited.into(), most_body: 0 };
    Row { rule, run: Rc::new(move |asked| run(asked).boxed_local()) }
}
