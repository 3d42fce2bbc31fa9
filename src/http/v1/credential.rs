//! The credential in the body of a login or a link, and what it proves.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use passerby_actors::actor::Proof;
use serde_json::{Map, Value};

use super::browser_login;
use super::challenge::{afford, afford_password};
use crate::http::fields::{OF_CREDENTIALS, only};
use crate::http::{Context, Problem, client, identities};
use crate::limits::budget::Spend;
use crate::provider::identity::IdentityProvider;
use crate::provider::{ANON_USER, rules};

/// Refuses the fields of other providers' credentials; `what` has those in `known`.
pub(super) fn misplaced(body: &Map<String, Value>, known: &[&str], what: &str) -> Result<(), Problem> {
    let of_credentials = |(name, _): &(&String, &Value)| OF_CREDENTIALS.contains(&name.as_str());
    let found = body.iter().filter(of_credentials).map(|(name, _)| (name.clone(), Value::Null)).collect();
    only(&found, &[known], what).map_err(|refused| Problem::misplaced_fields(refused.to_string()))
}

/// What the credential in a body proves, once it is paid for. `peek` leaves a code that works once as it is.
pub(super) async fn prove(
    request: &HttpRequest,
    context: &Context,
    body: &Map<String, Value>,
    peek: bool,
) -> Result<Proof, Problem> {
    let provider = afford_credential(request, context, body)?;
    prove_with(&*provider, request, context, body, peek).await
}

/// Pays for looking at the credential in a body, which has the fields of its provider and no others; that provider.
pub(super) fn afford_credential(
    request: &HttpRequest,
    context: &Context,
    body: &Map<String, Value>,
) -> Result<Arc<dyn IdentityProvider>, Problem> {
    let name = body.get("provider").and_then(Value::as_str).unwrap_or_default();
    let app = context.server.app();
    let providers = &app.providers;
    if name == ANON_USER {
        let detail = "an anonymous identity cannot be linked";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "anonymous-identity", detail));
    }
    let Some(provider) = providers.get(name) else {
        return Err(if providers.knows(name) { Problem::provider_disabled() } else { Problem::unknown_provider() });
    };
    misplaced(body, provider.fields(body), &format!("this credential of {name:?}"))?;
    if rules(name).hashes_passwords {
        afford_password(request, context, body)?;
    } else {
        afford(request, context, Spend::Link, body)?;
    }
    Ok(Arc::clone(provider))
}

/// What a credential proves to the provider for which it is paid ([`afford_credential`]). `peek` leaves a code that works once as it is.
pub(super) async fn prove_with(
    provider: &dyn IdentityProvider,
    request: &HttpRequest,
    context: &Context,
    body: &Map<String, Value>,
    peek: bool,
) -> Result<Proof, Problem> {
    if body.contains_key("code") && rules(provider.name()).has_issuer {
        return Ok(browser_login::finished(context, provider.name(), body, peek)?);
    }
    Ok(identities::prove(&context.server, provider, body, client(request, context)).await?)
}
