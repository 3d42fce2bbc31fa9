//! The endpoints of an API: its handlers by path and method. What they refuse, and every other method, has the form of that API.

use std::marker::PhantomData;

use actix_web::dev::{AppService, HttpServiceFactory};
use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::web::{Data, Payload};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Resource, Route, web};

use super::body;
use super::context::{Context, NO_STORE, allow, options};

/// Why a request is refused, in the form of an API.
pub(crate) trait ApiError: 'static {
    /// The path has no handler for the request's method.
    fn method_not_allowed() -> Self;

    fn answer(self, request: &HttpRequest, context: &Context) -> HttpResponse;
}

/// A path and its handlers.
pub(crate) struct Endpoint<E> {
    resource: Resource,
    methods: Vec<String>,
    error: PhantomData<E>,
}

/// A path that has no handlers yet.
pub(crate) fn at<E: ApiError>(path: &str) -> Endpoint<E> {
    Endpoint { resource: web::resource(path), methods: Vec::new(), error: PhantomData }
}

impl<E: ApiError> Endpoint<E> {
    /// Adds the handler of a method. No cache keeps what it answers, unless the answer says so itself.
    pub(crate) fn on<H, A>(mut self, method: Method, handler: H) -> Self
    where
        H: Handler<A, Output = Result<HttpResponse, E>>,
        A: FromRequest + 'static,
    {
        self.methods.push(method.to_string());
        let route = move |request: HttpRequest, context: Data<Context>, arguments: A| {
            let answer = handler.call(arguments);
            async move {
                let mut response = answer.await.unwrap_or_else(|error| error.answer(&request, &context));
                let (name, value) = NO_STORE;
                if !response.headers().contains_key(&name) {
                    response.headers_mut().insert(name, value);
                }
                response
            }
        };
        self.resource = self.resource.route(web::method(method).to(route));
        self
    }
}

impl<E: ApiError> HttpServiceFactory for Endpoint<E> {
    fn register(self, config: &mut AppService) {
        self.resource.default_service(other_than::<E>(self.methods.join(", "))).register(config);
    }
}

/// For a known path with a method other than these (RFC 9110 §15.5.6), in the form of its API; `OPTIONS` asks which they are.
fn other_than<E: ApiError>(methods: String) -> Route {
    web::to(move |request: HttpRequest, context: Data<Context>, payload: Payload| {
        body::leave(&request, payload);
        if *request.method() == Method::OPTIONS {
            return std::future::ready(options(&methods));
        }
        let mut response = E::method_not_allowed().answer(&request, &context);
        let (name, value) = allow(&methods);
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
        std::future::ready(response)
    })
}
