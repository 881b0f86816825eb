//! The manifest files below a folder, and how to tell that one changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FILE_BYTES_MAX, FILES_MAX, FOLDER_BYTES_MAX, FOLDER_DEPTH_MAX};

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// One manifest file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) signature: Signature,
    /// When its content was last written, as far as the disk knows.
    pub(super) modified: Option<SystemTime>,
}

/// All manifest files, and the folders below the root that could not be listed.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<PathBuf, Seen>,
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
    bytes: u64,
}

/// Lists the files. Symbolic links are followed, hidden names are not: a mounted ConfigMap is a folder of
/// links into a hidden one.
pub(super) fn list(root: &Path) -> io::Result<Tree> {
    let mut tree = Tree::default();
    let mut seen = BTreeSet::new();
    walk(root, 0, &mut tree, &mut seen)?;
    Ok(tree)
}

fn walk(folder: &Path, depth: usize, tree: &mut Tree, seen: &mut BTreeSet<(u64, u64)>) -> io::Result<()> {
    let own = fs::metadata(folder)?;
    if depth > FOLDER_DEPTH_MAX || !seen.insert((own.dev(), own.ino())) {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        // A link that leads nowhere, or a file that went away meanwhile, is not there.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.is_dir() {
            if let Err(error) = walk(&path, depth + 1, tree, seen) {
                tree.unreadable.push((path, error));
            }
        } else if metadata.is_file() && is_manifest(&path) {
            if tree.files.len() >= FILES_MAX {
                return Err(io::Error::other(format!("there are more than {FILES_MAX} manifest files")));
            }
            tree.bytes = tree.bytes.saturating_add(metadata.len());
            if tree.bytes > FOLDER_BYTES_MAX {
                let most = FOLDER_BYTES_MAX >> 20;
                return Err(io::Error::other(format!("its manifests are larger than {most} MiB together")));
            }
            let seen = Seen { signature: Signature::of(&metadata), modified: metadata.modified().ok() };
            tree.files.insert(path, seen);
        }
    }
    Ok(())
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// The bytes of a file, cut off where a manifest would be too large, and the state they are of; `None`
/// if it changed while it was read.
pub(super) fn read(path: &Path) -> io::Result<Option<(Vec<u8>, Signature)>> {
    let file = File::open(path)?;
    let before = Signature::of(&file.metadata()?);
    let mut bytes = Vec::new();
    (&file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let after = Signature::of(&file.metadata()?);
    Ok((before == after).then_some((bytes, after)))
}
