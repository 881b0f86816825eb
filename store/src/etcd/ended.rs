//! Sessions that were ended, in memory: the first reason stays, and only time takes one away.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_core::session::EndReason;
use tidegate_core::{SessionId, Timestamp};

use crate::view::Ended;

/// Ended sessions with the time their tickets end.
#[derive(Debug, Default)]
pub(super) struct EndedTable {
    until: BTreeMap<SessionId, Timestamp>,
    shown: Ended,
}

impl EndedTable {
    /// Notes an ended session; whether that is news.
    pub(super) fn note(
        &mut self,
        session: SessionId,
        reason: EndReason,
        until: Timestamp,
        now: Timestamp,
    ) -> bool {
        if until <= now || self.until.contains_key(&session) {
            return false;
        }
        self.until.insert(session, until);
        Arc::make_mut(&mut self.shown).insert(session, reason);
        true
    }

    /// Forgets sessions whose tickets have ended; whether there were any.
    pub(super) fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.until.len();
        self.until.retain(|_, until| *until > now);
        if self.until.len() == before {
            return false;
        }
        let until = &self.until;
        Arc::make_mut(&mut self.shown).retain(|session, _| until.contains_key(session));
        true
    }

    /// The sessions and why.
    pub(super) fn shown(&self) -> Ended {
        Arc::clone(&self.shown)
    }

    /// Everything, for the snapshot on disk.
    pub(super) fn entries(&self) -> impl Iterator<Item = (SessionId, EndReason, Timestamp)> {
        self.until.iter().filter_map(|(session, until)| Some((*session, *self.shown.get(session)?, *until)))
    }
}
