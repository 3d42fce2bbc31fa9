//! `passerby providers`: the ways to log in, switched on and off.

use clap::Subcommand;
use serde_json::{Value, json};

use super::api::Api;
use super::deployments::is_deployed;
use super::outcome::{Failure, print};
use super::remote::{Remote, items, number, text};
use super::table::{Cell, Table, Tone};

/// What can be done with providers.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum ProvidersCommand {
    /// List them, and whether they are enabled
    List,
    /// Enable one at once
    Enable {
        /// Its name, such as anon-user
        name: String,
    },
    /// Disable one at once: it takes no new logins, and sessions go on
    Disable {
        /// Its name, such as anon-user
        name: String,
    },
}

pub(super) async fn providers(api: &Api, remote: &Remote, command: &ProvidersCommand) -> Result<(), Failure> {
    match command {
        ProvidersCommand::List => {
            let answer = api.ask("GET", "/v1/admin/app", None).await?;
            remote.show(&json!({ "providers": answer["providers"] }), list);
            Ok(())
        }
        ProvidersCommand::Enable { name } => switch(api, remote, name, true).await,
        ProvidersCommand::Disable { name } => switch(api, remote, name, false).await,
    }
}

fn list(answer: &Value) {
    let mut table = Table::new(["NAME", "STATE", "DRAFT", "FROM", "WHAT"]).cutting(["FROM", "WHAT"]);
    for one in items(answer, "providers") {
        let state = |enabled: &Value| match enabled == true {
            true => Cell::new("enabled", Tone::Good),
            false => Cell::new("disabled", Tone::Dim),
        };
        let draft = match &one["draft"] {
            Value::Null => Cell::new("", Tone::Plain),
            draft => state(&draft["enabled"]),
        };
        let (name, from, title) = (text(one, "name"), text(one, "origin"), text(one, "title"));
        table.row([name.into(), state(&one["enabled"]), draft, from.into(), title.into()]);
    }
    table.print();
}

/// A draft and its deployment in one. A draft that is there already may have changes of others, which would go with it.
async fn switch(api: &Api, remote: &Remote, name: &str, enabled: bool) -> Result<(), Failure> {
    let app = api.ask("GET", "/v1/admin/app", None).await?;
    let found = items(&app, "providers").find(|one| one["name"] == name);
    let found =
        found.ok_or_else(|| Failure::usage(format!("there is no provider {name}: see passerby providers list")))?;
    if let Some(why) = found["locked_because"].as_str() {
        return Err(Failure::other(why));
    }
    let word = if enabled { "enabled" } else { "disabled" };
    if found["enabled"] == enabled {
        remote.show(&app["deployment"], |_| print(&format!("{name} is {word} already\n")));
        return Ok(());
    }
    if !app["draft"].is_null() {
        let by = text(&app["draft"], "by");
        return Err(Failure::other(format!("{by} has a draft: deploy it or discard it first, or change it there")));
    }
    let patch = json!({ "providers": { name: { "name": name, "type": name, "disabled": !enabled } } });
    let draft = api.ask("PATCH", "/v1/admin/draft", Some(json!({ "revision": 0, "app": patch }))).await?;
    let body = json!({ "revision": draft["revision"], "name": format!("{name} {word}") });
    match api.ask("POST", "/v1/admin/draft/deploy", Some(body)).await {
        Ok(deployed) => {
            remote.show(&deployed, is_deployed);
            Ok(())
        }
        Err(failure) => {
            // what could not be deployed is in nobody's way
            let path = format!("/v1/admin/draft?revision={}", number(&draft, "revision"));
            drop(api.ask("DELETE", &path, None).await);
            Err(failure)
        }
    }
}
