//! The file: its tables, its transactions, and what its errors mean.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, Durability, ReadTransaction, TableDefinition, WriteTransaction};

use crate::{StoreError, StoreResult};

/// The file may hold this much of itself in memory.
const CACHE: usize = 32 * 1024 * 1024;

/// `term`, `head.term`, `head.sequence`.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("v1/numbers");
/// `platform` and `departments/<code>`.
pub(super) const MANIFESTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("v1/manifests");
/// Parts in chunks.
pub(super) const BLOBS: TableDefinition<'_, (&[u8; 32], u32), &[u8]> = TableDefinition::new("v1/blobs");
/// Unsettled intents; their names are in the order of time.
pub(super) const INTENTS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("v1/live/intents");
/// Outcomes with the second they are forgotten at.
pub(super) const OUTCOMES: TableDefinition<'_, u128, (i64, &[u8])> = TableDefinition::new("v1/live/outcomes");
/// Ended sessions with the second their tickets end at.
pub(super) const ENDED: TableDefinition<'_, u128, (i64, &[u8])> = TableDefinition::new("v1/live/ended");
/// The newest session by account and kind, with its end.
pub(super) const LOGINS: TableDefinition<'_, &str, (u128, i64)> = TableDefinition::new("v1/live/logins");
/// One-time facts with the second they are forgotten at.
pub(super) const ONCE: TableDefinition<'_, &str, i64> = TableDefinition::new("v1/live/once");
/// Failed attempts: how many, and when the last was.
pub(super) const FAILURES: TableDefinition<'_, &str, (u32, i64)> = TableDefinition::new("v1/live/failures");

type Open = Box<dyn Fn() -> StoreResult<Database> + Send>;

/// The file, opened again after an I/O error: redb does nothing more with it until then.
pub(super) struct Disk {
    open: Open,
    database: Option<Database>,
}

impl Disk {
    /// The store at `path`, readable by its owner alone: it holds password hashes.
    pub(super) fn file(path: &Path) -> Self {
        let path: PathBuf = path.into();
        Self::opened_by(Box::new(move || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(|e| StoreError::Medium(format!("{}: {e}", path.display())))?;
            let backend = FileBackend::new(file).map_err(failed)?;
            Builder::new().set_cache_size(CACHE).create_with_backend(backend).map_err(failed)
        }))
    }

    pub(super) fn opened_by(open: Open) -> Self {
        Self { open, database: None }
    }

    fn database(&mut self) -> StoreResult<&Database> {
        let database = match self.database.take() {
            Some(database) => database,
            None => (self.open)()?,
        };
        Ok(self.database.insert(database))
    }

    /// One transaction: all of it happens or none.
    pub(super) fn write<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> StoreResult<T>,
    ) -> StoreResult<T> {
        let database = self.database()?;
        let result = (|| {
            let mut transaction = database.begin_write().map_err(failed)?;
            transaction.set_durability(durability).map_err(failed)?;
            let value = work(&transaction)?;
            transaction.commit().map_err(failed)?;
            Ok(value)
        })();
        self.forget_if_broken(result)
    }

    /// One consistent look.
    pub(super) fn read<T>(
        &mut self,
        work: impl FnOnce(&ReadTransaction) -> StoreResult<T>,
    ) -> StoreResult<T> {
        use redb::ReadableDatabase as _;
        let database = self.database()?;
        let result = database.begin_read().map_err(failed).and_then(|transaction| work(&transaction));
        self.forget_if_broken(result)
    }

    fn forget_if_broken<T>(&mut self, result: StoreResult<T>) -> StoreResult<T> {
        if matches!(result, Err(StoreError::Medium(_))) {
            self.database = None;
        }
        result
    }

    /// Makes what was written without a sync durable, and closes the file.
    pub(super) fn close(&mut self) {
        if let Err(error) = self.write(Durability::Immediate, |_| Ok(())) {
            tracing::warn!(%error, "the last seconds of the store may be lost");
        }
        self.database = None;
    }
}

/// What an error of redb means to a caller.
pub(super) fn failed(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => {
            StoreError::Unavailable("another process has the file open".into())
        }
        redb::Error::Corrupted(why) => StoreError::Unreadable(why),
        // A file too short to be ours, or that begins like none of ours.
        redb::Error::Io(error)
            if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
        {
            StoreError::Unreadable(error.to_string())
        }
        error @ (redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }) => StoreError::Unreadable(error.to_string()),
        error => StoreError::Medium(error.to_string()),
    }
}
