//! The description of the API says everything, and nothing that is not so.

use super::*;

/// Every operation with its method and path.
fn operations() -> Vec<(String, &'static Value)> {
    let of = |(path, item): (&String, &'static Value)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, operation)| (format!("{} {path}", method.to_uppercase()), operation)).collect::<Vec<_>>()
    };
    DOCUMENT["paths"].as_object().unwrap().iter().flat_map(of).collect()
}

/// Calls for every value within a value, with the way to it.
fn walk(value: &Value, way: &str, look: &mut impl FnMut(&str, &Value)) {
    look(way, value);
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| walk(item, &format!("{way}/{i}"), look)),
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| walk(member, &format!("{way}/{name}"), look))
        }
        _ => {}
    }
}

#[test]
fn every_word_of_an_operation_stands_for_an_error() {
    let annotated = serde_json::to_value(Annotated::openapi()).unwrap();
    for (path, item) in annotated["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let table = if app_services::serves(path) { CLIENT_ERRORS } else { PROBLEMS };
            for word in operation["x-problems"].as_str().unwrap_or_default().split_whitespace() {
                assert!(!kinds(table, word).is_empty(), "{method} {path}: {word}");
            }
        }
    }
    for (group, words) in problems::GROUPS {
        for word in words.split_whitespace() {
            let known = [PROBLEMS, CLIENT_ERRORS].iter().any(|table| !kinds(table, word).is_empty());
            assert!(known, "{group}: {word}");
        }
    }
}

#[test]
fn every_error_is_one_of_some_operation() {
    let mut used = Vec::new();
    for (name, operation) in operations() {
        for (status, response) in operation["responses"].as_object().unwrap() {
            for code in response["x-codes"].as_array().into_iter().flatten() {
                used.push((name.contains(" /api/"), status.parse().unwrap(), code.as_str().map(str::to_owned)));
            }
        }
    }
    for (is_app_services, table) in [(false, PROBLEMS), (true, CLIENT_ERRORS)] {
        for kind in table {
            let wanted = (is_app_services, kind.status, kind.code.map(str::to_owned));
            assert!(used.contains(&wanted), "nothing is answered {} {}", kind.status, kind.word);
        }
    }
}

#[test]
fn everything_is_described_and_has_an_example() {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    for (name, operation) in operations() {
        for field in ["operationId", "summary"] {
            assert!(is_text(&operation[field]), "{name}: {field}");
        }
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{name}");
        assert!(operation["security"].is_array(), "{name}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(is_text(&parameter["description"]), "{name}: {}", parameter["name"]);
        }
        let body = &operation["requestBody"];
        assert!(body.is_null() || is_text(&body["description"]), "{name}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(is_text(&response["description"]), "{name}: {status}");
        }
        let responses = operation["responses"].as_object().unwrap().values();
        for content in responses.chain([body]).flat_map(|place| place["content"].as_object()).flatten() {
            let (content_type, content) = content;
            assert!(!content["example"].is_null() || content["examples"].is_object(), "{name}: {content_type}");
        }
    }
    walk(&DOCUMENT["components"]["schemas"], "", &mut |way, value| {
        if way.rsplit('/').nth(1) == Some("properties") && !way.contains("/example") {
            assert!(is_text(&value["description"]), "{way} is not described: {value}");
            let is_bare = value["type"] == "object" && value["additionalProperties"].is_null();
            assert!(!is_bare, "{way} could be anything: {value}");
        }
    });
}

#[test]
fn nothing_refers_to_what_a_reader_does_not_have() {
    walk(&DOCUMENT, "", &mut |way, value| {
        let text = value.as_str().unwrap_or_default();
        for foreign in [".md", "docs/", "(S1", "(S2", "(S3", "(S4"] {
            assert!(!text.contains(foreign), "{way}: {text}");
        }
    });
}

#[test]
fn the_page_shows_every_operation_and_every_code() {
    for (name, operation) in operations() {
        let id = operation["operationId"].as_str().unwrap();
        assert!(PAGE.contains(&format!("<article id=\"{id}\">")), "{name}");
    }
    for kind in PROBLEMS {
        assert!(PAGE.contains(&format!("<code>{}</code>", kind.word)), "{}", kind.word);
    }
}
