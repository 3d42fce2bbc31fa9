//! The draft: what is to be deployed next. There is one at most, made by the first change, and each change names the revision
//! that it saw.

use std::sync::Arc;
use std::sync::atomic::Ordering;

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
    /// From 1; each change makes it one more, and so does a new draft, until the server stops.
    pub revision: u64,
    /// The number of the deployment that was in force at its last change.
    pub base: u64,
    /// When it began: Unix time in milliseconds.
    pub begun_ms: u64,
    /// When it was changed last: Unix time in milliseconds.
    pub at_ms: u64,
    /// Who changed it last.
    pub by: String,
    /// What.
    pub app: AppContent,
}

/// A draft with the bytes that the store has of it.
struct Stored {
    draft: Draft,
    bytes: Arc<[u8]>,
}

fn key() -> ValueKey {
    ValueKey::own(Family::DRAFT, [])
}

impl Deployments {
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
        Ok(self.stored(handle)?.map(|stored| stored.draft))
    }

    /// The draft of this revision; none of revision 0.
    ///
    /// # Errors
    /// `DraftMoved`, if it has another one; `Unreadable`.
    pub fn draft_as_seen(&self, handle: &Handle, seen: u64) -> Result<Option<Draft>, DeployError> {
        let draft = self.draft(handle)?;
        check_revision(draft.as_ref(), seen)?;
        Ok(draft)
    }

    /// Changes the draft, which begins as what is in force if there is none. `seen` is the revision that the caller looked at;
    /// 0: there was none.
    ///
    /// # Errors
    /// `DraftMoved`; `Wrong` and `TooLarge`, as a deployment would be; the store.
    pub async fn change_draft(
        &self,
        handle: &Handle,
        by: &str,
        seen: u64,
        app: AppContent,
    ) -> Result<Draft, DeployError> {
        let stored = self.stored(handle)?;
        check_revision(stored.as_ref().map(|stored| &stored.draft), seen)?;
        let app = self.check(&app)?;
        let at_ms = handle.core().store().clock().wall_ms();
        let begun_ms = stored.as_ref().map_or(at_ms, |stored| stored.draft.begun_ms);
        let base = self.app().number;
        let revision = self.revisions.load(Ordering::Relaxed).max(seen) + 1;
        let draft = Draft { revision, base, begun_ms, at_ms, by: by.to_owned(), app };
        let seen = stored.map(|stored| stored.bytes);
        let change = Rewrite::Put(encode(&draft, &draft.app)?);
        self.put_draft(handle, OwnChange { key: key(), seen, change }).await?;
        self.revisions.fetch_max(revision, Ordering::Relaxed);
        Ok(draft)
    }

    /// Throws the draft away.
    ///
    /// # Errors
    /// `DraftMoved`, also where there is none; the store.
    pub async fn discard_draft(&self, handle: &Handle, seen: u64) -> Result<(), DeployError> {
        let stored = self.stored(handle)?;
        check_revision(stored.as_ref().map(|stored| &stored.draft), seen)?;
        let Some(stored) = stored else { return Ok(()) };
        self.revisions.fetch_max(stored.draft.revision, Ordering::Relaxed);
        self.put_draft(handle, OwnChange { key: key(), seen: Some(stored.bytes), change: Rewrite::Remove }).await
    }

    async fn put_draft(&self, handle: &Handle, change: OwnChange) -> Result<(), DeployError> {
        match handle.change_own(vec![change]).await? {
            Changes::Done => Ok(()),
            Changes::Moved { .. } => Err(moved(self.draft(handle)?.as_ref())),
        }
    }

    /// Deploys the draft, which ends it.
    ///
    /// # Errors
    /// `DraftMoved`; `DraftBehind`, if something else was deployed since the draft was changed last; all others of a deployment.
    pub async fn deploy_draft(&self, handle: &Handle, how: How<'_>, seen: u64) -> Result<Deployment, DeployError> {
        let stored = self.stored(handle)?;
        check_revision(stored.as_ref().map(|stored| &stored.draft), seen)?;
        let Some(Stored { draft, bytes }) = stored else { return Err(DeployError::DraftMoved(None)) };
        let newest = self.newest(handle)?;
        check_base(newest.as_ref(), draft.base).map_err(DeployError::DraftBehind)?;
        self.revisions.fetch_max(draft.revision, Ordering::Relaxed);
        let ended = OwnChange { key: key(), seen: Some(bytes), change: Rewrite::Remove };
        self.deploy(handle, how.after(newest, handle, draft.app, None), Some(ended)).await
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
        let newest = self.newest(handle)?;
        check_base(newest.as_ref(), seen).map_err(|last| DeployError::Moved(Some(last)))?;
        self.deploy(handle, how.after(newest, handle, app, None), None).await
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
    /// `Unreadable`; all that a deployment may have, if the newest is not in force yet.
    pub fn list(&self, handle: &Handle) -> Result<Vec<Deployment>, DeployError> {
        self.newest(handle)?;
        Ok(Deployment::kept(handle, &self.recipe)?)
    }
}

fn check_revision(draft: Option<&Draft>, seen: u64) -> Result<(), DeployError> {
    if draft.map_or(0, |draft| draft.revision) == seen {
        return Ok(());
    }
    Err(moved(draft))
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
