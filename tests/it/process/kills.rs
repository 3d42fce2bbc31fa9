//! Kills and the drain under load.

use super::*;

/// What is known of a user: its newest tokens, and whether its end was begun or answered.
#[derive(Clone)]
struct Known {
    access: String,
    refresh: String,
    end_begun: bool,
    ended: bool,
}

type Book = Arc<Mutex<BTreeMap<String, Known>>>;

/// Logs in, refreshes, logs out and deletes until the server goes away.
fn live(address: &str, seed: usize, book: &Book, done: &AtomicUsize, stop: &AtomicBool) {
    let Ok(mut client) = Client::connect(address) else { return };
    let mut mine: Vec<String> = Vec::new();
    let mut turn = seed;
    while !stop.load(Ordering::SeqCst) {
        turn += 1;
        if mine.len() < 3 || turn.is_multiple_of(3) {
            let Some(response) = client.call("POST", "/v1/sessions", None) else { return };
            assert_eq!(response.status, 201);
            let (id, access) = (text(&response.body, "user_id"), text(&response.body, "access_token"));
            let refresh = text(&response.body, "refresh_token");
            book.lock().unwrap().insert(id.clone(), Known { access, refresh, end_begun: false, ended: false });
            mine.push(id);
        } else if turn % 3 == 1 {
            let id = &mine[turn % mine.len()];
            let token = book.lock().unwrap()[id].refresh.clone();
            let Some(response) = client.call("POST", "/v1/session/refresh", Some(&token)) else { return };
            assert_eq!(response.status, 200, "{}", response.body);
            let mut book = book.lock().unwrap();
            let known = book.get_mut(id).unwrap();
            known.access = text(&response.body, "access_token");
            known.refresh = text(&response.body, "refresh_token");
        } else {
            let id = mine.remove(turn % mine.len());
            let token = {
                let mut book = book.lock().unwrap();
                let known = book.get_mut(&id).unwrap();
                known.end_begun = true;
                known.access.clone()
            };
            let path = if turn.is_multiple_of(2) { "/v1/session" } else { "/v1/user" };
            let Some(response) = client.call("DELETE", path, Some(&token)) else { return };
            assert_eq!(response.status, 204);
            book.lock().unwrap().get_mut(&id).unwrap().ended = true;
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Everything that was answered holds; what was under way is settled from now on.
fn settle(address: &str, book: &Book, context: &str) {
    let mut client = Client::connect(address).unwrap();
    for (id, known) in book.lock().unwrap().iter_mut() {
        let status = client.call("GET", "/v1/session", Some(&known.access)).unwrap().status;
        if known.ended {
            assert_eq!(status, 401, "{context}: {id} was ended and is back");
        } else if known.end_begun {
            known.ended = status == 401;
            known.end_begun = known.ended;
        } else {
            assert_eq!(status, 200, "{context}: {id} was acknowledged and is lost");
            // the refresh token that was answered last is the current one, or the one before
            let response = client.call("POST", "/v1/session/refresh", Some(&known.refresh)).unwrap();
            assert_eq!(response.status, 200, "{context}: {id} {}", response.body);
            known.refresh = text(&response.body, "refresh_token");
        }
    }
}

#[test]
fn what_was_answered_over_http_survives_kill_nine() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let book = Book::default();
    for round in 0..8 {
        let mut process = Process::start(&data, &[]);
        let address = process.public.clone();
        settle(&process.public, &book, &format!("round {round}"));
        let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (address, book, done, stop) = (&address, &book, &done, &stop);
                scope.spawn(move || live(address, n * 31 + round, book, done, stop));
            }
            wait_until("enough is done", || done.load(Ordering::SeqCst) >= 300 + round * 50);
            process.child.kill().unwrap();
            process.child.wait().unwrap();
        });
    }
    let process = Process::start(&data, &[]);
    settle(&process.public, &book, "at the end");
    assert!(book.lock().unwrap().len() > 500);
}

#[test]
fn sigterm_under_load_answers_every_request_that_was_read() {
    for round in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let mut process = Process::start(&data, &[]);
        let address = process.public.clone();
        let book = Book::default();
        let (done, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        // with one connection, one of the two workers is idle
        let clients = if round % 2 == 0 { 1 } else { 16 };
        let code = std::thread::scope(|scope| {
            for n in 0..clients {
                let (address, book, done, stop) = (&address, &book, &done, &stop);
                // `live` asserts each status that it gets
                scope.spawn(move || live(address, n * 31, book, done, stop));
            }
            wait_until("enough is done", || done.load(Ordering::SeqCst) >= 200);
            process.signal(Signal::TERM);
            // clients go on until the server closes on them
            let code = process.child.wait().unwrap().code();
            stop.store(true, Ordering::SeqCst);
            code
        });
        assert_eq!(code, Some(0));
        let process = Process::start(&data, &[]);
        settle(&process.public, &book, &format!("round {round}"));
    }
}
