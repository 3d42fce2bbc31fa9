//! Which app is in force: what a start takes, and what takes its place while the server runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use passerby_actors::handle::{Changes, Handle, OwnChange};
use tokio::sync::{Mutex, MutexGuard};

use super::app::App;
use super::difference::sentences;
use super::error::DeployError;
use super::recipe::Recipe;
use super::stored::{Deployment, Origin, taken_by_folder};
use crate::config::SettingsErrors;
use crate::provider::app_folder::AppContent;
use crate::provider::{Parts, PasswordWork};
use crate::telemetry::OPERATOR;

/// The app in force, and what others are built of.
pub struct Deployments {
    pub(super) recipe: Recipe,
    parts: Parts,
    app: ArcSwap<App>,
    /// Held from the look at the last deployment until the next one is in force.
    turn: Mutex<()>,
    /// The last deployment that was found in the store unseen: it is tried once.
    found: AtomicU64,
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
        let newest = Deployment::newest(handle, &recipe)?;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.stays(folder)) {
            let app = App::build((&recipe, &parts), newest, None)?;
            newest.say("is in force", &app);
            return Ok(Self::with(handle, (recipe, parts), app));
        }
        if let (Some(newest), Some(folder)) = (&newest, folder)
            && newest.app == App::check(&recipe, folder, "app folder")?.0.content
        {
            let app = App::build((&recipe, &parts), newest, None)?;
            if let Err(error) = take_folder(handle, newest, folder).await {
                tracing::warn!(target: OPERATOR, %error, "that the app folder is deployed could not be stored: the next start tries again");
            }
            newest.say("is in force", &app);
            return Ok(Self::with(handle, (recipe, parts), app));
        }
        let (before, last) =
            (newest.as_ref().map(|newest| newest.app.clone()), newest.as_ref().map_or(0, |of| of.number));
        let origin = if folder.is_some() { Origin::Folder } else { Origin::Default };
        let how = How { by: "serve", origin, name: None };
        let digest = folder.map(AppContent::digest).or_else(|| newest.as_ref()?.folder.clone());
        let next = how.after(newest.as_ref(), handle, folder.cloned().unwrap_or_default(), digest);
        let mut app = App::build((&recipe, &parts), &next, None)?;
        let next = Deployment { app: app.content.clone(), ..next };
        match record(handle, &next, None).await {
            Ok(()) => {
                next.say("is in force", &app);
                before.iter().for_each(|before| next.say_changes(before, &app.content));
            }
            Err(DeployError::Core(error)) => {
                (app.number, app.newest) = (0, last);
                tracing::error!(
                    target: OPERATOR,
                    %error,
                    origin = next.origin.name(),
                    "the app is in force, and could not be stored as a deployment: the next start tries again"
                );
            }
            Err(other) => return Err(other),
        }
        Ok(Self::with(handle, (recipe, parts), app))
    }

    fn with(handle: &Handle, (recipe, parts): (Recipe, Parts), app: App) -> Self {
        handle.core().set_session_lifetime(app.session_lifetime_s);
        Self { recipe, parts, app: ArcSwap::from_pointee(app), turn: Mutex::default(), found: AtomicU64::new(0) }
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
        let _turn = self.turn().await;
        let before = self.app().number;
        let (newest, digest) = (self.newest(handle)?, Some(folder.digest()));
        let is_taken = newest.as_ref().is_some_and(|newest| newest.folder == digest);
        let of_folder = if is_taken { None } else { Some(App::check(&self.recipe, folder, "app folder")?.0.content) };
        if let Some(newest) = newest.as_ref().filter(|newest| is_taken || of_folder.as_ref() == Some(&newest.app)) {
            if !is_taken {
                take_folder(handle, newest, folder).await?;
            }
            // what is in force may be what a start could not store
            if self.app().number < newest.number {
                self.adopt(handle, newest)?;
            }
            let now = self.app.load_full();
            return Ok((now.number != before).then_some(now));
        }
        let how = How { by, origin: Origin::Folder, name: None };
        self.deploy(handle, how.after(newest.as_ref(), handle, folder.clone(), digest), None).await?;
        Ok(Some(self.app.load_full()))
    }

    /// The app as it would be deployed: every provider has its name and type, and origins are in the form that browsers send.
    ///
    /// # Errors
    /// `Wrong` and `TooLarge`, as a deployment would be.
    pub fn check(&self, app: &AppContent) -> Result<AppContent, DeployError> {
        App::check(&self.recipe, app, "app").map(|(read, _)| read.content)
    }

    /// The names of the secrets that an app can name.
    ///
    /// # Errors
    /// `Wrong`: they cannot be read any more.
    pub fn secret_names(&self) -> Result<Vec<String>, DeployError> {
        Ok(self.recipe.secret_names().map_err(SettingsErrors::from)?)
    }

    /// Waits until nobody else deploys.
    pub(super) async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The app as the next deployment; as the last one, where nothing differs from what is in force.
    pub(super) async fn deploy_next(
        &self,
        handle: &Handle,
        how: How<'_>,
        newest: Option<Deployment>,
        app: AppContent,
        also: Option<OwnChange>,
    ) -> Result<Deployment, DeployError> {
        let now = self.app.load_full();
        match newest {
            Some(newest) if newest.number == now.number && self.check(&app)? == now.content => {
                if let Some(also) = also {
                    change(handle, vec![also]).await?;
                }
                Ok(newest)
            }
            newest => {
                // of what could not be stored nothing but what is in force tells from which folder it is
                let of = newest.as_ref().filter(|_| now.number != 0).map_or(&now.folder, |newest| &newest.folder);
                let next = how.after(newest.as_ref(), handle, app, of.clone());
                self.deploy(handle, next, also).await
            }
        }
    }

    /// Stores it together with another change, and puts it in force: requests that begin from now on find it.
    async fn deploy(
        &self,
        handle: &Handle,
        next: Deployment,
        also: Option<OwnChange>,
    ) -> Result<Deployment, DeployError> {
        let before = self.app.load_full();
        let app = App::build((&self.recipe, &self.parts), &next, Some(&before))?;
        let next = Deployment { app: app.content.clone(), ..next };
        record(handle, &next, also).await?;
        next.say("is in force from now on", &app);
        next.say_changes(&before.content, &app.content);
        self.put(handle, app);
        Ok(next)
    }

    /// By whoever has the turn.
    fn put(&self, handle: &Handle, app: App) {
        handle.core().set_session_lifetime(app.session_lifetime_s);
        self.app.store(Arc::new(app));
    }

    /// The last deployment, for whoever has the turn. One that was stored although its outcome was not known in time is in force from
    /// then on.
    pub(super) fn newest(&self, handle: &Handle) -> Result<Option<Deployment>, DeployError> {
        let newest = Deployment::newest(handle, &self.recipe)?;
        if let Some(newest) = newest.as_ref().filter(|newest| newest.number > self.app().newest)
            && let Err(error) = self.adopt(handle, newest)
        {
            // the next one may be what mends it
            tracing::error!(target: OPERATOR, %error, deployment = newest.number, "the last deployment is stored, and cannot be in force");
        }
        Ok(newest)
    }

    /// Puts in force what was stored although its outcome was not known in time. Costs a look at a key.
    ///
    /// # Errors
    /// That it cannot be in force, once.
    pub fn follow(&self, handle: &Handle) -> Result<(), DeployError> {
        let Ok(_turn) = self.turn.try_lock() else { return Ok(()) };
        let newest = Deployment::newest_number(handle);
        if newest <= self.app().newest || self.found.swap(newest, Ordering::Relaxed) == newest {
            return Ok(());
        }
        let newest = Deployment::newest(handle, &self.recipe)?;
        newest.iter().try_for_each(|newest| self.adopt(handle, newest))
    }

    /// Puts a deployment of the store in force.
    fn adopt(&self, handle: &Handle, newest: &Deployment) -> Result<(), DeployError> {
        let before = self.app.load_full();
        let app = App::build((&self.recipe, &self.parts), newest, Some(&before))?;
        newest.say("is in force from now on", &app);
        newest.say_changes(&before.content, &app.content);
        self.put(handle, app);
        Ok(())
    }
}

/// Who deploys, and how.
#[derive(Debug, Clone)]
pub struct How<'a> {
    /// Who.
    pub by: &'a str,
    /// From where the app comes.
    pub origin: Origin,
    /// What the deployment is called, if anything.
    pub name: Option<String>,
}

impl How<'_> {
    /// The deployment behind the last one. `folder` is the digest of the app folder that was deployed last, with this one if the app
    /// comes from there.
    pub(super) fn after(
        self,
        newest: Option<&Deployment>,
        handle: &Handle,
        app: AppContent,
        folder: Option<String>,
    ) -> Deployment {
        let Self { by, origin, name } = self;
        let number = newest.map_or(1, |newest| newest.number + 1);
        let at_ms = handle.core().store().clock().wall_ms();
        Deployment { number, at_ms, by: by.to_owned(), origin, name, folder, app }
    }
}

/// Writes down that the folder is deployed, which says what the newest deployment has.
async fn take_folder(handle: &Handle, newest: &Deployment, folder: &AppContent) -> Result<(), DeployError> {
    change(handle, vec![taken_by_folder(handle, newest, folder.digest())?]).await
}

async fn record(handle: &Handle, deployment: &Deployment, also: Option<OwnChange>) -> Result<(), DeployError> {
    change(handle, deployment.changes(handle)?.into_iter().chain(also).collect()).await
}

async fn change(handle: &Handle, changes: Vec<OwnChange>) -> Result<(), DeployError> {
    match handle.change_own(changes).await? {
        Changes::Done => Ok(()),
        Changes::Moved { .. } => Err(DeployError::Moved(None)),
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
