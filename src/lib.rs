//! x
pub mod token;
