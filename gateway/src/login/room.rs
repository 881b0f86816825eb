//! The waiting room: logins in the hashing queue and passwords being saved, between two polls.
//!
//! Each waits under a random name that only its browser's cookie knows. Whoever does not come back for a
//! minute has left, and leaves the queue with it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64ct::{Base64UrlUnpadded, Encoding};
use tidegate_core::Timestamp;

use super::waiting::Waiting;
use crate::keys;

/// Most that wait at once.
const ROOM_MAX: usize = 2_000;

/// Seconds without a poll after which somebody has left.
const PATIENCE_S: i64 = 60;

/// Those who wait on this gateway, whichever shard they come to next.
#[derive(Default)]
pub struct Room {
    waiting: Mutex<HashMap<String, (Timestamp, Waiting)>>,
}

impl Room {
    /// Lets `waiting` wait, under its old name if it has one; `None` when the room is full.
    pub(crate) fn park(&self, waiting: Waiting, name: Option<String>, now: Timestamp) -> Option<String> {
        let name = match name {
            Some(name) => name,
            None => Base64UrlUnpadded::encode_string(&keys::random::<16>().ok()?),
        };
        let mut room = self.lock();
        if room.len() >= ROOM_MAX {
            room.retain(|_, (seen, _)| now.since(*seen) < PATIENCE_S);
        }
        if room.len() >= ROOM_MAX {
            return None;
        }
        room.insert(name.clone(), (now, waiting));
        Some(name)
    }

    /// Takes out who waits under `name`.
    pub(crate) fn take(&self, name: &str) -> Option<Waiting> {
        self.lock().remove(name).map(|(_, waiting)| waiting)
    }

    /// Sends away who has left; called by every poll, so the queue is not held by the absent.
    pub(crate) fn sweep(&self, now: Timestamp) {
        self.lock().retain(|_, (seen, _)| now.since(*seen) < PATIENCE_S);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, Waiting)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
