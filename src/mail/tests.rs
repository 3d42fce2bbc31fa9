//! What is delivered, what is tried again, and what is refused.

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use passerby_actors::system::{SystemClock, SystemEntropy};
use tokio::time::Instant;

use super::*;

type Answers = HashMap<String, Vec<Result<(), Failure>>>;

/// Answers what the test has written down for an address, in order, then always the last; remembers the tries.
#[derive(Default, Clone)]
struct Scripted {
    answers: Arc<Mutex<Answers>>,
    tries: Arc<Mutex<Vec<(String, String, Duration)>>>,
    at_once: Arc<Mutex<(usize, usize)>>,
    hang: bool,
    begin: Option<Instant>,
}

impl Transport for Scripted {
    async fn deliver(&self, letter: &Letter, _: u64) -> Result<(), Failure> {
        let to = letter.mail.to().as_str().to_owned();
        self.tries.lock().push((to.clone(), letter.id.clone(), self.begin.unwrap().elapsed()));
        {
            let mut at_once = self.at_once.lock();
            at_once.0 += 1;
            at_once.1 = at_once.1.max(at_once.0);
        }
        if self.hang {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.at_once.lock().0 -= 1;
        let mut answers = self.answers.lock();
        match answers.get_mut(&to) {
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
            None => Ok(()),
        }
    }
}

fn passing() -> Result<(), Failure> {
    Err(Failure::Passing("smtp 451".to_owned()))
}

fn mail(to: &str) -> Mail {
    let page = Page::parse("https://app.example/confirm").unwrap();
    let subject = Subject::parse("Confirm").unwrap();
    Mail::new(MailKind::Confirm, MailAddress::parse(to).unwrap(), &subject, &page, "psbc_token", "abc")
}

fn mailer(transport: &Scripted) -> (Mailer, Deliveries<Scripted>) {
    let transport = Scripted { begin: Some(Instant::now()), ..transport.clone() };
    Mailer::new(transport, Arc::new(SystemClock::default()), Arc::new(SystemEntropy::default()))
}

#[tokio::test(start_paused = true)]
async fn mails_are_delivered_and_the_end_waits_for_them() {
    let transport = Scripted::default();
    let (mailer, deliveries) = mailer(&transport);
    for number in 0..20 {
        mailer.send(mail(&format!("a{number}@example.test"))).unwrap();
    }
    let counting = mailer.shared.clone();
    drop(mailer);
    deliveries.run().await;
    assert_eq!(counting.delivered.load(Ordering::Relaxed), 20);
    let tries = transport.tries.lock();
    assert_eq!(tries.iter().map(|(_, id, _)| id).collect::<HashSet<_>>().len(), 20, "every mail has its own id");
    assert_eq!(transport.at_once.lock().1, MOST_AT_ONCE);
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_five_times_in_all_with_the_same_id() {
    let transport = Scripted::default();
    transport.answers.lock().insert("a@example.test".to_owned(), vec![passing()]);
    transport.answers.lock().insert("b@example.test".to_owned(), vec![passing(), passing(), Ok(())]);
    let (mailer, deliveries) = mailer(&transport);
    mailer.send(mail("a@example.test")).unwrap();
    mailer.send(mail("b@example.test")).unwrap();
    let watching = mailer.clone();
    tokio::spawn(deliveries.run());
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(watching.counts(), Counts { delivered: 1, failed: 1, retries: 4 + 2, refused: 0 });
    let tries = transport.tries.lock();
    let of = |to: &str| tries.iter().filter(|entry| entry.0 == to).cloned().collect::<Vec<_>>();
    let seconds: Vec<_> = of("a@example.test").iter().map(|(_, _, at)| at.as_secs()).collect();
    assert_eq!(seconds, [0, 5, 35, 155, 755]);
    assert_eq!(of("b@example.test").len(), 3);
    assert!(of("a@example.test").windows(2).all(|pair| pair[0].1 == pair[1].1));
    assert_eq!(mailer.room.available_permits(), MOST_WAITING);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_pass_is_given_up_at_once() {
    let transport = Scripted::default();
    let refused = Err(Failure::Lasting("smtp 550".to_owned()));
    transport.answers.lock().insert("a@example.test".to_owned(), vec![refused]);
    let (mailer, deliveries) = mailer(&transport);
    mailer.send(mail("a@example.test")).unwrap();
    let watching = mailer.shared.clone();
    drop(mailer);
    deliveries.run().await;
    assert_eq!((watching.failed.load(Ordering::Relaxed), transport.tries.lock().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_silent_receiver_is_given_up_and_slow_ones_delay_no_others() {
    let silent = Scripted { hang: true, ..Scripted::default() };
    let (mailer, deliveries) = mailer(&silent);
    mailer.send(mail("a@example.test")).unwrap();
    tokio::spawn(deliveries.run());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let seconds: Vec<_> = silent.tries.lock().iter().map(|(_, _, at)| at.as_secs()).collect();
    assert_eq!(seconds, [0, 35, 95, 245, 875]);
    assert_eq!(mailer.counts().failed, 1);

    let transport = Scripted::default();
    for number in 0..10 {
        transport.answers.lock().insert(format!("bad{number}@example.test"), vec![passing()]);
    }
    let (mailer, deliveries) = self::mailer(&transport);
    for number in 0..10 {
        mailer.send(mail(&format!("bad{number}@example.test"))).unwrap();
    }
    mailer.send(mail("good@example.test")).unwrap();
    tokio::spawn(deliveries.run());
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(mailer.counts().delivered, 1);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_has_room_again_afterwards() {
    let transport = Scripted::default();
    let (mailer, deliveries) = mailer(&transport);
    for _ in 0..MOST_WAITING {
        mailer.send(mail("a@example.test")).unwrap();
    }
    assert_eq!(mailer.send(mail("a@example.test")), Err(QueueFull));
    assert_eq!(mailer.counts().refused, 1);
    tokio::spawn(deliveries.run());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(mailer.counts().delivered, MOST_WAITING as u64);
    assert_eq!(mailer.send(mail("a@example.test")), Ok(()));
}

#[tokio::test]
async fn when_no_one_delivers_e_mails_are_refused() {
    let (mailer, deliveries) = mailer(&Scripted::default());
    drop(deliveries);
    assert_eq!(mailer.send(mail("a@example.test")), Err(QueueFull));
    assert_eq!(mailer.room.available_permits(), MOST_WAITING);
}
