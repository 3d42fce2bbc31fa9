//! How a store is opened.

/// What an acknowledged change survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A loss of power: every group is synced to the disk before it is answered.
    Fsync,
    /// The end of the process, but not of the machine.
    Os,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// What an acknowledged change survives.
    pub durability: Durability,
    /// How many users the registry's maps are laid out for.
    pub max_users: usize,
    /// A new generation begins when the journal is longer than this (bytes) and than half the snapshot.
    pub min_journal_bytes: u64,
    /// A new generation begins also when a replay of the journal would read and write more of documents than this (bytes) and than
    /// eight snapshots: a small change of a large document is a small frame, and takes a start as long as the document is large.
    pub min_replay_bytes: u64,
    /// A new generation begins at the latest this many seconds of service after the one before began, so that erased data
    /// leaves the disk. Default 23 hours: what is erased is gone within 24 (S44), with an hour for writing the generation.
    pub max_generation_age_s: u32,
    /// Called after much memory was needed for a moment, so that the allocator can give it back to the system.
    pub give_back: fn(),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            max_users: 1_000_000,
            min_journal_bytes: 32 << 20,
            min_replay_bytes: 2 << 30,
            max_generation_age_s: 23 * 3600,
            give_back: || {},
        }
    }
}
