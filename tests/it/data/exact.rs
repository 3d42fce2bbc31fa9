//! Nothing is rounded, and no member is lost.

use super::*;

/// Nothing is rounded: what cannot be kept as it is written is refused, and where it stands is said.
#[actix_web::test]
async fn a_number_that_would_be_rounded_is_refused_by_name() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            let exact = r#"{"big":18446744073709551615,"d":0.30000000000000004,"n":-9223372036854775808}"#;
            changed(&server.call(PUT).bearer(&token).body(exact).send().await, 1);
            let patch = "application/json-patch+json";
            for (what, content_type, body, pointer) in [
                (PUT, "application/json", r#"{"a":{"b/c":[1,18446744073709551616]}}"#, "/a/b~1c/1"),
                (PUT, "application/json", r#"{"a":0.1234567890123456789}"#, "/a"),
                (PUT, "application/json", r#"{"a":1e400}"#, "/a"),
                (PATCH, "application/json", r#"{"n":-9223372036854775809}"#, "/n"),
                (PATCH, patch, r#"[{"op":"add","path":"/x","value":[3.14159265358979323846]}]"#, "/0/value/0"),
                (PATCH, patch, r#"[{"op":"test","path":"/big","value":18446744073709551616}]"#, "/0/value"),
                (INCREMENT, "application/json", r#"{"path":"/n","by":99999999999999999999}"#, "/by"),
            ] {
                let call = server.call(what).bearer(&token).header("content-type", content_type).body(body);
                let answer = call.send().await;
                answer.assert_problem(422, "inexact-number");
                let detail = answer.json_as("application/problem+json")["detail"].to_string();
                assert!(detail.contains(&format!("\\\"{pointer}\\\" ")), "{detail}");
            }
            let by = server.call(INCREMENT).bearer(&token).body(r#"{"path":"/big","by":0.5}"#).send().await;
            by.assert_problem(422, "inexact-number");
            let kept = server.call(GET).bearer(&token).send().await;
            assert_eq!(String::from_utf8_lossy(&kept.body), exact);
            let export = server.call("GET /v1/user/export").bearer(&token).send().await;
            assert!(String::from_utf8_lossy(&export.body).contains(exact));
        })
        .await;
}

/// Nothing is lost without a word: of members with the same name only one could be kept, so they are refused at every depth.
#[actix_web::test]
async fn a_member_that_is_there_twice_is_refused_by_name_at_every_depth() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            let kept = json!({"a": {"b": 1}, "n": 1});
            changed(&send(server, &token, PUT, kept.clone()).await, 1);
            let (merge, patch) = ("application/merge-patch+json", "application/json-patch+json");
            for (what, content_type, body, pointer) in [
                (PUT, "application/json", r#"{"a":1,"a":2}"#, "/a"),
                (PUT, "application/json", r#"{"a":1,"\u0061":1}"#, "/a"),
                (PUT, "text/plain", r#"{"x":[0,{"y/":{"z":null,"z":null}}]}"#, "/x/1/y~1/z"),
                (PATCH, merge, r#"{"n":2,"n":null}"#, "/n"),
                (PATCH, merge, r#"{"a":{"b":2,"c":3,"b":4}}"#, "/a/b"),
                (PATCH, patch, r#"[{"op":"add","path":"/x","value":{"k":1,"k":1}}]"#, "/0/value/k"),
                (PATCH, patch, r#"[{"op":"remove","path":"/n"},{"op":"remove","path":"/n","path":"/a"}]"#, "/1/path"),
                (PATCH, patch, r#"[{"op":"test","path":"/a","value":{"b":1,"b":1}}]"#, "/0/value/b"),
                (INCREMENT, "application/json", r#"{"path":"/n","by":1,"by":2}"#, "/by"),
            ] {
                let call = server.call(what).bearer(&token).header("content-type", content_type).body(body);
                let answer = call.send().await;
                answer.assert_problem(422, "duplicate-field");
                let detail = answer.json_as("application/problem+json")["detail"].to_string();
                assert!(detail.contains(&format!("\\\"{pointer}\\\" ")), "{detail}");
            }
            let read = server.call(GET).bearer(&token).send().await;
            assert_eq!((read.header("etag"), read.json()), (Some("\"1\""), kept), "nothing was changed");
        })
        .await;
}
