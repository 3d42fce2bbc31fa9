//! Documents on a socket.

use super::*;

/// S23.
#[actix_web::test]
async fn a_ticket_for_a_socket_is_good_for_half_a_minute() {
    World::new()
        .serve(async |server| {
            let token = someone(server).await;
            let open = async |after_s, stands_still_s| {
                let ticket = server.call("POST /v1/socket-ticket").bearer(&token).send().await.json();
                assert_eq!(ticket["expires_in"], 30);
                server.clock.stand_still_s(stands_still_s);
                server.clock.advance_s(after_s);
                let offer = format!("ticket.{}", ticket["ticket"].as_str().unwrap());
                let url = format!("http://{}/v1/socket", server.address);
                match client().ws(url).protocols(["passerby.v1", &offer]).connect().await {
                    Ok((response, _)) => response.status().as_u16(),
                    Err(WsClientError::InvalidResponseStatus(status)) => status.as_u16(),
                    Err(other) => panic!("{other}"),
                }
            };
            assert_eq!((open(0, 0).await, open(29, 0).await, open(30, 0).await), (101, 101, 401));
            assert_eq!((open(29, 40).await, open(30, 40).await), (101, 401), "a stall of ours does not count");
        })
        .await;
}

/// Reading a frame is work as well: a client that asks for too much is not read for a while.
#[actix_web::test]
async fn a_socket_that_asks_for_too_much_work_is_not_read_on_for_a_while() {
    World::new()
        .set("data.work", "64")
        .set("data.work_burst", "64")
        .serve(async |server| {
            let tokens = server.log_in_v1().await;
            let mut socket = open(server, &tokens.access).await;
            let whose = Whose::of(server.address.ip(), UserId::parse(&tokens.user).unwrap());
            server.server.data_work.owe(whose, 1024 * 1024);
            let begun = Instant::now();
            says(&mut socket, json!({"type": "put", "id": "1234567890123456", "data": {"t": "x".repeat(5000)}})).await;
            says(&mut socket, json!({"type": "get", "id": "a-look-at-the-data"})).await;
            let refused = hears(&mut socket).await;
            assert_eq!((&refused["code"], &refused["id"]), (&json!("over-budget"), &json!("1234567890123456")));
            assert_eq!(hears(&mut socket).await["id"], "a-look-at-the-data");
            // never sooner, however slow the machine is
            assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
            // what is small is free, and nothing keeps it waiting
            says(&mut socket, json!({"type": "put", "id": "1234567890123457", "data": {}})).await;
            assert_eq!(hears(&mut socket).await["version"], 1);
        })
        .await;
}

/// As over HTTP: a change that waited for its turn is made only if its session still lives.
#[actix_web::test]
async fn a_delayed_change_on_a_socket_is_dropped_when_its_session_has_ended() {
    const WAIT: Duration = Duration::from_millis(900);
    World::new()
        .set("data.work", "64")
        .set("data.work_burst", "64")
        .serve(async |server| {
            for _ in 0..20 {
                let one = server.log_in_v1().await;
                let code = server.call("POST /v1/session/transfer").bearer(&one.access).send().await.json();
                let code = json!({"provider": "transfer", "code": code["code"]});
                let other = server.call(CREATE).body(code.to_string()).send().await.tokens();
                let mut socket = open(server, &one.access).await;
                let whose = Whose::of(server.address.ip(), UserId::parse(&one.user).unwrap());
                for bytes in [64 * 1024, 64 * 1024 * 9 / 10] {
                    assert_eq!(server.server.data_work.spend(whose, 4096 + bytes).unwrap(), Duration::ZERO);
                }
                let (begun, waited) = (Instant::now(), server.server.data_work.waited());
                let put = json!({"type": "put", "id": "1234567890123456", "data": {"t": "x".repeat(4200)}});
                says(&mut socket, put).await;
                until("it waits", || server.server.data_work.waited() > waited).await;
                assert_eq!(server.call(END).bearer(&one.access).send().await.status, 204);
                let in_time = begun.elapsed() < WAIT;
                let told = hears(&mut socket).await;
                if in_time {
                    assert_eq!(told["type"], "session.ended", "{told}");
                    assert_eq!(data(server, &other.access).await, json!(null), "nothing was changed");
                    return;
                }
            }
            panic!("no logout was done while a change waited");
        })
        .await;
}

/// Duplicate members are refused on a socket as over HTTP, named from the frame.
#[actix_web::test]
async fn a_socket_refuses_a_member_that_is_there_twice_at_every_depth() {
    World::new()
        .serve(async |server| {
            let tokens = server.log_in_v1().await;
            let mut socket = open(server, &tokens.access).await;
            let id = r#""id":"1234567890123456""#;
            for (frame, code, pointer) in [
                (format!(r#"{{"type":"put",{id},"data":{{"a":1,"a":2}}}}"#), "duplicate-field", "/data/a"),
                (format!(r#"{{"type":"put",{id},"data":{{}},"data":{{}}}}"#), "duplicate-field", "/data"),
                (
                    format!(r#"{{"type":"patch",{id},"patch":{{"a":[{{"b":1,"\u0062":1}}]}}}}"#),
                    "duplicate-field",
                    "/patch/a/0/b",
                ),
                (
                    format!(r#"{{"type":"patch",{id},"patch":[{{"op":"remove","path":"/a","path":"/b"}}]}}"#),
                    "duplicate-field",
                    "/patch/0/path",
                ),
                (format!(r#"{{"type":"meter",{id},"name":"m","amount":1e400}}"#), "inexact-number", "/amount"),
            ] {
                says(&mut socket, &frame).await;
                let error = hears(&mut socket).await;
                assert_eq!((&error["status"], &error["code"]), (&json!(422), &json!(code)), "{frame}");
                assert!(error["detail"].as_str().unwrap().contains(&format!("\"{pointer}\" ")), "{error}");
            }
            assert_eq!(data(server, &tokens.access).await, json!(null), "nothing was changed");
        })
        .await;
}
