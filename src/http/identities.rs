//! Identities and keys as both APIs show them, and the step from a credential to a proof.

use std::net::IpAddr;
use std::sync::Arc;

use passerby_actors::actor::{CREDENTIAL_COSTS, Proof};
use passerby_actors::domain::{ApiKey as Stored, DeviceId, Identity};
use serde_json::{Map, Value};

use crate::limits::budget::OverBudget;
use crate::provider::api_key::ApiKey;
use crate::provider::custom_token::CUSTOM_TOKEN;
use crate::provider::identity::{Asked, IdentityError, IdentityProvider};
use crate::provider::local_userpass::{Answer, LocalUserpass, UserpassError};
use crate::provider::password::Password;
use crate::provider::{is_of_app_services, rules};
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
    provider.verify(body, asked).await.map(Proof::from).inspect_err(|error| report(provider.name(), error))
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

/// The id as people know it.
pub(crate) fn shown_id(identity: &Identity) -> String {
    rules(&identity.key.provider).shown_id(&identity.key.external).to_owned()
}

/// The type for SDKs, one of which takes none that it does not know.
pub(crate) fn sdk_type(identity: &Identity) -> &str {
    let name = &*identity.key.provider;
    if is_of_app_services(name) { name } else { CUSTOM_TOKEN }
}

/// A new API key of this name: what is kept of it, and the key itself.
pub(crate) fn new_key(server: &Server, name: &str) -> (Stored, ApiKey) {
    let secret = ApiKey::new(&*server.entropy);
    let key = Stored {
        id: DeviceId(server.random_id()),
        hash: *secret.hash().as_bytes(),
        created: server.clock().now(),
        disabled: false,
        name: name.into(),
    };
    (key, secret)
}
