//! The routes of the admin API: each request is asked for by someone who may, done, and answered in the form of its face.

use std::collections::BTreeMap;
use std::rc::Rc;

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, web};

use super::asked::{Asked, Way};
use super::phase::SharedPhase;
use super::rule::Rule;
use super::table::{Row, Run};
use super::{answer, v1, v3};
use crate::http::body;
use crate::http::context::{allow, options};
use crate::http::endpoint::ApiError as _;
use crate::http::problem::Problem;

fn rows() -> impl Iterator<Item = Row> {
    v1::rows().into_iter().chain(v3::rows())
}

/// Every endpoint of the admin API.
pub fn rules() -> Vec<Rule> {
    rows().map(|row| row.rule).collect()
}

/// Adds them.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    let mut by_path: BTreeMap<&'static str, Vec<Row>> = BTreeMap::new();
    for row in rows() {
        by_path.entry(row.rule.path).or_default().push(row);
    }
    // paths without a parameter first: one with a parameter could take their place
    let mut paths: Vec<_> = by_path.into_iter().collect();
    paths.sort_by_key(|(path, _)| path.matches('{').count());
    for (path, rows) in paths {
        let methods: Vec<_> = rows.iter().map(|row| row.rule.method.to_string()).collect();
        let mut resource = web::resource(path);
        for row in rows {
            let (rule, run) = (Rc::new(row.rule), row.run);
            let with_head = (rule.method == Method::GET).then_some(Method::HEAD);
            for method in std::iter::once(rule.method.clone()).chain(with_head) {
                let (rule, run) = (Rc::clone(&rule), Rc::clone(&run));
                resource = resource.route(web::method(method).to(
                    move |request: HttpRequest, payload: Payload, phase: Data<SharedPhase>, way: Data<Way>| {
                        serve(request, payload, phase, way, Rc::clone(&rule), Rc::clone(&run))
                    },
                ));
            }
        }
        config.service(resource.default_service(web::to(
            move |request: HttpRequest, payload: Payload, phase: Data<SharedPhase>, way: Data<Way>| {
                body::leave(&request, payload);
                std::future::ready(other_than(&request, &phase, &way, &methods.join(", ")))
            },
        )));
    }
}

/// One request: asked for by someone who may, done, and answered in the form of its API.
async fn serve(
    request: HttpRequest,
    payload: Payload,
    phase: Data<SharedPhase>,
    way: Data<Way>,
    rule: Rc<Rule>,
    run: Run,
) -> HttpResponse {
    let Some(context) = way.context(&phase) else {
        body::leave(&request, payload);
        return answer::not_yet(&request);
    };
    let answered = match Asked::of(request.clone(), payload, context.clone(), &rule).await {
        Ok(asked) => run(asked).await,
        Err(problem) => Err(problem),
    };
    answer::finish(answered, &request, &context)
}

fn other_than(request: &HttpRequest, phase: &SharedPhase, way: &Way, methods: &str) -> HttpResponse {
    if *request.method() == Method::OPTIONS {
        return options(methods);
    }
    let Some(context) = way.context(phase) else { return answer::not_yet(request) };
    let refused = Problem::method_not_allowed();
    let mut response = answer::finish(Err(refused), request, &context);
    let (name, value) = allow(methods);
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// A path of the admin API at which nothing is.
pub(super) fn not_found(request: &HttpRequest, phase: &SharedPhase, way: &Way) -> Option<HttpResponse> {
    answer::serves(request.path()).then(|| match way.context(phase) {
        Some(context) => answer::finish(Err(Problem::not_found()), request, &context),
        None => answer::not_yet(request),
    })
}
