//! `STATE`: everything a standalone Tidegate keeps, in one directory.
//!
//! ```text
//! lock  boot  uids/  credentials/  last-good/  keys/  tls/  activation/  status/  audit/  store.redb  control.sock
//! ```
//!
//! Directories are 0700 and files 0600. One process at a time holds the lock. A file is always
//! either its old or its new content: temporary file, fsync, rename, fsync of the directory.
//! `docs/reference/state.md` says what each entry is and which of them to back up.

mod error;
mod files;
mod keys;

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use tidegate_core::Code;

pub use error::StateError;
pub use keys::{PoolKey, RootKey};

/// Bytes written and synced at start to see that the disk has room; also a bound on a status file.
const PROBE_BYTES: usize = 4 << 20;

/// Largest file of ours that is read back; a larger one was not written by us.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Sub-directories made at start.
const DIRECTORIES: [&str; 9] =
    ["uids", "credentials", "last-good", "keys", "keys/pool", "tls", "activation", "status", "audit"];

/// An opened and locked state directory.
#[derive(Debug)]
pub struct State {
    root: PathBuf,
    term: u64,
    root_key: RootKey,
    pool_keys: Vec<PoolKey>,
    // Held for as long as this value lives; the kernel lets go of it when the process dies.
    _lock: File,
}

impl State {
    /// Opens the directory, makes what is missing, locks it and counts the start.
    ///
    /// Refuses, in words, a directory that cannot be written, has no room, is used by another
    /// process, or whose keys or counter cannot be read.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        files::make_private_directory(path)?;
        let lock = lock(&path.join("lock"))?;
        for directory in DIRECTORIES {
            files::make_private_directory(&path.join(directory))?;
        }
        files::remove_leftovers(path)?;
        probe(path)?;
        let term = count_start(&path.join("boot"))?;
        let root_key = keys::root(&path.join("keys/root"))?;
        let pool_keys = keys::pool(&path.join("keys/pool"))?;
        Ok(Self { root: path.to_owned(), term, root_key, pool_keys, _lock: lock })
    }

    /// Where the state of `folder` lies when nobody says otherwise:
    /// `$XDG_STATE_HOME/tidegate/<folder name>-<hash of its path>`.
    pub fn default_path(folder: &Path) -> Result<PathBuf, StateError> {
        let absolute = std::path::absolute(folder)
            .map_err(|error| StateError::io("find the absolute path of", folder, &error))?;
        let base = std::env::var_os("XDG_STATE_HOME")
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
            .or_else(|| std::env::home_dir().map(|home| home.join(".local/state")))
            .ok_or_else(|| {
                StateError::new(
                    Code::StateUnusable,
                    folder,
                    "neither XDG_STATE_HOME nor HOME is set, so there is no default place for the state",
                    "name a directory with --state",
                )
            })?;
        let digest = crate::digest::sha256(absolute.as_os_str().as_encoded_bytes());
        let name = absolute.file_name().unwrap_or(OsStr::new("root")).to_string_lossy().into_owned();
        let short = crate::digest::hex(&digest).chars().take(8).collect::<String>();
        Ok(base.join("tidegate").join(format!("{name}-{short}")))
    }

    /// Refuses a state directory inside the manifest folder: secrets would travel with the manifests.
    pub fn check_outside(state: &Path, folder: &Path) -> Result<(), StateError> {
        let resolve = |path: &Path| {
            // What does not exist yet is judged by its nearest existing ancestor.
            let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            let existing = absolute.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(&absolute);
            let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
            existing.canonicalize().unwrap_or_else(|_| existing.to_owned()).join(rest)
        };
        if resolve(state).starts_with(resolve(folder)) {
            return Err(StateError::new(
                Code::StateUnusable,
                state,
                "the state directory lies inside the manifest folder",
                "choose a place outside it with --state; it holds keys and password hashes",
            ));
        }
        Ok(())
    }

    /// The number of this start: the term of everything published by this process.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The key activation codes are derived from.
    #[must_use]
    pub fn root_key(&self) -> &RootKey {
        &self.root_key
    }

    /// The pool's key ring, ascending by kid; the last one seals.
    #[must_use]
    pub fn pool_keys(&self) -> &[PoolKey] {
        &self.pool_keys
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The embedded store's file; disposable.
    #[must_use]
    pub fn store_file(&self) -> PathBuf {
        self.root.join("store.redb")
    }

    /// The socket of the admin API.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// Where the certificate authority and leaves of `localhost` lie.
    #[must_use]
    pub fn tls_directory(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// Where audit records are written.
    #[must_use]
    pub fn audit_directory(&self) -> PathBuf {
        self.root.join("audit")
    }

    /// Where activation codes are laid out for whoever hands them over.
    #[must_use]
    pub fn activation_directory(&self) -> PathBuf {
        self.root.join("activation")
    }

    /// Where the conditions of every object are laid out.
    #[must_use]
    pub fn status_directory(&self) -> PathBuf {
        self.root.join("status")
    }

    /// Replaces the file at `relative` in one step that survives a power cut.
    pub(crate) fn write(&self, relative: &Path, bytes: &[u8]) -> Result<(), StateError> {
        files::replace(&self.root.join(relative), bytes)
    }

    /// Replaces many files, with one outcome for each.
    pub(crate) fn write_many(&self, files: Vec<(PathBuf, Vec<u8>)>) -> Vec<Result<(), StateError>> {
        let files: Vec<_> =
            files.into_iter().map(|(relative, bytes)| (self.root.join(relative), bytes)).collect();
        files::replace_many(&files)
    }

    /// Replaces a file that is an output only: one step, but a power cut may lose it.
    pub(crate) fn write_output(&self, relative: &Path, bytes: &[u8]) -> Result<(), StateError> {
        files::replace_unsynced(&self.root.join(relative), bytes)
    }

    /// The content of the file at `relative`; `None` when there is no such file.
    pub(crate) fn read(&self, relative: &Path) -> Result<Option<Vec<u8>>, StateError> {
        read_below(&self.root, relative)
    }

    /// Removes the file at `relative`; its absence is what was wanted.
    pub(crate) fn remove(&self, relative: &Path) -> Result<(), StateError> {
        files::remove(&self.root.join(relative))
    }

    /// All files below the directory `relative`, as paths relative to the state, sorted.
    pub(crate) fn files(&self, relative: &Path) -> Result<Vec<PathBuf>, StateError> {
        files_below(&self.root, relative)
    }
}

/// The content of a file of a state that may be another process's.
pub(crate) fn read_below(root: &Path, relative: &Path) -> Result<Option<Vec<u8>>, StateError> {
    files::read(&root.join(relative), FILE_BYTES_MAX)
}

/// The files of a state that may be another process's.
pub(crate) fn files_below(root: &Path, relative: &Path) -> Result<Vec<PathBuf>, StateError> {
    files::list(root, relative)
}

fn lock(path: &Path) -> Result<File, StateError> {
    let file = files::open_private(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::new(
            Code::StateLocked,
            path,
            "another tidegate process uses this state directory",
            "stop that process, or name another directory with --state",
        )),
        Err(TryLockError::Error(error)) => Err(StateError::io("lock", path, &error)),
    }
}

/// A disk without room is found at start, not in the middle of a suspension.
fn probe(root: &Path) -> Result<(), StateError> {
    let path = root.join("probe.tmp");
    let outcome = files::write_synced(&path, &vec![0; PROBE_BYTES]);
    // Whatever came of it, the probe must not keep the room it asked for.
    let removed = files::remove(&path);
    outcome.and(removed)
}

fn count_start(path: &Path) -> Result<u64, StateError> {
    let previous = match files::read(path, 64)? {
        None => 0,
        Some(bytes) => {
            let text = std::str::from_utf8(&bytes).unwrap_or_default().trim();
            text.parse::<u64>().map_err(|_| {
                StateError::new(
                    Code::StateCorrupt,
                    path,
                    "the start counter is not a number",
                    "restore the file from a backup, or write into it a number larger than any term seen so far",
                )
            })?
        }
    };
    let term = previous.saturating_add(1);
    files::replace(path, format!("{term}\n").as_bytes())?;
    Ok(term)
}

#[cfg(test)]
mod tests;
