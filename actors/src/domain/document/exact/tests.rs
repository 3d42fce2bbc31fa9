//! What is found in a document's text before it is parsed.

use super::*;

#[test]
fn a_number_that_would_be_rounded_is_found_where_it_is() {
    for exact in [
        "0",
        "-0",
        "-0.0",
        "1",
        "1.0",
        "1.50",
        "0.1",
        "100e-2",
        "1e300",
        "5e-324",
        "1E+2",
        "18446744073709551615",
        "-9223372036854775808",
        "9007199254740993",
        "0.30000000000000004",
        "123456789012345.6",
        "1.7976931348623157e308",
        "0.00000000000000000000001",
        "1000000000000000000000.0",
        "0e99999999999999999999",
    ] {
        assert_eq!(inexact_number(exact), None, "{exact}");
        let kept = serde_json::from_str::<serde_json::Value>(exact).unwrap().to_string();
        assert_eq!(Decimal::of(kept.as_bytes()), Decimal::of(exact.as_bytes()), "{exact}");
    }
    for rounded in [
        "18446744073709551616",
        "-9223372036854775809",
        "100000000000000000000",
        "0.1234567890123456789",
        "3.14159265358979323846",
        "9007199254740993.0",
        "1e400",
        "-1e400",
        "1e-400",
        "12345678901234567890.5",
        "1e99999999999999999999",
    ] {
        assert_eq!(inexact_number(rounded).as_deref(), Some(""), "{rounded}");
    }
    let json =
        r#" {"a": {"b/~\"é": [1, "x:{[,", {"n": 1}, {"n": 0.1234567890123456789}]}, "c": 18446744073709551616} "#;
    assert_eq!(inexact_number(json).as_deref(), Some("/a/b~1~0\"é/3/n"));
    assert_eq!(inexact_number(r#"{"a":[[],{}],"c":99999999999999999999}"#).as_deref(), Some("/c"));
    for broken in ["", "\"", "{\"a\\", "[1,", "]]1", "{\"\\u12", "1.2.3", "--", "{,,:1}", &"[".repeat(10_000)] {
        assert_eq!(losses(broken), Losses::default(), "{broken}");
    }
}

#[test]
fn a_member_that_is_there_twice_is_found_at_every_depth_however_it_is_spelled() {
    for once in [
        r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}],"":{"":{}}}"#,
        r#"{"a":"a","b":["a","a"],"c":"\"a\":1,\"a\":2"}"#,
        r#"{"a":1,"A":1,"\u0061\u0061":1,"é":1,"e\u0301":1}"#,
        r#"[{"a":1},{"a":1}]"#,
        "{}",
        "3",
    ] {
        assert_eq!(losses(once), Losses::default(), "{once}");
    }
    for (twice, pointer) in [
        (r#"{"a":1,"a":1}"#, "/a"),
        (r#"{"a":{"b":1},"c":2,"a":{"d":1}}"#, "/a"),
        (r#"{"b":1,"a":1,"\u0061":1}"#, "/a"),
        (r#"{"\ud83d\ude00":1,"😀":1}"#, "/😀"),
        (r#"{"\/":1,"/":1}"#, "/~1"),
        (r#"{"~":{"":[0,{"x":{"k":1,"j":[1,2],"k":1}}]}}"#, "/~0//1/x/k"),
        (r#"[[],[{"z":1,"y":{"a":1},"z":{"a":1}}]]"#, "/1/0/z"),
        (r#"{"a":[{"b":1},{"b":1,"b":1}],"a":1}"#, "/a/1/b"),
        (r#" {"a" : {"":1 , "" :2} , "b": 18446744073709551616} "#, "/a/"),
    ] {
        assert_eq!(losses(twice).twice.as_deref(), Some(pointer), "{twice}");
    }
    let both = losses(r#"{"n":[1,{"x":1e400}],"m":{"k":1,"k":2}}"#);
    assert_eq!((both.rounded.as_deref(), both.twice.as_deref()), (Some("/n/1/x"), Some("/m/k")));
    // many names, and many objects in each other
    let names =
        |last: &str| format!("{{{}\"{last}\":0}}", (0..20_000).map(|n| format!("\"{n}\":0,")).collect::<String>());
    assert_eq!(losses(&names("20000")).twice, None);
    assert_eq!(losses(&names("7")).twice.as_deref(), Some("/7"));
    let deep = format!("{}{}", r#"{"a":0,"a":"#.repeat(500), "}".repeat(500));
    assert_eq!(losses(&deep).twice, Some("/a".repeat(500)));
}

#[test]
fn members_are_counted_in_the_text_and_those_of_operations_are_not() {
    for (text, members) in [
        ("{}", 0),
        (r#"{"a":1}"#, 1),
        (r#"{"a:b":"c:\":d","e":[{"f":{}},{"g":null}]}"#, 4),
        (r#" [{"op":"add","path":"/a:b","value":{"c":1,"d":[{"e":2}]}},{"op":"remove","path":"/f"}]"#, 3),
        (r#"[{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6}]"#, 2),
        (r#"[[{"a":1}],{"b":1}]"#, 1),
    ] {
        assert!(!has_more_members(text, members), "{text}");
        assert!(members == 0 || has_more_members(text, members - 1), "{text}");
    }
    for broken in ["", "\"", "\"\\", "}}]{\":", "[[[{"] {
        assert!(!has_more_members(broken, 0), "{broken}");
    }
}
