//! Networks that admins have blocked: kept in the store, each with who did it and until when.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use ipnet::IpNet;
use passerby_actors::domain::{Family, Listing, ValueKey};
use passerby_actors::handle::Handle;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::admins::{Admins, Seen, load, put, retried, wall_ms};
use super::audit::By;
use super::fault::Fault;
use super::record::{Outcome, decode};
use crate::limits::blocks::{Blocks, MOST_BLOCKS};

/// A network that is blocked, under its prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkBlock {
    /// When it ends, Unix time in milliseconds; none is never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Why, in the words of whoever did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who did it.
    pub by: String,
    /// When, Unix time in milliseconds.
    pub at_ms: u64,
}

impl NetworkBlock {
    /// Whether it has ended.
    pub fn is_over(&self, now_ms: u64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }
}

fn key_of(net: &IpNet) -> ValueKey {
    ValueKey::own(Family::NETWORK, net.to_string().as_bytes())
}

type Stored = Vec<(ValueKey, Arc<[u8]>)>;

fn stored(handle: &Handle) -> Stored {
    handle.own_values(&Listing { family: Family::NETWORK, after: None, last_first: false, most: usize::MAX })
}

fn read(stored: &Stored) -> Vec<(IpNet, NetworkBlock)> {
    let read = |(key, bytes): &(ValueKey, Arc<[u8]>)| {
        let net = std::str::from_utf8(&key.key).ok()?.parse().ok()?;
        Some((net, decode(bytes).ok()?))
    };
    stored.iter().filter_map(read).collect()
}

/// Tells what is stored from what was stored, without reading it.
fn digest(stored: &Stored) -> u64 {
    let mut hasher = DefaultHasher::new();
    stored.iter().for_each(|(key, bytes)| (&*key.key, &**bytes).hash(&mut hasher));
    hasher.finish()
}

impl Admins {
    /// Each network that is blocked, also those whose end has come. What a later version wrote is left out.
    pub fn blocks(&self, handle: &Handle) -> Vec<(IpNet, NetworkBlock)> {
        read(&stored(handle))
    }

    /// Puts what is stored in force. Of two at once, both of whose changes are stored, the one that looks later does it last.
    pub fn enforce_blocks(&self, handle: &Handle, blocks: &Blocks) {
        let mut enforced = self.enforced.lock();
        let stored = stored(handle);
        *enforced = digest(&stored);
        let known = read(&stored);
        if known.len() < stored.len() {
            tracing::error!("some networks were blocked by a later version, and are not blocked by this one");
        }
        blocks.put(known.into_iter().map(|(net, block)| (net, block.until_ms)));
    }

    /// The same if others are stored than when that was done last: a change may be stored although its outcome was not known in time.
    pub fn enforce_other_blocks(&self, handle: &Handle, blocks: &Blocks) {
        let enforced = *self.enforced.lock();
        if digest(&stored(handle)) != enforced {
            self.enforce_blocks(handle, blocks);
        }
    }

    /// Blocks a network, or blocks it anew.
    ///
    /// # Errors
    /// `TooMany`.
    pub async fn block(&self, handle: &Handle, net: IpNet, block: &NetworkBlock, by: &By) -> Result<(), Fault> {
        let name = net.to_string();
        retried(async || {
            let seen = load::<NetworkBlock>(handle, Family::NETWORK, name.as_bytes())?;
            let mut entry = by.did("network.block", Some(&name), Outcome::Done);
            entry.before = seen.as_ref().map(|seen| json!(seen.value));
            entry.after = Some(json!(block));
            entry.reason.clone_from(&block.reason);
            let change = match seen {
                Some(seen) => seen.replaced(key_of(&net), block)?,
                None if handle.own_count(Family::NETWORK) >= MOST_BLOCKS => return Err(Fault::TooMany),
                None => put(key_of(&net), block)?,
            };
            self.audit.commit(handle, &[change], &entry).await
        })
        .await
    }

    /// Lifts the block of a network. Returns whether there was one.
    ///
    /// # Errors
    /// The core's.
    pub async fn lift(&self, handle: &Handle, net: IpNet, by: &By) -> Result<bool, Fault> {
        let name = net.to_string();
        retried(async || {
            let seen = load::<NetworkBlock>(handle, Family::NETWORK, name.as_bytes())?;
            let mut entry = by.did("network.lift", Some(&name), Outcome::Done);
            entry.before = seen.as_ref().map(|seen| json!(seen.value));
            let change: Vec<_> = seen.iter().map(|seen| seen.removed(key_of(&net))).collect();
            self.audit.commit(handle, &change, &entry).await?;
            Ok(seen.is_some())
        })
        .await
    }

    /// Drops the blocks whose end has come.
    ///
    /// # Errors
    /// The core's.
    pub async fn drop_ended_blocks(&self, handle: &Handle) -> Result<(), Fault> {
        let now_ms = wall_ms(handle);
        for (net, _) in self.blocks(handle).into_iter().filter(|(_, block)| block.is_over(now_ms)) {
            let seen = load::<NetworkBlock>(handle, Family::NETWORK, net.to_string().as_bytes())?;
            // one that was blocked anew meanwhile stays
            if let Some(seen) = seen.filter(|seen: &Seen<NetworkBlock>| seen.value.is_over(now_ms)) {
                handle.change_own(vec![seen.removed(key_of(&net))]).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::record::encode;

    #[test]
    fn the_bytes_of_a_block_are_as_they_always_were() {
        let block = NetworkBlock { until_ms: Some(9), reason: Some("a flood".into()), by: "ada".into(), at_ms: 1 };
        let bytes = encode(&block).unwrap();
        assert_eq!(&*bytes, b"\x01{\"until_ms\":9,\"reason\":\"a flood\",\"by\":\"ada\",\"at_ms\":1}");
        assert_eq!(decode::<NetworkBlock>(&bytes).as_ref(), Ok(&block));
        assert_eq!(*key_of(&"192.0.2.0/24".parse().unwrap()).key, *b"192.0.2.0/24");
        assert_eq!((block.is_over(8), block.is_over(9)), (false, true));
        assert!(!NetworkBlock { until_ms: None, ..block }.is_over(u64::MAX));
    }
}
