//! TLS of a process: a certificate that is renewed, one that is wrong, and the commands of the same machine.

use super::*;
use crate::tls::{Certificate, connect, exchange};

fn environment(certificate: &Certificate) -> [(String, String); 4] {
    ["TLS_CERT", "TLS_KEY", "ADMIN_TLS_CERT", "ADMIN_TLS_KEY"].map(|name| {
        let file = if name.ends_with("CERT") { "cert.pem" } else { "key.pem" };
        (format!("PASSERBY_{name}"), certificate.path(file))
    })
}

#[actix_web::test]
async fn a_renewed_certificate_is_taken_while_connections_go_on_and_a_broken_one_never() {
    let (folder, certificate) = (tempfile::tempdir().unwrap(), Certificate::new());
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let first = certificate.renew();
    let mut command = passerby();
    command.arg("serve").args(FREE_PORTS).arg("--data-dir").arg(&data).envs(environment(&certificate));
    let process = Process::spawn(command.stderr(logging_to(&log)));
    let is_served = async |trusted: &_| {
        (connect(&process.public, trusted).await.is_ok(), connect(&process.admin, trusted).await.is_ok())
    };
    let comes_about = async |trusted: &_| {
        let began = Instant::now();
        while is_served(trusted).await != (true, true) {
            assert!(began.elapsed() < PATIENCE, "the new certificate is not taken");
        }
    };
    let mut open = [connect(&process.public, &first).await.unwrap(), connect(&process.admin, &first).await.unwrap()];
    let second = certificate.renew();
    comes_about(&second).await;
    assert_eq!(is_served(&first).await, (false, false));

    // a key of another certificate, by the look at the files and then by SIGHUP
    let other = Certificate::new();
    certificate.write("key.pem", &std::fs::read_to_string(other.path("key.pem")).unwrap());
    let refused =
        |section: &str| format!("{section}.key: {} is not the key of the certificate", certificate.path("key.pem"));
    for section in ["tls", "admin.tls"] {
        assert!(line_of(&log, &format!(" {}", refused(section))).contains("the certificate before stays in force"));
    }
    process.signal(Signal::HUP);
    line_of(&log, "SIGHUP: ");
    assert_eq!(is_served(&second).await, (true, true));
    let said = std::fs::read_to_string(&log).unwrap();
    assert_eq!(said.matches(&refused("admin.tls")).count(), 2, "once by itself, and once at the signal: {said}");
    let third = certificate.renew();
    process.signal(Signal::HUP);
    comes_about(&third).await;

    // whoever came before goes on
    for stream in &mut open {
        let answer = exchange(stream, "GET /nowhere HTTP/1.1", "").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }

    // the certificate is for no address of this machine, and the command asks all the same
    let created =
        admins::with_password(&data, &["admin", "create", "ada", "--password-stdin"], "correct horse battery");
    assert_eq!(words(&created), "ada is created with the role owner\n");
    drop(open);
    assert_eq!(process.stop(), Some(0));
}

#[test]
fn a_pair_that_will_not_do_is_refused_at_a_start_with_one_sentence() {
    let (folder, certificate) = (tempfile::tempdir().unwrap(), Certificate::new());
    std::fs::remove_file(certificate.path("key.pem")).unwrap();
    let run = |command: &str| {
        let mut command_line = passerby();
        command_line.arg(command).args(FREE_PORTS).arg("--data-dir").arg(folder.path().join("data"));
        command_line.envs(environment(&certificate).into_iter().take(2)).output().unwrap()
    };
    for command in ["serve", "check"] {
        let refused = run(command);
        assert_eq!(refused.status.code(), Some(64), "{}", words(&refused));
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        let expected = format!("passerby: tls.key: {} cannot be read: No such file", certificate.path("key.pem"));
        assert!(said.starts_with(&expected) && said.lines().count() == 1, "{said}");
    }
    assert!(!folder.path().join("data").exists());
}
