//! What tests and benches of the core and of the server share: time and randomness under control, disks that are slow or
//! fail, and a whole core over one folder. Behind the feature `testkit`, which only development dependencies turn on.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod clock;
mod disk;
mod entropy;
pub mod faulty;
mod world;

pub use clock::{DAY_S, ManualClock};
pub use disk::{Altered, Appends, Slow};
pub use entropy::{Random, SeededEntropy, mix};
pub use world::{Running, World, until, values};
