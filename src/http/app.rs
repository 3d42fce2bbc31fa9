//! The application of the public listener: every API, and what is the same for all requests.

use std::convert::Infallible;
use std::sync::Arc;

use actix_web::body::{BodySize, BodyStream, BoxBody, MessageBody};
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Uri};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpMessage as _, HttpRequest, HttpResponse, web};
use futures_util::stream;
use passerby_actors::handle::Handle;

use super::connection::Endless;
use super::context::{Context, WasHead, options};
use super::cors::{self, Permission};
use super::problem::Problem;
use super::{app_services, body, demo, forwarded, index, openapi, script, socket, v1, verify};
use crate::server::Server;

/// The application of the public listener, for one worker.
pub(crate) fn public_app(
    server: Arc<Server>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let handle = Handle::new(Arc::clone(&server.core), Arc::clone(&server.linker));
    let (demo, has_index) = (server.settings.demo, server.settings.http.index);
    let public_url = server.settings.public_url.clone();
    App::new()
        .app_data(web::Data::new(Context { server, handle }))
        .wrap(from_fn(around))
        .configure(app_services::routes)
        .configure(v1::routes)
        .configure(verify::routes)
        .configure(|config| openapi::routes(config, public_url.as_deref()))
        .configure(script::routes)
        .configure(socket::routes)
        .configure(move |config| match demo {
            Some(demo) => demo::routes(config, demo),
            None if has_index => index::routes(config),
            None => {}
        })
        .default_service(web::to(not_found))
}

async fn not_found(request: HttpRequest, context: web::Data<Context>, payload: web::Payload) -> HttpResponse {
    body::leave(&request, payload);
    // of the server as a whole (RFC 9110 §9.3.7)
    if *request.method() == Method::OPTIONS && request.path() == "*" {
        return options("GET, POST, PUT, PATCH, DELETE");
    }
    if app_services::serves(request.path()) {
        app_services::not_found(&request, &context)
    } else {
        Problem::not_found().respond(&context)
    }
}

/// Middleware: everything that is the same for every request. One layer, because each costs every request an allocation.
async fn around(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let Some(context) = request.app_data::<web::Data<Context>>().cloned() else {
        return next.call(request).await.map(ServiceResponse::map_into_boxed_body);
    };
    let clock = context.server.clock();
    let before_us = clock.monotonic_us();
    if let Some(connection) = request.conn_data::<Endless>() {
        connection.has_request();
    }
    merge_slashes(&mut request);
    let is_head = take_head(&mut request);
    let names_websocket = body::names_websocket(&request);
    let asks_for_upgrade = request.head().upgrade() || names_websocket;
    if names_websocket {
        body::end_at_its_length(&mut request);
    }
    body::hold_what_nobody_reads(&mut request).await?;
    let permission = Permission::of(&request, &context.server.app());
    let answered = match cors::asks_for(&request) {
        Some(method) => {
            let answer = permission.preflight(request.request(), &method, &context);
            request.into_response(answer)
        }
        None => {
            let mut answered = next.call(request).await?.map_into_boxed_body();
            permission.put(answered.headers_mut());
            answered
        }
    };
    let answered = if is_head { without_body(answered) } else { answered };
    let mut response = body::release_unread(answered);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if context.server.settings.demands_tls() {
        let (name, value) = forwarded::STAY_ON_TLS;
        response.headers_mut().insert(name, value);
    }
    if asks_for_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // actix-http ends the connection after it and does not say so: the next request of a proxy's would be lost
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    context.server.count_response(response.status().as_u16(), clock.monotonic_us().saturating_sub(before_us));
    Ok(response)
}

/// Lets a HEAD be handled as a GET (RFC 9110 §9.3.2); `/verify` has rules of its own for it.
fn take_head(request: &mut ServiceRequest) -> bool {
    let is_head = *request.method() == Method::HEAD && request.path() != verify::PATH;
    if is_head {
        request.head_mut().method = Method::GET;
        request.extensions_mut().insert(WasHead);
    }
    is_head
}

/// The answer to a HEAD: as that to the GET, with its length and without its body. The encoder would do so too, but by
/// the method of the last request that it read, which may be a later one.
fn without_body(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let BodySize::Sized(length) = response.response().body().size() else { return response };
    response.map_body(|head, _| {
        head.headers.insert(header::CONTENT_LENGTH, length.into());
        head.no_chunking(true);
        BoxBody::new(BodyStream::new(stream::empty::<Result<web::Bytes, Infallible>>()))
    })
}

/// realm-web does not trim a slash at the end of its baseUrl (docs/protocol.md, "Paths").
fn merge_slashes(request: &mut ServiceRequest) {
    if !request.path().contains("//") {
        return;
    }
    let mut path = String::with_capacity(request.path().len());
    for c in request.path().chars() {
        if c != '/' || !path.ends_with('/') {
            path.push(c);
        }
    }
    if let Some(query) = request.uri().query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = path.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}
