//! `STATE`: everything a standalone Tidegate keeps, in one directory; or the same documents in a cluster.
//!
//! In a cluster they lie in Secrets and ConfigMaps, see [`crate::cluster::keep`]. Whoever reads and
//! writes them does so by their paths in the directory, and need not know which it is.
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

use tidegate_core::{Code, Uid};

use crate::cluster::Keep;
use crate::objects::ObjectKey;
use crate::status;

pub use error::StateError;
pub use keys::{PoolKey, RootKey};

/// Bytes written and synced at start to see that the disk has room; also a bound on a status file.
const PROBE_BYTES: usize = 4 << 20;

/// Largest file of ours that is read back; a larger one was not written by us.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Sub-directories made at start.
const DIRECTORIES: [&str; 9] =
    ["uids", "credentials", "last-good", "keys", "keys/pool", "tls", "activation", "status", "audit"];

/// What a controller keeps: an opened and locked directory, or its part of a cluster.
#[derive(Debug)]
pub struct State {
    root: PathBuf,
    term: u64,
    root_key: RootKey,
    pool_keys: Vec<PoolKey>,
    place: Place,
}

/// A document and its bytes; without them it has to go.
pub(crate) type Document = (PathBuf, Option<Vec<u8>>);

/// Where the documents lie.
#[derive(Debug)]
enum Place {
    /// Below the root. The lock is held for as long as this value lives; the kernel lets go of it when
    /// the process dies.
    Directory { _lock: File },
    /// In the namespace that the root is named after.
    Cluster(Box<Keep>),
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
        Ok(Self { root: path.to_owned(), term, root_key, pool_keys, place: Place::Directory { _lock: lock } })
    }

    /// The state of a controller in a cluster: the documents in `keep`, everything else as the caller
    /// found or made it. There is no directory then; [`Self::root`] is a name for messages only.
    #[must_use]
    pub fn in_cluster(keep: Keep, term: u64, root_key: RootKey, pool_keys: Vec<PoolKey>) -> Self {
        Self {
            root: PathBuf::from(keep.namespace()),
            term,
            root_key,
            pool_keys,
            place: Place::Cluster(Box::new(keep)),
        }
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

    /// Whether many small documents are kept better than one large one.
    pub(crate) fn one_by_one(&self) -> bool {
        matches!(self.place, Place::Cluster(_))
    }

    /// Replaces the document at `relative` in one step that survives a power cut.
    pub(crate) fn write(&self, relative: &Path, bytes: &[u8]) -> Result<(), StateError> {
        match &self.place {
            Place::Directory { .. } => files::replace(&self.root.join(relative), bytes),
            Place::Cluster(keep) => {
                let mut outcomes = keep.write_many(vec![(relative.to_owned(), bytes.to_owned())]);
                outcomes.pop().unwrap_or(Ok(()))
            }
        }
    }

    /// Replaces many documents, with one outcome for each.
    pub(crate) fn write_many(&self, files: Vec<(PathBuf, Vec<u8>)>) -> Vec<Result<(), StateError>> {
        match &self.place {
            Place::Directory { .. } => {
                let files: Vec<_> =
                    files.into_iter().map(|(relative, bytes)| (self.root.join(relative), bytes)).collect();
                files::replace_many(&files)
            }
            Place::Cluster(keep) => keep.write_many(files),
        }
    }

    /// Replaces and removes documents, with one outcome for each, in order.
    pub(crate) fn change_many(
        &self,
        documents: impl Iterator<Item = Document>,
    ) -> Vec<Result<(), StateError>> {
        let keep = match &self.place {
            Place::Directory { .. } => None,
            Place::Cluster(keep) => Some(keep),
        };
        if let Some(keep) = keep {
            return keep.change(documents);
        }
        let documents: Vec<Document> = documents.collect();
        let removed: Vec<bool> = documents.iter().map(|(_, bytes)| bytes.is_none()).collect();
        let gone = documents.iter().filter(|(_, bytes)| bytes.is_none());
        let mut gone = self.remove_many(gone.map(|(path, _)| path.clone()).collect()).into_iter();
        let there = documents.into_iter().filter_map(|(path, bytes)| Some((path, bytes?)));
        let mut there = self.write_many(there.collect()).into_iter();
        removed.into_iter().filter_map(|is| if is { gone.next() } else { there.next() }).collect()
    }

    /// The document at `relative`; `None` when there is none.
    pub(crate) fn read(&self, relative: &Path) -> Result<Option<Vec<u8>>, StateError> {
        match &self.place {
            Place::Directory { .. } => read_below(&self.root, relative),
            Place::Cluster(keep) => Ok(keep.read(relative)),
        }
    }

    /// Removes the document at `relative`; its absence is what was wanted.
    pub(crate) fn remove(&self, relative: &Path) -> Result<(), StateError> {
        match &self.place {
            Place::Directory { .. } => files::remove(&self.root.join(relative)),
            Place::Cluster(keep) => keep.remove_many(vec![relative.to_owned()]).pop().unwrap_or(Ok(())),
        }
    }

    /// Removes many documents, with one outcome for each.
    pub(crate) fn remove_many(&self, files: Vec<PathBuf>) -> Vec<Result<(), StateError>> {
        match &self.place {
            Place::Directory { .. } => {
                files.iter().map(|relative| files::remove(&self.root.join(relative))).collect()
            }
            Place::Cluster(keep) => keep.remove_many(files),
        }
    }

    /// All documents below `relative`, as paths relative to the state, sorted.
    pub(crate) fn files(&self, relative: &Path) -> Result<Vec<PathBuf>, StateError> {
        match &self.place {
            Place::Directory { .. } => files_below(&self.root, relative),
            Place::Cluster(keep) => Ok(keep.files(relative)),
        }
    }

    /// Lays out activation codes for whoever hands them over, with one outcome for each. Outputs only:
    /// a power cut may lose them.
    pub(crate) fn hand_out(&self, codes: Vec<(PathBuf, Vec<u8>)>) -> Vec<Result<(), StateError>> {
        match &self.place {
            Place::Directory { .. } => codes
                .iter()
                .map(|(relative, bytes)| files::replace_unsynced(&self.root.join(relative), bytes))
                .collect(),
            Place::Cluster(keep) => keep.hand_out(codes),
        }
    }

    /// Takes laid out activation codes away.
    pub(crate) fn take_back(&self, codes: Vec<PathBuf>) -> Vec<Result<(), StateError>> {
        match &self.place {
            Place::Directory { .. } => self.remove_many(codes),
            Place::Cluster(keep) => keep.take_back(codes),
        }
    }

    /// How many objects can be spoken of now; the others have to wait.
    pub(crate) fn room(&self) -> usize {
        match &self.place {
            Place::Directory { .. } => usize::MAX,
            Place::Cluster(keep) => keep.room(),
        }
    }

    /// Writes an object's conditions: into a file, or onto the object in due course.
    pub(crate) fn say(&self, key: &ObjectKey, status: &status::Document) -> Result<(), StateError> {
        match &self.place {
            Place::Directory { .. } => {
                let relative = status_path(key);
                let bytes = serde_json::to_vec_pretty(status).map_err(|error| {
                    StateError::corrupt(&relative, format!("a status cannot be written: {error}"))
                })?;
                files::replace_unsynced(&self.root.join(relative), &bytes)
            }
            Place::Cluster(keep) => {
                keep.say(key, status);
                Ok(())
            }
        }
    }

    /// Objects whose conditions are not written yet.
    pub(crate) fn unspoken(&self) -> Vec<ObjectKey> {
        match &self.place {
            Place::Directory { .. } => Vec::new(),
            Place::Cluster(keep) => keep.unspoken(),
        }
    }

    /// Removes the conditions of an object that is gone; in a cluster they went with it.
    pub(crate) fn unsay(&self, key: &ObjectKey) -> Result<(), StateError> {
        match &self.place {
            Place::Directory { .. } => files::remove(&self.root.join(status_path(key))),
            Place::Cluster(keep) => {
                keep.unsay(key);
                Ok(())
            }
        }
    }

    /// Replaces a file that is an output only: one step, but a power cut may lose it. In a cluster
    /// there are no such files; conditions say the same.
    pub(crate) fn write_output(&self, relative: &Path, bytes: &[u8]) -> Result<(), StateError> {
        match &self.place {
            Place::Directory { .. } => files::replace_unsynced(&self.root.join(relative), bytes),
            Place::Cluster(_) => Ok(()),
        }
    }

    /// Sees to it that the object's deletion will wait for us; only objects of a cluster can.
    pub(crate) fn hold(&self, key: &ObjectKey, uid: &Uid) {
        if let Place::Cluster(keep) = &self.place {
            keep.hold(key, uid);
        }
    }

    /// Lets the object's deletion come to its end.
    pub(crate) fn let_go(&self, key: &ObjectKey, uid: &Uid) {
        if let Place::Cluster(keep) = &self.place {
            keep.let_go(key, uid);
        }
    }

    /// Restores documents that somebody else removed or changed.
    pub(crate) fn mend(&self) -> Result<(), StateError> {
        match &self.place {
            Place::Directory { .. } => Ok(()),
            Place::Cluster(keep) => keep.mend(),
        }
    }
}

/// Where an object's conditions lie in the directory.
fn status_path(key: &ObjectKey) -> PathBuf {
    Path::new("status").join(format!("{}.json", key.file_stem()))
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
