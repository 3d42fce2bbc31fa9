//! Providers: listed, created, enabled, disabled, changed, deleted. And what else of an app is configured here.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use passerby_actors::domain::API_KEY;
use serde_json::{Map, Value, json};

use super::apps::must_be_this;
use super::configuration::{change, shown};
use crate::admin::Role;
use crate::http::admin::asked::{Asked, text};
use crate::http::admin::deploying::set_by_file;
use crate::http::admin::table::{Row, row};
use crate::http::json;
use crate::http::problem::{Answer, Problem};
use crate::provider::app_folder::AppContent;

pub(super) fn rows() -> Vec<Row> {
    let (read, owner) = (Some(Role::Read), Some(Role::Owner));
    vec![
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/auth_providers", read, None, list),
        row("POST /api/admin/v3.0/groups/{group}/apps/{app}/auth_providers", owner, "provider.create", create)
            .with_app(),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/auth_providers/{provider}", read, None, get),
        row(
            "PATCH /api/admin/v3.0/groups/{group}/apps/{app}/auth_providers/{provider}",
            owner,
            "provider.change",
            patch,
        )
        .with_app(),
        row(
            "DELETE /api/admin/v3.0/groups/{group}/apps/{app}/auth_providers/{provider}",
            owner,
            "provider.delete",
            delete,
        ),
        row(
            "PUT /api/admin/v3.0/groups/{group}/apps/{app}/auth_providers/{provider}/enable",
            owner,
            "provider.enable",
            enable,
        ),
        row(
            "PUT /api/admin/v3.0/groups/{group}/apps/{app}/auth_providers/{provider}/disable",
            owner,
            "provider.disable",
            disable,
        ),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/security/allowed_request_origins", read, None, origins),
        row(
            "POST /api/admin/v3.0/groups/{group}/apps/{app}/security/allowed_request_origins",
            owner,
            "origins.change",
            set_origins,
        )
        .with_app(),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/security/refresh_token_expiration", read, None, expiration),
        row(
            "PUT /api/admin/v3.0/groups/{group}/apps/{app}/security/refresh_token_expiration",
            owner,
            "expiration.change",
            set_expiration,
        ),
        row("GET /api/admin/v3.0/groups/{group}/apps/{app}/custom_user_data", read, None, custom_user_data),
        row(
            "PATCH /api/admin/v3.0/groups/{group}/apps/{app}/custom_user_data",
            owner,
            "custom-user-data.change",
            set_custom_user_data,
        )
        .with_app(),
    ]
}

fn id(asked: &Asked, name: &str) -> String {
    asked.context.server.tokens.provider_id(name)
}

/// An app's providers by name; keys are there from the beginning, and off, as in each new app of App Services.
fn providers(app: AppContent) -> impl Iterator<Item = (String, Value)> {
    let keys = json!({ "name": API_KEY, "type": API_KEY, "disabled": true });
    let keys = (!app.providers.contains_key(API_KEY)).then(|| (API_KEY.to_owned(), keys));
    app.providers.into_iter().chain(keys)
}

/// Those of `passerby.toml`, which are enabled and cannot be changed here.
fn of_the_file(asked: &Asked) -> Vec<String> {
    let app = asked.context.server.app();
    app.of_the_settings().map(str::to_owned).collect()
}

/// One of `passerby.toml`.
fn fixed(asked: &Asked, name: &str) -> Value {
    json!({ "_id": id(asked, name), "name": name, "type": name, "disabled": false, "origin": "passerby.toml" })
}

async fn list(asked: Asked) -> Answer {
    let (app, of_file) = (shown(&asked)?, of_the_file(&asked));
    let own = providers(app).filter(|(name, _)| !of_file.contains(name)).map(|(name, provider)| {
        json!({ "_id": id(&asked, &name), "name": name, "type": name, "disabled": provider["disabled"] })
    });
    let of_file = of_file.iter().map(|name| fixed(&asked, name));
    Ok(json(StatusCode::OK, &own.chain(of_file).collect::<Vec<_>>()))
}

/// The provider that the path names.
fn named(asked: &Asked) -> Result<(String, Value), Problem> {
    let wanted = asked.parameter("provider");
    if let Some(name) = of_the_file(asked).into_iter().find(|name| id(asked, name) == wanted) {
        return Err(set_by_file(&name));
    }
    let found = providers(shown(asked)?).find(|(name, _)| id(asked, name) == wanted);
    let missing = || Problem::new(StatusCode::NOT_FOUND, "auth-provider-not-found", "auth provider not found");
    found.ok_or_else(missing)
}

async fn get(asked: Asked) -> Answer {
    let wanted = asked.parameter("provider");
    if let Some(name) = of_the_file(&asked).into_iter().find(|name| id(&asked, name) == wanted) {
        must_be_this(&asked)?;
        return Ok(json(StatusCode::OK, &fixed(&asked, &name)));
    }
    let (name, mut provider) = named(&asked)?;
    provider["_id"] = Value::from(id(&asked, &name));
    Ok(json(StatusCode::OK, &provider))
}

async fn create(asked: Asked) -> Answer {
    let fields = asked.loose_fields()?;
    let name = text(&fields, "type")?.to_owned();
    if of_the_file(&asked).contains(&name) {
        return Err(set_by_file(&name));
    }
    let provider = Value::Object(fields);
    change(&asked, ("provider.create", &name), |app| {
        if app.providers.contains_key(&name) {
            let detail = format!("an auth provider with the name {name:?} exists already");
            return Err(Problem::new(StatusCode::CONFLICT, "auth-provider-already-exists", detail));
        }
        app.providers.insert(name.clone(), provider);
        Ok(())
    })
    .await?;
    let mut created = shown(&asked)?.providers.remove(&name).unwrap_or_default();
    created["_id"] = Value::from(id(&asked, &name));
    Ok(json(StatusCode::CREATED, &created))
}

/// Each of the fields takes the place of the provider's.
async fn patch(asked: Asked) -> Answer {
    let (fields, (name, provider)) = (asked.loose_fields()?, named(&asked)?);
    let Value::Object(mut provider) = provider else { return Err(Problem::bad_field("the provider is no object")) };
    provider.extend(fields);
    change(&asked, ("provider.change", &name), |app| {
        app.providers.insert(name.clone(), Value::Object(provider));
        Ok(())
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn delete(asked: Asked) -> Answer {
    let (name, _) = named(&asked)?;
    change(&asked, ("provider.delete", &name), |app| {
        app.providers.remove(&name);
        Ok(())
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn enable(asked: Asked) -> Answer {
    switch(asked, "provider.enable", true).await
}

async fn disable(asked: Asked) -> Answer {
    switch(asked, "provider.disable", false).await
}

async fn switch(asked: Asked, what: &str, enabled: bool) -> Answer {
    let (name, _) = named(&asked)?;
    change(&asked, (what, &name), |app| {
        app.set_enabled(&name, enabled);
        Ok(())
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn origins(asked: Asked) -> Answer {
    let (deployed, app) = (shown(&asked)?.allowed_request_origins, asked.context.server.app());
    // where the settings list them, nothing else is in force
    Ok(json(StatusCode::OK, if app.origins_are_fixed { &app.allowed_origins } else { &deployed }))
}

async fn set_origins(asked: Asked) -> Answer {
    if asked.context.server.app().origins_are_fixed {
        return Err(set_by_file("allowed_origins"));
    }
    let wrong = |_| Problem::bad_field("expected a list of origins");
    let origins: Vec<String> = serde_json::from_value(asked.value()?).map_err(wrong)?;
    change(&asked, ("origins.change", "allowed_request_origins"), |app| {
        app.allowed_request_origins = origins;
        Ok(())
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

/// How long a session of a lasting account lives.
async fn expiration(asked: Asked) -> Answer {
    let (deployed, app) = (shown(&asked)?.refresh_token_expiration_s, asked.context.server.app());
    let seconds = deployed.filter(|_| !app.is_lifetime_fixed).unwrap_or(app.session_lifetime_s);
    Ok(json(StatusCode::OK, &json!({ "expiration_time_seconds": seconds })))
}

async fn set_expiration(asked: Asked) -> Answer {
    if asked.context.server.app().is_lifetime_fixed {
        return Err(set_by_file("session.lifetime"));
    }
    let fields = asked.loose_fields()?;
    let seconds = fields.get("expiration_time_seconds").and_then(Value::as_u64).and_then(|s| u32::try_from(s).ok());
    let wrong = || Problem::bad_field("expiration_time_seconds must be a whole number of seconds");
    let seconds = seconds.ok_or_else(wrong)?;
    change(&asked, ("expiration.change", "refresh_token_expiration"), |app| {
        app.refresh_token_expiration_s = Some(seconds);
        Ok(())
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn custom_user_data(asked: Asked) -> Answer {
    let none = || Map::from_iter([("enabled".to_owned(), Value::Bool(false))]);
    Ok(json(StatusCode::OK, &shown(&asked)?.custom_user_data.unwrap_or_else(none)))
}

async fn set_custom_user_data(asked: Asked) -> Answer {
    let fields = asked.loose_fields()?;
    change(&asked, ("custom-user-data.change", "custom_user_data"), |app| {
        app.custom_user_data.get_or_insert_default().extend(fields);
        Ok(())
    })
    .await?;
    Ok(HttpResponse::NoContent().finish())
}
