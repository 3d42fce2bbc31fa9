//! Clients that send or read too slowly.

use super::*;

#[actix_web::test]
async fn a_slow_client_is_cut_off() {
    World::new()
        .set("http.client_timeout", "1")
        .serve(async |server| {
            for what in [LOGIN, CREATE] {
                // the head says ten bytes, and one comes
                let bytes = format!("{what} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{").into_bytes();
                let answer = exchange(server.address, bytes, false).await;
                assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
                assert!(answer.contains("json\r\n"), "{answer}");
                assert!(answer.contains("did not arrive in time"), "{answer}");
            }
            // a head that never ends is cut off too, by actix-http
            let answer = exchange(server.address, b"GET /v1/session HTTP/1.1\r\nHost".to_vec(), false).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
            assert_eq!(server.metric("passerby_users").await, 0);
        })
        .await;
}

/// What actix-http does not time: a later head, and answers that no one reads.
#[actix_web::test]
async fn a_client_that_stalls_behind_its_first_request_is_cut_off() {
    World::new()
        .set("http.client_timeout", "1")
        .set("http.request_timeout", "1")
        .set("http.keep_alive", "12")
        .serve(async |server| {
            let address = server.address;
            let whole = "GET /v1/session HTTP/1.1\r\nHost: x\r\n\r\n";
            // in one piece with what came before, it is timed like a rest between requests
            let answer = exchange(address, format!("{whole}{whole}GET /v1/se").into_bytes(), false).await;
            assert_eq!(answer.matches("HTTP/1.1 401 ").count(), 2, "{answer}");

            let refused = web::block(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                stream.write_all(whole.as_bytes()).unwrap();
                let mut answer = [0; 4096];
                assert!(stream.read(&mut answer).unwrap() > 0);
                stream.write_all(b"G").unwrap();
                stream.read(&mut answer)
            });
            assert!(refused.await.unwrap().is_ok_and(|length| length == 0));

            let refused = web::block(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
                let many = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
                loop {
                    if let Err(error) = stream.write_all(many.as_bytes()) {
                        return error.kind();
                    }
                }
            });
            let refused = refused.await.unwrap();
            assert!(matches!(refused, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{refused}");
        })
        .await;
}
