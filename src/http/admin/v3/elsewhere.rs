//! What App Services had for an app and is not served here, or is set elsewhere: functions, triggers, values, secrets, API keys of
//! servers, and how the app is deployed. Lists say what there is, and what would create something says why it cannot.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::apps::{must_be_this, not_implemented};
use crate::admin::Role;
use crate::http::admin::asked::Asked;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};

const FUNCTIONS: &str = "functions are not served here: move what they do to a server of yours";
const TRIGGERS: &str =
    "triggers do not run here: the events of /v1/admin/events say who was created, linked, logged in and deleted";
const VALUES: &str = "values are not read here: write them where they are used";
const SECRETS: &str = "secrets are set where the server is started: by PASSERBY_SECRET_NAME, or in secrets_file";
const API_KEYS: &str = "there are no users of the type server here: users have API keys of their own (/v1/user/api-keys), and admins have theirs";
const DEPLOYMENT: &str = "how the app is deployed is set where the server is started (app_dir), and drafts of the console cannot be \
                          switched off";

macro_rules! app {
    ($method:literal, $path:literal) => {
        concat!($method, " /api/admin/v3.0/groups/{group}/apps/{app}/", $path)
    };
}

pub(super) fn rows() -> Vec<Row> {
    let (read, owner) = (Some(Role::Read), Some(Role::Owner));
    vec![
        row(app!("GET", "functions"), read, None, none),
        row(app!("POST", "functions"), owner, "function.create", |asked| refused(asked, FUNCTIONS)),
        row(app!("GET", "functions/{function}"), read, None, no_function),
        row(app!("PUT", "functions/{function}"), owner, "function.change", no_function),
        row(app!("DELETE", "functions/{function}"), owner, "function.delete", no_function),
        row(app!("POST", "debug/execute_function"), owner, "function.run", |asked| refused(asked, FUNCTIONS)),
        row(app!("GET", "triggers"), read, None, none),
        row(app!("POST", "triggers"), owner, "trigger.create", |asked| refused(asked, TRIGGERS)),
        row(app!("GET", "triggers/{trigger}"), read, None, no_trigger),
        row(app!("PUT", "triggers/{trigger}"), owner, "trigger.change", no_trigger),
        row(app!("DELETE", "triggers/{trigger}"), owner, "trigger.delete", no_trigger),
        row(app!("GET", "values"), read, None, none),
        row(app!("POST", "values"), owner, "value.create", |asked| refused(asked, VALUES)),
        row(app!("GET", "secrets"), read, None, secrets),
        row(app!("POST", "secrets"), owner, "secret.create", |asked| refused(asked, SECRETS)),
        row(app!("PUT", "secrets/{secret}"), owner, "secret.change", secret),
        row(app!("DELETE", "secrets/{secret}"), owner, "secret.delete", secret),
        row(app!("GET", "api_keys"), read, None, none),
        row(app!("POST", "api_keys"), owner, "server-key.create", |asked| refused(asked, API_KEYS)),
        row(app!("GET", "api_keys/{key}"), read, None, no_key),
        row(app!("DELETE", "api_keys/{key}"), owner, "server-key.delete", no_key),
        row(app!("PUT", "api_keys/{key}/enable"), owner, "server-key.enable", no_key),
        row(app!("PUT", "api_keys/{key}/disable"), owner, "server-key.disable", no_key),
        row(app!("GET", "deploy/config"), read, None, deployment),
        row(app!("PATCH", "deploy/config"), owner, "deployment.configure", set_deployment),
    ]
}

async fn none(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    Ok(json(StatusCode::OK, &json!([])))
}

async fn refused(asked: Asked, why: &'static str) -> Answer {
    must_be_this(&asked)?;
    Err(not_implemented(why))
}

async fn no_function(asked: Asked) -> Answer {
    missing(&asked, "function-not-found", "function not found")
}

async fn no_trigger(asked: Asked) -> Answer {
    missing(&asked, "trigger-not-found", "trigger not found")
}

async fn no_key(asked: Asked) -> Answer {
    missing(&asked, "api-key-not-found", "API key not found")
}

fn missing(asked: &Asked, code: &'static str, detail: &str) -> Answer {
    must_be_this(asked)?;
    Err(Problem::new(StatusCode::NOT_FOUND, code, detail))
}

fn secret_id(asked: &Asked, name: &str) -> String {
    asked.context.server.tokens.provider_id(&format!("secret {name}"))
}

/// The names of the secrets that the server has, and nothing else of them.
async fn secrets(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let names = asked.context.server.deployments.secret_names()?;
    let shown = names.iter().map(|name| json!({ "_id": secret_id(&asked, name), "name": name }));
    Ok(json(StatusCode::OK, &shown.collect::<Vec<_>>()))
}

async fn secret(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let names = asked.context.server.deployments.secret_names()?;
    if names.iter().any(|name| secret_id(&asked, name) == asked.parameter("secret")) {
        return Err(not_implemented(SECRETS));
    }
    missing(&asked, "secret-not-found", "secret not found")
}

/// As it is, and cannot be changed.
fn configured(asked: &Asked) -> Value {
    let folder = &asked.context.server.settings.app_dir;
    json!({ "ui_drafts_disabled": false, "automatic_deployment": { "enabled": folder.is_some() } })
}

async fn deployment(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    Ok(json(StatusCode::OK, &configured(&asked)))
}

/// Whoever asks for what is there already has it.
async fn set_deployment(asked: Asked) -> Answer {
    must_be_this(&asked)?;
    let (wanted, now) = (asked.loose_fields()?, configured(&asked));
    let is_now = |(name, value): (&String, &Value)| match value {
        Value::Object(members) => members.iter().all(|(member, value)| now[name].get(member) == Some(value)),
        value => now.get(name) == Some(value),
    };
    if wanted.iter().all(is_now) { Ok(HttpResponse::NoContent().finish()) } else { Err(not_implemented(DEPLOYMENT)) }
}
