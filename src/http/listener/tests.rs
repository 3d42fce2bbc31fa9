//! Which connections are counted.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

const LIMITS: Limits =
    Limits { head: Duration::from_secs(5), patience: Duration::from_secs(20), rest: Duration::from_secs(75) };

/// A client's end, and the server's over a pipe of eight bytes.
fn connection() -> (tokio::io::DuplexStream, Impatient<tokio::io::DuplexStream>) {
    let (client, server) = duplex(8);
    (client, Impatient::new(server, LIMITS, None))
}

async fn drip(client: &mut tokio::io::DuplexStream) {
    loop {
        tokio::time::sleep(Duration::from_secs(3)).await;
        if client.write_all(b"x").await.is_err() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_finished_ends_the_connection_however_slowly_it_comes() {
    let (mut client, mut server) = connection();
    server.endless.has_request();
    let start = Instant::now();
    let reading = async {
        let mut bytes = Vec::new();
        let error = server.read_to_end(&mut bytes).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, LIMITS.patience));
    };
    tokio::select! { () = drip(&mut client) => panic!("the pipe broke"), () = reading => {} }
}

#[tokio::test(start_paused = true)]
async fn a_first_head_that_is_never_finished_is_answered_408_and_none_at_all_nothing() {
    let (mut client, mut server) = connection();
    let start = Instant::now();
    let mut bytes = Vec::new();
    tokio::select! {
        () = drip(&mut client) => panic!("the pipe broke"),
        end = server.read_to_end(&mut bytes) => assert_eq!(end.unwrap(), 1),
    }
    assert_eq!(start.elapsed(), LIMITS.head);
    let mut answer = [0; 8];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, TOO_SLOW[..8]);

    let (mut client, mut server) = connection();
    let start = Instant::now();
    assert_eq!(server.read_to_end(&mut bytes).await.unwrap(), 0);
    assert_eq!(start.elapsed(), LIMITS.head);
    drop(server);
    assert_eq!(client.read_to_end(&mut bytes).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_never_read_end_the_connection() {
    let (client, mut server) = connection();
    let start = Instant::now();
    let error = server.write_all(&[0; 100]).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed()), (io::ErrorKind::TimedOut, LIMITS.patience));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_is_owed_may_rest_for_its_time_and_go_on() {
    let (mut client, mut server) = connection();
    let mut buffer = [0; 1];
    for pause_s in [1, 19, 21, 70, 19, 19] {
        client.write_all(b"q").await.unwrap();
        server.read_exact(&mut buffer).await.unwrap();
        server.endless.has_request();
        tokio::time::sleep(Duration::from_secs(19)).await;
        server.write_all(b"a").await.unwrap();
        client.read_exact(&mut buffer).await.unwrap();
        let rest = tokio::time::timeout(Duration::from_secs(pause_s), server.read_exact(&mut buffer)).await;
        assert!(rest.is_err(), "nothing came, and nothing is wrong: {rest:?}");
    }
    client.write_all(b"q").await.unwrap();
    server.read_exact(&mut buffer).await.unwrap();
    server.write_all(b"a").await.unwrap();
    let start = Instant::now();
    assert_eq!(server.read_to_end(&mut Vec::new()).await.unwrap(), 0, "as if the client had gone");
    assert_eq!(start.elapsed(), LIMITS.rest);
}

#[test]
fn a_trusted_proxy_is_not_counted_and_everyone_else_is() {
    let trusted = ["10.0.0.0/8".parse().unwrap()];
    let counted = |peer: &str| counted(&trusted, peer.parse().unwrap());
    assert_eq!([counted("10.1.2.3"), counted("::ffff:10.1.2.3"), counted("127.0.0.1")], [None; 3]);
    assert!(counted("192.0.2.1").is_some() && counted("2001:db8::1").is_some());
}

#[test]
fn some_files_are_kept_back() {
    let cases = [(64, 32), (256, 64), (1024, 128), (65_536, 1024), (1 << 20, 1024)];
    for (all, kept) in cases {
        assert_eq!(kept_back(all), kept, "{all}");
    }
}
