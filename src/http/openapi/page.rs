//! The OpenAPI document as a page, for people.

use std::fmt::Write as _;

use serde_json::Value;

use crate::http::files::{escaped, page};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// A schema within a schema is shown this deep.
const DEPTH: usize = 4;
/// Behind the name of a field that must be sent.
const REQUIRED: &str = " <span class=\"need\">required</span>";
/// Behind the name of a field that an answer may not have.
const OPTIONAL: &str = " <span class=\"soft\">optional</span>";

/// The page.
pub(super) fn of(document: &Value, order: &[String]) -> String {
    let mut out = Page { document, order, html: String::new() };
    out.write();
    page("Passerby: the API", &out.html)
}

struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    about: &'a Value,
}

impl Operation<'_> {
    fn id(&self) -> &str {
        text(&self.about["operationId"])
    }
}

struct Page<'a> {
    document: &'a Value,
    /// The paths as they are to be read.
    order: &'a [String],
    html: String,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// Text with `code` in it.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (i, part) in text.split('`').enumerate() {
        let part = escaped(part);
        if i % 2 == 1 {
            html.push_str("<code>");
            html.push_str(&part);
            html.push_str("</code>");
        } else {
            html.push_str(&part);
        }
    }
    html
}

/// Paragraphs.
fn prose(text: &str) -> String {
    text.split("\n\n")
        .filter(|part| !part.trim().is_empty())
        .map(|part| format!("<p>{}</p>\n", inline(part.trim())))
        .collect()
}

impl<'a> Page<'a> {
    fn put(&mut self, html: std::fmt::Arguments<'_>) {
        // a text takes whatever is written to it
        self.html.write_fmt(html).ok();
    }

    /// What a reference stands for.
    fn resolved(&self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str().and_then(|name| self.document.pointer(name.strip_prefix('#')?)) {
            Some(found) => found,
            None => value,
        }
    }

    fn operations(&self, tag: &str) -> Vec<Operation<'a>> {
        let mut found = Vec::new();
        for path in self.order {
            let item = &self.document["paths"][path];
            for method in METHODS {
                let about = &item[method];
                if items(&about["tags"]).any(|of| of == tag) {
                    found.push(Operation { method, path, about });
                }
            }
        }
        found
    }

    fn write(&mut self) {
        let document = self.document;
        let tags: Vec<(&str, &str)> =
            items(&document["tags"]).map(|tag| (text(&tag["name"]), text(&tag["description"]))).collect();
        self.put(format_args!("<div class=\"columns\">\n<nav>\n<p><a href=\"/\"><b>Passerby</b></a></p>\n"));
        for (tag, _) in &tags {
            self.put(format_args!("<h4>{}</h4>\n<ul>\n", escaped(tag)));
            for operation in self.operations(tag) {
                let summary = text(&operation.about["summary"]).trim_end_matches('.');
                self.put(format_args!("<li><a href=\"#{}\">{}</a></li>\n", operation.id(), inline(summary)));
            }
            self.put(format_args!("</ul>\n"));
        }
        self.put(format_args!("<h4>Errors</h4>\n<ul><li><a href=\"#codes\">All codes</a></li></ul>\n</nav>\n<main>\n"));
        let version = text(&document["info"]["version"]);
        self.put(format_args!("<h1>The API of Passerby <small>{}</small></h1>\n", escaped(version)));
        self.html.push_str(&prose(text(&document["info"]["description"])));
        self.put(format_args!(
            "<p>The same for programs: <a href=\"/openapi.json\">openapi.json</a> (OpenAPI 3.1); what is said on the socket: \
             <a href=\"/asyncapi.json\">asyncapi.json</a> (AsyncAPI 3.0).</p>\n"
        ));
        for (tag, about) in &tags {
            self.put(format_args!("<h2>{}</h2>\n{}", escaped(tag), prose(about)));
            for operation in self.operations(tag) {
                self.operation(&operation);
            }
        }
        self.codes();
        self.put(format_args!("</main>\n</div>\n"));
    }

    fn operation(&mut self, operation: &Operation<'a>) {
        let Operation { method, path, about } = operation;
        let (id, summary) = (escaped(operation.id()), inline(text(&about["summary"])));
        self.put(format_args!("<article id=\"{id}\">\n<h3>{summary}</h3>\n"));
        let shown = method.to_uppercase();
        self.put(format_args!("<code class=\"path\"><b class=\"{method}\">{shown}</b> {}</code>\n", escaped(path)));
        self.html.push_str(&prose(text(&about["description"])));
        self.put(format_args!("<p class=\"soft\">{}</p>\n", who(about)));
        let parameters: Vec<&Value> = items(&about["parameters"]).collect();
        if !parameters.is_empty() {
            self.put(format_args!("<h4>Parameters</h4>\n<div class=\"table\"><table>\n"));
            for parameter in parameters {
                let kind = format!("{}, {}", text(&parameter["in"]), self.kind(&parameter["schema"]));
                let about = self.with_example(text(&parameter["description"]), &parameter["example"]);
                let note = if parameter["required"] == true { REQUIRED } else { "" };
                self.row(text(&parameter["name"]), &kind, note, &about);
            }
            self.put(format_args!("</table></div>\n"));
        }
        let body = &about["requestBody"];
        if body.is_object() {
            self.put(format_args!("<h4>Body</h4>\n{}", prose(text(&body["description"]))));
            self.contents(&body["content"], true);
        }
        self.put(format_args!("<h4>Answers</h4>\n"));
        let (good, bad): (Vec<_>, Vec<_>) =
            members(&about["responses"]).partition(|(status, _)| *status < "400" || *status == "402");
        for (status, response) in good {
            self.put(format_args!("<p><b>{status}</b> {}</p>\n", inline(text(&response["description"]))));
            if response["headers"].is_object() {
                self.put(format_args!("<div class=\"table\"><table>\n"));
                for (name, header) in members(&response["headers"]) {
                    let header = self.resolved(header);
                    let kind = format!("header, {}", self.kind(&header["schema"]));
                    self.row(name, &kind, "", &inline(text(&header["description"])));
                }
                self.put(format_args!("</table></div>\n"));
            }
            self.contents(&response["content"], false);
        }
        if !bad.is_empty() {
            self.put(format_args!("<details><summary>Errors</summary>\n<div class=\"table\"><table>\n"));
            for (status, response) in bad {
                self.errors(status, response);
            }
            self.put(format_args!("</table></div></details>\n"));
        }
        self.put(format_args!("</article>\n"));
    }

    fn row(&mut self, name: &str, kind: &str, note: &str, about: &str) {
        let name = escaped(name);
        self.put(format_args!(
            "<tr><td><code>{name}</code>{note}</td><td class=\"soft\">{}</td><td>{about}</td></tr>\n",
            escaped(kind)
        ));
    }

    fn with_example(&self, about: &str, example: &Value) -> String {
        match example {
            Value::Null => inline(about),
            Value::String(example) => {
                format!("{} <span class=\"soft\">As in <code>{}</code></span>", inline(about), escaped(example))
            }
            other => format!("{} <span class=\"soft\">As in <code>{other}</code></span>", inline(about)),
        }
    }

    /// What a body or an answer holds, for each content type.
    fn contents(&mut self, contents: &'a Value, is_sent: bool) {
        for (content_type, content) in members(contents) {
            if content_type != "application/json" {
                self.put(format_args!("<p class=\"soft\"><code>{}</code></p>\n", escaped(content_type)));
            }
            self.schema(&content["schema"], is_sent);
            if !content["example"].is_null() {
                let example = serde_json::to_string_pretty(&content["example"]).unwrap_or_default();
                self.put(format_args!("<pre>{}</pre>\n", escaped(&example)));
            }
        }
    }

    fn schema(&mut self, schema: &'a Value, is_sent: bool) {
        let schema = self.resolved(schema);
        let either = items(&schema["oneOf"]).chain(items(&schema["anyOf"]));
        let either: Vec<&Value> = either.map(|one| self.resolved(one)).filter(|one| one["type"] != "null").collect();
        if let [only] = either[..] {
            return self.schema(only, is_sent);
        }
        for one in &either {
            let title = text(&one["title"]);
            let about = inline(text(&one["description"]));
            let title = if title.is_empty() { about } else { format!("<b>{}</b>: {about}", escaped(title)) };
            self.put(format_args!("<details><summary>{title}</summary>\n"));
            self.schema(one, is_sent);
            self.put(format_args!("</details>\n"));
        }
        let schema = if schema["type"] == "array" { self.resolved(&schema["items"]) } else { schema };
        if schema["properties"].is_object() {
            self.put(format_args!("<div class=\"table\"><table>\n"));
            self.fields(schema, "", DEPTH, is_sent);
            self.put(format_args!("</table></div>\n"));
        }
    }

    /// The fields of an object, those that are required first, and of objects within it.
    fn fields(&mut self, schema: &'a Value, prefix: &str, depth: usize, is_sent: bool) {
        let is_required = |name: &str| items(&schema["required"]).any(|required| required == name);
        let (required, rest): (Vec<_>, Vec<_>) =
            members(&schema["properties"]).partition(|(name, _)| is_required(name));
        for (name, field) in required.into_iter().chain(rest) {
            let (kind, about) = (self.kind(field), self.about(field));
            let about = self.with_example(&about, &self.resolved(field)["example"]);
            let note = match (is_sent, is_required(name)) {
                (true, true) => REQUIRED,
                (false, false) => OPTIONAL,
                _ => "",
            };
            self.row(&format!("{prefix}{name}"), &kind, note, &about);
            if depth == 0 {
                continue;
            }
            let inner = self.inner(field);
            let (inner, many) =
                if inner["type"] == "array" { (self.inner(&inner["items"]), "[]") } else { (inner, "") };
            if inner["properties"].is_object() {
                self.fields(inner, &format!("{prefix}{name}{many}."), depth - 1, is_sent);
            }
        }
    }

    /// A field's own description, or that of its type.
    fn about(&self, field: &'a Value) -> String {
        let own = text(&field["description"]);
        if own.is_empty() { text(&self.inner(field)["description"]).to_owned() } else { own.to_owned() }
    }

    /// What is behind a reference, or the only choice beside null.
    fn inner(&self, schema: &'a Value) -> &'a Value {
        let schema = self.resolved(schema);
        let mut choices = items(&schema["oneOf"]).filter(|one| one["type"] != "null");
        match (choices.next(), choices.next()) {
            (Some(only), None) => self.resolved(only),
            _ => schema,
        }
    }

    /// The type of a value, in a word or two.
    fn kind(&self, schema: &'a Value) -> String {
        let nullable = items(&schema["oneOf"]).any(|one| one["type"] == "null");
        let schema = self.inner(schema);
        let mut names: Vec<&str> = items(&schema["type"]).map(text).collect();
        names.extend(schema["type"].as_str());
        let nullable = nullable || names.contains(&"null");
        names.retain(|name| *name != "null");
        let values: Vec<String> =
            items(&schema["enum"]).filter_map(|value| value.as_str().map(|value| format!("\"{value}\""))).collect();
        let name = match (&names[..], values.is_empty()) {
            (_, false) => values.join(" or "),
            (["array"], _) => format!("array of {}", self.kind(&schema["items"])),
            ([], _) => "any".to_owned(),
            _ => names.join(" or "),
        };
        let name = match text(&schema["format"]) {
            "date-time" => "time".to_owned(),
            _ => name,
        };
        if nullable { format!("{name} or null") } else { name }
    }

    fn errors(&mut self, status: &str, response: &'a Value) {
        for (_, content) in members(&response["content"]) {
            for (_, example) in members(&content["examples"]) {
                let example = self.resolved(example);
                let value = &example["value"];
                let code = value["code"].as_str().or(value["error_code"].as_str()).unwrap_or_default();
                let code = if code.is_empty() { String::new() } else { format!("<code>{}</code>", escaped(code)) };
                let about = inline(text(&example["summary"]));
                self.put(format_args!("<tr><td>{status} {code}</td><td>{about}</td></tr>\n"));
            }
        }
    }

    fn codes(&mut self) {
        self.put(format_args!(
            "<h2 id=\"codes\">All codes of problems</h2>\n<p>In <code>code</code>, and at the end of <code>type</code>. New ones may come.</p>\n\
             <div class=\"table\"><table>\n"
        ));
        let document = self.document;
        for (_, example) in members(&document["components"]["examples"]) {
            let value = &example["value"];
            let (status, code) = (&value["status"], escaped(text(&value["code"])));
            let about = inline(text(&example["summary"]));
            self.put(format_args!("<tr><td><code>{code}</code></td><td>{status}</td><td>{about}</td></tr>\n"));
        }
        self.put(format_args!("</table></div>\n"));
    }
}

/// Who may ask.
fn who(operation: &Value) -> String {
    let name = |scheme: &str| match scheme {
        "access_token" => "an access token",
        "refresh_token" => "a refresh token",
        _ => "a reader's cookie",
    };
    let ways: Vec<&str> = items(&operation["security"]).flat_map(members).map(|(scheme, _)| name(scheme)).collect();
    let optional = items(&operation["security"]).any(|way| way.as_object().is_some_and(serde_json::Map::is_empty));
    match (&ways[..], optional) {
        ([], _) => "For everyone.".to_owned(),
        (ways, true) => format!("For everyone; also with {}.", ways.join(" or ")),
        (ways, false) => format!("With {}.", ways.join(" or ")),
    }
}
