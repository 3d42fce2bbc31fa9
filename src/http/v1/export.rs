//! Everything that is held about a user, for that user (S44).

use actix_web::HttpRequest;
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Data, ServiceConfig};

use crate::http::schemas::UserExport;
use crate::http::{Answer, Context, Scope, at, authenticate, json as answer_json, user_of, whole_user};

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config.service(at("/v1/user/export").on(Method::GET, export));
}

/// Exports all that is held about the user.
///
/// Passwords, keys and tokens are held as hashes or not at all, and are not in it.
#[utoipa::path(get, path = "/v1/user/export", tag = "Accounts", operation_id = "exportUser", security(("access_token" = []), ("reader_cookie" = [])),
    responses((status = 200, body = UserExport, description = "All that is held.")),
    extensions(("x-problems" = json!("account"))))]
pub(crate) async fn export(request: HttpRequest, context: Data<Context>) -> Answer {
    let live = authenticate(&request, &context, Scope::Account)?;
    let user = user_of(&context, &live)?;
    Ok(answer_json(StatusCode::OK, &whole_user::of(&context.server, &user)))
}
