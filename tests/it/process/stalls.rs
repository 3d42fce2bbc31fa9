//! A server that stands still, or has few files left.

use super::*;

/// Time passes while the process does not run.
fn stop_for(process: &Process, span: Duration, meanwhile: impl FnOnce()) {
    process.signal(Signal::STOP);
    let begin = Instant::now();
    meanwhile();
    while begin.elapsed() < span {
        std::thread::park_timeout(span.saturating_sub(begin.elapsed()));
    }
    process.signal(Signal::CONT);
}

/// A stall of the server counts against no client: one that sent what was due meanwhile is answered as if the server had run.
#[test]
fn a_client_of_a_server_that_was_stopped_is_answered_when_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let short = [("PASSERBY_HTTP_CLIENT_TIMEOUT", "2"), ("PASSERBY_HTTP_KEEP_ALIVE", "2")];
    let process = Process::start_with(&folder.path().join("data"), &[], &short, Stdio::null());
    let mut resting = Client::connect(&process.public).unwrap();
    let access = resting.call("POST", "/v1/sessions", None).unwrap().body["access_token"].as_str().unwrap().to_owned();
    let begun = |bytes: &str| {
        let mut client = Client::connect(&process.public).unwrap();
        client.stream.get_mut().write_all(bytes.as_bytes()).unwrap();
        client
    };
    let mut in_its_head = begun("POST /v1/sessions HTTP/1.1\r\nhost: te");
    let mut in_its_body = begun("POST /v1/sessions HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{");
    let mut not_begun = Client::connect(&process.public).unwrap();
    stop_for(&process, Duration::from_secs(5), || {
        // each may come late: the server is not there to see when
        in_its_head.stream.get_mut().write_all(b"st\r\ncontent-length: 0\r\n\r\n").unwrap();
        in_its_body.stream.get_mut().write_all(b"}").unwrap();
    });
    assert_eq!(in_its_head.read().unwrap().status, 201);
    assert_eq!(in_its_body.read().unwrap().status, 201);
    assert_eq!(resting.call("GET", "/v1/session", Some(&access)).unwrap().status, 200);
    assert_eq!(not_begun.call("GET", "/v1/challenge", None).unwrap().status, 200);

    // and a client that really is slow is told so
    let mut slow = begun("POST /v1/sessions HTTP/1.1\r\nhost: te");
    assert_eq!(slow.read().unwrap().status, 408);
    let mut slow = begun("POST /v1/sessions HTTP/1.1\r\nhost: test\r\ncontent-length: 2\r\n\r\n{");
    assert_eq!(slow.read().unwrap().status, 408);
    assert!(resting.read().is_none(), "whose time to rest is over");
}

/// Connections take no file that the store or the admin listener needs.
#[test]
fn connections_leave_files_for_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let limited = format!("ulimit -n 192; exec {} \"$@\"", env!("CARGO_BIN_EXE_passerby"));
    let mut shell = Command::new("sh");
    shell.args(["-c", &limited, "sh"]);
    shell.args(["serve", "--workers", "1", "--data-dir"]).arg(&data).args(FREE_PORTS).stderr(Stdio::null());
    let process = Process::spawn(&mut shell);
    assert_eq!(metric(&process.admin, "passerby_connections_limit"), 128);
    assert_eq!(metric(&process.admin, "passerby_sockets_limit"), 96, "checks and logins have the rest");
    let mut clients: Vec<_> = (0..300).map(|_| Client::connect(&process.public).unwrap()).collect();
    let made = clients.iter_mut().filter_map(|client| client.call("POST", "/v1/sessions", None));
    assert_eq!(made.filter(|answer| answer.status == 201).count(), 128);
    assert_eq!(metric(&process.admin, "passerby_connections_refused_total"), 172);
    assert_eq!(metric(&process.admin, "passerby_connections"), 128);
    drop(clients);
    while metric(&process.admin, "passerby_connections") > 0 {}
    assert_eq!(call(&process.public, "POST", "/v1/sessions", None).status, 201);
    assert_eq!(process.stop(), Some(0));
}
