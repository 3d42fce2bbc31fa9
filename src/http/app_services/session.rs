//! Refreshing and ending a session, and deleting its user.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use passerby_actors::domain::{Cause, SessionId};
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::{authenticate, authenticate_refresh, of_owner};
use super::error::{Answer, no_content};
use crate::http::{Context, body, json, went, within_time};
use crate::token::AccessClaims;

/// A new access token.
#[derive(Serialize, ToSchema)]
#[schema(as = AppServicesAccessToken)]
pub(crate) struct RefreshBody {
    /// The token.
    #[schema(example = "eyJhbGciOiJFZERTQSJ9.eyJ0eXAiOiJhY2Nlc3MifQ.c2lnbmF0dXJl")]
    access_token: String,
}

/// Issues a new access token for the refresh token.
///
/// The refresh token stays as it is.
#[utoipa::path(post, path = "/api/client/v2.0/auth/session", tag = "App Services", operation_id = "appServicesRefresh", security(("refresh_token" = [])),
    responses((status = 201, body = RefreshBody, description = "The new access token.")),
    extensions(("x-problems" = json!("apprefresh body"))))]
pub(crate) async fn refresh(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    body::discard(&request, &context, payload).await?;
    let (refresh, live) = authenticate_refresh(&request, &context)?;
    let server = &context.server;
    let claims = AccessClaims {
        user: live.user,
        session: SessionId::derive(&live.user, live.number),
        epoch: live.epoch,
        device: refresh.device,
        kind: live.kind,
        issued_at_s: server.wall_s(),
        jti: server.random_id(),
    };
    let mut access_token = String::new();
    server.write_access(&claims, &mut access_token);
    Ok(json(StatusCode::CREATED, &RefreshBody { access_token }))
}

/// Ends the refresh token's session.
///
/// An anonymous user is gone with it.
#[utoipa::path(delete, path = "/api/client/v2.0/auth/session", tag = "App Services", operation_id = "appServicesLogout", security(("refresh_token" = [])),
    responses((status = 204, description = "The session has ended.")),
    extensions(("x-problems" = json!("apprefresh body"))))]
pub(crate) async fn logout(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    body::discard(&request, &context, payload).await?;
    let (_, live) = authenticate_refresh(&request, &context)?;
    within_time(&context, context.handle.logout(&live.user, live.number)).await?;
    went(&request, &context, &live);
    Ok(no_content())
}

/// Deletes the access token's user.
#[utoipa::path(delete, path = "/api/client/v2.0/auth/delete", tag = "App Services", operation_id = "appServicesDeleteUser", security(("access_token" = [])),
    responses((status = 204, description = "The user is gone.")),
    extensions(("x-problems" = json!("appsession KeySession body"))))]
pub(crate) async fn delete(request: HttpRequest, context: Data<Context>, payload: Payload) -> Answer {
    body::discard(&request, &context, payload).await?;
    let (_, live) = authenticate(&request, &context)?;
    of_owner(&live)?;
    within_time(&context, context.handle.delete(&live.user, Cause::DeletedByUser)).await?;
    went(&request, &context, &live);
    Ok(no_content())
}
