//! The audit trail: who did what, and what was decided, as a chain of JSON lines.
//!
//! ```text
//!  shards, controller --record()--> bounded queue --> "audit" thread --> <stream>-<first seq>.jsonl
//! ```
//!
//! Each line carries `seq` and the SHA-256 of the line before it (`prev`), so that [`verify`] finds what was
//! changed, cut out or put in. Recording never waits: a full queue or a full disk loses records, says so to
//! the caller at once, and leaves a record of how many were lost. The shape is OCSF's; every type has an
//! example in `docs/reference/audit.md`.

mod line;
mod record;
mod verify;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

pub use record::{Actor, Event, FlowRef, ObjectRef, Protocol, Record, RuleRef, Verdict};
pub use verify::{Break, Stream, verify};

/// Records that may wait for the writer.
const QUEUE: usize = 8_192;

/// Why a trail cannot be opened or checked.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The folder or a file in it cannot be used.
    #[error("{file}: {error}")]
    Io {
        /// Which.
        file: String,
        /// Why.
        error: std::io::Error,
    },
    /// The end of the newest file is not a record of ours, so the chain cannot be continued.
    #[error("{file}: the last line is not an audit record; move the file away to begin a new chain")]
    Foreign {
        /// Which.
        file: String,
    },
    /// A stream is named by something else than 1 to 32 lower-case letters or digits.
    #[error("`{0}` cannot name an audit stream")]
    Name(String),
}

/// The record was not kept: the queue is full or the writer is gone. It is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an audit record was lost")]
pub struct Lost;

/// When a file is full, and how many are kept.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// A file that would grow beyond this many bytes is closed and the next one begun.
    pub file_bytes: u64,
    /// Files kept of a stream, the one being written included; the oldest is removed.
    pub files: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { file_bytes: 64 * 1024 * 1024, files: 32 }
    }
}

/// One stream of records. Clones share it.
#[derive(Clone, Debug)]
pub struct AuditLog {
    queue: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

enum Job {
    Record(Box<Record>),
    Sync(tokio::sync::oneshot::Sender<()>),
}

impl AuditLog {
    /// Opens the stream `stream` in the folder `dir` and continues its chain.
    ///
    /// # Errors
    /// When the folder cannot be written, or the chain's end cannot be read.
    pub fn open(dir: &Path, stream: &str) -> Result<Self, AuditError> {
        Self::open_with(dir, stream, Rotation::default())
    }

    /// As [`AuditLog::open`], with bounds of your own.
    ///
    /// # Errors
    /// As [`AuditLog::open`].
    pub fn open_with(dir: &Path, stream: &str, rotation: Rotation) -> Result<Self, AuditError> {
        Self::open_printed(dir, stream, rotation, false)
    }

    /// As [`AuditLog::open_with`]; with `printed`, every line that is in the file goes to standard output too,
    /// where whoever collects the logs of a cluster finds it.
    ///
    /// # Errors
    /// As [`AuditLog::open`].
    pub fn open_printed(
        dir: &Path,
        stream: &str,
        rotation: Rotation,
        printed: bool,
    ) -> Result<Self, AuditError> {
        let named = (1..=32).contains(&stream.len())
            && stream.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !named {
            return Err(AuditError::Name(stream.into()));
        }
        let lost = Arc::new(AtomicU64::new(0));
        let writer = writer::Writer::open(dir, stream, rotation, Arc::clone(&lost))?.printing(printed);
        let (queue, jobs) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run(&jobs))
            .map_err(|error| AuditError::Io { file: "audit thread".into(), error })?;
        Ok(Self { queue, lost })
    }

    /// Hands a record to the writer. Never waits.
    ///
    /// # Errors
    /// [`Lost`] when it could not be taken; the trail will say how many were lost.
    pub fn record(&self, record: Record) -> Result<(), Lost> {
        self.queue.try_send(Job::Record(Box::new(record))).map_err(|_| {
            self.lost.fetch_add(1, Ordering::Relaxed);
            Lost
        })
    }

    /// Records lost since the stream was opened, for a metric.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything recorded before is on the disk, or is counted as lost.
    ///
    /// # Errors
    /// [`Lost`] when the writer is gone or its queue is full.
    pub async fn synced(&self) -> Result<(), Lost> {
        let (done, synced) = tokio::sync::oneshot::channel();
        self.queue.try_send(Job::Sync(done)).map_err(|_| Lost)?;
        synced.await.map_err(|_| Lost)
    }
}
