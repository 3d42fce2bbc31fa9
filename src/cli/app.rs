//! `passerby push`, `pull` and `diff`: an app folder against what is in force on a server.

use std::path::Path;

use serde_json::{Value, json};

use super::api::Api;
use super::deployments::{NOTHING, is_deployed, show_before_asking, show_difference};
use super::outcome::{Failure, complain, print};
use super::remote::{Remote, text, with_query};
use super::terminal::{can_ask, confirm};
use crate::config::SettingsErrors;
use crate::provider::app_folder::{self, AppContent};

/// Deploys an app folder, after its difference was looked at.
pub(super) async fn push(
    api: &Api,
    remote: &Remote,
    dir: &Path,
    (name, yes): (Option<&str>, bool),
) -> Result<(), Failure> {
    can_ask(yes)?;
    let app = of_folder(api, dir).await?;
    let difference = api.ask("POST", "/v1/admin/app/diff", Some(json!({ "app": app }))).await?;
    if !differs(&difference) {
        remote.show(&json!({ "changed": false }), |_| print(NOTHING));
        return Ok(());
    }
    show_before_asking(remote, &difference, yes);
    confirm("This is deployed, and is in force at once", yes)?;
    let mut body = json!({ "app": app, "seen": difference["deployment"] });
    if let Some(name) = name {
        body["name"] = json!(name);
    }
    let deployed = api.ask("POST", "/v1/admin/app/deploy", Some(body)).await?;
    remote.show(&deployed, is_deployed);
    Ok(())
}

/// What an app folder would change. Returns whether anything.
pub(super) async fn diff(api: &Api, remote: &Remote, dir: &Path) -> Result<bool, Failure> {
    let app = of_folder(api, dir).await?;
    let difference = api.ask("POST", "/v1/admin/app/diff", Some(json!({ "app": app }))).await?;
    let differs = differs(&difference);
    remote.show(&difference, |difference| if differs { show_difference(difference) } else { print(NOTHING) });
    Ok(differs)
}

/// Writes what is in force, or what was deployed once, into an app folder.
pub(super) async fn pull(api: &Api, remote: &Remote, dir: &Path, deployment: Option<u64>) -> Result<(), Failure> {
    let number = deployment.map(|number| number.to_string());
    let content = api.ask("GET", &with_query("/v1/admin/app/content", &[("deployment", number)]), None).await?;
    let app: AppContent = serde_json::from_value(content.clone())
        .map_err(|error| Failure::other(format!("the server's answer is no app: {error}")))?;
    let id = app_id(api).await?;
    app_folder::write(&app, &id, dir).map_err(Failure::other)?;
    remote.show(&content, |_| print(&format!("the app {id} is written into {}\n", dir.display())));
    Ok(())
}

fn differs(difference: &Value) -> bool {
    difference["changed"] == true
}

async fn app_id(api: &Api) -> Result<String, Failure> {
    Ok(text(&api.ask("GET", "/v1/admin/app", None).await?, "client_app_id").to_owned())
}

/// The app in a folder, which is that of the server. What is not served is said.
async fn of_folder(api: &Api, dir: &Path) -> Result<AppContent, Failure> {
    let mut wrong = SettingsErrors::default();
    let folder = app_folder::read(dir, &mut wrong);
    let folder = wrong.or(folder).map_err(Failure::usage)?;
    let folder = folder.ok_or_else(|| Failure::usage(format!("{} is not an app folder", dir.display())))?;
    folder.unserved.iter().for_each(|line| complain(&format!("passerby: {line}\n")));
    let id = app_id(api).await?;
    match &folder.app_id {
        Some(other) if *other != id => {
            Err(Failure::usage(format!("{} is of the app {other}, and the server has {id}", dir.display())))
        }
        _ => Ok(folder.content),
    }
}
