//! What does an idle open socket cost? `cargo bench --bench sockets`.
//!
//! 15 000 sockets, one for each of as many users, on the release server; and as many on a bare actix-ws echo server of the same
//! versions, in the same run. Server, echo and clients are processes of their own, since a process may have 20 000 files open.
//! Memory is taken before the first socket, with all users created, and with all sockets open and quiet.
//!
//! `--smoke` is for CI: 1000 sockets. The exit code is 1 if one of the sockets is not open at the end.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench has no caller to hand an error to")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_ws::Message;
use passerby_benches::client::collect;
use passerby_benches::work::{self, field};
use passerby_benches::{Arguments, AtMost, Bench, Process, Report, Weight, mib, progress, resident_bytes};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than a bare echo's (bytes).
const MORE: f64 = 3072.0;
/// Until everything that was begun by opening is over.
const QUIET: Duration = Duration::from_secs(3);

#[derive(clap::Args)]
struct Own {
    /// How many sockets.
    #[arg(long, default_value_t = 15_000)]
    sockets: usize,
    /// Be the echo server.
    #[arg(long, hide = true, num_args = 1..)]
    peer: Vec<String>,
    /// Be the clients of this address; tokens, one a line, come on standard input.
    #[arg(long, hide = true)]
    connect: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::<Own>::read();
    if !arguments.own.peer.is_empty() {
        actix_web::rt::System::new().block_on(echo());
        return ExitCode::SUCCESS;
    }
    if let Some(address) = &arguments.own.connect {
        hold(address);
        return ExitCode::SUCCESS;
    }
    arguments.measure("sockets", env!("CARGO_TARGET_TMPDIR"), measure)
}

fn measure(own: &Own, bench: &Bench) -> bool {
    let count = if bench.smoke { 1000 } else { own.sockets };
    let mut report = bench.report();
    report.figure("sockets", count as f64, "");
    let bare = {
        let echo = Process::peer(&["echo"]);
        each_socket("bare actix-ws echo", &echo, vec![String::new(); count], &mut report)
    };
    let server = Process::server(&bench.folder().join("data"), "HS256");
    let mut tokens = Vec::new();
    collect(&bench.clock, &server.address, count, work::login(work::LOGIN_V1), |_, body| {
        tokens.push(String::from_utf8(field(body, "access_token").to_vec()).unwrap());
    });
    let passerby = each_socket("Passerby", &server, tokens, &mut report);
    // a few sockets are less than what the allocator takes at a time
    let weight = if bench.smoke { Weight::Speed } else { Weight::Bound };
    report.targeted("Passerby, more than the echo, of each socket", passerby - bare, "B", AtMost(MORE), weight);
    report.finish()
}

/// Opens a socket for each token from a process of its own, and answers how many bytes each takes.
fn each_socket(name: &'static str, server: &Process, tokens: Vec<String>, report: &mut Report) -> f64 {
    let count = tokens.len();
    let bar = progress::steps(count as u64, name);
    std::thread::park_timeout(QUIET);
    let before = resident_bytes(&server.number());
    let mut clients = Clients::start(&server.address);
    let mut input = clients.0.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        for token in tokens {
            writeln!(input, "{token}").unwrap();
        }
        // the clients hold what they have until this ends
        input
    });
    let mut lines = BufReader::new(clients.0.stdout.take().unwrap()).lines();
    for opened in 1..=count {
        let line = lines.next().unwrap().unwrap();
        assert_eq!(line, "open", "socket {opened} of {name}");
        bar.set_position(opened as u64);
    }
    bar.finish_and_clear();
    std::thread::park_timeout(QUIET);
    let after = resident_bytes(&server.number());
    drop(writer.join().unwrap());
    let alive: usize = lines.next().unwrap().unwrap().parse().unwrap();
    assert_eq!(alive, count, "sockets of {name} that were still open");
    report.figure(format!("{name}: memory before"), mib(before), "MiB");
    report.figure(format!("{name}: memory with all sockets"), mib(after), "MiB");
    let each = (after as f64 - before as f64) / count as f64;
    report.figure(format!("{name}: each socket"), each, "B");
    each
}

struct Clients(Child);

impl Clients {
    fn start(address: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--connect", address]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[expect(clippy::print_stdout, reason = "the parent reads it")]
fn say(line: impl std::fmt::Display) {
    println!("{line}");
}

/// Opens a socket for each line, holds them all until there are no more lines, and says how many are still open then.
fn hold(address: &str) {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let mut streams = Vec::new();
    for token in std::io::stdin().lines() {
        streams.push(open(address, &token.unwrap()));
        say("open");
        if streams.len().is_multiple_of(1000) {
            streams.retain_mut(pong);
        }
    }
    streams.retain_mut(pong);
    say(streams.len());
}

/// A socket whose handshake is over: by a ticket for this token, or without one.
fn open(address: &str, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let (path, protocols) = if token.is_empty() {
        ("/echo", String::new())
    } else {
        let length = "content-length: 0\r\n\r\n";
        let head = "POST /v1/socket-ticket HTTP/1.1\r\nhost: bench";
        stream.write_all(format!("{head}\r\nauthorization: Bearer {token}\r\n{length}").as_bytes()).unwrap();
        let answer = read_until(&mut stream, "\"expires_in\"");
        let ticket = String::from_utf8(field(answer.as_bytes(), "ticket").to_vec()).unwrap();
        ("/v1/socket", format!("sec-websocket-protocol: passerby.v1, ticket.{ticket}\r\n"))
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: bench\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: x3JJHMbDL1EzLkh9GBhXDw==\r\n{protocols}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let answer = read_until(&mut stream, if token.is_empty() { "\r\n\r\n" } else { "\"data\":null}" });
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream.set_nonblocking(true).unwrap();
    stream
}

fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let (mut all, mut bytes) = (String::new(), [0; 2048]);
    while !all.contains(end) {
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "{all}");
        all.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    all
}

/// Answers a ping, if there is one. Whether the socket is open.
fn pong(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 64];
    match stream.read(&mut bytes) {
        Ok(0) => false,
        // the server says nothing but pings, and closes with 0x88
        Ok(_) if bytes[0] == 0x89 => stream.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).is_ok(),
        Ok(_) => false,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// What there is besides us: says back what it is told.
async fn echo() {
    let server = HttpServer::new(|| App::new().route("/echo", web::get().to(say_back))).workers(2);
    let server = server.bind("127.0.0.1:0").unwrap();
    say(format!("listening on http://{}", server.addrs()[0]));
    server.run().await.unwrap();
}

async fn say_back(request: HttpRequest, body: web::Payload) -> Result<HttpResponse, actix_web::Error> {
    let (response, mut session, mut messages) = actix_ws::handle(&request, body)?;
    actix_web::rt::spawn(async move {
        while let Some(Ok(message)) = messages.recv().await {
            let said = match message {
                Message::Text(text) => session.text(text).await,
                Message::Ping(bytes) => session.pong(&bytes).await,
                Message::Close(reason) => {
                    drop(session.close(reason).await);
                    return;
                }
                _ => Ok(()),
            };
            if said.is_err() {
                return;
            }
        }
    });
    Ok(response)
}
