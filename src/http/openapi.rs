//! The OpenAPI document, generated from the handlers themselves.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::{JSON, client_api, v1};

#[derive(OpenApi)]
#[openapi(
    info(title = "Passerby", description = "Anonymous authentication and sessions"),
    paths(
        client_api::location,
        client_api::login,
        client_api::profile,
        client_api::refresh,
        client_api::logout,
        client_api::delete,
        client_api::userpass::register_user,
        client_api::userpass::confirm,
        client_api::userpass::send_confirmation,
        client_api::userpass::reset,
        client_api::userpass::send_reset,
        client_api::api_keys::create_key,
        client_api::api_keys::fetch_keys,
        client_api::api_keys::fetch_key,
        client_api::api_keys::delete_key,
        client_api::api_keys::enable_key,
        client_api::api_keys::disable_key,
        v1::create_session,
        v1::session,
        v1::refresh_session,
        v1::end_session,
        v1::delete_user,
        v1::linking::list_identities,
        v1::linking::link_identity,
        v1::linking::unlink_identity,
        v1::sessions::list_sessions,
        v1::sessions::end_other_sessions,
        v1::sessions::end_one_session,
        v1::sessions::transfer,
        v1::userpass::register,
        v1::userpass::confirm_registration,
        v1::userpass::resend_confirmation,
        v1::userpass::ask_for_reset,
        v1::userpass::reset_password,
        v1::userpass::change_password,
        v1::api_keys::list_keys,
        v1::api_keys::make_key,
        v1::api_keys::change_key,
        v1::api_keys::remove_key,
        v1::browser_login::begin,
        v1::browser_login::callback,
        v1::challenge::challenge,
        v1::data::get_data,
        v1::data::put_data,
        v1::data::patch_data,
        v1::data::increment_data,
        v1::data::delete_data,
        v1::export::export,
        super::socket::ticket,
        super::socket::open,
        v1::jwks,
        v1::meters::list_meters,
        v1::meters::use_meter,
        super::reader::verify::verify,
    ),
    modifiers(&Security)
)]
struct Document;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for name in ["access_token", "refresh_token"] {
            let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
            components.add_security_scheme(name, SecurityScheme::Http(bearer));
        }
        let about = "a reader's; `__Secure-passerby` with `cookie.domain`. What changes something needs `Sec-Fetch-Site` or `Origin` besides";
        let cookie = ApiKeyValue::with_description("__Host-passerby", about);
        components.add_security_scheme("reader_cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    }
}

/// Adds the route.
pub fn routes(config: &mut web::ServiceConfig) {
    let document = web::Bytes::from(Document::openapi().to_json().unwrap_or_default());
    let serve = move || {
        let document = document.clone();
        async move { HttpResponse::Ok().insert_header((header::CONTENT_TYPE, JSON)).body(document) }
    };
    config.service(web::resource("/openapi.json").get(serve).default_service(super::other_method("GET")));
}
