//! A small newspaper whose readers Passerby knows. A real site has a proxy in front of it that asks `/verify`; here the pages do,
//! in the same process, by the same check.

mod articles;

use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};

use self::articles::{ARTICLES, Article};
use crate::http::demo::page::{PAGE_POLICY, assets};
use crate::http::reader::Visitor;
use crate::http::verify::{self, Wish};
use crate::http::{Answer, Context, Problem, at};

/// As in the demo's settings.
const METER: &str = "articles";
/// For visitors who get no id, and so meet no wall: a test that drives a browser would look for it in vain.
const NO_ID: &str = "<p id=\"note\">This browser says that it is a machine (such as <code>HeadlessChrome</code>), fetches the \
                     page ahead of time, or says nothing of itself. Such a visit creates no user: it gets no id, nothing is \
                     counted, and no paywall comes. Give it the User-Agent of a browser that people use to see them.</p>";
const SHELL: &str = include_str!("shell.html");
const SUBSCRIBE: &str = include_str!("subscribe.html");

/// Adds the pages.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    assets(
        config,
        [
            ("/demo/news.css", "text/css", include_str!("news.css")),
            ("/demo/news.js", "text/javascript", include_str!("news.js")),
        ],
    );
    config
        .service(at("/").on(Method::GET, front))
        .service(at("/subscribe").on(Method::GET, subscribe))
        .service(at("/articles/{slug}").on(Method::GET, article));
}

async fn front(request: HttpRequest, context: web::Data<Context>) -> Answer {
    let teaser = |article: &Article| {
        let Article { slug, title, lede, .. } = article;
        format!("<article><h2><a href=\"/articles/{slug}\">{title}</a></h2><p>{lede}</p></article>")
    };
    let teasers: String = ARTICLES.iter().map(teaser).collect();
    page(&request, &context, "The Daily Passerby", None, |_| format!("<div class=\"teasers\">{teasers}</div>")).await
}

async fn subscribe(request: HttpRequest, context: web::Data<Context>) -> Answer {
    page(&request, &context, "Subscribe", None, |_| SUBSCRIBE.to_owned()).await
}

async fn article(request: HttpRequest, context: web::Data<Context>) -> Answer {
    let slug = request.match_info().get("slug").unwrap_or_default();
    let Some(article) = ARTICLES.iter().find(|article| article.slug == slug) else {
        return Err(Problem::not_found());
    };
    page(&request, &context, article.title, Some(slug), |is_open| {
        let Article { title, lede, text, .. } = article;
        let rest = if is_open {
            text.iter().map(|text| format!("<p>{text}</p>")).collect()
        } else {
            "<div class=\"paywall\" id=\"paywall\"><p>You have read your free articles of today.</p>\
             <a class=\"button\" href=\"/subscribe\">Subscribe</a></div>"
                .to_owned()
        };
        format!("<article class=\"whole\"><h1>{title}</h1><p class=\"lede\">{lede}</p>{rest}</article>")
    })
    .await
}

/// A page for visitors whom the check lets through; `content` is told whether anything is left to read for free.
async fn page(
    request: &HttpRequest,
    context: &Context,
    title: &str,
    reading: Option<&str>,
    content: impl FnOnce(bool) -> String,
) -> Answer {
    let checked = verify::check(request, context, &Wish::of_page(reading.map(|slug| (METER, slug)))).await?;
    let facts = checked.headers();
    let has_id = !text(facts, &verify::USER).is_empty();
    let is_member = text(facts, &verify::ANONYMOUS) == "false";
    let is_open = is_member || checked.status() == StatusCode::NO_CONTENT;
    let status = if is_open { StatusCode::OK } else { StatusCode::PAYMENT_REQUIRED };
    let (kind, kind_name) = if is_member { ("member", "subscriber") } else { ("anonymous", "anonymous reader") };
    let page = SHELL
        .replace("{{title}}", title)
        .replace("{{reader}}", text(facts, &verify::USER))
        .replace("{{kind}}", kind)
        .replace("{{kind_name}}", kind_name)
        .replace("{{note}}", if Visitor::of(request).may_become_reader || has_id { "" } else { NO_ID })
        .replace("{{content}}", &content(is_open));
    let mut response = HttpResponse::build(status);
    response.insert_header(PAGE_POLICY).content_type("text/html; charset=utf-8");
    for cookie in facts.get_all(header::SET_COOKIE) {
        response.append_header((header::SET_COOKIE, cookie.clone()));
    }
    Ok(response.body(page))
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
