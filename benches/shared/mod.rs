//! What benches that measure whole processes share: a report beside targets, and the clock of an open loop.

mod pace;
mod report;

pub(crate) use pace::Pacer;
pub(crate) use report::Target::{AtLeast, AtMost};
pub(crate) use report::{Report, Weight, mib, quantile, resident_bytes};
