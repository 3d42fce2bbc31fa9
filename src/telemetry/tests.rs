//! Log lines that find no reader, and lines that are too many.

use std::sync::mpsc;

use passerby_actors::testkit::ManualClock;

use super::*;

/// Hands on what is written, as soon as the test lets it.
struct Slow {
    may_write: mpsc::Receiver<()>,
    written: mpsc::Sender<String>,
}

impl Write for Slow {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let _let_go = self.may_write.recv();
        drop(self.written.send(String::from_utf8_lossy(line).into_owned()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn logging_never_waits_for_the_reader_and_what_has_no_room_is_counted() {
    static LOST: AtomicU64 = AtomicU64::new(0);
    let ((let_write, may_write), (written, lines)) = (mpsc::channel(), mpsc::channel());
    let mut log = Lines::to(Slow { may_write, written }, &LOST, ManualClock::new()).unwrap();
    const ALL: usize = 3 * WAITING;
    for number in 0..ALL {
        // nothing is written yet, and this returns
        log.write_all(format!("{number}\n").as_bytes()).unwrap();
    }
    let lost = usize::try_from(LOST.load(Ordering::Relaxed)).unwrap();
    // one may be in the writer's hands
    assert!((ALL - WAITING - 1..=ALL - WAITING).contains(&lost), "{lost}");
    drop(let_write);
    for number in 0..WAITING {
        assert_eq!(lines.recv().unwrap(), format!("{number}\n"));
    }
    // there was room for one more once the first was in the writer's hands, whenever that was
    for _ in WAITING..ALL - lost {
        lines.recv().unwrap();
    }
    log.write_all(&vec![b'x'; 2 * LONGEST_LINE]).unwrap();
    let cut = lines.recv().unwrap();
    assert!(cut.len() < LONGEST_LINE + 20 && cut.ends_with("x (cut off)\n"));
    drop(Flush(log));
    assert!(lines.try_recv().is_err(), "nothing is written twice");
}

#[test]
fn warnings_of_one_place_are_sampled_and_no_others() {
    static REPEATED: AtomicU64 = AtomicU64::new(0);
    let (written, lines) = mpsc::channel::<()>();
    let clock = ManualClock::new();
    let count = move || {
        written.send(()).unwrap();
        io::sink()
    };
    let subscriber = tracing_subscriber::registry()
        .with(Sampler::new(Arc::clone(&clock) as Arc<dyn Clock>, &REPEATED))
        .with(fmt::layer().with_writer(count));
    tracing::subscriber::with_default(subscriber, || {
        let warn_often = || {
            (0..1000).for_each(|number| tracing::warn!(number, "a stranger did it again"));
            lines.try_iter().count()
        };
        assert_eq!(warn_often(), 20);
        clock.advance_s(5);
        assert_eq!(warn_often(), 5);
        assert_eq!(REPEATED.load(Ordering::Relaxed), 1975);
        tracing::error!("another place");
        (0..1000).for_each(|number| tracing::info!(number, "what an operator wants to see"));
        (0..1000).for_each(|number| tracing::warn!(target: "passerby::events", number, "an event"));
        assert_eq!(lines.try_iter().count(), 2001);
    });
}
