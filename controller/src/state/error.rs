//! What can be wrong with the state directory, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use tidegate_core::Code;

/// The state directory cannot be used as it is.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code} {path}: {what}; {fix}", path = .path.display())]
pub struct StateError {
    /// The stable code.
    pub code: Code,
    /// The file or directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// What to do.
    pub fix: &'static str,
}

impl StateError {
    pub(crate) fn new(code: Code, path: &Path, what: impl Into<String>, fix: &'static str) -> Self {
        Self { code, path: path.to_owned(), what: what.into(), fix }
    }

    /// A failed operation of the file system; `doing` is a verb.
    pub(crate) fn io(doing: &str, path: &Path, error: &io::Error) -> Self {
        let fix = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "make room on that disk, or name another directory with --state"
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "give this user write access to it, or name another directory with --state"
            }
            _ => "look at the disk, or name another directory with --state",
        };
        Self::new(Code::StateUnusable, path, format!("cannot {doing} it: {error}"), fix)
    }

    /// A file whose content is not ours.
    pub(crate) fn corrupt(path: &Path, what: impl Into<String>) -> Self {
        Self::new(Code::StateCorrupt, path, what, "restore the file from a backup")
    }
}
