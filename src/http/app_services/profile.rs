//! The profile of a user.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use passerby_actors::domain::{Flags, UserState};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::auth::authenticate;
use super::error::Answer;
use crate::http::{Context, identities, json};
use crate::provider::ANON_USER;

/// A user's profile.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesProfile)]
pub(crate) struct Profile {
    /// The user's id.
    #[schema(example = "636aba021728b6c1c03db7f9")]
    user_id: String,
    /// The app's domain.
    #[schema(example = "0123456789abcdef01234567")]
    domain_id: String,
    /// The user's identities, in the order in which they were linked.
    identities: Vec<ProfileIdentity>,
    /// What the providers say, as far as the settings ask for it.
    #[schema(value_type = std::collections::HashMap<String, Value>, example = json!({"name": "Ada"}))]
    data: Map<String, Value>,
    /// `normal`.
    #[serde(rename = "type")]
    #[schema(example = "normal")]
    kind: &'static str,
}

/// One identity of a user.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesIdentity)]
pub(crate) struct ProfileIdentity {
    /// Who it is at the provider.
    #[schema(example = "636aba021728b6c1c03db7fa")]
    id: String,
    /// The provider.
    #[schema(example = "anon-user")]
    provider_type: String,
    /// The provider's id in this app.
    #[schema(example = "636aba021728b6c1c03db7fb")]
    provider_id: String,
}

/// Shows the access token's user.
#[utoipa::path(get, path = "/api/client/v2.0/auth/profile", tag = "App Services", operation_id = "appServicesGetProfile", security(("access_token" = [])),
    responses((status = 200, body = Profile, description = "The user.")),
    extensions(("x-problems" = json!("appsession"))))]
pub(crate) async fn profile(request: HttpRequest, context: Data<Context>) -> Answer {
    let (access, live) = authenticate(&request, &context)?;
    let tokens = &context.server.tokens;
    let identity = |kind: &str, id: String| ProfileIdentity {
        id,
        provider_type: kind.to_owned(),
        provider_id: tokens.provider_id(kind),
    };
    let user = context.handle.load(&access.user);
    let linked = user.as_ref().map_or(&[][..], UserState::identities);
    let mut data = Map::new();
    for known in linked {
        if let Ok(Value::Object(told)) = serde_json::from_str(&known.data) {
            data.extend(told);
        }
    }
    let was_anonymous = !live.record.flags.has(Flags::BORN_LASTING);
    let anonymous = was_anonymous.then(|| identity(ANON_USER, access.user.anonymous_identity()));
    let linked = linked.iter().map(|known| identity(identities::sdk_type(known), identities::shown_id(known)));
    let identities = anonymous.into_iter().chain(linked).collect();
    let (user_id, domain_id) = (access.user.to_string(), tokens.domain_id().to_owned());
    Ok(json(StatusCode::OK, &Profile { user_id, domain_id, identities, data, kind: "normal" }))
}
