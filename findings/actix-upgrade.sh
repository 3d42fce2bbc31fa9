#!/usr/bin/env bash
# actix-web ends the connection after a request that asks for an upgrade it does not get, and its answer does not say so.
#
# Version:  actix-web 4.18.1 with actix-http 3.20.0.
# Source:   RFC 9110 §7.8 (a server may ignore Upgrade), RFC 9112 §9.6 (a server that ends the connection should send "close").
# Expected: the answer has "connection: close", or the connection takes the next request.
# Seen:     "connection: upgrade", and then the end. A proxy that keeps the connection loses the next request that it sends over it.
source "$(dirname "$0")/common.sh"
mkdir "$work/src"
cat >"$work/Cargo.toml" <<'END'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
actix-http = "=3.20.0"
actix-web = { version = "=4.18.1", default-features = false, features = ["macros"] }
END
cat >"$work/src/main.rs" <<'END'
use std::io::{Read, Write};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let server = actix_web::HttpServer::new(|| actix_web::App::new().default_service(actix_web::web::to(async || "page")))
        .workers(1)
        .keep_alive(std::time::Duration::from_secs(60))
        .bind("127.0.0.1:0")?;
    let address = server.addrs()[0];
    let running = server.run();
    std::thread::spawn(move || {
        for asked in ["", "Connection: Upgrade\r\nUpgrade: other\r\n"] {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
            stream.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\n{asked}\r\n").as_bytes()).unwrap();
            let mut answer = Vec::new();
            let end = if stream.read_to_end(&mut answer).is_ok() { "ended" } else { "open" };
            let answer = String::from_utf8_lossy(&answer).to_lowercase();
            let connection = answer.lines().find(|line| line.starts_with("connection:")).unwrap_or("no word");
            println!("{connection}, {end}");
        }
        std::process::exit(0);
    });
    running.await
}
END
said=$(cd "$work" && CARGO_TARGET_DIR=$work/target cargo run --quiet)
seen "a plain request" "no word, open" "$(sed -n 1p <<<"$said")"
seen "one that asks for an upgrade" "connection: upgrade, ended" "$(sed -n 2p <<<"$said")"
finish
