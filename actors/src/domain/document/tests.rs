//! Each change of a document, its delta's replay, and the bytes of both.

use serde_json::{Map, Value, json};

use super::*;

pub(super) const MOST: usize = 16 * 1024;

pub(super) fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(super) fn edit(change: Change) -> Edit {
    Edit { change, expected: Expected::Anything, operation: None, origin: None, may_grow: true }
}

pub(super) fn put(value: Value) -> Edit {
    edit(Change::Put(object(value)))
}

pub(super) fn merge(value: Value) -> Edit {
    edit(Change::Merge(object(value)))
}

pub(super) fn increment(path: &str, by: i64) -> Edit {
    edit(Change::Increment { path: path.to_owned(), by: by.into() })
}

/// The same, under this name.
pub(super) fn named(name: &str, edit: Edit) -> Edit {
    Edit { operation: Some(OperationId::new(name.as_bytes(), &edit.change)), ..edit }
}

/// Edits, and checks that a replay of the delta turns the old bytes into the same new ones.
pub(super) fn apply(document: &mut Document, edit: &Edit) -> Result<Edited, DocumentRefusal> {
    let (next, edited) = document.edited(edit, 50, MOST)?;
    if let Some(next) = next {
        let delta = edited.delta.as_ref().unwrap().encode();
        assert_eq!(Delta::decode(&delta).unwrap(), **edited.delta.as_ref().unwrap());
        let before = document.encode();
        let stored = (document.version > 0).then_some(&*before);
        assert_eq!(Document::replay(stored, &delta), Some(next.encode()));
        assert_eq!(edited.grown, next.stored_bytes() as i64 - stored.map_or(0, <[u8]>::len) as i64);
        assert_eq!(Document::replay(Some(&next.encode()), &delta), None, "the next is past it");
        assert_eq!(Document::decode(&next.encode()), Ok(next.clone()));
        *document = next;
    }
    Ok(edited)
}

pub(super) fn data(document: &Document) -> Value {
    let bytes = document.encode();
    serde_json::from_str(Document::view(&bytes).unwrap().json.unwrap_or("null")).unwrap()
}

#[test]
fn a_document_is_put_patched_counted_and_deleted_and_its_version_goes_on() {
    let mut document = Document::default();
    assert_eq!(apply(&mut document, &put(json!({"a": 1, "list": [1, null]}))).unwrap().version, 1);
    apply(&mut document, &merge(json!({"a": null, "b": {"c": 2}}))).unwrap();
    assert_eq!(data(&document), json!({"list": [1, null], "b": {"c": 2}}));
    let patch = Patch::of(json!([
        {"op": "test", "path": "/b/c", "value": 2},
        {"op": "add", "path": "/list/-", "value": null},
        {"op": "add", "path": "/n", "value": null},
    ]));
    let patch = edit(Change::Patch(patch.unwrap()));
    let edited = apply(&mut document, &patch).unwrap();
    assert!(matches!(edited.delta.unwrap().shape, Shape::Whole(Some(_))), "no merge patch can say null");
    assert_eq!(data(&document), json!({"list": [1, null, null], "b": {"c": 2}, "n": null}));
    assert_eq!(apply(&mut document, &increment("/b/c", 5)).unwrap().value, Some(7.into()));
    assert_eq!(apply(&mut document, &increment("/b/new~1name", -1)).unwrap().value, Some((-1).into()));
    assert_eq!(data(&document)["b"], json!({"c": 7, "new/name": -1}));
    assert_eq!(apply(&mut document, &edit(Change::Delete)).unwrap().version, 6);
    assert_eq!(data(&document), json!(null));
    assert_eq!(apply(&mut document, &increment("/n", 1)).unwrap().version, 7);
    assert_eq!(data(&document), json!({"n": 1}));
}

#[test]
fn a_small_change_of_a_large_document_is_a_small_delta() {
    let mut document = Document::default();
    apply(&mut document, &put(json!({"text": "x".repeat(10_000), "n": 1}))).unwrap();
    let edited = apply(&mut document, &increment("/n", 1)).unwrap();
    assert_eq!(edited.delta.unwrap().shape, Shape::Merge(r#"{"n":2}"#.into()));
}

#[test]
fn a_lost_race_changes_nothing() {
    let mut document = Document::default();
    let expecting = |expected, value| Edit { expected, ..put(value) };
    let refused = |version| Err(DocumentRefusal::Version(version));
    assert_eq!(apply(&mut document, &expecting(Expected::Something, json!({}))), refused(0));
    assert_eq!(apply(&mut document, &expecting(Expected::version(0), json!({}))), refused(0));
    apply(&mut document, &expecting(Expected::Nothing, json!({"a": 1}))).unwrap();
    assert_eq!(apply(&mut document, &expecting(Expected::Nothing, json!({}))), refused(1));
    apply(&mut document, &expecting(Expected::version(1), json!({"a": 2}))).unwrap();
    assert_eq!(apply(&mut document, &expecting(Expected::version(1), json!({}))), refused(2));
    assert_eq!(data(&document), json!({"a": 2}));
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut document = Document::default();
    let full = json!({"a": "x".repeat(MOST - 8)});
    apply(&mut document, &put(full.clone())).unwrap();
    let larger = apply(&mut document, &merge(json!({"b": 1})));
    assert_eq!(larger, Err(DocumentRefusal::TooLarge { bytes: MOST + 6, most: MOST }));
    // what cannot fit is seen by its names, before anything is copied: the values count one byte each
    let members = |value: Value| Value::Object((0..MOST).map(|n| (format!("{n:06}"), value.clone())).collect());
    for edit in [put(members(json!(10))), merge(members(json!(10)))] {
        assert_eq!(apply(&mut document, &edit), Err(DocumentRefusal::TooLarge { bytes: MOST * 11 + 1, most: MOST }));
    }
    apply(&mut document, &merge(members(Value::Null))).unwrap();
    assert_eq!(data(&document), full);
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(apply(&mut document, &put(json!({"a": deep(MAX_DEPTH)}))), Err(DocumentRefusal::TooDeep));
    apply(&mut document, &put(json!({"a": deep(MAX_DEPTH - 1), "s": "text", "max": i64::MAX, "f": 0.5}))).unwrap();
    for (path, error) in [
        ("/s", DocumentRefusal::NotANumber),
        ("/x/y", DocumentRefusal::NotANumber),
        ("", DocumentRefusal::NotANumber),
        ("a", DocumentRefusal::NotANumber),
        ("/a/x", DocumentRefusal::NotANumber),
    ] {
        assert_eq!(apply(&mut document, &increment(path, 1)), Err(error), "{path}");
    }
    assert_eq!(apply(&mut document, &increment("/max", 1)).unwrap().value, Some((1_u64 << 63).into()));
    let huge = edit(Change::Increment { path: "/max".into(), by: u64::MAX.into() });
    assert_eq!(apply(&mut document, &huge), Err(DocumentRefusal::Overflow));
    assert_eq!(apply(&mut document, &increment("/f", 1)).unwrap().value, Number::from_f64(1.5));
    let half = edit(Change::Increment { path: "/f".into(), by: Number::from_f64(0.5).unwrap() });
    assert_eq!(apply(&mut document, &half).unwrap().value, Some(2.into()), "and not 2.0");
    let patch = |value| edit(Change::Patch(Patch::of(value).unwrap()));
    let failing = patch(json!([{"op": "add", "path": "/x", "value": 1}, {"op": "remove", "path": "/none"}]));
    assert_eq!(apply(&mut document, &failing), Err(DocumentRefusal::Patch(1)));
    let array = patch(json!([{"op": "replace", "path": "", "value": []}]));
    assert_eq!(apply(&mut document, &array), Err(DocumentRefusal::NotAnObject));
}

#[test]
fn where_there_is_no_room_only_what_grows_is_refused() {
    let mut document = Document::default();
    let full = |edit: Edit| Edit { may_grow: false, ..edit };
    assert_eq!(apply(&mut document, &full(put(json!({})))), Err(DocumentRefusal::Full));
    let first = named("first", put(json!({"a": 10, "b": 1})));
    apply(&mut document, &first).unwrap();
    let repeat = apply(&mut document, &full(first)).unwrap();
    assert_eq!((repeat.version, repeat.grown), (1, 0), "a repeat");
    assert_eq!(apply(&mut document, &full(increment("/b", 9))), Err(DocumentRefusal::Full));
    assert_eq!(apply(&mut document, &full(increment("/b", 1))).unwrap().value, Some(2.into()));
    apply(&mut document, &full(merge(json!({"a": null})))).unwrap();
    assert_eq!(
        apply(&mut document, &full(named("again", increment("/b", 1)))),
        Err(DocumentRefusal::Full),
        "its result"
    );
    apply(&mut document, &full(named("away", edit(Change::Delete)))).unwrap();
    for n in 0..3 {
        let delete = full(named(&n.to_string(), edit(Change::Delete)));
        assert_eq!(apply(&mut document, &delete), Err(DocumentRefusal::Full), "there is nothing to take away");
    }
    assert_eq!(apply(&mut Document::default(), &full(edit(Change::Delete))), Err(DocumentRefusal::Full));
}

#[test]
fn numbers_are_kept_as_they_were_given() {
    let mut document = Document::default();
    let text = r#"{"a":0.1234567890123456789,"b":-0.0,"c":5e-324,"d":9007199254740993}"#;
    apply(&mut document, &edit(Change::Put(serde_json::from_str(text).unwrap()))).unwrap();
    for _ in 0..5 {
        apply(&mut document, &increment("/n", 1)).unwrap();
    }
    let kept = document.encode();
    let kept = Document::view(&kept).unwrap().json.unwrap();
    assert_eq!(kept, r#"{"a":0.12345678901234568,"b":-0.0,"c":5e-324,"d":9007199254740993,"n":5}"#);
    apply(&mut document, &merge(json!({"b": 0.0}))).unwrap();
    assert!(Document::view(&document.encode()).unwrap().json.unwrap().contains(r#""b":0.0"#));
}

#[test]
fn a_repeated_operation_gets_the_first_result() {
    let mut document = Document::default();
    let named = |n: u16| named(&n.to_string(), increment("/n", 1));
    for n in 0..300 {
        apply(&mut document, &named(n)).unwrap();
    }
    for n in 44..300 {
        let edited = apply(&mut document, &named(n)).unwrap();
        assert_eq!((edited.version, edited.value), (u64::from(n) + 1, Some((n + 1).into())));
    }
    assert_eq!(data(&document), json!({"n": 300}));
    assert_eq!(apply(&mut document, &named(43)).unwrap().version, 301, "it was so long ago");
}

#[test]
fn another_operation_under_the_same_name_is_refused() {
    let patch = || edit(Change::Patch(Patch::of(json!([{"op": "add", "path": "/n", "value": 1}])).unwrap()));
    let all = || [put(json!({"n": 1})), merge(json!({"n": 1})), patch(), increment("/n", 1), edit(Change::Delete)];
    for (number, first) in all().into_iter().enumerate() {
        let mut document = Document::default();
        apply(&mut document, &named("name", first)).unwrap();
        for (other, second) in all().into_iter().enumerate() {
            let answer = apply(&mut document, &named("name", second)).map(|edited| edited.version);
            let expected = if other == number { Ok(1) } else { Err(DocumentRefusal::OtherOperation) };
            assert_eq!(answer, expected, "{number} {other}");
        }
    }
    let mut document = Document::default();
    apply(&mut document, &named("name", increment("/n", 1))).unwrap();
    for other in [increment("/n", 2), increment("/m", 1)] {
        assert_eq!(apply(&mut document, &named("name", other)), Err(DocumentRefusal::OtherOperation));
    }
}

#[test]
fn documents_of_two_users_become_one_by_a_rule_for_each_key() {
    let document =
        |value, changed| Document { version: 5, changed, kept: Some(object(value).into()), ..Document::default() };
    let target = document(json!({"t": 1, "s": 1, "n": 2, "list": [1, 2], "o": {"a": 1}, "new": "old"}), 10);
    let source =
        document(json!({"t": 2, "s": 2, "n": 3, "list": [2, 3], "o": {"a": 2, "b": 3}, "new": "new", "own": 1}), 20);
    let rule = |key: &str| match key {
        "s" => KeyRule::KeepSource,
        "n" => KeyRule::Sum,
        "list" | "o" => KeyRule::Union,
        "new" => KeyRule::Newest,
        _ => KeyRule::KeepTarget,
    };
    let (merged, conflicts) = target.merged(&source, 30, MOST, rule).unwrap();
    let expected = json!({"t": 1, "s": 2, "n": 5, "list": [1, 2, 3], "o": {"a": 1, "b": 3}, "new": "new", "own": 1});
    assert_eq!((data(&merged), merged.version), (expected, 6));
    assert_eq!(left_out(&conflicts), [("/o/a", json!(2)), ("/t", json!(2))]);
    assert_eq!(data(&target.merged(&source, 30, MOST, |_| KeyRule::KeepTarget).unwrap().0)["new"], "old");
    assert_eq!(data(&source.merged(&target, 30, MOST, rule).unwrap().0)["new"], "new", "whichever is newer");
    let nothing = Document::default();
    assert_eq!(target.merged(&nothing, 30, MOST, rule), Ok((target.clone(), Conflicts::default())));
    assert_eq!(data(&nothing.merged(&source, 30, MOST, rule).unwrap().0), data(&source));
    let small = merged.kept.as_ref().unwrap().json.len() / 4;
    assert!(matches!(target.merged(&source, 30, small - 1, rule), Err(DocumentRefusal::TooLarge { .. })));
}

fn left_out(conflicts: &Conflicts) -> Vec<(&str, Value)> {
    conflicts.list.iter().map(|conflict| (conflict.pointer.as_str(), conflict.value.clone())).collect()
}

/// The default: whatever two people kept is kept, or told.
#[test]
fn objects_are_joined_at_every_depth_and_what_cannot_be_joined_is_told() {
    let document = |value| Document { version: 1, kept: Some(object(value).into()), ..Document::default() };
    let target = document(json!({
        "todos": {"a": 1, "deep": {"er": {"x": [1]}}}, "same": [1, {"n": 1.0}], "list": [1], "mixed": {"a": 1}, "a/b": {"~": 1}, "null": null,
    }));
    let source = document(json!({
        "todos": {"b": 1, "deep": {"er": {"x": [2], "y": 2}}}, "same": [1, {"n": 1}], "list": [], "mixed": 7, "a/b": {"~": null}, "null": {"a": 1}, "own": {},
    }));
    let (merged, conflicts) = target.merged(&source, 30, MOST, |_| KeyRule::default()).unwrap();
    let expected = json!({
        "todos": {"a": 1, "b": 1, "deep": {"er": {"x": [1], "y": 2}}}, "same": [1, {"n": 1.0}], "list": [1], "mixed": {"a": 1}, "a/b": {"~": 1},
        "null": null, "own": {},
    });
    assert_eq!(data(&merged), expected);
    let expected = [
        ("/a~1b/~0", json!(null)),
        ("/list", json!([])),
        ("/mixed", json!(7)),
        ("/null", json!({"a": 1})),
        ("/todos/deep/er/x", json!([2])),
    ];
    assert_eq!((left_out(&conflicts), conflicts.truncated), (expected.to_vec(), false));
    for rule in [KeyRule::KeepTarget, KeyRule::Union, KeyRule::Sum, KeyRule::Newest] {
        let (_, conflicts) = target.merged(&source, 30, MOST, |_| rule).unwrap();
        assert!(left_out(&conflicts).contains(&("/mixed", json!(7))), "{rule:?}");
    }
}

#[test]
fn what_a_merge_tells_of_is_bounded_and_says_so() {
    let numbered = |n: usize, value: &str| -> Document {
        let members: Map<_, _> = (0..n).map(|n| (n.to_string(), value.into())).collect();
        Document { version: 1, kept: Some(Kept::from(members)), ..Document::default() }
    };
    let merge =
        |n, value: &str| numbered(n, "ours").merged(&numbered(n, value), 30, 1 << 20, |_| KeyRule::Deep).unwrap().1;
    for (n, value, told) in [(MAX_CONFLICTS, "x", MAX_CONFLICTS), (MAX_CONFLICTS + 1, "x", MAX_CONFLICTS)] {
        let conflicts = merge(n, value);
        assert_eq!((conflicts.list.len(), conflicts.truncated), (told, n > told));
    }
    let conflicts = merge(10, &"x".repeat(MAX_CONFLICT_BYTES / 4));
    assert_eq!((conflicts.list.len(), conflicts.truncated), (3, true));
    let text: usize = conflicts.list.iter().map(|one| one.pointer.len() + one.value.to_string().len()).sum();
    assert!(text <= MAX_CONFLICT_BYTES && conflicts.size() > text);
}

/// No client takes it for the document that had a version or a name before.
#[test]
fn a_merge_takes_no_version_again_and_forgets_no_operation() {
    let (mut target, mut source) = (Document::default(), Document::default());
    apply(&mut target, &put(json!({"t": 1}))).unwrap();
    for n in 0..3 {
        apply(&mut source, &named(&n.to_string(), increment("/n", 1))).unwrap();
    }
    let join =
        |target: &Document, source: &Document| target.merged(source, 30, MOST, |_| KeyRule::KeepTarget).unwrap().0;
    assert_eq!(join(&target, &source).version, 4);
    assert_eq!(join(&source, &target).version, 4);
    apply(&mut source, &named("away", edit(Change::Delete))).unwrap();
    let mut merged = join(&target, &source);
    assert_eq!((data(&merged), merged.version), (json!({"t": 1}), 5));
    let repeat = apply(&mut merged, &named("away", edit(Change::Delete))).unwrap();
    assert_eq!((repeat.version, data(&merged)), (4, json!({"t": 1})), "it was the guest's that was taken away");
    assert_eq!(data(&join(&Document::default(), &source)), json!(null), "nothing and nothing is nothing");
}

#[test]
fn the_bytes_are_as_they_always_were() {
    let mut document = Document::default();
    let edit = Edit { operation: Some(OperationId { name: [9; 12], asks: Some([9; 4]) }), ..increment("/n", 3) };
    let edited = apply(&mut document, &edit).unwrap();
    let result = [[9; 16].as_slice(), &[0, 0, 0, 0, 0, 0, 0, 1], &[1, 0, 0, 0, 0, 0, 0, 0, 3]].concat();
    let text = b"{\"n\":3}";
    let golden =
        [[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 50, 0, 0, 0, 1].as_slice(), &result, &[0, 0, 0, 7], text].concat();
    assert_eq!(&*document.encode(), golden);
    let delta = [[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 50, 1].as_slice(), &result, &[1, 0, 0, 0, 7], text].concat();
    assert_eq!(&*edited.delta.unwrap().encode(), delta);
    for n in 0..golden.len() {
        assert_eq!(Document::decode(&golden[..n]), Err(UnreadableDocument), "{n}");
        assert_eq!(Document::view(&golden[..n]), Err(UnreadableDocument), "{n}");
    }
    for n in 0..delta.len() {
        assert_eq!(Delta::decode(&delta[..n]), Err(UnreadableDocument), "{n}");
    }
    // as it was before: the second half of the name's hash stood where now stands what is asked for
    let before = [&[1], &golden[1..]].concat();
    let mut read = Document::decode(&before).unwrap();
    let again = Edit { operation: Some(OperationId { name: [9; 12], asks: Some([8; 4]) }), ..increment("/n", 3) };
    assert_eq!(apply(&mut read, &again).unwrap().version, 1, "a repeat of what was done before the upgrade");
    assert_eq!(Document::decode(&read.encode()), Ok(read.clone()));
    let before = Delta::decode(&[&[1], &delta[1..]].concat()).unwrap();
    assert!(before.result.is_some_and(|(id, _)| id.asks.is_none()));
    let huge = [&golden[..13], &[255; 4]].concat();
    assert_eq!(Document::decode(&huge), Err(UnreadableDocument), "a length is believed as far as there are bytes");
    assert_eq!(Document::view(&huge), Err(UnreadableDocument));
}

/// RFC 7396, appendix A.
#[test]
fn a_merge_patch_is_applied_as_the_standard_says() {
    for (document, patch, expected) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1, null]}), json!({"a": [1, null]})),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!({"a": 1}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        (json!({}), json!({"a": {"b": {"c": null, "d": 1}}}), json!({"a": {"b": {"d": 1}}})),
    ] {
        let mut document = Document { version: 1, kept: Some(object(document).into()), ..Document::default() };
        apply(&mut document, &merge(patch.clone())).unwrap();
        assert_eq!(data(&document), expected, "{patch}");
    }
}

#[test]
fn a_sum_that_would_be_rounded_is_refused() {
    let mut document = Document::default();
    apply(&mut document, &put(json!({"big": 9_007_199_254_740_993_u64, "half": 0.5, "most": u64::MAX}))).unwrap();
    let by = |path: &str, by: Value| {
        let Value::Number(by) = by else { panic!("{by} is no number") };
        edit(Change::Increment { path: path.to_owned(), by })
    };
    assert_eq!(apply(&mut document, &by("/big", json!(0.5))), Err(DocumentRefusal::Inexact));
    assert_eq!(apply(&mut document, &by("/half", json!(9_007_199_254_740_993_u64))), Err(DocumentRefusal::Inexact));
    assert_eq!(apply(&mut document, &by("/most", json!(1))), Err(DocumentRefusal::Overflow));
    assert_eq!(apply(&mut document, &by("/big", json!(2))).unwrap().value, Some(9_007_199_254_740_995_u64.into()));
    assert_eq!(apply(&mut document, &by("/half", json!(1))).unwrap().value, serde_json::Number::from_f64(1.5));
    assert_eq!(data(&document)["most"], u64::MAX);
}
