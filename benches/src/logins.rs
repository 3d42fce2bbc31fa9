//! Logins through a handle at a rate, whatever the answers take (open loop).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use passerby_actors::domain::SessionKind;
use passerby_actors::handle::{Handle, IdForm};

use crate::pace::Pacer;

/// What became of the logins of an open loop.
#[derive(Default)]
pub struct Logins {
    /// From the intended time to the answer (microseconds).
    pub took_us: Vec<u64>,
    /// Logins that were refused.
    pub shed: u64,
}

/// Logs in at `rate` a second until `until` is over. Needs a local set, which an actix system is.
pub async fn open_loop<T>(handle: &Handle, rate: f64, until: impl Future<Output = T>) -> (Logins, T) {
    let (pacer, mut arrivals) = Pacer::start(rate);
    let pacer = Rc::new(pacer);
    let logins = Rc::<RefCell<Logins>>::default();
    let under_way = Rc::<Cell<u64>>::default();
    let receive = async {
        while let Some(numbers) = arrivals.recv().await {
            for n in numbers {
                let (handle, pacer) = (handle.clone(), Rc::clone(&pacer));
                let (logins, under_way) = (Rc::clone(&logins), Rc::clone(&under_way));
                under_way.set(under_way.get() + 1);
                tokio::task::spawn_local(async move {
                    match handle.login(SessionKind::V1, IdForm::Object).await {
                        Ok(_) => logins.borrow_mut().took_us.push(pacer.since_due_us(n)),
                        Err(_) => logins.borrow_mut().shed += 1,
                    }
                    under_way.set(under_way.get() - 1);
                });
            }
        }
    };
    let disturb = async {
        let done = until.await;
        pacer.stop();
        done
    };
    let ((), done) = tokio::join!(receive, disturb);
    while under_way.get() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (logins.take(), done)
}
