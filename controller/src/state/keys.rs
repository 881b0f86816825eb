//! The root key and the pool's key ring.

use std::fmt;
use std::path::Path;

use aws_lc_rs::rand;
use tidegate_core::Code;

use super::{StateError, files};

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Most keys in the ring: the sealing one, the next one and those whose tickets still live.
const POOL_KEYS_MAX: usize = 16;

/// The key activation codes are derived from. Losing it voids only the outstanding codes.
#[derive(Clone)]
pub struct RootKey(pub(crate) [u8; KEY_BYTES]);

/// One key of the pool's ring; tickets, cookies and TLS tickets are sealed with keys derived from it.
#[derive(Clone)]
pub struct PoolKey {
    /// Its number; the largest one seals, all of them open.
    pub kid: u32,
    /// The key.
    pub key: [u8; KEY_BYTES],
}

impl From<[u8; KEY_BYTES]> for RootKey {
    fn from(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey")
    }
}

impl fmt::Debug for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

pub(super) fn root(path: &Path) -> Result<RootKey, StateError> {
    read_or_make(path).map(RootKey)
}

pub(super) fn pool(directory: &Path) -> Result<Vec<PoolKey>, StateError> {
    let mut keys = Vec::new();
    for name in files::list(directory, Path::new(""))? {
        let path = directory.join(&name);
        let kid = name.to_str().and_then(|name| name.parse::<u32>().ok()).ok_or_else(|| {
            StateError::new(
                Code::StateCorrupt,
                &path,
                "the name of a pool key is its number",
                "move the file out of keys/pool",
            )
        })?;
        keys.push(PoolKey { kid, key: read_or_make(&path)? });
    }
    if keys.len() > POOL_KEYS_MAX {
        return Err(StateError::new(
            Code::StateCorrupt,
            directory,
            format!("it holds more than {POOL_KEYS_MAX} keys"),
            "remove the oldest ones; sessions sealed with them end",
        ));
    }
    if keys.is_empty() {
        keys.push(PoolKey { kid: 1, key: read_or_make(&directory.join("1"))? });
    }
    keys.sort_by_key(|key| key.kid);
    Ok(keys)
}

fn read_or_make(path: &Path) -> Result<[u8; KEY_BYTES], StateError> {
    match files::read(path, 4096)? {
        Some(bytes) => bytes.try_into().map_err(|_| {
            StateError::new(
                Code::StateCorrupt,
                path,
                format!("a key has {KEY_BYTES} bytes"),
                "restore the file from a backup, or remove it: a new one is made, and what the old one protected is void",
            )
        }),
        None => {
            let mut key = [0; KEY_BYTES];
            rand::fill(&mut key).map_err(|_| {
                StateError::new(
                    Code::StateUnusable,
                    path,
                    "the operating system gives no random numbers",
                    "look at the system's log",
                )
            })?;
            files::replace(path, &key)?;
            Ok(key)
        }
    }
}
