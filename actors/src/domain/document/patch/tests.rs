//! What a patch does, and how much work it may take.

use serde_json::json;

use super::*;
use crate::domain::document::tests::{MOST, apply, data, edit, object, put};
use crate::domain::document::{Change, Document};

/// Steps that as many repeats of operations as fit into a patch take on a document, and the bytes of both.
fn used(document: &str, operations: &str, most: usize) -> (usize, usize) {
    let repeats = (most - document.len()) / (operations.len() + 1);
    let patch = format!("[{}]", vec![operations; repeats].join(","));
    let Patch(operations) = Patch::of(serde_json::from_str(&patch).unwrap()).unwrap();
    let mut data = serde_json::from_str(document).unwrap();
    let mut work = Work { steps: usize::MAX, copied: 0, most_bytes: 16 * 1024 };
    for operation in &operations {
        // one that would go beyond a different bound ends it
        if operation.apply(&mut data, &mut work).is_err() {
            break;
        }
    }
    (usize::MAX - work.steps, document.len() + patch.len())
}

/// The bound on what a patch may take that no budget counts.
#[test]
fn a_patch_that_is_small_with_its_document_takes_few_steps_whatever_it_does() {
    const SMALL: usize = 4096;
    let mut most = 0;
    for values in (50..1900).step_by(50) {
        let list = format!(r#"{{"l":[{}],"s":{{}}}}"#, vec!["0"; values].join(","));
        let deep = format!(r#"{{"l":{}{},"s":{{}}}}"#, "[".repeat(25), "]".repeat(25));
        for (document, operations) in [
            (&list, r#"{"op":"move","from":"/l","path":"/s/l"},{"op":"move","from":"/s/l","path":"/l"}"#),
            (&list, r#"{"op":"add","path":"/l/0","value":0}"#),
            (&list, r#"{"op":"remove","path":"/l/0"}"#),
            (&list, r#"{"op":"copy","from":"/l","path":"/s/l"}"#),
            (&list, r#"{"op":"test","path":"/s","value":{}}"#),
            (&deep, r#"{"op":"test","path":"/l/0/0/0/0/0/0/0/0/0/0/0/0","value":[]}"#),
        ] {
            let (steps, bytes) = used(document, operations, SMALL);
            assert!(bytes <= SMALL + 1, "{bytes} bytes");
            most = most.max(steps);
        }
    }
    assert!((STEPS / 2..STEPS).contains(&most), "{most} steps");
}

/// What a patch of a few bytes can ask for.
#[test]
fn a_patch_can_neither_grow_nor_dig_without_end_nor_kill() {
    let mut document = Document::default();
    apply(&mut document, &put(json!({"a": {"n": 1}}))).unwrap();
    let patch = |operations: Vec<Value>| edit(Change::Patch(Patch::of(operations.into()).unwrap()));
    let mut doubling = vec![json!({"op": "add", "path": "/l", "value": [0]})];
    doubling.extend((0..60).map(|_| json!({"op": "copy", "from": "/l", "path": "/l/-"})));
    assert!(matches!(
        apply(&mut document, &patch(doubling)),
        Err(DocumentRefusal::TooLarge { .. } | DocumentRefusal::TooDeep)
    ));
    let flat: Vec<Value> = (0..2000)
        .map(|n| json!({"op": "copy", "from": if n == 0 { "/a" } else { "/c" }, "path": "/c"}))
        .chain([json!({"op": "test", "path": "/none", "value": 0})])
        .collect();
    assert!(apply(&mut document, &patch(flat)).is_err());
    let mut digging = Vec::new();
    for _ in 0..2000 {
        digging.push(json!({"op": "add", "path": "/b", "value": [[[[[[[[]]]]]]]]}));
        digging.push(json!({"op": "move", "from": "/a", "path": "/b/0/0/0/0/0/0/0/0"}));
        digging.push(json!({"op": "move", "from": "/b", "path": "/a"}));
    }
    assert_eq!(apply(&mut document, &patch(digging)), Err(DocumentRefusal::TooDeep));
    let root = json!({"op": "move", "from": "/a", "path": ""});
    let undone = patch(vec![root.clone(), json!({"op": "test", "path": "/none", "value": 1})]);
    assert!(matches!(apply(&mut document, &undone), Err(DocumentRefusal::Patch(_))));
    assert_eq!(apply(&mut document, &patch(vec![root])).map(|edited| edited.version), Ok(2));
    assert_eq!(data(&document), json!({"n": 1}));
}

/// RFC 6902 §4.6.
#[test]
fn a_test_compares_numbers_by_their_value() {
    let mut document = Document::default();
    let exact = 9_007_199_254_740_993_u64;
    apply(&mut document, &put(json!({"n": 1, "f": 2.0, "deep": [{"n": -0.0}], "big": exact, "s": "1"}))).unwrap();
    let tested = |path: &str, value: Value| {
        let patch = Patch::of(json!([{"op": "test", "path": path, "value": value}])).unwrap();
        document.edited(&edit(Change::Patch(patch)), 50, MOST).is_ok()
    };
    let equal = [
        ("/n", json!(1.0)),
        ("/f", json!(2)),
        ("/deep", json!([{"n": 0}])),
        ("/big", json!(exact)),
        ("/s", json!("1")),
    ];
    for (path, value) in equal {
        assert!(tested(path, value), "{path}");
    }
    let different = [
        ("/n", json!(1.5)),
        ("/n", json!("1")),
        ("/big", json!(exact - 1)),
        ("/deep", json!([])),
        ("/deep", json!([{}])),
        ("/deep", json!([{"m": 0}])),
        ("/s", json!(1)),
        ("/none", json!(null)),
    ];
    for (path, value) in different {
        assert!(!tested(path, value.clone()), "{path} {value}");
    }
}

/// RFC 6902, appendix A, and what it leaves open.
#[test]
fn a_patch_is_applied_as_the_standard_says() {
    let done = |document: Value, patch: Value| {
        let document = Document { version: 1, kept: Some(object(document).into()), ..Document::default() };
        let edited = document.edited(&edit(Change::Patch(Patch::of(patch).unwrap())), 50, MOST);
        edited.map(|(next, _)| data(&next.unwrap()))
    };
    let ok = [
        (json!({"a": 1}), json!([{"op": "add", "path": "/b", "value": 2}]), json!({"a": 1, "b": 2})),
        (json!({"a": [1, 2]}), json!([{"op": "add", "path": "/a/1", "value": 7}]), json!({"a": [1, 7, 2]})),
        (json!({"a": [1]}), json!([{"op": "add", "path": "/a/1", "value": 7}]), json!({"a": [1, 7]})),
        (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": [7]}]), json!({"a": [1, [7]]})),
        (json!({"a": 1}), json!([{"op": "add", "path": "/a", "value": null}]), json!({"a": null})),
        (json!({"a": 1}), json!([{"op": "add", "path": "", "value": {"b": 1}}]), json!({"b": 1})),
        (json!({"a": 1}), json!([{"op": "replace", "path": "", "value": {"b": 1}}]), json!({"b": 1})),
        (json!({"a": [1, 2, 3]}), json!([{"op": "remove", "path": "/a/1"}]), json!({"a": [1, 3]})),
        (
            json!({"a": {"b": 1}, "c": {}}),
            json!([{"op": "move", "from": "/a/b", "path": "/c/d"}]),
            json!({"a": {}, "c": {"d": 1}}),
        ),
        (json!({"a": [1, 2, 3]}), json!([{"op": "move", "from": "/a/0", "path": "/a/2"}]), json!({"a": [2, 3, 1]})),
        (json!({"a": 1}), json!([{"op": "move", "from": "/a", "path": "/a"}]), json!({"a": 1})),
        (
            json!({"a": {"b": 1}}),
            json!([{"op": "copy", "from": "/a", "path": "/a/c"}]),
            json!({"a": {"b": 1, "c": {"b": 1}}}),
        ),
        (json!({"a": 1}), json!([{"op": "copy", "from": "", "path": "/b"}]), json!({"a": 1, "b": {"a": 1}})),
        (
            json!({"/": 9, "~1": 10}),
            json!([{"op": "test", "path": "/~01", "value": 10}, {"op": "remove", "path": "/~1"}]),
            json!({"~1": 10}),
        ),
        (json!({"": {"": 1}}), json!([{"op": "replace", "path": "//", "value": 2, "more": 1}]), json!({"": {"": 2}})),
        (json!({"a": [0]}), json!([{"op": "test", "path": "/a/0", "value": 0}]), json!({"a": [0]})),
    ];
    for (document, patch, expected) in ok {
        assert_eq!(done(document, patch.clone()), Ok(expected), "{patch}");
    }
    for patch in [
        json!({"op": "add", "path": "/a/b", "value": 1}),
        json!({"op": "add", "path": "/list/3", "value": 1}),
        json!({"op": "add", "path": "/list/01", "value": 1}),
        json!({"op": "add", "path": "/list/+1", "value": 1}),
        json!({"op": "add", "path": "/list/", "value": 1}),
        json!({"op": "add", "path": "/none/b", "value": 1}),
        json!({"op": "replace", "path": "/none", "value": 1}),
        json!({"op": "replace", "path": "/list/-", "value": 1}),
        json!({"op": "remove", "path": "/none"}),
        json!({"op": "remove", "path": "/list/2"}),
        json!({"op": "remove", "path": ""}),
        json!({"op": "move", "from": "/list", "path": "/list/0"}),
        json!({"op": "move", "from": "", "path": "/b"}),
        json!({"op": "move", "from": "/none", "path": "/none"}),
        json!({"op": "copy", "from": "/none", "path": "/b"}),
        json!({"op": "test", "path": "/a", "value": "1"}),
    ] {
        let first = json!({"op": "add", "path": "/b", "value": 1});
        let refused = done(json!({"a": 1, "list": [1, 2]}), json!([first, patch]));
        assert_eq!(refused, Err(DocumentRefusal::Patch(1)), "{patch}");
    }
    assert_eq!(
        done(json!({"a": [1]}), json!([{"op": "replace", "path": "", "value": [1]}])),
        Err(DocumentRefusal::NotAnObject)
    );
    for (patch, why) in [
        (json!({}), NoPatch::NotAnArray),
        (json!([1]), NoPatch::NotAnObject(0)),
        (json!([{"op": "test", "path": "", "value": 1}, {"op": "grow", "path": ""}]), NoPatch::UnknownOperation(1)),
        (json!([{"op": "add", "value": 1}]), NoPatch::Missing(0, "path")),
        (json!([{"op": "add", "path": "/a"}]), NoPatch::Missing(0, "value")),
        (json!([{"op": "move", "path": "/a"}]), NoPatch::Missing(0, "from")),
        (json!([{"op": "remove", "path": "a"}]), NoPatch::NoPointer(0, "path")),
        (json!([{"op": "remove", "path": "/~2"}]), NoPatch::NoPointer(0, "path")),
        (json!([{"op": "copy", "from": 1, "path": "/a"}]), NoPatch::NoPointer(0, "from")),
    ] {
        assert_eq!(Patch::of(patch.clone()).map(drop), Err(why), "{patch}");
    }
}

/// Whatever is asked for in the largest request: the work is bounded, and what goes beyond is refused.
#[test]
fn a_patch_touches_no_more_of_a_document_than_a_request_may() {
    let numbers = |n: usize| Value::from((0..n).map(|_| 0).collect::<Vec<_>>());
    let document = |value| Document { version: 1, kept: Some(object(value).into()), ..Document::default() };
    let outcome = |document: &Document, operations: Vec<Value>| {
        let patch = edit(Change::Patch(Patch::of(operations.into()).unwrap()));
        document.edited(&patch, 50, MOST).map(|(_, edited)| edited.version)
    };
    let large = document(json!({"l": numbers(8000), "s": {}}));
    // each carries the whole list one deeper, and back
    let carried: Vec<_> = (0..800)
        .flat_map(|_| {
            [json!({"op": "move", "from": "/l", "path": "/s/l"}), json!({"op": "move", "from": "/s/l", "path": "/l"})]
        })
        .collect();
    assert!(matches!(outcome(&large, carried.clone()), Err(DocumentRefusal::TooCostly(4..40))));
    assert_eq!(outcome(&large, carried[..4].to_vec()), Ok(2), "a few are nothing special");
    // each moves all other items
    let shifted: Vec<_> = (0..1000).map(|_| json!({"op": "move", "from": "/l/0", "path": "/l/-"})).collect();
    assert!(matches!(outcome(&large, shifted.clone()), Err(DocumentRefusal::TooCostly(40..100))));
    assert_eq!(outcome(&large, shifted[..20].to_vec()), Ok(2));
    // the same in a small document is as many operations as there are, and nothing else
    let small = document(json!({"l": [1, 2], "s": {}}));
    assert_eq!((outcome(&small, carried), outcome(&small, shifted)), (Ok(2), Ok(2)));
    // long paths to nowhere deep
    let paths: Vec<_> =
        (0..100).map(|n| json!({"op": "add", "path": format!("/{}{n}", "x".repeat(600)), "value": 1})).collect();
    assert!(matches!(outcome(&small, paths), Err(DocumentRefusal::TooLarge { .. })));
}

/// A repeat is known by them, also one of a request that an older version did.
#[test]
fn the_text_of_a_patch_is_as_it_always_was() {
    let patch = json!([
        {"value": {"b": 1, "a": null}, "path": "/a~1", "op": "add"}, {"op": "remove", "path": "/a~1"}, {"op": "replace", "path": "", "value": {}},
        {"op": "move", "path": "/b", "from": "/a"}, {"op": "copy", "path": "/b", "from": "/\""}, {"op": "test", "path": "/a", "value": 1.5},
    ]);
    let expected = concat!(
        r#"[{"op":"add","path":"/a~1","value":{"a":null,"b":1}},{"op":"remove","path":"/a~1"},{"op":"replace","path":"","value":{}},"#,
        r#"{"op":"move","from":"/a","path":"/b"},{"op":"copy","from":"/\"","path":"/b"},{"op":"test","path":"/a","value":1.5}]"#
    );
    assert_eq!(Patch::of(patch).unwrap().text(), expected);
}
