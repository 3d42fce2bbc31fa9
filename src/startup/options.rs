//! What the settings mean to the store, the domain and the keys.

use std::sync::Arc;

use passerby_actors::domain::Policy;
use passerby_actors::store::Config;
use passerby_actors::store::embedded::{Durability, Options};

use super::ports::Ports;
use crate::config::{self, AccessAlg, Settings, Storage, default_data_bytes, default_max_users};
use crate::provider::one_identity_of;
use crate::token::Algorithm;

/// How many users are allowed, and the store's options that follow from the settings.
pub fn store_options(settings: &Settings) -> Options {
    let read = |path: &std::path::Path| std::fs::read_to_string(path).ok();
    let max_users = settings.max_users.unwrap_or_else(|| default_max_users(read));
    Options {
        durability: match settings.durability {
            config::Durability::Fsync => Durability::Fsync,
            config::Durability::Os => Durability::Os,
        },
        max_users: usize::try_from(max_users).unwrap_or(usize::MAX),
        give_back: crate::allocator::give_back,
        ..Options::default()
    }
}

/// Which store runs.
pub(super) fn storage(settings: &Settings, ports: &Ports) -> Config {
    let options = store_options(settings);
    match settings.storage {
        Storage::Disk => Config::Folder { dir: settings.data_dir.clone(), options, files: Arc::clone(&ports.files) },
        Storage::Memory => Config::Memory { max_users: options.max_users },
    }
}

/// The rules that the domain works by.
pub(super) fn policy(settings: &Settings) -> Policy {
    let read = |path: &std::path::Path| std::fs::read_to_string(path).ok();
    let documents_bytes = settings.data.max_bytes;
    let by_memory = || usize::try_from(default_data_bytes(read)).unwrap_or(usize::MAX);
    Policy {
        documents_bytes: documents_bytes.unwrap_or_else(by_memory),
        one_identity_of: one_identity_of(),
        ..settings.policy()
    }
}

/// The store's algorithm for a setting.
pub fn algorithm(setting: AccessAlg) -> Algorithm {
    match setting {
        AccessAlg::EdDsa => Algorithm::EdDSA,
        AccessAlg::Es256 => Algorithm::ES256,
        AccessAlg::Hs256 => Algorithm::HS256,
    }
}
