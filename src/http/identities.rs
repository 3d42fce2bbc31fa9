//! Identities as both APIs show them, and the step from a credential to a proof.

use passerby_actors::actor::Proof;
use passerby_actors::domain::{Identity, IdentityKey};
use serde_json::{Map, Value};

use crate::provider::identity::{IdentityError, IdentityProvider};
use crate::provider::{IDENTITY_PROVIDERS, NOT_BUILT};
use crate::server::Server;

/// Asks the provider whether the credential in `body` is good.
///
/// # Errors
/// The provider's.
pub(crate) async fn prove(
    server: &Server,
    provider: &dyn IdentityProvider,
    body: &Map<String, Value>,
) -> Result<Proof, IdentityError> {
    let verified = provider.verify(body, server.wall_s()).await?;
    let data = if verified.data.is_empty() { String::new() } else { Value::Object(verified.data).to_string() };
    let identity = IdentityKey { provider: verified.provider.into(), external: verified.external.into() };
    Ok(Proof { identity, data: data.into() })
}

/// The id as people know it: without the issuer that makes it unique here.
pub(crate) fn shown_id(identity: &Identity) -> String {
    let IdentityKey { provider, external } = &identity.key;
    let subject = if provider.starts_with("oidc-") || provider.starts_with("oauth2-") {
        external.split_once(' ').map(|(_, subject)| subject)
    } else {
        None
    };
    subject.unwrap_or(external).to_owned()
}

/// The type for SDKs, one of which crashes on any that it does not know (wire-protocol §4).
pub(crate) fn sdk_type(identity: &Identity) -> &str {
    let name = &*identity.key.provider;
    if IDENTITY_PROVIDERS.contains(&name) || NOT_BUILT.contains(&name) { name } else { "custom-token" }
}
