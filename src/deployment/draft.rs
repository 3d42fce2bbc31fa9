//! The draft: what is to be deployed next. There is one at most, made by the first change, and each change names the revision
//! that it saw.

use std::sync::Arc;

use passerby_actors::domain::{Family, Rewrite, ValueKey};
use passerby_actors::handle::{Changes, Handle, OwnChange};
use serde::{Deserialize, Serialize};

use super::deployments::{Deployments, How};
use super::error::{Change, DeployError, Unreadable};
use super::stored::{Deployment, Origin, decode, encode};
use crate::provider::app_folder::AppContent;

/// What is to be deployed next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// From 1; each change makes it one more, and so does a new draft.
    pub revision: u64,
    /// The number of the deployment that was in force when it began.
    pub base: u64,
    /// When it began: Unix time in milliseconds.
    pub begun_ms: u64,
    /// When it was changed last: Unix time in milliseconds.
    pub at_ms: u64,
    /// Who changed it last.
    pub by: String,
    /// What.
    pub app: AppContent,
    /// Whether it has been deployed or thrown away: it is kept for its revision, so that whoever saw it is told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    has_ended: bool,
}

/// A draft with the bytes that the store has of it.
struct Stored {
    draft: Draft,
    bytes: Arc<[u8]>,
}

fn key() -> ValueKey {
    ValueKey::own(Family::DRAFT, [])
}

impl Stored {
    /// What the store has from now on instead.
    fn rewritten(stored: Option<Self>, draft: &Draft) -> Result<OwnChange, DeployError> {
        let change = Rewrite::Put(encode(draft, &draft.app)?);
        Ok(OwnChange { key: key(), seen: stored.map(|stored| stored.bytes), change })
    }

    /// The end of the draft.
    fn ended(self) -> Result<OwnChange, DeployError> {
        let ended = Draft { app: AppContent::default(), has_ended: true, ..self.draft.clone() };
        Self::rewritten(Some(self), &ended)
    }
}

impl Deployments {
    /// The draft, or the last one, if it is as the caller saw it: with this revision; 0 where there is none.
    fn as_seen(&self, handle: &Handle, seen: u64) -> Result<Option<Stored>, DeployError> {
        let stored = self.stored(handle)?;
        let draft = stored.as_ref().map(|stored| &stored.draft).filter(|draft| !draft.has_ended);
        if draft.map_or(0, |draft| draft.revision) != seen {
            return Err(moved(draft));
        }
        Ok(stored)
    }

    fn stored(&self, handle: &Handle) -> Result<Option<Stored>, Unreadable> {
        let Some(bytes) = handle.own_value(Family::DRAFT, &[]) else { return Ok(None) };
        let draft: Draft = decode(&bytes)?;
        Ok(Some(Stored { draft: Draft { app: self.recipe.seen(draft.app), ..draft }, bytes }))
    }

    /// The draft, if there is one.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn draft(&self, handle: &Handle) -> Result<Option<Draft>, DeployError> {
        Ok(self.stored(handle)?.map(|stored| stored.draft).filter(|draft| !draft.has_ended))
    }

    /// The draft of this revision; none of revision 0.
    ///
    /// # Errors
    /// `DraftMoved`, if it has another one; `Unreadable`.
    pub fn draft_as_seen(&self, handle: &Handle, seen: u64) -> Result<Option<Draft>, DeployError> {
        Ok(self.as_seen(handle, seen)?.map(|stored| stored.draft).filter(|draft| !draft.has_ended))
    }

    /// Changes the draft, which begins if there is none. `seen` is the revision that the caller looked at, 0 if there was none;
    /// `base` is the number of the deployment from which a new one begins.
    ///
    /// # Errors
    /// `DraftMoved`; `Wrong` and `TooLarge`, as a deployment would be; the store.
    pub async fn change_draft(
        &self,
        handle: &Handle,
        by: &str,
        (seen, base): (u64, u64),
        app: AppContent,
    ) -> Result<Draft, DeployError> {
        let stored = self.as_seen(handle, seen)?;
        let app = self.check(&app)?;
        let at_ms = handle.core().store().clock().wall_ms();
        let last = stored.as_ref().map(|stored| &stored.draft);
        let revision = last.map_or(0, |last| last.revision) + 1;
        let (base, begun_ms) = last.filter(|last| !last.has_ended).map_or((base, at_ms), |of| (of.base, of.begun_ms));
        let draft = Draft { revision, base, begun_ms, at_ms, by: by.to_owned(), app, has_ended: false };
        self.put_draft(handle, Stored::rewritten(stored, &draft)?).await?;
        Ok(draft)
    }

    /// Throws the draft away.
    ///
    /// # Errors
    /// `DraftMoved`, also where there is none; the store.
    pub async fn discard_draft(&self, handle: &Handle, seen: u64) -> Result<(), DeployError> {
        let stored = self.as_seen(handle, seen)?.filter(|stored| !stored.draft.has_ended);
        self.put_draft(handle, stored.ok_or(DeployError::DraftMoved(None))?.ended()?).await
    }

    async fn put_draft(&self, handle: &Handle, change: OwnChange) -> Result<(), DeployError> {
        match handle.change_own(vec![change]).await? {
            Changes::Done => Ok(()),
            Changes::Moved { .. } => Err(moved(self.draft(handle)?.as_ref())),
        }
    }

    /// Deploys the draft, which ends it. `from` is the number of the deployment that its difference was looked at from; without one,
    /// it is that from which the draft began.
    ///
    /// # Errors
    /// `DraftMoved`; `DraftBehind`, if something else was deployed since then; all others of a deployment.
    pub async fn deploy_draft(
        &self,
        handle: &Handle,
        how: How<'_>,
        (seen, from): (u64, Option<u64>),
    ) -> Result<Deployment, DeployError> {
        let _turn = self.turn().await;
        let stored = self.as_seen(handle, seen)?.filter(|stored| !stored.draft.has_ended);
        let stored = stored.ok_or(DeployError::DraftMoved(None))?;
        let (newest, app) = (self.newest(handle)?, stored.draft.app.clone());
        check_base(newest.as_ref(), from.unwrap_or(stored.draft.base)).map_err(DeployError::DraftBehind)?;
        let ended = stored.ended()?;
        let deployed = self.deploy_next(handle, how, newest, app, Some(ended)).await;
        if matches!(deployed, Err(DeployError::Moved(None))) {
            // it was not a deployment that came between
            self.as_seen(handle, seen)?;
        }
        deployed
    }

    /// Deploys an app at once, beside the draft. `seen` is the number of the deployment that it takes the place of; 0: of any.
    ///
    /// # Errors
    /// `Moved`, if another one is in force; all others of a deployment.
    pub async fn deploy_app(
        &self,
        handle: &Handle,
        how: How<'_>,
        seen: u64,
        app: AppContent,
    ) -> Result<Deployment, DeployError> {
        let _turn = self.turn().await;
        let newest = self.newest(handle)?;
        check_base(newest.as_ref(), seen).map_err(|last| DeployError::Moved(Some(last)))?;
        self.deploy_next(handle, how, newest, app, None).await
    }

    /// Deploys an older deployment's app again, under a number of its own. `seen` is the number of the deployment that it takes the
    /// place of; 0: of any.
    ///
    /// # Errors
    /// `NoSuch`; `Moved`, if another one is in force; all others of a deployment.
    pub async fn redeploy(
        &self,
        handle: &Handle,
        how: How<'_>,
        seen: u64,
        number: u64,
    ) -> Result<Deployment, DeployError> {
        let again = self.of_number(handle, number)?.ok_or(DeployError::NoSuch(number))?;
        self.deploy_app(handle, How { origin: Origin::Redeploy(number), ..how }, seen, again.app).await
    }

    /// The deployment of this number, if it is kept.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn of_number(&self, handle: &Handle, number: u64) -> Result<Option<Deployment>, DeployError> {
        Ok(Deployment::of_number(handle, &self.recipe, number)?)
    }

    /// The deployments that are kept, the newest first.
    ///
    /// # Errors
    /// `Unreadable`.
    pub fn list(&self, handle: &Handle) -> Result<Vec<Deployment>, DeployError> {
        Ok(Deployment::kept(handle, &self.recipe)?)
    }
}

fn moved(draft: Option<&Draft>) -> DeployError {
    let last = draft.map(|draft| Change { number: draft.revision, by: draft.by.clone(), at_ms: draft.at_ms });
    DeployError::DraftMoved(last)
}

/// Whether a deployment is the last one; any is that where the number is not known.
fn check_base(newest: Option<&Deployment>, seen: u64) -> Result<(), Change> {
    match newest.filter(|newest| seen != 0 && newest.number != seen) {
        None => Ok(()),
        Some(Deployment { number, by, at_ms, .. }) => Err(Change { number: *number, by: by.clone(), at_ms: *at_ms }),
    }
}
