//! The app's configuration as it is changed here: in the draft, if there is one, and otherwise at once.

use passerby_actors::handle::Handle;

use super::apps::must_be_this;
use crate::deployment::{Deployments, Draft, How};
use crate::http::admin::asked::Asked;
use crate::http::admin::deploying;
use crate::http::problem::Problem;
use crate::provider::app_folder::AppContent;

/// What is shown and changed: the draft's app, or the one in force, with its deployment's number.
enum Base {
    Draft(Draft),
    Force(u64, AppContent),
}

impl Base {
    fn of(asked: &Asked) -> Result<Self, Problem> {
        must_be_this(asked)?;
        let server = &asked.context.server;
        let draft = server.deployments.draft(asked.handle())?;
        Ok(draft.map_or_else(
            || {
                let app = server.app();
                Self::Force(app.number, app.content.clone())
            },
            Self::Draft,
        ))
    }

    fn app(&self) -> &AppContent {
        match self {
            Self::Draft(Draft { app, .. }) | Self::Force(_, app) => app,
        }
    }
}

/// The configuration as it is shown here.
pub(super) fn shown(asked: &Asked) -> Result<AppContent, Problem> {
    Base::of(asked).map(|base| base.app().clone())
}

/// Changes it.
pub(super) async fn change(
    asked: &Asked,
    what: (&str, &str),
    edit: impl FnOnce(&mut AppContent) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let base = Base::of(asked)?;
    let before = base.app();
    let mut after = before.clone();
    edit(&mut after)?;
    let after = asked.context.server.deployments.check(&after)?;
    let next = after.clone();
    match &base {
        Base::Draft(draft) => {
            let (seen, base) = (draft.revision, draft.base);
            let change = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
                deployments.change_draft(handle, how.by, (seen, base), next).await
            };
            deploying::change(asked, what, (before, &after), change).await.map(drop)
        }
        Base::Force(number, _) => {
            let seen = *number;
            let deploy = async move |deployments: &Deployments, handle: &Handle, how: How<'_>| {
                deployments.deploy_app(handle, how, seen, next).await
            };
            deploying::change(asked, what, (before, &after), deploy).await.map(drop)
        }
    }
}
