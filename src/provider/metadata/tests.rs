//! Which fields of what a provider says are kept, and which are refused.

use serde_json::json;

use super::*;

fn field(name: &str, field_name: Option<&str>, required: bool) -> FieldSettings {
    FieldSettings { name: name.to_owned(), field_name: field_name.map(str::to_owned), required }
}

fn extract(fields: &[FieldSettings], claims: &Value) -> Result<Value, IdentityError> {
    let fields = MetadataFields::new(fields.iter().cloned()).unwrap();
    fields.extract(claims.as_object().unwrap()).map(Value::Object)
}

#[test]
fn fields_are_found_by_their_path() {
    let claims = json!({
        "user": { "name": "Jean", "aliases": ["a", "b"], "none": null, "deep": { "city": "Digne" } },
        "valid.json.key": { "nested_key": "val" },
        "back\\slash": 1,
    });
    let cases = [
        (field("user.name", None, true), json!({ "name": "Jean" })),
        (field("user.name", Some("full name"), true), json!({ "full name": "Jean" })),
        (field("user.aliases", None, false), json!({ "aliases": ["a", "b"] })),
        (field("user.deep.city", None, false), json!({ "city": "Digne" })),
        (field(r"valid\.json\.key.nested_key", None, false), json!({ "nested_key": "val" })),
        (field(r"back\\slash", None, false), json!({ "back\\slash": 1 })),
        (field("user.none", None, false), json!({})),
        (field("user.name.first", None, false), json!({})),
        (field("nowhere", None, false), json!({})),
    ];
    for (field, expected) in cases {
        assert_eq!(extract(std::slice::from_ref(&field), &claims), Ok(expected), "{field:?}");
    }
    for missing in ["nowhere", "user.none", "user.name.first"] {
        let error = extract(&[field(missing, Some("x"), true)], &claims).unwrap_err();
        assert_eq!(error, IdentityError::MissingField("x".to_owned()));
    }
}

#[test]
fn a_number_that_would_be_rounded_is_refused_where_it_would_be_kept() {
    let fields = |name: &str| MetadataFields::new([field(name, Some("shown"), false)]).unwrap();
    let payload =
        r#"{"ids":{"big":[18446744073709551616],"ok":18446744073709551615},"price":0.1234567890123456789,"sub":"a"}"#;
    for name in ["ids.big", "ids", "price"] {
        let refused = Err(IdentityError::FieldInexact("shown".to_owned()));
        assert_eq!(fields(name).check_numbers(payload), refused, "{name}");
    }
    for name in ["ids.ok", "sub", "nowhere", "sub.deeper"] {
        assert_eq!(fields(name).check_numbers(payload), Ok(()), "{name}");
    }
    assert_eq!(MetadataFields::default().check_numbers(payload), Ok(()));
}

#[test]
fn a_value_has_at_most_so_many_bytes() {
    let claims = |length: usize| json!({ "a": "x".repeat(length - 2) });
    assert!(extract(&[field("a", None, false)], &claims(MAX_VALUE)).is_ok());
    let error = extract(&[field("a", None, false)], &claims(MAX_VALUE + 1)).unwrap_err();
    assert_eq!(error, IdentityError::FieldTooLong("a".to_owned()));
}

#[test]
fn fields_that_cannot_be_meant_are_refused() {
    let long = "x".repeat(MAX_NAME + 1);
    for fields in [
        vec![field("", None, false)],
        vec![field("a..b", None, false)],
        vec![field(".a", None, false)],
        vec![field("a.", None, false)],
        vec![field(r"a\b", None, false)],
        vec![field(r"a\", None, false)],
        vec![field("a", Some(""), false)],
        vec![field("a", Some(&long), false)],
        vec![field("a.x", None, false), field("b.x", None, false)],
    ] {
        assert!(MetadataFields::new(fields.clone()).is_err(), "{fields:?}");
    }
}
