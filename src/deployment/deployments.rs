//! Which app is in force: what a start takes, and what takes its place while the server runs.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use passerby_actors::handle::{Changes, Handle};

use super::app::App;
use super::difference::sentences;
use super::error::DeployError;
use super::recipe::Recipe;
use super::stored::{Deployment, Origin};
use crate::provider::app_folder::AppContent;
use crate::provider::{Parts, PasswordWork};
use crate::telemetry::OPERATOR;

/// The app in force, and what others are built of.
pub struct Deployments {
    recipe: Recipe,
    parts: Parts,
    app: ArcSwap<App>,
}

impl Deployments {
    /// At a start: the newest deployment of the store, unless the app folder has changed since it was last deployed; then the
    /// folder is deployed. Without either, the default is.
    ///
    /// # Errors
    /// [`DeployError`]; the store is none, since the app is in force all the same until the next start.
    pub async fn start(
        handle: &Handle,
        recipe: Recipe,
        parts: Parts,
        folder: Option<&AppContent>,
    ) -> Result<Self, DeployError> {
        let newest = Deployment::newest(handle)?;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.stays(folder)) {
            let app = App::build((&recipe, &parts), newest.number, &newest.app, &newest.label(), None)?;
            newest.say("is in force", &app);
            return Ok(Self { recipe, parts, app: ArcSwap::from_pointee(app) });
        }
        let before = newest.as_ref().map(|newest| newest.app.clone());
        let origin = if folder.is_some() { Origin::Folder } else { Origin::Default };
        let new = New { by: "serve", origin, folder: folder.map(AppContent::digest) };
        let next = new.after(newest, handle, folder.cloned().unwrap_or_default());
        let mut app = App::build((&recipe, &parts), next.number, &next.app, &next.label(), None)?;
        let next = Deployment { app: app.content.clone(), ..next };
        match record(handle, &next).await {
            Ok(()) => {
                next.say("is in force", &app);
                before.iter().for_each(|before| next.say_changes(before, &app.content));
            }
            Err(DeployError::Core(error)) => {
                app.number = 0;
                tracing::error!(
                    target: OPERATOR,
                    %error,
                    origin = next.origin.name(),
                    "the app is in force, and could not be stored as a deployment: the next start tries again"
                );
            }
            Err(other) => return Err(other),
        }
        Ok(Self { recipe, parts, app: ArcSwap::from_pointee(app) })
    }

    /// What is in force.
    pub fn app(&self) -> Guard<Arc<App>> {
        self.app.load()
    }

    /// What works on passwords, once an app had a provider for them; it stays when that is switched off.
    pub fn password_work(&self) -> Option<&PasswordWork> {
        self.parts.password_work.get().map(|work| &**work)
    }

    /// Deploys the app folder, if it has changed since it was last deployed. Returns what is in force from now on, if that is
    /// not what was in force before.
    ///
    /// # Errors
    /// [`DeployError`].
    pub async fn deploy_folder(
        &self,
        handle: &Handle,
        folder: &AppContent,
        by: &str,
    ) -> Result<Option<Arc<App>>, DeployError> {
        let before = self.app().number;
        let (newest, digest) = (self.newest(handle)?, Some(folder.digest()));
        if let Some(newest) = newest.as_ref().filter(|newest| newest.folder == digest) {
            // what is in force may be what a start could not store
            if self.app().number < newest.number {
                self.adopt(newest)?;
            }
            let now = self.app.load_full();
            return Ok((now.number != before).then_some(now));
        }
        let new = New { by, origin: Origin::Folder, folder: digest };
        self.deploy(handle, new.after(newest, handle, folder.clone())).await.map(Some)
    }

    /// Stores it, and puts it in force: requests that begin from now on find it.
    async fn deploy(&self, handle: &Handle, next: Deployment) -> Result<Arc<App>, DeployError> {
        let before = self.app.load_full();
        let app = App::build((&self.recipe, &self.parts), next.number, &next.app, &next.label(), Some(&before))?;
        let next = Deployment { app: app.content.clone(), ..next };
        record(handle, &next).await?;
        next.say("is in force from now on", &app);
        next.say_changes(&before.content, &app.content);
        Ok(self.put(app))
    }

    /// Of two that are put at once the later one stays.
    fn put(&self, app: App) -> Arc<App> {
        let app = Arc::new(app);
        self.app.rcu(|current| Arc::clone(if current.number < app.number { &app } else { current }));
        app
    }

    /// The last deployment. One that was stored although its outcome was not known in time is in force from then on.
    fn newest(&self, handle: &Handle) -> Result<Option<Deployment>, DeployError> {
        let (newest, now) = (Deployment::newest(handle)?, self.app().number);
        if let Some(newest) = newest.as_ref().filter(|newest| now != 0 && newest.number > now) {
            self.adopt(newest)?;
        }
        Ok(newest)
    }

    /// Puts a deployment of the store in force.
    fn adopt(&self, newest: &Deployment) -> Result<(), DeployError> {
        let before = self.app.load_full();
        let with = (&self.recipe, &self.parts);
        let app = App::build(with, newest.number, &newest.app, &newest.label(), Some(&before))?;
        newest.say("is in force from now on", &app);
        newest.say_changes(&before.content, &app.content);
        self.put(app);
        Ok(())
    }
}

/// What a new deployment has besides its app.
struct New<'a> {
    by: &'a str,
    origin: Origin,
    folder: Option<String>,
}

impl New<'_> {
    fn after(self, newest: Option<Deployment>, handle: &Handle, app: AppContent) -> Deployment {
        let number = newest.as_ref().map_or(1, |newest| newest.number + 1);
        let at_ms = handle.core().store().clock().wall_ms();
        let folder = self.folder.or_else(|| newest?.folder);
        Deployment { number, at_ms, by: self.by.to_owned(), origin: self.origin, folder, app }
    }
}

async fn record(handle: &Handle, deployment: &Deployment) -> Result<(), DeployError> {
    match handle.change_own(deployment.changes(handle)?).await? {
        Changes::Done => Ok(()),
        Changes::Moved { .. } => Err(DeployError::Moved),
    }
}

impl Deployment {
    /// What it is called in errors.
    pub fn label(&self) -> String {
        format!("deployment {}", self.number)
    }

    fn say(&self, what: &str, app: &App) {
        let (providers, origin) = (app.enabled().join(", "), self.origin.name());
        tracing::info!(target: OPERATOR, providers, origin, by = self.by, "deployment {} {what}", self.number);
    }

    /// How it differs from what was deployed before, a line for each difference.
    fn say_changes(&self, before: &AppContent, after: &AppContent) {
        for sentence in sentences(before, after) {
            tracing::info!(target: OPERATOR, deployment = self.number, "{sentence}");
        }
    }
}
