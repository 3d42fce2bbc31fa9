//! Identities and keys as both APIs show them, and the step from a credential to a proof.

use std::net::IpAddr;
use std::sync::Arc;

use passerby_actors::actor::{CREDENTIAL_COSTS, Proof};
use passerby_actors::domain::{ApiKey as Stored, DeviceId, Identity, IdentityKey};
use serde_json::{Map, Value};

use crate::limits::budget::OverBudget;
use crate::provider::api_key::ApiKey;
use crate::provider::identity::{Asked, IdentityError, IdentityProvider, VerifiedIdentity};
use crate::provider::local_userpass::{Answer, LocalUserpass, UserpassError};
use crate::provider::password::Password;
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
    client: IpAddr,
) -> Result<Proof, IdentityError> {
    let asked = Asked { now_s: server.wall_s(), client };
    provider.verify(body, asked).await.map(proof_of).inspect_err(|error| report(provider.name(), error))
}

/// Registers a name with a password in the network's share of users. What is certainly not stored does not count.
///
/// # Errors
/// The network has had its share; the provider's.
pub(crate) async fn register<E: From<OverBudget> + From<UserpassError>>(
    server: &Server,
    userpass: &Arc<LocalUserpass>,
    (name, password): (&str, Password),
    client: IpAddr,
    answer: Answer,
) -> Result<(), E> {
    let costs = CREDENTIAL_COSTS as u64;
    server.budgets.claim_users(client, costs)?;
    let registered = userpass.register(name, password, client, answer).await;
    if !registered.as_ref().map_or_else(UserpassError::may_have_stored, |stored| *stored) {
        server.budgets.give_back_users(client, costs);
    }
    Ok(registered.map(drop)?)
}

/// Says in the log why a provider could not be asked: the answer does not, since it would name addresses.
pub(crate) fn report(provider: &str, error: &IdentityError) {
    if let IdentityError::Unavailable(error) = error {
        tracing::warn!(provider, %error, "a provider cannot be asked");
    }
}

/// What the linker takes.
pub(crate) fn proof_of(verified: VerifiedIdentity) -> Proof {
    let data = if verified.data.is_empty() { String::new() } else { Value::Object(verified.data).to_string() };
    let identity = IdentityKey { provider: verified.provider.into(), external: verified.external.into() };
    let VerifiedIdentity { rests_on, of_known_user, .. } = verified;
    Proof { rests_on, of_known_user, ..Proof::new(identity, data.into()) }
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

/// The type for SDKs, one of which takes none that it does not know.
pub(crate) fn sdk_type(identity: &Identity) -> &str {
    let name = &*identity.key.provider;
    if IDENTITY_PROVIDERS.contains(&name) || NOT_BUILT.contains(&name) { name } else { "custom-token" }
}

/// A new API key of this name: what is kept of it, and the key itself.
pub(crate) fn new_key(server: &Server, name: &str) -> (Stored, ApiKey) {
    let secret = ApiKey::new(&*server.entropy);
    let key = Stored {
        id: DeviceId(server.random_id()),
        hash: *secret.hash().as_bytes(),
        made: server.clock().now(),
        disabled: false,
        name: name.into(),
    };
    (key, secret)
}
