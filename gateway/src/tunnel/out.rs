//! What goes to the client: frames, each sealed as one record where it lies, until the socket takes them.

use super::cstp::{self, Kind};
use super::record::{Broken, Sealer};

/// Sealed bytes above which nothing but answers to the client itself is added.
pub(crate) const FULL: usize = 128 * 1024;
/// Sealed bytes above which nothing at all is added.
const OVERFULL: usize = FULL + 64 * 1024;
/// Memory that is kept while nothing waits.
const KEPT: usize = 4 * 1024;

/// The records on their way to a client.
pub(crate) struct Out {
    sealer: Sealer,
    /// Initialised once; what counts lies between `start` and `end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the record that is being written.
    reserved: usize,
    broken: bool,
}

impl Out {
    pub(crate) fn new(sealer: Sealer) -> Self {
        Self { sealer, bytes: Vec::new(), start: 0, end: 0, reserved: 0, broken: false }
    }

    /// Whether a flow may add a packet.
    pub(crate) fn has_room(&self) -> bool {
        self.end - self.start < FULL && !self.broken
    }

    /// Whether the connection is of no use any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Room for the payload of one frame, to be written before [`Out::commit`]; `None` when there is no room
    /// even for answers.
    pub(crate) fn reserve(&mut self, kind: Kind, length: usize) -> Option<&mut [u8]> {
        let (before, after) = self.sealer.overhead();
        let whole = before + cstp::HEADER + length + after;
        if self.broken || length > cstp::PAYLOAD_MAX || self.end - self.start + whole > OVERFULL {
            return None;
        }
        self.make_room(whole);
        self.reserved = whole;
        let record = self.bytes.get_mut(self.end..self.end + whole)?;
        let frame = record.get_mut(before..whole - after)?;
        let (header, payload) = frame.split_first_chunk_mut()?;
        *header = cstp::header(kind, length);
        Some(payload)
    }

    /// Seals the frame that was written last.
    pub(crate) fn commit(&mut self) {
        let whole = std::mem::take(&mut self.reserved);
        let record = self.bytes.get_mut(self.end..self.end + whole);
        match record.ok_or(Broken).and_then(|record| self.sealer.seal(record)) {
            Ok(()) => self.end += whole,
            Err(Broken) => self.broken = true,
        }
    }

    /// Adds a whole frame; false when there is no room.
    pub(crate) fn frame(&mut self, kind: Kind, payload: &[u8]) -> bool {
        let Some(room) = self.reserve(kind, payload.len()) else { return false };
        room.copy_from_slice(payload);
        self.commit();
        true
    }

    fn make_room(&mut self, whole: usize) {
        if self.end + whole <= self.bytes.len() {
            return;
        }
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end + whole > self.bytes.len() {
            let wanted = (self.end + whole).max(self.bytes.len() * 2).min(OVERFULL);
            self.bytes.resize(wanted, 0);
        }
    }

    /// What is to be written.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Notes that the socket took `count` of it.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Gives memory back while nothing waits; called now and then.
    pub(crate) fn shrink(&mut self) {
        if self.end == 0 && self.bytes.len() > KEPT {
            self.bytes = Vec::new();
        }
    }
}
