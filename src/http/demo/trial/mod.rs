//! A to-do list that is used at once and kept on sign-up: all that it does, it does through `/passerby.js` and the API. The one thing
//! that a page cannot do on its own is a QR code.

use actix_web::{HttpRequest, HttpResponse, web};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use crate::http::demo::page::{PAGE_POLICY, assets};
use crate::http::{Context, NO_STORE, Problem, body, other_method};

/// Adds the page.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    assets(
        config,
        [
            ("/demo/trial.css", "text/css", include_str!("trial.css")),
            ("/demo/trial.js", "text/javascript", include_str!("trial.js")),
        ],
    );
    config
        .service(web::resource("/").get(page).default_service(other_method("GET")))
        .service(web::resource("/demo/qr").post(qr).default_service(other_method("POST")));
}

async fn page() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header(NO_STORE).insert_header(PAGE_POLICY).content_type("text/html; charset=utf-8");
    response.body(include_str!("trial.html"))
}

/// A QR code of the body's text, as SVG. The text comes in the body and not in the URL, since a code that logs in a user may be in it.
async fn qr(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    let text = match body::read(&request, &context, payload).await {
        Ok(text) => text,
        Err(error) => return Problem::from(error).respond(&context),
    };
    match QrCode::with_error_correction_level(&text, EcLevel::M) {
        Ok(code) => {
            let image = code.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
            HttpResponse::Ok().insert_header(NO_STORE).content_type("image/svg+xml").body(image)
        }
        Err(_) => Problem::from(body::BodyError::TooLarge(2000)).respond(&context),
    }
}
