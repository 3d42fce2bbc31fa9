//! What strangers may do, how much of it a network may have, and how guessing is slowed down.

pub mod blocks;
pub mod budget;
pub mod data_work;
pub mod fair_queue;
pub mod network;
pub mod places;
pub mod proof_of_work;
pub mod share;
pub mod throttle;
