//! Bars that show on a terminal how far something is.

use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of this look.
pub fn bar(template: &str, total: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap();
    ProgressBar::new(total).with_style(style).with_message(what.to_owned())
}

/// Of steps that the caller counts.
pub fn steps(total: u64, what: &str) -> ProgressBar {
    bar("{msg} {bar:30} {pos} of {len}", total, what)
}

/// Of seconds, which pass on their own.
pub fn seconds(total: u64, what: &str) -> ProgressBar {
    let bar = bar("{msg} {bar:30} {elapsed} of {len} s", total, what);
    let ticking = bar.clone();
    thread::spawn(move || {
        while !ticking.is_finished() {
            thread::park_timeout(Duration::from_secs(1));
            ticking.set_position(ticking.elapsed().as_secs());
        }
    });
    bar
}
