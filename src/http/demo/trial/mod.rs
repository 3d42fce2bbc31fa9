//! A to-do list that is used at once and kept on sign-up: all that it does, it does through `/passerby.js` and the API. The one thing
//! that a page cannot do on its own is a QR code.

use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use crate::http::demo::page::{PAGE_POLICY, assets};
use crate::http::{Answer, Context, at, body};

/// Adds the page.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    assets(
        config,
        [
            ("/demo/trial.css", "text/css", include_str!("trial.css")),
            ("/demo/trial.js", "text/javascript", include_str!("trial.js")),
        ],
    );
    config.service(at("/").on(Method::GET, page)).service(at("/demo/qr").on(Method::POST, qr));
}

async fn page() -> Answer {
    let mut response = HttpResponse::Ok();
    response.insert_header(PAGE_POLICY).content_type("text/html; charset=utf-8");
    Ok(response.body(include_str!("trial.html")))
}

/// A QR code of the body's text, as SVG. The text comes in the body and not in the URL, since a code that logs in a user may be in it.
async fn qr(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> Answer {
    let text = body::read(&request, &context, payload).await?;
    let code = QrCode::with_error_correction_level(&text, EcLevel::M).map_err(|_| body::BodyError::TooLarge(2000))?;
    let image = code.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
    Ok(HttpResponse::Ok().content_type("image/svg+xml").body(image))
}
